"""Classes with dropout inside: the settings show the mask, and the promises of the judge are true.

The alternatives of the guarantees are computed by exact tails for the calls that the plans make.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dropout_course.checks.dropout.inside import AttentionWeights, HiddenUnits, Layout
from dropout_course.checks.dropout.repairs import (
    COARSE_SHIFT,
    NEIGHBOUR_CORRELATION,
    RATE_CALLS,
    RATE_LEVEL,
    RATE_SHIFT,
    RepairEvidence,
    repair_criteria,
    repair_plan,
)
from dropout_course.checks.isolation import one_thread
from dropout_course.checks.plan import Plan
from dropout_course.checks.record import Record
from dropout_course.checks.statistics import (
    FALSE_ALARM,
    MISS,
    elements_needed,
    miss_rate,
    modal_count_p_value,
)
from dropout_course.course import EXERCISES

LAYOUTS = (HiddenUnits(), AttentionWeights())
REPAIRS = ("RepairedFunctional", "RepairedAttention", "RepairedModes")
RATES = (0.15, 0.2, 0.3, 0.4, 0.6, 0.85)


class Hidden(nn.Module):
    def __init__(self, features: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(features, hidden), nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(torch.relu(self.first(x)))
        return output


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        output: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return output


CLASSES = {HiddenUnits: Hidden, AttentionWeights: Attention}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: type(layout).__name__)
@pytest.mark.parametrize("kind", ["plain", "dense", "natural"])
def test_a_layout_computes_what_torch_computes(layout: Layout, kind: str) -> None:
    rng = np.random.default_rng(0)
    setting = layout.plain(rng, 1000) if kind == "plain" else getattr(layout, kind)(rng)
    model = CLASSES[type(layout)](**setting.sizes)  # type: ignore[arg-type]
    model.load_state_dict(dict(setting.state))
    with torch.no_grad():
        found = layout.output(setting, 1.0)
        assert torch.allclose(found, model(setting.x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: type(layout).__name__)
@pytest.mark.parametrize("kind", ["plain", "dense"])
def test_multipliers_are_read_back_from_the_output(layout: Layout, kind: str) -> None:
    rng = np.random.default_rng(1)
    setting = layout.plain(rng, 1000) if kind == "plain" else layout.dense(rng)
    elements = layout.elements(setting)
    assert elements.numel() >= 500
    assert bool((elements > 1e-4).all())
    given = (torch.from_numpy(rng.random(tuple(elements.shape))) < 0.6).float() / 0.6
    output = layout.output(setting, given)
    for read in (layout.read, layout.read_again) if kind == "dense" else (layout.read,):
        assert torch.allclose(read(setting, output), elements * given, rtol=1e-4, atol=1e-5)


def test_a_plain_setting_has_the_elements_that_were_asked_for() -> None:
    for layout in LAYOUTS:
        setting = layout.plain(np.random.default_rng(0), 4096)
        assert 4096 <= layout.elements(setting).numel() < 2 * 4096


@pytest.fixture(scope="module", params=LAYOUTS, ids=lambda layout: type(layout).__name__)
def sizes(request: pytest.FixtureRequest) -> dict[str, tuple[int, ...]]:
    """The shapes of the masks that a check measures."""
    layout: Layout = request.param
    with one_thread():
        plan = repair_plan("Repaired", layout, np.random.default_rng(0))
    seen = RepairEvidence(plan, Record("Repaired", {}), layout, "raises")
    return {name: tuple(layout.elements(seen.setting(name)).shape) for name in RATE_CALLS}


@pytest.mark.parametrize("p", RATES)
def test_a_rate_that_is_off_is_seen(p: float, sizes: dict[str, tuple[int, ...]]) -> None:
    needed = elements_needed(p, RATE_SHIFT, RATE_LEVEL)
    for shift in (RATE_SHIFT, -RATE_SHIFT):
        assert miss_rate(needed, 1 - p, 1 - p + shift, RATE_LEVEL) <= MISS
    for shift in (COARSE_SHIFT, -COARSE_SHIFT):
        elements = int(np.prod(sizes["default_p"]))
        assert miss_rate(elements, 0.5, 0.5 + shift, RATE_LEVEL) <= MISS


@pytest.mark.parametrize("p", RATES)
def test_correlated_neighbours_are_seen(p: float, sizes: dict[str, tuple[int, ...]]) -> None:
    pairs = elements_needed(p, RATE_SHIFT, RATE_LEVEL) // 2
    agree, tests = p**2 + (1 - p) ** 2, len(sizes["large"]) + 1
    shift = 2 * p * (1 - p) * NEIGHBOUR_CORRELATION
    assert miss_rate(pairs, agree, agree + shift, FALSE_ALARM / tests) <= MISS


@pytest.mark.parametrize("p", RATES)
def test_exactly_k_dropped_is_seen(p: float, sizes: dict[str, tuple[int, ...]]) -> None:
    row = sizes["large"][-1]
    rows = elements_needed(p, RATE_SHIFT, RATE_LEVEL) // row
    for kept in range(row + 1):
        tests = len(sizes["large"]) + 1
        assert tests * modal_count_p_value(np.full(rows, kept), row, 1 - p) < FALSE_ALARM


def test_the_promises_are_at_most_one_in_a_billion() -> None:
    promised = [c.guarantee for c in repair_criteria(HiddenUnits()) if c.guarantee is not None]
    assert len(promised) == 2
    assert all(0 < one.false_alarm <= 1e-9 and 0 <= one.miss <= 1e-9 for one in promised)


@pytest.mark.parametrize("name", REPAIRS)
def test_a_check_draws_a_rate_below_and_one_above_one_half(name: str) -> None:
    plan: Plan = EXERCISES[name].plan(np.random.default_rng(3))
    rates = [plan.construct(step).kwargs["p"] for step in ("plain", "mixed")]
    assert sorted(rate > 0.5 for rate in rates if isinstance(rate, float)) == [False, True]
