"""A record of a dropout's calls, read as masks, rates and scales. Measures; judges nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dropout_course.checks.dropout.calls import Asked, asked
from dropout_course.checks.dropout.rule import Rule
from dropout_course.checks.evidence import TOLERANCE, Evidence
from dropout_course.checks.plan import Plan
from dropout_course.checks.record import Record
from dropout_course.checks.statistics import FALSE_ALARM, binomial_p_value


@dataclass(frozen=True)
class Sample:
    """What a training call did to each element: which it kept, and what it multiplied those with.

    `kept` has the output's shape. `low` and `high` are the smallest and largest ratio of output to
    input among the kept ones (1 where nothing was kept).
    """

    name: str
    called: str
    p: float
    x: NDArray[np.float32]
    kept: NDArray[np.bool_]
    low: float
    high: float
    tolerance: float

    @property
    def size(self) -> int:
        return self.kept.size

    @cached_property
    def survivors(self) -> int:
        return int(np.count_nonzero(self.kept))

    @property
    def drop_rate(self) -> float:
        return 1.0 - self.survivors / max(self.size, 1)

    @property
    def scale(self) -> float:
        return (self.low + self.high) / 2.0

    @property
    def one_scale(self) -> bool:
        """Whether all survivors were multiplied by the same number, up to rounding."""
        return self.high - self.low <= 2.0 * self.tolerance * max(abs(self.scale), 1e-30)

    @cached_property
    def rate_p_value(self) -> float:
        return binomial_p_value(self.survivors, self.size, 1.0 - self.p)

    @property
    def keep_probability(self) -> float:
        """What structure is judged against: 1 - p, or the measured rate where that is wrong.

        A right implementation gets here with the wrong rate at most at the false-alarm rate of the
        rate's own criterion, so every guarantee stays; a wrong rate is named as that alone.
        """
        if self.rate_p_value >= FALSE_ALARM:
            return 1.0 - self.p
        return self.survivors / self.size


class DropoutEvidence(Evidence):
    """A dropout's calls, read through one rule (standard or inverted)."""

    def __init__(self, plan: Plan, record: Record, rule: Rule) -> None:
        super().__init__(plan, record)
        self.rule = rule
        self._samples: dict[str, Sample] = {}

    def asked(self, name: str) -> Asked:
        """Return what a call asks for, defaults filled in."""
        return asked(self.plan, name)

    def output(self, name: str) -> Tensor:
        """Return a call's output; `Missing` unless it is a tensor of the input's shape."""
        return self.tensor(name, self.expected_shape(name))

    def expected_shape(self, name: str) -> torch.Size:
        call = self.plan.call(name)
        shape = self.asked(name).x.shape
        return torch.Size((call.repeats, *shape)) if call.repeats > 1 else shape

    def sample(self, name: str) -> Sample:
        """Read a training call as a mask and a scale; `Missing` if it gave no answer."""
        if name not in self._samples:
            self._samples[name] = self._read_sample(name)
        return self._samples[name]

    def samples(self, names: Iterable[str]) -> list[Sample]:
        return [self.sample(name) for name in names]

    def multipliers(self, name: str) -> NDArray[np.float32]:
        """Return what each element was multiplied by, in the output's shape."""
        out = as_numpy(self.output(name))
        ratios: NDArray[np.float32] = np.divide(out, as_numpy(self.asked(name).x))
        return ratios

    def drops_at_inference(self) -> bool:
        """Whether the exercise has an inference, and elements are 0 there."""
        if self.record.get("inference_p") is None:
            return False
        return bool((self.output("inference_p") == 0).any())

    def reads_p_as_keep(self) -> bool:
        """Whether the numbers, too, take p for the probability of keeping."""
        images, p = self.sample("images"), self.asked("images").p
        if self.rule.survivor_scale(p) != 1.0:
            return abs(images.scale * p - 1.0) < 1e-3
        if self.record.get("inference_p") is None:
            return False
        p = self.asked("inference_p").p
        return bool(np.allclose(self.multipliers("inference_p"), p, rtol=1e-3))

    def _read_sample(self, name: str) -> Sample:
        output = self.output(name)
        ask = self.asked(name)
        out = as_numpy(output)
        x = np.broadcast_to(as_numpy(ask.x), out.shape)
        kept = out != 0
        low = high = 1.0
        if kept.any():
            ratios = out / x
            # Dropped elements take the ratio of a kept one: they must not count in the extremes.
            np.copyto(ratios, ratios.flat[kept.argmax()], where=~kept)
            low, high = float(ratios.min()), float(ratios.max())
        tolerance = TOLERANCE.get(ask.x.dtype, 1e-5)
        return Sample(name, self.called(name), ask.p, x, kept, low, high, tolerance)


def as_numpy(tensor: Tensor) -> NDArray[np.float32]:
    """Return a float tensor's values as an array; half precisions as float32, which holds them."""
    if tensor.dtype is not torch.float64:
        tensor = tensor.to(torch.float32)
    array: NDArray[np.float32] = tensor.detach().resolve_conj().numpy()
    return array


def percent(value: float) -> str:
    """Write a share with one decimal, two where it is nearly all or nothing."""
    return f"{100 * value:.1f} %"
