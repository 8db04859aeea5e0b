"""What goes into the sandbox for one submission and what comes out. Data only; runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a submission ended. Partial results count whatever it says."""

    GRADED = "graded"
    UNREADABLE = "unreadable"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    REFUSED = "refused"


class Engine(StrEnum):
    """What runs a submission's cells: the confined process itself, or nbval with a kernel."""

    FORK = "fork"
    NBVAL = "nbval"


@dataclass(frozen=True)
class CodeCell:
    """A code cell to run; `grade_id` is the nbgrader id where it has one."""

    source: str
    grade_id: str | None = None


@dataclass(frozen=True)
class Asked:
    """An exercise to record, with the seed of the numpy generator that its plan is made from.

    The seed is drawn freshly by the trusted side and reaches the sandbox after the code is loaded.
    """

    exercise: str
    seed: int


@dataclass(frozen=True)
class Work:
    """One submission of one lesson. `timeout` is in seconds of wall time, loading included."""

    student: str
    lesson: str
    cells: tuple[CodeCell, ...]
    asked: tuple[Asked, ...]
    timeout: float = 60.0
    engine: Engine = Engine.FORK


@dataclass(frozen=True)
class Recorded:
    """What came back: by exercise id the bytes of `checks.store`, as the untrusted side sent them.

    An exercise that is missing has no record. `seconds` is wall time.
    """

    status: Status
    records: Mapping[str, bytes]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
