"""Train many small nets at once, one per seed, by batched matrix products; predict and score them.

Must not know the data sets or the lessons; the loop over seeds is the first axis of every tensor.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from dropout_course.experiments.data import Splits

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Settings:
    """How a net is built and trained. Probabilities are of dropping, in [0, 1).

    hidden:       units of each hidden ReLU layer; () is softmax regression.
    p, p_input:   dropout after each hidden layer, and on the inputs.
    inverted:     survivors times 1/(1-p) while training; False is standard dropout
                  (Srivastava et al. 2014), where inference multiplies by 1-p.
    relu:         False leaves the hidden layers linear.
    epochs:       passes over the training set, in batches of `batch`.
    dropout_epochs: dropout is on in the first so many epochs only; None means in all of them.
    lr:           learning rate of Adam (Kingma and Ba 2015), otherwise with torch's defaults.
    """

    hidden: tuple[int, ...] = (128,)
    p: float = 0.5
    p_input: float = 0.0
    inverted: bool = True
    relu: bool = True
    epochs: int = 40
    batch: int = 50
    dropout_epochs: int | None = None
    lr: float = 2e-3

    def __post_init__(self) -> None:
        for name, p in (("p", self.p), ("p_input", self.p_input)):
            if not 0 <= p < 1:
                raise ValueError(f"{name} is a probability of dropping in [0, 1), not {p}.")

    def keep_probs(self) -> tuple[float, ...]:
        """The probability of keeping an input of each layer, the first layer first."""
        return (1 - self.p_input, *(1 - self.p for _ in self.hidden))


@dataclass(frozen=True)
class Nets:
    """S nets of one shape, trained or not.

    weights[l]: [S, in, out]; biases[l]: [S, 1, out]. No gradients.
    """

    weights: tuple[torch.Tensor, ...]
    biases: tuple[torch.Tensor, ...]
    settings: Settings

    @property
    def seeds(self) -> int:
        """S, the number of nets."""
        return len(self.weights[0])

    def without_biases(self) -> Nets:
        """The same weights, every bias set to zero."""
        zeros = tuple(torch.zeros_like(bias) for bias in self.biases)
        return Nets(self.weights, zeros, self.settings)

    def linears(self, index: int = 0) -> tuple[nn.Linear, ...]:
        """The layers of one net as torch's own, the first layer first, with copied weights."""
        return tuple(
            _linear(weight[index], bias[index, 0])
            for weight, bias in zip(self.weights, self.biases, strict=True)
        )


class Way(StrEnum):
    """Four ways of predicting with a net that was trained with dropout."""

    UNSCALED = "unscaled"  # every unit, the factor 1-p of standard dropout forgotten
    SCALED = "weight scaling"  # every unit, with the factor
    ONE_MASK = "train mode"  # one mask for each example, as if eval() had been forgotten
    MEAN_OF_MASKS = "mean of masks"  # probabilities averaged over many masks


@dataclass(frozen=True)
class Scores:
    """What a prediction is worth, one number a net.

    error:       share of wrong classes, 0 to 1.        nll: mean negative log likelihood, nats.
    confidence:  mean probability of the predicted class.
    calibration: expected calibration error, 0 to 1: the gap between confidence and accuracy in
                 bins of confidence, weighted by their size (Guo et al. 2017, section 2).
    """

    error: torch.Tensor
    nll: torch.Tensor
    confidence: torch.Tensor
    calibration: torch.Tensor


def initial(splits: Splits, settings: Settings, generator: torch.Generator) -> Nets:
    """S untrained nets, drawn as nn.Linear draws: uniform within 1/sqrt(inputs)."""
    sizes = (splits.features, *settings.hidden, splits.classes)
    weights, biases = [], []
    for inputs, outputs in pairwise(sizes):
        uniform = torch.rand((splits.seeds, inputs + 1, outputs), generator=generator)
        drawn = ((2 * uniform - 1) * inputs**-0.5).to(splits.x_train.dtype)
        weights.append(drawn[:, :-1].clone())
        biases.append(drawn[:, -1:].clone())
    return Nets(tuple(weights), tuple(biases), settings)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread inside; matrices this small gain little from two.

    On a machine where another process keeps a core busy, two threads wait for each other and were
    seen to take ten times as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def train(splits: Splits, settings: Settings, *, seed: int = 0) -> Nets:
    """Train S nets, each on its own split, with its own initial weights, batches and masks.

    The same seed and number of splits give the same nets: all random numbers come from one
    generator, and the global one is left alone.
    """
    generator = torch.Generator().manual_seed(seed)
    nets = initial(splits, settings, generator)
    parameters = [tensor.requires_grad_() for tensor in (*nets.weights, *nets.biases)]
    optimizer = torch.optim.Adam(parameters, lr=settings.lr, fused=True)
    limit = settings.epochs if settings.dropout_epochs is None else settings.dropout_epochs
    for epoch in range(settings.epochs):
        for x, y in _batches(splits, settings.batch, generator):
            logits = _logits(nets, x, generator=generator if epoch < limit else None)
            optimizer.zero_grad()
            # The sum over nets of mean losses: each net gets the gradient of its own.
            loss = F.cross_entropy(logits.flatten(0, 1), y.flatten()) * splits.seeds
            loss.backward()
            optimizer.step()
    for tensor in parameters:
        tensor.requires_grad_(False)
    return nets


@one_thread()
@torch.no_grad()
def logits(nets: Nets, x: torch.Tensor, way: Way, *, seed: int = 0) -> torch.Tensor:
    """Logits [S, n, classes] for x [S, n, features], in one of the ways of one pass.

    UNSCALED forgets the factor of standard dropout; with inverted dropout it equals SCALED.
    Raises ValueError for MEAN_OF_MASKS, which averages probabilities: see `log_probs`.
    """
    match way:
        case Way.UNSCALED:
            return _logits(nets, x, scaled=False)
        case Way.SCALED:
            return _logits(nets, x)
        case Way.ONE_MASK:
            return _logits(nets, x, generator=torch.Generator().manual_seed(seed))
    raise ValueError(f"{way} is no single pass: use log_probs.")


@one_thread()
@torch.no_grad()
def log_probs(
    nets: Nets, x: torch.Tensor, way: Way, *, masks: int = 100, seed: int = 0
) -> torch.Tensor:
    """Log probabilities [S, n, classes] for x [S, n, features].

    masks: how many masks MEAN_OF_MASKS averages the probabilities of; each example and each pass
    has its own. The layers below the first dropout are computed once.
    """
    if way is not Way.MEAN_OF_MASKS:
        return logits(nets, x, way, seed=seed).log_softmax(dim=2)
    generator = torch.Generator().manual_seed(seed)
    first = next((i for i, keep in enumerate(nets.settings.keep_probs()) if keep < 1), 0)
    below = _logits(nets, x, stop=first)
    total = torch.zeros((*x.shape[:2], nets.biases[-1].shape[2]), dtype=x.dtype)
    for _ in range(masks):
        total += _logits(nets, below, generator=generator, start=first).softmax(dim=2)
    return (total / masks).log()


def score(log_probabilities: torch.Tensor, labels: torch.Tensor) -> Scores:
    """Scores of log probabilities [S, n, classes] against labels [S, n]; tensors [S]."""
    confidence, predicted = log_probabilities.exp().max(dim=2)
    right = (predicted == labels).to(confidence.dtype)
    chosen = log_probabilities.gather(2, labels.unsqueeze(2)).squeeze(2)
    return Scores(
        error=1 - right.mean(dim=1),
        nll=-chosen.mean(dim=1),
        confidence=confidence.mean(dim=1),
        calibration=_calibration(confidence, right),
    )


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    linear: nn.Linear = nn.utils.skip_init(nn.Linear, *weight.shape, dtype=weight.dtype)
    with torch.no_grad():
        linear.weight.copy_(weight.T)
        linear.bias.copy_(bias)
    return linear


def _calibration(confidence: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    bins = (confidence * CALIBRATION_BINS).long().clamp(max=CALIBRATION_BINS - 1)
    gaps = torch.zeros(len(confidence), CALIBRATION_BINS, dtype=confidence.dtype)
    gaps.scatter_add_(1, bins, confidence - right)
    return gaps.abs().sum(dim=1) / confidence.shape[1]


def _logits(
    nets: Nets,
    h: torch.Tensor,
    *,
    generator: torch.Generator | None = None,
    scaled: bool = True,
    start: int = 0,
    stop: int | None = None,
) -> torch.Tensor:
    """Layers `start` to `stop` (not included); with a generator dropout is on.

    A layer is its input's dropout, the product, and the ReLU of all but the last.
    """
    last = len(nets.weights) - 1
    keeps = nets.settings.keep_probs()
    for layer in range(start, len(nets.weights) if stop is None else stop):
        keep = keeps[layer]
        if keep < 1 and generator is not None:
            h = h * keep_mask(h.shape, keep, generator)
        if keep < 1:
            h = h * _factor(keep, training=generator is not None, nets=nets, scaled=scaled)
        h = torch.baddbmm(nets.biases[layer], h, nets.weights[layer])
        if layer < last and nets.settings.relu:
            h = h.relu()
    return h


def _factor(keep: float, *, training: bool, nets: Nets, scaled: bool) -> float:
    if nets.settings.inverted:
        return 1 / keep if training else 1.0
    return 1.0 if training or not scaled else keep


def keep_mask(shape: torch.Size, keep: float, generator: torch.Generator) -> torch.Tensor:
    """A bool mask, True with probability `keep`, independent for each element.

    Where 256 * keep is a whole number, one random byte decides each element exactly, which takes
    less than half the time of a uniform float32. The bytes come from whole 64-bit draws:
    `Tensor.random_` would leave the top bit of an int64 at zero.
    """
    threshold = 256 * keep
    if threshold != int(threshold):
        return torch.rand(shape, generator=generator) < keep
    count = shape.numel()
    words = torch.randint(-(2**63), 2**63 - 1, ((count + 7) // 8,), generator=generator)
    return (words.view(torch.uint8)[:count] < int(threshold)).view(shape)


def _batches(
    splits: Splits, batch: int, generator: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch of batches [S, batch, features] and [S, batch], each net in its own order."""
    seeds, n = splits.y_train.shape
    order = torch.rand((seeds, n), generator=generator).argsort(dim=1)
    rows = torch.arange(seeds).unsqueeze(1)
    x, y = splits.x_train[rows, order], splits.y_train[rows, order]
    for begin in range(0, n, batch):
        yield x[:, begin : begin + batch], y[:, begin : begin + batch]
