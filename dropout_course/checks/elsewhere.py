"""A stand-in for an accelerator: tensors that live elsewhere than the CPU, on any machine.

They hold CPU data and compute with it, but say that they are on another device, and refuse to be
mixed with CPU tensors, as a GPU's do. Code that looks at values works too, which it would not on
torch's own meta device. Knows nothing of plans and records.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")  # the label only; torch's meta kernels are never reached
MIXED = "Expected all tensors to be on the same device"


class ElsewhereTensor(Tensor):
    """A tensor labelled with `DEVICE` around `held`, a CPU tensor."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, held: Tensor) -> ElsewhereTensor:
        made: ElsewhereTensor = Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device=DEVICE
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return _compute(func, args, kwargs or {})


class Elsewhere(TorchDispatchMode):
    """While it is on, factories asked for `DEVICE` make an `ElsewhereTensor`."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # True would wrap the method below in a way that imports torch's compiler: over a second.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return _compute(func, args, kwargs or {})


def _compute(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an operator on the held tensors; label the result unless it was moved to the CPU."""
    given = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    labelled = [value for value in given if isinstance(value, ElsewhereTensor)]
    device = kwargs.get("device")
    if labelled and any(_on_the_cpu(value) for value in given):
        raise RuntimeError(f"{MIXED}, but found at least two devices, cpu and another one")
    if device is not None and torch.device(device) == DEVICE:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    wrappers = {id(value.held): value for value in labelled}
    result = func(*tree_map(_held, args), **tree_map(_held, kwargs))
    stays = torch.device(device) == DEVICE if device is not None else _any_elsewhere(given)
    if not stays:
        return result
    # An operator that works in place returns its argument: give back the same wrapper.
    return tree_map(lambda value: _label(value, wrappers), result)


def _any_elsewhere(given: list[Tensor]) -> bool:
    return any(value.device == DEVICE for value in given)


def _on_the_cpu(value: Tensor) -> bool:
    # Torch lets a scalar tensor on the CPU meet any device.
    return value.device != DEVICE and value.dim() > 0


def _held(value: Any) -> Any:
    if isinstance(value, ElsewhereTensor):
        return value.held
    if isinstance(value, Tensor) and value.device == DEVICE:
        # torch.tensor(…, device=…) makes a meta tensor without asking anybody: its data are lost.
        return torch.ones(value.shape, dtype=value.dtype)
    return value


def _label(value: Any, wrappers: dict[int, ElsewhereTensor]) -> Any:
    if not isinstance(value, Tensor):
        return value
    known = wrappers.get(id(value))
    return ElsewhereTensor(value) if known is None else known
