"""Criteria for how a dropout behaves as code: answers, types, shapes, devices, side effects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from dropout_course.checks.common import untouched
from dropout_course.checks.dropout.calls import DTYPES, EMPTY, LARGER_SHAPES, SHAPES
from dropout_course.checks.dropout.evidence import DropoutEvidence
from dropout_course.checks.elsewhere import MIXED
from dropout_course.checks.judge import (
    Criterion,
    Failure,
    error_text,
    no_tensor_of_shape,
    raised_failure,
)
from dropout_course.checks.plan import ModuleState, OnAnotherDevice, Other

CORE = (
    "first",
    "large",
    "again",
    "seed_a",
    "seed_b",
    "inference",
    "inference_p",
    "training_again",
    "gradient",
    "inference_gradient",
)


def _answers(evidence: DropoutEvidence) -> Failure | None:
    return usable(evidence, CORE, "raises")


def usable(
    evidence: DropoutEvidence, names: Iterable[str], misconception: str | None
) -> Failure | None:
    """The calls give a tensor of the input's shape."""
    for name in names:
        seen = evidence.seen(name)
        if seen.error is not None:
            return raised_failure(evidence.plan, seen, _name_error(evidence, name, misconception))
        expected = evidence.expected_shape(name)
        if isinstance(seen.value, Tensor) and seen.value.shape == expected:
            continue
        return _unusable(evidence, name, misconception)
    return None


def _unusable(evidence: DropoutEvidence, name: str, misconception: str | None) -> Failure:
    """What to say where the call gave no tensor, or one of another shape."""
    shape = evidence.expected_shape(name)
    failure = no_tensor_of_shape(evidence.called(name), evidence.seen(name).value, shape, "x")
    if misconception in ("raises", None) or failure.misconception != "changes-shape":
        return failure
    return replace(failure, misconception=misconception)


def _name_error(evidence: DropoutEvidence, name: str, misconception: str | None) -> str | None:
    error = evidence.seen(name).error
    if error is not None and "in-place operation" in error.message:
        return "changes-its-input"  # autograd refuses it before anything could be compared
    if error is not None and error.line.startswith("raise "):
        return misconception  # on purpose: its message says why
    works = {len(shape) for shape in _shapes_of_calls(evidence, working=True)}
    fails = {len(shape) for shape in _shapes_of_calls(evidence, working=False)}
    # A vector of one length fails where another passed: the mask of an earlier call was kept.
    if 1 in works and 1 in fails and name not in ("device", "p_one", "p_zero"):
        return "mask-cached"
    if works and not works & fails and misconception == "raises":
        return "one-shape-only"
    return misconception


def _shapes_of_calls(evidence: DropoutEvidence, *, working: bool) -> Iterator[torch.Size]:
    """The shapes of x that did, or did not, get an answer in training, at rates between 0 and 1."""
    for name in ("first", "large", "images", "again", "training_again", *SHAPES):
        seen = evidence.record.get(name)
        if seen is not None and (seen.error is None) == working:
            yield evidence.asked(name).x.shape


def _describe_value(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    if isinstance(value, Other):
        return f"a {value.type_name}: {value.text}"
    return "None" if value is None else f"a {type(value).__name__}"


def _library(evidence: DropoutEvidence) -> Failure | None:
    for step in evidence.plan:
        seen = evidence.record.get(step.name)
        if seen is not None and seen.library_calls:
            return Failure(
                evidence.called(step.name),
                f"torch's own {seen.library_calls[0]} was called",
                "a mask that you draw yourself",
                "calls-the-library",
            )
    return None


def _dtypes(evidence: DropoutEvidence) -> Failure | None:
    for name, dtype in DTYPES.items():
        for call in (name, f"{name}_inference"):
            failure = usable(evidence, (call,), "changes-dtype")
            if failure is not None:
                return failure
            found = evidence.output(call).dtype
            if found is not dtype:
                return Failure(
                    evidence.called(call), f"dtype {found}", f"dtype {dtype}", "changes-dtype"
                )
            failure = _half_values(evidence, call)
            if failure is not None:
                return failure
    found = evidence.output("inference").dtype
    if found is not torch.float32:
        return Failure(
            evidence.called("inference"), f"dtype {found}", "dtype torch.float32", "changes-dtype"
        )
    return None


def _half_values(evidence: DropoutEvidence, name: str) -> Failure | None:
    """Values in other precisions are right too, up to their rounding."""
    ask, out = evidence.asked(name), evidence.output(name)
    rule = evidence.rule
    scale = rule.survivor_scale(ask.p) if ask.training else rule.inference_scale(ask.p)
    expected = (ask.x.double() * scale, out.double())
    tolerance = {torch.float64: 1e-6, torch.float16: 6e-3, torch.bfloat16: 3e-2}[ask.x.dtype]
    close = (expected[1] - expected[0]).abs() <= tolerance * expected[0].abs()
    if ask.training:
        close |= out == 0
    if bool(close.all()):
        return None
    return Failure(
        evidence.called(name),
        "values that are off by more than rounding",
        f"{'0 or ' if ask.training else ''}x * {scale:.4g}",
        "changes-dtype",
    )


def _shapes(evidence: DropoutEvidence) -> Failure | None:
    names = ("images", *SHAPES, "shape_transposed")
    failure = usable(evidence, names, "one-shape-only")
    if failure is not None:
        return failure
    for name in (*SHAPES, "shape_transposed"):
        ask, out = evidence.asked(name), evidence.output(name)
        expected = ask.x * evidence.rule.survivor_scale(ask.p)
        right = (out == 0) | torch.isclose(out.to(expected.dtype), expected, rtol=1e-4)
        if not bool(right.all()):
            return Failure(
                evidence.called(name),
                "values that are neither 0 nor a survivor's",
                "each element dropped or scaled, whatever the shape",
                "one-shape-only",
            )
        share = float((out != 0).double().mean())
        if name in LARGER_SHAPES and share in (0.0, 1.0):
            return Failure(
                evidence.called(name),
                "all elements kept" if share else "all elements dropped",
                "each element dropped or scaled on its own, whatever the shape",
                "one-shape-only",
            )
    return None


def _empty(evidence: DropoutEvidence) -> Failure | None:
    return usable(evidence, EMPTY, "empty-tensor")


def _p_edges(evidence: DropoutEvidence) -> Failure | None:
    failure = usable(evidence, ("p_zero", "p_zero_inference"), "p-zero-not-identity")
    return failure or usable(evidence, ("p_one", "p_one_inference"), "nan-at-p-one")


def _device(evidence: DropoutEvidence) -> Failure | None:
    """The result is made where x is.

    An error that does not speak of devices (a compiler that does not know the simulated device,
    say) decides nothing: every other criterion has met the same code on the CPU.
    """
    seen = evidence.seen("device")
    expected = "a result on the device of x, made with a mask on that device"
    if seen.error is not None and MIXED not in seen.error.message:
        return None
    if isinstance(seen.value, OnAnotherDevice):
        return None
    return Failure(
        evidence.called("device"),
        "a result on the CPU" if seen.error is None else error_text(seen.error),
        expected,
        "wrong-device",
    )


def _state(evidence: DropoutEvidence) -> Failure | None:
    for step in evidence.plan:
        seen = evidence.record.get(step.name)
        if seen is not None and seen.state:
            return Failure(
                evidence.called(step.name),
                f"state left in the module: {', '.join(seen.state[:3])}",
                "no parameters, no buffers, an empty state_dict",
                "mask-in-state",
            )
    return None


def _is_module(evidence: DropoutEvidence) -> Failure | None:
    first = next(iter(evidence.plan))
    made = evidence.seen(first.name).value
    if isinstance(made, ModuleState):
        return None
    return Failure(
        evidence.called(first.name),
        _describe_value(made),
        "an nn.Module",
        "not-a-module",
    )


def _refuses(evidence: DropoutEvidence) -> Failure | None:
    for step in evidence.plan:
        if not step.name.startswith("refused_"):
            continue
        error = evidence.seen(step.name).error
        if error is not None and error.type_name == "ValueError":
            continue
        got = "a module, no error" if error is None else f"{error.type_name}: {error.message}"
        return Failure(
            evidence.called(step.name), got, "a ValueError that names the range", "p-not-validated"
        )
    return None


ANSWERS = Criterion[DropoutEvidence](
    "answers",
    "every call returns a tensor of x's shape",
    "Dropout changes values, never the shape",
    _answers,
)
LIBRARY = Criterion[DropoutEvidence](
    "own-work",
    "torch's own dropout is not called",
    "The exercise is to build what the library does",
    _library,
)
P_EDGES = Criterion[DropoutEvidence](
    "p-edges", "p = 0 and p = 1 raise no error", "Both are legal values of p", _p_edges
)
IN_PLACE = Criterion[DropoutEvidence](
    "in-place",
    "the input is left as it was",
    "Somebody else may still need x: the residual path, or autograd",
    untouched("x itself was changed", "a new tensor; x as it was"),
)
MANNERS: tuple[Criterion[DropoutEvidence], ...] = (
    Criterion(
        "dtype",
        "float16, bfloat16, float32 and float64 keep their dtype",
        "A layer that changes the dtype breaks mixed precision, or doubles the memory",
        _dtypes,
    ),
    Criterion(
        "shape",
        "tensors of any number of dimensions work",
        "Dropout sits after dense, convolutional and attention layers alike",
        _shapes,
    ),
    Criterion(
        "empty", "empty tensors work", "The last batch of a filtered data set can be empty", _empty
    ),
    Criterion(
        "device",
        "the mask is made on the input's device",
        "A mask on the CPU raises as soon as the model runs on an accelerator",
        _device,
    ),
)
MODULE = Criterion[DropoutEvidence](
    "module", "it is an nn.Module", "Only modules follow model.train() and model.eval()", _is_module
)
STATELESS = Criterion[DropoutEvidence](
    "stateless",
    "nothing is left behind in parameters, buffers or state_dict",
    "A mask in the state_dict is saved, loaded and averaged with the weights",
    _state,
)
REFUSES = Criterion[DropoutEvidence](
    "validates",
    "p outside [0, 1] raises ValueError",
    "A p of 50 meant as per cent, or a keep probability above 1, must not train silently",
    _refuses,
)
