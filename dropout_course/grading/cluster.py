"""Runs submissions on a Dask cluster: the same results as a runner on one machine.

Dask shares out the work, gives that of a lost worker to another, and takes in workers that join.
Here is only what it leaves open: how much is under way, what to do where a worker neither answers
nor ends, and when to give up. Must not know what is recorded.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import ceil
from types import TracebackType
from typing import Any

from dropout_course.grading import judging
from dropout_course.grading.sandbox import NoSandbox
from dropout_course.grading.work import Recorded, Status, Work

_LOOK = 1.0  # seconds between two looks at the workers and at what takes long


class ClusterError(RuntimeError):
    """The cluster cannot be used; the text says why and what to do."""


@dataclass(frozen=True)
class Patience:
    """In seconds: for the scheduler to answer; for a worker to be there; and what a submission may
    take beyond its own time limit, for warming up and for the network."""

    scheduler: float = 15.0
    workers: float = 300.0
    grace: float = 120.0


@dataclass
class _Flight:
    """A submission under way, as one task or, once retried, as two."""

    work: Work
    futures: list[Any] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)


class ClusterRunner:
    """A context manager, connected on entering; leaves nothing on the workers."""

    def __init__(self, address: str, *, sandbox: str, patience: Patience | None = None) -> None:
        """Take the scheduler's address (tcp://host:8786) and the sandbox's name for the workers."""
        self._address = address
        self._sandbox = sandbox
        self._patience = patience or Patience()
        self._name = f"dropout-course-{uuid.uuid4().hex}"
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._flights: dict[str, _Flight] = {}
        self._given_up: list[tuple[Work, Recorded]] = []
        self._client: Any = None
        self._threads = 0
        self._looked = 0.0
        self._last_seen = time.monotonic()

    def __enter__(self) -> ClusterRunner:
        try:
            from distributed import Client

            from dropout_course.grading.station import Station
        except ImportError as error:
            raise ClusterError(
                "dask.distributed is not installed, and a cluster is reached through it: "
                "pip install 'dropout-course[grade]', and try again."
            ) from error
        try:
            self._client = Client(
                self._address, timeout=self._patience.scheduler, set_as_default=False
            )
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"No Dask scheduler answers at {self._address}: start one (`dask scheduler`), or "
                "give the address that it printed."
            ) from error
        self._client.register_plugin(Station(self._name, self._sandbox, judging.criteria()))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # In a thread: Dask waits for every worker's answer, and one that hangs gives none.
        leaving = threading.Thread(target=self._leave, daemon=True)
        leaving.start()
        leaving.join(self._patience.scheduler)

    def _leave(self) -> None:
        # A scheduler that is gone cannot be told anything any more.
        with contextlib.suppress(Exception):
            self._client.cancel([f for flight in self._flights.values() for f in flight.futures])
            self._client.unregister_worker_plugin(self._name)
        with contextlib.suppress(Exception):
            self._client.close(timeout=self._patience.scheduler)

    def run(self, works: Iterable[Work]) -> Iterator[tuple[Work, Recorded]]:
        """Run each submission and give what it recorded, in the order of finishing.

        Takes from `works` only as many as keep the workers busy. Raises ClusterError or NoSandbox
        where the cluster cannot do it, never for what a submission does.
        """
        source, more = iter(works), True
        while True:
            self._look()
            while more and len(self._flights) < 2 * max(self._threads, 1):
                work = next(source, None)
                if work is None:
                    more = False
                    break
                self._launch(_Flight(work))
            if not self._flights and not self._given_up:
                return
            with contextlib.suppress(queue.Empty):
                finished = self._landed(self._done.get(timeout=_LOOK))
                if finished is not None:
                    yield finished
            while self._given_up:
                yield self._given_up.pop()

    # --- tasks ----------------------------------------------------------------------------------

    def _launch(self, flight: _Flight, away_from: str = "") -> None:
        from dropout_course.grading.station import record

        key = f"{self._name}-{uuid.uuid4().hex}"
        flight.since = time.monotonic()
        with self._reaching():
            others = [address for address in self._client.nthreads() if address != away_from]
            elsewhere = bool(away_from and others)
            future = self._client.submit(
                record,
                self._name,
                flight.work,
                key=key,
                pure=False,
                workers=others if elsewhere else None,
                allow_other_workers=elsewhere,
            )
        flight.futures.append(future)
        self._flights[key] = flight
        future.add_done_callback(self._done.put)

    def _landed(self, future: Any) -> tuple[Work, Recorded] | None:
        """What a task that is done comes to; None where another one now does its work."""
        flight = self._flights.get(future.key)
        if flight is None:
            return None  # its twin was faster
        if future.status == "cancelled" or self._client.status != "running":
            raise self._lost()
        try:
            recorded: Recorded = future.result(timeout=self._patience.scheduler)
        except (ClusterError, NoSandbox) as why:
            raise ClusterError(str(why)) from why
        except Exception as why:
            if type(why).__name__ == "OtherEdition":
                raise ClusterError(str(why)) from why
            self._retry(flight, f"the worker failed ({type(why).__name__})")
            return None
        self._forget(flight)
        return flight.work, recorded

    def _retry(self, flight: _Flight, why: str) -> None:
        """Once more, elsewhere where there is an elsewhere; then say that it could not be done."""
        if len(flight.futures) < 2:
            self._launch(flight, away_from=self._whereabouts(flight))
        else:
            self._give_up(flight, why)

    def _give_up(self, flight: _Flight, why: str) -> None:
        self._forget(flight)
        note = f"It was run twice on the cluster, and twice {why}; nothing was recorded."
        self._given_up.append((flight.work, Recorded(Status.CRASHED, {}, (note,))))

    def _forget(self, flight: _Flight) -> None:
        for future in flight.futures:
            self._flights.pop(future.key, None)
        with contextlib.suppress(Exception):
            self._client.cancel(flight.futures)

    def _whereabouts(self, flight: _Flight) -> str:
        """The worker that has the submission, empty where none has."""
        keys = {future.key for future in flight.futures}
        processing = self._client.processing().items()
        return next((address for address, tasks in processing if keys & set(map(str, tasks))), "")

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        """Around what needs the scheduler: whatever a closed connection makes Dask raise."""
        try:
            yield
        except (OSError, ValueError, RuntimeError) as why:
            raise self._lost() from why

    def _lost(self) -> ClusterError:
        return ClusterError(
            f"The connection to the scheduler at {self._address} was lost. What was graded is "
            "stored; run the same command to go on."
        )

    # --- workers --------------------------------------------------------------------------------

    def _look(self) -> None:
        """Every second: count the workers, and see to what takes longer than it can."""
        now = time.monotonic()
        if now < self._looked + _LOOK:
            return
        self._looked = now
        with self._reaching():
            self._threads = sum(self._client.nthreads().values())
        if self._threads:
            self._last_seen = now
        elif now > self._last_seen + self._patience.workers:
            raise ClusterError(
                f"The scheduler at {self._address} has had no workers for "
                f"{self._patience.workers:g} s: start some (`dask worker {self._address}`). What "
                "was graded is stored; run the same command to go on."
            )
        else:
            for flight in self._flights.values():
                flight.since = now  # nobody could have worked on it
            return
        self._see_to_stragglers(now)

    def _see_to_stragglers(self, now: float) -> None:
        """Whatever has not come back after its turns' time: once more elsewhere, then no more."""
        flights = list({id(flight): flight for flight in self._flights.values()}.values())
        turns = ceil(len(self._flights) / self._threads)
        for flight in flights:
            if now > flight.since + turns * (flight.work.timeout + self._patience.grace):
                self._retry(flight, "no answer came in time")
