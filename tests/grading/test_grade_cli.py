"""`dropout-course grade`, `regrade` and `handout`: exit codes, sentences, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dropout_course.cli import app, grading
from dropout_course.grading.sandbox import NoSandbox, Sandbox
from tests.grading.material import ROOT, WRONG, InProcess, filled, hand_in

OUTPUTS = {"gradebook.sqlite", "grades.csv", "results.json", "summary.html", "feedback"}


class _Runner(InProcess):
    """The stand-in with the sandboxed runner's manners."""

    def __init__(self, *, workers: int, sandbox: Sandbox) -> None:
        super().__init__()

    def __enter__(self) -> _Runner:
        return self

    def __exit__(self, *_: object) -> None:
        pass


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
    (tmp_path / "in" / "eve").mkdir()
    (tmp_path / "in" / "eve" / "00_start.ipynb").write_bytes(b"\xff")
    return tmp_path / "in"


def written(target: Path) -> set[str]:
    return {path.name for path in target.iterdir() if not path.name.startswith(".")}


def test_grading_exits_with_0_however_bad_a_submission_is(place: Path, tmp_path: Path) -> None:
    target = tmp_path / "grades"
    result = invoke("grade", place, "--out", target)
    assert result.exit_code == 0, result.output
    assert "3 submissions processed (2 graded, 1 unreadable)." in result.output
    assert written(target) == OUTPUTS
    assert (target / "feedback" / "alice" / "00_start.html").exists()
    again = invoke("grade", place, "--out", target)
    assert again.exit_code == 0
    assert "0 submissions processed. 3 graded before and unchanged." in again.output


def test_a_page_that_was_lost_is_written_again(place: Path, tmp_path: Path) -> None:
    target = tmp_path / "grades"
    invoke("grade", place, "--out", target)
    page = target / "feedback" / "bob" / "00_start.html"
    text = page.read_text(encoding="utf-8")
    page.unlink()
    invoke("grade", place, "--out", target)
    assert page.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("formats", "expected"),
    [(["json"], {"results.json"}), (["csv", "html"], {"grades.csv", "summary.html", "feedback"})],
)
def test_only_the_formats_asked_for(
    place: Path, tmp_path: Path, formats: list[str], expected: set[str]
) -> None:
    options = [part for name in formats for part in ("--format", name)]
    invoke("grade", place, "--out", tmp_path / "grades", *options)
    assert written(tmp_path / "grades") == expected | {"gradebook.sqlite"}
    invoke("regrade", tmp_path / "grades")
    assert written(tmp_path / "grades") == expected | {"gradebook.sqlite"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "--out", "grades"], "does not exist"),
        (["in", "--out", "grades", "--lessons", "99"], "99 is not a lesson"),
        (["in", "--out", "grades", "--lessons", "03"], "no notebook of the lessons asked for"),
        (["in", "--out", "in/eve/00_start.ipynb"], "cannot be used as a gradebook"),
        (["in", "--out", "grades", "--release", "in/eve/00_start.ipynb"], "no record of a release"),
        (["in", "--out", "grades", "--sandbox", "docker"], "docker"),
        (["in", "--out", "grades", "--workers", "0"], "workers"),
        (["in", "--out", "grades", "--timeout", "0"], "timeout"),
        (["in", "--out", "grades", "--format", "xlsx"], "xlsx"),
        (["in"], "--out"),
    ],
)
def test_usage_errors_exit_with_2_and_one_sentence(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    (place / "eve" / "00_start.ipynb").unlink()
    (place / "eve" / "00_start.ipynb").write_bytes(b"{}")
    if said.startswith("no notebook"):
        (place / "eve" / "00_start.ipynb").unlink()
    monkeypatch.chdir(tmp_path)
    result = invoke("grade", *arguments)
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert "Traceback" not in result.output


def test_no_sandbox_exits_with_2(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> Sandbox:
        raise NoSandbox("Install bubblewrap.")

    monkeypatch.setattr(grading, "choose", refuse)
    result = invoke("grade", place, "--out", tmp_path / "grades")
    assert (result.exit_code, result.output.strip()) == (2, "Install bubblewrap.")


def test_regrading_tells_shows_and_keeps(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "grades"
    invoke("grade", place, "--out", target)
    dry = invoke("regrade", target, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "0 of 3 submissions would change. Nothing was written." in dry.output
    real = invoke("regrade", target)
    assert "0 of 3 submissions changed; revision 2 counts." in real.output


def test_regrading_nothing_exits_with_2(tmp_path: Path) -> None:
    result = invoke("regrade", tmp_path)
    assert result.exit_code == 2
    assert "holds no gradebook" in result.output


def test_handing_out_says_where_the_zip_and_its_record_are(tmp_path: Path) -> None:
    result = invoke("handout", tmp_path / "out", "--lessons", "0", "--withhold-solutions")
    assert result.exit_code == 0, result.output
    (archive,) = (tmp_path / "out").glob("*.zip")
    (record,) = (tmp_path / "out").glob("*.release.json")
    assert archive.name in result.output
    assert record.name in result.output
    assert invoke("handout", tmp_path / "out", "--lessons", "99").exit_code == 2


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of Windows differ")
def test_ctrl_c_keeps_what_is_stored_and_says_how_to_go_on(tmp_path: Path) -> None:
    for n in range(40):
        hand_in(tmp_path / "in", f"s{n:02}", filled())
    target = tmp_path / "grades"
    program = (
        "import sys, time\n"
        "from dropout_course.cli import app, grading\n"
        "from tests.grading import test_grade_cli as t\n"
        "class Slow(t._Runner):\n"
        "    def run(self, works):\n"
        "        for one in super().run(works):\n"
        "            time.sleep(0.1)\n"
        "            yield one\n"
        "grading.Runner = Slow\n"
        "grading.choose = lambda name: t.Sandbox.NONE\n"
        "app(['grade', sys.argv[1], '--out', sys.argv[2]])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "in"), str(target)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A suite that a shell started in the background ignores SIGINT, and would hand that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while len(list((target / "feedback").glob("*"))) < 3 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "run the same command to go on" in said
    assert "Traceback" not in said
    count = len(json.loads((target / "results.json").read_text())["submissions"])
    assert 3 <= count < 40
    assert f"{count} submissions of 40 are stored" in said
