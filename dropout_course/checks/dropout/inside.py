"""Dropout inside a model: weights that make its mask visible in what the model returns.

Plans and reads; judges nothing (`repairs` does). A `Layout` knows where a class has its dropout and
what the class computes; which class of a learner's that is, it does not know.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dropout_course.checks.dropout.calls import few_values


@dataclass(frozen=True)
class Setting:
    """Constructor arguments, the state to load, and an input."""

    sizes: Mapping[str, int]
    state: Mapping[str, Tensor]
    x: Tensor


class Layout(ABC):
    """Where a class has its dropout, and what it computes.

    Dropout multiplies `elements`; `output` is what follows from the elements times their
    multipliers; `read` leads back to that product from an output in a plain or dense setting.
    """

    keys: tuple[str, ...]  # of the class's state_dict
    default_shapes: tuple[
        tuple[int, ...], tuple[int, ...]
    ]  # in and out, of an instance without arguments
    element: str  # what one element is called

    @abstractmethod
    def plain(self, rng: np.random.Generator, elements: int) -> Setting:
        """Weights that pass on at least so many elements as they are: few values, packing well."""

    @abstractmethod
    def dense(self, rng: np.random.Generator) -> Setting:
        """Weights that mix what comes before the elements: dropout in another place shows."""

    @abstractmethod
    def natural(self, rng: np.random.Generator) -> Setting:
        """Weights of both signs everywhere, and sizes that all differ."""

    @abstractmethod
    def elements(self, setting: Setting) -> Tensor:
        """What dropout is to be applied to."""

    @abstractmethod
    def output(self, setting: Setting, multipliers: Tensor | float) -> Tensor:
        """What the class returns when the elements are multiplied so."""

    @abstractmethod
    def read(self, setting: Setting, output: Tensor) -> Tensor:
        """Elements times multipliers, as a plain or dense setting's output shows them."""

    def read_again(self, setting: Setting, output: Tensor) -> Tensor:
        """The same product from another part of a dense setting's output, where it shows twice."""
        return self.read(setting, output)


def _normal(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def _away_from_zero(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.uniform(0.5, 1.5, shape).astype(np.float32))


class HiddenUnits(Layout):
    """`last(dropout(relu(first(x))))`: the elements are hidden units [batch, hidden]."""

    keys = ("first.weight", "first.bias", "last.weight", "last.bias")
    default_shapes = ((3, 16), (3, 4))
    element = "hidden units"

    def plain(self, rng: np.random.Generator, elements: int) -> Setting:
        n = 64
        values = (torch.eye(n), torch.zeros(n), torch.eye(n), torch.zeros(n))
        x = few_values(rng, (-(-elements // n), n)).abs()
        return self._setting((n, n, n), values, x)

    def dense(self, rng: np.random.Generator) -> Setting:
        features, n = 12, 48
        first = _away_from_zero(rng, n, features), _away_from_zero(rng, n)
        values = (*first, torch.eye(n), _away_from_zero(rng, n))
        return self._setting((features, n, n), values, _away_from_zero(rng, 20, features))

    def natural(self, rng: np.random.Generator) -> Setting:
        values = (_normal(rng, 12, 7), _normal(rng, 12), _normal(rng, 5, 12), _normal(rng, 5))
        return self._setting((7, 12, 5), values, _normal(rng, 3, 4, 7))

    def _setting(
        self, sizes: tuple[int, int, int], values: tuple[Tensor, ...], x: Tensor
    ) -> Setting:
        names = ("features", "hidden", "classes")
        state = dict(zip(self.keys, values, strict=True))
        return Setting(dict(zip(names, sizes, strict=True)), state, x)

    def elements(self, setting: Setting) -> Tensor:
        state = setting.state
        return torch.relu(F.linear(setting.x, state["first.weight"], state["first.bias"]))

    def output(self, setting: Setting, multipliers: Tensor | float) -> Tensor:
        hidden = self.elements(setting) * multipliers
        return F.linear(hidden, setting.state["last.weight"], setting.state["last.bias"])

    def read(self, setting: Setting, output: Tensor) -> Tensor:
        return output - setting.state["last.bias"]


class AttentionWeights(Layout):
    """Attention of x [batch, time, dim] on itself: the elements are its weights
    [batch, heads, time, time].

    A head's values are one-hot in the plain and the dense setting, so that each weight stands in
    the output by itself: once in the plain one, twice in the dense one.
    """

    keys = ("qkv.weight", "qkv.bias", "out.weight", "out.bias")
    default_shapes = ((2, 5, 16), (2, 5, 16))
    element = "attention weights"

    def plain(self, rng: np.random.Generator, elements: int) -> Setting:
        heads, time = 4, 16
        dim = heads * time
        # Without keys every attention weight is 1 / time, whatever the queries.
        weight, bias = torch.zeros(3 * dim, dim), torch.zeros(3 * dim)
        bias[:dim] = _normal(rng, dim)
        weight[2 * dim :, :time] = torch.eye(time).repeat(heads, 1)
        batch = -(-elements // (heads * time * time))
        x = torch.eye(time, dim).repeat(batch, 1, 1)
        return self._setting(heads, (weight, bias), x)

    def dense(self, rng: np.random.Generator) -> Setting:
        heads, time = 2, 6
        dim = heads * 2 * time
        weight, bias = 0.15 * _normal(rng, 3 * dim, dim), 0.5 * _normal(rng, 3 * dim)
        weight[2 * dim :], bias[2 * dim :] = 0.0, 0.0
        weight[2 * dim :, :time] = torch.eye(time).repeat(2 * heads, 1)
        x = _normal(rng, 8, time, dim)
        x[:, :, :time] = torch.eye(time)
        return self._setting(heads, (weight, bias), x)

    def natural(self, rng: np.random.Generator) -> Setting:
        heads, dim = 3, 12
        qkv = 0.5 * _normal(rng, 3 * dim, dim), _normal(rng, 3 * dim)
        out = _normal(rng, dim, dim), _normal(rng, dim)
        return self._setting(heads, qkv, _normal(rng, 3, 5, dim), out)

    def _setting(
        self,
        heads: int,
        qkv: tuple[Tensor, Tensor],
        x: Tensor,
        out: tuple[Tensor, Tensor] | None = None,
    ) -> Setting:
        dim = x.shape[-1]
        values = (*qkv, *(out or (torch.eye(dim), torch.zeros(dim))))
        return Setting({"dim": dim, "heads": heads}, dict(zip(self.keys, values, strict=True)), x)

    def _projected(self, setting: Setting) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each [batch, heads, time, dim / heads]."""
        qkv = F.linear(setting.x, setting.state["qkv.weight"], setting.state["qkv.bias"])
        split = qkv.unflatten(-1, (3, setting.sizes["heads"], -1)).permute(2, 0, 3, 1, 4)
        return split[0], split[1], split[2]

    def elements(self, setting: Setting) -> Tensor:
        query, key, _ = self._projected(setting)
        scale: float = query.shape[-1] ** -0.5  # Vaswani et al. 2017, section 3.2.1
        logits: Tensor = query @ key.transpose(-1, -2) * scale
        return torch.softmax(logits, dim=-1)

    def output(self, setting: Setting, multipliers: Tensor | float) -> Tensor:
        mixed: Tensor = (self.elements(setting) * multipliers) @ self._projected(setting)[2]
        joined = mixed.transpose(1, 2).flatten(2)
        return F.linear(joined, setting.state["out.weight"], setting.state["out.bias"])

    def _by_head(self, setting: Setting, output: Tensor) -> Tensor:
        split: Tensor = output.unflatten(-1, (setting.sizes["heads"], -1))
        return split.transpose(1, 2)

    def read(self, setting: Setting, output: Tensor) -> Tensor:
        return self._by_head(setting, output)[..., : setting.x.shape[1]]

    def read_again(self, setting: Setting, output: Tensor) -> Tensor:
        return self._by_head(setting, output)[..., setting.x.shape[1] :]
