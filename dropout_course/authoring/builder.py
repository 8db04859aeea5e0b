"""Compare and write the built files: which are out of date, which break a law, what to do.

The only module of authoring that touches files; must not know what a cell means.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nbformat import ValidationError
from nbformat.notebooknode import NotebookNode

from dropout_course.authoring import BuildReport, formats, laws
from dropout_course.authoring.execution import LessonFailed, run_cells

if TYPE_CHECKING:
    from dropout_course.course import Lesson

REBUILD = "run `dropout-course build`"


class Builder:
    """One build of the lessons under `root`; `run` is called once."""

    def __init__(self, root: Path, lessons: Sequence[Lesson]) -> None:
        self._root = root
        self._lessons = {lesson.id: lesson for lesson in lessons}
        self._solutions = root / "solutions"
        self._notebooks = root / "notebooks"
        self._written: list[Path] = []
        self._drift: list[str] = []
        self._violations: list[str] = []

    def run(self, *, check: bool, execute: bool) -> BuildReport:
        """Build every lesson, then the stubs; see dropout_course.authoring.build."""
        self._find_strays()
        released: list[NotebookNode] = []
        for lesson in self._lessons.values():
            path = self._solutions / f"{lesson.id}.py"
            if not path.exists():
                self._violations.append(
                    f"course.py lists lesson {lesson.id}, but {self._name(path)} does not exist: "
                    "write the lesson or take it out of course.py."
                )
                continue
            notebook = self._build_lesson(lesson, path, check=check, execute=execute)
            if notebook is not None:
                released.append(notebook)
        if len(released) == len(self._lessons):  # an incomplete set would lose stubs
            self._settle(
                self._root / "dropout_course" / "stubs.json", self._stubs(released), check=check
            )
        return BuildReport(tuple(self._written), tuple(self._drift), tuple(self._violations))

    def _build_lesson(
        self, lesson: Lesson, path: Path, *, check: bool, execute: bool
    ) -> NotebookNode | None:
        """The learner's notebook of a lesson that keeps every law, written unless `check`."""
        source = formats.read_source(path.read_text(encoding="utf-8"))
        if self._violated(path, list(laws.source_violations(lesson, source))):
            return None
        target = path.with_suffix(".ipynb")
        outputs = self._known_outputs(target, source)
        if check:
            if outputs is None:
                self._drift.append(
                    f"{self._name(target)} was not run from the code in {self._name(path)}: "
                    f"{REBUILD} (if you edited the notebook, first `jupytext --sync` it)."
                )
        elif outputs is None or execute:
            outputs = self._fresh_outputs(path, source)
            if outputs is None:
                return None
        # Without outputs the learner's notebook can still be compared: it has none.
        blank: list[list[NotebookNode]] = [[] for _ in formats.code_sources(source)]
        solutions = formats.complete(source, blank if outputs is None else outputs)
        try:
            released = formats.release(solutions)
        except formats.ReleaseRefused as error:
            self._violated(path, [f"nbgrader refuses the lesson ({error}): correct the cell."])
            return None
        if outputs is not None:
            if self._violated(target, list(laws.output_violations(solutions))):
                return None
            self._settle(target, formats.to_text(solutions), check=check)
        self._settle(self._notebooks / target.name, formats.to_text(released), check=check)
        return released

    def _known_outputs(self, path: Path, source: NotebookNode) -> list[list[NotebookNode]] | None:
        """The outputs of the notebook at `path` if they come from the source's code, else None."""
        try:
            existing = formats.read_notebook(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, ValidationError):
            return None  # absent or damaged: built anew
        if formats.code_sources(existing) != formats.code_sources(source):
            return None
        return formats.code_outputs(existing)

    def _fresh_outputs(self, path: Path, source: NotebookNode) -> list[list[NotebookNode]] | None:
        """Run the lesson; None, with the violation noted, when it does not run."""
        notebook = formats.complete(source, [[] for _ in formats.code_sources(source)])
        try:
            outputs = run_cells(notebook, self._solutions)
        except LessonFailed as failure:
            self._violations.append(
                f"{self._name(path)}: {failure}: repair the cell, or tag it raises-exception "
                "if the error is the point."
            )
            return None
        if self._violated(path, list(laws.picture_violations(source, outputs))):
            return None
        return outputs

    def _stubs(self, released: Sequence[NotebookNode]) -> str:
        """stubs.json: each exercise's id and its stub as handed out, in the course's order."""
        cells = {
            meta["grade_id"]: cell.source
            for notebook in released
            for cell in notebook.cells
            if (meta := formats.grader_metadata(cell)) is not None
        }
        stubs = {
            exercise.id: cells[exercise.id]
            for lesson in self._lessons.values()
            for exercise in lesson.exercises
        }
        return json.dumps(stubs, indent=1, ensure_ascii=False) + "\n"

    def _find_strays(self) -> None:
        for path in sorted(self._solutions.glob("*.py")):
            if not re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem):
                self._drift.append(
                    f"{self._name(path)} is not named as a lesson: "
                    "rename it NN_slug.py or move it out of solutions/."
                )
            elif path.stem not in self._lessons:
                self._drift.append(
                    f"{self._name(path)} is a lesson that course.py does not list: "
                    "add it there or delete the file."
                )
        for path in sorted(self._solutions.glob("[!.]*.ipynb")):
            if not path.with_suffix(".py").exists():
                self._drift.append(
                    f"{self._name(path)} has no paired {path.stem}.py: pair it with "
                    f"`jupytext --set-formats {formats.FORMATS}` or delete it."
                )
        for path in sorted(self._notebooks.glob("[!.]*.ipynb")):
            if not (self._solutions / f"{path.stem}.py").exists():
                self._drift.append(
                    f"{self._name(path)} has no source solutions/{path.stem}.py: "
                    "write the source or delete the notebook."
                )

    def _violated(self, path: Path, sentences: list[str]) -> bool:
        self._violations += [f"{self._name(path)}: {sentence}" for sentence in sentences]
        return bool(sentences)

    def _settle(self, path: Path, text: str, *, check: bool) -> None:
        """Bring the file at `path` to `text`, or note the drift when only checking."""
        current = path.read_text(encoding="utf-8") if path.exists() else None
        if current == text:
            return
        if check:
            state = "does not exist" if current is None else "differs from its source"
            self._drift.append(f"{self._name(path)} {state}: {REBUILD}.")
            return
        _write(path, text)
        self._written.append(path)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()


def _write(path: Path, text: str) -> None:
    """Write beside the target and rename, so that no reader sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
