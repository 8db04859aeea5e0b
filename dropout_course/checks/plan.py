"""What a check is going to ask of a learner's code: calls, inputs and seeds, as data.

Trusted side. Knows nothing of how the calls are made (record) or what is made of them (judge).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor


@dataclass(frozen=True)
class GeneratorSeed:
    """Stands for a fresh CPU `torch.Generator` seeded with `seed`; made where the call is made."""

    seed: int


@dataclass(frozen=True)
class OnAnotherDevice:
    """Stands for a tensor on another device than the CPU; simulated where there is none."""

    tensor: Tensor


@dataclass(frozen=True)
class BuiltModule:
    """Stands for a module made of trusted layers (`layers.build`) where the call is made.

    `layers` are a layer's name and its arguments, each; several are an `nn.Sequential`. `seed`
    initialises them, `state` is then loaded. The whole is put into the mode `training`, and the
    submodules named in `switched` into the other one. `about` describes it for a learner, who calls
    it `name`.
    """

    layers: tuple[tuple[Value, ...], ...]
    about: str
    seed: int = 0
    state: Mapping[str, Tensor] | None = None
    training: bool = True
    switched: tuple[str, ...] = ()
    name: str = "model"


@dataclass(frozen=True)
class ModuleState:
    """What is noted of a module that came back: the names of its classes within `torch.nn` (the
    nearest first), its own class's name, and its parameters and buffers."""

    kinds: tuple[str, ...]
    type_name: str
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Other:
    """Stands for a value that is none of the kinds below: its type's name and a short `repr`."""

    type_name: str
    text: str


Value: TypeAlias = (
    Tensor
    | bool
    | int
    | float
    | str
    | GeneratorSeed
    | OnAnotherDevice
    | BuiltModule
    | ModuleState
    | Other
    | tuple["Value", ...]
    | Mapping[str, "Value"]
    | None
)


@dataclass(frozen=True)
class Construct:
    """Make an instance of the learner's class and keep it under the step's name.

    `state` is loaded into it by `load_state_dict`, as a checkpoint would be.
    """

    name: str
    args: tuple[Value, ...] = ()
    kwargs: Mapping[str, Value] = field(default_factory=dict)
    state: Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class Call:
    """Call the learner's function, or the instance that a `Construct` named `instance` made.

    `seed` seeds torch's global generator before the call, and `drawn` numbers are drawn from it;
    None carries on from where the call before left it. With `upstream`, a tensor of the output's
    shape, gradients are sent back to every floating-point tensor among the arguments. `repeats`
    calls are stacked along a new first dimension. `training` puts an instance in train or eval mode
    first, through a parent module, as a model would; where it `switches_itself`, by its own
    `train()` or `eval()`, and what that returns is called. `records_gradients` False makes the call
    under `torch.no_grad`.
    """

    name: str
    args: tuple[Value, ...] = ()
    kwargs: Mapping[str, Value] = field(default_factory=dict)
    seed: int | None = None
    upstream: Tensor | None = None
    repeats: int = 1
    instance: str | None = None
    training: bool | None = None
    switches_itself: bool = False
    records_gradients: bool = True
    drawn: int = 0


@dataclass(frozen=True)
class Take:
    """Take the learner's value as it is (an exercise whose answer is no function)."""

    name: str


_BY_NAME = Tensor | OnAnotherDevice | BuiltModule  # shown by a name, told behind the call

Step: TypeAlias = Construct | Call | Take


@dataclass(frozen=True)
class Plan:
    """The steps of one check, in order; names are unique."""

    exercise: str
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        names = [step.name for step in self.steps]
        if len(set(names)) != len(names):
            raise ValueError(f"the plan of {self.exercise} uses a step name twice: {names}")

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def call(self, name: str) -> Call:
        """Return the call of that name; KeyError if the plan has none."""
        for step in self.steps:
            if step.name == name and isinstance(step, Call):
                return step
        raise KeyError(name)

    def construct(self, name: str) -> Construct:
        """Return the construction of that name; KeyError if the plan has none."""
        for step in self.steps:
            if step.name == name and isinstance(step, Construct):
                return step
        raise KeyError(name)


def describe(plan: Plan, name: str) -> str:
    """Say a step as a learner would write it: `inverted_dropout(x, p=0.3), x of shape [4, 8]`."""
    step = next(step for step in plan.steps if step.name == name)
    if isinstance(step, Take):
        return plan.exercise
    if isinstance(step, Construct):
        return f"{plan.exercise}({_arguments(step.args, step.kwargs)})"
    shown = _arguments(step.args, step.kwargs)
    if step.instance is None:
        called = f"{plan.exercise}({shown})"
    else:
        made = plan.construct(step.instance)
        mode = "" if step.training is None else (".train()" if step.training else ".eval()")
        called = f"{plan.exercise}({_arguments(made.args, made.kwargs)}){mode}({shown})"
    given = [
        f"{label} {_told(value)}"
        for label, value in zip(_labels(step.args, step.kwargs), _values(step), strict=True)
        if isinstance(value, _BY_NAME)
    ]
    times = f", {step.repeats} calls" if step.repeats > 1 else ""
    where = "" if step.records_gradients else ", under torch.no_grad()"
    return called + (f" with {', '.join(given)}" if given else "") + times + where


def _values(step: Call) -> tuple[Value, ...]:
    return (*step.args, *step.kwargs.values())


def _labels(args: tuple[Value, ...], kwargs: Mapping[str, Value]) -> list[str]:
    tensors = sum(isinstance(value, Tensor | OnAnotherDevice) for value in args)
    names = iter(["x"] if tensors == 1 else [f"x{i}" for i in range(1, tensors + 1)])
    given = [
        value.name
        if isinstance(value, BuiltModule)
        else next(names)
        if isinstance(value, Tensor | OnAnotherDevice)
        else ""
        for value in args
    ]
    return given + list(kwargs)


def _arguments(args: tuple[Value, ...], kwargs: Mapping[str, Value]) -> str:
    labels = _labels(args, kwargs)
    positional = [label or _plain(value) for label, value in zip(labels, args, strict=False)]
    named = [
        f"{key}={key if isinstance(value, _BY_NAME) else _plain(value)}"
        for key, value in kwargs.items()
    ]
    return ", ".join([*positional, *named])


def _plain(value: Value) -> str:
    if isinstance(value, GeneratorSeed):
        return f"torch.Generator().manual_seed({value.seed})"
    if isinstance(value, float):
        return f"{value:.4g}"
    return repr(value)


def _told(value: Tensor | OnAnotherDevice | BuiltModule) -> str:
    if isinstance(value, BuiltModule):
        return f"= {value.about}"
    if isinstance(value, OnAnotherDevice):
        return f"{_told(value.tensor)}, on another device"
    if value.numel() <= 5 and value.dim() == 1:
        return f"= {[round(float(v), 4) for v in value]}"
    dtype = "" if value.dtype is torch.float32 else f" and dtype {value.dtype}"
    return f"of shape {list(value.shape)}{dtype}"
