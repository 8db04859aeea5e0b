"""`dropout-course handout`: make the zip for students. Must not know what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dropout_course.cli.console import out, root, stop
from dropout_course.course import LESSONS, UnknownLesson, find_lesson
from dropout_course.grading.handout import HandoutError, hand_out


def run(target: Path, *, lessons: Sequence[str], withhold_solutions: bool) -> None:
    """Make the zip in `target` and say where it and its record are."""
    names = [name.strip() for given in lessons for name in given.split(",") if name.strip()]
    try:
        wanted = {find_lesson(name).id for name in names}
        chosen = [lesson for lesson in LESSONS if not wanted or lesson.id in wanted]
        made = hand_out(root(), target, chosen, withhold_solutions=withhold_solutions)
    except (HandoutError, UnknownLesson) as error:
        stop(str(error))
    except OSError as error:
        stop(f"{error.filename or target} could not be written ({error.strerror}).")
    console = out()
    console.print(f"wrote {made.archive}", markup=False, soft_wrap=True)
    console.print(
        f"wrote {made.record}: keep it; on another machine, give it to `dropout-course grade` with "
        "--release.",
        markup=False,
        soft_wrap=True,
    )
