"""Criteria for the mask itself: is each element dropped on its own, freshly, at the right rate?

Tests are exact; each criterion's false-alarm rate is split among the tests that it makes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial

import numpy as np
import torch
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
from dropout_course.checks.misconceptions import DROP_RATES, Formula, explanations
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

LARGE_SAMPLES = ("images", "large")
LAG_ELEMENTS = 2**16  # of the large call at p = 0.5; more would only cost time
LONGEST_LAG = LAG_ELEMENTS // 4  # up to which the stated correlation is sure to be seen
NEEDLE = 256  # elements that must not come again in the same call
PLACE_LEVEL = 0.9 * FALSE_ALARM  # of every-place, for places; its tests of values have the rest
HINT = 5.0  # standard errors that make a hint
LAGS = REPEATS - 1  # calls back that a call is compared with

# The alternatives of the guarantees below, for every p that a plan may draw (0.15 to 0.85): what is
# missed at most once in 1 / MISS. Binary outcomes, so a test computes each by exact tails.
NEIGHBOUR_CORRELATION = 0.07
FAIR_NEIGHBOUR_CORRELATION = 0.03  # at p = 0.5
LAG_CORRELATION = 0.08
NEAR_CALLS = 16
CALL_CORRELATION = 0.48  # between calls up to so far apart
FAR_CALLS = 150  # the same mask, or its complement, again
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
            _name_multipliers(evidence, sample),
        )
    return None


def _name_multipliers(evidence: DropoutEvidence, sample: Sample) -> str:
    multipliers = evidence.multipliers(sample.name)
    # Divided by the share that survived, each call or each row has the mean 1 exactly.
    for size in (math.prod(multipliers.shape[1:]), multipliers.shape[-1]):
        means = multipliers.reshape(-1, size).mean(axis=1)
        if sample.drop_rate > 0 and bool(np.all(np.abs(means[means != 0] - 1.0) < 1e-3)):
            return "scaled-by-survivor-count"
    few = multipliers.ravel()[:4096]
    distinct = np.unique(np.round(few[few != 0], 3)).size
    return "gaussian-noise" if distinct > 32 else "scale-varies"


def _fresh(evidence: DropoutEvidence) -> Failure | None:
    """Calls under different seeds must give different masks.

    Exact: two independent masks of 1536 elements are equal with probability at most
    (p² + q²)^1536 < 1e-190 for p in [0.15, 0.85]; so are 200 masks of 32 elements.
    """
    first, second = evidence.samples(("seed_a", "seed_b"))
    again = evidence.sample("again")
    if _all_or_nothing(first) and _all_or_nothing(second):
        return None  # no mask to speak of: the rate tells
    expected = "masks that have nothing to do with each other"
    if np.array_equal(first.kept, second.kept):
        name, *also = _why_same(evidence, first)
        return Failure(
            f"{first.called}, after torch.manual_seed with two different seeds",
            "twice the same mask",
            f"two {expected}",
            name,
            also=tuple(also),
        )
    if _all_or_nothing(again) or not bool((again.kept == again.kept[0]).all()):
        return None
    # Seeds matter, and yet the calls of one seed are alike: each starts from it again, or the mask
    # is kept for a while.
    moved = evidence.seen("again").generator_moved
    return Failure(
        again.called,
        f"the same mask {REPEATS} times",
        f"{REPEATS} {expected}",
        "mask-cached" if moved else "reseeded-every-call",
        also=("reseeded-every-call",) if moved else (),
    )


def _all_or_nothing(sample: Sample) -> bool:
    return sample.survivors in (0, sample.size)


def _why_same(evidence: DropoutEvidence, sample: Sample) -> tuple[str, ...]:
    seen = [evidence.seen(name) for name in ("seed_a", "seed_a_again", "seed_b")]
    if any(one.reseeded for one in seen):
        return ("resets-global-seed",)
    if all(_all_alike(sample.kept[sample.x == value]) for value in np.unique(sample.x)):
        return ("depends-on-input",)
    if seen[0].generator_moved and not seen[2].generator_moved:
        return ("mask-cached",)
    large = evidence.sample("large")
    if large.rate_p_value < FALSE_ALARM or _structure_p_value(large) < FALSE_ALARM:
        return ("deterministic-pattern",)
    # A mask drawn long ago and one drawn anew from a fixed seed cannot be told apart from outside.
    return "reseeded-every-call", "mask-cached"


def _all_alike(kept: Mask) -> bool:
    return bool(kept.all() or not kept.any())


def _structure_p_value(sample: Sample) -> float:
    columns = np.count_nonzero(sample.kept, axis=0).ravel()
    rows = sample.kept.shape[0]
    neighbours = agreement_p_value(
        sample.kept[:, 0:-1:2], sample.kept[:, 1::2], sample.keep_probability
    )
    return min(neighbours, extremes_p_value(columns, rows, sample.keep_probability))


def _independent_calls(evidence: DropoutEvidence) -> Failure | None:
    """A call's mask tells nothing about the masks of the calls after it."""
    sample = evidence.sample("again")
    masks = sample.kept.reshape(REPEATS, -1)
    q = sample.keep_probability
    agree = q**2 + (1.0 - q) ** 2
    # By torch, which keeps to one thread here; NumPy's would wait for each other on a busy machine.
    signs = torch.from_numpy(masks).to(torch.float32) * 2.0 - 1.0
    agreements = ((masks.shape[1] + signs @ signs.T) / 2.0).numpy()
    pairs, starts, numbers = _calls_apart()
    agreed = np.rint(np.add.reduceat(agreements.ravel()[pairs], starts)).astype(np.int64)
    trials = numbers * masks.shape[1]
    # The one that stands out most is tested, at the level that testing all of them would have.
    worst = int((np.abs(agreed - agree * trials) / np.sqrt(trials)).argmax())
    p_value = binomial_p_value(int(agreed[worst]), int(trials[worst]), agree)
    if LAGS * p_value >= FALSE_ALARM:
        return None
    share = agreed[worst] / trials[worst]
    # The same x goes into all calls. Where places, or values at them, are dropped at rates of
    # their own, calls agree for that reason alone.
    rates = np.count_nonzero(sample.kept, axis=0) / REPEATS
    by_places = float((rates**2 + (1.0 - rates) ** 2).mean())
    error = math.sqrt(by_places * (1.0 - by_places) / trials[worst])
    if agree < share <= by_places + HINT * error:
        return _input_values(evidence) or _worst_place(evidence)
    return Failure(
        sample.called,
        f"a mask and the one {worst + 1} calls later agree in {percent(share)} of the elements",
        f"{percent(agree)}, as independent masks do",
        "mask-cached" if share == 1.0 else "calls-correlated",
    )


@lru_cache(maxsize=1)
def _calls_apart() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of calls i and i + lag, lag by lag: their places in a matrix of calls by calls, where
    each lag starts, and how many pairs it has. Each call is used once at a lag: disjoint, so that
    a test stays exact."""
    pairs = []
    for lag in range(1, LAGS + 1):
        firsts = np.arange(REPEATS - lag)
        firsts = firsts[(firsts // lag) % 2 == 0]
        pairs.append(firsts * REPEATS + firsts + lag)
    numbers = np.array([len(each) for each in pairs])
    starts = np.concatenate([[0], np.cumsum(numbers)[:-1]])
    return np.concatenate(pairs), starts, numbers


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


def _own_draws(evidence: DropoutEvidence) -> Failure | None:
    """No dimension shares one draw (4-D, 2-D, 3-D).

    Exact: along a dimension of length n >= 2, m >= 24 fair draws are each alike with probability
    (p^n + q^n)^m at most: for p in [0.15, 0.85] below 1e-14 in the large calls (n >= 12), and below
    1e-200 in the small ones (m >= 1600).
    """
    for sample in evidence.samples((*LARGE_SAMPLES, "again")):
        shared = None if _all_or_nothing(sample) else _name_shared(sample)
        if shared is not None:
            name, seen = shared
            return Failure(
                sample.called, seen, "one independent draw for every single element", name
            )
    return None


def _batch_axis(sample: Sample) -> int:
    """Repeated calls are stacked along a dimension before the batch."""
    return int(sample.name == "again")


def _name_shared(sample: Sample) -> Named | None:
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
    return None


def _constant_along(kept: Mask, axes: tuple[int, ...]) -> bool:
    # Two neighbours say at once that most masks are not; only then is the whole one looked at.
    ends = kept[tuple(slice(0, 2) if axis in axes else slice(None) for axis in range(kept.ndim))]
    return all(bool((part.all(axis=axes) | ~part.any(axis=axes)).all()) for part in (ends, kept))


def _places(evidence: DropoutEvidence) -> Failure | None:
    """Every position, in many calls, and every input value is dropped as often as any other."""
    failure = _input_values(evidence)
    if failure is not None:
        return failure
    again, large = evidence.sample("again"), evidence.samples(LARGE_SAMPLES)
    counts = np.count_nonzero(again.kept, axis=0).ravel()
    tests = 1 + again.kept.ndim - 1 + sum(sample.kept.ndim for sample in large)
    if tests * extremes_p_value(counts, REPEATS, again.keep_probability) < PLACE_LEVEL:
        return _place_failure(again, "position", counts, REPEATS)
    if _hint_of_places(evidence):
        for sample, what, counts, trials in _index_counts((again, *large)):
            if tests * extremes_p_value(counts, trials, sample.keep_probability) < PLACE_LEVEL:
                return _place_failure(sample, what, counts, trials)
    return None


def _hint_of_places(evidence: DropoutEvidence) -> bool:
    """Whether the small calls hint at an index that is special in call after call.

    One call cannot tell such an index from elements that depend on each other; many can, since
    their spread is known. The hint chooses between two names, never between right and wrong.
    """
    kept = evidence.sample("again").kept
    q = evidence.sample("again").keep_probability
    for axis in range(1, kept.ndim):
        others = tuple(i for i in range(1, kept.ndim) if i != axis)
        shares = kept.mean(axis=others)
        deviation = np.abs(shares.mean(axis=0) - q)
        if bool((deviation > HINT * shares.std(axis=0) / math.sqrt(REPEATS)).any()):
            return True
    return False


def _index_counts(
    samples: Sequence[Sample],
) -> Iterator[tuple[Sample, str, NDArray[np.int64], int]]:
    for sample in samples:
        for axis in range(_batch_axis(sample), sample.kept.ndim):
            others = tuple(i for i in range(sample.kept.ndim) if i != axis)
            counts = np.count_nonzero(sample.kept, axis=others)
            dimension = f"dimension {axis - _batch_axis(sample)}"
            yield sample, dimension, counts, sample.size // counts.size


def _place_failure(sample: Sample, what: str, counts: NDArray[np.int64], trials: int) -> Failure:
    worst = int(np.abs(counts - trials * sample.keep_probability).argmax())
    return Failure(
        sample.called,
        f"at {what} index {worst}, {percent(1 - counts[worst] / trials)} were dropped",
        f"{percent(1 - sample.keep_probability)} dropped everywhere, by chance a little more or"
        " less",
        "depends-on-position",
    )


def _worst_place(evidence: DropoutEvidence) -> Failure:
    again = evidence.sample("again")
    return _place_failure(again, "position", np.count_nonzero(again.kept, axis=0).ravel(), REPEATS)


def _input_values(evidence: DropoutEvidence) -> Failure | None:
    sample = evidence.sample("large")
    values = np.unique(sample.x[0])  # few, and all of them among the first 610 elements
    for value in values:
        here = sample.x == value
        trials, kept = int(np.count_nonzero(here)), int(np.count_nonzero(here & sample.kept))
        p_value = binomial_p_value(kept, trials, sample.keep_probability)
        if len(values) * p_value < FALSE_ALARM - PLACE_LEVEL:
            return Failure(
                sample.called,
                f"inputs of {value:.3g} were dropped in {percent(1 - kept / trials)} of the cases",
                "the same rate whatever the input's value",
                "depends-on-input",
            )
    return None


def _patterns(evidence: DropoutEvidence) -> Failure | None:
    """No mask repeats, mirrors or complements itself at a distance."""
    expected = "no element that tells anything about another"
    for sample in evidence.samples(LARGE_SAMPLES):
        flat = sample.kept.ravel()
        half = flat.size // 2
        for second, how in ((flat[half : 2 * half], "repeats"), (flat[::-1][:half], "mirrors")):
            q = sample.keep_probability
            if 5 * agreement_p_value(flat[:half], second, q) < FALSE_ALARM:
                share = float((flat[:half] == second).mean())
                if abs(share - q**2 - (1 - q) ** 2) < 0.1 and _counts(evidence) is not None:
                    continue  # a little balance is the mark of counts that never vary
                return Failure(
                    sample.called,
                    f"the second half of the mask {how} the first or its complement: they agree in"
                    f" {percent(share)} of the elements",
                    expected,
                    _name_dependence(evidence),
                )
    large = evidence.sample("large")
    flat = large.kept.ravel()
    # A fair mask repeats its beginning at a given place with probability 2^-256.
    found = flat.tobytes().find(flat[:NEEDLE].tobytes(), 1)
    if found > 0 and not _all_alike(flat[:NEEDLE]):
        seen = f"the first {NEEDLE} elements come again, one by one, {found:,} elements later"
        return Failure(large.called, seen, expected, "neighbours-correlated")
    if large.rate_p_value < FALSE_ALARM:
        return None  # the bound holds at p = 1/2 only; a wrong rate has its own criterion
    lag, strength = strongest_lag(flat[:LAG_ELEMENTS])
    # A fifth of the criterion's false alarms: four half-against-half tests have the rest.
    if strength <= lag_bound(LAG_ELEMENTS, FALSE_ALARM / 5):
        return None
    how = f"elements {lag} apart" if lag > 0 else "elements mirrored about a point"
    return Failure(
        large.called,
        f"{how} share their fate, or its opposite, too often"
        f" (correlation {strength / LAG_ELEMENTS:.2g})",
        expected,
        _name_dependence(evidence),
    )


def _name_dependence(evidence: DropoutEvidence) -> str:
    return "depends-on-position" if _hint_of_places(evidence) else "neighbours-correlated"


Group = tuple[Sample, str, NDArray[np.int64], int]  # counts of survivors, each of so many elements


def _groups(evidence: DropoutEvidence) -> tuple[Group, ...]:
    again, large = evidence.sample("again"), evidence.sample("large")
    calls = np.count_nonzero(again.kept.reshape(REPEATS, -1), axis=1)
    rows = np.count_nonzero(again.kept.reshape(-1, SMALL[-1]), axis=1)
    return (
        (again, "call", calls, math.prod(SMALL)),
        (again, "row", rows, SMALL[-1]),
        (large, "row", np.count_nonzero(large.kept, axis=1), large.kept.shape[1]),
        (large, "column", np.count_nonzero(large.kept, axis=0), large.kept.shape[0]),
    )


def _counts(evidence: DropoutEvidence) -> Failure | None:
    """The number of survivors varies, by call, by row and by column."""
    groups = _groups(evidence)
    for sample, what, counts, trials in groups:
        q = sample.keep_probability
        if len(groups) * modal_count_p_value(counts, trials, q) < FALSE_ALARM:
            fair = float(np.sqrt(trials * q * (1 - q)))
            return Failure(
                sample.called,
                _spread_text(what, counts, trials),
                f"a number that varies, with a standard deviation of about {fair:.2f}",
                "exact-count" if counts.std() < fair / 2 else _name_dependence(evidence),
            )
    return None


def _spread_text(what: str, counts: NDArray[np.int64], trials: int) -> str:
    low, high = int(counts.min()), int(counts.max())
    if low == high:
        return f"exactly {low} of the {trials} elements of every {what} survived"
    return (
        f"{low} to {high} of the {trials} elements of a {what} survived"
        f" (standard deviation {counts.std():.2f})"
    )


def _neighbours(evidence: DropoutEvidence) -> Failure | None:
    """Elements next to each other agree by chance only, along every dimension (4-D, 2-D, 3-D); and
    the number of survivors spreads as that of independent elements does."""
    samples, groups = evidence.samples((*LARGE_SAMPLES, "again")), _groups(evidence)
    axes = [(s, axis) for s in samples for axis in range(_batch_axis(s), s.kept.ndim)]
    tests = len(axes) + len(groups)
    for sample, axis in axes:
        first, second = _pairs(sample.kept, axis)
        if tests * agreement_p_value(first, second, sample.keep_probability) < FALSE_ALARM:
            chance = sample.keep_probability**2 + (1.0 - sample.keep_probability) ** 2
            return Failure(
                sample.called,
                f"neighbours along dimension {axis - _batch_axis(sample)} share their fate in"
                f" {percent(float((first == second).mean()))} of the pairs",
                f"{percent(chance)}, as with independent draws",
                _name_dependence(evidence),
            )
    for sample, what, counts, trials in groups:
        q = sample.keep_probability
        if tests * spread_p_value(counts, trials, q) < FALSE_ALARM:
            fair = float(np.sqrt(trials * q * (1 - q)))
            return Failure(
                sample.called,
                _spread_text(what, counts, trials),
                f"a standard deviation of about {fair:.2f}, as with independent draws",
                _name_dependence(evidence),
            )
    return None


def _pairs(kept: Mask, axis: int) -> tuple[Mask, Mask]:
    """Split into disjoint pairs of neighbours along an axis."""
    along = np.moveaxis(kept, axis, 0)
    even = len(along) // 2 * 2
    return along[0:even:2], along[1:even:2]


def _rate(evidence: DropoutEvidence) -> Failure | None:
    samples = evidence.samples(RATE_SAMPLES)
    wrong = [s for s in samples if len(samples) * s.rate_p_value < FALSE_ALARM]
    if not wrong:
        return None
    # Of the calls at a moderate p, the one whose rate is furthest off says most.
    worst = max(wrong, key=lambda s: (0.15 <= s.p <= 0.85, abs(s.drop_rate - s.p)))
    name, *also = _name_rate(evidence, samples, wrong)
    return Failure(
        worst.called,
        f"{percent(worst.drop_rate)} of {worst.size:,} elements dropped",
        f"{percent(worst.p)} dropped",
        name,
        also=tuple(also),
    )


def _name_rate(
    evidence: DropoutEvidence, samples: Sequence[Sample], wrong: Sequence[Sample]
) -> tuple[str, ...]:
    if [sample.name for sample in wrong] == ["large"]:
        return ("wrong-default",)  # the one call that leaves arguments to their defaults
    if all(sample.name == "training_again" and not sample.drop_rate for sample in wrong):
        return ("mode-read-once",)  # the one instance that was in eval mode before
    found = explanations(DROP_RATES, partial(_explains, samples))
    names = tuple(belief.misconception for belief in found)
    if "never-drops" in names and evidence.drops_at_inference():
        return ("modes-swapped",)
    if "p-read-as-keep" in names and evidence.reads_p_as_keep():
        return ("p-read-as-keep",)
    pooled = sum(s.survivors for s in samples) / sum(s.size for s in samples)
    if not names and _explains(samples, lambda p: 1.0 - pooled):
        return ("ignores-p",)
    return names or ("rate-off",)


def _explains(samples: Sequence[Sample], rate: Formula) -> bool:
    return all(
        binomial_p_value(sample.survivors, sample.size, 1.0 - rate(sample.p)) >= FALSE_ALARM
        for sample in samples
    )


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
        "own-draws",
        "every element has a draw of its own (batch, channels, features)",
        "Units that always go together can still rely on each other",
        _own_draws,
    ),
    Criterion(
        "independent-calls",
        "a mask tells nothing about the masks of later calls",
        "Reused masks train a handful of subnetworks instead of a new one at every step",
        _independent_calls,
        Guarantee(
            f"exact binomial tests of agreement 1 to {LAGS} calls apart (Bonferroni)",
            FALSE_ALARM,
            f"a correlation of {CALL_CORRELATION} between calls up to {NEAR_CALLS} apart; the same"
            f" mask again after at most {FAR_CALLS} calls",
            MISS,
        ),
    ),
    Criterion(
        "seed",
        "the mask follows torch.manual_seed, and the seed is left alone",
        "Runs are repeated with torch.manual_seed, and other code draws from the same generator",
        _follows_seed,
    ),
    Criterion(
        "every-place",
        "no position and no input value is dropped more often than another",
        "The draw must know nothing of the unit: neither where it is nor what it says",
        _places,
        Guarantee(
            "exact binomial tests of the extreme counts by position and by input value"
            " (Bonferroni)",
            FALSE_ALARM,
            "one position that is never dropped, or always; a value of the input whose rate is off"
            f" by {VALUE_SHIFT}",
            MISS,
        ),
    ),
    Criterion(
        "no-pattern",
        "no element tells anything about another at any distance",
        "A repeating mask trains far fewer subnetworks than there are",
        _patterns,
        Guarantee(
            f"Hoeffding's bound over all lags and mirror images of {LAG_ELEMENTS:,} elements at"
            " p = 0.5; an exact search for the beginning of the mask further on;"
            " exact binomial tests of half against half",
            FALSE_ALARM,
            f"a correlation of {LAG_CORRELATION} at one lag up to {LONGEST_LAG:,}, or between the"
            " halves",
            MISS,
        ),
    ),
    Criterion(
        "binomial-count",
        "the number of dropped elements is itself random",
        "Independent draws give a count that varies: dropping exactly k ties elements together",
        _counts,
        Guarantee(
            "exact binomial test of the most frequent count, by call, row and column (Bonferroni)",
            FALSE_ALARM,
            "exactly k dropped in every call, row or column",
            MISS,
        ),
    ),
    Criterion(
        "independent-elements",
        "neighbours are dropped independently of each other",
        "Elements that go together leave the next layer fewer subnetworks than it seems",
        _neighbours,
        Guarantee(
            "exact binomial tests of agreeing neighbours along nine dimensions and of the spread of"
            " four kinds of counts (Bonferroni)",
            FALSE_ALARM,
            f"a correlation of {NEIGHBOUR_CORRELATION} between neighbours along any dimension"
            f" ({FAIR_NEIGHBOUR_CORRELATION} at p = 0.5)",
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
