"""`dropout-course reset`: stubs back into a learner's notebook file, with a backup.

Works on the file's cells by their nbgrader ids. Must not know what an exercise asks.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import typer

from dropout_course.cli.console import find_lesson, out, root, stop
from dropout_course.surroundings import grade_id, stubs


def run(lesson: str, exercise: str | None, *, confirmed: bool) -> None:
    """Replace the stub cells of `lesson`, or of one exercise, after asking."""
    course = root()
    path = find_lesson(course, lesson)
    notebook = _read(path)
    chosen = _chosen(path, notebook, exercise)
    names = ", ".join(chosen)
    console = out()
    if not confirmed and not typer.confirm(f"Put the stub of {names} back into {path.name}?"):
        stop("Nothing was changed.", code=1)
    backup = _back_up(path)
    missing = [name for name in chosen if not restore(notebook, name, chosen[name])]
    _write(path, notebook)
    done = [name for name in chosen if name not in missing]
    if done:
        console.print(f"Put back: {', '.join(done)}.", soft_wrap=True)
    console.print(f"The notebook as it was: {backup}", markup=False, soft_wrap=True)
    console.print("If it is open in JupyterLab: File > Reload Notebook from Disk.")
    if missing:
        stop(
            f"No cell of {path.name} belongs to {', '.join(missing)} any more, nor does its check: "
            f"copy the cells from a fresh {path.name}.",
            code=1,
        )


def restore(notebook: dict[str, Any], exercise: str, stub: str) -> bool:
    """Put `stub` into the cell of `exercise`; a deleted cell comes back above its check.

    Of several cells with the same id, as a copied cell leaves them, the first becomes the stub and
    the others lose the id. False where neither the cell nor its check is there.
    """
    cells = notebook["cells"]
    own = [cell for cell in cells if grade_id(cell) == exercise]
    if own:
        own[0].update(source=stub.splitlines(keepends=True), outputs=[], execution_count=None)
        for copy in own[1:]:
            del copy["metadata"]["nbgrader"]
        return True
    for index, cell in enumerate(cells):
        if grade_id(cell) == f"{exercise}-check":
            cells.insert(index, _stub_cell(exercise, stub))
            return True
    return False


def _stub_cell(exercise: str, stub: str) -> dict[str, Any]:
    settings = {
        "grade": False,
        "grade_id": exercise,
        "locked": False,
        "schema_version": 3,
        "solution": True,
        "task": False,
    }
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": exercise.replace("_", "-"),
        "metadata": {"nbgrader": settings},
        "outputs": [],
        "source": stub.splitlines(keepends=True),
    }


def _chosen(path: Path, notebook: Mapping[str, Any], exercise: str | None) -> dict[str, str]:
    """The stubs to put back, by exercise id, in the notebook's order."""
    known = stubs()
    if not known:
        stop("The stubs are missing from the package: run `make lab` again.", code=1)
    ids = [grade_id(cell) or "" for cell in notebook["cells"]]
    # A deleted cell is still known by its check.
    named = dict.fromkeys(each.removesuffix("-check") for each in ids)
    here = {name: known[name] for name in named if name in known}
    if exercise is None:
        if not here:
            stop(f"{path.name} has no cell to put back.")
        return here
    if exercise not in here:
        stop(f"{path.name} has no exercise {exercise}: it has {', '.join(here) or 'none'}.")
    return {exercise: here[exercise]}


def _read(path: Path) -> dict[str, Any]:
    try:
        notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        list(notebook["cells"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        stop(
            f"{path} cannot be read as a notebook ({type(error).__name__}): copy a fresh one from "
            "the course, or take the newest of notebooks/backups.",
            code=1,
        )
    return notebook


def _back_up(path: Path) -> Path:
    folder = path.parent / "backups"
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    backup = folder / f"{path.stem}-{stamp}.ipynb"
    number = 1
    while backup.exists():
        number += 1
        backup = folder / f"{path.stem}-{stamp}-{number}.ipynb"
    try:
        folder.mkdir(exist_ok=True)
        shutil.copy2(path, backup)
    except OSError as error:
        stop(f"Nothing was changed: no backup could be made in {folder} ({error.strerror}).", 1)
    return backup


def _write(path: Path, notebook: Mapping[str, Any]) -> None:
    """Write as Jupyter does, beside the file and then in its place: never half a notebook."""
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".ipynb")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        shutil.copymode(path, temporary)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        stop(f"{path} was not changed: it could not be written ({error.strerror}).", 1)
