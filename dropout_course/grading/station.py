"""What the grader leaves on every worker of a Dask cluster: a runner of its own.

Runs on the cluster's workers, which are trusted: submissions are shut in there as they are on one
machine. Needs dask.distributed. Must not know how work is shared out.
"""

from __future__ import annotations

import threading
from typing import Any

from distributed import get_worker
from distributed.diagnostics.plugin import WorkerPlugin

from dropout_course.grading import judging
from dropout_course.grading.runner import Runner
from dropout_course.grading.sandbox import choose
from dropout_course.grading.work import Recorded, Work


class OtherEdition(RuntimeError):
    """A worker has another edition of the course than the grader; the text says what to do."""


class Station(WorkerPlugin):  # type: ignore[misc,unused-ignore]
    """Keeps a runner with as many warmed processes as its worker has threads.

    They start with the first submission, and end with the grading or the worker.
    """

    def __init__(self, name: str, sandbox: str, criteria: str) -> None:
        """Take a name of its own, the sandbox by name, and `judging.criteria()` of the grader."""
        self.name = name
        self._sandbox = sandbox
        self._criteria = criteria

    def setup(self, worker: Any) -> None:
        """Called by Dask, on workers that join later, too."""
        self._lock = threading.Lock()
        self._runner: Runner | None = None
        self._threads = int(worker.state.nthreads)
        self._address = str(worker.address)

    def teardown(self, worker: Any) -> None:  # noqa: ARG002
        """Called by Dask when the grader has finished or the worker closes in good order."""
        with self._lock:
            if self._runner is not None:
                self._runner.__exit__(None, None, None)
                self._runner = None

    def record(self, work: Work) -> Recorded:
        """Run one submission. Raises OtherEdition, and NoSandbox where it cannot be shut in."""
        if judging.criteria() != self._criteria:
            raise OtherEdition(
                f"The worker {self._address} has another edition of the course than this machine "
                f"({judging.criteria()}, not {self._criteria}): install the same on both."
            )
        ((_, recorded),) = self._running().run([work])
        return recorded

    def _running(self) -> Runner:
        with self._lock:
            if self._runner is None:
                runner = Runner(workers=self._threads, sandbox=choose(self._sandbox))
                self._runner = runner.__enter__()
            return self._runner


def record(name: str, work: Work) -> Recorded:
    """The task: run one submission on the station of that name of whichever worker this is."""
    station: Any = get_worker().plugins[name]
    recorded: Recorded = station.record(work)
    return recorded
