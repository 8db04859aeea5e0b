"""What the layer explorer computes: two calls of one model on one input, compared layer by layer.

Plain data and functions, without widgets. Leaves the model as it found it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from dropout_course.figures.look import said
from dropout_course.widgets import plugged
from dropout_course.widgets.plugged import Trouble

WHOLE = "the whole model"


class Mode(StrEnum):
    """Which mode the model is called in."""

    AS_IT_IS = "as it is"
    TRAIN = "train()"
    EVAL = "eval()"


@dataclass(frozen=True)
class LayerSetting:
    """Where the explorer's controls stand."""

    model: str
    mode: Mode = Mode.TRAIN
    seed: int = 0


@dataclass(frozen=True)
class Layer:
    """One call of one submodule; the gaps are the largest absolute differences of two calls."""

    name: str
    kind: str
    training: bool
    input_gap: float
    output_gap: float

    @property
    def makes_difference(self) -> bool:
        """Same input, another output: here, or in a layer inside, something is random."""
        return self.input_gap == 0 < self.output_gap


@dataclass(frozen=True)
class LayerView:
    """Every submodule in the order in which they are called, containers before their contents."""

    setting: LayerSetting
    layers: tuple[Layer, ...]

    @property
    def culprits(self) -> tuple[Layer, ...]:
        """The innermost layers that make a difference."""
        made = [layer for layer in self.layers if layer.makes_difference]
        return tuple(layer for layer in made if not any(_inside(other, layer) for other in made))

    @property
    def finding(self) -> str:
        """Where the outputs begin to differ."""
        mode = {Mode.TRAIN: "After train()", Mode.EVAL: "After eval()", Mode.AS_IT_IS: "As it is"}
        start = f"{mode[self.setting.mode]}, two calls"
        if not self.layers[0].output_gap:
            return f"{start} on one input agree: nothing here is random."
        where = " and in ".join(_place(layer, self.layers) for layer in self.culprits)
        return f"{start} on one input differ, by up to {said(self.layers[0].output_gap)}: {where}."


def _inside(layer: Layer, container: Layer) -> bool:
    if layer is container:
        return False
    return container.name == WHOLE or layer.name.startswith(f"{container.name}.")


def _place(culprit: Layer, layers: tuple[Layer, ...]) -> str:
    if not any(_inside(each, culprit) for each in layers):
        return f"the difference is made in {culprit.name} ({culprit.kind})"
    after = next((each for each in layers if _inside(each, culprit) and each.input_gap > 0), None)
    between = f", before {after.name}" if after else ", after its last layer"
    return f"no layer makes it, the code of {culprit.kind}.forward does{between}"


# --- two calls ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """A model and the arguments to call it with."""

    model: object
    arguments: tuple[Any, ...] | None


def layer_view(setting: LayerSetting, example: Example) -> LayerView:
    """Call the model twice with hooks on every submodule; raises Trouble, one sentence."""
    model, arguments = _checked(example)
    name = type(model).__name__
    how = "with " + (", ".join(map(_described, arguments)) or "no argument")
    with plugged.apart(setting.seed), _left_as_found(model), torch.no_grad():
        if setting.mode is not Mode.AS_IT_IS:
            plugged.attempt(name, lambda: model.train(setting.mode is Mode.TRAIN))
        first = plugged.attempt(name, lambda: _traced(model, arguments), how)
        second = plugged.attempt(name, lambda: _traced(model, arguments), how)
    if [call.name for call in first] != [call.name for call in second]:
        raise Trouble(f"Two calls of {name} ran different layers: nothing can be compared.")
    return LayerView(setting, tuple(map(_compared, first, second)))


def _checked(example: Example) -> tuple[nn.Module, tuple[Any, ...]]:
    model = example.model
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise Trouble(f"{model.__name__} is a class: give a model, {model.__name__}().")
    if not isinstance(model, nn.Module):
        raise Trouble(f"An object of type {type(model).__name__} is no model: give an nn.Module.")
    if example.arguments is None:
        raise Trouble("A model of your own needs an input: layer_explorer(model, x).")
    devices = {each.device for each in (*model.parameters(), *model.buffers())}
    if any(device.type == "meta" for device in devices):
        raise Trouble("The model is on the meta device, where tensors hold no values: move it.")
    if len(devices) != 1:
        return model, example.arguments
    (device,) = devices
    return model, tree_map(
        lambda each: each.to(device) if isinstance(each, Tensor) else each, example.arguments
    )


@dataclass(frozen=True)
class _Call:
    name: str
    kind: str
    training: bool
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def _traced(model: nn.Module, arguments: tuple[Any, ...]) -> list[_Call]:
    """Call the model once; what went into and came out of each submodule, as they began."""
    begun: list[tuple[str, nn.Module, tuple[Tensor, ...]]] = []
    finished: dict[int, tuple[Tensor, ...]] = {}
    open_calls: list[int] = []
    counts: dict[str, int] = {}

    def begin(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            counts[name] = counts.get(name, 0) + 1
            label = name if counts[name] == 1 else f"{name} (call {counts[name]})"
            open_calls.append(len(begun))
            begun.append((label, module, _tensors((args, kwargs))))

        return hook

    def end(*called: Any) -> None:
        finished[open_calls.pop()] = _tensors(called[-1])

    handles = []
    try:
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(begin(name or WHOLE), with_kwargs=True))
            handles.append(module.register_forward_hook(end, with_kwargs=True))
        model(*arguments)
    finally:
        for handle in handles:
            handle.remove()
    return [
        _Call(label, type(module).__name__, module.training, inputs, finished.get(index, ()))
        for index, (label, module, inputs) in enumerate(begun)
    ]


def _compared(first: _Call, second: _Call) -> Layer:
    return Layer(
        first.name,
        first.kind,
        first.training,
        _gap(first.inputs, second.inputs),
        _gap(first.outputs, second.outputs),
    )


def _gap(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> float:
    """Largest absolute difference; infinity where the shapes differ. nan equals nan."""
    if [each.shape for each in first] != [each.shape for each in second]:
        return math.inf
    largest = 0.0
    for a, b in zip(first, second, strict=True):
        equal = (a == b) | (a.isnan() & b.isnan())
        if not equal.all():
            gap = (a - b).abs()[~equal].max().item()
            largest = max(largest, math.inf if math.isnan(gap) else gap)
    return largest


def _tensors(value: Any) -> tuple[Tensor, ...]:
    return tuple(
        each.detach().to("cpu", torch.float64)
        for each in tree_flatten(value)[0]
        if isinstance(each, Tensor) and not each.is_complex()
    )


def _described(argument: object) -> str:
    if isinstance(argument, Tensor):
        return f"a tensor of shape {tuple(argument.shape)}"
    return f"a {type(argument).__name__}"


@contextmanager
def _left_as_found(model: nn.Module) -> Iterator[None]:
    """Restore every module's mode, plain attributes and buffers: batch norm counts its calls, and
    a train() of the model's own may set more than `training`."""
    modules = list(model.modules())
    attributes = [dict(vars(module)) for module in modules]
    buffers = [(each, each.detach().clone()) for each in model.buffers()]
    held = [dict(module._buffers) for module in modules]
    try:
        yield
    finally:
        for module, known, named in zip(modules, attributes, held, strict=True):
            for added in vars(module).keys() - known.keys():
                del vars(module)[added]
            vars(module).update(known)
            module._buffers.clear()
            module._buffers.update(named)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


# --- the gallery --------------------------------------------------------------------------------


def gallery() -> Mapping[str, Example]:
    """Models to search when none is given; each with fresh weights, the same ones every time."""
    with plugged.apart(0):
        batch = torch.randn(4, 16)
        sequence = torch.randn(4, 8, 16)
        return {
            "dropout layer": Example(PlainNetwork(), (batch,)),
            "functional dropout": Example(FunctionalDropout(), (batch,)),
            "attention": Example(SmallAttention(), (sequence,)),
            "convolutions": Example(_convolutions(), (torch.randn(4, 1, 8, 8),)),
            "recurrent": Example(nn.LSTM(16, 8, num_layers=2, dropout=0.5), (sequence,)),
            "no dropout": Example(nn.Sequential(nn.Linear(16, 8), nn.ReLU()), (batch,)),
        }


class PlainNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.dropout, self.last = nn.Linear(16, 32), nn.Dropout(), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(self.dropout(torch.relu(self.first(x))))
        return result


class FunctionalDropout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(nn.functional.dropout(torch.relu(self.first(x)), 0.5))
        return result


class SmallAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 4, 4)).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=0.5)
        result: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return result


def _convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout2d(),
        nn.Flatten(),
        nn.Linear(144, 4),
    )
