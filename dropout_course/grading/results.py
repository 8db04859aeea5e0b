"""The gradebook as tables: grades.csv for people, results.json for programs.

results.schema.json describes results.json. Both are written a submission at a time. Must not know
how anything was graded.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dropout_course.checks.verdict import Finding, Outcome, Verdict
from dropout_course.grading.files import replacing
from dropout_course.grading.gradebook import Entry

SCHEMA_VERSION = 1
SCHEMA = Path(__file__).with_name("results.schema.json")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run


def submission(entry: Entry) -> dict[str, Any]:
    """One submission as it stands in results.json."""
    return {
        "student": entry.student,
        "lesson": entry.lesson,
        "status": entry.status.value,
        "score": entry.score,
        "max_score": entry.max_score,
        "seconds": round(entry.seconds, 3),
        "notes": list(entry.notes),
        "exercises": [_exercise(verdict) for verdict in entry.verdicts],
    }


def message(finding: Finding) -> str:
    """What a finding says, in one line."""
    if finding.passed:
        return finding.proves
    parts = (
        (finding.called, f"{finding.called}"),
        (finding.returned, f"returned {finding.returned}"),
        (finding.expected, f"expected {finding.expected}"),
        (finding.why, finding.why),
    )
    return "; ".join(text for given, text in parts if given)


def write_json(path: Path, entries: Iterable[Entry]) -> None:
    """Write results.json."""
    with replacing(path) as file:
        file.write(f'{{"schema_version": {SCHEMA_VERSION}, "submissions": ['.encode())
        for number, entry in enumerate(entries):
            text = json.dumps(submission(entry), ensure_ascii=False)
            separator = ",\n" if number else "\n"
            file.write(f"{separator}{text}".encode("utf-8", "replace"))
        file.write(b"\n]}\n")


def write_csv(path: Path, entries: Iterable[Entry], exercises: Sequence[str]) -> None:
    """Write grades.csv: a row a submission, with a column for each of `exercises`."""
    with replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
        table = csv.writer(text)
        table.writerow(
            ["student", "lesson", "status", "score", "max_score", "seconds", *exercises, "notes"]
        )
        for entry in entries:
            points = {verdict.exercise: f"{verdict.points:g}" for verdict in entry.verdicts}
            row = [
                _harmless(entry.student),
                _harmless(entry.lesson),
                entry.status.value,
                f"{entry.score:g}",
                f"{entry.max_score:g}",
                f"{entry.seconds:.2f}",
                *(points.get(exercise, "") for exercise in exercises),
                _harmless(" ".join(entry.notes)),
            ]
            table.writerow(row)
        text.flush()
        text.detach()


def _exercise(verdict: Verdict) -> dict[str, Any]:
    return {
        "id": verdict.exercise,
        "points": verdict.points,
        "max_points": verdict.max_points,
        "passed": verdict.passed,
        "attempted": verdict.outcome is not Outcome.NOT_ATTEMPTED,
        "findings": [
            {
                "criterion": finding.criterion,
                "passed": finding.passed,
                "message": message(finding),
                "misconception": finding.misconception,
            }
            for finding in verdict.findings
        ],
    }


def _harmless(text: str) -> str:
    """Text that a spreadsheet shows; a student's name must not become a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
