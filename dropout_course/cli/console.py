"""The two streams that every command writes to, and how a command stops with one sentence.

Must not know any command.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console

from dropout_course.surroundings import CourseNotFoundError, course_root, lesson_files

USER_ERROR = 2


def out() -> Console:
    """Standard output, looked up at each call so that a redirection is obeyed."""
    return Console(highlight=False)


def stop(sentence: str, code: int = USER_ERROR) -> NoReturn:
    """Say one sentence on standard error and end the command."""
    Console(stderr=True, highlight=False).print(sentence, markup=False, soft_wrap=True)
    raise typer.Exit(code)


def root() -> Path:
    """The course's folder; stops with a sentence where there is none."""
    try:
        return course_root()
    except CourseNotFoundError as error:
        stop(str(error))


def find_lesson(course: Path, name: str) -> Path:
    """The learner's notebook of a lesson given as `3`, `03`, its whole name or its file."""
    files = lesson_files(course)
    asked = Path(name).name.removesuffix(".ipynb")
    number = asked.zfill(2) if asked.isdigit() else ""
    for file in files:
        if asked == file.stem or (number and file.stem.startswith(f"{number}_")):
            return file
    valid = ", ".join(file.stem for file in files)
    stop(f"There is no lesson {name}: the lessons are {valid} (their numbers will do).")
