"""What a missing scale costs: nets of several depths, four ways of predicting (lesson 04).

Must not know notebooks or figures: it trains, predicts and scores, and leaves the words to others.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch

from dropout_course.experiments.data import Splits
from dropout_course.experiments.training import (
    Nets,
    Scores,
    Settings,
    Way,
    log_probs,
    logits,
    score,
    train,
)

WORKERS = 2  # depths trained at a time, each on one thread


@dataclass(frozen=True)
class DepthRow:
    """S nets with `depth` hidden layers, judged on their test examples.

    ratio:  [S] size of the logits without the scale over the size with it (root mean square).
    ratio_without_biases: [S] the same with every bias of the trained nets set to zero.
    scores: for each way of predicting, tensors [S].
    """

    depth: int
    ratio: torch.Tensor
    ratio_without_biases: torch.Tensor
    scores: dict[Way, Scores]


def by_depth(
    splits: Splits,
    *,
    depths: Sequence[int] = (1, 2, 3, 4),
    width: int = 128,
    settings: Settings | None = None,
    masks: int = 100,
    seed: int = 0,
) -> tuple[DepthRow, ...]:
    """Train nets of each depth behind standard dropout and predict in four ways.

    settings: all but the hidden layers and the kind of dropout; by default p = 0.5, 40 epochs in
    batches of 50, Adam at 2e-3. `masks` passes are averaged by the last way. With 10 seeds of
    1000 digits the four depths take 6 to 10 seconds on two cores.
    """
    chosen = replace(settings or Settings(), inverted=False)
    rows = [replace(chosen, hidden=(width,) * depth) for depth in depths]
    with ThreadPoolExecutor(WORKERS) as pool:  # torch lets go of Python's lock while it computes
        return tuple(pool.map(lambda settings: _row(splits, settings, masks, seed), rows))


def logit_ratio(nets: Nets, x: torch.Tensor) -> torch.Tensor:
    """How much larger the logits get when the scale is forgotten, [S]."""
    forgotten, scaled = (logits(nets, x, way) for way in (Way.UNSCALED, Way.SCALED))
    ratio: torch.Tensor = forgotten.norm(dim=(1, 2)) / scaled.norm(dim=(1, 2))
    return ratio


def _row(splits: Splits, settings: Settings, masks: int, seed: int) -> DepthRow:
    nets = train(splits, settings, seed=seed)
    x, y = splits.x_test, splits.y_test
    return DepthRow(
        depth=len(settings.hidden),
        ratio=logit_ratio(nets, x),
        ratio_without_biases=logit_ratio(nets.without_biases(), x),
        scores={way: score(log_probs(nets, x, way, masks=masks, seed=seed), y) for way in Way},
    )
