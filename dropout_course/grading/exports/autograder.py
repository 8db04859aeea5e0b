"""What Gradescope's run_autograder starts: one upload in, results/results.json out.

Always leaves a results.json, since without one Gradescope shows the student an error of its own.
Each upload has a container to itself; where that container does not let bubblewrap work, the
upload's code runs unconfined in it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from dropout_course.course import LESSONS, Lesson
from dropout_course.grading import release
from dropout_course.grading.exports.gradescope import failure, results
from dropout_course.grading.files import write_text
from dropout_course.grading.gradebook import Entry, Gradebook
from dropout_course.grading.pipeline import Options, Releases, grade
from dropout_course.grading.runner import Runner
from dropout_course.grading.sandbox import NoSandbox, Sandbox, choose
from dropout_course.grading.sources import NoSubmissions


def main() -> None:
    """Grade the upload under the folder given, by default /autograder."""
    run(Path(sys.argv[1] if len(sys.argv) > 1 else "/autograder"))


def run(root: Path) -> None:
    """Read root/submission and root/source/lessons.txt, write root/results/results.json."""
    lessons = _lessons(root / "source" / "lessons.txt")
    most = {
        exercise.id: float(exercise.points) for lesson in lessons for exercise in lesson.exercises
    }
    document: dict[str, Any]
    try:
        document = results(_graded(root / "submission", lessons))
    except (NoSubmissions, NoSandbox, release.ReleaseMissing) as why:
        document = failure(str(why), most)
    except Exception as why:
        sentence = f"The grader failed ({type(why).__name__}): ask your instructor to look at it."
        document = failure(sentence, most)
        raise
    finally:
        write_text(root / "results" / "results.json", json.dumps(document, indent=1) + "\n")


def _lessons(file: Path) -> tuple[Lesson, ...]:
    """The lessons named in the file, all where there is none."""
    names = set(file.read_text(encoding="utf-8").split()) if file.exists() else set()
    return tuple(lesson for lesson in LESSONS if lesson.id in names) or LESSONS


def _graded(place: Path, lessons: tuple[Lesson, ...]) -> list[Entry]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Gradebook(Path(folder)) as gradebook,
        Runner(workers=1, sandbox=_sandbox()) as runner,
    ):
        options = Options(wanted=tuple(lesson.id for lesson in lessons))
        grade(place, gradebook, Releases(release.current(), {}), runner, options, _Unwatched())
        return _one_a_lesson(list(gradebook.entries()))


def _sandbox() -> Sandbox:
    try:
        return choose("auto")
    except NoSandbox:
        return Sandbox.NONE


def _one_a_lesson(entries: list[Entry]) -> list[Entry]:
    """Of several notebooks for a lesson the best: their names may suggest several students."""
    best: dict[str, Entry] = {}
    for entry in entries:
        known = best.get(entry.lesson)
        if known is None or entry.score > known.score:
            best[entry.lesson] = entry
    return list(best.values())


class _Unwatched:
    """Nobody looks at the progress of one upload."""

    def found(self, submissions: int) -> None: ...

    def done(self, entry: Entry | None) -> None: ...


if __name__ == "__main__":
    main()
