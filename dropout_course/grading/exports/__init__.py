"""Grades as other programs take them: Gradescope, nbgrader, Canvas, Moodle, JUnit.

Reads a gradebook's entries and writes files. Must not know how a submission was run or judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path

from dropout_course.grading.exports import canvas, gradescope, junit, moodle, nbgrader
from dropout_course.grading.exports.reading import ExportError, Grades

__all__ = ["ExportError", "Format", "Grades", "write"]


class Format(StrEnum):
    """Whose format."""

    GRADESCOPE = "gradescope"
    NBGRADER = "nbgrader"
    CANVAS = "canvas"
    MOODLE = "moodle"
    JUNIT = "junit"


_WRITERS: Mapping[Format, Callable[[Grades, Path], list[Path]]] = {
    Format.GRADESCOPE: gradescope.write,
    Format.NBGRADER: nbgrader.write,
    Format.CANVAS: canvas.write,
    Format.MOODLE: moodle.write,
    Format.JUNIT: junit.write,
}


def write(grades: Grades, form: Format, out: Path) -> list[Path]:
    """Write the grades into the folder `out` and return what was written.

    Raises ExportError where the format needs a package that is not installed, or a file of the
    other program's cannot take the grades.
    """
    return _WRITERS[form](grades, out)
