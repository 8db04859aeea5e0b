"""The build: what it writes, what it reports, and that every law of a lesson can be broken."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from dropout_course.authoring import BuildReport, build, formats, laws
from tests.authored import LESSON, SOURCE, check_metadata, stub_metadata, write_course


@pytest.fixture(autouse=True)
def progress_in_a_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DROPOUT_COURSE_HOME", str(tmp_path / "home"))


def small_build(root: Path, *, check: bool = False, execute: bool = False) -> BuildReport:
    return build(root, check=check, execute=execute, lessons=[LESSON])


@pytest.fixture(scope="module")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("built once")
    write_course(root)
    report = small_build(root)
    assert report.ok, report
    return root


@pytest.fixture
def course(built_once: Path, tmp_path: Path) -> Path:
    """A built course of one lesson that a test may change."""
    for path in built_once.rglob("*.*"):
        target = tmp_path / "course" / path.relative_to(built_once)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return tmp_path / "course"


def violations(source: str) -> list[str]:
    return list(laws.source_violations(LESSON, formats.read_source(source)))


def changed(old: str, new: str) -> str:
    assert old in SOURCE
    return SOURCE.replace(old, new)


# --- what a build writes


def test_a_build_makes_both_notebooks_and_the_stubs(course: Path) -> None:
    written = {path.relative_to(course).as_posix() for path in course.rglob("*.*")}
    assert {
        "solutions/00_small.ipynb",
        "notebooks/00_small.ipynb",
        "dropout_course/stubs.json",
    } <= written
    assert small_build(course, check=True) == BuildReport()


def test_a_second_build_writes_nothing(course: Path) -> None:
    assert small_build(course) == BuildReport()


def test_executing_again_gives_the_same_bytes(course: Path) -> None:
    before = {path: path.read_bytes() for path in course.rglob("*.ipynb")}
    assert small_build(course, execute=True) == BuildReport()
    assert {path: path.read_bytes() for path in course.rglob("*.ipynb")} == before


def test_stubs_are_what_the_learner_is_handed(course: Path) -> None:
    stubs = json.loads((course / "dropout_course" / "stubs.json").read_text())
    assert list(stubs) == ["double", "guesses"]
    assert stubs["double"] == (
        'def double(x: int) -> int:\n    """Return 2 * x."""\n'
        "    # YOUR CODE HERE\n    raise NotImplementedError()"
    )


def test_a_learners_notebook_has_no_solution_no_output_and_no_pairing(course: Path) -> None:
    text = (course / "notebooks" / "00_small.ipynb").read_text()
    notebook = nbformat.reads(text, as_version=4)
    assert "return 2 * x" not in text
    assert "SOLUTION" not in text
    assert "jupytext" not in notebook.metadata
    assert notebook.metadata.dropout_course.version
    assert notebook.metadata.kernelspec.name == "python3"
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")


def test_checks_are_locked_and_stubs_are_not(course: Path) -> None:
    notebook = nbformat.read(course / "notebooks" / "00_small.ipynb", as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    assert cells["double-check"].metadata.editable is False
    assert cells["double-check"].metadata.deletable is False
    assert "editable" not in cells["double"].metadata
    assert cells["double"].metadata.deletable is False


@pytest.mark.parametrize("folder", ["solutions", "notebooks"])
def test_jupyter_saves_a_built_notebook_as_it_is(course: Path, folder: str) -> None:
    """No cell without an id, no older format: nothing for Jupyter to repair on opening."""
    text = (course / folder / "00_small.ipynb").read_text()
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert nbformat.writes(notebook).rstrip("\n") + "\n" == text


def test_only_changed_code_is_executed_again(course: Path) -> None:
    path = course / "solutions" / "00_small.py"
    path.write_text(changed("Twice two is four.", "Two and two make four."))
    notebook = course / "solutions" / "00_small.ipynb"
    marked = notebook.read_text().replace("passed\\n", "kept from before\\n", 1)
    notebook.write_text(marked)
    report = small_build(course)
    assert report.ok
    assert "kept from before" in notebook.read_text()


def test_a_lesson_that_fails_is_reported_and_not_written(course: Path) -> None:
    path = course / "solutions" / "00_small.py"
    path.write_text(changed("return 2 * x", "return 3 * x"))
    before = (course / "solutions" / "00_small.ipynb").read_bytes()
    report = small_build(course)
    assert report.violations == (
        (
            "solutions/00_small.py: cell 4 (check(double)) raised AssertionError: "
            "repair the cell, or tag it raises-exception if the error is the point."
        ),
    )
    assert (course / "solutions" / "00_small.ipynb").read_bytes() == before


def test_marks_that_nbgrader_refuses_are_reported(course: Path) -> None:
    path = course / "solutions" / "00_small.py"
    path.write_text(changed("# Twice two is four.", "# BEGIN SOLUTION\n# Twice two is four."))
    assert small_build(course, check=True).violations == (
        "solutions/00_small.py: nbgrader refuses the lesson (no end solution statement found): "
        "correct the cell.",
    )


# --- what is kept of outputs


def output(kind: str, **data: object) -> nbformat.NotebookNode:
    return nbformat.v4.new_output(kind, **data)


def stable(outputs: list[nbformat.NotebookNode], **metadata: object) -> list[nbformat.NotebookNode]:
    return formats.stable_outputs(nbformat.v4.new_code_cell(metadata=metadata), outputs, 1)


def test_pictures_are_left_out_and_their_text_kept() -> None:
    figure = output("display_data", data={"image/png": "iVBOR", "text/plain": "<Figure>"})
    assert stable([figure])[0].data == {"text/plain": "<Figure>"}
    assert stable([output("display_data", data={"image/png": "iVBOR"})]) == []


def test_streams_do_not_depend_on_how_the_kernel_splits_them() -> None:
    pieces = [output("stream", name="stdout", text=text) for text in ("a", "b")]
    assert [kept.text for kept in stable(pieces)] == ["ab"]


def test_a_traceback_is_reduced_to_its_last_line() -> None:
    error = output("error", ename="ValueError", evalue="p", traceback=["/home/me/x.py"])
    assert stable([error])[0].traceback == ["ValueError: p"]


def test_outputs_that_nbval_ignores_are_left_out() -> None:
    printed = [output("stream", name="stdout", text="3 s")]
    assert stable(printed, tags=["nbval-ignore-output"]) == []


# --- drift


def test_check_reports_changed_code_without_running_it(course: Path) -> None:
    (course / "solutions" / "00_small.py").write_text(changed("return 2 * x", "return x + x"))
    report = small_build(course, check=True)
    assert report.written == ()
    assert report.drift == (
        (
            "solutions/00_small.ipynb was not run from the code in solutions/00_small.py: "
            "run `dropout-course build` (if you edited the notebook, first `jupytext --sync` it)."
        ),
    )


def test_check_reports_changed_prose_in_both_notebooks(course: Path) -> None:
    (course / "solutions" / "00_small.py").write_text(
        changed("# 5 minutes.", "# 5 minutes, no more.")
    )
    assert small_build(course, check=True).drift == (
        "solutions/00_small.ipynb differs from its source: run `dropout-course build`.",
        "notebooks/00_small.ipynb differs from its source: run `dropout-course build`.",
    )


@pytest.mark.parametrize(
    "name", ["notebooks/00_small.ipynb", "solutions/00_small.ipynb", "dropout_course/stubs.json"]
)
def test_check_reports_an_edited_or_missing_file_and_leaves_it(course: Path, name: str) -> None:
    path = course / name
    path.write_text(path.read_text().replace("double", "triple"))
    edited = path.read_bytes()
    assert any(sentence.startswith(name) for sentence in small_build(course, check=True).drift)
    assert path.read_bytes() == edited
    path.unlink()
    assert any(sentence.startswith(name) for sentence in small_build(course, check=True).drift)
    assert not path.exists()


@pytest.mark.parametrize("damaged", ["", "null", "[]", "{}", '{"cells": [{}]}'])
def test_a_damaged_notebook_is_reported_as_drift(course: Path, damaged: str) -> None:
    (course / "solutions" / "00_small.ipynb").write_text(damaged)
    (drift,) = small_build(course, check=True).drift
    assert drift.startswith("solutions/00_small.ipynb was not run from the code in")


def test_a_build_repairs_drift(course: Path) -> None:
    (course / "notebooks" / "00_small.ipynb").write_text("{}")
    (course / "dropout_course" / "stubs.json").unlink()
    report = small_build(course)
    assert {path.name for path in report.written} == {"00_small.ipynb", "stubs.json"}
    assert small_build(course, check=True) == BuildReport()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "notebooks/07_other.ipynb",
            (
                "notebooks/07_other.ipynb has no source solutions/07_other.py: "
                "write the source or delete the notebook."
            ),
        ),
        (
            "solutions/07_other.ipynb",
            (
                "solutions/07_other.ipynb has no paired 07_other.py: pair it with "
                "`jupytext --set-formats ipynb,py:percent` or delete it."
            ),
        ),
        (
            "solutions/07_other.py",
            (
                "solutions/07_other.py is a lesson that course.py does not list: "
                "add it there or delete the file."
            ),
        ),
        (
            "solutions/helpers.py",
            (
                "solutions/helpers.py is not named as a lesson: "
                "rename it NN_slug.py or move it out of solutions/."
            ),
        ),
    ],
)
def test_a_stray_file_is_reported_and_never_deleted(course: Path, name: str, sentence: str) -> None:
    (course / name).write_text("{}")
    assert small_build(course, check=True).drift == (sentence,)
    assert small_build(course).drift == (sentence,)
    assert (course / name).exists()


def test_a_lesson_without_a_source_is_reported_and_keeps_the_stubs(course: Path) -> None:
    (course / "solutions" / "00_small.py").unlink()
    stubs = (course / "dropout_course" / "stubs.json").read_text()
    report = small_build(course)
    assert report.violations == (
        (
            "course.py lists lesson 00_small, but solutions/00_small.py does not exist: "
            "write the lesson or take it out of course.py."
        ),
    )
    assert (course / "dropout_course" / "stubs.json").read_text() == stubs


def test_missing_author_packages_are_named() -> None:
    script = (
        "import pathlib, sys\n"
        "sys.modules['jupytext'] = None\n"
        "from dropout_course.authoring import AuthoringToolsMissing, build\n"
        "try:\n"
        "    build(pathlib.Path(), check=True, lessons=[])\n"
        "except AuthoringToolsMissing as error:\n"
        "    print(error)\n"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert printed.stdout == (
        "Building lessons needs jupytext, which learners do not have: "
        "install the authors' packages with pip install -e '.[dev]'.\n"
    )


# --- the laws, each broken once


def test_the_small_lesson_keeps_every_law() -> None:
    assert violations(SOURCE) == []


CHECK_CELL = f"# %% {check_metadata('double', 2)}\ncheck(double)\n"
STUB_CELL = SOURCE[SOURCE.index("# %% " + stub_metadata("double")) : SOURCE.index(CHECK_CELL)]

BROKEN = {
    "pairing": (
        changed("#     formats: ipynb,py:percent\n", ""),
        (
            "the header does not pair the file with a notebook: "
            "write `formats: ipynb,py:percent` under `jupytext:`."
        ),
    ),
    "other title": (
        changed("# # 00 · Small", "# # 00 · Tiny"),
        "the first cell must begin with '# 00 · Small', as course.py names the lesson.",
    ),
    "other duration": (
        changed("# 5 minutes.", "# 50 minute."),
        "the first cell must say '5 minutes', the time that course.py gives.",
    ),
    "incomplete metadata": (
        changed('"grade_id": "double", ', ""),
        "cell 3 (def double(x: int) -> int:) has nbgrader metadata without grade_id: add them.",
    ),
    "older metadata": (
        changed(check_metadata("guesses", 1), check_metadata("guesses", 1).replace("3", "2")),
        (
            "cell 6 (guesses-check) has nbgrader schema_version 2: "
            "write 3, the version that nbgrader 0.9 reads."
        ),
    ),
    "duplicate id": (
        SOURCE + "\n" + CHECK_CELL,
        "the grade_id 'double-check' stands in 2 cells: give each cell its own.",
    ),
    "unknown check": (
        SOURCE + f"\n# %% {check_metadata('halve', 1)}\ncheck(halve)\n",
        (
            "cell 9 (halve-check) checks an exercise that course.py does not list for lesson "
            "00_small: name the cell <exercise id>-check, or add the exercise."
        ),
    ),
    "unknown stub": (
        SOURCE + f"\n# %% {stub_metadata('halve')}\nhalve = 1\n",
        (
            "cell 9 (halve) is a stub of an exercise that course.py does not list for lesson "
            "00_small: use the exercise's id as its grade_id, or add the exercise."
        ),
    ),
    "no stub": (
        changed(STUB_CELL, ""),
        (
            "exercise double has no stub cell: add one with grade_id 'double', "
            "solution true and grade false."
        ),
    ),
    "no check": (
        changed(CHECK_CELL, ""),
        (
            "exercise double has no check cell: add one with grade_id 'double-check', "
            "grade true and locked true."
        ),
    ),
    "check before stub": (
        changed(STUB_CELL + CHECK_CELL, CHECK_CELL + "\n" + STUB_CELL),
        "the check of double stands before its stub: move it below.",
    ),
    "locked stub": (
        changed(
            stub_metadata("double"),
            stub_metadata("double").replace('"locked": false', '"locked": true'),
        ),
        (
            "the stub of double must be a code cell with solution true, grade false and "
            "locked false: correct its nbgrader metadata."
        ),
    ),
    "unmatched marks": (
        changed("    return 2 * x\n    ### END SOLUTION\n", "    return 2 * x\n"),
        (
            "the stub of double cannot be cleared (no end solution statement found): "
            "repair its BEGIN and END SOLUTION lines."
        ),
    ),
    "no solution marks": (
        changed(
            "    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION\n", "    return 2 * x\n"
        ),
        (
            "the stub of double does not define double once it is cleared, so that its check "
            "would fail with a NameError: define the name outside BEGIN and END SOLUTION."
        ),
    ),
    "does not compile": (
        changed(
            'guesses = {"four": None}\n### BEGIN SOLUTION\nguesses = {"four": 4}\n',
            'guesses = {\n### BEGIN SOLUTION\n"four": 4}\n',
        ),
        (
            "the stub of guesses does not compile once it is cleared (line 1: "
            "'{' was never closed): place BEGIN and END SOLUTION around whole statements."
        ),
    ),
    "defined only by the solution": (
        changed('guesses = {"four": None}\n', ""),
        (
            "the stub of guesses does not define guesses once it is cleared, so that its check "
            "would fail with a NameError: define the name outside BEGIN and END SOLUTION."
        ),
    ),
    "unlocked check": (
        changed(CHECK_CELL, CHECK_CELL.replace('"locked": true', '"locked": false')),
        'the check of double is not locked: write "locked": true in its nbgrader metadata.',
    ),
    "other points": (
        changed(CHECK_CELL, CHECK_CELL.replace('"points": 2', '"points": 5')),
        "the check of double gives 5 points and course.py 2: make them equal, course.py decides.",
    ),
    "check in prose": (
        changed(
            CHECK_CELL,
            CHECK_CELL.replace("# %% ", "# %% [markdown] ").replace(
                "check(double)", "# check(double)"
            ),
        ),
        (
            "the check of double must be a code cell with grade true and solution false: "
            "correct its nbgrader metadata."
        ),
    ),
    "check of something else": (
        changed("check(double)", "check(triple)"),
        (
            "the check of double must be one line, check(double) or check(double=double): "
            "rewrite the cell."
        ),
    ),
    "no explanation": (
        changed("00_small-sixty-seconds", "00_small-a-minute"),
        (
            "the lesson has no cell to say it in 60 seconds: add a markdown cell with grade_id "
            "'00_small-sixty-seconds', grade true, solution true and 2 points."
        ),
    ),
    "explanation with other points": (
        changed(
            'sixty-seconds", "locked": false, "points": 2',
            'sixty-seconds", "locked": false, "points": 3',
        ),
        (
            "cell 00_small-sixty-seconds must have grade true, solution true and 2 points: "
            "correct its nbgrader metadata."
        ),
    ),
    "second explanation": (
        changed("00_small-sixty-seconds", "00_small-a-minute"),
        (
            "cell 7 (00_small-a-minute) is marked by hand, which only the markdown cell "
            "00_small-sixty-seconds may be: rename it, or split it into a stub and a check."
        ),
    ),
    "solution outside a stub": (
        SOURCE + "\n# %%\n### BEGIN SOLUTION\nx = 1\n### END SOLUTION\n",
        (
            "cell 9 (### BEGIN SOLUTION) holds BEGIN SOLUTION but is no solution cell: "
            "move it into the stub."
        ),
    ),
    "long code": (
        SOURCE + "\n# %%\n" + "x = 1\n" * 16,
        "cell 9 (x = 1) has 16 lines of code, more than 15: split the cell.",
    ),
    "long solution": (
        changed("    return 2 * x\n", "    y = x\n" * 8 + "    return 2 * y\n"),
        (
            "cell 3 (double) has a solution of 9 lines, more than 8: "
            "shorten it or make two exercises of it."
        ),
    ),
    "long prose": (
        SOURCE + "\n# %% [markdown]\n# " + "word " * 81 + "\n",
        "has 81 words, more than 80: shorten it or split the cell.",
    ),
}


@pytest.mark.parametrize("law", BROKEN)
def test_a_broken_law_is_a_sentence_that_says_what_to_do(law: str) -> None:
    source, expected = BROKEN[law]
    found = violations(source)
    assert any(sentence.endswith(expected) for sentence in found), found


def test_docstrings_tables_formulas_and_model_answers_may_be_long() -> None:
    docstring = '"""Return 2 * x.\n' + "\n    one more line of the contract" * 20 + '\n    """'
    assert violations(changed('"""Return 2 * x."""', docstring)) == []
    table = "\n# %% [markdown]\n" + "# | " + "word " * 100 + "|\n"
    formula = "\n# %% [markdown]\n# $" + "x + " * 100 + "x$\n"
    answer = "\n# %% [markdown]\n# <details>" + "word " * 100 + "</details>\n"
    assert violations(SOURCE + table + formula + answer) == []


@pytest.mark.parametrize(
    ("cell", "outputs", "expected"),
    [
        (
            "double-check",
            [output("error", ename="CheckFailed", evalue="", traceback=[])],
            (
                "cell 4 (double-check) fails with CheckFailed on the model solution: "
                "repair the solution or the check."
            ),
        ),
        (
            "double-check",
            [output("execute_result", data={"text/plain": "1"}, execution_count=1)],
            (
                "cell 4 (double-check) returns a value, which nbgrader reads as partial credit: "
                "end the cell with the call to check, which returns None."
            ),
        ),
        (
            "double",
            [output("stream", name="stderr", text="UserWarning: old\n  call()")],
            (
                "cell 3 (double) writes to stderr (UserWarning: old): silence the warning or "
                "print to stdout, since nbgrader counts stderr as a failure."
            ),
        ),
        (
            "double",
            [output("stream", name="stdout", text="<function f at 0x7f00deadbeef>")],
            (
                "cell 3 (double) prints the memory address 0x7f00deadbeef, which changes at every "
                "run: print something else."
            ),
        ),
    ],
)
def test_an_unlawful_output_is_reported(
    built_once: Path, cell: str, outputs: list[nbformat.NotebookNode], expected: str
) -> None:
    notebook = nbformat.read(built_once / "solutions" / "00_small.ipynb", as_version=4)
    next(found for found in notebook.cells if found.id == cell).outputs = outputs
    assert list(laws.output_violations(notebook)) == [expected]


def test_a_vector_picture_is_reported_because_nbval_compares_it() -> None:
    source = formats.read_source("# %%\nshow()\n")
    picture = output("display_data", data={"image/svg+xml": "<svg/>", "text/plain": "<Figure>"})
    assert list(laws.picture_violations(source, [[picture]])) == [
        "cell 1 (show()) shows a picture as image/svg+xml, which nbval compares: show it as png."
    ]
