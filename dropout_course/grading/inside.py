"""A submission's own process: loads its code, then records the exercises asked for.

Runs inside the sandbox, beside a stranger's code: it holds no secret, and nothing it says is
believed. It judges nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import sys
import time
import traceback
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dropout_course
from dropout_course.checks.record import TIME_LIMIT, record
from dropout_course.checks.store import UnreadableRecord, encode
from dropout_course.course import EXERCISES
from dropout_course.grading.cells import Remark, as_python, run_cells
from dropout_course.grading.frames import Kind, packed, packed_json, receive
from dropout_course.grading.work import Engine

LOADING = 0.5  # of the time allowed: what the cells may take, so that what they define is recorded
RECORDING = 0.9  # of the time allowed: when the last record must be finished
_REMARKS = 30
_MISSING = object()


def prepare() -> None:
    """Make this process one that can run a submission: one thread, no windows, no verdicts.

    A process that has computed with several threads cannot be forked: its children hang.
    """
    os.environ["MPLBACKEND"] = "Agg"
    torch.set_num_threads(1)
    for verb in dropout_course.__all__:
        # A cell may still call them; the verdict is made elsewhere.
        setattr(dropout_course, verb, lambda *_, **__: None)


def warm_up() -> None:
    """Do once what every submission would do again: imports, and first calls that import."""
    prepare()
    import matplotlib.pyplot as plt  # noqa: F401

    as_python("%matplotlib inline\n")
    for exercise in EXERCISES.values():
        plan = exercise.plan(np.random.default_rng(0))
        with contextlib.suppress(UnreadableRecord):
            encode(record(plan, lambda *_, **__: None))


def serve_submission(channel: socket.socket) -> None:
    """Run one submission whose grader is at the other end of `channel`. Returns when all is sent.

    Ends the process at once in any process but the one that was called: a submission that forks
    must not send everything twice.
    """
    try:
        _converse(channel)
    except BaseException as why:
        # Of the course's own code: a stranger's is caught where it is called.
        where = traceback.extract_tb(why.__traceback__)[-1]
        text = f"{type(why).__name__}: {why} ({Path(where.filename).name}:{where.lineno})"
        channel.sendall(packed_json(Kind.NOTE, ["failed", text[:500]]))
        raise


def _converse(channel: socket.socket) -> None:
    started, own = time.monotonic(), os.getpid()
    _seed_afresh()
    work = json.loads(receive(channel).payload)
    timeout = float(work["timeout"])
    if work["engine"] == Engine.NBVAL:
        from dropout_course.grading.nbval_inside import serve

        serve(channel, work["cells"], timeout, deadline=started + RECORDING * timeout)
        return
    main, remarks = run_cells(work["cells"], limit=LOADING * timeout)
    _only(own)
    _regain_control()
    send_remarks(channel, remarks)
    channel.sendall(packed(Kind.LOADED))
    asked = json.loads(receive(channel).payload)
    for answer in recorded(main, asked, started + RECORDING * timeout):
        _only(own)
        _regain_control()
        channel.sendall(answer)
    channel.sendall(packed(Kind.DONE))


def recorded(
    main: types.ModuleType, asked: Sequence[tuple[str, int]], deadline: float
) -> Iterator[bytes]:
    """Record each exercise asked for, by id and seed; its frame, or one that says why there is
    none. Together they take until `deadline` (time.monotonic) at most."""
    for done, (name, seed) in enumerate(asked):
        left = deadline - time.monotonic()
        limit = max(0.1, min(TIME_LIMIT, left / (len(asked) - done)))
        yield _recorded(main, name, seed, limit)


def _recorded(main: types.ModuleType, name: str, seed: int, limit: float) -> bytes:
    target = main.__dict__.get(name, _MISSING)
    if target is _MISSING:
        return packed_json(Kind.NOTE, ["missing", name])
    plan = EXERCISES[name].plan(np.random.default_rng(seed))
    try:
        data = encode(record(plan, target, limit=limit))
    except BaseException as why:  # noqa: BLE001 a recorder that their code has changed
        return packed_json(Kind.NOTE, ["unrecorded", name, str(why)[:500]])
    return packed(Kind.RECORD, name.encode() + b"\0" + data)


def send_remarks(channel: socket.socket, remarks: list[Remark]) -> None:
    """Tell what there is to say about the cells."""
    for remark in remarks[:_REMARKS]:
        content: list[Any] = [remark.kind, remark.cell, remark.text, remark.detail]
        channel.sendall(packed_json(Kind.NOTE, content))


def _seed_afresh() -> None:
    """Siblings are copies of one process: without this they would draw the same numbers."""
    random.seed()
    np.random.seed(int.from_bytes(os.urandom(4), "little"))  # noqa: NPY002 the global one
    torch.default_generator.manual_seed(int.from_bytes(os.urandom(8), "little") >> 1)


def _regain_control() -> None:
    """Take back what a cell may have hung itself into; for order, not for safety."""
    sys.settrace(None)
    sys.setprofile(None)
    sys.setrecursionlimit(1000)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)
    torch.set_grad_enabled(True)


def _only(own: int) -> None:
    if os.getpid() != own:
        os._exit(0)
