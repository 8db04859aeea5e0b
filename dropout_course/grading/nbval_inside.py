"""A submission run by nbval: a notebook, pytest, and a kernel of its own. Slow; same records.

Runs inside the sandbox, in the submission's own process, which starts the kernel. The last cell of
the notebook records; its seeds are asked for when the kernel has run all others. Nothing here is
believed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dropout_course.grading.cells import Remark
from dropout_course.grading.frames import Kind, packed, receive
from dropout_course.grading.inside import recorded, send_remarks

# The kernel imports what a warmed process has already, and a submission's code is not to be judged.
_FIRST = "from dropout_course.grading.inside import prepare as _prepare; _prepare(); del _prepare"
_LAST = (
    "from dropout_course.grading.nbval_inside import record_into as _record\n_record({folder!r})"
)
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_LOOK = 0.2  # seconds between two looks whether the kernel lives
_DEAD = 70


def serve(channel: socket.socket, cells: Sequence[str], timeout: float, *, deadline: float) -> None:
    """Run the cells under nbval, then send what the kernel recorded until `deadline`."""
    folder = Path(tempfile.mkdtemp())
    notebook = folder / "submission.ipynb"
    last = _LAST.format(folder=str(folder))
    notebook.write_text(json.dumps(_notebook([_FIRST, *cells, last])), encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    watch = _Watch(channel, folder, len(cells) + 1, deadline)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    arguments = [
        *("-p", "nbval.plugin", "--nbval-lax", "--nbval-current-env"),
        f"--nbval-cell-timeout={timeout / 2:g}",
        *("-p", "no:cacheprovider", "-c", str(folder / "pytest.ini"), f"--rootdir={folder}"),
        *("--quiet", "--capture=no", str(notebook)),
    ]
    pytest.main(arguments, plugins=[watch])
    for file in sorted(folder.glob("*.frame")):
        channel.sendall(file.read_bytes())
    channel.sendall(packed(Kind.DONE))


def record_into(folder: str) -> None:
    """In the kernel: record what the grader asked for, a file each, in order."""
    place = Path(folder)
    asked, deadline = json.loads((place / "asked.json").read_text(encoding="utf-8"))
    # time.monotonic is one clock for all processes of a system that has fork.
    for number, frame in enumerate(recorded(sys.modules["__main__"], asked, deadline)):
        (place / f"{number:03}.frame").write_bytes(frame)


def _notebook(sources: Sequence[str]) -> dict[str, Any]:
    cells: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "metadata": {},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for number, source in enumerate(sources)
    ]
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}


class _Watch:
    """A pytest plugin: notes what cells raise, and fetches the seeds before the last cell."""

    def __init__(self, channel: socket.socket, folder: Path, last: int, deadline: float) -> None:
        self._channel = channel
        self._folder = folder
        self._last = last
        self._deadline = deadline
        self._remarks: list[Remark] = []
        self._kernel: Any = None

    def pytest_runtest_call(self, item: Any) -> None:
        """Called before each cell is run, the kernel being there."""
        if self._kernel is None:
            self._kernel = item.parent.kernel
            threading.Thread(target=self._guard, daemon=True).start()
        if item.cell_num == self._last:
            self._prepare_recording()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: Any) -> None:
        """nbval expects nothing of cells after one that ran too long; the last is to run."""
        if item.cell_num == self._last:
            item.parent.timed_out = False

    def pytest_runtest_makereport(self, item: Any, call: Any) -> None:
        """Note an exception of a cell of the submission's."""
        if call.when == "call" and call.excinfo is not None and 0 < item.cell_num < self._last:
            self._remarks.append(_remark(item.cell_num, call.excinfo.value))

    def _prepare_recording(self) -> None:
        send_remarks(self._channel, self._remarks)
        self._channel.sendall(packed(Kind.LOADED))
        asked = json.loads(receive(self._channel).payload)
        text = json.dumps([asked, self._deadline])
        (self._folder / "asked.json").write_text(text, encoding="utf-8")

    def _guard(self) -> None:
        """nbval notices a dead kernel by the time limit only."""
        while True:
            time.sleep(_LOOK)
            # It has no manager any more once nbval has stopped it in good order.
            with contextlib.suppress(AttributeError):
                if not self._kernel.km.is_alive() and not list(self._folder.glob("*.frame")):
                    os._exit(_DEAD)


def _remark(cell: int, error: BaseException) -> Remark:
    traceback = getattr(error, "inner_traceback", None)
    if "Timeout" in str(error) or traceback is None:
        return Remark(cell, "stopped")
    lines = _ESCAPES.sub("", traceback).strip().splitlines()
    kind, _, message = (lines[-1] if lines else "Exception").partition(": ")
    return Remark(cell, "raised", kind.strip(), message.strip())
