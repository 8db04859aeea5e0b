"""A worker as the grader sees it: a process that runs one submission after another.

Runs on the trusted side; believes the warmed process as far as this module reads it, and the
submission's process not at all. Knows nothing of what the messages to a submission hold.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

from dropout_course.grading.frames import READY
from dropout_course.grading.limits import Limits
from dropout_course.grading.sandbox import NoSandbox, host_command, host_python, variables

STARTING = 120.0  # seconds that a worker may take until it is ready


@dataclass(frozen=True)
class Ending:
    """How a submission's process ended: wait status, seconds of CPU, what it used too much of."""

    status: int
    cpu: float = 0.0
    exceeded: str = ""


class WorkerLost(RuntimeError):
    """The worker ended or answered oddly: it must be replaced."""


class Worker(Protocol):
    """Runs one submission at a time. `listen` may be called whenever `news` is readable."""

    ready: bool
    started: float

    @property
    def news(self) -> socket.socket | None:
        """What to watch for news of the worker itself."""

    def listen(self) -> None:
        """Take the news; `WorkerLost` if it is none that a sound worker gives."""

    def start(self, limits: Limits) -> socket.socket:
        """Begin a submission and return the grader's end of its channel."""

    def ending(self) -> Ending | None:
        """How the submission ended, once it has."""

    def stop(self) -> None:
        """End the submission, whatever it is doing, and everything that it started."""

    def close(self) -> None:
        """End the worker and everything in it."""


class WarmWorker:
    """A warmed process in the sandbox, that forks itself for each submission."""

    def __init__(self, namespaces: Sequence[str]) -> None:
        self.ready = False
        self.started = time.monotonic()
        self._ending: Ending | None = None
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 closed with the worker
        with theirs:
            self._process = subprocess.Popen(
                host_command(namespaces, [str(theirs.fileno())]),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                start_new_session=True,  # Ctrl-C is for the grader, which then ends this
            )

    @property
    def news(self) -> socket.socket | None:
        return self._control

    def listen(self) -> None:
        try:
            data = self._control.recv(4096)
        except BlockingIOError:
            return
        except OSError as why:
            raise WorkerLost(str(why)) from why
        if not data:
            raise WorkerLost(self._last_words())
        try:
            news = json.loads(data)
            if "ended" in news:
                self._ending = Ending(news["ended"], news["cpu"], news["why"])
            elif news["trouble"]:
                raise NoSandbox(f"Submissions cannot be shut in: {news['trouble']}.")
        except (ValueError, KeyError, TypeError) as why:
            raise WorkerLost(f"it answered oddly: {why}") from why
        self.ready = True

    def start(self, limits: Limits) -> socket.socket:
        ours, theirs = socket.socketpair()
        self.ready, self._ending = False, None
        with theirs:
            self._send(limits.as_dict(), [theirs.fileno()])
        return ours

    def ending(self) -> Ending | None:
        return self._ending

    def stop(self) -> None:
        self._send("kill", [])

    def close(self) -> None:
        # With the first process of the sandbox, the kernel ends all others in it.
        self._process.kill()
        self._process.wait()
        self._control.close()
        self._said.close()

    def _send(self, order: Any, files: list[int]) -> None:
        try:
            socket.send_fds(self._control, [json.dumps(order).encode()], files)
        except OSError as why:
            raise WorkerLost(str(why)) from why

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read(100_000).decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it ended without a word"


class PlainWorker:
    """A fresh process for each submission, started ahead of it; not shut in."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._home = tempfile.TemporaryDirectory(
            prefix="dropout-course-", ignore_cleanup_errors=True
        )
        self._spawn()

    def _spawn(self) -> None:
        self.ready = False
        self.started = time.monotonic()
        self._channel, theirs = socket.socketpair()
        self._starting = True
        handle = [] if os.name == "nt" else [theirs.fileno()]
        with theirs:
            arguments = [str(theirs.fileno()), json.dumps(self._limits.as_dict())]
            own = {"HOME": self._home.name, "TMPDIR": self._home.name, "PATH": os.environ["PATH"]}
            kept = ("SYSTEMROOT", "TEMP", "LD_LIBRARY_PATH")
            own |= {name: os.environ[name] for name in kept if name in os.environ}
            self._process = subprocess.Popen(
                host_python(arguments, "alone"),
                pass_fds=handle,
                stdin=subprocess.PIPE if os.name == "nt" else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=self._home.name,
                env=variables() | own,
                start_new_session=True,
            )
            if self._process.stdin is not None:
                share = theirs.share(self._process.pid)  # type: ignore[attr-defined,unused-ignore]
                self._process.stdin.write(share)
                self._process.stdin.close()

    @property
    def news(self) -> socket.socket | None:
        return self._channel if self._starting else None

    def listen(self) -> None:
        if self._channel.recv(1) != READY:
            raise WorkerLost("a fresh process ended before it had a submission")
        self._starting, self.ready = False, True

    def start(self, limits: Limits) -> socket.socket:  # noqa: ARG002
        # Its limits were set when it was started; only the wall clock differs between submissions.
        self.ready = False
        return self._channel

    def ending(self) -> Ending | None:
        code = self._process.poll()
        if code is None:
            return None
        self._end_group()
        self._spawn()
        return Ending(-code if code < 0 else code << 8)

    def stop(self) -> None:
        self._end_group()

    def close(self) -> None:
        self._end_group()
        self._process.wait()
        self._channel.close()
        self._home.cleanup()

    def _end_group(self) -> None:
        if os.name == "nt":
            self._process.kill()
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
