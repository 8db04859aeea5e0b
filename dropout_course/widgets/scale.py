"""What the scale explorer computes: activations, logits and confidence by depth, with and without
the scale of standard dropout.

Plain data and functions, without widgets.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dropout_course.figures.look import said

DEPTHS = (1, 6)
LARGEST_P = 0.9
UNITS, CLASSES, MASKS = 64, 6, 100

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ScaleSetting:
    """Where the explorer's controls stand; depth counts hidden layers."""

    depth: int = 3
    p: float = 0.5
    scaled: bool = False


@dataclass(frozen=True)
class ScaleView:
    """Mean activations [depth] and logits [classes] while training (average over masks) and at
    inference as set; confidence is the largest probability."""

    setting: ScaleSetting
    training: Array
    inference: Array
    training_logits: Array
    logits: Array
    scaled_logits: Array

    @property
    def ratio(self) -> float:
        """Logits at inference over those with the scale: (1 - p) ** -depth without it."""
        return float(np.abs(self.logits).sum() / np.abs(self.scaled_logits).sum())

    @property
    def probabilities(self) -> Array:
        return softmax(self.logits)

    @property
    def scaled_probabilities(self) -> Array:
        return softmax(self.scaled_logits)

    @property
    def finding(self) -> str:
        """What the numbers say."""
        setting = self.setting
        confidence, usual = self.probabilities.max(), self.scaled_probabilities.max()
        layers = f"{setting.depth} hidden {'layer' if setting.depth == 1 else 'layers'}"
        if setting.p == 0:
            return "p = 0: nothing is dropped, so the scale is 1 and may as well be missing."
        if setting.scaled:
            return (
                f"Scaled by {1 - setting.p:g} behind each of {layers}: the last layer averages "
                f"{said(self.inference[-1])} at inference and {said(self.training[-1])} in "
                f"training; confidence {confidence:.2f}."
            )
        same = self.logits.argmax() == self.scaled_logits.argmax()
        return (
            f"Not scaled, {layers}: the logits are {said(self.ratio)} times as large. "
            f"{'The same class wins' if same else 'Another class wins'}, with confidence "
            f"{confidence:.2f} instead of {usual:.2f}."
        )


def clamped(setting: ScaleSetting) -> tuple[ScaleSetting, str]:
    """The nearest setting that can be shown, and a sentence if it is another one."""
    notes = []
    try:
        depth = min(max(int(setting.depth), DEPTHS[0]), DEPTHS[1])
        p = float(setting.p)
    except (TypeError, ValueError, OverflowError):
        return ScaleSetting(scaled=bool(setting.scaled)), (
            f"depth = {setting.depth!r} and p = {setting.p!r} are not both numbers: "
            "shown with 3 and 0.5."
        )
    if depth != setting.depth:
        notes.append(f"depth = {setting.depth} cannot be shown: shown with {depth}.")
    nearest = min(max(p, 0.0), LARGEST_P) if not np.isnan(p) else 0.5
    if nearest != p:
        reason = "drops everything" if p == 1 else "cannot be shown"
        notes.append(f"p = {setting.p} {reason}: shown with {nearest:g}.")
    return ScaleSetting(depth, nearest, bool(setting.scaled)), " ".join(notes)


def scale_view(setting: ScaleSetting) -> ScaleView:
    """Pass one input through a network of the set depth, in training and at inference.

    The weights are random and without biases, of the size that training behind standard dropout
    gives them: 1 / (1 - p) times as large, since only a share 1 - p of their inputs arrives.
    """
    keep = 1 - setting.p
    scaled = _passed(setting, 1.0)
    inference = scaled if setting.scaled else _passed(setting, 1 / keep)
    training = _trained(setting)
    return ScaleView(setting, training[0], inference[0], training[1], inference[1], scaled[1])


def softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max())
    return np.asarray(shifted / shifted.sum())


def _passed(setting: ScaleSetting, factor: float) -> tuple[Array, Array]:
    """Mean activations and logits of one pass with every unit; `factor` is what is not undone."""
    weights, output, signal = _network()
    means = []
    for layer in range(setting.depth):
        signal = np.maximum(weights[layer] @ signal, 0) * (factor if layer else 1)
        means.append(signal.mean())
    return np.array(means), output @ signal * factor


def _trained(setting: ScaleSetting) -> tuple[Array, Array]:
    """The same, averaged over MASKS passes in which units are dropped."""
    weights, output, signal = _network()
    keep = 1 - setting.p
    masks = np.random.default_rng(1).random((setting.depth, MASKS, UNITS)) < keep
    signals = np.tile(signal, (MASKS, 1))
    means = []
    for layer in range(setting.depth):
        # Not by BLAS: waking its threads on a busy machine costs 30 times as much as the product.
        hidden = np.maximum(np.einsum("mu,vu->mv", signals, weights[layer]), 0)
        means.append(hidden.mean())
        signals = hidden * masks[layer] / keep
    return np.array(means), output @ signals.mean(axis=0)


@cache
def _network() -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(4)
    # Mostly positive: a layer's mean is then near that of the layer before, with every depth.
    weights = rng.normal(1, 3, (DEPTHS[1], UNITS, UNITS)) / UNITS
    output = rng.normal(0, 0.6 / np.sqrt(UNITS), (CLASSES, UNITS))
    return weights, output, np.abs(rng.normal(1, 0.5, UNITS))
