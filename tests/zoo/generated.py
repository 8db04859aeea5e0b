"""Mutants made mechanically: each differs from a model solution in one node of its syntax tree.

Knows the solutions and how to change them; knows nothing of checks or of how mutants are judged.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

from dropout_course.authoring.formats import read_source

SOLUTIONS = Path(__file__).parents[2] / "solutions"
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"

ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Pow)
COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
# A neighbour that is easily typed instead.
SIMILAR_NAMES = {
    "rand": ("randn", "ones", "zeros"),
    "zeros_like": ("ones_like", "empty_like"),
    "ValueError": ("TypeError", "NotImplementedError"),
    "dtype": ("device",),
    "device": ("dtype",),
}


@dataclass(frozen=True)
class GeneratedMutant:
    """A changed solution: `change` reads `statement -> changed statement` and is its name."""

    exercise: str
    change: str
    source: str
    prelude: str  # what the lesson defines before it

    def build(self) -> object:
        """Run the cell and return what it defines. Raises what the changed code raises."""
        return define(self.exercise, self.prelude, self.source)


def define(name: str, prelude: str, source: str) -> object:
    """Run a cell after `prelude` and return what it binds to `name`."""
    namespace: dict[str, Any] = {"__name__": "generated"}
    exec(compile(prelude, "<lesson>", "exec"), namespace)
    exec(compile(source, f"<{name}>", "exec"), namespace)
    return namespace[name]


@lru_cache(maxsize=1)
def solution_cells() -> dict[str, tuple[str, str]]:
    """Return, by exercise, its solution cell and what its lesson imports and defines before it."""
    cells: dict[str, tuple[str, str]] = {}
    for path in sorted(SOLUTIONS.glob("*.py")):
        prelude = ""
        for cell in read_source(path.read_text("utf-8")).cells:
            if cell.cell_type != "code":
                continue
            about = cell.metadata.get("nbgrader", {})
            if about.get("solution") and not about.get("grade"):
                cells[about["grade_id"]] = (cell.source, prelude)
            prelude += _definitions(cell.source)
    return cells


def _definitions(source: str) -> str:
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    kept = [node for node in ast.parse(source).body if isinstance(node, kinds)]
    return ast.unparse(ast.Module(kept, [])) + "\n"


def generated_mutants(exercise: str) -> tuple[GeneratedMutant, ...]:
    """Return every change of one node in what the author wrote for that exercise, none twice."""
    source, prelude = solution_cells()[exercise]
    tree = ast.parse(source)
    unchanged = ast.unparse(tree)
    found: dict[str, GeneratedMutant] = {}
    for statement, node in _changeable(tree, source):
        for replacement in _replacements(node, _names_in_scope(tree, statement)):
            changed_tree, changed = _replace(tree, statement, node, replacement)
            text = ast.unparse(changed_tree)
            if text == unchanged:
                continue
            change = f"{_headline(statement)} -> {_headline(changed)}"
            found.setdefault(text, GeneratedMutant(exercise, change, text, prelude))
    return tuple(found.values())


def _changeable(tree: ast.Module, source: str) -> Iterator[tuple[ast.stmt, ast.AST]]:
    """Yield the nodes between the solution marks, each with its statement, and the defaults of the
    signatures around them."""
    authored = _authored_lines(source)
    for statement in ast.walk(tree):
        if not isinstance(statement, ast.stmt):
            continue
        if isinstance(statement, ast.FunctionDef):
            if any(inner.lineno in authored for inner in statement.body):
                for default in (*statement.args.defaults, *statement.args.kw_defaults):
                    if default is not None:
                        yield statement, default
        elif statement.lineno in authored:
            yield statement, statement
            for node in _own_expressions(statement):
                yield statement, node


def _authored_lines(source: str) -> set[int]:
    lines, inside = set(), False
    for number, line in enumerate(source.splitlines(), start=1):
        if line.strip() in (BEGIN, END):
            inside = line.strip() == BEGIN
        elif inside:
            lines.add(number)
    return lines


def _own_expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    """Walk a statement without the statements inside it and without the text of a message."""
    queue: list[ast.AST] = [statement]
    while queue:
        for child in ast.iter_child_nodes(queue.pop()):
            if not isinstance(child, ast.stmt | ast.JoinedStr):
                yield child
                queue.append(child)


def _names_in_scope(tree: ast.Module, statement: ast.stmt) -> tuple[str, ...]:
    """Parameters and variables of the function around a statement."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and statement in ast.walk(function):
            arguments = function.args
            names = [a.arg for a in (*arguments.args, *arguments.kwonlyargs) if a.arg != "self"]
            stored = (n for n in ast.walk(function) if isinstance(n, ast.Name))
            names += [n.id for n in stored if isinstance(n.ctx, ast.Store)]
            return tuple(dict.fromkeys(names))
    return ()


def _replacements(node: ast.AST, names: tuple[str, ...]) -> Iterator[ast.AST]:
    match node:
        case ast.If():
            yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
            yield _with(node, test=ast.Constant(True))
            yield _with(node, test=ast.Constant(False))
            yield ast.Pass()
        case ast.stmt():
            yield ast.Pass()
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.BinOp():
            for operator in ARITHMETIC:
                yield _with(node, op=operator())
            yield node.left
            yield node.right
            if not isinstance(node.op, ast.Add | ast.Mult | ast.BitAnd):
                yield _with(node, left=node.right, right=node.left)
        case ast.Compare():
            yield from _comparisons(node)
        case ast.Constant():
            yield from (ast.Constant(value) for value in _other_values(node.value))
        case ast.Call():
            yield from _calls(node)
        case ast.Attribute():
            for similar in SIMILAR_NAMES.get(node.attr, ()):
                yield _with(node, attr=similar)
            if isinstance(node.value, ast.Name) and node.value.id != "torch":
                yield node.value
        case ast.Name(ctx=ast.Load()):
            if node.id in names:
                yield from (_with(node, id=name) for name in names if name != node.id)
            yield from (_with(node, id=name) for name in SIMILAR_NAMES.get(node.id, ()))
        case ast.Dict():
            for i in range(len(node.keys)):
                rest = [j for j in range(len(node.keys)) if j != i]
                yield ast.Dict([node.keys[j] for j in rest], [node.values[j] for j in rest])


def _comparisons(node: ast.Compare) -> Iterator[ast.AST]:
    for i, used in enumerate(node.ops):
        for operator in COMPARISONS:
            if not isinstance(used, operator):
                yield _with(node, ops=[*node.ops[:i], operator(), *node.ops[i + 1 :]])
    if len(node.ops) > 1:
        yield _with(node, ops=node.ops[:-1], comparators=node.comparators[:-1])
        yield ast.Compare(node.comparators[0], node.ops[1:], node.comparators[1:])
    elif not isinstance(node.ops[0], ast.Eq | ast.NotEq):
        yield ast.Compare(node.comparators[0], node.ops, [node.left])
    yield ast.Constant(True)
    yield ast.Constant(False)


def _other_values(value: object) -> tuple[object, ...]:
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int | float):
        return tuple(other for other in (0, 1, 2, 0.5, -1) if other != value)
    if isinstance(value, str):
        return (value + "_",)
    return (0,)


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    for i in range(len(node.args)):
        yield _with(node, args=[*node.args[:i], *node.args[i + 1 :]])
        yield node.args[i]
    for i, j in combinations(range(len(node.args)), 2):
        swapped = list(node.args)
        swapped[i], swapped[j] = swapped[j], swapped[i]
        yield _with(node, args=swapped)
    for i in range(len(node.keywords)):
        yield _with(node, keywords=[*node.keywords[:i], *node.keywords[i + 1 :]])
    if isinstance(node.func, ast.Attribute):
        yield node.func.value


def _with(node: ast.AST, **changes: Any) -> Any:
    """Return a copy of a node with some of its fields replaced."""
    made = copy.copy(node)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def _replace(
    tree: ast.Module, statement: ast.stmt, node: ast.AST, replacement: ast.AST
) -> tuple[ast.Module, ast.stmt]:
    """Return a copy of the tree with one node replaced, and the statement that it stands in."""
    index = {id(old): i for i, old in enumerate(ast.walk(tree))}
    made = copy.deepcopy(tree)
    nodes = list(ast.walk(made))
    target, around = nodes[index[id(node)]], nodes[index[id(statement)]]
    placed = copy.deepcopy(replacement)
    for parent in nodes:
        for name, value in ast.iter_fields(parent):
            if value is target:
                setattr(parent, name, placed)
            elif isinstance(value, list) and any(entry is target for entry in value):
                setattr(parent, name, [placed if entry is target else entry for entry in value])
    changed = placed if target is around else around
    assert isinstance(changed, ast.stmt)
    return ast.fix_missing_locations(made), changed


def _headline(statement: ast.stmt) -> str:
    """The statement without the block below it, on one line."""
    if isinstance(statement, ast.FunctionDef):
        return f"def {statement.name}({ast.unparse(statement.args)})"
    if isinstance(statement, ast.If):
        return f"if {ast.unparse(statement.test)}:"
    return ast.unparse(statement).replace("\n", " ")
