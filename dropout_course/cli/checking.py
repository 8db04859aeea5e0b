"""`dropout-course check`: run the learner's notebooks under nbval and list every check.

Reads nbval's report and the notebooks' metadata. Must not know how anything is judged.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dropout_course.checks.verdict import Outcome
from dropout_course.cli.console import find_lesson, out, root, stop
from dropout_course.display import symbol
from dropout_course.surroundings import SESSION_VARIABLE, grade_id, lesson_files, source_of

CELL_LIMIT = 120  # seconds a cell may run; a check itself stops a learner's code much earlier

STYLES = {Outcome.PASSED: "green", Outcome.FAILED: "red", Outcome.NOT_ATTEMPTED: "yellow"}

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m|#x1B\[[0-9;]*m")
_HEADLINE = re.compile(r"^[✗○] (\w+): (not right yet|not attempted yet) · ([\d.]+) of [\d.]+ point")


@dataclass(frozen=True)
class Row:
    """What became of one check."""

    exercise: str
    outcome: Outcome
    points: float
    max_points: float
    told: str = ""


@dataclass(frozen=True)
class Report:
    """A lesson's checks, a sentence for each other cell that raised, and how many cells raised
    only because a stub that they use is unfilled."""

    lesson: str
    rows: tuple[Row, ...]
    troubles: tuple[str, ...] = ()
    waiting: int = 0

    @property
    def passed(self) -> bool:
        """Whether every check passed and every cell ran."""
        every = all(row.outcome is Outcome.PASSED for row in self.rows)
        return every and not self.troubles and not self.waiting


def run(lesson: str | None) -> None:
    """Check one lesson or all, print the tables, exit with 1 unless all passed."""
    course = root()
    files = [find_lesson(course, lesson)] if lesson else lesson_files(course)
    console = out()
    reports = []
    for file in files:
        with console.status(f"Running {file.stem} in a fresh kernel …"):
            reports.append(check_notebook(file))
        _print(console, reports[-1])
    rows = [row for report in reports for row in report.rows]
    passed = sum(row.outcome is Outcome.PASSED for row in rows)
    points = sum(row.points for row in rows)
    most = sum(row.max_points for row in rows)
    console.print(
        f"{passed} of {len(rows)} exercises passed · {points:g} of {most:g} points. "
        "The explanations in 60 seconds are read by people.",
        soft_wrap=True,
    )
    if not all(report.passed for report in reports):
        raise typer.Exit(1)


def check_notebook(path: Path) -> Report:
    """Run the notebook and say what became of each check, and of other cells that raised."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError, TypeError):
        stop(f"{path} cannot be read as a notebook: take the newest of notebooks/backups.", code=1)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        process = _run_nbval(path, report, Path(folder))
        if not report.exists():
            last = (process.stderr or process.stdout).strip().splitlines()[-1:]
            stop(
                f"{path.name} could not be run ({' '.join(last) or 'no message'}): "
                "`dropout-course doctor` looks for the cause.",
                code=1,
            )
        return read_cells(path.stem, cells, read_report(report))


def read_report(report: Path) -> dict[int, str]:
    """What went wrong, by the number of the code cell; a cell that ran is not in it."""
    failures = {}
    for case in ET.parse(report).iter("testcase"):
        number = re.search(r"Cell (\d+)$", case.get("name", ""))
        trouble = next((each for each in case if each.tag in ("failure", "error", "skipped")), None)
        if number and trouble is not None:
            text = trouble.text or trouble.get("message") or ""
            failures[int(number[1])] = _ESCAPES.sub("", text)
    return failures


def _run_nbval(path: Path, report: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    # The course's own pytest settings are for its tests; the learner's notebook needs none.
    settings = folder / "pytest.ini"
    settings.write_text("[pytest]\n", encoding="utf-8")
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in (SESSION_VARIABLE, "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST")
    }
    arguments = [
        "--nbval-lax",
        "--nbval-current-env",
        f"--nbval-cell-timeout={CELL_LIMIT}",
        f"--junitxml={report}",
        f"--rootdir={folder}",
        "--quiet",
        "--color=no",
        "-p",
        "no:cacheprovider",
        "-c",
        str(settings),
        str(path),
    ]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def read_cells(
    lesson: str, cells: Sequence[Mapping[str, Any]], failures: Mapping[int, str]
) -> Report:
    """Match failures, by the number of the code cell, with the checks and the other cells."""
    rows, troubles, waiting = [], [], 0
    code_cells = [cell for cell in cells if cell.get("cell_type") == "code"]
    for number, cell in enumerate(code_cells):
        name = grade_id(cell) or ""
        failure = failures.get(number)
        if name.endswith("-check"):
            points = float(cell["metadata"]["nbgrader"].get("points", 0))
            rows.append(_check_row(name.removesuffix("-check"), points, failure))
        elif failure is not None and _last_line(failure).startswith("NotImplementedError"):
            waiting += 1
        elif failure is not None:
            first = next(iter(source_of(cell).strip().splitlines()), "")
            troubles.append(f"The cell that begins `{first}` raised {_last_line(failure)}")
    return Report(lesson, tuple(rows), tuple(troubles), waiting)


def _check_row(exercise: str, points: float, failure: str | None) -> Row:
    if failure is None:
        return Row(exercise, Outcome.PASSED, points, points)
    lines = failure.splitlines()
    for index, line in enumerate(lines):
        headline = _HEADLINE.match(line)
        if headline and headline[1] == exercise:
            waiting = headline[2] == "not attempted yet"
            outcome = Outcome.NOT_ATTEMPTED if waiting else Outcome.FAILED
            told = "" if waiting else _finding(lines[index + 1 :])
            return Row(exercise, outcome, float(headline[3]), points, told)
    return Row(exercise, Outcome.FAILED, 0, points, _last_line(failure))


def _finding(lines: Sequence[str]) -> str:
    """The report's first line after the headline that says what came back."""
    shown = dict(line.strip().partition(" ")[::2] for line in lines[:4] if line.strip())
    best = shown.get("returned") or next(iter(lines), "")
    return best.strip()


def _last_line(failure: str) -> str:
    lines = [line.strip() for line in failure.splitlines() if line.strip()]
    return lines[-1] if lines else "it did not run"


def _print(console: Console, report: Report) -> None:
    table = Table(box=None, pad_edge=False, title=report.lesson, title_justify="left")
    for column in ("exercise", "outcome"):
        table.add_column(column, no_wrap=True)
    table.add_column("points", justify="right", no_wrap=True)
    table.add_column("what came back", overflow="fold")
    for row in report.rows:
        style = STYLES[row.outcome]
        outcome = f"[{style}]{symbol(row.outcome)} {row.outcome.value}[/]"
        points = f"{row.points:g}/{row.max_points:g}"
        table.add_row(escape(row.exercise), outcome, points, escape(row.told))
    console.print(table)
    for sentence in report.troubles:
        console.print(sentence, markup=False, soft_wrap=True)
    if report.waiting:
        cells = "cell waits" if report.waiting == 1 else "cells wait"
        console.print(f"{report.waiting} other {cells} for an unfilled stub.")
    console.print()
