"""What the mask explorer computes: the outputs of a dropout function over many calls.

Plain data and functions, without widgets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dropout_course.figures.look import said
from dropout_course.widgets import plugged
from dropout_course.widgets.plugged import Trouble

INPUT = 10.0  # the course's running example: activations of ten
ROWS, UNITS, CALLS = 5, 10, 200


class Naming(StrEnum):
    """What the number on the slider means."""

    DROP = "p"
    KEEP = "keep_prob"


class Rule(StrEnum):
    """Where the scale stands."""

    INVERTED = "inverted"
    STANDARD = "standard"
    YOURS = "yours"


@dataclass(frozen=True)
class MaskSetting:
    """Where the explorer's controls stand."""

    number: float = 0.5
    naming: Naming = Naming.DROP
    rule: Rule = Rule.INVERTED
    training: bool = True
    seed: int = 0

    @property
    def p(self) -> float:
        """The probability of dropping."""
        return self.number if self.naming is Naming.DROP else round(1 - self.number, 10)


@dataclass(frozen=True)
class MaskView:
    """What there is to see. grid [ROWS, UNITS]: the last call; outputs [CALLS]: its first element
    over all calls; inference: what the same function returns for it with training=False."""

    setting: MaskSetting
    grid: NDArray[np.float64]
    outputs: NDArray[np.float64]
    inference: float

    @property
    def averages(self) -> NDArray[np.float64]:
        """The average of the first n outputs, n = 1 … CALLS."""
        return np.asarray(self.outputs.cumsum() / np.arange(1, len(self.outputs) + 1))

    @property
    def finding(self) -> str:
        """What the numbers say, in two sentences at most."""
        setting = self.setting
        dropped = float((self.grid == 0).mean())
        values = " or ".join(said(each) for each in np.unique(self.outputs.round(4))[:3])
        average, inference = said(float(self.averages[-1])), said(self.inference)
        meaning = f"{setting.naming} = {setting.number:g}"
        if not setting.training:
            constant = len(np.unique(self.outputs)) == 1
            return (
                f"Eval mode, {meaning}: every call returns {values}."
                if constant
                else f"Eval mode, {meaning}: the calls differ, as they should only in train mode."
            )
        if setting.p == 1:
            return (
                f"{meaning} drops everything: each output is {values}, inference returns "
                f"{inference}, and no factor can bring the two together."
            )
        return (
            f"{meaning}: {dropped:.0%} of this mask is dropped, and a ten becomes {values}. "
            f"After {CALLS} calls the average is {average}; inference returns {inference}."
        )


Dropout = Callable[[Tensor, float, bool], object]


def clamped(setting: MaskSetting) -> tuple[MaskSetting, str]:
    """The nearest setting that can be shown, and a sentence if it is another one."""
    number = _number(setting.number)
    if number is None:
        return replace(setting, number=0.5), (
            f"{setting.number!r} is no probability: shown with 0.5."
        )
    nearest = min(max(number, 0.0), 1.0)
    note = f"{number:g} is no probability: shown with {nearest:g}." if nearest != number else ""
    return replace(setting, number=nearest), note


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return None if np.isnan(number) else number


def as_function(target: object) -> Dropout | None:
    """A learner's f(x, p, training), or a module class as in lesson 03, as one kind of function.

    Raises Trouble for anything that cannot be called.
    """
    if target is None:
        return None
    if isinstance(target, nn.Module):
        target = type(target)
    if isinstance(target, type) and issubclass(target, nn.Module):
        module: Any = target
        return lambda x, p, training: module(p).train(training)(x)
    if not callable(target):
        raise Trouble(
            f"An object of type {type(target).__name__} cannot be called: "
            "give a function (x, p, training) or a module class."
        )
    function: Dropout = target
    return function


def mask_view(setting: MaskSetting, yours: object = None) -> MaskView:
    """Call the chosen function CALLS times as set, once for inference; raises Trouble."""
    function = as_function(yours) if setting.rule is Rule.YOURS else _OWN[setting.rule]
    if function is None:
        raise Trouble("No function was given: mask_explorer(inverted_dropout) shows yours.")
    name = plugged.name_of(yours) if setting.rule is Rule.YOURS else setting.rule.value
    called: Dropout = function

    def call(x: Tensor, training: bool) -> Tensor:
        how = f"with p = {setting.p:g} and training={training}"
        result = plugged.attempt(name, lambda: called(x.clone(), setting.p, training), how)
        return plugged.expect_like(name, result, x, how)

    def run() -> MaskView:
        tens = torch.full((ROWS, UNITS), INPUT)
        calls = torch.stack([call(tens, setting.training) for _ in range(CALLS)]).double()
        inference = float(call(tens, training=False)[0, 0])
        return MaskView(setting, calls[-1].numpy(), calls[:, 0, 0].numpy(), inference)

    with plugged.apart(setting.seed):
        return run()


def _inverted(x: Tensor, p: float, training: bool) -> Tensor:
    return nn.functional.dropout(x, p, training)


def _standard(x: Tensor, p: float, training: bool) -> Tensor:
    return x * (torch.rand_like(x) >= p) if training else x * (1 - p)


_OWN: dict[Rule, Dropout] = {Rule.INVERTED: _inverted, Rule.STANDARD: _standard}
