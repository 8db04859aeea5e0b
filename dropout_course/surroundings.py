"""Where the course's files lie, and whether kernel, package and notebook fit together.

Only looks and answers with paths, texts and sentences. Must not know what a check is.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from dropout_course import __version__

PACKAGE = Path(__file__).resolve().parent
PREFIX_VARIABLE = "DROPOUT_COURSE_PREFIX"  # set by `dropout-course lab`: the course's environment
SESSION_VARIABLE = "JPY_SESSION_NAME"  # set by Jupyter's server: the path of the kernel's notebook
LESSON_FILES = "[0-9][0-9]_*.ipynb"


class CourseNotFoundError(Exception):
    """No folder with notebooks/ was found; the text says where was looked."""


def course_root() -> Path:
    """The folder that holds notebooks/: beside the package, else the current one or one above it.

    Raises CourseNotFoundError.
    """
    here = Path.cwd()
    for folder in (PACKAGE.parent, here, *here.parents):
        if any((folder / "notebooks").glob(LESSON_FILES)):
            return folder
    raise CourseNotFoundError(
        f"No notebooks/ folder with the lessons was found beside the package ({PACKAGE.parent}) "
        f"nor in {here} or above it: change to the folder of the course and run the command again."
    )


def lesson_files(root: Path) -> list[Path]:
    """The learner's notebooks, in the order of the lessons."""
    return sorted((root / "notebooks").glob(LESSON_FILES))


def stubs() -> Mapping[str, str]:
    """The source of every stub as handed out, by exercise id; empty where the file is missing."""
    try:
        loaded: dict[str, str] = json.loads((PACKAGE / "stubs.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return loaded


def model_solution(lesson: str, exercise: str) -> str | None:
    """The model solution's code, or None where solutions/ was not handed out."""
    file = PACKAGE.parent / "solutions" / f"{lesson}.ipynb"
    try:
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError):
        return None
    sources = (source_of(cell) for cell in cells if grade_id(cell) == exercise)
    source = next(sources, None)
    return None if source is None else _without_markers(source)


def grade_id(cell: Mapping[str, object]) -> str | None:
    """The nbgrader id of a notebook's cell."""
    metadata = cell.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    found = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
    return found if isinstance(found, str) else None


def source_of(cell: Mapping[str, object]) -> str:
    """A cell's source as one text: the file format also allows a list of lines."""
    source = cell.get("source", "")
    return "".join(source) if isinstance(source, list) else str(source)


def notices() -> tuple[str, ...]:
    """Sentences about a stale package, a newer notebook and a kernel of another environment."""
    return tuple(filter(None, (_stale_package(), newer_notebook(), _other_environment())))


def newer_notebook() -> str:
    """A sentence if the running notebook was made for a newer version of the package."""
    session = os.environ.get(SESSION_VARIABLE, "")
    if not session.endswith(".ipynb"):
        return ""
    for path in _session_candidates(session):
        try:
            made_for = _notebook_version(path, path.stat().st_mtime_ns)
        except OSError:
            continue
        if _release(made_for) > _release(__version__):
            return (
                f"This notebook was made for version {made_for} of the course, and this kernel has "
                f"{__version__}: run `make lab` again (or `{sys.executable} -m pip install -e .` "
                "in the course's folder), then restart the kernel."
            )
        return ""
    return ""


def _session_candidates(session: str) -> Iterator[Path]:
    # Jupyter's server gives the path as it knows it: absolute, or relative to its root.
    given = Path(session)
    yield given
    yield PACKAGE.parent / session
    yield Path.cwd() / given.name


@functools.lru_cache(maxsize=8)
def _notebook_version(path: Path, _mtime_ns: int) -> str:
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
        return str(metadata["dropout_course"]["version"])
    except (ValueError, KeyError, TypeError):
        return "0"


def _release(version: str) -> tuple[int, ...]:
    numbers = version.split("+")[0].split(".")
    return tuple(int(number) for number in numbers if number.isdigit())


def _stamps() -> dict[Path, tuple[int, int]]:
    stamps = {}
    for path in PACKAGE.rglob("*.py"):
        status = path.stat()
        stamps[path] = (status.st_mtime_ns, status.st_size)
    return stamps


_AT_IMPORT = _stamps()


def _stale_package() -> str:
    """A sentence if a file of the package that this process runs has changed since its import."""
    loaded = {
        Path(file)
        for name, module in list(sys.modules.items())
        if name.split(".")[0] == "dropout_course" and (file := getattr(module, "__file__", None))
    }
    for path, stamp in _AT_IMPORT.items():
        if path not in loaded:
            continue
        try:
            status = path.stat()
        except OSError:
            continue
        if (status.st_mtime_ns, status.st_size) != stamp:
            return (
                f"The course's package has changed on disk since this kernel started "
                f"({path.relative_to(PACKAGE.parent)}): restart the kernel to use it."
            )
    return ""


@functools.cache
def _other_environment() -> str:
    """A sentence if this kernel's environment is not the one that started JupyterLab."""
    expected = os.environ.get(PREFIX_VARIABLE, "")
    if not expected or Path(expected).resolve() == Path(sys.prefix).resolve():
        return ""
    return (
        f"This kernel runs in {sys.prefix}, and the course is installed in {expected}: if anything "
        "differs, choose Kernel > Change Kernel > Python 3 (ipykernel)."
    )


def _without_markers(source: str) -> str:
    lines = source.splitlines()
    marks = ("### BEGIN SOLUTION", "### END SOLUTION")
    return "\n".join(line for line in lines if line.strip() not in marks)
