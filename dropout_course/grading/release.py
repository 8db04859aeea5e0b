"""What was handed out: the cells of each lesson, as a student first saw them.

Read from the course's notebooks/, or from the file that `dropout-course handout` left. Must not
know what students made of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from dropout_course.course import LESSONS
from dropout_course.grading.files import write_text
from dropout_course.grading.notebook import Cell, parse
from dropout_course.grading.sources import Unreadable
from dropout_course.progress import home
from dropout_course.surroundings import course_root


class ReleaseMissing(Exception):
    """The lessons as handed out cannot be found or read; the text says what to do."""


@dataclass(frozen=True)
class Release:
    """The lessons' cells by lesson id; `id` is a digest of them, `version` the course's."""

    id: str
    version: str
    lessons: Mapping[str, tuple[Cell, ...]]

    def digest(self, lesson: str) -> str:
        """A digest of one lesson's cells; of none where the lesson is not in this release."""
        return digest(self.lessons.get(lesson, ()))


def digest(cells: Iterable[Cell]) -> str:
    """Equal for equal cells."""
    text = json.dumps([asdict(cell) for cell in cells], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def of(version: str, notebooks: Mapping[str, bytes]) -> Release:
    """The release made of these notebooks, by lesson id. Raises Unreadable."""
    lessons = {lesson: parse(data).cells for lesson, data in sorted(notebooks.items())}
    return Release(digest(cell for cells in lessons.values() for cell in cells), version, lessons)


def current() -> Release:
    """The release that the course's notebooks/ are now. Raises ReleaseMissing."""
    from dropout_course import __version__
    from dropout_course.surroundings import CourseNotFoundError

    try:
        folder = course_root() / "notebooks"
        paths = {lesson.id: folder / f"{lesson.id}.ipynb" for lesson in LESSONS}
        notebooks = {name: path.read_bytes() for name, path in paths.items() if path.exists()}
        return of(__version__, notebooks)
    except (CourseNotFoundError, OSError) as error:
        raise ReleaseMissing(str(error)) from error
    except Unreadable as error:
        raise ReleaseMissing(
            f"A notebook in {folder} cannot be read ({error}): restore it, or run "
            "`dropout-course build` where solutions/ is."
        ) from error


def folder() -> Path:
    """Where releases are recorded on this machine."""
    return home() / "releases"


def save(release: Release, place: Path) -> None:
    """Record a release in a folder, as <id>.json."""
    write(release, place / f"{release.id}.json")


def write(release: Release, path: Path) -> None:
    """Write a release to a file."""
    document = {
        "id": release.id,
        "version": release.version,
        "lessons": {
            name: [asdict(cell) for cell in cells] for name, cells in release.lessons.items()
        },
    }
    write_text(path, json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


def read(path: Path) -> Release:
    """Read a release from a file. Raises ReleaseMissing."""
    try:
        return _read(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReleaseMissing(
            f"{path} is no record of a release ({type(error).__name__}): give the .release.json "
            "that `dropout-course handout` left."
        ) from error


def recorded(place: Path) -> dict[str, Release]:
    """Every release recorded in a folder, by id; files that are none are passed over."""
    found = {}
    for path in sorted(place.glob("*.json")):
        try:
            release = read(path)
        except ReleaseMissing:
            continue
        found[release.id] = release
    return found


def _read(document: Mapping[str, object]) -> Release:
    lessons = document["lessons"]
    if not isinstance(lessons, dict):
        raise TypeError("lessons")
    cells = {name: tuple(Cell(**entry) for entry in entries) for name, entries in lessons.items()}
    return Release(str(document["id"]), str(document["version"]), cells)
