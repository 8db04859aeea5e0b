"""The warmed process of a worker: forks itself, confined, once for each submission.

Runs inside the outer sandbox. It never reads a byte that a submission wrote: the submission talks
to the grader over a socket of its own, which this process only hands on. `python -m` starts it.

The grader sends a JSON message with one socket for each submission, or "kill". The answers:
{"ready": true, "trouble": ""} once; then for each submission {"ended": wait status, "cpu": seconds,
"why": "", "memory" or "processes"}.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import torch

from dropout_course.grading import kernel
from dropout_course.grading.confine import seal, start_confined
from dropout_course.grading.inside import serve_submission, warm_up
from dropout_course.grading.limits import Limits

_LOOK = 0.1  # seconds between two looks at what a submission uses
_PAGE = os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Warm up, then serve the grader until it goes away."""
    control = socket.socket(fileno=int(sys.argv[1]))
    kernel.adopt_orphans()
    warm_up()
    gc.collect()
    gc.freeze()  # a collection in a child would touch, so copy, every page
    seal()
    trouble = _self_test()
    _tell(control, {"ready": not trouble, "trouble": trouble})
    own = _own_use()
    while (order := _next_order(control)) is not None:
        content, channel = order
        if channel is None:
            continue  # "kill" came after the end
        limits = Limits(**content)
        pid = _start(channel, limits)
        why = _watch(pid, control, limits, own)
        _, status, used = os.wait4(pid, 0)
        cpu = used.ru_utime + used.ru_stime
        _tell(control, {"ended": status, "cpu": cpu, "why": why})


def _next_order(control: socket.socket) -> tuple[Any, socket.socket | None] | None:
    data, files, _, _ = socket.recv_fds(control, 4096, 1)
    if not data:
        return None
    channel = socket.socket(fileno=files[0]) if files else None
    return json.loads(data), channel


def _tell(control: socket.socket, answer: dict[str, Any]) -> None:
    control.send(json.dumps(answer).encode())


def _start(channel: socket.socket, limits: Limits) -> int:
    with channel:
        return start_confined(lambda: serve_submission(channel), channel.fileno(), limits)


def _watch(pid: int, control: socket.socket, limits: Limits, own: int) -> str:
    """Wait for the process to end; end it where the grader says so or it uses too much."""
    why = ""
    handle = os.pidfd_open(pid)
    try:
        while True:
            ready, _, _ = select.select([handle, control.fileno()], [], [], _LOOK)
            if handle in ready:
                return why
            if control.fileno() in ready and _next_order(control) is None:
                os._exit(0)  # the grader is gone; with this process everything here ends
            why = why or _exceeded(limits, own)
            if why or control.fileno() in ready:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    finally:
        os.close(handle)


def _exceeded(limits: Limits, own: int) -> str:
    """Which limit all processes of the submission together exceed, if any.

    The kernel's limits are for each process; these are for their sum.
    """
    spared = {1, os.getpid()}
    pids = [pid for pid in _processes() if pid not in spared]
    if len(pids) > limits.processes:
        return "processes"
    if len(pids) == 1:
        return "memory" if _private_bytes(pids[0]) - own > limits.memory else ""
    used = 0
    for pid in pids:
        used += _proportional_bytes(pid)
        if used > limits.memory + own:
            return "memory"
    return ""


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _private_bytes(pid: int) -> int:
    try:
        _, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
    except (OSError, ValueError):
        return 0  # it ended meanwhile
    return (resident - shared) * _PAGE


def _proportional_bytes(pid: int) -> int:
    """What a process uses where memory shared by n counts as 1/n each."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    wanted = ("Pss_Anon:", "Pss_Shmem:")
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(wanted))


def _own_use() -> int:
    return _private_bytes(os.getpid())


def _self_test() -> str:
    """Start one confined process and see that it is, and that it can still read the libraries."""
    ours, theirs = socket.socketpair()
    # Files of root's that others may not read would be missing in every submission.
    probe = Path(torch.__file__).with_name("version.py")

    def look() -> None:
        alone = _processes() == [1]
        writable = os.access("/", os.W_OK) or os.access("/dev", os.W_OK)
        try:
            probe.read_bytes()
            readable = os.access(sys.executable, os.X_OK)
        except OSError:
            readable = False
        theirs.sendall(f"{alone:d}{not writable:d}{readable:d}".encode())

    pid = start_confined(look, theirs.fileno(), Limits())
    theirs.close()
    os.waitpid(pid, 0)
    seen = ours.recv(16).decode()
    ours.close()
    sentences = {
        "": "a confined process ended before it could be looked at",
        "011": "a submission would see other processes",
        "101": "a submission could write outside its own places",
        "110": f"a submission, which runs as another user, could not read {probe}: make the Python "
        "environment readable for all",
    }
    return "" if seen == "111" else sentences.get(seen, f"confinement failed ({seen})")


if __name__ == "__main__":
    main()
