"""Lesson 04: the moments of inverted dropout, and the weight scaling inference rule on a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from dropout_course.checks.common import untouched
from dropout_course.checks.dropout.calls import normal, random_p
from dropout_course.checks.evidence import TOLERANCE, Evidence
from dropout_course.checks.judge import Criterion, Failure, Findings, Missing, apply, raised_failure
from dropout_course.checks.layers import build
from dropout_course.checks.plan import BuiltModule, Call, ModuleState, Plan, Value
from dropout_course.checks.record import Record
from dropout_course.exercises.base import Exercise, Kind

LESSON = "04_why_scale"
Formula = Callable[[float], float]

# --- dropout_moments ----------------------------------------------------------------------------

MEASURED = ("worked", "matrix", "images", "scalar", "by_name")
PRECISIONS = {"float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16}

# What people compute instead of the mean x and the variance x² p / (1 - p), as multiples of x and
# of x². The order breaks ties.
MEANS: tuple[tuple[str, Formula, str], ...] = (
    ("moments-of-standard-dropout", lambda p: 1 - p, "(1 - p) x"),
    ("survivor-taken-for-the-mean", lambda p: 1 / (1 - p), "x / (1 - p)"),
    ("p-read-as-keep", lambda p: p / (1 - p), "p x / (1 - p)"),
    ("p-read-as-keep", lambda p: (1 - p) / p, "(1 - p) x / p"),
)
VARIANCES: tuple[tuple[str, Formula, str], ...] = (
    ("mask-variance-unscaled", lambda p: p * (1 - p), "p (1 - p) x²"),
    ("scale-not-squared", lambda p: p, "p x²"),
    ("second-moment-for-variance", lambda p: 1 / (1 - p), "x² / (1 - p), the mean of the square"),
    ("p-read-as-keep", lambda p: (1 - p) / p, "x² (1 - p) / p"),
    ("wrong-moment", lambda p: p / (1 - p) ** 2, "x² p / (1 - p)²"),
    ("wrong-moment", lambda p: 0.0, "0"),
)


def _moments_plan(rng: np.random.Generator) -> Plan:
    low, high = random_p(rng, above=False), random_p(rng, above=True)
    calls = [
        Call("worked", (torch.tensor([10.0]), 0.2)),
        Call("matrix", (normal(rng, (7, 9)), low)),
        Call("images", (normal(rng, (2, 3, 4, 5)), high)),
        Call("scalar", (normal(rng, ()), low)),
        Call("p_zero", (normal(rng, (3, 4)), 0.0)),
        Call("by_name", (), {"x": normal(rng, (5,)), "p": high}),
    ]
    calls += [Call(name, (normal(rng, (5, 6)).to(d), low)) for name, d in PRECISIONS.items()]
    return Plan("dropout_moments", tuple(calls))


def _x_and_p(evidence: Evidence, name: str) -> tuple[Tensor, float]:
    call = evidence.plan.call(name)
    given: dict[str, Value] = dict(zip(("x", "p"), call.args, strict=False)) | dict(call.kwargs)
    x, p = given["x"], given["p"]
    if not (isinstance(x, Tensor) and isinstance(p, float)):
        raise TypeError(f"step {name!r} is no call of dropout_moments")
    return x, p


def _moments(evidence: Evidence, name: str) -> tuple[Tensor, Tensor]:
    value = evidence.value(name)
    if isinstance(value, tuple) and len(value) == 2:
        mean, variance = value
        if isinstance(mean, Tensor) and isinstance(variance, Tensor):
            return mean, variance
    raise Missing(name)


def _moments_answer(evidence: Evidence) -> Failure | None:
    for name in (*MEASURED, *PRECISIONS):
        seen, (x, _) = evidence.seen(name), _x_and_p(evidence, name)
        if seen.error is not None:
            return raised_failure(evidence.plan, seen, "raises")
        expected = f"a tuple (mean, variance) of two tensors of shape {list(x.shape)}"
        called, value = evidence.called(name), seen.value
        if value is None:
            return Failure(called, "None", expected, "returns-nothing")
        if not (isinstance(value, tuple) and len(value) == 2):
            return Failure(called, _told(value), expected, "wrong-type")
        for one in value:
            if not isinstance(one, Tensor):
                return Failure(called, f"a tuple with {_told(one)} in it", expected, "wrong-type")
            if one.shape != x.shape:
                single = one.numel() == 1
                return Failure(
                    called,
                    f"a tensor of shape {list(one.shape)}" + (": one number for all" * single),
                    expected,
                    "moments-over-the-elements" if single else "wrong-type",
                )
    return None


def _told(value: Value) -> str:
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    name = getattr(value, "type_name", type(value).__name__)
    return f"a {name}"


def _exact(evidence: Evidence) -> Failure | None:
    for step in evidence.plan:
        seen = evidence.seen(step.name)
        if seen.generator_moved or seen.other_generators:
            return Failure(
                evidence.called(step.name),
                "random numbers were drawn",
                "the formula's value, which needs no mask",
                "estimated-by-sampling",
            )
    return None


def _mean(evidence: Evidence) -> Failure | None:
    wrong = _off(evidence, 0, 1, lambda p: 1.0)
    if not wrong:
        return None
    if not _off(evidence, 0, 2, lambda p: p / (1 - p)):
        return Failure(
            evidence.called(wrong[0]),
            "the variance first",
            "a tuple (mean, variance), in this order",
            "moments-swapped",
        )
    name, text = _name_moment(evidence, 0, MEANS)
    return _moment_failure(evidence, wrong, 0, text, "x, whatever p is", name)


def _variance(evidence: Evidence) -> Failure | None:
    wrong = _off(evidence, 1, 2, lambda p: p / (1 - p))
    if not wrong:
        return None
    name, text = _name_root(evidence) or _name_moment(evidence, 1, VARIANCES)
    return _moment_failure(evidence, wrong, 1, text, "x² p / (1 - p)", name)


def _off(evidence: Evidence, which: int, power: int, formula: Formula) -> list[str]:
    """The calls whose mean (0) or variance (1) is not that multiple of x to that power."""
    off = []
    for name in MEASURED:
        x, p = _x_and_p(evidence, name)
        found, unit = _moments(evidence, name)[which].double(), x.double() ** power
        # x² / (1 - p) - x² is right, and loses digits where p is small.
        slack = TOLERANCE[torch.float32] * unit.abs() / (1 - p)
        if not bool(((found - formula(p) * unit).abs() <= slack).all()):
            off.append(name)
    return off


def _name_moment(
    evidence: Evidence, which: int, beliefs: Iterable[tuple[str, Formula, str]]
) -> tuple[str, str]:
    for name, formula, text in beliefs:
        if not _off(evidence, which, which + 1, formula):
            return name, text
    return "wrong-moment", ""


def _name_root(evidence: Evidence) -> tuple[str, str] | None:
    """A standard deviation, or x where x² belongs: both are multiples of x, not of x²."""
    if not _off(evidence, 1, 1, lambda p: p / (1 - p)):
        return "variance-not-squared", "x p / (1 - p)"
    for name in MEASURED:
        x, p = _x_and_p(evidence, name)
        deviation = x.double().abs() * (p / (1 - p)) ** 0.5
        if not torch.allclose(_moments(evidence, name)[1].double(), deviation, rtol=1e-4):
            return None
    return "deviation-for-variance", "the square root of the variance"


def _moment_failure(
    evidence: Evidence, wrong: list[str], which: int, text: str, right: str, name: str
) -> Failure:
    shown = wrong[0]
    x, p = _x_and_p(evidence, shown)
    found = float(_moments(evidence, shown)[which].reshape(-1)[0])
    first = float(x.reshape(-1)[0])
    expected = first if which == 0 else first**2 * p / (1 - p)
    moment = ("mean", "variance")[which]
    return Failure(
        evidence.called(shown),
        f"a {moment} of {found:.4g} for an element of {first:.4g}"
        + (f", which is {text}" if text else ""),
        f"{expected:.4g}, which is {right}",
        name,
    )


def _no_dropout(evidence: Evidence) -> Failure | None:
    seen, (x, _) = evidence.seen("p_zero"), _x_and_p(evidence, "p_zero")
    if seen.error is not None:
        return raised_failure(evidence.plan, seen, "raises")
    mean, variance = _moments(evidence, "p_zero")
    if torch.allclose(mean, x) and bool((variance.abs() <= 1e-5 * x**2).all()):
        return None
    return Failure(
        evidence.called("p_zero"),
        "other values",
        "a mean of x and a variance of 0: nothing is dropped",
        "p-zero-not-identity",
    )


def _moments_dtype(evidence: Evidence) -> Failure | None:
    for name, dtype in PRECISIONS.items():
        x, p = _x_and_p(evidence, name)
        mean, variance = _moments(evidence, name)
        called = evidence.called(name)
        for one in (mean, variance):
            if one.dtype is not dtype:
                return Failure(called, str(one.dtype), str(dtype), "changes-dtype")
        slack = 3 * TOLERANCE[dtype] * x.double() ** 2 / (1 - p)
        off = (variance.double() - x.double() ** 2 * p / (1 - p)).abs() > slack
        off |= (mean.double() - x.double()).abs() > 3 * TOLERANCE[dtype] * x.double().abs()
        if bool(off.any()):
            return Failure(
                called, "values that are off by more than rounding", "the same", "changes-dtype"
            )
    return None


MOMENTS_CRITERIA: tuple[Criterion[Evidence], ...] = (
    Criterion(
        "answers",
        "every call returns a mean and a variance of x's shape",
        "Each element has a mask of its own, so it has a mean and a variance of its own",
        _moments_answer,
    ),
    Criterion(
        "exact",
        "no mask is drawn: the moments are exact",
        "An average over masks drawn comes near, and is another number at every call",
        _exact,
    ),
    Criterion(
        "mean",
        "the mean is x, for any p",
        "That the mean is x in training is why inference may return x",
        _mean,
    ),
    Criterion(
        "variance",
        "the variance is x² p / (1 - p), for any p",
        "The mean is unchanged, the variance is not: at p = 0.5 it is as large as x²",
        _variance,
    ),
    Criterion(
        "p-zero",
        "p = 0 leaves x without variance",
        "Without dropout nothing is random",
        _no_dropout,
    ),
    Criterion(
        "dtype",
        "x's dtype is kept in both",
        "A result in another precision spreads through everything that is computed with it",
        _moments_dtype,
    ),
    Criterion(
        "in-place",
        "x is left as it was",
        "Somebody else may still need x",
        untouched("x was changed", "x as it was"),
    ),
)


def _judge_moments(plan: Plan, record: Record) -> Findings:
    return apply(MOMENTS_CRITERIA, Evidence(plan, record))


# --- fold_scale ---------------------------------------------------------------------------------

FOLDED = ("worked", "biased", "likelier", "p_zero", "p_one")
FOLD_DTYPES = {"float64": torch.float64, "bfloat16": torch.bfloat16}
WEIGHTS: tuple[tuple[str, Formula, str], ...] = (
    ("not-folded", lambda p: 1.0, "1"),
    ("divides-the-weight", lambda p: 1 / (1 - p), "1 / (1 - p)"),
    ("p-read-as-keep", lambda p: p, "p"),
    ("p-read-as-keep", lambda p: 1 / p, "1 / p"),
    ("scaled-twice", lambda p: (1 - p) ** 2, "(1 - p)²"),
    ("hard-coded-half", lambda p: 0.5, "0.5, whatever p is"),
)


def _fold_plan(rng: np.random.Generator) -> Plan:
    def layer(inputs: int, outputs: int, bias: bool = True, kind: str = "linear") -> BuiltModule:
        about = f"nn.Linear({inputs}, {outputs}" + ("" if bias else ", bias=False")
        about += ")" if kind == "linear" else f", dtype=torch.{kind.split()[0]})"
        layers = ((kind, inputs, outputs, bias),)
        return BuiltModule(layers, about, int(rng.integers(2**31)), name="linear")

    shown = BuiltModule(
        (("linear", 2, 1),),
        "nn.Linear(2, 1), weight [[10., 20.]], bias [1.]",
        state={"weight": torch.tensor([[10.0, 20.0]]), "bias": torch.tensor([1.0])},
        name="linear",
    )
    low, high = random_p(rng, above=False), random_p(rng, above=True)
    calls = [
        Call("worked", (shown, 0.2)),
        Call("biased", (layer(7, 5), low)),
        Call("likelier", (layer(4, 6), high)),
        Call("p_zero", (layer(3, 2), 0.0)),
        Call("p_one", (layer(3, 2), 1.0)),
        Call("no_bias", (layer(5, 4, bias=False), low)),
        Call("by_name", (), {"linear": layer(3, 3), "p": high}),
    ]
    calls += [Call(name, (layer(6, 3, kind=f"{name} linear"), low)) for name in FOLD_DTYPES]
    return Plan("fold_scale", tuple(calls))


def _given(evidence: Evidence, name: str) -> tuple[ModuleState, float]:
    """The layer as it was before the call, and p."""
    call = evidence.plan.call(name)
    given: dict[str, Value] = dict(zip(("linear", "p"), call.args, strict=False))
    given |= call.kwargs
    linear, p = given["linear"], given["p"]
    if not (isinstance(linear, BuiltModule) and isinstance(p, float)):
        raise TypeError(f"step {name!r} is no call of fold_scale")
    tensors = {key: tensor.detach() for key, tensor in build(linear).named_parameters()}
    return ModuleState(("Linear",), "Linear", tensors), p


def _folded(evidence: Evidence, name: str) -> ModuleState:
    """The layer that came back; `Missing` unless it has the given one's shapes."""
    value, (given, _) = evidence.value(name), _given(evidence, name)
    if not isinstance(value, ModuleState) or "Linear" not in value.kinds:
        raise Missing(name)
    shapes = {key: tensor.shape for key, tensor in value.tensors.items()}
    if shapes != {key: tensor.shape for key, tensor in given.tensors.items()}:
        raise Missing(name)
    return value


def _fold_answer(evidence: Evidence) -> Failure | None:
    for step in evidence.plan:
        seen, (given, _) = evidence.seen(step.name), _given(evidence, step.name)
        without_bias = "bias" not in given.tensors
        if seen.error is not None:
            name = "bias-none-forgotten" if without_bias else "raises"
            return raised_failure(evidence.plan, seen, name)
        value, called = seen.value, evidence.called(step.name)
        if value is None:
            return Failure(called, "None", "a new nn.Linear", "returns-nothing")
        if not isinstance(value, ModuleState) or "Linear" not in value.kinds:
            return Failure(called, _told(value), "a new nn.Linear", "wrong-type")
        for key, tensor in given.tensors.items():
            found = value.tensors.get(key)
            if found is None or found.shape != tensor.shape:
                shape = "no " if found is None else f"shape {list(found.shape)} for the "
                expected = f"a {key} of shape {list(tensor.shape)}, as the given layer has"
                name = "bias-changed" if key == "bias" else "layer-of-another-shape"
                return Failure(called, f"{shape}{key}", expected, name)
        if without_bias and "bias" in value.tensors:
            return Failure(called, "a layer with a bias", "none", "bias-none-forgotten")
    return None


def _left_alone(evidence: Evidence) -> Failure | None:
    for step in evidence.plan:
        seen = evidence.seen(step.name)
        if seen.module_changes:
            return Failure(
                evidence.called(step.name),
                f"the given layer's {', '.join(seen.module_changes)} changed",
                "a new layer; the given one as it was",
                "folds-in-place",
            )
    return None


def _weight(evidence: Evidence) -> Failure | None:
    wrong = _weights_off(evidence, lambda p: 1 - p)
    if not wrong:
        return None
    # At p = 0 and p = 1 several beliefs agree: say it with another call where there is one.
    shown = next((name for name in wrong if name not in ("p_zero", "p_one")), wrong[0])
    given, p = _given(evidence, shown)
    ratio = (_folded(evidence, shown).tensors["weight"] / given.tensors["weight"]).reshape(-1)
    beliefs = ((name, text) for name, f, text in WEIGHTS if not _weights_off(evidence, f))
    name, text = next(beliefs, ("wrong-fold", ""))
    same = bool((ratio - ratio[0]).abs().max() <= 1e-3 * ratio[0].abs())
    seen = f"the weight times {float(ratio[0]):.4g}" if same else "another weight"
    return Failure(
        evidence.called(shown),
        seen + (f", which is {text}" if text else ""),
        f"the weight times {1 - p:.4g}, which is 1 - p",
        name,
    )


def _weights_off(evidence: Evidence, formula: Formula) -> list[str]:
    off = []
    for name in (*FOLDED, "no_bias", "by_name"):
        given, p = _given(evidence, name)
        if p in (0.0, 1.0) and not np.isfinite(_at(formula, p)):
            continue
        expected = given.tensors["weight"] * _at(formula, p)
        found = _folded(evidence, name).tensors["weight"]
        if not torch.allclose(found.to(expected.dtype), expected, rtol=1e-5, atol=0.0):
            off.append(name)
    return off


def _at(formula: Formula, p: float) -> float:
    try:
        return formula(p)
    except ZeroDivisionError:
        return float("inf")


def _bias(evidence: Evidence) -> Failure | None:
    for name in (*FOLDED, "by_name", *FOLD_DTYPES):
        given, p = _given(evidence, name)
        bias, found = given.tensors["bias"], _folded(evidence, name).tensors["bias"]
        # In another dtype it is rounded: that is told below.
        if torch.allclose(found.to(bias.dtype), bias, rtol=2 * TOLERANCE[torch.float32]):
            continue
        scaled = torch.allclose(found.to(bias.dtype), bias * (1 - p), rtol=1e-2)
        return Failure(
            evidence.called(name),
            f"a bias of {float(found[0]):.4g}" + (", which is multiplied by 1 - p" * scaled),
            f"{float(bias[0]):.4g}, as it was",
            "bias-scaled" if scaled else "bias-changed",
        )
    return None


def _fold_dtype(evidence: Evidence) -> Failure | None:
    for name, dtype in FOLD_DTYPES.items():
        given, p = _given(evidence, name)
        found = _folded(evidence, name).tensors
        other = next((one.dtype for one in found.values() if one.dtype is not dtype), None)
        if other is not None:
            return Failure(evidence.called(name), str(other), str(dtype), "changes-dtype")
        expected = given.tensors["weight"].double() * (1 - p)
        right = torch.allclose(found["weight"].double(), expected, rtol=2 * TOLERANCE[dtype])
        if not (right and torch.equal(found["bias"], given.tensors["bias"])):
            return Failure(
                evidence.called(name),
                "numbers that are off by more than rounding",
                "the weight times 1 - p, the bias as it was",
                "changes-dtype",
            )
    return None


def _own_memory(evidence: Evidence) -> Failure | None:
    for step in evidence.plan:
        if evidence.seen(step.name).shares_memory:
            return Failure(
                evidence.called(step.name),
                "a layer that lies in the given layer's memory",
                "a weight and a bias of its own",
                "shares-memory",
            )
    return None


FOLD_CRITERIA: tuple[Criterion[Evidence], ...] = (
    Criterion(
        "answers",
        "every call returns an nn.Linear of the same sizes, with a bias where there was one",
        "The new layer takes the old one's place in the model",
        _fold_answer,
    ),
    Criterion(
        "left-alone",
        "the given layer is left as it was",
        "Training goes on with it, and folding twice must not scale twice",
        _left_alone,
    ),
    Criterion(
        "weight",
        "the weight is multiplied by 1 - p, for any p",
        "All inputs arrive at inference, where a share of 1 - p arrived in training",
        _weight,
    ),
    Criterion(
        "bias",
        "the bias stays as it was",
        "The bias is added behind the mask: it was there in full at every training step",
        _bias,
    ),
    Criterion(
        "dtype",
        "the layer's dtype is kept",
        "A layer in another precision raises as soon as the layer before it runs",
        _fold_dtype,
    ),
    Criterion(
        "own-memory",
        "the two layers share no memory",
        "The next training step of the old layer would change the new one",
        _own_memory,
    ),
)


def _judge_fold(plan: Plan, record: Record) -> Findings:
    return apply(FOLD_CRITERIA, Evidence(plan, record))


EXERCISES = (
    Exercise(
        id="dropout_moments",
        lesson=LESSON,
        kind=Kind.FUNCTION,
        points=2,
        task="dropout_moments(x, p): mean and variance of each element of inverted dropout",
        plan=_moments_plan,
        judge=_judge_moments,
        hints=(
            "An element becomes one of only two values, each with a known probability. What is the"
            " average of the two, and how far is each of them from it?",
            "y = x r / (1 - p), where r is 1 with probability 1 - p. E[y] = x, and"
            " Var[y] = x² Var[r] / (1 - p)². For a coin, Var[r] = p (1 - p).",
            "Plain `*`, `/` and `**` on x; they keep its shape and dtype and leave it alone. No"
            " random function is needed. Return the two with a comma between them.",
        ),
    ),
    Exercise(
        id="fold_scale",
        lesson=LESSON,
        kind=Kind.FUNCTION,
        points=2,
        task="fold_scale(linear, p): a layer behind standard dropout, made ready for inference",
        plan=_fold_plan,
        judge=_judge_fold,
        hints=(
            "While training, a share of 1 - p of the inputs arrived. At inference all of them do."
            " Which of weight and bias was multiplied with the inputs?",
            "E[W (x r) + b] = W x (1 - p) + b = ((1 - p) W) x + b.",
            "`copy.deepcopy(linear)` makes a layer of its own, with or without a bias; under"
            " `torch.no_grad()` its weight can be changed in place by `mul_`. Or a new `nn.Linear`"
            " (arguments `bias` and `dtype`) and `copy_`.",
        ),
    ),
)
