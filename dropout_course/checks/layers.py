"""Trusted modules that a plan may ask for, built from data. Knows nothing of calls and judges.

Each kind of layer is one way in which a model is or is not random, in train mode and in eval mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dropout_course.checks.plan import BuiltModule, Value


class FunctionalDropout(nn.Module):
    """`F.dropout` that obeys the module's mode; with `always`, as its default does, in eval too."""

    def __init__(self, p: float, *, always: bool = False) -> None:
        super().__init__()
        self.p, self.always = p, always

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, training=self.always or self.training)


class AttentionDropout(nn.Module):
    """Attention of x [batch, time, dim] on itself that drops weights in every mode."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x, dropout_p=self.p)


class Noise(nn.Module):
    """Adds Gaussian noise of standard deviation `scale` in every mode."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * torch.randn_like(x)


class IdleDropout(nn.Module):
    """Holds an `nn.Dropout` that it never calls."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.unused = nn.Dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        return x


class GatedDropout(nn.Module):
    """A residual branch with dropout behind a gate that is still 0: it draws, and changes nothing.

    ReZero (Bachlechner et al. 2020, arXiv 2003.04887) starts its branches so.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.drop, self.gate = nn.Dropout(p), nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.drop(x)
        return x + self.gate * branch


LAYERS: Mapping[str, Callable[..., nn.Module]] = {
    "linear": nn.Linear,
    "float64 linear": partial(nn.Linear, dtype=torch.float64),
    "bfloat16 linear": partial(nn.Linear, dtype=torch.bfloat16),
    "relu": nn.ReLU,
    "batch norm": nn.BatchNorm1d,
    "dropout": nn.Dropout,
    "functional dropout": FunctionalDropout,
    "functional dropout always": partial(FunctionalDropout, always=True),
    "attention dropout": AttentionDropout,
    "noise": Noise,
    "idle dropout": IdleDropout,
    "gated dropout": GatedDropout,
    "block": lambda *layers: _sequence(layers),
}


def build(asked: BuiltModule) -> nn.Module:
    """Make the module that is asked for, the same each time; torch's generator stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(asked.seed)
        module = _sequence(asked.layers)
    if asked.state is not None:
        module.load_state_dict(asked.state)
    module.train(asked.training)
    for name in asked.switched:
        module.get_submodule(name).train(not asked.training)
    return module


def _sequence(layers: tuple[Any, ...]) -> nn.Module:
    made = [_layer(layer) for layer in layers]
    return made[0] if len(made) == 1 else nn.Sequential(*made)


def _layer(layer: tuple[Value, ...]) -> nn.Module:
    name, *args = layer
    return LAYERS[str(name)](*args)
