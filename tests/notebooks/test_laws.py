"""The laws of this course's own lessons: built, lawful, failing as handed out, passing as solved.

That every solution passes with the outputs it is committed with, nbval tests on solutions/.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from dropout_course.authoring import BuildReport, build
from dropout_course.authoring.execution import run_cells
from dropout_course.course import LESSONS, Lesson

ROOT = Path(__file__).parents[2]


def test_every_built_file_is_up_to_date_and_lawful() -> None:
    assert build(ROOT, check=True) == BuildReport()


@pytest.mark.parametrize("folder", ["solutions", "notebooks"])
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)
def test_jupyter_saves_every_notebook_as_it_is(lesson: Lesson, folder: str) -> None:
    text = (ROOT / folder / f"{lesson.id}.ipynb").read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert nbformat.writes(notebook).rstrip("\n") + "\n" == text


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)
def test_every_check_says_not_attempted_on_the_lesson_as_handed_out(
    lesson: Lesson, tmp_path: Path
) -> None:
    notebook = nbformat.read(ROOT / "notebooks" / f"{lesson.id}.ipynb", as_version=4)
    outputs = run_cells(notebook, tmp_path, allow_errors=True)
    code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    raised = {
        cell.id: [output.ename for output in cell_outputs if output.output_type == "error"]
        for cell, cell_outputs in zip(code_cells, outputs, strict=True)
    }
    for exercise in lesson.exercises:
        assert raised[f"{exercise.id}-check"] == ["NotAttempted"]
