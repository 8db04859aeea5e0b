"""Lesson 00: one small function to practise check, hint, solution and reset on."""

from __future__ import annotations

import math

import numpy as np

from dropout_course.checks.evidence import Evidence
from dropout_course.checks.judge import Criterion, Failure, Findings, apply, raised_failure
from dropout_course.checks.plan import Call, Plan
from dropout_course.checks.record import Record
from dropout_course.exercises.base import Exercise, Kind

LESSON = "00_start"
VALID = ("worked", "zero", "one", "any_0", "any_1", "any_2")


def _plan(rng: np.random.Generator) -> Plan:
    values = (0.2, 0.0, 1.0, *rng.uniform(0.05, 0.45, size=2), rng.uniform(0.55, 0.95))
    calls = [Call(name, (float(p),)) for name, p in zip(VALID, values, strict=True)]
    return Plan("keep_probability", tuple(calls))


def _value(evidence: Evidence) -> Failure | None:
    wrong, believed = [], True
    for name in VALID:
        seen, p = evidence.seen(name), _p(evidence, name)
        if seen.error is not None:
            return raised_failure(evidence.plan, seen, "raises")
        value = seen.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            got = "nothing (None)" if value is None else f"a {type(value).__name__}"
            misconception = "returns-nothing" if value is None else "wrong-type"
            return Failure(evidence.called(name), got, "a float", misconception)
        believed &= math.isclose(value, p, abs_tol=1e-9)
        if not math.isclose(value, 1.0 - p, abs_tol=1e-9):
            wrong.append((name, float(value), p))
    if not wrong:
        return None
    # At p = 0.5 and at the ends several beliefs agree: show a value where they do not.
    name, value, p = max(wrong, key=lambda entry: -abs(abs(entry[2] - 0.5) - 0.25))
    return Failure(
        evidence.called(name),
        f"{value:.4g}" + (", which is p itself" if believed else ""),
        f"{1.0 - p:.4g}",
        "p-read-as-keep" if believed else "wrong-value",
    )


def _p(evidence: Evidence, name: str) -> float:
    p = evidence.plan.call(name).args[0]
    if not isinstance(p, float):
        raise TypeError(f"step {name!r} has no p")
    return p


CRITERIA: tuple[Criterion[Evidence], ...] = (
    Criterion(
        "value",
        "the probability of keeping an element, for any p in [0, 1]",
        "p is the probability of dropping; every formula of the course needs the other one too",
        _value,
    ),
)


def _judge(plan: Plan, record: Record) -> Findings:
    return apply(CRITERIA, Evidence(plan, record))


EXERCISES = (
    Exercise(
        id="keep_probability",
        lesson=LESSON,
        kind=Kind.FUNCTION,
        points=1,
        task="keep_probability(p): the probability that an element is kept",
        plan=_plan,
        judge=_judge,
        hints=(
            "An element is either dropped or kept, never both. If 1 in 5 is dropped, how many in 5"
            " are kept?",
            "P(kept) + P(dropped) = 1, and P(dropped) = p. Solve for P(kept). With p = 0.2 the"
            " answer is 0.8.",
            "Plain Python is enough: one subtraction, and `return` in front of it. A function"
            " without `return` gives None.",
        ),
    ),
)
