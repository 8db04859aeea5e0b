"""What the subnetwork explorer computes: every mask of a small network, one prediction each.

Plain data and functions, without widgets.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dropout_course.widgets.scale import softmax

SIZES = {1: (3, 6, 2), 2: (3, 3, 3, 2)}  # six hidden units either way
MASKS = 2**6
P_RANGE = (0.1, 0.9)
EXACT = 1e-9  # differences below are rounding
# Weights for which no ReLU makes the comparison trivial; with two layers the means are far apart.
_SEEDS = {1: 0, 2: 7}

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SubnetSetting:
    """Where the explorer's controls stand; step counts subnetworks from 1 to MASKS."""

    step: int = 1
    p: float = 0.5
    hidden_layers: int = 1


@dataclass(frozen=True)
class SubnetView:
    """mask [6]: the units that are on in this step. predictions, arithmetic, geometric [step]: the
    probability of class A by each subnetwork so far, and both means so far, weighted by the masks'
    probabilities. all_arithmetic, all_geometric: the means over all masks."""

    setting: SubnetSetting
    mask: Array
    probability: float
    predictions: Array
    arithmetic: Array
    geometric: Array
    all_arithmetic: float
    all_geometric: float
    weight_scaling: float

    @property
    def sizes(self) -> tuple[int, ...]:
        return SIZES[self.setting.hidden_layers]

    @property
    def finding(self) -> str:
        """What the numbers say."""
        step, scaled = self.setting.step, self.weight_scaling
        if step < MASKS:
            return (
                f"Subnetwork {step} of {MASKS} says {self.predictions[-1]:.3f} for class A. "
                f"Arithmetic mean so far: {self.arithmetic[-1]:.3f}; "
                f"weight scaling, in one pass: {scaled:.3f}."
            )
        equal = abs(self.all_geometric - scaled) < EXACT
        return (
            f"All {MASKS}: weight scaling, {scaled:.3f}, "
            f"{'is exactly' if equal else 'is not'} the geometric mean, {self.all_geometric:.3f}; "
            f"the arithmetic mean is {self.all_arithmetic:.3f}."
        )


def clamped(setting: SubnetSetting) -> tuple[SubnetSetting, str]:
    """The nearest setting that can be shown, and a sentence if it is another one."""
    try:
        wanted = (int(setting.step), float(setting.p), int(setting.hidden_layers))
    except (TypeError, ValueError, OverflowError):
        return SubnetSetting(), "The settings are not all numbers: shown with the usual ones."
    p = wanted[1] if not np.isnan(wanted[1]) else 0.5
    nearest = (
        min(max(wanted[0], 1), MASKS),
        min(max(p, P_RANGE[0]), P_RANGE[1]),
        min(max(wanted[2], 1), 2),
    )
    notes = [
        f"{name} = {given} cannot be shown: shown with {shown:g}."
        for name, given, shown in zip(
            ("step", "p", "hidden_layers"),
            (setting.step, setting.p, setting.hidden_layers),
            nearest,
            strict=True,
        )
        if given != shown
    ]
    return SubnetSetting(*nearest), " ".join(notes)


def subnet_view(setting: SubnetSetting) -> SubnetView:
    """The subnetworks up to the set step, and the means over them."""
    keep = 1 - setting.p
    masks = all_masks()
    probabilities = np.where(masks == 1, keep, setting.p).prod(axis=1)
    predictions = _predict(setting.hidden_layers, masks / keep)
    every = [_means(predictions, probabilities, end) for end in range(1, MASKS + 1)]
    arithmetic, geometric = (np.array(values) for values in zip(*every, strict=True))
    step = setting.step
    return SubnetView(
        setting,
        masks[step - 1],
        float(probabilities[step - 1]),
        predictions[:step, 0],
        arithmetic[:step],
        geometric[:step],
        float(arithmetic[-1]),
        float(geometric[-1]),
        float(_predict(setting.hidden_layers, np.ones((1, masks.shape[1])))[0, 0]),
    )


@cache
def all_masks() -> Array:
    """All masks of six units [MASKS, 6], in a mixed order, so that the means settle early."""
    masks = np.array(list(itertools.product((0.0, 1.0), repeat=6)))
    return np.asarray(masks[np.random.default_rng(3).permutation(MASKS)])


def _means(predictions: Array, probabilities: Array, end: int) -> tuple[float, float]:
    """Arithmetic and renormalised geometric mean of the first `end` predictions, for class A."""
    weights = probabilities[:end] / probabilities[:end].sum()
    arithmetic = weights @ predictions[:end]
    geometric = np.exp(weights @ np.log(predictions[:end]))
    return float(arithmetic[0]), float(geometric[0] / geometric.sum())


def _predict(hidden_layers: int, factors: Array) -> Array:
    """Probabilities [masks, 2] with hidden units multiplied by `factors` [masks, 6]."""
    weights, x = _network(hidden_layers)
    signals = np.tile(x, (len(factors), 1))
    first = 0
    for matrix in weights[:-1]:
        last = first + len(matrix)
        signals = np.maximum(signals @ matrix.T, 0) * factors[:, first:last]
        first = last
    return np.array([softmax(logits) for logits in signals @ weights[-1].T])


@cache
def _network(hidden_layers: int) -> tuple[list[Array], Array]:
    rng = np.random.default_rng(_SEEDS[hidden_layers])
    sizes = SIZES[hidden_layers]
    weights = [rng.normal(0, 1.2, (after, before)) for before, after in itertools.pairwise(sizes)]
    return weights, np.array([1.0, 0.6, -0.8])
