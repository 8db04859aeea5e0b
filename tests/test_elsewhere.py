"""The simulated device: right code runs on it as on the CPU, code that mixes devices raises."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from dropout_course.checks.elsewhere import DEVICE, MIXED, Elsewhere, ElsewhereTensor

Dropout = Callable[[Tensor], Tensor]


def indexed(x: Tensor) -> Tensor:
    out = x.clone()
    out[torch.rand_like(x) < 0.5] = 0
    return out


@torch.jit.script
def scripted(x: Tensor) -> Tensor:
    return x * (torch.rand_like(x) >= 0.5) / 0.5


ON_THE_DEVICE: dict[str, Dropout] = {
    "rand_like": lambda x: x * (torch.rand_like(x) < 0.5),
    "device argument": lambda x: x * (torch.rand(x.shape, device=x.device) < 0.5),
    "moved by device": lambda x: x * (torch.rand(x.shape) < 0.5).to(x.device),
    "moved by tensor": lambda x: x * (torch.rand(x.shape) < 0.5).to(x),
    "bernoulli": lambda x: x * torch.bernoulli(torch.full_like(x, 0.5)),
    "bernoulli in place": lambda x: x * torch.empty_like(x).bernoulli_(0.5).div_(0.5),
    "new_empty": lambda x: x * x.new_empty(x.shape).bernoulli_(0.5),
    "distribution": lambda x: x * torch.distributions.Bernoulli(torch.full_like(x, 0.5)).sample(),
    "where": lambda x: torch.where(torch.rand_like(x) < 0.5, x, 0.0),
    "masked_fill": lambda x: x.masked_fill(torch.rand_like(x) < 0.5, 0.0),
    "indexed": indexed,
    "looks at values": lambda x: x * 0 if x.sum().item() > 1e9 else x.clone(),
    "scripted": scripted,
    "made from a list": lambda x: x * torch.tensor([1.0, 0.0, 1.0, 1.0], device=x.device),
    "scalar from the CPU": lambda x: x * torch.tensor(2.0),
}

MIXING: dict[str, Dropout] = {
    "rand on the CPU": lambda x: x * (torch.rand(x.shape) < 0.5),
    "where on the CPU": lambda x: torch.where(torch.rand(x.shape) < 0.5, x, torch.zeros(())),
    "distribution on the CPU": lambda x: x * torch.distributions.Bernoulli(0.5).sample(x.shape),
    "from numpy": lambda x: x * torch.from_numpy(np.random.default_rng(0).random((3, 4)) < 0.5),
}


@pytest.mark.parametrize("function", ON_THE_DEVICE.values(), ids=ON_THE_DEVICE)
def test_code_that_stays_on_the_device_works_and_stays(function: Dropout) -> None:
    held = torch.full((3, 4), 2.0)
    with Elsewhere():
        out = function(ElsewhereTensor(held))
    assert isinstance(out, ElsewhereTensor)
    assert out.device == DEVICE
    assert set(out.held.unique().tolist()) <= {0.0, 2.0, 4.0}


@pytest.mark.parametrize("function", MIXING.values(), ids=MIXING)
def test_mixing_with_the_cpu_raises_as_on_a_gpu(function: Dropout) -> None:
    with Elsewhere(), pytest.raises(RuntimeError, match=MIXED):
        function(ElsewhereTensor(torch.ones(3, 4)))


def test_a_result_moved_to_the_cpu_is_seen_there() -> None:
    with Elsewhere():
        out = ElsewhereTensor(torch.ones(3, 4)).cpu() * torch.ones(3, 4)
    assert not isinstance(out, ElsewhereTensor)
    assert out.device.type == "cpu"


def test_work_in_place_changes_the_held_tensor() -> None:
    held = torch.ones(3)
    with Elsewhere():
        ElsewhereTensor(held).mul_(0.0)
    assert torch.equal(held, torch.zeros(3))


def test_no_compiler_is_imported_for_it() -> None:
    """Importing torch's compiler takes over a second: a first check would feel broken."""
    code = (
        "import sys, torch\n"
        "from dropout_course.checks.elsewhere import Elsewhere, ElsewhereTensor\n"
        "x = ElsewhereTensor(torch.ones(3))\n"
        "with Elsewhere(): x * (torch.rand(x.shape, device=x.device) < 0.5)\n"
        "sys.exit('torch._dynamo' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
