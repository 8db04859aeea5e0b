"""Lesson 07: all masks, how likely each one is, and the mean of what they predict."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dropout_course.checks.common import untouched
from dropout_course.checks.dropout.calls import random_p
from dropout_course.checks.evidence import Evidence
from dropout_course.checks.judge import Criterion, Failure, Findings, apply, raised_failure
from dropout_course.checks.plan import Call, Plan, Value
from dropout_course.checks.record import Record
from dropout_course.exercises.base import Exercise, Kind

LESSON = "07_ensembles"


def _answers(
    evidence: Evidence,
    shape_of: Callable[[Evidence, str], tuple[int, ...]],
    misshapen: str,
    *,
    edges: tuple[str, ...] = (),
) -> Failure | None:
    """Each call gives a tensor of its shape; a call in `edges` that fails names the edge."""
    for step in evidence.plan:
        seen, shape = evidence.seen(step.name), shape_of(evidence, step.name)
        if seen.error is not None:
            at_edge = step.name in edges
            return raised_failure(evidence.plan, seen, misshapen if at_edge else "raises")
        value, expected = seen.value, f"a tensor of shape {list(shape)}"
        called = evidence.called(step.name)
        if value is None:
            return Failure(called, "None", expected, "returns-nothing")
        if not isinstance(value, Tensor):
            name = getattr(value, "type_name", type(value).__name__)
            return Failure(called, f"a {name}", expected, "wrong-type")
        if value.shape != shape:
            return Failure(called, f"a tensor of shape {list(value.shape)}", expected, misshapen)
    return None


# --- all_masks ----------------------------------------------------------------------------------

WIDTHS = (2, 1, 3, 5, 12)


def _masks_plan(rng: np.random.Generator) -> Plan:
    drawn = int(rng.integers(6, 11))
    calls = [Call(f"n_{n}", (n,)) for n in WIDTHS]
    return Plan("all_masks", (*calls, Call("by_name", (), {"n": drawn})))


def _n(evidence: Evidence, name: str) -> int:
    call = evidence.plan.call(name)
    n = call.args[0] if call.args else call.kwargs["n"]
    if not isinstance(n, int):
        raise TypeError(f"step {name!r} is no call of all_masks")
    return n


def _masks_shape(evidence: Evidence, name: str) -> tuple[int, ...]:
    n = _n(evidence, name)
    return 2**n, n


def _masks_answer(evidence: Evidence) -> Failure | None:
    for step in evidence.plan:
        value, n = evidence.seen(step.name).value, _n(evidence, step.name)
        if isinstance(value, Tensor) and value.shape == (n, 2**n) and n > 2:
            return Failure(
                evidence.called(step.name),
                f"a tensor of shape {list(value.shape)}: a column for each mask",
                f"a tensor of shape [{2**n}, {n}]: a row for each mask",
                "masks-in-columns",
            )
        rows = value.shape[0] if isinstance(value, Tensor) and value.dim() == 2 else 0
        if isinstance(value, Tensor) and 0 < rows != 2**n and value.shape[1] == n:
            return Failure(
                evidence.called(step.name),
                f"{rows} masks",
                f"{2**n} masks, each of them once",
                "masks-missing" if rows < 2**n else "masks-repeated",
            )
    return _answers(evidence, _masks_shape, "wrong-mask-shape", edges=("n_1",))


def _masks(evidence: Evidence, name: str) -> Tensor:
    n = _n(evidence, name)
    return evidence.tensor(name, torch.Size((2**n, n)))


def _zeros_and_ones(evidence: Evidence) -> Failure | None:
    for step in evidence.plan:
        found = _masks(evidence, step.name)
        odd = found[(found != 0) & (found != 1)]
        if odd.numel():
            signs = bool((odd == -1).all()) and not bool((found == 0).any())
            return Failure(
                evidence.called(step.name),
                f"a value of {float(odd[0]):.4g}",
                "1 for kept and 0 for dropped, nothing else",
                "signs-instead-of-masks" if signs else "mask-already-scaled",
            )
    return None


def _each_once(evidence: Evidence) -> Failure | None:
    for step in evidence.plan:
        found, n = _masks(evidence, step.name), _n(evidence, step.name)
        codes = (found.double() @ 2.0 ** torch.arange(n, dtype=torch.float64)).tolist()
        missing = 2**n - len(set(codes))
        if missing:
            return Failure(
                evidence.called(step.name),
                f"{missing} of the {2**n} masks missing, others more than once",
                "each mask once",
                "masks-missing",
            )
    return None


MASKS_CRITERIA: tuple[Criterion[Evidence], ...] = (
    Criterion(
        "answers",
        "a row for each of the 2^n masks, a column for each unit",
        "Every unit is kept or dropped, independently of the others: n choices of two",
        _masks_answer,
    ),
    Criterion(
        "zeros-and-ones",
        "masks hold zeros and ones only",
        "A mask is multiplied into the units: 1 keeps, 0 drops",
        _zeros_and_ones,
    ),
    Criterion(
        "each-once",
        "no mask is missing, none comes twice",
        "A mean over the ensemble counts each subnetwork once",
        _each_once,
    ),
)


def _judge_masks(plan: Plan, record: Record) -> Findings:
    return apply(MASKS_CRITERIA, Evidence(plan, record))


# --- mask_probabilities -------------------------------------------------------------------------

PROBABLE = ("worked", "all_low", "all_high", "some")
Answer = Callable[[Tensor, float], Tensor]


def _kept(masks: Tensor) -> Tensor:
    return masks.sum(dim=1)


def _right_probabilities(masks: Tensor, p: float) -> Tensor:
    n = masks.shape[1]
    return (1 - p) ** _kept(masks) * p ** (n - _kept(masks))


def _of_the_count(masks: Tensor, p: float) -> Tensor:
    n, k = torch.tensor(float(masks.shape[1])), _kept(masks)
    ways = (torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)).exp()
    return ways * _right_probabilities(masks, p)


# What people compute instead. The order breaks ties.
PROBABILITIES: tuple[tuple[str, Answer, str], ...] = (
    (
        "p-read-as-keep",
        lambda m, p: _right_probabilities(m, 1 - p),
        "p for kept units",
    ),
    ("equal-probabilities", lambda m, p: torch.full_like(_kept(m), 0.5 ** m.shape[1]), "0.5^n"),
    ("equal-probabilities", lambda m, p: torch.full_like(_kept(m), 1 / len(m)), "1 / masks"),
    ("kept-units-only", lambda m, p: (1 - p) ** _kept(m), "the kept units alone"),
    ("kept-units-only", lambda m, p: p ** (m.shape[1] - _kept(m)), "the dropped units alone"),
    (
        "probabilities-added",
        lambda m, p: _kept(m) * (1 - p) + (m.shape[1] - _kept(m)) * p,
        "a sum over the units",
    ),
    ("probabilities-added", lambda m, p: (m * (1 - p) + (1 - m) * p).mean(1), "a mean over units"),
    ("probability-of-the-count", _of_the_count, "the probability of so many kept units"),
    (
        "made-to-sum-to-one",
        lambda m, p: _right_probabilities(m, p) / _right_probabilities(m, p).sum(),
        "divided by the sum over the masks given",
    ),
    (
        "log-probabilities",
        lambda m, p: _right_probabilities(m, p).log(),
        "the logarithm of the probability",
    ),
)


def _probabilities_plan(rng: np.random.Generator) -> Plan:
    def every(n: int) -> Tensor:
        masks = torch.from_numpy(np.array(list(np.ndindex(*(2,) * n)), dtype=np.float32))
        return masks[torch.from_numpy(rng.permutation(2**n))]

    low, high = random_p(rng, above=False), random_p(rng, above=True)
    asked = {
        "all_low": (every(4), low),
        "all_high": (every(3), high),
        "some": (every(6)[:20], low),
        "float64": (every(5).double(), high),
        "p_zero": (every(3), 0.0),
        "p_one": (every(3), 1.0),
    }
    worked = Call("worked", (torch.tensor([[1.0, 1.0, 0.0]]), 0.2))
    by_name = (Call(n, (), {"masks": masks, "p": p}) for n, (masks, p) in asked.items())
    return Plan("mask_probabilities", (worked, *by_name))


def _masks_and_p(evidence: Evidence, name: str) -> tuple[Tensor, float]:
    call = evidence.plan.call(name)
    given: dict[str, Value] = dict(zip(("masks", "p"), call.args, strict=False))
    given |= call.kwargs
    masks, p = given["masks"], given["p"]
    if not (isinstance(masks, Tensor) and isinstance(p, float)):
        raise TypeError(f"step {name!r} is no call of mask_probabilities")
    return masks, p


def _probabilities_shape(evidence: Evidence, name: str) -> tuple[int, ...]:
    return (len(_masks_and_p(evidence, name)[0]),)


def _probabilities_answer(evidence: Evidence) -> Failure | None:
    return _answers(evidence, _probabilities_shape, "one-number-a-mask")


def _probabilities(evidence: Evidence) -> Failure | None:
    wrong = _probabilities_off(evidence, (*PROBABLE, "float64"), _right_probabilities)
    if not wrong:
        return None
    beliefs = (
        (name, text)
        for name, answer, text in PROBABILITIES
        if not _probabilities_off(evidence, PROBABLE, answer)
    )
    name, text = next(beliefs, ("wrong-probability", ""))
    shown = wrong[0]
    masks, p = _masks_and_p(evidence, shown)
    found = evidence.tensor(shown, torch.Size((len(masks),)))
    row = [int(one) for one in masks[0]]
    return Failure(
        evidence.called(shown),
        f"{float(found[0]):.4g} for the mask {row}" + (f": {text}" if text else ""),
        f"{float(_right_probabilities(masks, p)[0]):.4g}, a factor 1 - p for each kept unit and p"
        " for each dropped one",
        name,
    )


def _probabilities_off(evidence: Evidence, names: tuple[str, ...], answer: Answer) -> list[str]:
    off = []
    for name in names:
        masks, p = _masks_and_p(evidence, name)
        found = evidence.tensor(name, torch.Size((len(masks),))).double()
        # Logarithms in float32 are right too: they lose three digits.
        if not torch.allclose(found, answer(masks.double(), p), rtol=1e-4, atol=1e-7):
            off.append(name)
    return off


def _certain(evidence: Evidence) -> Failure | None:
    for name in ("p_zero", "p_one"):
        masks, p = _masks_and_p(evidence, name)
        found = evidence.tensor(name, torch.Size((len(masks),))).double()
        if not torch.allclose(found, _right_probabilities(masks, p).double(), atol=1e-5):
            broken = bool(found.isnan().any())
            return Failure(
                evidence.called(name),
                "nan" if broken else "other values",
                f"1 for the mask that {'keeps' if p == 0 else 'drops'} all units, 0 for the others",
                "nan-at-certain-p" if broken else "wrong-probability",
            )
    return None


PROBABILITY_CRITERIA: tuple[Criterion[Evidence], ...] = (
    Criterion(
        "answers",
        "one number for each mask",
        "A weighted mean over the ensemble needs a weight for each subnetwork",
        _probabilities_answer,
    ),
    Criterion(
        "probability",
        "each mask has the probability with which dropout draws it",
        "Independent draws multiply: 1 - p for every kept unit, p for every dropped one",
        _probabilities,
    ),
    Criterion(
        "certain",
        "p = 0 and p = 1 leave one mask possible",
        "A sweep over p begins at 0, and a nan there spoils every mean",
        _certain,
    ),
    Criterion(
        "in-place",
        "masks are left as they were",
        "They are needed again",
        untouched("an input was changed", "the inputs as they were"),
    ),
)


def _judge_probabilities(plan: Plan, record: Record) -> Findings:
    return apply(PROBABILITY_CRITERIA, Evidence(plan, record))


# --- geometric_mean -----------------------------------------------------------------------------

MEANS = ("worked", "matrix", "batch", "images")
BLUR = 0.02  # what a guard such as log(p + 1e-12) may leave of a probability of 0
MeanOf = Callable[[Tensor, Tensor], Tensor]


def _weighted(weights: Tensor, values: Tensor) -> Tensor:
    return (weights.view(-1, *[1] * (values.dim() - 1)) * values).sum(dim=0)


def _log_mean(probs: Tensor, weights: Tensor) -> Tensor:
    shape = (-1, *[1] * (probs.dim() - 1))
    logs: Tensor = torch.special.xlogy(weights.view(shape), probs)
    return logs.sum(dim=0)


def _right_mean(probs: Tensor, weights: Tensor) -> Tensor:
    return torch.softmax(_log_mean(probs, weights), dim=-1)


def _even(weights: Tensor) -> Tensor:
    return torch.full_like(weights, 1 / len(weights))


# What people compute instead. The order breaks ties.
COMBINED: tuple[tuple[str, MeanOf, str], ...] = (
    ("arithmetic-mean", lambda p, w: _weighted(w, p), "the arithmetic mean"),
    ("arithmetic-mean", lambda p, w: p.mean(dim=0), "the arithmetic mean, without weights"),
    ("not-renormalised", lambda p, w: _log_mean(p, w).exp(), "not divided by its sum"),
    ("not-renormalised", lambda p, w: _log_mean(p, _even(w)).exp(), "not divided by its sum"),
    ("weights-ignored", lambda p, w: _right_mean(p, _even(w)), "every mask with the same weight"),
    (
        "root-forgotten",
        lambda p, w: _right_mean(p, torch.ones_like(w)),
        "no root taken",
    ),
    (
        "renormalised-over-another-dimension",
        lambda p, w: _log_mean(p, w).exp() / _log_mean(p, w).exp().sum(dim=0),
        "divided by the sum over the first dimension",
    ),
    (
        "renormalised-over-another-dimension",
        lambda p, w: _log_mean(p, w).exp() / _log_mean(p, w).exp().sum(),
        "divided by the sum over everything",
    ),
    ("log-probabilities", lambda p, w: torch.log_softmax(_log_mean(p, w), -1), "its logarithm"),
    ("log-probabilities", _log_mean, "the mean logarithm"),
    ("softmax-twice", lambda p, w: torch.softmax(_weighted(w, p), -1), "a softmax of the mean"),
    (
        "softmax-twice",
        lambda p, w: torch.softmax(_log_mean(p, w).exp(), -1),
        "a softmax of the geometric mean",
    ),
)


def _mean_plan(rng: np.random.Generator) -> Plan:
    def call(name: str, masks: int, shape: tuple[int, ...]) -> Call:
        logits = torch.from_numpy(rng.normal(scale=1.5, size=(masks, *shape)))
        weights = torch.from_numpy(rng.dirichlet(np.full(masks, 0.8)))
        dtype = torch.float64 if name == "float64" else torch.float32
        probs, weights = torch.softmax(logits, dim=-1).to(dtype), weights.to(dtype)
        if name == "zero":
            probs[1, ..., 0], weights[:] = 0.0, 1 / masks
            probs /= probs.sum(dim=-1, keepdim=True)
        return Call(name, (), {"probs": probs, "weights": weights})

    shown = torch.tensor([[0.8, 0.2], [0.5, 0.5]])
    return Plan(
        "geometric_mean",
        (
            Call("worked", (shown, torch.tensor([0.5, 0.5]))),
            call("matrix", 6, (4,)),
            call("batch", 5, (5, 3)),  # as many examples as masks: a wrong broadcast runs here
            call("images", 4, (2, 3, 5)),
            call("float64", 256, (3, 4)),
            call("zero", 4, (3, 4)),
        ),
    )


def _probs_and_weights(evidence: Evidence, name: str) -> tuple[Tensor, Tensor]:
    call = evidence.plan.call(name)
    given: dict[str, Value] = dict(zip(("probs", "weights"), call.args, strict=False))
    given |= call.kwargs
    probs, weights = given["probs"], given["weights"]
    if not (isinstance(probs, Tensor) and isinstance(weights, Tensor)):
        raise TypeError(f"step {name!r} is no call of geometric_mean")
    return probs, weights


def _mean_shape(evidence: Evidence, name: str) -> tuple[int, ...]:
    return tuple(_probs_and_weights(evidence, name)[0].shape[1:])


def _mean_answer(evidence: Evidence) -> Failure | None:
    edges = ("batch", "images", "float64")  # "matrix" went through: a matter of shape
    return _answers(evidence, _mean_shape, "one-shape-only", edges=edges)


def _combined(evidence: Evidence, name: str) -> Tensor:
    return evidence.tensor(name, torch.Size(_mean_shape(evidence, name)))


def _mean(evidence: Evidence) -> Failure | None:
    wrong = _means_off(evidence, MEANS, _right_mean)
    if not wrong:
        return None
    names = tuple(name for name in MEANS if name != "worked")
    beliefs = ((n, text) for n, mean, text in COMBINED if not _means_off(evidence, names, mean))
    name, text = next(beliefs, ("wrong-geometric-mean", ""))
    if name == "wrong-geometric-mean" and not {"worked", "matrix"} & set(wrong):
        name, text = "one-shape-only", "right only without a dimension between masks and classes"
    shown = wrong[0]
    expected = _right_mean(*_probs_and_weights(evidence, shown)).reshape(-1)
    found = _combined(evidence, shown).reshape(-1)
    return Failure(
        evidence.called(shown),
        f"{float(found[0]):.4g} for the first class" + (f": {text}" if text else ""),
        f"{float(expected[0]):.4g}, from the weighted product over the masks, divided by its sum"
        " over the classes",
        name,
    )


def _means_off(evidence: Evidence, names: tuple[str, ...], mean: MeanOf) -> list[str]:
    off = []
    for name in names:
        probs, weights = _probs_and_weights(evidence, name)
        expected = mean(probs.double(), weights.double())
        rtol = 1e-8 if probs.dtype is torch.float64 else 1e-4
        if not torch.allclose(_combined(evidence, name).double(), expected, rtol=rtol, atol=1e-12):
            off.append(name)
    return off


def _zero(evidence: Evidence) -> Failure | None:
    found = _combined(evidence, "zero").double()[..., 0]
    called = f"{evidence.called('zero')}, one mask with a probability of 0 for class 0"
    expected = "0 for that class: a product with a factor 0"
    if bool(found.isnan().any()):
        return Failure(called, "nan", expected, "nan-at-zero-probability")
    if bool((found < BLUR).all()):
        return None
    return Failure(called, f"{float(found.max()):.4g}", expected, "zero-probability-blurred")


def _mean_dtype(evidence: Evidence) -> Failure | None:
    for name in ("matrix", "float64"):
        found, given = _combined(evidence, name).dtype, _probs_and_weights(evidence, name)[0].dtype
        if found is not given:
            return Failure(evidence.called(name), str(found), str(given), "changes-dtype")
    if not _means_off(evidence, ("float64",), _right_mean):
        return None
    return Failure(
        evidence.called("float64"),
        "numbers that are right to a few digits only",
        "numbers as exact as float64",
        "changes-dtype",
    )


MEAN_CRITERIA: tuple[Criterion[Evidence], ...] = (
    Criterion(
        "answers",
        "one prediction for each example, whatever dimensions there are",
        "The mean is taken over the masks, the first dimension, alone",
        _mean_answer,
    ),
    Criterion(
        "mean",
        "the weighted geometric mean over the masks, divided by its sum over the classes",
        "A geometric mean of probabilities does not sum to 1; divided by its sum it is what weight"
        " scaling computes for softmax regression",
        _mean,
    ),
    Criterion(
        "zeros",
        "a class that one mask rules out is ruled out",
        "A geometric mean with a factor 0 is 0: every member of the ensemble has a veto",
        _zero,
    ),
    Criterion(
        "dtype",
        "the probabilities' dtype is kept",
        "Exactness to 16 digits can only be seen in float64",
        _mean_dtype,
    ),
    Criterion(
        "in-place",
        "probabilities and weights are left as they were",
        "The same predictions go into the arithmetic mean next",
        untouched("an input was changed", "the inputs as they were"),
    ),
)


def _judge_mean(plan: Plan, record: Record) -> Findings:
    return apply(MEAN_CRITERIA, Evidence(plan, record))


EXERCISES = (
    Exercise(
        id="all_masks",
        lesson=LESSON,
        kind=Kind.FUNCTION,
        points=2,
        task="all_masks(n): every mask of n units, a row each",
        plan=_masks_plan,
        judge=_judge_masks,
        hints=(
            "Write the masks of two units below each other, then those of three. How many rows come"
            " with each further unit, and where have you seen this table before?",
            "The rows are the numbers 0 to 2^n - 1 written with n binary digits: digit j of the"
            " number i is (i >> j) & 1.",
            "`torch.arange(2**n).unsqueeze(1) >> torch.arange(n)` gives all shifts at once. Or"
            " `itertools.product([0.0, 1.0], repeat=n)` in a list, and `torch.tensor`. `.float()`"
            " makes floating-point numbers of integers.",
        ),
    ),
    Exercise(
        id="mask_probabilities",
        lesson=LESSON,
        kind=Kind.FUNCTION,
        points=2,
        task="mask_probabilities(masks, p): how likely dropout is to draw each mask",
        plan=_probabilities_plan,
        judge=_judge_probabilities,
        hints=(
            "Each unit is dropped or kept on its own. How likely is one particular sequence of"
            " kept, kept, dropped at p = 0.2?",
            "P(mask) = (1 - p)^k p^(n - k), where k units of n are kept: one factor for each unit.",
            "`masks.sum(dim=1)` counts the kept units of each row; `**` takes a number to the power"
            " of a tensor, and 0.0 ** 0 is 1. Or `torch.where` for the factors and"
            " `.prod(dim=1)`.",
        ),
    ),
    Exercise(
        id="geometric_mean",
        lesson=LESSON,
        kind=Kind.FUNCTION,
        points=3,
        task="geometric_mean(probs, weights): the ensemble's prediction, renormalised",
        plan=_mean_plan,
        judge=_judge_mean,
        hints=(
            "Take the logarithm of a weighted geometric mean. Which mean do you know that stands"
            " there then? And what must be done so that the classes sum to 1 again?",
            "log g = Σ w_m log p_m over the masks m, and the result is g / Σ g over the classes:"
            " the softmax of log g.",
            "`torch.special.xlogy(w, p)` is w * log(p), and 0 where w is 0. `weights.view` (or"
            " `reshape`) with as many ones as probs has further dimensions lets the two multiply;"
            " `.sum(dim=0)`, `torch.softmax(..., dim=-1)`.",
        ),
    ),
)
