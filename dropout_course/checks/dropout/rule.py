"""The kinds of dropout, told apart by what they multiply with. Plain facts, no tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A kind of dropout: an element is dropped with probability `p`, survivors are multiplied by
    `survivor_scale(p)` while training, everything by `inference_scale(p)` at inference."""

    name: str
    survivor_scale: Callable[[float], float]
    inference_scale: Callable[[float], float]
    survivor_formula: str
    inference_formula: str


# Srivastava et al. 2014, section 4 (training) and figure 2 (the weight scaling inference rule).
STANDARD = Rule(
    "standard dropout",
    survivor_scale=lambda p: 1.0,
    inference_scale=lambda p: 1.0 - p,
    survivor_formula="1",
    inference_formula="1 - p",
)

# torch.nn.Dropout: "the outputs are scaled by a factor of 1/(1-p) during training".
INVERTED = Rule(
    "inverted dropout",
    survivor_scale=lambda p: 1.0 / (1.0 - p),
    inference_scale=lambda p: 1.0,
    survivor_formula="1 / (1 - p)",
    inference_formula="1",
)
