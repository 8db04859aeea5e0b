"""What every export reads: the entries of a gradebook, and texts made of them.

Must not know any other program's format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from dropout_course.checks.verdict import Outcome
from dropout_course.display import as_text
from dropout_course.grading.gradebook import Entry, Gradebook

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class ExportError(Exception):
    """An export cannot be written; the text says why and what to do."""


@dataclass(frozen=True)
class Grades:
    """The entries that count, read anew by each call, and when they were judged."""

    entries: Callable[[], Iterator[Entry]]
    made_at: datetime


def grades_of(gradebook: Gradebook) -> Grades:
    """The grades of the gradebook's newest revision. Raises ExportError where it is empty."""
    revision = gradebook.revision()
    if revision is None:
        raise ExportError("The gradebook is empty: run `dropout-course grade` first.")
    return Grades(gradebook.entries, datetime.fromisoformat(revision.made_at))


def number(points: float) -> str:
    """Points without needless digits: "3", "2.5", at most two places."""
    return f"{points:.2f}".rstrip("0").rstrip(".")


def feedback(entry: Entry) -> str:
    """All that a student should read about a submission, as plain text."""
    parts = [*entry.notes, *(as_text(verdict) for verdict in entry.verdicts)]
    return "\n\n".join(parts)


def attempted(entry: Entry) -> bool:
    """Whether there is anything to give points for."""
    return any(verdict.outcome is not Outcome.NOT_ATTEMPTED for verdict in entry.verdicts)


def unformulated(text: str) -> str:
    """Text for a cell of a table that a spreadsheet will not take for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
