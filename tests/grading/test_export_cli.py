"""`dropout-course export`, and `grade` on a cluster or for other programs: files, sentences."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dropout_course.cli import app, grading
from dropout_course.grading.sandbox import Sandbox
from tests.grading.material import WRONG, InProcess, filled, hand_in


class _Runner(InProcess):
    """The stand-in with the sandboxed runner's manners."""

    def __init__(self, *, workers: int, sandbox: Sandbox) -> None:
        super().__init__()

    def __enter__(self) -> _Runner:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(grading, "Runner", _Runner)
    monkeypatch.setattr(grading, "choose", lambda name: Sandbox.NONE)
    monkeypatch.setenv("DROPOUT_COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    hand_in(tmp_path / "in", "alice", filled())
    hand_in(tmp_path / "in", "bob", filled(WRONG))
    return tmp_path / "in"


def test_export_writes_each_format_and_names_what_people_open(place: Path, tmp_path: Path) -> None:
    grades = tmp_path / "grades"
    assert invoke("grade", place, "--out", grades).exit_code == 0
    result = invoke("export", grades, "--format", "canvas", "--format", "gradescope")
    assert result.exit_code == 0, result.output
    told = [line.removeprefix("wrote ") for line in result.stdout.splitlines()]
    names = ("canvas.csv", "gradescope", "gradescope-autograder")
    assert told == [str(grades / "exports" / name) for name in names]
    assert all(Path(path).exists() for path in told)


def test_export_goes_where_it_is_told(place: Path, tmp_path: Path) -> None:
    invoke("grade", place, "--out", tmp_path / "grades")
    result = invoke(
        "export", tmp_path / "grades", "--format", "junit", "--out", tmp_path / "reports"
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "reports" / "junit.xml").exists()


def test_grade_writes_another_programs_format_when_asked(place: Path, tmp_path: Path) -> None:
    grades = tmp_path / "grades"
    result = invoke("grade", place, "--out", grades, "--format", "csv", "--format", "moodle")
    assert result.exit_code == 0, result.output
    assert (grades / "grades.csv").exists()
    assert (grades / "exports" / "moodle.csv").exists()
    assert not (grades / "results.json").exists()


def test_export_of_no_gradebook_says_what_to_give(tmp_path: Path) -> None:
    result = invoke("export", tmp_path, "--format", "canvas")
    assert result.exit_code == 2
    assert "holds no gradebook" in result.stderr


def test_export_leaves_reports_to_grade(tmp_path: Path) -> None:
    result = invoke("export", tmp_path, "--format", "csv")
    assert result.exit_code == 2
    assert "written by `grade`" in result.stderr


def test_a_scheduler_that_is_not_there_is_said_in_a_sentence(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dropout_course.grading import cluster

    monkeypatch.setattr(cluster.Patience, "__init__", lambda self: None)
    monkeypatch.setattr(cluster.Patience, "scheduler", 1.0)
    address = "tcp://127.0.0.1:9"
    result = invoke("grade", place, "--out", tmp_path / "grades", "--scheduler", address)
    assert result.exit_code == 1
    assert f"No Dask scheduler answers at {address}" in result.stderr


def test_workers_and_scheduler_exclude_each_other(place: Path, tmp_path: Path) -> None:
    options = ("--workers", 2, "--scheduler", "tcp://127.0.0.1:9")
    result = invoke("grade", place, "--out", tmp_path / "grades", *options)
    assert result.exit_code == 2
    assert "leave it out" in result.stderr
