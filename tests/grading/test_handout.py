"""The zip for students: complete, the same bytes each time, and known to grading."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dropout_course.course import LESSONS, find_lesson
from dropout_course.grading import release
from dropout_course.grading.gradebook import Gradebook
from dropout_course.grading.handout import Handout, HandoutError, hand_out
from dropout_course.grading.pipeline import Options, Releases, grade
from tests.grading.material import ROOT, InProcess, Watching, cell_of, hand_in

FIRST = LESSONS[:1]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DROPOUT_COURSE_HOME", str(tmp_path / "home"))


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A copy of the course, to be worked in."""
    place = tmp_path / "course"
    skipped = shutil.ignore_patterns("__pycache__")
    for name in ("dropout_course", "notebooks", "solutions"):
        shutil.copytree(ROOT / name, place / name, ignore=skipped)
    for name in ("README.md", "LICENSE", "Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, place)
    return place


def made(course: Path, target: Path, *, withheld: bool = False) -> Handout:
    return hand_out(course, target, FIRST, withhold_solutions=withheld)


def names(handout: Handout) -> set[str]:
    with zipfile.ZipFile(handout.archive) as archive:
        assert archive.testzip() is None
        return set(archive.namelist())


def test_it_holds_the_lessons_the_package_and_the_set_up(course: Path, tmp_path: Path) -> None:
    held = names(made(course, tmp_path / "out"))
    assert {
        "dropout-course/notebooks/00_start.ipynb",
        "dropout-course/solutions/00_start.ipynb",
        "dropout-course/dropout_course/__init__.py",
        "dropout-course/dropout_course/stubs.json",
        "dropout-course/dropout_course/display.css",
        "dropout-course/pyproject.toml",
        "dropout-course/README.md",
    } <= held
    assert "dropout-course/notebooks/03_inverted_dropout.ipynb" not in held
    assert not [name for name in held if "__pycache__" in name or "/tests/" in name]


def test_withheld_solutions_are_nowhere_in_it(course: Path, tmp_path: Path) -> None:
    handout = made(course, tmp_path / "out", withheld=True)
    assert not [name for name in names(handout) if "solutions" in name]
    marker = b"### BEGIN SOLUTION"
    with zipfile.ZipFile(handout.archive) as archive:
        notebooks = [name for name in archive.namelist() if name.endswith(".ipynb")]
        assert notebooks
        assert not [name for name in notebooks if marker in archive.read(name)]


def test_the_same_course_gives_the_same_bytes(course: Path, tmp_path: Path) -> None:
    one = made(course, tmp_path / "one")
    for path in course.rglob("*"):
        path.touch()
    (course / "dropout_course" / "__pycache__").mkdir()
    (course / "dropout_course" / "__pycache__" / "x.pyc").write_bytes(b"x")
    other = made(course, tmp_path / "other")
    assert one.archive.read_bytes() == other.archive.read_bytes()
    assert one.record.read_bytes() == other.record.read_bytes()


def test_what_students_get_runs_and_says_that_solutions_are_kept(
    course: Path, tmp_path: Path
) -> None:
    handout = made(course, tmp_path / "out", withheld=True)
    with zipfile.ZipFile(handout.archive) as archive:
        archive.extractall(tmp_path / "student")
    place = tmp_path / "student" / "dropout-course"
    program = "from dropout_course import solution; solution('keep_probability')"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "not handed out" in done.stdout


def test_a_notebook_that_somebody_worked_in_is_not_handed_out(course: Path, tmp_path: Path) -> None:
    path = course / "notebooks" / "00_start.ipynb"
    document = json.loads(path.read_text(encoding="utf-8"))
    cell_of(document, "keep_probability")["source"] = "def keep_probability(p): return 1 - p"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(HandoutError, match="is not the stub"):
        made(course, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_notebook_with_outputs_is_not_handed_out(course: Path, tmp_path: Path) -> None:
    path = course / "notebooks" / "00_start.ipynb"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "1"}]
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(HandoutError, match="holds outputs"):
        made(course, tmp_path / "out")


def test_solutions_that_are_not_there_are_said(course: Path, tmp_path: Path) -> None:
    shutil.rmtree(course / "solutions")
    with pytest.raises(HandoutError, match="--withhold-solutions"):
        made(course, tmp_path / "out")
    made(course, tmp_path / "out", withheld=True)


def test_grading_knows_what_was_handed_out(course: Path, tmp_path: Path) -> None:
    """A later edition of the course still tells a student's changes from the lesson's text."""
    handout = made(course, tmp_path / "out")
    recorded = release.recorded(release.folder())
    assert set(recorded) == {handout.release}
    assert release.read(handout.record) == recorded[handout.release]
    with zipfile.ZipFile(handout.archive) as archive:
        document = json.loads(archive.read("dropout-course/notebooks/00_start.ipynb"))
    assert document["metadata"]["dropout_course"]["release"] == handout.release
    cell_of(document, "keep_probability")["source"] = "def keep_probability(p):\n    return 1 - p"
    hand_in(tmp_path / "in", "alice", document)
    with Gradebook(tmp_path / "grades") as book:
        releases = Releases(release.current(), recorded)
        grade(tmp_path / "in", book, releases, InProcess(), Options(), Watching())
        (entry,) = book.entries()
    assert (entry.score, entry.notes) == (1, ())


def test_damaged_records_of_releases_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text('{"id": 1, "version": "", "lessons": {"x": [{"y": 1}]}}')
    assert release.recorded(tmp_path) == {}
    with pytest.raises(release.ReleaseMissing, match="no record of a release"):
        release.read(tmp_path / "a.json")
    assert find_lesson("00").id in release.current().lessons
