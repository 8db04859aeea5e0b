"""What a cell's code defines and what it needs, read from its text. Runs nothing.

Must not know notebooks, lessons or students. A text that is no Python is read by its lines.
"""

from __future__ import annotations

import ast
import builtins
import functools
import re
import symtable
import warnings
from collections.abc import Callable, Collection, Iterator

MAX_LENGTH = 200_000  # characters; longer texts, and longer lines than the next, are not parsed:
MAX_LINE = 5_000  # Python's own parser can be made to exhaust memory or stack
_BUILTINS = frozenset(dir(builtins)) | {"__name__", "__file__", "In", "Out", "_"}

_IPYTHON = re.compile(r"^(\s*)(?:[%!].*|\?.*|[\w.]+\?{1,2}\s*)$", re.MULTILINE)
_CELL_MAGIC = re.compile(r"^\s*%%(\w+)[^\n]*\n?")
_DEFINING = re.compile(r"^(?:(?:async\s+)?def|class)\s+(\w+)|^(\w+)\s*(?::[^=\n]+)?=(?!=)", re.M)


@functools.lru_cache(maxsize=4096)
def parses(source: str) -> bool:
    """Whether the text is Python, IPython's magics apart."""
    return _tree(source) is not None


@functools.lru_cache(maxsize=4096)
def bound(source: str) -> frozenset[str]:
    """The names that the text defines at its top level."""
    tree = _tree(source)
    if tree is None:
        return frozenset(one or other for one, other in _DEFINING.findall(source))
    return frozenset(name for statement in tree.body for name in _bound_by(statement))


@functools.lru_cache(maxsize=4096)
def needed(source: str) -> frozenset[str]:
    """The names that the text reads and that must come from outside its functions.

    Includes those that it defines itself; builtins are left out.
    """
    try:
        table = symtable.symtable(_plain(source), "cell", "exec") if parses(source) else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        table = None
    if table is None:
        return frozenset(re.findall(r"[^\W\d]\w*", source[:MAX_LENGTH])) - _BUILTINS
    return frozenset(_globals(table)) - _BUILTINS


def defining(source: str, names: Collection[str]) -> str:
    """The top-level statements that define one of `names`, all of it where it is no Python."""
    return _statements(source, lambda bound: bool(bound & set(names)))


def leaving_out(source: str, names: Collection[str]) -> str:
    """The text without the top-level statements that define one of `names`."""
    return _statements(source, lambda bound: not bound & set(names))


def _statements(source: str, wanted: Callable[[set[str]], bool]) -> str:
    tree = _tree(source)
    if tree is None:
        return source if wanted(set(bound(source))) else ""
    lines = _plain(source).split("\n")
    kept = [
        "\n".join(lines[_first_line(statement) - 1 : statement.end_lineno])
        for statement in tree.body
        if wanted(set(_bound_by(statement)))
    ]
    return "\n".join(dict.fromkeys(kept))  # `a = 1; b = 2` is one line of two statements


def _first_line(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])


def _bound_by(statement: ast.stmt) -> Iterator[str]:
    """The names that a top-level statement defines, in its blocks too but not in its functions."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in names)
        case _:
            for node in ast.iter_child_nodes(statement):
                yield from _bound_in(node)


def _bound_in(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.stmt):
        yield from _bound_by(node)
        return
    if isinstance(node, ast.Lambda):
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    for child in ast.iter_child_nodes(node):
        yield from _bound_in(child)


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    is_module = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (is_module or symbol.is_global()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _globals(child)


@functools.lru_cache(maxsize=1024)
def _tree(source: str) -> ast.Module | None:
    text = _plain(source)
    if len(text) > MAX_LENGTH or any(len(line) > MAX_LINE for line in text.split("\n")):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a student's "\d" is nothing that a grader can repair
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _plain(source: str) -> str:
    """The text without IPython's magics, line for line."""
    source = _CELL_MAGIC.sub("\n", source) if source.lstrip().startswith("%%") else source
    return _IPYTHON.sub(r"\1pass", source)
