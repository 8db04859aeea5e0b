"""Each statistical function against an exact or a brute-force computation of the same thing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from dropout_course.checks.statistics import (
    FALSE_ALARM,
    MISS,
    agreement_p_value,
    binomial_p_value,
    elements_needed,
    extremes_p_value,
    lag_bound,
    miss_rate,
    modal_count_p_value,
    spread_p_value,
    strongest_lag,
)

RATES = (0.15, 0.4, 0.5, 0.8)


def pmf(k: int, n: int, q: float) -> float:
    """Exactly, in rational numbers."""
    exact = Fraction(q)
    return float(math.comb(n, k) * exact**k * (1 - exact) ** (n - k))


def two_sided(k: int, n: int, q: float) -> float:
    lower = math.fsum(pmf(i, n, q) for i in range(k + 1))
    upper = math.fsum(pmf(i, n, q) for i in range(k, n + 1))
    return min(1.0, 2 * min(lower, upper))


def log_tail(k: int, n: int, q: float) -> float:
    """The logarithm of P(Binomial(n, q) <= k), summed term by term."""
    i = np.arange(k + 1)
    choose = gammaln(n + 1) - gammaln(i + 1) - gammaln(n - i + 1)
    return float(logsumexp(choose + i * math.log(q) + (n - i) * math.log1p(-q)))


@pytest.mark.parametrize("q", RATES)
@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_the_binomial_test_is_exact(n: int, q: float) -> None:
    for k in range(n + 1):
        assert binomial_p_value(k, n, q) == pytest.approx(two_sided(k, n, q), rel=1e-9)


@pytest.mark.parametrize("q", RATES)
def test_the_binomial_test_is_exact_in_far_tails_of_many_elements(q: float) -> None:
    n = 390_400
    for deviations in (5, 6.5, 8):
        k = round(n * q - deviations * math.sqrt(n * q * (1 - q)))
        exact = 2 * math.exp(log_tail(k, n, q))
        assert binomial_p_value(k, n, q) == pytest.approx(exact, rel=1e-6)
        assert binomial_p_value(n - k, n, 1 - q) == pytest.approx(exact, rel=1e-6)


def test_at_the_ends_only_the_certain_count_is_possible() -> None:
    assert [binomial_p_value(k, 3, 0.0) for k in range(4)] == [1, 0, 0, 0]
    assert [binomial_p_value(k, 3, 1.0) for k in range(4)] == [0, 0, 0, 1]


@pytest.mark.parametrize("count", [-1, 4])
def test_an_impossible_count_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="between 0 and 3"):
        binomial_p_value(count, 3, 0.5)


# False alarms, by enumeration of all outcomes: a p-value below any level has at most its chance.


def all_counts(groups: int, trials: int, q: float) -> Iterator[tuple[NDArray[np.int64], float]]:
    """Yield every outcome of `groups` independent binomial counts with its probability."""
    chances = [pmf(k, trials, q) for k in range(trials + 1)]
    for counts in itertools.product(range(trials + 1), repeat=groups):
        yield np.array(counts), math.prod(chances[k] for k in counts)


@pytest.mark.parametrize("q", RATES)
@pytest.mark.parametrize(("groups", "trials"), [(2, 6), (3, 4), (5, 2)])
@pytest.mark.parametrize("test", [extremes_p_value, modal_count_p_value, spread_p_value])
def test_a_fair_mask_fails_a_test_of_counts_at_most_at_its_level(
    test: Callable[..., float], groups: int, trials: int, q: float
) -> None:
    outcomes = [(test(c, trials, q), chance) for c, chance in all_counts(groups, trials, q)]
    for level in {p_value for p_value, _ in outcomes if p_value < 1}:
        assert math.fsum(c for p_value, c in outcomes if p_value <= level) <= level * (1 + 1e-9)


@pytest.mark.parametrize("q", RATES)
def test_a_fair_mask_fails_the_test_of_agreement_at_most_at_its_level(q: float) -> None:
    n = 4
    outcomes = []
    for bits in itertools.product((False, True), repeat=2 * n):
        mask = np.array(bits)
        chance = q ** mask.sum() * (1 - q) ** (2 * n - mask.sum())
        outcomes.append((agreement_p_value(mask[:n], mask[n:], q), chance))
    assert math.fsum(chance for _, chance in outcomes) == pytest.approx(1)
    for level in {p_value for p_value, _ in outcomes if p_value < 1}:
        assert math.fsum(c for p_value, c in outcomes if p_value <= level) <= level * (1 + 1e-9)


# Each test sees what it is for, with the p-value that can be computed by hand.


def test_one_odd_count_among_many_is_seen() -> None:
    counts = np.full(100, 10)
    assert extremes_p_value(counts, 20, 0.5) == 1
    counts[7] = 20
    assert extremes_p_value(counts, 20, 0.5) == pytest.approx(100 * 2 / 2**20)


def test_a_count_that_never_varies_is_seen() -> None:
    counts = np.full(30, 4)
    expected = (8 + 1) * pmf(4, 8, 0.5) ** 30
    assert modal_count_p_value(counts, 8, 0.5) == pytest.approx(expected, rel=1e-6)
    fair = np.random.default_rng(0).binomial(8, 0.5, size=30)
    assert modal_count_p_value(fair, 8, 0.5) > 0.01


@pytest.mark.parametrize("counts", [np.full(60, 50), np.tile([20, 80], 30)])
def test_counts_that_spread_too_little_or_too_much_are_seen(counts: NDArray[np.int64]) -> None:
    assert spread_p_value(counts, 100, 0.5) < 1e-9
    fair = np.random.default_rng(0).binomial(100, 0.5, size=60)
    assert spread_p_value(fair, 100, 0.5) > 0.01


@pytest.mark.parametrize("q", [0.3, 0.5])
def test_masks_that_agree_too_often_or_too_seldom_are_seen(q: float) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 2000)) < q
    assert agreement_p_value(first, second, q) > 0.01
    assert agreement_p_value(first, first, q) < 1e-9
    assert agreement_p_value(first, ~first, q) < 1e-9
    agreements = int((first == second).sum())
    chance = q**2 + (1 - q) ** 2
    assert agreement_p_value(first, second, q) == binomial_p_value(agreements, 2000, chance)


@pytest.mark.parametrize("test", [extremes_p_value, modal_count_p_value, spread_p_value])
def test_nothing_seen_is_no_evidence(test: Callable[..., float]) -> None:
    assert test(np.array([], dtype=np.int64), 5, 0.5) == 1
    assert test(np.zeros(4, dtype=np.int64), 0, 0.5) == 1
    assert agreement_p_value(np.array([], dtype=bool), np.array([], dtype=bool), 0.5) == 1


# Self-resemblance.


def similarity(signs: NDArray[np.int64]) -> dict[int, int]:
    """|Σ sᵢ sᵢ₊ₗ| by lag, and by -(c + 1) for the mirror image about c / 2, pair by pair."""
    n = len(signs)
    found = {
        lag: abs(sum(signs[i] * signs[i + lag] for i in range(n - lag))) for lag in range(1, n)
    }
    for centre in range(2 * n - 1):
        pairs = ((i, centre - i) for i in range(n) if i < centre - i < n)
        found[-centre - 1] = abs(sum(signs[i] * signs[j] for i, j in pairs))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_the_strongest_lag_is_the_one_that_counting_pairs_finds(seed: int) -> None:
    kept = np.random.default_rng(seed).random(61) < 0.5
    expected = similarity(np.where(kept, 1, -1))
    lag, strength = strongest_lag(kept)
    # The centre of a mirror image meets itself: half a pair.
    assert strength == pytest.approx(expected[lag], abs=0.51)
    assert strength == pytest.approx(max(expected.values()), abs=0.51)


@pytest.mark.parametrize("lag", [1, 7, 33])
def test_a_repeated_mask_is_found_at_its_period(lag: int) -> None:
    kept = np.tile(np.random.default_rng(0).random(lag) < 0.5, 20)
    found, strength = strongest_lag(kept)
    assert found > 0
    assert found % lag == 0
    assert strength == pytest.approx(kept.size - found, abs=1e-2)


def test_a_mirrored_mask_is_found() -> None:
    half = np.random.default_rng(0).random(500) < 0.5
    found, strength = strongest_lag(np.concatenate([half, half[::-1]]))
    assert found == -999 - 1  # about the middle: i and 999 - i
    assert strength == pytest.approx(500, abs=1e-2)


def test_no_fair_mask_of_few_elements_exceeds_the_bound_more_often_than_stated() -> None:
    """All 2^12 masks of 12 elements: the bound holds at the levels that so few can reach."""
    n = 12
    masks = (np.array(bits) for bits in itertools.product((1, -1), repeat=n))
    strengths = [max(similarity_of_all(signs)) for signs in masks]
    for level in (0.5, 0.9):
        exceeding = sum(strength > lag_bound(n, level) for strength in strengths) / 2**n
        assert exceeding <= level


def similarity_of_all(signs: NDArray[np.int64]) -> Iterator[int]:
    yield from np.abs(np.correlate(signs, signs, "full")[len(signs) :])
    yield from np.abs(np.convolve(signs, signs)) // 2


@pytest.mark.parametrize("n", [10, 100, 1000])
def test_the_bound_is_hoeffdings_with_all_lags_and_mirror_images_paid_for(n: int) -> None:
    """Each of at most 3n sums of at most n fair signs exceeds it with at most its share."""
    for false_alarm in (1e-3, FALSE_ALARM):
        bound = lag_bound(n, false_alarm)
        assert 2 * math.exp(-(bound**2) / (2 * n)) * 3 * n == pytest.approx(false_alarm)
        heads = math.ceil((n + bound) / 2)  # of n fair signs, S = 2 heads - n
        tail = math.fsum(pmf(k, n, 0.5) for k in range(heads, n + 1))
        assert 2 * tail * 3 * n <= false_alarm


def test_rounding_of_the_transform_is_far_below_the_bound() -> None:
    kept = np.random.default_rng(0).random(2**17) < 0.5
    _, strength = strongest_lag(kept)
    assert abs(strength - round(2 * strength) / 2) < 0.1
    assert strength < lag_bound(2**17)


# How many elements are needed.


@pytest.mark.parametrize("false_alarm", [FALSE_ALARM, FALSE_ALARM / 4])
@pytest.mark.parametrize("shift", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("probability", [0.15, 0.3, 0.5, 0.7, 0.85])
def test_the_elements_needed_are_enough_and_not_many_more(
    probability: float, shift: float, false_alarm: float
) -> None:
    needed = elements_needed(probability, shift, false_alarm)
    sides = (probability - shift, probability + shift)
    assert max(miss_rate(needed, probability, q, false_alarm) for q in sides) <= MISS
    fewer = needed * 95 // 100
    assert max(miss_rate(fewer, probability, q, false_alarm) for q in sides) > MISS


def test_a_rate_off_by_a_hundredth_at_one_half_needs_over_370_000_elements() -> None:
    assert 370_000 <= elements_needed(0.5, 0.01) <= 375_000
    assert 385_000 <= elements_needed(0.5, 0.01, FALSE_ALARM / 4) <= 390_400


@pytest.mark.parametrize("false_alarm", [1e-9, 0.01, 0.3])
@pytest.mark.parametrize("n", [1, 5, 60])
@pytest.mark.parametrize("actual", [0.2, 0.5, 0.9])
def test_the_miss_rate_is_the_chance_of_every_count_that_passes(
    n: int, actual: float, false_alarm: float
) -> None:
    passing = [k for k in range(n + 1) if two_sided(k, n, 0.5) > false_alarm]
    expected = math.fsum(pmf(k, n, actual) for k in passing)
    assert miss_rate(n, 0.5, actual, false_alarm) == pytest.approx(expected, abs=1e-12)
