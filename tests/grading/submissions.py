"""Submissions for tests of the runner: right ones, and what to run them with."""

from __future__ import annotations

import numpy as np
import pytest

from dropout_course.checks.store import decode
from dropout_course.checks.verdict import Outcome
from dropout_course.course import find_exercise
from dropout_course.grading.limits import Limits
from dropout_course.grading.sandbox import NoSandbox, Sandbox, choose
from dropout_course.grading.work import Asked, CodeCell, Recorded, Work

KEEP = "def keep_probability(p):\n    return 1 - p\n"
SMALL = Limits(memory=512 << 20, processes=24, disk=8 << 20)


def submission(
    student: str,
    *cells: str,
    asked: tuple[str, ...] = ("keep_probability",),
    timeout: float = 20.0,
    seed: int = 7,
) -> Work:
    """Return a submission of the cells, asked for lesson 00's exercise unless told otherwise."""
    questions = tuple(Asked(name, seed + place) for place, name in enumerate(asked))
    return Work(student, "00_start", tuple(map(CodeCell, cells)), questions, timeout)


def passed(work: Work, recorded: Recorded) -> set[str]:
    """Judge what was recorded as the trusted side does: the exercises that passed."""
    found = set()
    for asked in work.asked:
        if asked.exercise in recorded.records:
            exercise = find_exercise(asked.exercise)
            plan = exercise.plan(np.random.default_rng(asked.seed))
            verdict = exercise.verdict(plan, decode(recorded.records[asked.exercise]))
            if verdict.outcome is Outcome.PASSED:
                found.add(asked.exercise)
    return found


def bwrap_or_skip() -> Sandbox:
    """Return the sandbox, or skip the test on a machine that has none."""
    try:
        return choose("bwrap")
    except NoSandbox as why:
        pytest.skip(str(why))
