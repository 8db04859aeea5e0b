"""Turn lessons as authored (solutions/*.py) into what learners open (notebooks/*.ipynb).

Must not know how an exercise is judged; it needs only the ids and points that course.py lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dropout_course.course import Lesson


class AuthoringToolsMissing(ImportError):
    """nbgrader or jupytext, which only authors need, is not installed."""


@dataclass(frozen=True)
class BuildReport:
    """What a build wrote, what is out of date, and which laws of a lesson are broken.

    Every entry of `drift` and `violations` is one sentence that says what to do.
    """

    written: tuple[Path, ...] = ()
    drift: tuple[str, ...] = ()
    violations: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True when nothing is out of date and no law is broken."""
        return not self.drift and not self.violations


def build(
    root: Path,
    *,
    check: bool = False,
    execute: bool = False,
    lessons: Sequence[Lesson] | None = None,
) -> BuildReport:
    """Build solutions/*.ipynb, notebooks/*.ipynb and dropout_course/stubs.json under `root`.

    With `check` nothing is written or executed: whatever a build would change is reported as
    drift. Otherwise a solutions notebook is executed when its code differs from its .py, or
    always with `execute`. A lesson that breaks a law is reported and not written. `lessons` is
    the registry to build against, course.py's by default.

    Raises AuthoringToolsMissing when nbgrader or jupytext is not installed.
    """
    try:
        from dropout_course.authoring.builder import Builder
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("dropout_course"):
            raise
        raise AuthoringToolsMissing(
            f"Building lessons needs {error.name}, which learners do not have: "
            "install the authors' packages with pip install -e '.[dev]'."
        ) from error
    if lessons is None:
        from dropout_course.course import LESSONS

        lessons = LESSONS
    return Builder(root, lessons).run(check=check, execute=execute)
