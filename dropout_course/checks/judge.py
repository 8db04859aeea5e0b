"""Turns a plan and its record into findings and a verdict. Runs nobody's code.

A criterion is data (what it proves, its guarantee) and one function of the evidence. Which criteria
an exercise has is the business of the exercises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from dropout_course.checks.plan import Call, Construct, Other, Plan, Value, describe
from dropout_course.checks.record import LearnerError, Observation, Record
from dropout_course.checks.verdict import Finding, Outcome, Verdict

Evidence = TypeVar("Evidence")


@dataclass(frozen=True)
class Guarantee:
    """What a randomised criterion promises.

    `false_alarm`: how often a right implementation fails it, at most. `alternative`: the smallest
    error that it is sure to see, missed at most with probability `miss`.
    """

    test: str
    false_alarm: float
    alternative: str
    miss: float


@dataclass(frozen=True)
class Failure:
    """Why a criterion failed, in the order in which it is told: called, came back, expected."""

    called: str
    returned: str
    expected: str
    misconception: str | None = None
    why: str = ""  # overrides the criterion's own where a better reason is known
    also: tuple[str, ...] = ()  # other misconceptions that explain it as well


class Missing(LookupError):
    """The evidence for a criterion is not there: the call it needs gave no usable answer."""


@dataclass(frozen=True)
class Criterion(Generic[Evidence]):
    """One thing that is demanded. Without a guarantee it is exact: it has no false alarms."""

    id: str
    proves: str
    why: str
    judge: Callable[[Evidence], Failure | None]
    guarantee: Guarantee | None = None

    def __call__(self, evidence: Evidence) -> Finding:
        try:
            failure = self.judge(evidence)
        except Missing:
            # Nothing is proven, so nothing passes; the call's own failure is told by another.
            failure = Failure("", "not judged: a call that it needs gave no usable answer", "")
        if failure is None:
            return Finding(self.id, passed=True, proves=self.proves)
        return Finding(
            self.id,
            passed=False,
            proves=self.proves,
            called=failure.called,
            returned=failure.returned,
            expected=failure.expected,
            why=failure.why or self.why,
            misconception=failure.misconception,
            also=failure.also,
        )


Findings = tuple[Finding, ...]


def apply(criteria: Sequence[Criterion[Evidence]], evidence: Evidence) -> Findings:
    """Judge the evidence by each criterion, in order."""
    return tuple(criterion(evidence) for criterion in criteria)


def unattempted(record: Record) -> Observation | None:
    """Return the observation that shows an unfilled stub, if there is one."""
    for seen in record.observations.values():
        if seen.error is not None and is_unfilled(seen.error):
            return seen
        if isinstance(seen.value, Mapping) and None in seen.value.values():
            return seen
    return None


def is_unfilled(error: LearnerError) -> bool:
    """Whether this is the stub's own `raise NotImplementedError()`, not torch's of that name."""
    return error.type_name == "NotImplementedError" and error.in_own_code and not error.message


def breakdown(plan: Plan, record: Record) -> Finding | None:
    """Return a finding where the code broke off: an exception in every step, or too slow."""
    if record.timed_out:
        reached = [step.name for step in plan if step.name in record.observations]
        following = [step.name for step in plan if step.name not in record.observations]
        name = following[0] if following else reached[-1]
        return Finding(
            criterion="finishes",
            passed=False,
            proves="finishes in time",
            called=describe(plan, name),
            returned="no answer within the time limit of 10 seconds for the whole check; it was"
            " interrupted",
            expected="an answer within a few milliseconds",
            why="A loop that never ends, or a Python loop over single elements, is the usual cause",
            misconception="never-finishes",
        )
    first = next(iter(record.observations.values()))
    if any(seen.error is None for seen in record.observations.values()):
        return None
    return raised(plan, first)


def raised(plan: Plan, seen: Observation, misconception: str = "raises") -> Finding:
    """The finding for a step that raised, with the line of the learner's cell."""
    failure = raised_failure(plan, seen, misconception)
    return Finding(
        criterion="runs",
        passed=False,
        proves="runs without an error",
        called=failure.called,
        returned=failure.returned,
        expected=failure.expected,
        why=failure.why,
        misconception=misconception,
    )


def raised_failure(plan: Plan, seen: Observation, misconception: str | None) -> Failure:
    """Say what a step raised and in which line of the learner's cell."""
    error = seen.error
    if error is None:
        raise ValueError(f"step {seen.name!r} raised nothing")
    # An instance that could not be made fails every call to it: show what was tried.
    return Failure(
        called=describe(plan, seen.name),
        returned=error_text(error),
        expected=_expected_of(plan, seen.name),
        misconception=misconception,
        why="The error comes from your own cell; the line above is the last one of yours it passed"
        if error.line
        else "The error comes from the call itself: compare the signature with the stub's",
    )


def no_tensor_of_shape(called: str, value: Value, shape: torch.Size, like: str) -> Failure:
    """Say what came back where a tensor of `shape`, that of `like`, was expected."""
    expected = f"a tensor of shape {list(shape)}, as {like} has"
    if value is None:
        why = "A call must return its result; a function without return gives None"
        return Failure(called, "None", expected, "returns-nothing", why)
    if isinstance(value, Tensor):
        return Failure(called, f"a tensor of shape {list(value.shape)}", expected, "changes-shape")
    return Failure(called, _described(value), expected, "wrong-type")


def _described(value: Value) -> str:
    if isinstance(value, Other):
        return f"a {value.type_name}: {value.text}"
    return f"a {type(value).__name__}"


def error_text(error: LearnerError) -> str:
    """One line: `ValueError: message (line 3 of your cell: return x * mask)`."""
    if error.type_name == "SystemExit":
        text = "the code asked Python to exit"
    else:
        text = f"{error.type_name}: {error.message}" if error.message else error.type_name
    if error.line:
        return f"{text} (line {error.line_number} of your cell: {error.line})"
    return text


def _expected_of(plan: Plan, name: str) -> str:
    step = next(step for step in plan.steps if step.name == name)
    if isinstance(step, Construct):
        return "a new module, no error"
    if isinstance(step, Call):
        return "an answer, no error"
    return "a value"


def conclude(
    exercise: str,
    max_points: float,
    plan: Plan,
    record: Record,
    judge: Callable[[], Findings],
) -> Verdict:
    """Add findings up: all passed or not, and what explains the first that failed.

    `judge` is asked only where there is something to judge: not for an unfilled stub, nor for code
    that broke off at once.
    """
    note = _printed(record)
    empty = unattempted(record)
    if empty is not None:
        note = f"{_unfilled_note(plan, empty)} {note}".strip()
        return Verdict(exercise, Outcome.NOT_ATTEMPTED, 0.0, max_points, (), note=note)
    broken = breakdown(plan, record)
    # A learner's nan and infinity are findings; NumPy's warnings about them would only puzzle.
    with np.errstate(all="ignore"):
        findings = judge() if broken is None else (broken,)
    failed = [finding for finding in findings if not finding.passed]
    explained = next((f for f in failed if f.misconception is not None), None)
    misconceptions: tuple[str, ...] = ()
    if explained is not None and explained.misconception is not None:
        misconceptions = (explained.misconception, *explained.also)
    outcome = Outcome.FAILED if failed else Outcome.PASSED
    points = 0.0 if failed else max_points
    return Verdict(exercise, outcome, points, max_points, findings, misconceptions, note)


def _unfilled_note(plan: Plan, empty: Observation) -> str:
    if empty.error is None:
        return f"{plan.exercise} still holds None: write your own value in its place."
    return f"{describe(plan, empty.name)} still raises NotImplementedError: replace that line."


def _printed(record: Record) -> str:
    if not record.printed.strip():
        return ""
    first = record.printed.strip().splitlines()[0]
    shown = first if len(first) <= 80 else first[:79] + "…"
    more = record.printed_lines - 1
    return f"Your code printed: {shown}" + (f" (and {more} lines more)" if more > 0 else "")
