"""Training many seeds at once against a loop of single nets: 64-32-10, batch 32, S = 20.

`make bench` prints both times and the ratio.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dropout_course.experiments.data import Splits, digits
from dropout_course.experiments.training import Settings, train

SEEDS, REPETITIONS, LEAST_GAIN = 20, 5, 4.0
SETTINGS = Settings(hidden=(32,), p=0.5, epochs=2, batch=32)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Both sides on one thread, so that neither gains by the other's idle core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def loop_of_nets(splits: Splits) -> None:
    """What one would write: a net of torch's own modules after the other."""
    for x, y in zip(splits.x_train, splits.y_train, strict=True):
        net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10))
        optimizer = torch.optim.Adam(net.parameters(), lr=SETTINGS.lr)
        for _ in range(SETTINGS.epochs):
            for rows in torch.randperm(len(x)).split(SETTINGS.batch):
                optimizer.zero_grad()
                F.cross_entropy(net(x[rows]), y[rows]).backward()
                optimizer.step()


def test_training_twenty_nets_at_once_is_four_times_as_fast(
    benchmark: object, record_property: object
) -> None:
    splits = digits(SEEDS)
    train(splits, SETTINGS)
    loop_of_nets(digits(1))
    ratios, batched = [], []
    for _ in range(REPETITIONS):  # in turns, so that a busy machine slows both
        start = time.perf_counter()
        train(splits, SETTINGS)
        middle = time.perf_counter()
        loop_of_nets(splits)
        batched.append(middle - start)
        ratios.append((time.perf_counter() - middle) / (middle - start))
    ratio = sorted(ratios)[REPETITIONS // 2]
    steps = SEEDS * SETTINGS.epochs * -(-splits.y_train.shape[1] // SETTINGS.batch)
    microseconds = 1e6 * sorted(batched)[REPETITIONS // 2] / steps
    text = f"training 20 nets 64-32-10: {microseconds:.0f} us a model-step batched, {ratio:.1f}x"
    print(text)
    record_property("summary", text)  # type: ignore[operator]
    benchmark.pedantic(train, args=(splits, SETTINGS), rounds=3)  # type: ignore[attr-defined]
    assert ratio >= LEAST_GAIN, f"batched training gains {ratio:.1f}x, less than {LEAST_GAIN}x"
