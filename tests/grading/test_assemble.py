"""Notebooks as students leave them, put back into the lesson's shape."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest

from dropout_course.course import LESSONS, find_lesson
from dropout_course.grading import code as source_code
from dropout_course.grading import release
from dropout_course.grading.assemble import Assembled, Shown, assemble
from dropout_course.grading.notebook import parse
from tests.grading.material import (
    RIGHT,
    START,
    WRONG,
    Document,
    cell_of,
    code,
    filled,
    grade_id,
    handed_out,
    markdown,
    notebook,
    solved,
)

INVERTED = find_lesson("03")
RELEASE = release.current()


def assembled(document: Document, lesson: Any = START) -> Assembled:
    return assemble(notebook(document), lesson, RELEASE.lessons[lesson.id])


def defined(result: Assembled) -> dict[str, Any]:
    """The names after the cells were run, each cell for itself."""
    names: dict[str, Any] = {}
    for cell in result.cells:
        try:
            exec(cell.source, names)
        except Exception as error:  # noqa: BLE001 - whatever a student's cell raises
            names.setdefault("errors", []).append((cell, error))
    return names


def keeps(result: Assembled) -> float:
    answer: float = defined(result)["keep_probability"](0.25)
    return answer


def position(document: Document, name: str) -> int:
    return next(n for n, cell in enumerate(document["cells"]) if grade_id(cell) == name)


def strip(document: Document) -> Document:
    """Without any metadata or cell id, as some tools leave a notebook."""
    for cell in document["cells"]:
        cell["metadata"] = {}
        cell.pop("id", None)
    return document


# --- as handed out ------------------------------------------------------------------------------


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)
def test_a_solved_lesson_needs_no_notes_and_defines_every_exercise(lesson: Any) -> None:
    result = assembled(solved(lesson), lesson)
    assert result.notes == ()
    assert {exercise.id for exercise in lesson.exercises} <= set(defined(result))
    assert "errors" not in defined(result)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)
def test_an_untouched_lesson_runs_its_stubs_and_what_they_need_only(lesson: Any) -> None:
    result = assembled(handed_out(lesson), lesson)
    named = [cell.grade_id for cell in result.cells if cell.grade_id]
    assert named == [exercise.id for exercise in lesson.exercises]
    others = [cell.source for cell in result.cells if not cell.grade_id]
    assert all(line.startswith(("import ", "from ")) for s in others for line in s.split("\n"))
    assert result.notes == ()


def test_cells_that_only_demonstrate_are_not_run_but_what_they_define_is_kept() -> None:
    document = solved(INVERTED)
    document["cells"].append(code("network = simple_network(nn.Identity())"))
    text = "\n".join(cell.source for cell in assembled(document, INVERTED).cells)
    assert "from torch import nn" in text
    assert "def simple_network" in text
    assert "weights loaded" not in text
    assert "torch.full((1_000_000,), 10.0)" not in text


def test_a_demonstration_is_run_where_a_students_cell_needs_what_it_computes() -> None:
    document = solved(INVERTED)
    document["cells"].append(code("twice = 2 * million"))
    result = assembled(document, INVERTED)
    assert any("million = torch.full(" in cell.source for cell in result.cells)
    assert defined(result)["twice"].numel() == 1_000_000


def test_cells_that_a_student_added_are_run_in_their_place() -> None:
    document = filled("def keep_probability(p):\n    return helper(p)")
    at = position(document, "keep_probability")
    document["cells"].insert(at, code("def helper(p):\n    return 1 - p"))
    assert keeps(assembled(document)) == 0.75


# --- damaged ------------------------------------------------------------------------------------


def test_a_changed_check_is_replaced_and_said() -> None:
    document = filled()
    cell_of(document, "keep_probability-check")["source"] = "print('8/8 points')"
    result = assembled(document)
    assert any("keep_probability-check was changed" in note for note in result.notes)
    assert not any("8/8" in cell.source for cell in result.cells)


def test_a_deleted_check_is_put_back_and_said() -> None:
    document = filled()
    document["cells"].remove(cell_of(document, "keep_probability-check"))
    assert "The check of keep_probability was missing; it was put back." in (
        assembled(document).notes
    )


def test_a_deleted_stub_is_said_and_not_attempted() -> None:
    document = handed_out()
    document["cells"].remove(cell_of(document, "keep_probability"))
    result = assembled(document)
    assert any("is missing; it counts as not attempted" in note for note in result.notes)
    assert [cell.exercise for cell in result.page if cell.exercise] == ["keep_probability"]


def test_a_deleted_cell_of_imports_is_put_back_and_said() -> None:
    document = solved(INVERTED)
    del document["cells"][1]
    result = assembled(document, INVERTED)
    assert any("was missing and was put back: `import torch`" in note for note in result.notes)
    assert "errors" not in defined(result)


def test_a_deleted_demonstration_that_nothing_needs_is_no_matter() -> None:
    document = filled()
    del document["cells"][4]
    assert assembled(document).notes == ()


@pytest.mark.parametrize("order", [(RIGHT, None), (None, RIGHT), (WRONG, RIGHT)])
def test_of_duplicated_cells_the_last_filled_one_counts(order: tuple[str | None, ...]) -> None:
    document = handed_out()
    at = position(document, "keep_probability")
    copies = []
    for source in order:
        cell = copy.deepcopy(document["cells"][at])
        cell["source"] = source or cell["source"]
        copies.append(cell)
    document["cells"][at : at + 1] = copies
    result = assembled(document)
    assert keeps(result) == 0.75
    assert any("is there 2 times" in note for note in result.notes)


@pytest.mark.parametrize("keeps_id", [True, False])
def test_a_split_cell_is_joined_and_said(keeps_id: bool) -> None:
    document = filled("def keep_probability(p):\n    kept = 1 - p\n    return kept")
    at = position(document, "keep_probability")
    first, second = copy.deepcopy(document["cells"][at]), copy.deepcopy(document["cells"][at])
    first["source"] = "def keep_probability(p):\n    kept = 1 - p"
    second["source"] = "    return kept"
    if not keeps_id:
        second["metadata"] = {}
    document["cells"][at : at + 1] = [first, second]
    result = assembled(document)
    assert keeps(result) == 0.75
    assert "The cell of keep_probability was split; its parts were joined." in result.notes


def test_an_edited_id_is_said_and_the_cell_known_by_what_it_defines() -> None:
    document = filled()
    cell_of(document, "keep_probability")["metadata"]["nbgrader"]["grade_id"] = "mine"
    for cell in document["cells"]:
        cell.pop("id", None)
    result = assembled(document)
    assert keeps(result) == 0.75
    assert any("The id mine is none of this lesson's" in note for note in result.notes)
    assert any("the cell that defines keep_probability was taken" in n for n in result.notes)


def test_lost_metadata_is_said_and_the_cells_known_by_what_they_define() -> None:
    result = assembled(strip(solved(INVERTED)), INVERTED)
    names = {exercise.id for exercise in INVERTED.exercises}
    assert names <= set(defined(result))
    for name in names:
        assert any(f"the cell that defines {name} was taken" in note for note in result.notes)
    assert [cell.exercise for cell in result.page if cell.exercise] == [
        exercise.id for exercise in INVERTED.exercises
    ]


def test_a_stub_turned_into_text_is_read_as_code() -> None:
    document = filled()
    cell_of(document, "keep_probability")["cell_type"] = "markdown"
    result = assembled(document)
    assert keeps(result) == 0.75
    assert any("was turned into markdown" in note for note in result.notes)


def test_reordered_cells_are_put_back_and_said() -> None:
    document = solved(INVERTED)
    document["cells"].append(document["cells"].pop(1))  # the imports, last
    result = assembled(document, INVERTED)
    assert any("not in the lesson's order" in note for note in result.notes)
    assert "errors" not in defined(result)


def test_an_answer_in_a_cell_of_its_own_counts_and_the_empty_stub_does_not_hide_it() -> None:
    document = handed_out()
    document["cells"].insert(position(document, "keep_probability"), code(RIGHT))
    result = assembled(document)
    assert keeps(result) == 0.75
    assert any("defined in another cell than its own" in note for note in result.notes)


def test_an_answer_in_the_check_cell_is_found() -> None:
    document = handed_out()
    document["cells"].remove(cell_of(document, "keep_probability"))
    cell_of(document, "keep_probability-check")["source"] = RIGHT
    assert keeps(assembled(document)) == 0.75


def test_an_experiment_after_the_check_does_not_replace_the_answer() -> None:
    document = filled()
    document["cells"].append(code(f"before = 1\n{WRONG}\nafter = 2"))
    result = assembled(document)
    assert keeps(result) == 0.75
    assert defined(result)["after"] == 2
    assert any("defined again after its check" in note for note in result.notes)


def test_a_cell_that_is_no_python_keeps_the_others() -> None:
    document = filled()
    document["cells"].insert(2, code("this is no python ("))
    assert keeps(assembled(document)) == 0.75


def test_another_lessons_notebook_is_not_attempted() -> None:
    result = assembled(handed_out(find_lesson("02")), START)
    assert any("keep_probability is missing" in note for note in result.notes)


@pytest.mark.parametrize("cells", [[], [markdown("hello")]])
def test_no_code_at_all_is_said(cells: list[Document]) -> None:
    assert "It has no code cell at all." in assembled({"nbformat": 4, "cells": cells}).notes


# --- other formats ------------------------------------------------------------------------------


def test_format_3_is_read() -> None:
    cells = []
    for cell in filled()["cells"]:
        own = {"cell_type": cell["cell_type"], "metadata": cell["metadata"]}
        key = "input" if cell["cell_type"] == "code" else "source"
        cells.append({**own, key: cell["source"]})
    document = {"nbformat": 3, "nbformat_minor": 0, "worksheets": [{"cells": cells}]}
    result = assembled(document)
    assert keeps(result) == 0.75
    assert result.notes == ()


@pytest.mark.parametrize("minor", [0, 2, 4, 5, 99])
def test_formats_4_x_are_read(minor: int) -> None:
    document = {**filled(), "nbformat_minor": minor}
    if minor < 5:
        for cell in document["cells"]:
            cell.pop("id", None)
    assert keeps(assembled(document)) == 0.75


# --- the page -----------------------------------------------------------------------------------


def test_the_page_has_each_exercise_once_below_its_cell() -> None:
    page = assembled(solved(INVERTED), INVERTED).page
    named = [cell for cell in page if cell.exercise]
    assert [cell.exercise for cell in named] == [exercise.id for exercise in INVERTED.exercises]
    assert all(cell.shown is Shown.OWN and cell.exercise in cell.source for cell in named)


def test_the_page_shows_what_the_student_said() -> None:
    document = filled()
    cell_of(document, "00_start-sixty-seconds")["source"] = "It depends on the mode."
    page = assembled(document).page
    assert (Shown.TEXT, "It depends on the mode.") in [(cell.shown, cell.source) for cell in page]


# --- whatever comes -----------------------------------------------------------------------------


def test_nothing_that_is_done_to_cells_raises() -> None:
    """Cells deleted, copied, moved, cut, relabelled: assembling always ends, deterministically."""
    for seed in range(60):
        rng = random.Random(seed)
        document = solved(INVERTED)
        cells = document["cells"]
        for _ in range(rng.randrange(1, 12)):
            n = rng.randrange(len(cells))
            match rng.randrange(6):
                case 0:
                    del cells[n]
                case 1:
                    cells.insert(rng.randrange(len(cells)), copy.deepcopy(cells[n]))
                case 2:
                    cells.insert(rng.randrange(len(cells)), cells.pop(n))
                case 3:
                    text = "".join(cells[n]["source"])
                    cells[n]["source"] = text[: rng.randrange(len(text) + 1)]
                case 4:
                    cells[n]["metadata"] = {}
                case 5:
                    cells[n]["metadata"] = copy.deepcopy(rng.choice(cells)["metadata"])
        assert assembled(document, INVERTED) == assembled(document, INVERTED)


@pytest.mark.parametrize(
    "hostile",
    [
        "-" * 100_000 + "1",
        "(" * 100_000,
        "a" + ".b" * 100_000,
        "+\n".join(["(1"] + ["1"] * 50_000) + ")",
        "x = " + "[" * 150 + "]" * 150,
        "lambda: " * 3_000 + "1",
        "if 1:\n" + "".join(" " * n + "if 1:\n" for n in range(1, 400)) + " " * 400 + "pass",
        "f'" + "{" * 2000,
        "\x00",
        "# -*- coding: nonsense -*-\nkeep_probability = 1",
        "nonlocal x",
        "def keep_probability(p):\n    global p\n    return p",
        "%%bash\nrm -rf /",
        "!ls\n%timeit x\nx?",
    ],
)
def test_code_that_is_hard_to_read_harms_nobody(hostile: str) -> None:
    document = filled(hostile)
    document["cells"].append(code(hostile))
    assemble(parse(json.dumps(document).encode()), START, RELEASE.lessons[START.id])
    source_code.defining(hostile, {"keep_probability"})
    source_code.leaving_out(hostile, {"keep_probability"})


# --- reading code -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import a.b, c as d\nfrom e import f", {"a", "d", "f"}),
        ("x, (y, *z) = 1, (2, 3)\nw: int = 4", {"x", "y", "z", "w"}),
        ("def f(a):\n    b = a\nclass C:\n    d = 1", {"f", "C"}),
        ("for i in range(3):\n    j = i\nwith open('f') as g:\n    pass", {"i", "j", "g"}),
        ("try:\n    import q\nexcept ImportError:\n    q = None", {"q"}),
        ("%matplotlib inline\nx = 1", {"x"}),
        ("def broken(:\nx = 1", {"broken", "x"}),
    ],
)
def test_names_that_code_defines(source: str, names: set[str]) -> None:
    assert source_code.bound(source) == names


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def f(x: T) -> U:\n    return x + y", {"T", "U", "y"}),
        ("print(len(a))", {"a"}),
        ("[i * k for i in r]", {"k", "r"}),
        ("class C(B):\n    def m(self):\n        return g", {"B", "g"}),
        ("lambda z: z + v", {"v"}),
    ],
)
def test_names_that_code_needs(source: str, names: set[str]) -> None:
    assert source_code.needed(source) >= names
    assert not source_code.needed(source) & {"x", "i", "z", "self", "print", "len"}


def test_only_what_defines_a_name_is_kept() -> None:
    source = "import a\nx = 1\ny = f(2)\nprint(x)\n@wraps\ndef g():\n    return 1\nz = x + 2"
    assert source_code.defining(source, {"g", "x"}) == "x = 1\n@wraps\ndef g():\n    return 1"
    assert source_code.leaving_out(source, {"g", "x", "a"}) == "y = f(2)\nprint(x)\nz = x + 2"
