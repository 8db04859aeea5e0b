"""Run a lesson's code cells in a fresh kernel and hand back their outputs.

The only module of authoring that starts a process; must not know files of the course or its laws.
"""

from __future__ import annotations

import copy
import os
import re
import subprocess
import tempfile
from pathlib import Path

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.notebooknode import NotebookNode

CELL_TIME_LIMIT = 60  # seconds; a whole lesson is to stay under 20


class LessonFailed(Exception):
    """A lesson does not run from top to bottom; the text says which cell and why."""


def run_cells(
    notebook: NotebookNode, folder: Path, *, allow_errors: bool = False
) -> list[list[NotebookNode]]:
    """Execute in `folder` with an empty progress database; the raw outputs of each code cell.

    Raises LessonFailed when a cell that is not tagged raises-exception fails (unless
    `allow_errors`), when one runs longer than CELL_TIME_LIMIT, or when the kernel dies.
    """
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = None, []
    client = NotebookClient(
        notebook,
        timeout=CELL_TIME_LIMIT,
        kernel_name="python3",
        allow_errors=allow_errors,
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
    )
    with tempfile.TemporaryDirectory(prefix="dropout-course-") as home:
        try:
            client.execute(
                env={**os.environ, "DROPOUT_COURSE_HOME": home},
                stderr=subprocess.DEVNULL,  # the kernel's own log, not what cells write
            )
        except CellExecutionError as error:
            raise LessonFailed(f"{_failed_cell(notebook)} raised {_reason(error)}") from error
        except CellTimeoutError as error:
            raise LessonFailed(
                f"{_failed_cell(notebook)} ran longer than {CELL_TIME_LIMIT} seconds"
            ) from error
        except DeadKernelError as error:
            raise LessonFailed(f"{_failed_cell(notebook)} ended the kernel") from error
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def _failed_cell(notebook: NotebookNode) -> str:
    """Name the last cell that was started: the one that failed."""
    started = [
        index
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and (cell.execution_count or cell.outputs)
    ]
    index = started[-1] if started else 0
    first_line = str(notebook.cells[index].source).partition("\n")[0]
    return f"cell {index + 1} ({first_line})"


def _reason(error: CellExecutionError) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", f"{error.ename}: {error.evalue}")
    return text.strip().partition("\n")[0].rstrip(":")
