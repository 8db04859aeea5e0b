"""Lesson 03: inverted dropout as in PyTorch, as a function, as a module, and its backward pass."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dropout_course.checks.common import untouched
from dropout_course.checks.dropout.calls import dropout_plan, normal, random_p
from dropout_course.checks.dropout.criteria import (
    function_criteria,
    judge_dropout,
    module_criteria,
)
from dropout_course.checks.dropout.evidence import as_numpy
from dropout_course.checks.dropout.rule import INVERTED
from dropout_course.checks.evidence import TOLERANCE, Evidence
from dropout_course.checks.judge import (
    Criterion,
    Failure,
    Findings,
    apply,
    no_tensor_of_shape,
    raised_failure,
)
from dropout_course.checks.plan import Call, Plan
from dropout_course.checks.record import Record
from dropout_course.exercises.base import Exercise, Kind

LESSON = "03_inverted_dropout"
REFUSED = (-0.1, 1.1)
FUNCTION_CRITERIA = function_criteria(INVERTED)
MODULE_CRITERIA = module_criteria(INVERTED, validates=True)


def _function_plan(rng: np.random.Generator) -> Plan:
    return dropout_plan("inverted_dropout", rng)


def _judge_function(plan: Plan, record: Record) -> Findings:
    return judge_dropout(plan, record, INVERTED, FUNCTION_CRITERIA)


def _module_plan(rng: np.random.Generator) -> Plan:
    return dropout_plan("InvertedDropout", rng, as_module=True, refused=REFUSED)


def _judge_module(plan: Plan, record: Record) -> Findings:
    return judge_dropout(plan, record, INVERTED, MODULE_CRITERIA)


BACKWARD = ("worked", "matrix", "bool_mask", "images", "scalar")
PRECISIONS = {"float64": torch.float64, "float16": torch.float16}


def _backward_plan(rng: np.random.Generator) -> Plan:
    def call(name: str, shape: tuple[int, ...], p: float, dtype: torch.dtype) -> Call:
        # A fixed half kept and half dropped, shuffled: both kinds are always there.
        kept = rng.permutation(np.arange(int(np.prod(shape))) % 2 == 0).reshape(shape)
        return Call(name, (normal(rng, shape), torch.from_numpy(np.asarray(kept)).to(dtype), p))

    steps = [Call("worked", (torch.ones(5), torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0]), 0.2))]
    steps.append(call("matrix", (7, 9), random_p(rng), torch.float32))
    steps.append(call("bool_mask", (6, 8), random_p(rng), torch.bool))
    steps.append(call("images", (2, 3, 4, 5), random_p(rng), torch.float32))
    steps.append(call("scalar", (), random_p(rng), torch.float32))
    for name, dtype in PRECISIONS.items():
        gradient, mask, p = call(name, (5, 6), random_p(rng), torch.float32).args
        assert isinstance(gradient, Tensor)
        assert isinstance(mask, Tensor)
        steps.append(Call(name, (gradient.to(dtype), mask.to(dtype), p)))
    steps.append(Call("p_zero", (normal(rng, (3, 4)), torch.ones(3, 4), 0.0)))
    return Plan("dropout_backward", tuple(steps))


def _arguments(evidence: Evidence, name: str) -> tuple[Tensor, Tensor, float]:
    gradient, mask, p = evidence.plan.call(name).args
    if not (isinstance(gradient, Tensor) and isinstance(mask, Tensor) and isinstance(p, float)):
        raise TypeError(f"step {name!r} is no call of dropout_backward")
    return gradient, mask, p


def _answers(evidence: Evidence) -> Failure | None:
    for step in evidence.plan:
        seen, (gradient, _, _) = evidence.seen(step.name), _arguments(evidence, step.name)
        if seen.error is not None:
            return raised_failure(evidence.plan, seen, "raises")
        if not isinstance(seen.value, Tensor) or seen.value.shape != gradient.shape:
            called = evidence.called(step.name)
            return no_tensor_of_shape(called, seen.value, gradient.shape, "grad_output")
    return None


def _repeatable(evidence: Evidence) -> Failure | None:
    for step in evidence.plan:
        seen = evidence.seen(step.name)
        if seen.generator_moved or seen.other_generators:
            return Failure(
                evidence.called(step.name),
                "random numbers were drawn",
                "the mask that was given, no new one",
                "gradient-other-mask",
            )
    return None


def _right(evidence: Evidence) -> Failure | None:
    wrong = []
    for name in (*BACKWARD, "p_zero"):
        gradient, mask, p = _arguments(evidence, name)
        found = as_numpy(evidence.tensor(name, gradient.shape)) / as_numpy(gradient)
        expected = as_numpy(mask.float()) / (1.0 - p)
        if not np.allclose(found, expected, rtol=1e-4, atol=1e-6):
            wrong.append((name, found, as_numpy(mask.float()) != 0, p))
    if not wrong:
        return None
    name, found, kept, p = max(wrong, key=lambda entry: entry[1].size)
    through = float(np.mean(found[~kept] != 0)) if (~kept).any() else 0.0
    scale = float(np.median(found[kept])) if kept.any() else 0.0
    return Failure(
        evidence.called(name),
        f"kept elements' gradient multiplied by {scale:.4g}, and {through:.0%} of the dropped ones"
        " let a gradient through",
        f"{1 / (1 - p):.4g}, which is 1 / (1 - p), for kept elements and 0 for dropped ones",
        _name_backward(wrong),
    )


Wrong = tuple[str, "np.typing.NDArray[np.float32]", "np.typing.NDArray[np.bool_]", float]


def _name_backward(wrong: list[Wrong]) -> str:
    if any((found[~kept] != 0).any() for _, found, kept, _ in wrong):
        swapped = all((found[kept] == 0).all() for _, found, kept, _ in wrong)
        return "gradient-other-mask" if swapped else "straight-through"
    if all(np.allclose(found[kept], 1.0, rtol=1e-4) for _, found, kept, _ in wrong):
        return "gradient-unscaled"
    return "gradient-wrong-scale"


def _dtype(evidence: Evidence) -> Failure | None:
    for name in (*PRECISIONS, "bool_mask"):
        gradient, mask, p = _arguments(evidence, name)
        found = evidence.tensor(name, gradient.shape)
        if found.dtype is not gradient.dtype:
            return Failure(
                evidence.called(name), str(found.dtype), str(gradient.dtype), "changes-dtype"
            )
        expected = gradient.double() * mask.double() / (1.0 - p)
        if not torch.allclose(found.double(), expected, rtol=2 * TOLERANCE[gradient.dtype]):
            return Failure(
                evidence.called(name),
                "values that are off by more than rounding",
                "grad_output * mask / (1 - p)",
                "changes-dtype",
            )
    return None


BACKWARD_CRITERIA: tuple[Criterion[Evidence], ...] = (
    Criterion(
        "answers",
        "every call returns a tensor of grad_output's shape",
        "Each input element has one gradient",
        _answers,
    ),
    Criterion(
        "same-mask",
        "no random numbers are drawn: the forward pass's mask is used",
        "Another mask would send the gradient to units that took no part in the output",
        _repeatable,
    ),
    Criterion(
        "gradient",
        "kept elements get the gradient times 1 / (1 - p), dropped ones get 0",
        "The derivative of x * r / (1 - p) is r / (1 - p)",
        _right,
    ),
    Criterion(
        "dtype",
        "grad_output's dtype is kept, with float and bool masks",
        "A gradient has the dtype of what it belongs to",
        _dtype,
    ),
    Criterion(
        "in-place",
        "grad_output and mask are left as they were",
        "Autograd may hand the same gradient to somebody else",
        untouched("grad_output or mask was changed", "a new tensor; the inputs as they were"),
    ),
)


def _judge_backward(plan: Plan, record: Record) -> Findings:
    return apply(BACKWARD_CRITERIA, Evidence(plan, record))


EXERCISES = (
    Exercise(
        id="inverted_dropout",
        lesson=LESSON,
        kind=Kind.FUNCTION,
        points=3,
        task="inverted_dropout(x, p=0.5, training=True): dropout as torch has it",
        plan=_function_plan,
        judge=_judge_function,
        hints=(
            "If inference must return x untouched, what must the average over the masks be while"
            " training? And what then has to happen to each survivor?",
            "E[x * r * s] = x * (1 - p) * s. It equals x when s = 1 / (1 - p). At p = 1 there are"
            " no survivors and s has no value: treat that case before you divide.",
            "`torch.rand(x.shape, device=x.device)` and a comparison for the mask (float32 numbers,"
            " also when x is half precision); `*` and `/` for the scale; `torch.zeros_like(x)` or"
            " `x * 0` where p is 1. Leave early when training is False.",
        ),
    ),
    Exercise(
        id="InvertedDropout",
        lesson=LESSON,
        kind=Kind.CLASS,
        points=3,
        task="class InvertedDropout(nn.Module): the same, in a model, with p checked",
        plan=_module_plan,
        judge=_judge_module,
        hints=(
            "When would you rather hear of p = 1.5: when the layer is built, or in the middle of a"
            " training run?",
            "Allowed: 0 <= p <= 1. forward is x * r / (1 - p) when self.training, x otherwise: your"
            " function does both.",
            "In __init__: `super().__init__()`, a comparison, `raise ValueError(...)`,"
            " `self.p = p`. In forward: `inverted_dropout`, `self.p`, `self.training`. No"
            " nn.Parameter, no buffer.",
        ),
    ),
    Exercise(
        id="dropout_backward",
        lesson=LESSON,
        kind=Kind.FUNCTION,
        points=2,
        task="dropout_backward(grad_output, mask, p): the gradient by hand",
        plan=_backward_plan,
        judge=_judge_backward,
        hints=(
            "The forward pass multiplies each element by one number, r / (1 - p). What is the"
            " derivative of c * x with respect to x?",
            "y_i = x_i * r_i / (1 - p), so dL/dx_i = dL/dy_i * r_i / (1 - p): the same mask, the"
            " same scale, no new random number.",
            "Plain `*` and `/` on tensors: both work with a bool mask as well as with a float one,"
            " and return a new tensor.",
        ),
    ),
)
