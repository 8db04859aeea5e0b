"""The zip that students get, the same bytes for the same course, and the record of it.

Must not know grading; what it leaves is a release (release.py) that grading reads.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropout_course import __version__
from dropout_course.course import Lesson
from dropout_course.grading import release
from dropout_course.grading.files import replacing
from dropout_course.surroundings import grade_id, source_of, stubs

_SETUP = (
    "README.md",
    "LICENSE",
    "Makefile",
    "pyproject.toml",
    "constraints.txt",
    "environment.yml",
)
_TOP = "dropout-course"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold


class HandoutError(Exception):
    """The course cannot be handed out as it is; the text says why and what to do."""


@dataclass(frozen=True)
class Handout:
    """What was made: the zip, the file that records its release, and the release's id."""

    archive: Path
    record: Path
    release: str


def hand_out(
    course: Path, target: Path, lessons: Sequence[Lesson], *, withhold_solutions: bool
) -> Handout:
    """Make the zip in `target` from the course in the folder `course`.

    Raises HandoutError, for one where a notebook is not as it was built: somebody may have worked
    in it. OSError where `target` cannot be written.
    """
    notebooks = {lesson.id: _notebook(course, lesson) for lesson in lessons}
    made = release.of(__version__, {name: _text(nb) for name, nb in notebooks.items()})
    files = {
        f"notebooks/{name}.ipynb": _text(_marked(notebook, made.id))
        for name, notebook in notebooks.items()
    }
    files |= dict(_package(course))
    files |= {name: data for name in _SETUP if (data := _read(course / name)) is not None}
    if not withhold_solutions:
        files |= dict(_solutions(course, lessons))
    name = f"dropout-course-{__version__}-{made.id[:8]}"
    if withhold_solutions:
        name += "-without-solutions"
    archive = target / f"{name}.zip"
    _write(archive, files)
    release.save(made, release.folder())
    record = target / f"{name}.release.json"
    release.write(made, record)
    return Handout(archive, record, made.id)


def _notebook(course: Path, lesson: Lesson) -> dict[str, Any]:
    path = course / "notebooks" / f"{lesson.id}.ipynb"
    restore = f"restore {path} (git restore, or `dropout-course build`) and hand out again."
    try:
        notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        cells = list(notebook["cells"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HandoutError(f"{path} cannot be read ({type(error).__name__}): {restore}") from error
    expected = stubs()
    for exercise in lesson.exercises:
        own = [source_of(cell) for cell in cells if grade_id(cell) == exercise.id]
        if own != [expected.get(exercise.id)]:
            raise HandoutError(
                f"The cell of {exercise.id} in {path.name} is not the stub, so somebody has worked "
                f"in it: {restore}"
            )
    if any(cell.get("outputs") for cell in cells):
        raise HandoutError(f"{path.name} holds outputs, so somebody has run it: {restore}")
    return notebook


def _marked(notebook: Mapping[str, Any], release_id: str) -> dict[str, Any]:
    """The notebook with the release's id, by which a submission is known again."""
    metadata = dict(notebook.get("metadata", {}))
    metadata["dropout_course"] = {**metadata.get("dropout_course", {}), "release": release_id}
    return {**notebook, "metadata": metadata}


def _text(notebook: Mapping[str, Any]) -> bytes:
    """As Jupyter saves it."""
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True)
    return f"{text}\n".encode()


def _package(course: Path) -> Iterator[tuple[str, bytes]]:
    package = course / "dropout_course"
    if not (package / "__init__.py").exists():
        raise HandoutError(
            f"{course} does not hold the package dropout_course, which students need: hand out "
            "from a clone of the course."
        )
    for path in sorted(package.rglob("*")):
        inside = path.relative_to(course)
        hidden = any(part.startswith((".", "__pycache__")) for part in inside.parts)
        if path.is_file() and not hidden and path.suffix != ".pyc":
            yield inside.as_posix(), path.read_bytes()


def _solutions(course: Path, lessons: Sequence[Lesson]) -> Iterator[tuple[str, bytes]]:
    for lesson in lessons:
        for suffix in (".ipynb", ".py"):
            path = course / "solutions" / f"{lesson.id}{suffix}"
            data = _read(path)
            if data is None:
                raise HandoutError(
                    f"{path} is not here: hand out with --withhold-solutions, or from a clone of "
                    "the course that has solutions/."
                )
            yield path.relative_to(course).as_posix(), data


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _write(archive: Path, files: Mapping[str, bytes]) -> None:
    """Names in order, one time and mode for all, nothing compressed: no other bytes anywhere."""
    with (
        replacing(archive) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as zipped,
    ):
        for name, data in sorted(files.items()):
            info = zipfile.ZipInfo(f"{_TOP}/{name}", _EPOCH)
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            zipped.writestr(info, data)
