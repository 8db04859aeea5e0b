"""Criteria for the mask itself: is each element dropped on its own, freshly, at the right rate?

Tests are exact; each criterion's false-alarm rate is split among the tests that it makes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from dropout_course.checks.dropout.calls import (
    LARGE,
    RATE_SAMPLES,
    RATE_SHIFT,
    REPEATS,
    SMALL,
)
from dropout_course.checks.dropout.evidence import DropoutEvidence, Sample, percent
from dropout_course.checks.judge import Criterion, Failure, Guarantee
from dropout_course.checks.statistics import (
    FALSE_ALARM,
    MISS,
    agreement_p_value,
    binomial_p_value,
    extremes_p_value,
    lag_bound,
    modal_count_p_value,
    spread_p_value,
    strongest_lag,
)

LARGE_SAMPLES = ("large", "images")
LAG_ELEMENTS = 2**17  # of the large call at p = 0.5; more would only cost time
FIRST_LAGS = 16  # calls back that a call is compared with

# The alternatives of the guarantees below, for every p that a plan may draw (0.15 to 0.85): what is
# missed at most once in 1 / MISS. Binary outcomes, so a test computes each by exact tails.
NEIGHBOUR_CORRELATION = 0.07
FAIR_NEIGHBOUR_CORRELATION = 0.03  # at p = 0.5
LAG_CORRELATION = 0.08
CALL_CORRELATION = 0.45
VALUE_SHIFT = 0.03

Mask = NDArray[np.bool_]
Named = tuple[str, str]  # a misconception and what was seen


def _support(evidence: DropoutEvidence) -> Failure | None:
    for sample in evidence.samples((*LARGE_SAMPLES, "again")):
        if sample.one_scale:
            continue
        return Failure(
            sample.called,
            f"elements multiplied by anything from {sample.low:.3g} to {sample.high:.3g}",
            "each element either 0 or multiplied by one and the same number",
            "gaussian-noise" if _many_values(sample) else "scale-varies",
        )
    return None


def _many_values(sample: Sample) -> bool:
    """Whether the multipliers look continuous rather than like a few mixed-up scales."""
    return not 0.02 < sample.drop_rate < 0.98


def _fresh(evidence: DropoutEvidence) -> Failure | None:
    """Calls under different seeds must give different masks.

    Exact: two independent masks of 1536 elements are equal, or each other's complement, with
    probability at most 2 (p² + q²)^1536 < 1e-190 for p in [0.15, 0.85].
    """
    first, second = evidence.samples(("seed_a", "seed_b"))
    again = evidence.sample("again").kept
    if _all_or_nothing(first) and _all_or_nothing(second):
        return None  # no mask to speak of: the rate tells
    repeated = bool((again == again[0]).all()) and not _all_or_nothing(evidence.sample("again"))
    if not np.array_equal(first.kept, second.kept):
        if not repeated:
            return None
        return Failure(
            evidence.called("again"),
            f"the same mask {REPEATS} times",
            "a new mask at every call",
            "reseeded-every-call" if evidence.seen("again").generator_moved else "mask-cached",
        )
    return Failure(
        f"{first.called}, after torch.manual_seed with two different seeds",
        "twice the same mask",
        "two masks that have nothing to do with each other",
        _why_same(evidence, first),
    )


def _all_or_nothing(sample: Sample) -> bool:
    return sample.survivors in (0, sample.size)


def _why_same(evidence: DropoutEvidence, sample: Sample) -> str:
    seen = [evidence.seen(name) for name in ("seed_a", "seed_a_again", "seed_b")]
    if any(one.reseeded for one in seen):
        return "resets-global-seed"
    if seen[0].generator_moved and not seen[2].generator_moved:
        return "mask-cached"
    large = evidence.sample("large")
    looks_random = large.rate_p_value >= FALSE_ALARM and _structure_p_value(large) >= FALSE_ALARM
    return "reseeded-every-call" if looks_random else "deterministic-pattern"


def _structure_p_value(sample: Sample) -> float:
    columns = np.count_nonzero(sample.kept, axis=0).ravel()
    rows = sample.kept.shape[0]
    neighbours = agreement_p_value(
        sample.kept[:, 0:-1:2], sample.kept[:, 1::2], sample.keep_probability
    )
    return min(neighbours, extremes_p_value(columns, rows, sample.keep_probability))


def _follows_seed(evidence: DropoutEvidence) -> Failure | None:
    first, again = evidence.samples(("seed_a", "seed_a_again"))
    seen = evidence.seen("seed_a")
    expected = "the same mask both times"
    if evidence.seen("seed_a").reseeded or evidence.seen("large").reseeded:
        return Failure(
            first.called,
            "torch's global seed was changed by the call",
            "the seed left alone: only numbers are drawn from it",
            "resets-global-seed",
        )
    if np.array_equal(first.kept, again.kept):
        return None
    others = " and ".join(seen.other_generators) or "another generator"
    return Failure(
        f"{first.called}, twice after torch.manual_seed with the same seed",
        f"two different masks (random numbers came from {others})",
        expected,
        "uses-another-generator",
    )


def _shared(evidence: DropoutEvidence) -> Failure | None:
    """Elements next to each other along every dimension agree by chance only (2-D, 4-D, 3-D)."""
    samples = evidence.samples((*LARGE_SAMPLES, "again"))
    axes = [(s, axis) for s in samples for axis in range(_batch_axis(s), s.kept.ndim)]
    for sample, axis in axes:
        first, second = _pairs(sample.kept, axis)
        if len(axes) * agreement_p_value(first, second, sample.keep_probability) < FALSE_ALARM:
            name, seen = _name_shared(sample, axis, float((first == second).mean()))
            return Failure(
                sample.called, seen, "one independent draw for every single element", name
            )
    return None


def _batch_axis(sample: Sample) -> int:
    """Repeated calls are stacked along a dimension before the batch."""
    return int(sample.name == "again")


def _pairs(kept: Mask, axis: int) -> tuple[Mask, Mask]:
    """Split into disjoint pairs of neighbours along an axis."""
    along = np.moveaxis(kept, axis, 0)
    even = len(along) // 2 * 2
    return along[0:even:2], along[1:even:2]


def _constant_along(kept: Mask, axes: tuple[int, ...]) -> bool:
    return bool((kept.all(axis=axes) | ~kept.any(axis=axes)).all())


def _name_shared(sample: Sample, axis: int, agreement: float) -> Named:
    kept, batch = sample.kept, _batch_axis(sample)
    sizes = kept.shape[batch:]
    if _constant_along(kept, tuple(range(batch + 1, kept.ndim))):
        what = "row" if len(sizes) == 2 else "example"
        return "whole-rows-dropped", f"every {what} kept or dropped as a whole"
    if _constant_along(kept, (batch,)):
        return "mask-shared-across-batch", f"the same mask for all {sizes[0]} examples"
    if len(sizes) == 4 and _constant_along(kept, (2, 3)):
        return "whole-channels-dropped", "every channel kept or dropped as a whole"
    if len(sizes) == 4 and _constant_along(kept, (1,)):
        return "mask-shared-across-channels", f"the same mask for all {sizes[1]} channels"
    if _constant_along(kept, (kept.ndim - 1,)):
        return "mask-shared-across-features", "the same draw for all elements of the last dimension"
    chance = sample.keep_probability**2 + (1.0 - sample.keep_probability) ** 2
    return (
        "neighbours-correlated",
        f"neighbours along dimension {axis - batch} share their fate in {percent(agreement)} of"
        f" the pairs (independent ones: {percent(chance)})",
    )


def _patterns(evidence: DropoutEvidence) -> Failure | None:
    """No mask repeats, mirrors or complements itself at a distance."""
    large, images = evidence.samples(LARGE_SAMPLES)
    expected = "no element that tells anything about another"
    for sample in (large, images):
        flat = sample.kept.ravel()
        half = flat.size // 2
        for second, how in ((flat[half : 2 * half], "repeats"), (flat[::-1][:half], "mirrors")):
            if 5 * agreement_p_value(flat[:half], second, sample.keep_probability) < FALSE_ALARM:
                return Failure(
                    sample.called,
                    f"the second half of the mask {how} the first or its complement: they agree in"
                    f" {percent(float((flat[:half] == second).mean()))} of the elements",
                    expected,
                    "neighbours-correlated",
                )
    if large.rate_p_value < FALSE_ALARM:
        return None  # the bound holds at p = 1/2 only; a wrong rate has its own criterion
    lag, strength = strongest_lag(large.kept.ravel()[:LAG_ELEMENTS])
    # A fifth of the criterion's false alarms: four half-against-half tests have the rest.
    if strength <= lag_bound(LAG_ELEMENTS, FALSE_ALARM / 5):
        return None
    how = f"elements {lag} apart" if lag > 0 else "elements mirrored about a point"
    return Failure(
        large.called,
        f"{how} share their fate, or its opposite, too often"
        f" (correlation {strength / LAG_ELEMENTS:.2g})",
        expected,
        "neighbours-correlated",
    )


def _places(evidence: DropoutEvidence) -> Failure | None:
    """Every position, and every input value, is dropped as often as any other."""
    groups: list[tuple[Sample, str, NDArray[np.int64], int]] = []
    for sample in evidence.samples(LARGE_SAMPLES):
        for axis in range(sample.kept.ndim):
            others = tuple(i for i in range(sample.kept.ndim) if i != axis)
            counts = np.count_nonzero(sample.kept, axis=others)
            groups.append((sample, f"dimension {axis}", counts, sample.size // counts.size))
    again = evidence.sample("again")
    groups.append((again, "position", np.count_nonzero(again.kept, axis=0).ravel(), REPEATS))
    tests = len(groups) + 1
    for sample, what, counts, trials in groups:
        if tests * extremes_p_value(counts, trials, sample.keep_probability) < FALSE_ALARM:
            worst = int(np.abs(counts - trials * sample.keep_probability).argmax())
            return Failure(
                sample.called,
                f"at {what} index {worst}, {percent(1 - counts[worst] / trials)} were dropped",
                f"{percent(1 - sample.keep_probability)} dropped everywhere, by chance a little"
                " more or less",
                "depends-on-position",
            )
    return _input_values(evidence, tests)


def _input_values(evidence: DropoutEvidence, tests: int) -> Failure | None:
    sample = evidence.sample("large")
    values = np.unique(sample.x[0])  # few, and all of them among the first 610 elements
    for value in values:
        here = sample.x == value
        trials, kept = int(np.count_nonzero(here)), int(np.count_nonzero(here & sample.kept))
        p_value = binomial_p_value(kept, trials, sample.keep_probability)
        if tests * len(values) * p_value < FALSE_ALARM:
            return Failure(
                sample.called,
                f"inputs of {value:.3g} were dropped in {percent(1 - kept / trials)} of the cases",
                "the same rate whatever the input's value",
                "depends-on-input",
            )
    return None


def _independent_calls(evidence: DropoutEvidence) -> Failure | None:
    """A call's mask tells nothing about the masks of the calls after it."""
    sample = evidence.sample("again")
    masks = sample.kept.reshape(REPEATS, -1)
    q = sample.keep_probability
    lags = range(1, FIRST_LAGS + 1)
    for lag in lags:
        # Calls i and i + lag, each call used once: disjoint, so the test stays exact.
        firsts = [i for i in range(REPEATS - lag) if (i // lag) % 2 == 0]
        first, second = masks[firsts], masks[[i + lag for i in firsts]]
        if len(lags) * agreement_p_value(first, second, q) < FALSE_ALARM:
            share = float((first == second).mean())
            return Failure(
                sample.called,
                f"a mask and the one {lag} calls later agree in {percent(share)} of the elements",
                f"{percent(q**2 + (1 - q) ** 2)}, as independent masks do",
                "mask-cached",
            )
    return None


def _counts(evidence: DropoutEvidence) -> Failure | None:
    """The number of survivors varies as a binomial number does, by call and by row."""
    again, large = evidence.sample("again"), evidence.sample("large")
    calls = np.count_nonzero(again.kept.reshape(REPEATS, -1), axis=1)
    rows = np.count_nonzero(again.kept.reshape(-1, SMALL[-1]), axis=1)
    wide = np.count_nonzero(large.kept, axis=1)
    columns = np.count_nonzero(large.kept, axis=0)
    groups = (
        (again, "call", calls, math.prod(SMALL)),
        (again, "row", rows, SMALL[-1]),
        (large, "row", wide, large.kept.shape[1]),
        (large, "column", columns, large.kept.shape[0]),
    )
    tests = 2 * len(groups)
    for sample, what, counts, trials in groups:
        q = sample.keep_probability
        balanced = modal_count_p_value(counts, trials, q)
        spread = spread_p_value(counts, trials, q)
        if tests * min(balanced, spread) < FALSE_ALARM:
            return _counts_failure(sample, what, counts, trials, q)
    return None


def _counts_failure(
    sample: Sample, what: str, counts: NDArray[np.int64], trials: int, q: float
) -> Failure:
    deviation, fair = float(counts.std()), float(np.sqrt(trials * q * (1 - q)))
    exact = deviation < fair
    return Failure(
        sample.called,
        f"the survivors of a {what} of {trials} number {counts.min()} to {counts.max()}"
        f" (standard deviation {deviation:.2f})",
        f"a standard deviation of about {fair:.2f}: the count itself is random",
        "exact-count" if exact else "neighbours-correlated",
    )


def _rate(evidence: DropoutEvidence) -> Failure | None:
    samples = evidence.samples(RATE_SAMPLES)
    wrong = [s for s in samples if len(samples) * s.rate_p_value < FALSE_ALARM]
    if not wrong:
        return None
    # The call whose rate is furthest off says most.
    worst = max(wrong, key=lambda s: abs(s.drop_rate - s.p))
    return Failure(
        worst.called,
        f"{percent(worst.drop_rate)} of {worst.size:,} elements dropped",
        f"{percent(worst.p)} dropped",
        _name_rate(samples),
    )


def _name_rate(samples: Iterable[Sample]) -> str:
    beliefs: dict[str, Callable[[float], float]] = {
        "never-drops": lambda p: 0.0,
        "p-read-as-keep": lambda p: 1.0 - p,
        "ignores-p": lambda p: 0.5,
        "drops-everything": lambda p: 1.0,
    }
    samples = list(samples)
    for name, believed in beliefs.items():
        if all(_fits(sample, believed(sample.p)) for sample in samples):
            return name
    return "rate-off"


def _fits(sample: Sample, rate: float) -> bool:
    return binomial_p_value(sample.survivors, sample.size, 1.0 - rate) >= FALSE_ALARM


MASK_CRITERIA: tuple[Criterion[DropoutEvidence], ...] = (
    Criterion(
        "support",
        "an element is either dropped or multiplied by one common number",
        "Dropout multiplies by a 0/1 mask: noise of another kind regularises differently",
        _support,
    ),
    Criterion(
        "fresh",
        "every call draws a new mask",
        "Every training step must meet another subnetwork, or one fixed part of the net is trained",
        _fresh,
    ),
    Criterion(
        "seed",
        "the mask follows torch.manual_seed, and the seed is left alone",
        "Runs are repeated with torch.manual_seed, and other code draws from the same generator",
        _follows_seed,
    ),
    Criterion(
        "independent-elements",
        "every element has a draw of its own (batch, channels, features)",
        "Units that always go together can still rely on each other",
        _shared,
        Guarantee(
            "exact binomial tests of agreeing neighbours, nine of them (Bonferroni)",
            FALSE_ALARM,
            f"a correlation of {NEIGHBOUR_CORRELATION} between neighbours along any dimension"
            f" ({FAIR_NEIGHBOUR_CORRELATION} at p = 0.5)",
            MISS,
        ),
    ),
    Criterion(
        "no-pattern",
        "no element tells anything about another at any distance",
        "A repeating mask trains far fewer subnetworks than there are",
        _patterns,
        Guarantee(
            "Hoeffding's bound over all lags and mirror images of 131,072 elements at p = 0.5;"
            " exact binomial tests of half against half",
            FALSE_ALARM,
            f"a correlation of {LAG_CORRELATION} at one lag up to 65,536, or between the halves",
            MISS,
        ),
    ),
    Criterion(
        "every-place",
        "no position and no input value is dropped more often than another",
        "The draw must know nothing of the unit: neither where it is nor what it says",
        _places,
        Guarantee(
            "exact binomial tests of the extreme counts by index and by input value (Bonferroni)",
            FALSE_ALARM,
            "one position that is never dropped, or always; a value of the input whose rate is off"
            f" by {VALUE_SHIFT}",
            MISS,
        ),
    ),
    Criterion(
        "independent-calls",
        "a mask tells nothing about the masks of later calls",
        "Reused masks train a handful of subnetworks instead of a new one at every step",
        _independent_calls,
        Guarantee(
            f"exact binomial tests of agreement 1 to {FIRST_LAGS} calls apart (Bonferroni)",
            FALSE_ALARM,
            f"a correlation of {CALL_CORRELATION} between calls up to {FIRST_LAGS} apart",
            MISS,
        ),
    ),
    Criterion(
        "binomial-count",
        "the number of dropped elements is itself random",
        "Independent draws give a count that varies: dropping exactly k ties elements together",
        _counts,
        Guarantee(
            "exact binomial tests of the most frequent count and of the spread of counts",
            FALSE_ALARM,
            "exactly k dropped in every call, row or column",
            MISS,
        ),
    ),
    Criterion(
        "rate",
        f"elements are dropped with probability p (an error of {RATE_SHIFT} would be seen)",
        "p is the probability of dropping; the scale that undoes it is computed from the same p",
        _rate,
        Guarantee(
            f"exact two-sided binomial tests, {len(RATE_SAMPLES)} of them (Bonferroni)",
            FALSE_ALARM,
            f"a rate that is off by {RATE_SHIFT} (at p = 0.5 that needs about"
            f" {math.prod(LARGE):,} elements)",
            MISS,
        ),
    ),
)
