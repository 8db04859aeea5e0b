"""The laws of a lesson, each a function that yields one sentence per violation.

Must not know files or kernels: a lesson comes as a parsed source, or with its outputs.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nbformat.notebooknode import NotebookNode

from dropout_course.authoring.formats import (
    FORMATS,
    cleared_source,
    grader_metadata,
)

if TYPE_CHECKING:
    from dropout_course.course import Lesson

CODE_LINES = 15
SOLUTION_LINES = 8
PROSE_WORDS = 80
SIXTY_SECONDS_POINTS = 2
METADATA_KEYS = ("grade", "grade_id", "locked", "schema_version", "solution", "task")


def source_violations(lesson: Lesson, source: NotebookNode) -> Iterator[str]:
    """Every law that a lesson's source breaks, without the name of its file."""
    yield from _pairing(source)
    yield from _title(lesson, source)
    incomplete = list(_metadata(source))
    yield from incomplete
    if incomplete:  # the laws below read this metadata
        return
    yield from _ids(lesson, source)
    yield from _exercises(lesson, source)
    yield from _explanation(lesson, source)
    yield from _stray_regions(source)
    yield from _lengths(source)


def output_violations(solutions: NotebookNode) -> Iterator[str]:
    """Every law that an executed solutions notebook's outputs break."""
    for where, cell in _located(solutions):
        if cell.cell_type != "code":
            continue
        is_check = (grader_metadata(cell) or {}).get("grade", False)
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                yield (
                    f"{where} writes to stderr ({_start(output.text)}): silence the warning or "
                    "print to stdout, since nbgrader counts stderr as a failure."
                )
            if is_check and output.output_type == "error":
                yield (
                    f"{where} fails with {output.ename} on the model solution: "
                    "repair the solution or the check."
                )
            if is_check and output.output_type == "execute_result":
                yield (
                    f"{where} returns a value, which nbgrader reads as partial credit: "
                    "end the cell with the call to check, which returns None."
                )
            address = re.search(r"0x[0-9a-f]{6,}", str(output))
            if address:
                yield (
                    f"{where} prints the memory address {address[0]}, which changes at every run: "
                    "print something else."
                )


def picture_violations(
    source: NotebookNode, raw_outputs: list[list[NotebookNode]]
) -> Iterator[str]:
    """Pictures of a kind that nbval would compare although the solutions keep none."""
    code_cells = [(where, cell) for where, cell in _located(source) if cell.cell_type == "code"]
    for (where, _), outputs in zip(code_cells, raw_outputs, strict=True):
        kinds = {kind for output in outputs for kind in output.get("data", {})}
        for kind in sorted(kinds):
            if kind.startswith("image/") and kind not in ("image/png", "image/jpeg"):
                yield f"{where} shows a picture as {kind}, which nbval compares: show it as png."


def _pairing(source: NotebookNode) -> Iterator[str]:
    if source.metadata.get("jupytext", {}).get("formats") != FORMATS:
        yield (
            f"the header does not pair the file with a notebook: write `formats: {FORMATS}` "
            "under `jupytext:`."
        )


def _title(lesson: Lesson, source: NotebookNode) -> Iterator[str]:
    heading, duration = f"# {lesson.number} · {lesson.title}", f"{lesson.minutes} minutes"
    first = source.cells[0].source if source.cells else ""
    if first.partition("\n")[0] != heading:
        yield f"the first cell must begin with {heading!r}, as course.py names the lesson."
    if duration not in first:
        yield f"the first cell must say {duration!r}, the time that course.py gives."


def _metadata(source: NotebookNode) -> Iterator[str]:
    for where, cell in _located(source):
        meta = grader_metadata(cell)
        if meta is None:
            continue
        missing = [key for key in METADATA_KEYS if key not in meta]
        if meta.get("grade") and "points" not in meta:
            missing.append("points")
        if not meta.get("grade_id") and "grade_id" not in missing:
            missing.append("grade_id")
        if missing:
            yield f"{where} has nbgrader metadata without {', '.join(missing)}: add them."
        elif meta["schema_version"] != 3:
            yield (
                f"{where} has nbgrader schema_version {meta['schema_version']}: "
                "write 3, the version that nbgrader 0.9 reads."
            )


def _ids(lesson: Lesson, source: NotebookNode) -> Iterator[str]:
    cells = list(_graded(source))
    for grade_id, count in Counter(meta["grade_id"] for _, _, meta in cells).items():
        if count > 1:
            yield f"the grade_id {grade_id!r} stands in {count} cells: give each cell its own."
    exercise_ids = {exercise.id for exercise in lesson.exercises}
    for where, _, meta in cells:
        grade_id = str(meta["grade_id"])
        if _is_check(meta) and grade_id.removesuffix("-check") not in exercise_ids:
            yield (
                f"{where} checks an exercise that course.py does not list for lesson {lesson.id}: "
                "name the cell <exercise id>-check, or add the exercise."
            )
        if _is_stub(meta) and grade_id not in exercise_ids:
            yield (
                f"{where} is a stub of an exercise that course.py does not list for lesson "
                f"{lesson.id}: use the exercise's id as its grade_id, or add the exercise."
            )


def _exercises(lesson: Lesson, source: NotebookNode) -> Iterator[str]:
    order = {
        meta["grade_id"]: (index, cell, meta)
        for index, (_, cell, meta) in enumerate(_graded(source))
    }
    for exercise in lesson.exercises:
        stub, check = order.get(exercise.id), order.get(f"{exercise.id}-check")
        if stub is None:
            yield (
                f"exercise {exercise.id} has no stub cell: add one with grade_id "
                f"{exercise.id!r}, solution true and grade false."
            )
        else:
            yield from _stub(exercise.id, stub[1], stub[2])
        if check is None:
            yield (
                f"exercise {exercise.id} has no check cell: add one with grade_id "
                f"'{exercise.id}-check', grade true and locked true."
            )
        else:
            yield from _check(exercise.id, exercise.points, check[1], check[2])
        if stub and check and check[0] < stub[0]:
            yield f"the check of {exercise.id} stands before its stub: move it below."


def _stub(exercise_id: str, cell: NotebookNode, meta: dict[str, Any]) -> Iterator[str]:
    where = f"the stub of {exercise_id}"
    if cell.cell_type != "code" or not _is_stub(meta) or meta["locked"]:
        yield (
            f"{where} must be a code cell with solution true, grade false and locked false: "
            "correct its nbgrader metadata."
        )
        return
    try:
        cleared = cleared_source(cell)
    except RuntimeError as error:
        yield f"{where} cannot be cleared ({error}): repair its BEGIN and END SOLUTION lines."
        return
    try:
        tree = ast.parse(cleared)
    except SyntaxError as error:
        yield (
            f"{where} does not compile once it is cleared (line {error.lineno}: {error.msg}): "
            "place BEGIN and END SOLUTION around whole statements."
        )
        return
    if not _defines_before_raising(tree, exercise_id):
        yield (
            f"{where} does not define {exercise_id} once it is cleared, so that its check would "
            "fail with a NameError: define the name outside BEGIN and END SOLUTION."
        )


def _defines_before_raising(tree: ast.Module, name: str) -> bool:
    for statement in tree.body:
        match statement:
            case ast.Raise():
                return False
            case ast.FunctionDef(name=defined) | ast.ClassDef(name=defined):
                if defined == name:
                    return True
            case ast.Assign(targets=[ast.Name(id=defined)]):
                if defined == name:
                    return True
            case ast.AnnAssign(target=ast.Name(id=defined), value=ast.expr()):
                if defined == name:
                    return True
    return False


def _check(
    exercise_id: str, points: float, cell: NotebookNode, meta: dict[str, Any]
) -> Iterator[str]:
    where = f"the check of {exercise_id}"
    if cell.cell_type != "code" or not _is_check(meta):
        yield (
            f"{where} must be a code cell with grade true and solution false: "
            "correct its nbgrader metadata."
        )
        return
    if not meta["locked"]:
        yield f'{where} is not locked: write "locked": true in its nbgrader metadata.'
    if meta["points"] != points:
        yield (
            f"{where} gives {meta['points']} points and course.py {points}: "
            "make them equal, course.py decides."
        )
    if not _calls_check(cell.source, exercise_id):
        yield (
            f"{where} must be one line, check({exercise_id}) or "
            f"check({exercise_id}={exercise_id}): rewrite the cell."
        )


def _calls_check(source: str, exercise_id: str) -> bool:
    one_line = source.strip()
    return one_line in (f"check({exercise_id})", f"check({exercise_id}={exercise_id})")


def _explanation(lesson: Lesson, source: NotebookNode) -> Iterator[str]:
    wanted = f"{lesson.id}-sixty-seconds"
    found = {meta["grade_id"]: (cell, meta) for _, cell, meta in _graded(source)}
    for where, cell, meta in _graded(source):
        explains = meta["grade"] and meta["solution"]
        if explains and (cell.cell_type != "markdown" or meta["grade_id"] != wanted):
            yield (
                f"{where} is marked by hand, which only the markdown cell {wanted} may be: "
                "rename it, or split it into a stub and a check."
            )
    if wanted not in found:
        yield (
            f"the lesson has no cell to say it in 60 seconds: add a markdown cell with grade_id "
            f"{wanted!r}, grade true, solution true and {SIXTY_SECONDS_POINTS} points."
        )
        return
    cell, meta = found[wanted]
    if not (meta["grade"] and meta["solution"]) or meta["points"] != SIXTY_SECONDS_POINTS:
        yield (
            f"cell {wanted} must have grade true, solution true and {SIXTY_SECONDS_POINTS} points: "
            "correct its nbgrader metadata."
        )


def _stray_regions(source: NotebookNode) -> Iterator[str]:
    """A solution outside a solution cell would be handed out, or stop nbgrader."""
    for where, cell in _located(source):
        if "BEGIN SOLUTION" in cell.source and not (grader_metadata(cell) or {}).get("solution"):
            yield f"{where} holds BEGIN SOLUTION but is no solution cell: move it into the stub."


def _lengths(source: NotebookNode) -> Iterator[str]:
    for where, cell in _located(source):
        meta = grader_metadata(cell) or {}
        is_stub = bool(meta) and _is_stub(meta)
        if cell.cell_type == "code":
            lines = _stub_lines(cell) if is_stub else _count_lines(cell.source)
            if lines > CODE_LINES:
                yield f"{where} has {lines} lines of code, more than {CODE_LINES}: split the cell."
            written = _solution_lines(cell.source)
            if is_stub and written > SOLUTION_LINES:
                yield (
                    f"{where} has a solution of {written} lines, more than {SOLUTION_LINES}: "
                    "shorten it or make two exercises of it."
                )
        elif cell.cell_type == "markdown" and not meta.get("solution"):
            words = _prose_words(cell.source)
            if words > PROSE_WORDS:
                yield (
                    f"{where} has {words} words, more than {PROSE_WORDS}: "
                    "shorten it or split the cell."
                )


def _count_lines(source: str) -> int:
    return sum(1 for line in source.split("\n") if line.strip())


def _stub_lines(cell: NotebookNode) -> int:
    """Lines that a learner is handed, without docstrings and comments.

    They are the exercise's whole contract and may be as long as they need.
    """
    try:
        source = cleared_source(cell)
    except RuntimeError:
        return 0  # reported by the law on stubs
    lines = source.split("\n")
    for first, last in _docstring_spans(source):
        lines[first - 1 : last] = [""] * (last - first + 1)
    return sum(1 for line in lines if line.strip() and not line.lstrip().startswith("#"))


def _solution_lines(source: str) -> int:
    """Lines between the marks of a solution, without comments."""
    regions = re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", source, flags=re.DOTALL)
    lines = "\n".join(regions).split("\n")
    return sum(1 for line in lines if line.strip() and not line.lstrip().startswith("#"))


def _docstring_spans(source: str) -> Iterator[tuple[int, int]]:
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            yield first.lineno, first.end_lineno or first.lineno


def _prose_words(source: str) -> int:
    """Words as read aloud: a formula is one, a link its text; table rows and model answers none.

    A model answer is what stands in <details>: the learner unfolds it after having spoken.
    """
    text = re.sub(r"<details.*?</details>", " ", source, flags=re.DOTALL)
    text = re.sub(r"(?m)^\s*\|.*$", " ", text)
    text = re.sub(r"\$\$.+?\$\$|\$[^$\n]+\$", " formula ", text, flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)|<[^>]*>", " ", text)
    return sum(1 for word in text.split() if re.search(r"\w", word))


def _located(notebook: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    """Each cell with the words that help to find it: its grade_id or its first line."""
    for number, cell in enumerate(notebook.cells, start=1):
        name = (grader_metadata(cell) or {}).get("grade_id") or _start(cell.source)
        yield f"cell {number} ({name})", cell


def _graded(source: NotebookNode) -> Iterator[tuple[str, NotebookNode, dict[str, Any]]]:
    for where, cell in _located(source):
        meta = grader_metadata(cell)
        if meta is not None:
            yield where, cell, dict(meta)


def _is_stub(meta: Any) -> bool:
    return bool(meta["solution"]) and not meta["grade"]


def _is_check(meta: Any) -> bool:
    return bool(meta["grade"]) and not meta["solution"]


def _start(text: str) -> str:
    first_line = text.strip().partition("\n")[0]
    return first_line if len(first_line) <= 50 else first_line[:49] + "…"
