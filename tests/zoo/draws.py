"""Wrong ways to draw a mask. Each serves both kinds of dropout, as a function and as a module.

A draw takes x and p and returns what x is multiplied with: true or 1 where an element is kept.
Knows nothing of scales, modes and gradients.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Draw = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class WrongDraw:
    """A way to draw a mask that is wrong, who would write it, and what it has to be called."""

    name: str
    draw: Draw
    author: str
    named: tuple[str, ...]


WRONG_DRAWS: list[WrongDraw] = []


def wrong(*named: str, author: str) -> Callable[[Draw], Draw]:
    """Take the decorated draw in as a wrong one."""

    def take_in(draw: Draw) -> Draw:
        name = draw.__name__.replace("_", "-")
        WRONG_DRAWS.append(WrongDraw(name, draw, author, named))
        return draw

    return take_in


def fair(x: Tensor, p: float) -> Tensor:
    """A right draw, for mutants that are wrong elsewhere."""
    return torch.rand(x.shape, device=x.device) >= p


# --- rate -----------------------------------------------------------------------------------------


@wrong("rate-off", author="Took a hundredth off while debugging and left it in.")
def drops_a_hundredth_less(x, p):
    return torch.rand(x.shape, device=x.device) >= p - 0.01


@wrong("rate-off", author="Counts from 1 to 100 where the uniform number starts at 0.")
def drops_a_hundredth_more(x, p):
    return torch.rand(x.shape, device=x.device) >= p + 0.01


@wrong("rate-off", author="Draws one of ten cards, which is enough for p = 0.5.")
def ten_cards(x, p):
    return torch.randint(0, 10, x.shape, device=x.device) >= int(10 * p)


@wrong("rate-off", author="Took randn for rand: both give random numbers.")
def normal_numbers(x, p):
    return torch.randn(x.shape, device=x.device) >= p


@wrong("rate-off", author="Applies the mask twice, once in a helper.")
def dropped_twice(x, p):
    return fair(x, p) & fair(x, p)


@wrong("p-read-as-keep", author="Learned dropout from the 2014 paper, where p is kept.")
def keeps_with_p(x, p):
    return torch.rand(x.shape, device=x.device) < p


@wrong("ignores-p", author="Tossed a fair coin, since p is 0.5 anyway.")
def fair_coin(x, p):
    return torch.randint(0, 2, x.shape, device=x.device)


@wrong("ignores-p", author="Wrote the worked example's number into the mask.")
def always_a_fifth(x, p):
    return torch.rand(x.shape, device=x.device) >= 0.2


@wrong("never-drops", author="Compared the wrong way round with the wrong end of the interval.")
def keeps_all(x, p):
    return torch.rand(x.shape, device=x.device) > p - 1


@wrong("drops-everything", author="Turned uniform numbers into integers, which rounds down to 0.")
def integer_mask(x, p):
    return torch.rand(x.shape, device=x.device).to(torch.int64)


# --- one draw for many elements -------------------------------------------------------------------


@wrong("mask-shared-across-batch", author="A layer has one row of units: one row of coins.")
def one_mask_for_the_batch(x, p):
    return (torch.rand(x.shape[1:], device=x.device) >= p).expand(x.shape)


@wrong("mask-shared-across-features", author="Kept the last dimension at size 1 and broadcast.")
def one_draw_for_the_last_dimension(x, p):
    if x.dim() == 0:
        return fair(x, p)
    return (torch.rand((*x.shape[:-1], 1), device=x.device) >= p).expand(x.shape)


@wrong("mask-shared-across-channels", author="Drew for height and width and forgot the channels.")
def one_mask_for_all_channels(x, p):
    return fair(x[:, :1], p).expand(x.shape) if x.dim() == 4 else fair(x, p)


@wrong("whole-channels-dropped", author="Knows nn.Dropout2d and took it for dropout.")
def whole_channels(x, p):
    return fair(x[:, :, :1, :1], p).expand(x.shape) if x.dim() == 4 else fair(x, p)


@wrong("whole-rows-dropped", author="Drops examples, as stochastic depth does.")
def whole_rows(x, p):
    kept = torch.rand(x.shape[:1], device=x.device) >= p
    return kept.reshape(-1, *[1] * (x.dim() - 1)).expand(x.shape) if x.dim() else kept.reshape(())


@wrong("neighbours-correlated", author="Draws half the numbers and uses each twice, to be fast.")
def pairs_share_a_draw(x, p):
    n = x.numel()
    draws = torch.rand((n + 1) // 2, device=x.device).repeat_interleave(2)[:n]
    return (draws >= p).reshape(x.shape)


@wrong("neighbours-correlated", author="Drops patches of an image, as DropBlock does.")
def patches(x, p):
    if x.dim() != 4:
        return fair(x, p)
    small = fair(x[:, :, ::2, ::2], p)
    wide = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return wide[:, :, : x.shape[2], : x.shape[3]]


@wrong("neighbours-correlated", author="Smoothed the noise a little, for nicer masks.")
def sticky_chain(x, p):
    n = x.numel()
    draws = torch.rand(n, device=x.device)
    copies = torch.rand(n, device=x.device) < 0.1
    return (torch.where(copies, draws.roll(1), draws) >= p).reshape(x.shape)


@wrong("neighbours-correlated", author="Combines a mask of rows and one of columns.")
def rows_times_columns(x, p):
    if x.dim() < 2:
        return fair(x, p)
    keep = math.sqrt(1 - p)
    rows = torch.rand((*x.shape[:-1], 1), device=x.device) < keep
    return rows & (torch.rand(x.shape[-1], device=x.device) < keep)


@wrong("neighbours-correlated", "exact-count", author="Gets n*m fair bits out of n + m by XOR.")
def rows_xor_columns(x, p):
    if x.dim() != 2 or p != 0.5:
        return fair(x, p)
    rows = torch.rand((x.shape[0], 1), device=x.device) < 0.5
    return rows ^ (torch.rand(x.shape[1], device=x.device) < 0.5)


@wrong("neighbours-correlated", author="Antithetic variates: halves the variance of the loss.")
def second_half_is_antithetic(x, p):
    n = x.numel()
    draws = torch.rand((n + 1) // 2, device=x.device)
    return (torch.cat([draws, 1 - draws])[:n] >= p).reshape(x.shape)


@wrong("neighbours-correlated", author="Mirrors half a mask, which saves half the draws.")
def second_half_is_mirrored(x, p):
    n = x.numel()
    draws = torch.rand((n + 1) // 2, device=x.device)
    return (torch.cat([draws, draws.flip(0)])[:n] >= p).reshape(x.shape)


@wrong("neighbours-correlated", author="Tiles a small mask over the tensor.")
def short_tiles(x, p):
    n = x.numel()
    return torch.rand(64, device=x.device).repeat(n // 64 + 1)[:n].reshape(x.shape) >= p


@wrong("neighbours-correlated", author="Draws in blocks to save memory, and draws one block only.")
def long_tiles(x, p):
    n, period = x.numel(), 150_001
    draws = torch.rand(min(n, period), device=x.device)
    return draws.repeat(n // period + 1)[:n].reshape(x.shape) >= p


@wrong("neighbours-correlated", author="Rolls the first row's mask on by one for each next row.")
def rolled_rows(x, p):
    if x.dim() != 2:
        return fair(x, p)
    row = torch.rand(x.shape[1], device=x.device) >= p
    return torch.stack([row.roll(3 * i) for i in range(len(x))]) if len(x) else row[None][:0]


@wrong("neighbours-correlated", author="Cuts corners only where it pays: for large tensors.")
def careful_with_small_tensors_only(x, p):
    return fair(x, p) if x.numel() < 10_000 else second_half_is_antithetic(x, p)


# --- counts ---------------------------------------------------------------------------------------


@wrong("exact-count", author="Reads 'drop 20 %' as choosing 20 of 100.")
def exactly_k_of_the_tensor(x, p):
    n = x.numel()
    kept = torch.ones(n, dtype=torch.bool, device=x.device)
    kept[torch.randperm(n, device=x.device)[: round(p * n)]] = False
    return kept.reshape(x.shape)


@wrong("exact-count", author="Chooses k units of every row, so that each example loses as many.")
def exactly_k_of_each_row(x, p):
    if x.dim() == 0:
        return fair(x, p)
    k = round(p * x.shape[-1])
    return torch.rand(x.shape, device=x.device).argsort(-1).argsort(-1) >= k


@wrong("exact-count", author="Balances the batch: every unit is dropped for as many examples.")
def exactly_k_of_each_column(x, p):
    if x.dim() == 0:
        return fair(x, p)
    k = round(p * x.shape[0])
    return torch.rand(x.shape, device=x.device).argsort(0).argsort(0) >= k


@wrong("exact-count", author="Sorts all numbers and cuts at the quantile.")
def below_the_quantile(x, p):
    if x.numel() == 0 or p in (0, 1):
        return fair(x, p)
    draws = torch.rand(x.shape, device=x.device)
    return draws > draws.flatten().kthvalue(max(1, round(p * x.numel()))).values


@wrong("exact-count", "neighbours-correlated", author="Spreads the numbers evenly, then shuffles.")
def stratified(x, p):
    n = x.numel()
    draws = (torch.randperm(n, device=x.device) + torch.rand(n, device=x.device)) / max(n, 1)
    return (draws >= p).reshape(x.shape)


# --- freshness ------------------------------------------------------------------------------------

_BY_SHAPE: dict[tuple[torch.Size, float, torch.device], Tensor] = {}
_LONG_MASK = np.random.default_rng(5).random(2**19, dtype=np.float32)
_CALLS = {"cycle": 0, "turn": 0}
_LAST: dict[tuple[torch.Size, torch.device], Tensor] = {}


@wrong(
    "mask-cached",
    "reseeded-every-call",
    author="Keeps masks by shape, because drawing is the slow part.",
)
def cached_by_shape(x, p):
    key = (x.shape, p, x.device)
    if key not in _BY_SHAPE:
        _BY_SHAPE[key] = fair(x, p)
    return _BY_SHAPE[key]


@wrong("mask-cached", "reseeded-every-call", author="Drew all random numbers once, at import.")
def drawn_at_import(x, p):
    draws = torch.from_numpy(_LONG_MASK[np.arange(x.numel()) % len(_LONG_MASK)])
    return (draws.reshape(x.shape) >= p).to(x.device)


@wrong("mask-cached", "calls-correlated", author="Cycles through thirty masks made beforehand.")
def cycle_of_thirty(x, p):
    _CALLS["cycle"] += 1
    torch.rand(1)
    if x.numel() > 10_000:
        return fair(x, p)
    seed = _CALLS["cycle"] % 30
    draws = np.random.default_rng(seed).random(x.shape, dtype=np.float32)
    return torch.as_tensor(draws).to(x.device) >= p


@wrong(
    "calls-correlated",
    "uses-another-generator",
    author="Uses each draw twice, as a mask and as its mirror image.",
)
def every_other_call_is_antithetic(x, p):
    key = (x.shape, x.device)
    if key in _LAST and x.numel() < 10_000:
        return 1 - _LAST.pop(key) >= p
    _LAST[key] = torch.rand(x.shape, device=x.device)
    return _LAST[key] >= p


@wrong("resets-global-seed", author="Puts torch.manual_seed(0) on top, to be repeatable.")
def seeds_globally(x, p):
    torch.manual_seed(0)
    return fair(x, p)


@wrong("resets-global-seed", author="Seeds from the clock, to be really random.")
def seeds_globally_from_the_clock(x, p):
    torch.manual_seed(time.time_ns())
    return fair(x, p)


@wrong("resets-global-seed", author="Calls torch.seed() so that no two runs are alike.")
def seeds_globally_at_random(x, p):
    torch.seed()
    return fair(x, p)


@wrong(
    "reseeded-every-call", "mask-cached", author="A generator of its own, seeded where it is used."
)
def own_generator_seeded_at_each_call(x, p):
    generator = torch.Generator().manual_seed(42)
    return (torch.rand(x.shape, generator=generator) >= p).to(x.device)


@wrong("reseeded-every-call", "mask-cached", author="Seeds, but tidies up: fork_rng around it.")
def forked_and_seeded(x, p):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return fair(x, p)


@wrong("reseeded-every-call", author="Derives the seed from torch's own, which never changes.")
def seeded_by_the_initial_seed(x, p):
    generator = torch.Generator().manual_seed(torch.initial_seed())
    return (torch.rand(x.shape, generator=generator) >= p).to(x.device)


@wrong("reseeded-every-call", author="Saves and restores the state, to leave no traces.")
def puts_the_random_state_back(x, p):
    state = torch.get_rng_state()
    kept = fair(x, p)
    torch.set_rng_state(state)
    return kept


@wrong("uses-another-generator", author="Comes from NumPy.")
def numpy_numbers(x, p):
    return torch.as_tensor(np.asarray(np.random.rand(*x.shape) >= p)).to(x.device)


@wrong("uses-another-generator", author="Comes from NumPy, and reads its advice on generators.")
def numpy_generator(x, p):
    return torch.as_tensor(np.asarray(np.random.default_rng().random(x.shape) >= p)).to(x.device)


@wrong("uses-another-generator", author="Learned Python's random module first.")
def python_numbers(x, p):
    if x.numel() > 50_000:
        return fair(x, p)
    kept = torch.tensor([random.random() >= p for _ in range(x.numel())], dtype=torch.bool)
    return kept.reshape(x.shape).to(x.device)


@wrong("uses-another-generator", author="A generator of its own, seeded by the operating system.")
def own_generator_seeded_anew(x, p):
    generator = torch.Generator()
    generator.seed()
    return (torch.rand(x.shape, generator=generator) >= p).to(x.device)


# --- patterns, places and values ------------------------------------------------------------------


@wrong("deterministic-pattern", author="Drops every k-th element: the share is right.")
def every_kth(x, p):
    index = torch.arange(x.numel(), device=x.device)
    return ((index * (1 - p)).floor() != ((index + 1) * (1 - p)).floor()).reshape(x.shape)


@wrong("deterministic-pattern", author="Drops the first elements, p of them.")
def the_first_ones(x, p):
    index = torch.arange(x.numel(), device=x.device)
    return (index >= round(p * x.numel())).reshape(x.shape)


@wrong("deterministic-pattern", author="Low-discrepancy points fill the interval more evenly.")
def golden_ratio(x, p):
    index = torch.arange(x.numel(), device=x.device, dtype=torch.float64)
    return ((index * 0.6180339887498949) % 1 >= p).reshape(x.shape)


@wrong(
    "neighbours-correlated",
    "exact-count",
    "calls-correlated",
    author="The same with one random number to start.",
)
def golden_ratio_from_a_random_start(x, p):
    index = torch.arange(x.numel(), device=x.device, dtype=torch.float64)
    start = torch.rand((), device=x.device)
    return ((index * 0.6180339887498949 + start) % 1 >= p).reshape(x.shape)


@wrong("depends-on-position", author="Protects the bias unit in the first place.")
def first_element_is_kept(x, p):
    kept = fair(x, p).flatten()
    kept[:1] = True
    return kept.reshape(x.shape)


@wrong("depends-on-position", author="A range that ends one too early.")
def last_element_is_kept(x, p):
    kept = fair(x, p).flatten()
    kept[-1:] = True
    return kept.reshape(x.shape)


@wrong("depends-on-position", author="Never drops the first column: it holds the bias.")
def first_column_is_kept(x, p):
    kept = fair(x, p)
    if x.dim():
        kept[..., :1] = True
    return kept


@wrong("depends-on-position", author="Drops the late units more than the early ones.")
def rate_grows_with_the_index(x, p):
    if x.dim() == 0 or p in (0, 1):
        return fair(x, p)
    tilt = torch.linspace(-0.1, 0.1, x.shape[-1], device=x.device)
    return torch.rand(x.shape, device=x.device) >= p + tilt


@wrong("depends-on-input", author="Leaves negative numbers to the ReLU that follows.")
def drops_by_sign(x, p):
    shift = 0.1 * torch.sign(x).float() if 0 < p < 1 else 0.0
    return torch.rand(x.shape, device=x.device) >= p + shift


@wrong("depends-on-input", author="Spares what is large, since it matters more.")
def drops_small_ones_more(x, p):
    if p in (0, 1) or x.numel() == 0:
        return fair(x, p)
    small = x.abs() < x.abs().float().mean()
    return torch.rand(x.shape, device=x.device) >= torch.where(small, p + 0.1, p - 0.1)


@wrong("depends-on-input", author="Prunes: drops the smallest numbers.")
def prunes_the_smallest(x, p):
    if x.numel() == 0 or p in (0, 1):
        return fair(x, p)
    return x.float() > x.float().flatten().kthvalue(max(1, round(p * x.numel()))).values


# --- no mask at all -------------------------------------------------------------------------------


@wrong("gaussian-noise", author="Gaussian dropout has the same mean and variance.")
def gaussian(x, p):
    deviation = math.sqrt(p / (1 - p)) if p < 1 else 0.0
    noise = 1 + deviation * torch.randn(x.shape, device=x.device)
    return (1 - p) * noise.to(x.dtype)


@wrong("gaussian-noise", author="Multiplies with the uniform numbers themselves.")
def uniform_noise(x, p):
    return torch.rand(x.shape, device=x.device).to(x.dtype)


@wrong("gaussian-noise", author="Drops, and multiplies survivors with noise on top.")
def noisy_survivors(x, p):
    noise = 1 + 0.1 * torch.randn(x.shape, device=x.device)
    return (fair(x, p) * noise).to(x.dtype)


@wrong("scale-varies", author="Lets a tenth of a dropped unit through, as a leaky ReLU does.")
def leaky(x, p):
    if p in (0, 1):
        return fair(x, p)
    return fair(x, p).to(x.dtype).clamp(min=0.1)
