"""All mutants and all right styles, for every exercise. The only list of them; judges nothing."""

from __future__ import annotations

from tests.zoo import (
    bernoulli_masks,
    ensembles,
    inverted_functions,
    modules,
    repairs,
    small,
    standard_functions,
    train_vs_eval,
    why_scale,
)
from tests.zoo.species import Enclosure, Mutant, Style

__all__ = ["MUTANTS", "STYLES", "Mutant", "Style"]

ENCLOSURES: tuple[Enclosure, ...] = (
    small.KEEP,
    small.APPLY,
    small.PREDICTIONS,
    bernoulli_masks.ZOO,
    standard_functions.ZOO,
    modules.STANDARD,
    inverted_functions.ZOO,
    modules.INVERTED,
    small.BACKWARD,
    why_scale.MOMENTS,
    why_scale.FOLD,
    train_vs_eval.PREDICT,
    train_vs_eval.STOCHASTIC,
    repairs.FUNCTIONAL,
    repairs.ATTENTION,
    repairs.MODES,
    ensembles.MASKS,
    ensembles.PROBABILITIES,
    ensembles.MEAN,
)

MUTANTS: tuple[Mutant, ...] = tuple(m for enclosure in ENCLOSURES for m in enclosure.mutants)
STYLES: tuple[Style, ...] = tuple(s for enclosure in ENCLOSURES for s in enclosure.styles)
