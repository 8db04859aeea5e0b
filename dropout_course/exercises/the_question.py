"""Lesson 01: the article's worked example, and what train and eval will do, said beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dropout_course.checks.common import untouched
from dropout_course.checks.dropout.calls import few_values
from dropout_course.checks.dropout.evidence import as_numpy
from dropout_course.checks.evidence import COARSE, TOLERANCE, Evidence, told_apart
from dropout_course.checks.judge import (
    Criterion,
    Failure,
    Findings,
    apply,
    no_tensor_of_shape,
    raised_failure,
)
from dropout_course.checks.misconceptions import APPLIED_SCALES, explanations
from dropout_course.checks.plan import Call, Plan, Take
from dropout_course.checks.record import Record
from dropout_course.exercises.base import Exercise, Kind

LESSON = "01_the_question"

# What torch.nn.Dropout does (torch.nn.Dropout, torch.nn.Module.train, torch.no_grad).
RIGHT_PREDICTIONS: Mapping[str, bool] = {
    "train_mode_repeats": False,
    "eval_mode_repeats": True,
    "eval_drops_units": False,
    "train_scales_survivors": True,
    "no_grad_turns_dropout_off": False,
}

SHOWN = ("worked", "batch", "bool_mask", "int_mask", "keep_all", "scalar")
PRECISIONS = {"float64": torch.float64, "float16": torch.float16}


def _mask_plan(rng: np.random.Generator) -> Plan:
    def call(name: str, shape: tuple[int, ...], keep: float, dtype: torch.dtype) -> Call:
        mask = torch.from_numpy(np.asarray(rng.random(shape) < 0.6)).to(dtype)
        return Call(name, (few_values(rng, shape), mask, keep))

    ten = torch.full((5,), 10.0)
    steps = [Call("worked", (ten, torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0]), 0.8))]
    steps.append(call("batch", (6, 7), float(rng.uniform(0.55, 0.9)), torch.float32))
    steps.append(call("bool_mask", (4, 5), float(rng.uniform(0.1, 0.45)), torch.bool))
    steps.append(call("int_mask", (4, 5), float(rng.uniform(0.1, 0.45)), torch.int64))
    steps.append(call("keep_all", (3, 4), 1.0, torch.float32))
    steps.append(call("scalar", (), float(rng.uniform(0.55, 0.9)), torch.float32))
    for name, dtype in PRECISIONS.items():
        made = call(name, (4, 5), float(rng.uniform(0.55, 0.9)), torch.float32)
        x, mask, keep = made.args
        assert isinstance(x, Tensor)
        assert isinstance(mask, Tensor)
        steps.append(Call(name, (x.to(dtype), mask.to(dtype), keep)))
    return Plan("apply_inverted_mask", tuple(steps))


def _arguments(evidence: Evidence, name: str) -> tuple[Tensor, Tensor, float]:
    x, mask, keep = evidence.plan.call(name).args
    if not (isinstance(x, Tensor) and isinstance(mask, Tensor) and isinstance(keep, float)):
        raise TypeError(f"step {name!r} is no call of apply_inverted_mask")
    return x, mask, keep


def _answers(evidence: Evidence) -> Failure | None:
    for name in (*SHOWN, *PRECISIONS):
        seen = evidence.seen(name)
        x, _, _ = _arguments(evidence, name)
        if seen.error is not None:
            return raised_failure(evidence.plan, seen, "raises")
        if isinstance(seen.value, Tensor) and seen.value.shape == x.shape:
            continue
        return no_tensor_of_shape(evidence.called(name), seen.value, x.shape, "activations")
    return None


def _mask_used(evidence: Evidence) -> Failure | None:
    for name in SHOWN:
        x, mask, _ = _arguments(evidence, name)
        out = evidence.tensor(name, x.shape)
        if not torch.equal(out != 0, mask != 0):
            return Failure(
                evidence.called(name),
                f"{int((out != 0).sum())} elements other than 0",
                f"exactly the {int((mask != 0).sum())} that the given mask keeps",
                "mask-turned-round" if torch.equal(out == 0, mask != 0) else "ignores-the-mask",
            )
    return None


@dataclass(frozen=True)
class _Applied:
    """What a call multiplied kept activations with, from `low` to `high`."""

    name: str
    keep: float
    share: float  # of the mask's elements that are kept
    low: float
    high: float

    @property
    def scale(self) -> float:
        return (self.low + self.high) / 2.0

    def close_to(self, scale: float, tolerance: float = 1e-3) -> bool:
        return max(abs(self.low - scale), abs(self.high - scale)) <= tolerance * abs(scale)


def _scaled(evidence: Evidence) -> Failure | None:
    calls = []
    for name in SHOWN:
        x, mask, keep = _arguments(evidence, name)
        kept = mask != 0
        if not bool(kept.any()):
            continue
        ratio = as_numpy(evidence.tensor(name, x.shape)[kept]) / as_numpy(x[kept])
        share = float(kept.double().mean())
        calls.append(_Applied(name, keep, share, float(ratio.min()), float(ratio.max())))
    wrong = [call for call in calls if not call.close_to(1.0 / call.keep, 1e-5)]
    if not wrong:
        return None
    first = wrong[0]
    misconception, text = _name_scale(calls)
    return Failure(
        evidence.called(first.name),
        f"kept activations multiplied by {told_apart(first.scale, 1 / first.keep)}"
        + (f", {text}" if text else ""),
        f"multiplied by {told_apart(1 / first.keep, first.scale)}, which is 1 / keep_prob",
        misconception,
    )


def _name_scale(calls: list[_Applied]) -> tuple[str, str]:
    if all(call.close_to(1.0 / call.keep, COARSE) for call in calls):
        return "changes-dtype", ""
    # At keep_prob = 1 most beliefs agree, and some have no value.
    apart = [call for call in calls if call.keep < 1.0]
    found = explanations(APPLIED_SCALES, lambda f: all(c.close_to(f(c.keep)) for c in apart))
    if found:
        return found[0].misconception, found[0].text
    if all(call.close_to(1.0 / call.share) for call in calls):
        return "scaled-by-survivor-count", "one over the share of ones in the mask"
    varies = any(not call.close_to(call.scale) for call in calls)
    return ("scale-varies" if varies else "wrong-scale"), ""


def _dtype(evidence: Evidence) -> Failure | None:
    for name in (*PRECISIONS, "bool_mask", "int_mask"):
        x, mask, keep = _arguments(evidence, name)
        out = evidence.tensor(name, x.shape)
        if out.dtype is not x.dtype:
            return Failure(evidence.called(name), str(out.dtype), str(x.dtype), "changes-dtype")
        expected = x.double() * mask.double() / keep
        tolerance = 2 * TOLERANCE[x.dtype]
        if not torch.allclose(out.double(), expected, rtol=tolerance, atol=0.0):
            return Failure(
                evidence.called(name),
                "values that are off by more than rounding",
                "activations * mask / keep_prob",
                "changes-dtype",
            )
    return None


MASK_CRITERIA: tuple[Criterion[Evidence], ...] = (
    Criterion(
        "answers",
        "every call returns a tensor of the activations' shape",
        "A mask changes values, never the shape",
        _answers,
    ),
    Criterion(
        "mask",
        "the given mask decides which activations are 0",
        "The mask is drawn elsewhere; here it is only applied",
        _mask_used,
    ),
    Criterion(
        "scale",
        "kept activations are divided by keep_prob, whatever it is",
        "Dividing by the keep probability makes the mean over masks equal to the activation",
        _scaled,
    ),
    Criterion(
        "dtype",
        "the activations' dtype is kept, with float, int and bool masks",
        "A mask of integers or booleans is common, and must not decide the result's type",
        _dtype,
    ),
    Criterion(
        "in-place",
        "activations and mask are left as they were",
        "The backward pass needs the same mask again",
        untouched("an input was changed", "a new tensor; activations and mask as they were"),
    ),
)


def _judge_mask(plan: Plan, record: Record) -> Findings:
    return apply(MASK_CRITERIA, Evidence(plan, record))


def _predictions_plan(rng: np.random.Generator) -> Plan:
    return Plan("predictions", (Take("predictions"),))


def _complete(evidence: Evidence) -> Failure | None:
    given = evidence.value("predictions")
    expected = f"a dict with True or False for each of {', '.join(RIGHT_PREDICTIONS)}"
    if not isinstance(given, Mapping):
        return Failure("predictions", f"a {type(given).__name__}", expected, "wrong-type")
    missing = [key for key in RIGHT_PREDICTIONS if key not in given]
    unknown = [key for key in given if key not in RIGHT_PREDICTIONS]
    if missing or unknown:
        parts = [f"no {key}" for key in missing] + [f"an unknown {key}" for key in unknown]
        return Failure("predictions", ", ".join(parts), expected, "wrong-type")
    odd = [key for key, value in given.items() if not isinstance(value, bool)]
    if odd:
        return Failure("predictions", f"{odd[0]} is neither True nor False", expected, "wrong-type")
    return None


def _right(evidence: Evidence) -> Failure | None:
    given = evidence.value("predictions")
    if not isinstance(given, Mapping):
        return Failure("predictions", "no dict", "a dict of True and False", "wrong-type")
    right = sum(given.get(key) is value for key, value in RIGHT_PREDICTIONS.items())
    if right == len(RIGHT_PREDICTIONS):
        return None
    return Failure(
        "predictions, against what torch does",
        f"{right} of {len(RIGHT_PREDICTIONS)} are so",
        "all of them; run SimpleNetwork in both modes and change those that it contradicts",
        "train-and-eval-confused",
    )


PREDICTION_CRITERIA: tuple[Criterion[Evidence], ...] = (
    Criterion(
        "complete",
        "every statement has an answer",
        "A prediction only teaches when it was made",
        _complete,
    ),
    Criterion(
        "right",
        "all predictions hold in torch",
        "Which mode draws, and what no_grad leaves alone, is the whole interview question",
        _right,
    ),
)


def _judge_predictions(plan: Plan, record: Record) -> Findings:
    return apply(PREDICTION_CRITERIA, Evidence(plan, record))


EXERCISES = (
    Exercise(
        id="apply_inverted_mask",
        lesson=LESSON,
        kind=Kind.FUNCTION,
        points=2,
        task="apply_inverted_mask(activations, mask, keep_prob): the article's worked example",
        plan=_mask_plan,
        judge=_judge_mask,
        hints=(
            "What does a survivor have to become, so that on average a sum over five activations"
            " stays at 50 although one in five is dropped?",
            "out = a * r / keep_prob. With a = 10 and keep_prob = 0.8: r = 1 gives 12.5, r = 0"
            " gives 0.",
            "Multiplication and division of tensors are elementwise. `mask.to(activations.dtype)`"
            " makes a bool, int or float mask fit the activations; plain `*` and `/` return new"
            " tensors and leave their inputs alone.",
        ),
    ),
    Exercise(
        id="predictions",
        lesson=LESSON,
        kind=Kind.VALUE,
        points=1,
        task="predictions: what train and eval mode will do, as True or False",
        plan=_predictions_plan,
        judge=_judge_predictions,
        hints=(
            "For each statement ask two things: which mode is the network in, and who decides"
            " whether nn.Dropout draws a mask?",
            "Train: h * r / 0.8 with a fresh r on every call. Eval: h. Gradient mode stands in"
            " neither line.",
            "Build `model = SimpleNetwork()` in a spare cell, call `model.train()` or"
            " `model.eval()`, and compare two outputs with `torch.equal`. Try once more under"
            " `torch.no_grad()`. Then set each key to True or False.",
        ),
    ),
)
