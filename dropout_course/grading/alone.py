"""A fresh process for one submission, where there is no sandbox or no fork: slow, same results.

`python -m` starts it; the grader gives it a socket and sends the same messages as to a confined
process. Limits what the system lets a process limit; shuts nothing in.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import Any

from dropout_course.grading.frames import READY
from dropout_course.grading.inside import prepare, serve_submission


def main() -> None:
    """Say that all is imported, wait for a submission, serve it, end."""
    if os.name == "nt":
        channel = socket.fromshare(sys.stdin.buffer.read())  # type: ignore[attr-defined,unused-ignore]
    else:
        channel = socket.socket(fileno=int(sys.argv[1]))
    prepare()
    channel.sendall(READY)
    code = 70
    try:
        _set_limits(json.loads(sys.argv[2]))
        serve_submission(channel)
        code = 0
    finally:
        os._exit(code)  # no atexit, no finalisers: a stranger may have left some


def _set_limits(limits: dict[str, Any]) -> None:
    try:
        import resource
    except ImportError:
        return
    for kind, amount in (
        (resource.RLIMIT_CPU, limits["cpu"]),
        (resource.RLIMIT_DATA, limits["memory"] + (1 << 29)),  # torch itself takes about 400 MB
        (resource.RLIMIT_FSIZE, limits["disk"]),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        amount = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(kind, (amount, amount))


if __name__ == "__main__":
    main()
