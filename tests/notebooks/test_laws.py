"""The laws of this course's own lessons: built, lawful, failing as handed out, passing as solved.

That every solution passes with the outputs it is committed with, nbval tests on solutions/.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from jupyter_server.services.contents.filemanager import FileContentsManager

from dropout_course.authoring import build
from dropout_course.authoring.execution import run_cells
from dropout_course.course import LESSONS, Lesson

ROOT = Path(__file__).parents[2]


def test_every_built_file_is_up_to_date_and_lawful() -> None:
    report = build(ROOT, check=True)
    assert report.ok, "\n".join([*report.violations, *report.drift])


@pytest.mark.parametrize("folder", ["solutions", "notebooks"])
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)
def test_opening_and_saving_in_jupyter_changes_nothing(
    lesson: Lesson, folder: str, tmp_path: Path
) -> None:
    """Valid nbformat 4.5 with an id for every cell: nothing for Jupyter to repair or ask about."""
    original = ROOT / folder / f"{lesson.id}.ipynb"
    opened = Path(shutil.copy(original, tmp_path))
    contents = FileContentsManager(root_dir=str(tmp_path))
    model = contents.get(opened.name)
    assert "message" not in model, model["message"]
    assert (model["content"].nbformat, model["content"].nbformat_minor) == (4, 5)
    contents.save(model, opened.name)
    assert opened.read_bytes() == original.read_bytes()


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
