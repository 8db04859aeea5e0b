"""What an exercise is: data that an author writes. A learner touches `learner`, never this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from dropout_course.checks.isolation import one_thread
from dropout_course.checks.judge import Findings, conclude
from dropout_course.checks.plan import Plan
from dropout_course.checks.record import TIME_LIMIT, Record, record
from dropout_course.checks.verdict import Verdict


class Kind(StrEnum):
    """What the learner defines."""

    FUNCTION = "function"
    CLASS = "class"
    VALUE = "value"


@dataclass(frozen=True)
class Exercise:
    """One graded stub.

    `id` is the name of what the learner defines and the cell's nbgrader `grade_id`; `lesson` is the
    id of its lesson; `task` says in one line what to define; `hints` lead there in three steps and
    never give the solution.
    """

    id: str
    lesson: str
    kind: Kind
    points: int
    task: str
    plan: Callable[[np.random.Generator], Plan]
    judge: Callable[[Plan, Record], Findings]
    hints: tuple[str, str, str]

    def examine(
        self,
        target: object,
        rng: np.random.Generator | None = None,
        time_limit: float = TIME_LIMIT,
    ) -> Verdict:
        """Plan, record and judge in this process; fresh randomness unless `rng` is given.

        `time_limit` is in seconds. Raises nothing for what the target does, except the
        `KeyboardInterrupt` of a person.
        """
        with one_thread():
            plan = self.plan(np.random.default_rng() if rng is None else rng)
        return self.verdict(plan, record(plan, target, limit=time_limit))

    def verdict(self, plan: Plan, seen: Record) -> Verdict:
        """Judge a record, now or later; runs nobody's code."""
        with one_thread():
            return conclude(self.id, self.points, plan, seen, lambda: self.judge(plan, seen))
