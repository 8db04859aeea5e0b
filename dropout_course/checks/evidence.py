"""A plan and its record, read together: what a criterion looks at. Judges nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from dropout_course.checks.judge import Missing
from dropout_course.checks.plan import Plan, Value, describe
from dropout_course.checks.record import Observation, Record

# Relative error that rounding may cause: the input, the scale and the product are each rounded
# once (half an ulp: 2^-9 for bfloat16), and a mask may be scaled in float32 first.
TOLERANCE = {
    torch.float64: 1e-6,
    torch.float32: 1e-5,
    torch.float16: 3e-3,
    torch.bfloat16: 1.5e-2,
}

# Relative error of a float32 number that went through half precision: 2^-9 for bfloat16, twice.
COARSE = 4e-3


class Evidence:
    """What the steps of a plan did, by name."""

    def __init__(self, plan: Plan, record: Record) -> None:
        self.plan = plan
        self.record = record

    def called(self, name: str) -> str:
        """Say a step as a learner would write it."""
        return describe(self.plan, name)

    def plans(self, name: str) -> bool:
        """Whether the plan has a step of that name."""
        return any(step.name == name for step in self.plan)

    def seen(self, name: str) -> Observation:
        """Return what a step did; `Missing` if it was not reached."""
        seen = self.record.get(name)
        if seen is None:
            raise Missing(name)
        return seen

    def value(self, name: str) -> Value:
        """Return what a step gave; `Missing` if it raised or was not reached."""
        seen = self.seen(name)
        if seen.error is not None:
            raise Missing(name)
        return seen.value

    def tensor(self, name: str, shape: torch.Size) -> Tensor:
        """Return the tensor that a step gave; `Missing` unless it is one of that shape."""
        value = self.value(name)
        if not isinstance(value, Tensor) or value.shape != shape:
            raise Missing(name)
        return value


def told_apart(value: float, other: float) -> str:
    """Write a number with four digits, or with as many as it takes to differ from another."""
    digits = next((n for n in (4, 6, 8) if f"{value:.{n}g}" != f"{other:.{n}g}"), 4)
    return f"{value:.{digits}g}"
