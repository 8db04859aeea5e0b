"""Dropout as an ensemble, computed exactly: every mask of a small net, in float64 (lesson 07).

Must not know notebooks or figures. Sampling is not used anywhere here: the masks are enumerated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from dropout_course.experiments.data import Splits, wine
from dropout_course.experiments.training import (
    Nets,
    Settings,
    Way,
    logits,
    one_thread,
    train,
)

MAX_UNITS = 16
MASKS_AT_ONCE = 512  # of 118 examples with 13 units in float64: 6 MB a layer and net


@dataclass(frozen=True)
class Ensemble:
    """What all 2^n subnetworks of S nets say about m examples, float64.

    weight_scaled: [S, m, classes], the one net with every unit and the scaled weights.
    arithmetic:    [S, m, classes], the mean of the subnetworks' probabilities.
    geometric:     [S, m, classes], their geometric mean, renormalised over the classes.
    masks:         2^n; every mean is weighted by the probabilities of the masks.
    """

    weight_scaled: torch.Tensor
    arithmetic: torch.Tensor
    geometric: torch.Tensor
    masks: int

    @property
    def geometric_gap(self) -> torch.Tensor:
        """[S] the largest difference of a probability, geometric mean against weight scaling."""
        return (self.geometric - self.weight_scaled).abs().amax(dim=(1, 2))

    @property
    def arithmetic_gap(self) -> torch.Tensor:
        """[S] the largest difference of a probability, arithmetic mean against weight scaling."""
        return (self.arithmetic - self.weight_scaled).abs().amax(dim=(1, 2))


@dataclass(frozen=True)
class Case:
    """One row of lesson 07's table: a kind of net, and whether theory says "equal"."""

    name: str
    settings: Settings
    exact: bool


# Full batches of 60 wines; longer training makes logits larger and widens every gap but the zeros.
_WINE = Settings(p=0.5, epochs=300, batch=60, lr=5e-2)

# Exact if and only if the logits are affine in each independent mask (Srivastava et al. 2014;
# Goodfellow et al. 2016, section 7.12; Baldi and Sadowski 2013).
CASES: tuple[Case, ...] = (
    Case("softmax regression, 13 inputs", replace(_WINE, hidden=(), p_input=0.5), exact=True),
    Case("one hidden ReLU layer of 12", replace(_WINE, hidden=(12,)), exact=True),
    Case("two hidden linear layers, 6 + 6", replace(_WINE, hidden=(6, 6), relu=False), exact=True),
    Case(
        "one hidden ReLU layer, input dropout",
        replace(_WINE, hidden=(12,), p=0.0, p_input=0.5),
        exact=False,
    ),
    Case("two hidden ReLU layers, 6 + 6", replace(_WINE, hidden=(6, 6)), exact=False),
)


def wine_nets(case: Case, *, seeds: int = 1, seed: int = 0) -> tuple[Nets, Splits]:
    """Nets of one case, trained on 60 wines each; 118 stay to predict. All in float64."""
    splits = wine(seeds, train=60, seed=seed).double()
    return train(splits, case.settings, seed=seed), splits


@one_thread()
@torch.no_grad()
def enumerate_masks(nets: Nets, x: torch.Tensor) -> Ensemble:
    """Run x [S, m, features] through every subnetwork of the nets.

    One mask spans all dropped units of a net, the inputs' first. Raises ValueError when the nets
    drop nothing or more than 16 units (65536 masks).
    """
    widths = [
        weight.shape[1] if keep < 1 else 0
        for weight, keep in zip(nets.weights, nets.settings.keep_probs(), strict=True)
    ]
    units = sum(widths)
    if not 1 <= units <= MAX_UNITS:
        raise ValueError(
            f"these nets drop {units} units: enumerate 1 to {MAX_UNITS}, since each doubles "
            "the number of masks."
        )
    kept = nets.settings.keep_probs()
    totals = [torch.zeros((), dtype=x.dtype)] * 2
    for chunk in _every_mask(units, x.dtype).split(MASKS_AT_ONCE):
        masks = chunk.split(widths, dim=1)
        weights = _probabilities(masks, kept)
        log_probabilities = _subnetworks(nets, x, masks).log_softmax(dim=3)
        for index, values in enumerate((log_probabilities.exp(), log_probabilities)):
            totals[index] = totals[index] + torch.einsum("k,skmc->smc", weights, values)
    return Ensemble(
        weight_scaled=logits(nets, x, Way.SCALED).softmax(dim=2),
        arithmetic=totals[0],
        geometric=totals[1].softmax(dim=2),
        masks=2**units,
    )


def _every_mask(units: int, dtype: torch.dtype) -> torch.Tensor:
    """[2^units, units], each row the binary digits of its number."""
    return (torch.arange(2**units).unsqueeze(1) >> torch.arange(units) & 1).to(dtype)


def _probabilities(masks: Sequence[torch.Tensor], keeps: Sequence[float]) -> torch.Tensor:
    """[k] the probability of each mask; masks[l] is [k, units dropped before layer l]."""
    factors = [
        torch.where(mask == 1, keep, 1 - keep).prod(dim=1)
        for mask, keep in zip(masks, keeps, strict=True)
    ]
    return torch.stack(factors).to(masks[0].dtype).prod(dim=0)


def _subnetworks(nets: Nets, x: torch.Tensor, masks: Sequence[torch.Tensor]) -> torch.Tensor:
    """Logits [S, k, m, classes] of the k subnetworks, as each runs while training."""
    h = x.unsqueeze(1)
    last = len(nets.weights) - 1
    for layer, (mask, keep) in enumerate(zip(masks, nets.settings.keep_probs(), strict=True)):
        if keep < 1:
            h = h * (mask / keep if nets.settings.inverted else mask).unsqueeze(1)
        h = h @ nets.weights[layer].unsqueeze(1) + nets.biases[layer].unsqueeze(1)
        if layer < last and nets.settings.relu:
            h = h.relu()
    return h
