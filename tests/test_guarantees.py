"""The promises beside the criteria are true: how rarely right code is rejected, and how rarely the
stated alternative passes. Computed by exact tails for the very calls that the plans make."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import bdtr

from dropout_course.checks.dropout import bernoulli, calls, evidence, masks
from dropout_course.checks.dropout.evidence import DropoutEvidence
from dropout_course.checks.dropout.rule import INVERTED
from dropout_course.checks.judge import Criterion, Guarantee
from dropout_course.checks.plan import Plan
from dropout_course.checks.record import Record, record
from dropout_course.checks.statistics import (
    FALSE_ALARM,
    MISS,
    binomial_p_value,
    extremes_p_value,
    lag_bound,
    miss_rate,
    modal_count_p_value,
)
from dropout_course.checks.verdict import Finding
from dropout_course.course import EXERCISES
from dropout_course.exercises import inverted, standard
from tests.zoo.generated import define, solution_cells

CRITERIA: dict[str, tuple[Criterion[Any], ...]] = {
    "bernoulli_mask": bernoulli.CRITERIA,
    "standard_dropout": standard.FUNCTION_CRITERIA,
    "StandardDropout": standard.MODULE_CRITERIA,
    "inverted_dropout": inverted.FUNCTION_CRITERIA,
    "InvertedDropout": inverted.MODULE_CRITERIA,
}
PROMISING = {c.id: c for criteria in CRITERIA.values() for c in criteria if c.guarantee is not None}
# Where a plan may draw p, the ends and some between; the criteria are symmetric in p and 1 - p.
RATES = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.6, 0.85)
LEARNERS, CHECKS_OF_RIGHT_CODE = 1_000_000, 20


def guarantee(criterion: str) -> Guarantee:
    promised = PROMISING[criterion].guarantee
    assert promised is not None
    return promised


# How rarely right code is rejected.


@pytest.mark.parametrize("criterion", PROMISING)
def test_a_promise_is_at_most_one_in_a_billion_both_ways(criterion: str) -> None:
    assert 0 < guarantee(criterion).false_alarm <= 1e-9
    assert 0 <= guarantee(criterion).miss <= 1e-9


def test_a_million_learners_who_check_right_code_20_times_see_no_false_alarm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Less than one expected, over all of them and all exercises, each passing check counted."""
    promised: list[Guarantee] = []
    judge = Criterion.__call__

    def noted(criterion: Criterion[Any], evidence: Any) -> Finding:
        if criterion.guarantee is not None:
            promised.append(criterion.guarantee)
        return judge(criterion, evidence)

    monkeypatch.setattr(Criterion, "__call__", noted)
    for name, exercise in EXERCISES.items():
        source, prelude = solution_cells()[name]
        exercise.examine(define(name, prelude, source), np.random.default_rng(0))

    assert len(promised) >= len(PROMISING) * len(CRITERIA)
    a_course = sum(one.false_alarm for one in promised)
    assert a_course * CHECKS_OF_RIGHT_CODE * LEARNERS < 1


def test_every_exercise_with_random_masks_is_counted() -> None:
    """An exercise that draws masks uses the criteria for masks, and stands in the list above."""
    for name, exercise in EXERCISES.items():
        plan = exercise.plan(np.random.default_rng(0))
        draws_masks = any(step.name == "again" for step in plan)
        assert draws_masks == (name in CRITERIA)


P_VALUES = {
    "independent-elements": ("masks.agreement_p_value", "masks.spread_p_value"),
    "no-pattern": ("masks.agreement_p_value",),
    "every-place": ("masks.extremes_p_value", "masks.binomial_p_value"),
    "independent-calls": ("masks.binomial_p_value",),
    "binomial-count": ("masks.modal_count_p_value",),
    "rate": ("evidence.binomial_p_value",),
}
MODULES = {"masks": masks, "evidence": evidence}


def a_right_one(x: torch.Tensor, p: float = 0.5, training: bool = True) -> torch.Tensor:
    if not training or p == 0:
        return x
    return x * (torch.rand(x.shape, device=x.device) >= p) / (1 - p) if p < 1 else x * 0


@pytest.fixture(scope="module")
def recorded() -> tuple[Plan, Record]:
    plan = EXERCISES["inverted_dropout"].plan(np.random.default_rng(0))
    return plan, record(plan, a_right_one)


@pytest.mark.parametrize("criterion", PROMISING)
def test_the_tests_of_a_criterion_share_its_false_alarms(
    criterion: str, recorded: tuple[Plan, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Union bound: the levels of all single tests that it makes add up to FALSE_ALARM or less."""
    p_values: dict[str, float] = {}
    made: dict[str, int] = {}

    def stand_in(name: str) -> Callable[..., float]:
        def p_value(*_: object) -> float:
            made[name] = made.get(name, 0) + 1
            return p_values.get(name, 1.0)

        return p_value

    levels = []

    def noted_bound(elements: int, false_alarm: float = FALSE_ALARM) -> float:
        levels.append(false_alarm)
        return lag_bound(elements, false_alarm)

    monkeypatch.setattr(masks, "lag_bound", noted_bound)
    for name in P_VALUES[criterion]:
        module, function = name.split(".")
        monkeypatch.setattr(MODULES[module], function, stand_in(name))

    def passes() -> bool:
        made.clear()
        levels.clear()
        plan, seen = recorded
        return PROMISING[criterion](DropoutEvidence(plan, seen, INVERTED)).passed

    def tests_that_share(name: str) -> int:
        """The largest k such that a p-value just above FALSE_ALARM / k passes."""
        share = 0
        while passes():
            share += 1
            p_values[name] = 1.000001 * FALSE_ALARM / share
        return share - 1

    spent = 0.0
    for name in P_VALUES[criterion]:
        p_values.clear()
        assert passes()
        spent += made[name] * FALSE_ALARM / tests_that_share(name)
    p_values.clear()
    assert passes()
    assert spent + sum(levels) <= FALSE_ALARM * (1 + 1e-9)


# How rarely the stated alternative passes.


@pytest.fixture(params=RATES)
def p(request: pytest.FixtureRequest) -> float:
    return float(request.param)


@pytest.fixture(params=CRITERIA)
def shapes(
    request: pytest.FixtureRequest, p: float, monkeypatch: pytest.MonkeyPatch
) -> dict[str, tuple[int, ...]]:
    """The shapes that an exercise's plan asks for where it draws `p`."""
    monkeypatch.setattr(calls, "random_p", lambda rng, above=None: p)
    monkeypatch.setattr(bernoulli, "random_p", lambda rng, above=None: p)
    plan = EXERCISES[request.param].plan(np.random.default_rng(0))
    kind = bernoulli.MaskEvidence if request.param == "bernoulli_mask" else DropoutEvidence
    made = kind(plan, Record(request.param, {}), INVERTED)
    return {name: tuple(made.expected_shape(name)) for name in ("large", "images", "again")}


def missed(trials: int, probability: float, shift: float, level: float) -> float:
    """How often a rate that is off by `shift`, to either side, passes; 0 where it cannot be."""
    possible = (q for q in (probability - shift, probability + shift) if 0 <= q <= 1)
    return max(miss_rate(trials, probability, q, level) for q in possible)


def agreement(p: float, correlation: float) -> tuple[float, float]:
    """How often two independent elements agree, and by how much a correlation moves that."""
    return p**2 + (1 - p) ** 2, 2 * correlation * p * (1 - p)


def pairs_along(shape: tuple[int, ...]) -> Iterator[int]:
    for length in shape:
        yield math.prod(shape) // length * (length // 2)


def test_a_rate_off_by_a_hundredth_is_seen(shapes: dict[str, tuple[int, ...]], p: float) -> None:
    level = FALSE_ALARM / len(calls.RATE_SAMPLES)
    assert missed(math.prod(shapes["large"]), 0.5, calls.RATE_SHIFT, level) <= MISS
    assert missed(math.prod(shapes["images"]), 1 - p, calls.RATE_SHIFT, level) <= MISS


def test_correlated_neighbours_are_seen(shapes: dict[str, tuple[int, ...]], p: float) -> None:
    level = FALSE_ALARM / 13
    for rate, name, correlation in (
        (p, "images", masks.NEIGHBOUR_CORRELATION),
        (0.5, "large", masks.FAIR_NEIGHBOUR_CORRELATION),
    ):
        for pairs in pairs_along(shapes[name]):
            assert missed(pairs, *agreement(rate, correlation), level) <= MISS


def test_a_mask_that_resembles_itself_is_seen(shapes: dict[str, tuple[int, ...]], p: float) -> None:
    level = FALSE_ALARM / 5
    for rate, name in ((p, "images"), (0.5, "large")):
        half = math.prod(shapes[name]) // 2
        assert missed(half, *agreement(rate, masks.LAG_CORRELATION), level) <= MISS
    # Elements that copy the one `lag` before them, or its opposite, a little more often than not:
    # the products s(i) s(i + lag) are independent signs with the correlation as their mean.
    assert math.prod(shapes["large"]) >= masks.LAG_ELEMENTS
    bound = lag_bound(masks.LAG_ELEMENTS, level)
    for lag in (1, 2, 610, 10_000, masks.LONGEST_LAG):
        products = masks.LAG_ELEMENTS - lag
        agreeing = math.floor((products + bound) / 2)
        assert bdtr(agreeing, products, (1 + masks.LAG_CORRELATION) / 2) <= MISS


def test_a_place_that_is_never_or_always_dropped_is_seen(
    shapes: dict[str, tuple[int, ...]], p: float
) -> None:
    places = [(p, math.prod(shapes["again"][1:]), shapes["again"][0])]
    for rate, name in ((p, "images"), (0.5, "large")):
        places += [(rate, n, math.prod(shapes[name]) // n) for n in shapes[name]]
    for rate, number, trials in places:
        for odd in (0, trials):
            counts = np.full(number, round(trials * (1 - rate)))
            counts[0] = odd
            assert 12 * extremes_p_value(counts, trials, 1 - rate) < FALSE_ALARM


def test_a_value_whose_rate_is_off_is_seen() -> None:
    plan = EXERCISES["inverted_dropout"].plan(np.random.default_rng(0))
    values, numbers = np.unique(calls.asked(plan, "large").x.numpy(), return_counts=True)
    level = FALSE_ALARM / 12 / len(values)
    for number in (*numbers, min(calls.LARGE[0] * calls.LARGE[1] // 5, *numbers)):
        assert missed(int(number), 0.5, masks.VALUE_SHIFT, level) <= MISS


def disjoint_pairs(repeats: int, lag: int) -> int:
    return sum((i // lag) % 2 == 0 for i in range(repeats - lag))


def test_correlated_calls_are_seen(shapes: dict[str, tuple[int, ...]], p: float) -> None:
    repeats, elements = shapes["again"][0], math.prod(shapes["again"][1:])
    level = FALSE_ALARM / masks.LAGS
    for lag in range(1, masks.NEAR_CALLS + 1):
        trials = disjoint_pairs(repeats, lag) * elements
        assert missed(trials, *agreement(p, masks.CALL_CORRELATION), level) <= MISS
    for lag in range(1, masks.FAR_CALLS + 1):
        trials = disjoint_pairs(repeats, lag) * elements
        assert binomial_p_value(trials, trials, agreement(p, 0)[0]) < level


def test_an_exact_count_is_always_seen(shapes: dict[str, tuple[int, ...]], p: float) -> None:
    """Whatever the count is: the most likely one is the hardest to tell."""
    repeats, examples, rows, width = shapes["again"]
    groups = [(repeats, examples * rows * width, p), (repeats * examples * rows, width, p)]
    groups += [(*shapes["large"], 0.5), (*shapes["large"][::-1], 0.5)]
    for number, trials, rate in groups:
        for count in range(trials + 1):
            counts: NDArray[np.int64] = np.full(number, count)
            assert 8 * modal_count_p_value(counts, trials, 1 - rate) < FALSE_ALARM


def test_the_number_of_elements_that_the_rate_needs_is_told_rightly() -> None:
    alternative = guarantee("rate").alternative
    told = int(alternative.split("about ")[1].split(" ")[0].replace(",", ""))
    assert math.prod(calls.LARGE) == pytest.approx(told, rel=0.01)
    # Seen for certain at that number of elements, not at nine tenths of it.
    level = FALSE_ALARM / len(calls.RATE_SAMPLES)
    assert missed(told, 0.5, calls.RATE_SHIFT, level) <= MISS
    assert missed(told * 9 // 10, 0.5, calls.RATE_SHIFT, level) > MISS


def test_each_promise_has_a_computation_here() -> None:
    assert set(P_VALUES) == set(PROMISING)
