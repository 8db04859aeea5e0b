"""Runs submissions on a few workers and gives back what each recorded, as they finish.

Runs on the trusted side. A thread keeps the workers busy, so that whoever reads the results may
take their time. Judges nothing.
"""

from __future__ import annotations

import queue
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import ceil
from types import TracebackType
from typing import TypeAlias

from dropout_course.grading.limits import Limits
from dropout_course.grading.sandbox import NoSandbox, Sandbox, bwrap_namespaces
from dropout_course.grading.session import Session
from dropout_course.grading.work import Recorded, Status, Work
from dropout_course.grading.worker import (
    STARTING,
    PlainWorker,
    WarmWorker,
    Worker,
    WorkerLost,
)

_Result: TypeAlias = tuple[Work, Recorded] | BaseException
_TICK = 0.02  # seconds between two looks at fresh processes, which tell nobody that they ended
_ENDING = 10.0  # seconds that a process may take to end once it was told to
_TRIES = 2  # of a submission that crashed, or whose worker was lost
_FAILED_STARTS = 3  # in a row: a worker would not start again either


@dataclass
class _Job:
    work: Work
    results: queue.SimpleQueue[_Result]
    tries: int = 1


@dataclass(eq=False)
class _Slot:
    """A worker and what it is doing."""

    worker: Worker
    job: _Job | None = None
    session: Session | None = None
    told_to_end: float | None = None


class Runner:
    """A context manager: workers start on entering and are gone, with all they run, on leaving."""

    def __init__(self, *, workers: int, sandbox: Sandbox, limits: Limits | None = None) -> None:
        """Take the number of workers, the sandbox that `sandbox.choose` returned, and limits.

        The limit on processor time follows each submission's timeout. `ValueError` for no workers.
        """
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        self._number = workers
        self._sandbox = sandbox
        self._limits = limits or Limits()
        self._jobs: deque[_Job] = deque()
        self._wake, self._woken = socket.socketpair()
        self._closing = False
        self._loop = threading.Thread(
            target=self._run_loop, name="dropout-course-runner", daemon=True
        )
        self._trouble: BaseException | None = None

    def __enter__(self) -> Runner:
        self._loop.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing = True
        self._wake.send(b"!")
        self._loop.join()
        self._wake.close()
        self._woken.close()

    def run(self, works: Iterable[Work]) -> Iterator[tuple[Work, Recorded]]:
        """Run each submission and give what it recorded, in the order of finishing.

        Takes from `works` only as many as keep the workers busy. Raises nothing for what a
        submission does; `NoSandbox` where no worker can be started.
        """
        results: queue.SimpleQueue[_Result] = queue.SimpleQueue()
        source, in_flight, more = iter(works), 0, True
        while True:
            while more and in_flight < 2 * self._number:
                work = next(source, None)
                if work is None:
                    more = False
                    break
                self._submit(_Job(work, results))
                in_flight += 1
            if not in_flight:
                return
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            in_flight -= 1
            yield result

    def _submit(self, job: _Job) -> None:
        self._jobs.append(job)
        if self._trouble is not None:
            raise self._trouble
        self._wake.send(b"+")

    def _run_loop(self) -> None:
        loop = _Loop(self._limits, self._jobs, self._woken)
        try:
            loop.fill(self._number, self._sandbox)
            while not self._closing:
                loop.turn()
        except BaseException as trouble:  # noqa: BLE001 it is raised where results are awaited
            self._trouble = trouble
            waiting = [slot.job for slot in loop.slots if slot.job is not None]
            for job in (*waiting, *self._jobs):
                job.results.put(trouble)
        finally:
            loop.close()


class _Loop:
    """What the runner's thread does: everything that touches workers and sessions."""

    def __init__(self, limits: Limits, jobs: deque[_Job], woken: socket.socket) -> None:
        self.slots: list[_Slot] = []
        self._limits = limits
        self._jobs = jobs
        self._woken = woken
        self._namespaces: tuple[str, ...] | None = None
        self._failed_starts = 0

    def fill(self, number: int, sandbox: Sandbox) -> None:
        if sandbox is Sandbox.BWRAP:
            self._namespaces = bwrap_namespaces()
        while len(self.slots) < number:
            self.slots.append(_Slot(self._new_worker()))

    def close(self) -> None:
        for slot in self.slots:
            if slot.session is not None:
                slot.session.channel.close()
            slot.worker.close()

    def turn(self) -> None:
        """Wait until something happens, see to it, begin what can begin."""
        self._wait()
        for slot in self.slots:
            try:
                self._attend(slot)
            except WorkerLost as why:
                self._replace(slot, str(why))

    def _wait(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            for slot in self.slots:
                session, own = slot.session, slot.worker.news
                if own is not None:
                    selector.register(own, selectors.EVENT_READ)
                if session is not None and not session.finished:
                    writes = selectors.EVENT_WRITE if session.sending else 0
                    selector.register(session.channel, selectors.EVENT_READ | writes)
            readable = {key.fileobj for key, _ in selector.select(self._patience())}
        if self._woken in readable:
            self._woken.recv(4096)

    def _patience(self) -> float:
        """Seconds until something is due whether or not anything arrives."""
        now, patience = time.monotonic(), 1.0
        for slot in self.slots:
            if slot.session is not None:
                patience = min(patience, max(slot.session.deadline - now, 0.001))
                if slot.worker.news is None or slot.told_to_end is not None:
                    patience = min(patience, _TICK)
            elif slot.worker.ready and self._jobs:
                return 0.0
        return patience

    def _attend(self, slot: _Slot) -> None:
        worker, session = slot.worker, slot.session
        if worker.news is not None and _readable(worker.news):
            worker.listen()
            self._failed_starts = 0
        if session is not None:
            self._converse(slot, session)
        elif worker.ready and self._jobs:
            slot.job = self._jobs.popleft()
            limits = self._limits_of(slot.job.work)
            slot.session = Session(slot.job.work, worker.start(limits))
            slot.session.send()
        elif not worker.ready and time.monotonic() > worker.started + STARTING:
            raise WorkerLost(f"it was not ready after {STARTING:g} s")

    def _converse(self, slot: _Slot, session: Session) -> None:
        ending = slot.worker.ending()
        # What was sent before the end is still in the channel, up to its end.
        while not session.finished and _readable(session.channel):
            session.receive()
            if ending is None:
                break
        if session.sending and not session.finished:
            session.send()
        if ending is not None:
            recorded = session.recorded(ending, self._limits_of(session.work))
            if recorded.status is Status.CRASHED and not ending.exceeded and self._again(slot):
                return
            self._conclude(slot, recorded)
        elif not session.finished and time.monotonic() > session.deadline:
            session.time_out()
        if session.finished and slot.told_to_end is None and ending is None:
            slot.worker.stop()
            slot.told_to_end = time.monotonic()
        elif slot.told_to_end is not None and time.monotonic() > slot.told_to_end + _ENDING:
            raise WorkerLost("a submission's process did not end")

    def _conclude(self, slot: _Slot, recorded: Recorded) -> None:
        if slot.session is not None:
            slot.session.channel.close()
        if slot.job is not None:
            slot.job.results.put((slot.job.work, recorded))
        slot.job = slot.session = slot.told_to_end = None

    def _replace(self, slot: _Slot, why: str) -> None:
        if slot.session is not None and slot.job is not None:
            if slot.session.decided or not self._again(slot):
                recorded = slot.session.recorded(None, self._limits_of(slot.session.work))
                self._conclude(slot, recorded)
        elif not slot.worker.ready:
            self._failed_starts += 1
        slot.worker.close()
        if self._failed_starts >= _FAILED_STARTS:
            raise NoSandbox(f"No worker could be started: {why}.")
        slot.worker = self._new_worker()

    def _again(self, slot: _Slot) -> bool:
        """Put the submission back, once: what befell it need not be its own doing."""
        if slot.session is None or slot.job is None or slot.job.tries >= _TRIES:
            return False
        slot.session.channel.close()
        self._jobs.appendleft(replace(slot.job, tries=slot.job.tries + 1))
        slot.job = slot.session = slot.told_to_end = None
        return True

    def _new_worker(self) -> Worker:
        if self._namespaces is None:
            return PlainWorker(self._limits)
        return WarmWorker(self._namespaces)

    def _limits_of(self, work: Work) -> Limits:
        return replace(self._limits, cpu=ceil(work.timeout) + 1)


def _readable(channel: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        return bool(selector.select(0))
