"""Each export is read by its consumer: nbgrader's API, junitparser, pandas, Gradescope's rules.

Where the consumer is no Python program (Canvas, Moodle, Gradescope itself), its rules are written
down here as its sources and specification state them, in our words.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import unittest
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from gradescope_utils.autograder_utils.json_test_runner import JSONTestRunner
from junitparser import Error, Failure, JUnitXml, Skipped
from nbgrader.api import Gradebook as NbgraderGradebook

from dropout_course.checks.verdict import Finding, Outcome, Verdict
from dropout_course.course import find_lesson
from dropout_course.grading.exports import Format, canvas, gradescope, junit, moodle, write
from dropout_course.grading.exports.autograder import run as run_autograder
from dropout_course.grading.exports.nbgrader import fill, opened
from dropout_course.grading.exports.reading import Grades
from dropout_course.grading.gradebook import Entry
from dropout_course.grading.work import Status

ROOT = Path(__file__).parents[2]
LESSON = find_lesson("03")
HOSTILE = '=HYPERLINK("x";A1), \x1b[31m<b>&naïve'


def verdict(exercise: str, outcome: Outcome, points: float, most: float) -> Verdict:
    finding = Finding(
        "scale",
        outcome is Outcome.PASSED,
        "survivors are scaled by 1 / (1 - p)",
        called="inverted_dropout(x, p=0.3)",
        returned="survivors multiplied by 1",
        expected="1.429",
        why="Without the scale the mean shrinks",
        misconception=None if outcome is Outcome.PASSED else "no-scaling",
    )
    findings = () if outcome is Outcome.NOT_ATTEMPTED else (finding,)
    named = ("no-scaling",) if outcome is Outcome.FAILED else ()
    return Verdict(exercise, outcome, points, most, findings, named)


def entry(student: str, *, failed: bool = False, **changes: Any) -> Entry:
    ids = [exercise.id for exercise in LESSON.exercises]
    first = (
        verdict(ids[0], Outcome.FAILED, 0, 3) if failed else verdict(ids[0], Outcome.PASSED, 3, 3)
    )
    values: dict[str, Any] = {
        "student": student,
        "lesson": LESSON.id,
        "status": Status.GRADED,
        "seconds": 0.25,
        "notes": (),
        "verdicts": (
            first,
            verdict(ids[1], Outcome.PASSED, 2.5, 3),
            verdict(ids[2], Outcome.NOT_ATTEMPTED, 0, 2),
        ),
    }
    return Entry(**values | changes)


OTHER = entry("alice", lesson="02_standard_dropout")
ENTRIES = (
    OTHER,
    entry("alice"),
    entry("bob", failed=True, notes=(HOSTILE,)),
    entry("doejane_123", platform="canvas", platform_id="123"),
    entry("Max Muster_77", failed=True, platform="moodle", platform_id="77"),
    entry(HOSTILE, status=Status.TIMED_OUT),
    entry("zoe", lesson="homework", status=Status.REFUSED, verdicts=(), notes=("No lesson.",)),
)
# The first second that strftime would need two digits for everywhere but the year.
MADE_AT = datetime(2026, 11, 23, 4, 5, 6, tzinfo=UTC)


def grades(entries: tuple[Entry, ...] = ENTRIES) -> Grades:
    return Grades(lambda: iter(entries), MADE_AT)


# --- Gradescope ---------------------------------------------------------------------------------

VISIBILITIES = {"hidden", "after_due_date", "after_published", "visible"}
FORMATS = {"text", "html", "simple_format", "md", "ansi"}
TOP = {
    "score", "execution_time", "output", "output_format", "test_output_format", "test_name_format",
    "visibility", "stdout_visibility", "extra_data", "tests", "leaderboard",
}  # fmt: skip
TEST = {
    "score", "max_score", "status", "name", "name_format", "number", "output", "output_format",
    "tags", "visibility", "extra_data",
}  # fmt: skip


def hold_to_the_specification(document: dict[str, Any]) -> None:
    """The rules of gradescope-autograders.readthedocs.io/en/latest/specs."""
    assert document.keys() <= TOP
    assert isinstance(document["score"], int | float)
    assert document.get("visibility", "visible") in VISIBILITIES
    assert document.get("stdout_visibility", "hidden") in VISIBILITIES
    assert document.get("output_format", "text") in FORMATS
    for test in document["tests"]:
        assert test.keys() <= TEST
        assert 0 <= test["score"] <= test["max_score"]
        assert test["status"] in {"passed", "failed"}
        assert test.get("visibility", "visible") in VISIBILITIES
        assert isinstance(test["output"], str)


def test_gradescope_results_follow_its_specification() -> None:
    for one in ENTRIES:
        document = json.loads(gradescope.text([one]))
        hold_to_the_specification(document)
        assert document["score"] == one.score
        assert [test["name"] for test in document["tests"]] == [v.exercise for v in one.verdicts]


def test_gradescope_results_have_the_fields_that_its_own_python_runner_writes() -> None:
    class OneTest(unittest.TestCase):
        def test_it(self) -> None: ...

    OneTest.test_it.__weight__ = 2  # type: ignore[attr-defined]
    OneTest.test_it.__number__ = "1"  # type: ignore[attr-defined]
    OneTest.test_it.__visibility__ = "visible"  # type: ignore[attr-defined]
    stream = io.StringIO()
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(OneTest)
    JSONTestRunner(visibility="visible", stdout_visibility="hidden", stream=stream).run(suite)
    theirs = json.loads(stream.getvalue())
    ours = gradescope.results([entry("alice")])
    assert {key: type(value) for key, value in theirs["tests"][0].items()}.keys() <= ours["tests"][
        0
    ].keys()
    assert theirs.keys() - {"leaderboard"} <= ours.keys()


def test_gradescope_gets_a_file_for_each_submission_whatever_the_names_hold(tmp_path: Path) -> None:
    write(grades(), Format.GRADESCOPE, tmp_path)
    found = list((tmp_path / "gradescope").rglob("results.json"))
    assert len(found) == len(ENTRIES)
    for path in found:
        hold_to_the_specification(json.loads(path.read_text("utf-8")))


@pytest.fixture(scope="module")
def autograder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("autograder")
    gradescope.write_autograder(folder, [LESSON.id])
    return folder


def test_the_autograder_has_its_programs_at_the_root_and_no_solutions(autograder: Path) -> None:
    for name in ("setup.sh", "run_autograder"):
        path = autograder / name
        assert path.stat().st_mode & 0o111
        assert path.read_text("utf-8").startswith("#!/usr/bin/env bash\n")
        assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    assert not list(autograder.rglob("solutions"))
    assert (autograder / "course" / "notebooks" / f"{LESSON.id}.ipynb").exists()


def upload(root: Path, *sources: Path) -> dict[str, Any]:
    """What Gradescope's harness does: lay out /autograder, run, read the results."""
    (root / "submission").mkdir(parents=True)
    (root / "source").mkdir()
    (root / "source" / "lessons.txt").write_text(f"{LESSON.id}\n", "utf-8")
    for source in sources:
        (root / "submission" / source.name).write_bytes(source.read_bytes())
    run_autograder(root)
    document: dict[str, Any] = json.loads((root / "results" / "results.json").read_text("utf-8"))
    hold_to_the_specification(document)
    return document


def test_the_autograder_gives_a_solved_upload_all_points(tmp_path: Path) -> None:
    document = upload(tmp_path, ROOT / "solutions" / f"{LESSON.id}.ipynb")
    assert document["score"] == sum(exercise.points for exercise in LESSON.exercises)


def test_the_autograder_says_why_where_there_is_nothing_to_grade(tmp_path: Path) -> None:
    document = upload(tmp_path)
    assert document["score"] == 0
    assert "no notebook" in document["output"]


# --- Canvas -------------------------------------------------------------------------------------


def read_as_canvas(
    text: str,
) -> tuple[dict[str, float], dict[tuple[str, str, str], dict[str, str]]]:
    """The rules of canvas-lms lib/gradebook_importer.rb, in our words.

    Returns points by assignment, and scores by assignment for each (name, id, login).
    """
    rows = list(csv.reader(io.StringIO(text)))
    header = rows[0]
    assert len(header) > 3
    assert "Student" in header[0]
    assert "ID" in header[1]
    assert re.search(r"SIS\s+Login\s+ID", header[2])
    assert "Section" in header[3]
    assignments = header[4:]
    # Columns by these names are Canvas' own totals and are dropped.
    assert not [name for name in assignments if re.search("(Current|Final|Override) ", name)]
    points, students = {}, {}
    for row in rows[1:]:
        assert len(row) == len(header)
        if "Points Possible" in row[0]:
            points = dict(zip(assignments, map(float, row[4:]), strict=True))
        else:
            students[row[0], row[1], row[2]] = dict(zip(assignments, row[4:], strict=True))
    return points, students


def test_canvas_reads_the_gradebook() -> None:
    points, students = read_as_canvas(canvas.table(grades()))
    assert points == {LESSON.id: 8.0, "02_standard_dropout": 8.0}
    assert students["alice", "", "alice"] == {LESSON.id: "5.5", "02_standard_dropout": "5.5"}
    assert students["bob", "", "bob"] == {LESSON.id: "2.5", "02_standard_dropout": ""}
    assert students["doejane", "123", ""][LESSON.id] == "5.5"


def test_canvas_takes_no_student_for_a_formula_or_for_another_ones_number() -> None:
    _, students = read_as_canvas(canvas.table(grades((entry(HOSTILE), entry("4711")))))
    assert all(not name.startswith("=") for name, _, _ in students)
    assert ("4711", "", "4711") in students, "a folder's number is a login, not Canvas' own number"


def test_pandas_reads_the_canvas_file(tmp_path: Path) -> None:
    (path,) = write(grades(), Format.CANVAS, tmp_path)
    table = pd.read_csv(path, skiprows=[1])
    assert table[LESSON.id].sum() == pytest.approx(
        sum(e.score for e in ENTRIES if e.lesson == LESSON.id)
    )


# --- Moodle -------------------------------------------------------------------------------------


def test_moodle_reads_the_worksheet_of_those_it_numbered(tmp_path: Path) -> None:
    """mod/assign/feedback/offline/importgradeslib.php: three columns by name, number at the end."""
    write(grades(), Format.MOODLE, tmp_path)
    rows = list(csv.DictReader((tmp_path / f"moodle-{LESSON.id}.csv").open(encoding="utf-8")))
    assert rows[0].keys() >= {"Identifier", "Grade", "Last modified (grade)", "Feedback comments"}
    (row,) = rows
    assert row["Identifier"][len("Participant ") :] == "77"
    assert (row["Full name"], float(row["Grade"])) == ("Max Muster", 2.5)
    assert "survivors multiplied by 1" in row["Feedback comments"]


def test_moodle_reads_the_gradebook_with_a_grade_and_feedback_a_lesson() -> None:
    """grade/import/csv/classes/load_data.php: numbers or "-", at most 100; every row complete."""
    rows = list(csv.DictReader(io.StringIO(moodle.table(grades()), newline="")))
    by_student = {row["Username"]: row for row in rows}
    assert len(by_student) == len(rows)
    for row in rows:
        assert None not in row.values()
        grade = row[LESSON.id]
        assert grade == "-" or 0 <= float(grade) <= 100
    assert by_student["bob"]["02_standard_dropout"] == "-"
    assert "not right yet" in by_student["bob"][f"{LESSON.id} (feedback)"]
    assert not [name for name in by_student if name.startswith("=")]


def test_moodle_identifies_by_mail_where_all_students_are_addresses() -> None:
    text = moodle.table(grades((entry("a@x.org"), entry("b@x.org"))))
    assert text.startswith("Email address,")


# --- JUnit --------------------------------------------------------------------------------------


def junit_document(entries: tuple[Entry, ...] = ENTRIES) -> JUnitXml:
    return JUnitXml.fromstring(b"".join(junit.document(grades(entries))))


def test_junitparser_counts_what_the_gradebook_says() -> None:
    suites = list(junit_document())
    assert len(suites) == len(ENTRIES)
    for suite in suites:
        declared = (suite.tests, suite.failures, suite.errors, suite.skipped)
        suite.update_statistics()
        assert declared == (suite.tests, suite.failures, suite.errors, suite.skipped)


def test_junit_outcomes_are_failure_skipped_and_error() -> None:
    failed, timed_out = junit_document((entry("x", failed=True), entry("y", status=Status.CRASHED)))
    kinds = [[type(result) for result in case.result] for case in failed]
    assert kinds == [[Failure], [], [Skipped]]
    (failure,) = next(iter(failed)).result
    assert (failure.type, failure.message) == ("no-scaling", "survivors multiplied by 1")
    assert [[type(r) for r in case.result] for case in timed_out] == [[], [], [Error]]


def test_junit_has_what_the_strictest_schema_asks_of_a_suite() -> None:
    """windyroad/JUnit-Schema: required attributes, order of children, a time without a zone."""
    for place, suite in enumerate(junit_document()):
        element = suite._elem
        assert set(element.keys()) >= {
            "name", "timestamp", "hostname", "tests", "failures", "errors", "time", "package", "id",
        }  # fmt: skip
        assert element.get("id") == str(place)
        assert element.get("timestamp") == "2026-11-23T04:05:06"
        order = [child.tag for child in element]
        assert order == ["properties", *["testcase"] * (len(order) - 3), "system-out", "system-err"]
        for case in element.iter("testcase"):
            assert set(case.keys()) >= {"name", "classname", "time"}
            assert len(case) <= 1
            assert all(child.get("type") for child in case if child.tag != "skipped")


# --- nbgrader -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def empty_gradebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nbgrader takes seconds to make one, since it starts alembic."""
    path = tmp_path_factory.mktemp("nbgrader") / "gradebook.db"
    with opened(path):
        return path


@pytest.fixture
def nbgrader_gradebook(tmp_path: Path, empty_gradebook: Path) -> Iterator[Any]:
    shutil.copy(empty_gradebook, tmp_path / "gradebook.db")
    with opened(tmp_path / "gradebook.db") as gradebook:
        yield gradebook


def test_nbgrader_has_scores_comments_and_what_a_person_is_to_grade(
    nbgrader_gradebook: Any,
) -> None:
    fill(nbgrader_gradebook, grades())
    submission = nbgrader_gradebook.find_submission(LESSON.id, "bob")
    assert (submission.score, submission.max_score) == (2.5, 10.0)  # 8 and 2 for the explanation
    assert submission.needs_manual_grade, "the explanation waits for a person"
    arguments = ("inverted_dropout", LESSON.id, LESSON.id, "bob")
    comment = nbgrader_gradebook.find_comment(*arguments)
    assert "survivors multiplied by 1" in comment.comment
    assert {student.id for student in nbgrader_gradebook.students} >= {"alice", "bob"}


def test_nbgrader_cells_are_those_that_nbgrader_itself_finds(nbgrader_gradebook: Any) -> None:
    from nbgrader import utils

    fill(nbgrader_gradebook, grades())
    released = nbformat.read(ROOT / "notebooks" / f"{LESSON.id}.ipynb", as_version=4).cells
    theirs = {
        cell.metadata.nbgrader.grade_id: float(cell.metadata.nbgrader.points)
        for cell in released
        if utils.is_grade(cell)
    }
    notebook = nbgrader_gradebook.find_notebook(LESSON.id, LESSON.id)
    assert {cell.name: cell.max_score for cell in notebook.grade_cells} == theirs
    solutions = {c.metadata.nbgrader.grade_id for c in released if utils.is_solution(c)}
    assert {cell.name for cell in notebook.solution_cells} == solutions


def test_nbgrader_export_repeated_keeps_what_a_person_entered(nbgrader_gradebook: Any) -> None:
    fill(nbgrader_gradebook, grades())
    arguments = ("inverted_dropout-check", LESSON.id, LESSON.id, "bob")
    grade = nbgrader_gradebook.find_grade(*arguments)
    grade.manual_score = 1.5
    nbgrader_gradebook.db.commit()
    fill(nbgrader_gradebook, grades())
    grade = nbgrader_gradebook.find_grade(*arguments)
    assert (grade.auto_score, grade.manual_score, grade.score) == (0, 1.5, 1.5)
    assert grade.needs_manual_grade
    assert len(nbgrader_gradebook.assignment_submissions(LESSON.id)) == 5


def test_nbgrader_export_joins_the_assignment_that_holds_the_notebook(
    nbgrader_gradebook: Any,
) -> None:
    nbgrader_gradebook.add_assignment("week 3")
    nbgrader_gradebook.add_notebook(LESSON.id, "week 3")
    nbgrader_gradebook.add_student("alice")
    nbgrader_gradebook.add_submission("week 3", "alice")  # made before the cells were known
    fill(nbgrader_gradebook, grades((entry("alice"),)))
    assert nbgrader_gradebook.find_submission("week 3", "alice").score == 5.5


def test_nbgraders_own_exporter_lists_the_scores(tmp_path: Path, empty_gradebook: Path) -> None:
    from nbgrader.plugins import CsvExportPlugin

    shutil.copy(empty_gradebook, tmp_path / "gradebook.db")
    write(grades(), Format.NBGRADER, tmp_path)
    plugin = CsvExportPlugin()
    plugin.to = str(tmp_path / "out.csv")
    with NbgraderGradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as gradebook:
        plugin.export(gradebook)
    rows = csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8"))
    scores = {(row["assignment"], row["student_id"]): float(row["score"]) for row in rows}
    assert scores[LESSON.id, "alice"] == 5.5
