"""Data that needs no network: scikit-learn's bundled sets, split afresh for each seed.

Must not know which nets are trained on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits, load_wine

_Scale = Callable[[torch.Tensor, int], torch.Tensor]
_LOADERS = {"digits": load_digits, "wine": load_wine}


@dataclass(frozen=True)
class Splits:
    """S random splits of one data set; the index of a split is the index of its net.

    x_train: [S, n, features] float, standardised or scaled as the function that made it says.
    y_train: [S, n] int64, classes from 0.
    x_test, y_test: [S, m, features], [S, m], the examples that are not in the training set.
    """

    x_train: torch.Tensor
    y_train: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor
    classes: int

    @property
    def seeds(self) -> int:
        """S, the number of splits."""
        return len(self.x_train)

    @property
    def features(self) -> int:
        """The number of inputs of a net."""
        return self.x_train.shape[2]

    def repeated(self, seeds: int) -> Splits:
        """The first split `seeds` times: nets on it differ by their start, batches and masks."""
        x_train, y_train, x_test, y_test = (
            tensor[:1].expand(seeds, *tensor.shape[1:])
            for tensor in (self.x_train, self.y_train, self.x_test, self.y_test)
        )
        return Splits(x_train, y_train, x_test, y_test, self.classes)

    def double(self) -> Splits:
        """The same splits with inputs in float64."""
        return replace(self, x_train=self.x_train.double(), x_test=self.x_test.double())


def digits(seeds: int, *, train: int = 1000, seed: int = 0) -> Splits:
    """Handwritten digits, 8 by 8 pixels from 0 to 1: `train` examples and the rest of 1797.

    Not MNIST: the test part of UCI's optdigits (Alpaydin and Kaynak 1998), ten classes.
    Raises ValueError unless 1 <= train < 1797.
    """
    return _split("digits", seeds, train, seed, lambda x, _: x / 16)


def wine(seeds: int, *, train: int = 60, seed: int = 0) -> Splits:
    """Chemical analyses of wines, 13 features, three cultivars: `train` examples, the rest of 178.

    Features are standardised by the training examples of their split (UCI wine, Aeberhard and
    Forina 1991). Raises ValueError unless 1 <= train < 178.
    """
    return _split("wine", seeds, train, seed, _standardised)


def with_label_noise(splits: Splits, share: float, *, seed: int = 0) -> Splits:
    """The same splits, where `share` of the training labels is replaced by another class.

    share: from 0 to 1; each label is hit independently. Test labels stay true.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = splits.y_train.shape
    hit = torch.rand(shape, generator=generator) < share
    shift = torch.randint(1, splits.classes, shape, generator=generator)
    noisy = torch.where(hit, (splits.y_train + shift) % splits.classes, splits.y_train)
    return replace(splits, y_train=noisy)


def _standardised(x: torch.Tensor, train: int) -> torch.Tensor:
    """Scale [S, N, features] by mean and deviation of the first `train` examples of each split."""
    seen = x[:, :train]
    return (x - seen.mean(dim=1, keepdim=True)) / seen.std(dim=1, keepdim=True)


def _split(name: str, seeds: int, train: int, seed: int, scale: _Scale) -> Splits:
    x, y = _arrays(name)
    if not 1 <= train < len(y):
        raise ValueError(f"{name} has {len(y)} examples: train on 1 to {len(y) - 1}, not {train}.")
    if seeds < 1:
        raise ValueError(f"a comparison needs at least one seed, not {seeds}.")
    generator = torch.Generator().manual_seed(seed)
    orders = torch.stack([torch.randperm(len(y), generator=generator) for _ in range(seeds)])
    shuffled, labels = scale(x[orders], train).float(), y[orders]
    return Splits(
        x_train=shuffled[:, :train].contiguous(),
        y_train=labels[:, :train].contiguous(),
        x_test=shuffled[:, train:].contiguous(),
        y_test=labels[:, train:].contiguous(),
        classes=int(y.max()) + 1,
    )


@cache
def _arrays(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = _LOADERS[name](return_X_y=True)
    return torch.from_numpy(np.asarray(x, dtype=np.float64)), torch.from_numpy(np.asarray(y)).long()
