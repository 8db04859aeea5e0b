"""The command line: what each command says and does to files, and how it answers mistakes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dropout_course import surroundings
from dropout_course.authoring import BuildReport
from dropout_course.cli import app, checking, examining, resetting, serving
from dropout_course.progress import HOME_VARIABLE

ROOT = Path(__file__).parent.parent
STUB = "def keep_probability(p):\n    # YOUR CODE HERE\n    raise NotImplementedError()"
RIGHT = "def keep_probability(p):\n    if not 0 <= p <= 1: raise ValueError(p)\n    return 1 - p"


def code_cell(source: str, **nbgrader: object) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": 1,
        "id": f"cell-{abs(hash(source)) % 10**8}",
        "metadata": {"nbgrader": nbgrader} if nbgrader else {},
        "outputs": [{"output_type": "stream", "name": "stdout", "text": ["old"]}],
        "source": source.splitlines(keepends=True),
    }


def a_notebook(solution: str = STUB) -> dict[str, Any]:
    return {
        "cells": [
            {"cell_type": "markdown", "id": "title", "metadata": {}, "source": ["# Start"]},
            code_cell("from dropout_course import check"),
            code_cell(solution, grade_id="keep_probability", solution=True, grade=False),
            code_cell(
                "check(keep_probability)",
                grade_id="keep_probability-check",
                solution=False,
                grade=True,
                points=1,
            ),
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A course of its own, with one lesson and the packaged stub of its exercise."""
    folder = tmp_path / "a course with spaces"
    (folder / "notebooks").mkdir(parents=True)
    (folder / "dropout_course").mkdir()
    (folder / "dropout_course" / "stubs.json").write_text(json.dumps({"keep_probability": STUB}))
    save(folder, a_notebook())
    monkeypatch.setattr(surroundings, "PACKAGE", folder / "dropout_course")
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return folder


def lesson_file(course: Path) -> Path:
    return course / "notebooks" / "00_start.ipynb"


def save(course: Path, notebook: dict[str, Any]) -> None:
    lesson_file(course).write_text(json.dumps(notebook))


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def source(notebook: dict[str, Any], index: int) -> str:
    return "".join(notebook["cells"][index]["source"])


def run(*arguments: str, answer: str | None = None) -> Any:
    return CliRunner().invoke(app, list(arguments), input=answer)


def one_sentence(text: str) -> str:
    assert "Traceback" not in text
    assert len(text.strip().splitlines()) == 1
    return text


# --- help and mistakes --------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["lab", "doctor", "check", "status", "reset", "build"])
def test_every_command_has_a_help_text_that_teaches(command: str) -> None:
    shown = run(command, "--help")
    assert shown.exit_code == 0
    assert len(shown.output.splitlines()) > 8
    if command not in ("doctor", "status"):
        assert f"dropout-course {command}" in shown.output


def test_no_command_shows_the_commands() -> None:
    shown = run()
    for command in ("lab", "doctor", "check", "status", "reset", "build"):
        assert command in shown.output


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, dropout_course.cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("command", ["check", "reset"])
def test_an_unknown_lesson_is_answered_with_the_valid_ones(course: Path, command: str) -> None:
    shown = run(command, "17")
    assert shown.exit_code == 2
    assert "There is no lesson 17: the lessons are 00_start" in one_sentence(shown.stderr)


@pytest.mark.parametrize(
    "name", ["0", "00", "00_start", "00_start.ipynb", "notebooks/00_start.ipynb"]
)
def test_a_lesson_goes_by_its_number_its_name_or_its_file(course: Path, name: str) -> None:
    from dropout_course.cli.console import find_lesson

    assert find_lesson(course, name) == lesson_file(course)


def test_outside_of_a_course_one_sentence_says_where_was_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "PACKAGE", tmp_path / "site" / "dropout_course")
    monkeypatch.chdir(tmp_path)
    shown = run("check")
    assert shown.exit_code == 2
    assert str(tmp_path) in one_sentence(shown.stderr)


def test_the_current_folder_or_one_above_it_can_be_the_course(
    course: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(surroundings, "PACKAGE", tmp_path / "site" / "dropout_course")
    monkeypatch.chdir(course / "notebooks")
    assert surroundings.course_root() == course


# --- reset --------------------------------------------------------------------------------------


def test_reset_puts_the_stub_back_and_names_the_backup(course: Path) -> None:
    save(course, a_notebook(RIGHT))
    before = lesson_file(course).read_bytes()
    shown = run("reset", "00", "--yes")
    assert shown.exit_code == 0
    (backup,) = (course / "notebooks" / "backups").iterdir()
    assert str(backup) in shown.output
    assert backup.read_bytes() == before
    notebook = load(lesson_file(course))
    assert source(notebook, 2) == STUB
    assert notebook["cells"][2]["outputs"] == []
    assert notebook["cells"][2]["execution_count"] is None
    assert notebook["cells"][3] == a_notebook(RIGHT)["cells"][3]


def test_reset_of_lessons_as_handed_out_changes_no_byte(tmp_path: Path) -> None:
    for original in sorted((ROOT / "notebooks").glob("*.ipynb")):
        copy = tmp_path / original.name
        copy.write_bytes(original.read_bytes())
        notebook = load(copy)
        for cell in list(notebook["cells"]):
            name = surroundings.grade_id(cell) or ""
            if name in surroundings.stubs():
                resetting.restore(notebook, name, surroundings.stubs()[name])
        resetting._write(copy, notebook)
        assert copy.read_bytes() == original.read_bytes(), original.name


def test_two_resets_in_one_second_keep_two_backups(course: Path) -> None:
    for _ in range(2):
        assert run("reset", "00", "keep_probability", "-y").exit_code == 0
    assert len(list((course / "notebooks" / "backups").iterdir())) == 2


def test_reset_asks_and_a_no_changes_nothing(course: Path) -> None:
    save(course, a_notebook(RIGHT))
    before = lesson_file(course).read_bytes()
    shown = run("reset", "00", answer="n\n")
    assert shown.exit_code == 1
    assert "keep_probability" in shown.output
    assert "Nothing was changed." in shown.stderr
    assert lesson_file(course).read_bytes() == before


def test_reset_of_an_exercise_of_another_lesson_names_the_right_ones(course: Path) -> None:
    shown = run("reset", "00", "inverted_dropout", "-y")
    assert shown.exit_code == 2
    assert "it has keep_probability" in one_sentence(shown.stderr)


def test_reset_brings_a_deleted_cell_back_above_its_check(course: Path) -> None:
    notebook = a_notebook()
    del notebook["cells"][2]
    save(course, notebook)
    assert run("reset", "00", "-y").exit_code == 0
    repaired = load(lesson_file(course))
    assert [surroundings.grade_id(cell) for cell in repaired["cells"]] == [
        None,
        None,
        "keep_probability",
        "keep_probability-check",
    ]
    assert source(repaired, 2) == STUB


def test_of_copied_cells_the_first_becomes_the_stub_and_the_copy_keeps_its_text() -> None:
    notebook = a_notebook("first")
    notebook["cells"].insert(3, a_notebook("copy")["cells"][2])
    assert resetting.restore(notebook, "keep_probability", STUB)
    assert source(notebook, 2) == STUB
    assert source(notebook, 3) == "copy"
    assert surroundings.grade_id(notebook["cells"][3]) is None


def test_a_file_that_is_no_notebook_is_left_alone(course: Path) -> None:
    lesson_file(course).write_text("{ half a notebook")
    shown = run("reset", "00", "-y")
    assert shown.exit_code == 1
    assert "cannot be read as a notebook" in one_sentence(shown.stderr)
    assert lesson_file(course).read_text() == "{ half a notebook"


def test_reset_without_a_place_for_the_backup_changes_nothing(course: Path) -> None:
    save(course, a_notebook(RIGHT))
    (course / "notebooks" / "backups").write_text("in the way")
    shown = run("reset", "00", "-y")
    assert shown.exit_code == 1
    assert "Nothing was changed" in shown.stderr
    assert source(load(lesson_file(course)), 2) == RIGHT


# --- check --------------------------------------------------------------------------------------


def test_check_passes_a_solved_lesson_and_exits_with_0(course: Path) -> None:
    save(course, a_notebook(RIGHT))
    shown = run("check", "00")
    assert re.search(r"keep_probability\s+✓ passed\s+1/1", shown.output), shown.output
    assert "1 of 1 exercises passed · 1 of 1 points" in shown.output
    assert shown.exit_code == 0


def test_check_of_an_unfilled_lesson_says_not_attempted_and_exits_with_1(course: Path) -> None:
    shown = run("check")
    assert re.search(r"keep_probability\s+○ not attempted\s+0/1", shown.output), shown.output
    assert shown.exit_code == 1


def test_check_shows_the_first_line_of_the_finding(course: Path) -> None:
    save(course, a_notebook("def keep_probability(p):\n    return p"))
    shown = run("check", "00")
    row = next(line for line in shown.output.splitlines() if "keep_probability" in line)
    assert re.search(r"✗ failed\s+0/1\s+\S+", row), shown.output
    assert shown.exit_code == 1


def test_check_tells_which_other_cell_raised(course: Path) -> None:
    notebook = a_notebook(RIGHT)
    notebook["cells"].insert(2, code_cell("a = 1\n1 / 0"))
    save(course, notebook)
    shown = run("check", "00")
    assert "The cell that begins `a = 1` raised ZeroDivisionError" in shown.output
    assert "1 of 1 exercises passed" in shown.output
    assert shown.exit_code == 1


def test_check_leaves_the_notebook_as_it_is(course: Path) -> None:
    before = lesson_file(course).read_bytes()
    run("check", "00")
    assert lesson_file(course).read_bytes() == before
    assert [path.name for path in (course / "notebooks").iterdir()] == ["00_start.ipynb"]


def test_cells_that_use_an_unfilled_stub_are_only_counted() -> None:
    notebook = a_notebook()
    notebook["cells"] += [code_cell("keep_probability(0.2)"), code_cell("1 / 0")]
    report = checking.read_cells(
        "00_start",
        notebook["cells"],
        {
            2: "○ keep_probability: not attempted yet · 0 of 1 point",
            3: "Traceback\nNotImplementedError: ",
            4: "Traceback\nZeroDivisionError: division by zero",
        },
    )
    assert report.rows[0].outcome == "not attempted"
    assert report.waiting == 1
    assert report.troubles == (
        "The cell that begins `1 / 0` raised ZeroDivisionError: division by zero",
    )


def test_a_report_of_nbval_is_read_by_the_number_of_the_cell(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><testcase name="Cell 0"/><testcase name="Cell 2">'
        '<failure message="short">#x1B[91mlong#x1B[0m text</failure></testcase>'
        '<testcase name="Cell 3"><skipped message="kernel is dead"/></testcase>'
        "</testsuite></testsuites>"
    )
    assert checking.read_report(report) == {2: "long text", 3: "kernel is dead"}


# --- status, build, doctor ----------------------------------------------------------------------


def test_status_shows_the_overview_in_the_terminal(course: Path) -> None:
    shown = run("status")
    assert shown.exit_code == 0
    assert shown.output.startswith("Progress: 0 of ")
    assert "Next: 00_start, exercise 1 of 1" in shown.output


@pytest.mark.parametrize(
    ("report", "code", "sentence"),
    [
        (BuildReport(), 0, "notebooks/ agrees with solutions/."),
        (BuildReport(written=(Path("notebooks/00_start.ipynb"),)), 0, "wrote notebooks/00_start"),
        (BuildReport(drift=("00 differs: run build",)), 1, "✗ 00 differs: run build"),
        (BuildReport(violations=("00 passes unsolved",)), 1, "✗ 00 passes unsolved"),
    ],
)
def test_build_prints_what_authoring_reports(
    course: Path, monkeypatch: pytest.MonkeyPatch, report: BuildReport, code: int, sentence: str
) -> None:
    (course / "solutions").mkdir()
    asked = {}

    def fake(root: Path, **options: bool) -> BuildReport:
        asked.update(options, root=root)
        return report

    monkeypatch.setattr("dropout_course.cli.building.build_lessons", fake)
    shown = run("build", "--check")
    assert asked == {"root": course, "check": True, "execute": False}
    assert sentence in shown.output
    assert shown.exit_code == code


def test_build_without_solutions_is_for_authors(course: Path) -> None:
    shown = run("build")
    assert shown.exit_code == 2
    assert "only authors" in one_sentence(shown.stderr)


def test_doctor_finds_nothing_to_repair_here(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examining, "PACKAGE", ROOT / "dropout_course")
    shown = run("doctor")
    assert shown.exit_code == 0, shown.output
    assert "Everything that the course needs works." in shown.output
    for subject in ("python", "packages", "torch", "kernel", "notebooks", "progress"):
        assert subject in shown.output


def test_doctor_names_a_missing_package_and_the_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examining, "PACKAGES", ("torch", "no-such-package"))
    *_, missing = examining.packages()
    assert missing.state is examining.State.BROKEN
    assert "no-such-package" in missing.found
    assert "make lab" in missing.repair


def test_doctor_survives_a_torch_that_crashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examining, "_TORCH_PROBE", "import os; os.abort()")
    found = examining.torch_works()
    assert found.state is examining.State.BROKEN
    assert "it ended with" in found.found
    assert "pip install" in found.repair


def test_doctor_recognises_a_kernel_of_another_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(examining, "_KERNEL_PROBE", f'print(\'["{tmp_path}", "x"]\')')
    found = examining.kernel()
    assert found.state is examining.State.BROKEN
    assert "of another environment" in found.found
    assert "ipykernel install" in found.repair


def test_doctor_exits_with_1_and_counts_what_is_broken(
    course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson_file(course).write_text("rubbish")
    shown = run("doctor")
    assert shown.exit_code == 1
    assert "cannot be read: 00_start.ipynb" in shown.output
    assert "repair:" in shown.output


# --- lab ----------------------------------------------------------------------------------------


def test_kernels_are_told_the_environment_and_find_the_checkout() -> None:
    told = serving.environment({"PYTHONPATH": "/mine"}, "token")
    assert told[surroundings.PREFIX_VARIABLE] == sys.prefix
    assert told["PYTHONPATH"] == os.pathsep.join(("/mine", str(ROOT)))
    assert told["JUPYTER_TOKEN"] == "token"


def test_the_question_about_news_is_switched_off() -> None:
    config = Path(serving.environment({}, "token")["JUPYTER_CONFIG_PATH"])
    page = json.loads((config / "labconfig" / "page_config.json").read_text())
    assert page["disabledExtensions"]["@jupyterlab/apputils-extension:announcements"] is True


def test_a_taken_port_is_skipped_or_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        shown = run("lab", "--port", str(port))
        assert shown.exit_code == 2
        assert f"Port {port} is taken" in one_sentence(shown.stderr)


@pytest.mark.parametrize(
    ("variables", "expected"), [({}, False), ({"DISPLAY": ":0"}, True), ({"DISPLAY": ""}, False)]
)
@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_a_display_is_recognised(variables: dict[str, str], expected: bool) -> None:
    assert serving.has_display(variables) is expected


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_lab_prints_an_address_that_answers_and_stops_on_ctrl_c(
    course: Path, record_property: Any
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    environment.pop("DISPLAY", None)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["lab", "--port", str(port)]
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", "from dropout_course.cli import app; app()", *arguments],
        cwd=course,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        address = next(
            line.strip() for line in iter(process.stdout.readline, "") if "http://" in line
        )
        elapsed = time.monotonic() - start
        assert f"http://127.0.0.1:{port}/lab/tree/notebooks/00_start.ipynb?token=" in address
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=10) as answer:
            assert answer.status == 200
    finally:
        # As Ctrl-C in a terminal does: to the command and to the server that it started.
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=30)
    record_property("summary", f"dropout-course lab: JupyterLab answered after {elapsed:.1f} s")
    assert process.returncode == 0
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5)
