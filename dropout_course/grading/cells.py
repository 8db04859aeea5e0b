"""Runs a notebook's code cells as a kernel would: in order, in one namespace called __main__.

Runs inside the sandbox. What a cell does wrong becomes a remark, never an exception; knows nothing
of exercises.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import inspect
import linecache
import sys
import time
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dropout_course.checks.isolation import LimitedText, TimeLimitReached, time_limit

_TOP_LEVEL_AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_SHARE = 0.7  # of the time that is left: what one cell may take
PRINTED = 100_000  # characters of output above which it is remarked upon
_WITHOUT_EFFECT = (
    "matplotlib",
    "config",
    "pinfo",
    "pinfo2",
    "load_ext",
    "reload_ext",
    "autoreload",
)
_RUN_THEIR_BODY = ("time", "timeit", "capture", "prun")


@dataclass(frozen=True)
class Remark:
    """What there is to say about a cell. `cell` counts from 1; 0 stands for all of them.

    `kind` is "raised", "stopped" (by the time limit), "magic" (not run) or "printed" (too much);
    `text` the exception's type, the magic or the number of characters, `detail` its message.
    """

    cell: int
    kind: str
    text: str = ""
    detail: str = ""


def run_cells(sources: Sequence[str], *, limit: float) -> tuple[types.ModuleType, list[Remark]]:
    """Run the cells within `limit` seconds; return the module that holds what they defined.

    A cell that raises does not keep the next from running; nor does one that never ends, since each
    may take a part of the time that is left.
    """
    main = types.ModuleType("__main__")
    shell = _Shell(main)
    # What a kernel offers without an import.
    offered = {"get_ipython": lambda: shell, "display": lambda *_, **__: None}
    main.__dict__.update(offered | {"__builtins__": builtins})
    sys.modules["__main__"] = main
    output = CountedText()
    sys.stdout = sys.stderr = output
    deadline = time.monotonic() + limit
    for number, source in enumerate(sources, start=1):
        shell.cell = number
        left = max(deadline - time.monotonic(), 0.02)
        shell.remarks += _run_cell(shell, source, _SHARE * left)
    if output.characters > PRINTED:
        shell.remarks.append(Remark(0, "printed", str(output.characters)))
    return main, shell.remarks


class CountedText(LimitedText):
    """Takes what is printed and only counts it."""

    def __init__(self) -> None:
        super().__init__(limit=0)
        self.characters = 0

    def write(self, text: str) -> int:
        self.characters += len(text)
        return len(text)

    def isatty(self) -> bool:
        return False


class _Shell:
    """What `get_ipython()` gives: enough for magics to be left out without an error."""

    def __init__(self, main: types.ModuleType) -> None:
        self.cell = 0
        self.remarks: list[Remark] = []
        self.user_ns = main.__dict__

    def run_line_magic(self, name: str, line: str, *_: object) -> None:
        if name in _RUN_THEIR_BODY:
            _execute(line, f"<cell {self.cell}, %{name}>", self.user_ns)
        else:
            self._left_out(f"%{name}")

    def run_cell_magic(self, name: str, _: str, body: str) -> None:
        if name in _RUN_THEIR_BODY:
            _execute(body, f"<cell {self.cell}, %%{name}>", self.user_ns)
        else:
            self._left_out(f"%%{name}")

    def system(self, command: str) -> None:
        self._left_out(f"!{command}")

    def getoutput(self, command: str) -> list[str]:
        self._left_out(f"!{command}")
        return []

    def __getattr__(self, name: str) -> Any:
        """Whatever else a kernel's shell has: callable, and does nothing."""
        return lambda *_, **__: None

    def _left_out(self, what: str) -> None:
        if what.lstrip("%") not in _WITHOUT_EFFECT:
            self.remarks.append(Remark(self.cell, "magic", what[:80]))


def _run_cell(shell: _Shell, source: str, limit: float) -> list[Remark]:
    try:
        with time_limit(limit):
            _execute(source, f"<cell {shell.cell}>", shell.user_ns)
    except TimeLimitReached:
        return [Remark(shell.cell, "stopped")]
    except BaseException as error:  # noqa: BLE001 whatever a stranger raises
        return [Remark(shell.cell, "raised", type(error).__name__, _message(error))]
    return []


def _message(error: BaseException) -> str:
    try:
        return str(error)[:500]
    except Exception:  # noqa: BLE001 their __str__
        return ""


def _execute(source: str, filename: str, namespace: dict[str, Any]) -> None:
    source = as_python(source)
    # A traceback, and the report of a failing check, quote the line.
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    code = compile(source, filename, "exec", _TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, namespace)
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(result)


def as_python(source: str) -> str:
    """Turn magics, shell lines and `name?` into calls; plain Python stays as it is."""
    try:
        compile(source, "<cell>", "exec", _TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError):
        from IPython.core.inputtransformer2 import TransformerManager

        return str(TransformerManager().transform_cell(source))  # type: ignore[no-untyped-call]
    return source
