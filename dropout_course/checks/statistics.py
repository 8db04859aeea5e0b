"""Exact tests for random masks, and how many elements they need. Knows nothing of calls.

Every p-value here is exact or a proven upper bound, so that a criterion that fails below
`FALSE_ALARM` turns a right implementation away at most that often.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, bdtrik, gammaln

FALSE_ALARM = 1e-9  # per criterion: how often a right implementation may fail it
MISS = 1e-9  # per criterion: how often its stated alternative may pass it


def binomial_p_value(successes: int, trials: int, probability: float) -> float:
    """Two-sided exact binomial test: twice the smaller tail, at most 1.

    `probability` in [0, 1]. Doubling the smaller tail keeps the false-alarm rate at the level or
    below for every discrete distribution.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must be between 0 and {trials}, got {successes}")
    if probability in (0.0, 1.0):
        return float(successes == trials * probability)
    lower = bdtr(successes, trials, probability)
    upper = 1.0 if successes == 0 else bdtrc(successes - 1, trials, probability)
    return float(min(1.0, 2.0 * min(lower, upper)))


def extremes_p_value(counts: NDArray[np.int64], trials: int, probability: float) -> float:
    """Whether any of several counts is no Binomial(trials, probability): a Bonferroni bound.

    Only the smallest and the largest can have the smallest p-value.
    """
    if counts.size == 0 or trials == 0:
        return 1.0
    ends = (int(counts.min()), int(counts.max()))
    smallest = min(binomial_p_value(end, trials, probability) for end in ends)
    return min(1.0, counts.size * smallest)


def modal_count_p_value(counts: NDArray[np.int64], trials: int, probability: float) -> float:
    """Whether one count comes too often, as it does when exactly k elements are dropped each time.

    Under the null hypothesis the number of groups with `v` survivors is Binomial(groups, pmf(v));
    the most frequent v is tested against all trials + 1 possible ones (Bonferroni).
    """
    if counts.size < 2 or trials == 0 or probability in (0.0, 1.0):
        return 1.0
    seen = np.bincount(counts, minlength=trials + 1)
    likelihood = np.exp(_log_pmf(np.arange(trials + 1), trials, probability))
    tails = bdtrc(seen - 1.0, counts.size, np.minimum(likelihood, 1.0))
    tails = np.where(seen == 0, 1.0, tails)
    return float(min(1.0, (trials + 1) * np.min(tails)))


def spread_p_value(counts: NDArray[np.int64], trials: int, probability: float) -> float:
    """Whether counts of Binomial(trials, probability) spread too little or too much.

    Exact: the number of counts in a fixed central region (half of the probability, about) is
    itself binomial. Shared draws push counts out of the region, balanced ones into it.
    """
    if counts.size < 2 or trials == 0 or probability in (0.0, 1.0):
        return 1.0
    low = math.ceil(float(bdtrik(0.25, trials, probability)))
    high = max(low, math.floor(float(bdtrik(0.75, trials, probability))))
    below = 0.0 if low == 0 else float(bdtr(low - 1, trials, probability))
    inside = float(bdtr(high, trials, probability)) - below
    hits = int(((counts >= low) & (counts <= high)).sum())
    return binomial_p_value(hits, counts.size, inside)


def agreement_p_value(
    first: NDArray[np.bool_], second: NDArray[np.bool_], probability: float
) -> float:
    """Whether elements that should be independent agree as often as independent ones do.

    `first` and `second` share no element, so the number of agreements is exactly
    Binomial(n, q² + (1 - q)²) for independent Bernoulli(q) elements.
    """
    trials = first.size
    if trials == 0:
        return 1.0
    agree = probability**2 + (1.0 - probability) ** 2
    return binomial_p_value(int((first == second).sum()), trials, agree)


def lag_bound(elements: int, false_alarm: float = FALSE_ALARM) -> float:
    """The largest |Σ sᵢ sᵢ₊ₗ| over all lags (and mirror images) that a fair mask may show.

    For independent fair signs the products at one lag are independent fair signs again, so
    Hoeffding (1963, theorem 2) gives P(|S| ≥ t) ≤ 2 exp(-t² / 2n); a union over n lags and 2n
    mirror images makes it `false_alarm` in all.
    """
    return math.sqrt(2.0 * elements * math.log(2.0 * 3.0 * elements / false_alarm))


def strongest_lag(kept: NDArray[np.bool_]) -> tuple[int, float]:
    """Return the lag at which a mask resembles itself most, and how much: |Σ sᵢ sᵢ₊ₗ|.

    For masks with a fair keep probability (p = 0.5). A negative lag stands for a mirror image.
    All lags at once by a Fourier transform; rounding is far below `lag_bound`.
    """
    signs = np.where(kept.ravel(), np.float32(1.0), np.float32(-1.0))
    size = scipy.fft.next_fast_len(2 * signs.size, real=True)
    spectrum = scipy.fft.rfft(signs, n=size)
    lags = np.abs(scipy.fft.irfft(spectrum * spectrum.conj(), n=size)[1 : signs.size])
    # Mirror images: sᵢ against s(c - i). Each pair is counted twice, the centre once.
    mirror = np.abs(scipy.fft.irfft(spectrum * spectrum, n=size)[: 2 * signs.size - 1]) / 2.0
    best, best_mirror = int(lags.argmax()), int(mirror.argmax())
    if mirror[best_mirror] > lags[best]:
        return -best_mirror - 1, float(mirror[best_mirror])
    return best + 1, float(lags[best])


@lru_cache(maxsize=256)
def elements_needed(
    probability: float, shift: float, false_alarm: float = FALSE_ALARM, miss: float = MISS
) -> int:
    """How many elements a two-sided binomial test needs to see a rate that is off by `shift`.

    Normal approximation with 2 % in hand; a test holds it against the exact tails.
    `probability` in (0, 1), `shift` > 0 with probability ± shift in [0, 1].
    """
    z_alarm, z_miss = _normal_quantile(false_alarm / 2), _normal_quantile(miss)
    nearest = min((probability - shift, probability + shift), key=lambda q: abs(q - 0.5))
    sigma, shifted = (math.sqrt(q * (1.0 - q)) for q in (probability, nearest))
    return math.ceil(1.02 * ((z_alarm * sigma + z_miss * shifted) / shift) ** 2)


def miss_rate(trials: int, probability: float, actual: float, false_alarm: float) -> float:
    """How often the two-sided test at `false_alarm` passes a count of Binomial(trials, actual)."""
    low = _rejected_below(trials, probability, false_alarm)
    high = trials - _rejected_below(trials, 1.0 - probability, false_alarm)
    below = 0.0 if low < 0 else float(bdtr(low, trials, actual))
    return float(bdtr(high - 1, trials, actual)) - below


def _rejected_below(trials: int, probability: float, false_alarm: float) -> int:
    """The largest count that the two-sided test rejects as too small, -1 if there is none."""
    count = int(np.nan_to_num(np.ceil(bdtrik(false_alarm / 2, trials, probability)), nan=0.0))
    while count >= 0 and 2.0 * bdtr(count, trials, probability) > false_alarm:
        count -= 1
    return count


def _log_pmf(k: NDArray[np.int64], n: int, q: float) -> NDArray[np.float64]:
    choose = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
    result: NDArray[np.float64] = choose + k * math.log(q) + (n - k) * math.log1p(-q)
    return result


def _normal_quantile(tail: float) -> float:
    from statistics import NormalDist

    return -NormalDist().inv_cdf(tail)
