"""Material for the tests of grading: the lessons as handed out, filled in, handed in, and run.

`InProcess` stands for the sandboxed runner: it runs the cells here. Tests of the sandbox are
elsewhere.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dropout_course.checks.record import record
from dropout_course.checks.store import encode
from dropout_course.course import Lesson, find_exercise, find_lesson
from dropout_course.grading import release
from dropout_course.grading.gradebook import Entry
from dropout_course.grading.notebook import Notebook, parse
from dropout_course.grading.pipeline import Releases
from dropout_course.grading.work import Recorded, Status, Work

ROOT = Path(__file__).resolve().parents[2]
START = find_lesson("00")
RIGHT = "def keep_probability(p):\n    return 1 - p"
WRONG = "def keep_probability(p):\n    return p"

Document = dict[str, Any]


def handed_out(lesson: Lesson = START) -> Document:
    """The lesson's notebook as a student first sees it."""
    text = (ROOT / "notebooks" / f"{lesson.id}.ipynb").read_text(encoding="utf-8")
    document: Document = json.loads(text)
    return document


def code(source: str, **nbgrader: object) -> Document:
    """A code cell."""
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {"nbgrader": nbgrader} if nbgrader else {},
        "outputs": [],
        "source": source,
    }


def markdown(source: str) -> Document:
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def grade_id(cell: Document) -> str:
    return str(cell["metadata"].get("nbgrader", {}).get("grade_id", ""))


def cell_of(document: Document, name: str) -> Document:
    """The first cell with that id."""
    found: Document = next(cell for cell in document["cells"] if grade_id(cell) == name)
    return found


def filled(source: str = RIGHT, lesson: Lesson = START, exercise: str = "") -> Document:
    """The lesson with one stub replaced."""
    document = handed_out(lesson)
    cell_of(document, exercise or lesson.exercises[0].id)["source"] = source
    return document


def solved(lesson: Lesson) -> Document:
    """The lesson with every stub replaced by the model solution."""
    document = handed_out(lesson)
    text = (ROOT / "solutions" / f"{lesson.id}.ipynb").read_text(encoding="utf-8")
    solutions = {grade_id(cell): cell["source"] for cell in json.loads(text)["cells"]}
    for exercise in lesson.exercises:
        cell_of(document, exercise.id)["source"] = solutions[exercise.id]
    return document


def notebook(document: Document) -> Notebook:
    return parse(json.dumps(document).encode())


def hand_in(folder: Path, student: str, document: object, name: str = "00_start.ipynb") -> Path:
    """Put a notebook where `<student>/<lesson>.ipynb` is expected."""
    path = folder / student / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def releases() -> Releases:
    return Releases(release.current(), {})


class Watching:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.total = 0
        self.entries: list[Entry | None] = []

    def found(self, submissions: int) -> None:
        self.total = submissions

    def done(self, entry: Entry | None) -> None:
        self.entries.append(entry)


class InProcess:
    """Runs cells in this process, a copy of the namespace a submission; counts what it ran."""

    def __init__(self, seconds: float = 0.0, status: Status = Status.GRADED) -> None:
        self.ran: list[Work] = []
        self._seconds = seconds
        self._status = status

    def run(self, works: Iterable[Work]) -> Iterator[tuple[Work, Recorded]]:
        for work in works:
            time.sleep(self._seconds)
            self.ran.append(work)
            yield work, Recorded(self._status, *recorded(work))


def recorded(work: Work) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """What the code of a submission records, and a note for each cell that raised."""
    names: dict[str, Any] = {"__name__": "__main__"}
    notes = []
    for cell in work.cells:
        try:
            exec(compile(cell.source, "<cell>", "exec"), names)
        except Exception as error:  # noqa: BLE001 - whatever a student's cell raises
            notes.append(f"A cell raised {type(error).__name__}.")
    records = {}
    for asked in work.asked:
        if asked.exercise in names:
            plan = find_exercise(asked.exercise).plan(np.random.default_rng(asked.seed))
            records[asked.exercise] = encode(record(plan, names[asked.exercise]))
    return records, tuple(notes)
