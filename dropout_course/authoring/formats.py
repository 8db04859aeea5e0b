"""The three forms of a lesson: py:percent source, complete notebook, learner's notebook.

Pure transformations of notebooks; must not know files, kernels or the course's registry.
"""

from __future__ import annotations

import copy
import json
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jupytext
import nbformat as untyped_nbformat
from nbformat.notebooknode import NotebookNode
from nbgrader.nbgraderformat import ValidationError
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearMarkScheme,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    LockCells,
)

from dropout_course import __version__

# nbformat says that it is typed, but leaves the functions used here without annotations.
nbformat: Any = untyped_nbformat

FORMATS = "ipynb,py:percent"
IGNORE_OUTPUT_TAG = "nbval-ignore-output"

KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
# Without a version: the same bytes whichever Python built the notebook.
LANGUAGE_INFO = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}

# nbgrader's own generate_assignment, in its order, without the steps that need its database
# (SaveCells) or a kernel (InstantiateTests) or files of the course (IncludeHeaderFooter).
RELEASE_STEPS = (
    LockCells,
    ClearSolutions,
    ClearOutput,
    CheckCellMetadata,
    ComputeChecksums,
    ClearHiddenTests,
    ClearMarkScheme,
    ComputeChecksums,
    CheckCellMetadata,
)

# Our sentences name the cell and what to do; nbgrader's log lines would only precede them.
_SILENT = logging.getLogger("dropout_course.authoring.silent")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


class ReleaseRefused(Exception):
    """nbgrader does not accept a lesson; the text is its reason."""


def read_source(text: str) -> NotebookNode:
    """Parse a py:percent text; the notebook has no outputs and no cell ids of its own yet."""
    notebook: NotebookNode = jupytext.reads(text, fmt="py:percent")
    for cell in notebook.cells:
        cell.metadata.pop("lines_to_next_cell", None)
    return notebook


def read_notebook(text: str) -> NotebookNode:
    """Parse a notebook's JSON. Raises ValueError or nbformat's ValidationError."""
    if not isinstance(json.loads(text), dict):
        raise ValueError("a notebook is a JSON object")
    notebook: NotebookNode = nbformat.reads(text, as_version=4)
    return notebook


def complete(source: NotebookNode, outputs: Iterable[list[NotebookNode]]) -> NotebookNode:
    """The solutions notebook: the source's cells with one list of outputs per code cell.

    Equal sources and outputs give equal bytes: ids come from grade ids or positions, execution
    counts from the order of the code cells.
    """
    notebook: NotebookNode = nbformat.v4.new_notebook(
        metadata={
            "jupytext": {"formats": FORMATS},
            "kernelspec": dict(KERNELSPEC),
            "language_info": copy.deepcopy(LANGUAGE_INFO),
        }
    )
    remaining = iter(outputs)
    count = 0
    for cell_id, cell in zip(_cell_ids(source.cells), source.cells, strict=True):
        cell = copy.deepcopy(cell)
        cell.id = cell_id
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            cell.outputs = stable_outputs(cell, next(remaining), count)
        notebook.cells.append(cell)
    return notebook


def release(solutions: NotebookNode) -> NotebookNode:
    """The learner's notebook: solutions cleared, outputs gone, checks locked, checksums set.

    Raises ReleaseRefused for marks or metadata that nbgrader does not accept.
    """
    notebook = copy.deepcopy(solutions)
    resources: dict[str, Any] = {}
    try:
        for step in RELEASE_STEPS:
            notebook, resources = step(log=_SILENT).preprocess(notebook, resources)
    except (RuntimeError, ValidationError) as error:
        raise ReleaseRefused(str(error)) from error
    notebook.metadata = nbformat.from_dict(
        {
            "dropout_course": {"version": __version__},
            "kernelspec": dict(KERNELSPEC),
            "language_info": copy.deepcopy(LANGUAGE_INFO),
        }
    )
    return notebook


def cleared_source(cell: NotebookNode) -> str:
    """What ClearSolutions leaves of one cell's source.

    Raises RuntimeError when BEGIN SOLUTION and END SOLUTION do not match.
    """
    cleared, _ = ClearSolutions(log=_SILENT).preprocess_cell(
        copy.deepcopy(cell), {"language": "python"}, 0
    )
    return str(cleared.source)


def to_text(notebook: NotebookNode) -> str:
    """The notebook as Jupyter itself would save it, so that opening and saving changes nothing."""
    return str(nbformat.writes(notebook, version=nbformat.NO_CONVERT)).rstrip("\n") + "\n"


def code_sources(notebook: NotebookNode) -> list[tuple[str, tuple[str, ...]]]:
    """What decides the outputs: each code cell's source and tags, in order."""
    return [
        (cell.source, tuple(cell.metadata.get("tags", ())))
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def code_outputs(notebook: NotebookNode) -> list[list[NotebookNode]]:
    """The outputs of each code cell, in order."""
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def grader_metadata(cell: NotebookNode) -> Mapping[str, Any] | None:
    """The cell's nbgrader metadata, or None for a cell that nbgrader does not know."""
    found: Mapping[str, Any] | None = cell.metadata.get("nbgrader")
    return found


def stable_outputs(
    cell: NotebookNode, outputs: list[NotebookNode], execution_count: int
) -> list[NotebookNode]:
    """Outputs that are equal on every machine, as nbval 0.11 compares them.

    nbval compares every text (streams, text/plain, text/html, ename, evalue) and skips tracebacks,
    png and jpeg pictures and widget views: those are left out here. So are all outputs of a cell
    that nbval is told to ignore (tag nbval-ignore-output), since they differ from run to run.
    """
    if IGNORE_OUTPUT_TAG in cell.metadata.get("tags", ()):
        return []
    kept: list[NotebookNode] = []
    for output in copy.deepcopy(outputs):
        if output.output_type == "stream":
            _append_stream(kept, output)
        elif output.output_type == "error":
            output.traceback = [f"{output.ename}: {output.evalue}"]
            kept.append(output)
        else:
            output.data = {kind: data for kind, data in output.data.items() if _is_text(kind)}
            output.metadata = {
                kind: data for kind, data in output.metadata.items() if kind in output.data
            }
            if output.output_type == "execute_result":
                output.execution_count = execution_count
            if output.data:
                kept.append(output)
    return kept


def _append_stream(kept: list[NotebookNode], output: NotebookNode) -> None:
    """Join a stream to the one before it: where a kernel splits its text is a matter of timing."""
    if kept and kept[-1].output_type == "stream" and kept[-1].name == output.name:
        kept[-1].text += output.text
    else:
        kept.append(output)


def _is_text(kind: str) -> bool:
    return not kind.startswith("image/") and kind != "application/vnd.jupyter.widget-view+json"


def _cell_ids(cells: Iterable[NotebookNode]) -> list[str]:
    """One valid, unique nbformat id per cell: from its grade id, or else from its position."""
    ids: list[str] = []
    for position, cell in enumerate(cells):
        grade_id = str((grader_metadata(cell) or {}).get("grade_id", ""))
        wanted = re.sub(r"[^A-Za-z0-9_-]", "-", grade_id)[:60] or f"cell-{position:02d}"
        ids.append(wanted if wanted not in ids else f"{wanted[:56]}-{position:02d}")
    return ids
