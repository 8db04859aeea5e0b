"""Standard dropout as a function: wrong masks, numbers, modes and manners, and right styles.

Knows nothing of how they are judged.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tests.zoo.draws import WRONG_DRAWS, fair
from tests.zoo.species import Enclosure

ZOO = Enclosure("standard_dropout")


def drawing_with(draw):
    """Standard dropout that is right but for its draw."""

    def standard_dropout(x, p=0.5, training=True):
        return x * draw(x, p) if training else x * (1 - p)

    return standard_dropout


def scaling_with(survivors, inference):
    """Standard dropout that is right but for its two factors."""

    def standard_dropout(x, p=0.5, training=True):
        return x * fair(x, p) * survivors(p) if training else x * inference(p)

    return standard_dropout


def computing_with(compute):
    """Standard dropout that leaves training to `compute(x, kept, p)`."""

    def standard_dropout(x, p=0.5, training=True):
        return compute(x, fair(x, p), p) if training else x * (1 - p)

    return standard_dropout


for wrong in WRONG_DRAWS:
    ZOO.add_mutant(wrong.name, drawing_with(wrong.draw), wrong.author, *wrong.named)

# --- scales ---------------------------------------------------------------------------------------

for name, survivors, inference, named, author in (
    (
        "inverted",
        lambda p: 1 / (1 - p) if p < 1 else 0,
        lambda p: 1,
        "inverted-instead-of-standard",
        "Knows PyTorch's kind only.",
    ),
    (
        "both",
        lambda p: 1 / (1 - p) if p < 1 else 0,
        lambda p: 1 - p,
        "scaled-at-both",
        "Scales in both modes, to be sure.",
    ),
    ("keep", lambda p: 1 - p, lambda p: 1 - p, "scaled-by-keep-prob", "Same factor in both modes."),
    ("times-p", lambda p: p if p else 1, lambda p: 1 - p, "scaled-by-p", "Multiplies with p."),
    ("doubled", lambda p: 2, lambda p: 1 - p, "hard-coded-two", "Saw the result for p = 0.5."),
    ("halved", lambda p: 0.5, lambda p: 1 - p, "hard-coded-half", "Saw it upside down."),
    ("root", lambda p: (1 - p) ** 0.5, lambda p: 1 - p, "wrong-scale", "Keeps the variance."),
    ("never", lambda p: 1, lambda p: 1, "no-scaling-at-inference", "Forgot about inference."),
    ("p", lambda p: 1, lambda p: p, "p-read-as-keep", "Uses the paper's p at inference only."),
    (
        "over-keep",
        lambda p: 1,
        lambda p: 1 / (1 - p) if p < 1 else 0,
        "wrong-inference-scale",
        "Divides where it should multiply.",
    ),
    ("half", lambda p: 1, lambda p: 0.5, "wrong-inference-scale", "Wrote the default's factor."),
):
    ZOO.add_mutant(f"scale-{name}", scaling_with(survivors, inference), author, named)


@ZOO.mutant("p-read-as-keep", author="Takes the 2014 paper's p for the argument's.")
def p_is_kept(x, p=0.5, training=True):
    return x * (torch.rand(x.shape, device=x.device) < p) if training else x * p


@ZOO.mutant("scaled-by-survivor-count", author="Divides by the share that survived.")
def scaled_by_survivors_of_the_call(x, p=0.5, training=True):
    if not training:
        return x * (1 - p)
    kept = fair(x, p).to(x.dtype)
    return x * kept * (x.numel() / kept.double().sum().clamp(min=1)).to(x.dtype)


# --- modes ----------------------------------------------------------------------------------------


@ZOO.mutant("drops-at-inference", author="Did not use the argument.")
def always_on(x, p=0.5, training=True):
    return x * fair(x, p)


@ZOO.mutant("never-drops", author="Scales in both modes and never drops.")
def always_off(x, p=0.5, training=True):
    return x * (1 - p)


@ZOO.mutant("modes-swapped", author="A `not` too many.")
def modes_swapped(x, p=0.5, training=True):
    return x * fair(x, p) if not training else x * (1 - p)


@ZOO.mutant("drops-at-inference", author="Drops in both modes, scales at inference on top.")
def drops_and_scales_at_inference(x, p=0.5, training=True):
    out = x * fair(x, p)
    return out if training else out * (1 - p)


@ZOO.mutant("draws-at-inference", author="Draws on the first line, decides on the last.")
def draws_before_it_decides(x, p=0.5, training=True):
    kept = fair(x, p)
    return x * kept if training else x * (1 - p)


@ZOO.mutant("changes-inference", author="Averages fifty masks instead of using their mean.")
def samples_at_inference(x, p=0.5, training=True):
    if training or p in (0, 1):
        return x * fair(x, p)
    return torch.stack([x * fair(x, p) + 1e-3 * x for _ in range(50)]).mean(0)


@ZOO.mutant("wrong-default", author="Prefers p = 0.2, as the article does.")
def another_default_rate(x, p=0.2, training=True):
    return drawing_with(fair)(x, p, training)


@ZOO.mutant("wrong-default", author="Takes inference for the normal case.")
def another_default_mode(x, p=0.5, training=False):
    return drawing_with(fair)(x, p, training)


# --- gradients and manners ------------------------------------------------------------------------


@ZOO.mutant("gradient-detached", author="Detaches, because the mask is random.")
def detached(x, p=0.5, training=True):
    return drawing_with(fair)(x.detach(), p, training)


@ZOO.mutant("gradient-detached", author="Thinks that inference needs no gradient.")
def detached_at_inference(x, p=0.5, training=True):
    return x * fair(x, p) if training else x.detach() * (1 - p)


@ZOO.mutant("straight-through", author="Replaces values behind autograd's back.")
def straight_through(x, p=0.5, training=True):
    return x + (x * fair(x, p) - x).detach() if training else x * (1 - p)


@ZOO.mutant("gradient-wrong-scale", author="Multiplies by 1 - p behind autograd's back.")
def unscaled_gradient_at_inference(x, p=0.5, training=True):
    return x * fair(x, p) if training else x - (x * p).detach()


@ZOO.mutant("changes-its-input", author="Saves memory with `*=`.")
def multiplies_in_place(x, p=0.5, training=True):
    x *= fair(x, p) if training else 1 - p
    return x


@ZOO.mutant("changes-its-input", author="Scales in place at inference, where nobody looks.")
def scales_in_place_at_inference(x, p=0.5, training=True):
    return x * fair(x, p) if training else x.data.mul_(1 - p) + (x - x.data)


@ZOO.mutant("changes-its-input", author="Assigns zeros by index, through .data.")
def assigns_zeros(x, p=0.5, training=True):
    if not training:
        return x * (1 - p)
    kept = fair(x, p)
    x.data[~kept] = 0
    return x * kept


for name, compute, named, author in (
    (
        "float-mask",
        lambda x, kept, p: x * kept.float(),
        "changes-dtype",
        "Does not convert the float32 mask.",
    ),
    ("double", lambda x, kept, p: x.double() * kept, "changes-dtype", "Computes in double."),
    (
        "cpu-mask",
        lambda x, kept, p: x * (torch.rand(x.shape) >= p),
        "wrong-device",
        "Works on the CPU only.",
    ),
    ("flattened", lambda x, kept, p: (x * kept).flatten(), "changes-shape", "Does not fold back."),
    ("compressed", lambda x, kept, p: x[kept], "changes-shape", "Removes what is dropped."),
    (
        "view",
        lambda x, kept, p: (x.view(-1) * kept.view(-1)).view(x.shape),
        "one-shape-only",
        "Uses view, which a transposed tensor refuses.",
    ),
    ("with-mask", lambda x, kept, p: (x * kept, kept), "wrong-type", "Returns the mask as well."),
    ("nothing", lambda x, kept, p: None, "returns-nothing", "Forgot to return."),
    ("mask", lambda x, kept, p: kept.to(x.dtype), "scale-varies", "Returns the mask itself."),
    (
        "p-zero-default",
        lambda x, kept, p: x * fair(x, p or 0.5),
        "p-zero-not-identity",
        "`p or 0.5` fills the default in, for p = 0 too.",
    ),
    (
        "p-one-identity",
        lambda x, kept, p: x if p == 1 else x * kept,
        "p-one-not-zeros",
        "Takes p = 1 for 'keep all'.",
    ),
    (
        "over-p-one",
        lambda x, kept, p: x * kept / (1 - p) * (1 - p),
        "nan-at-p-one",
        "Divides and multiplies by the same number.",
    ),
    (
        "maximum",
        lambda x, kept, p: x * kept if x.max() >= x.min() else x,
        "empty-tensor",
        "Asks an empty tensor for its maximum.",
    ),
    ("library", lambda x, kept, p: F.dropout(x, p) * (1 - p), "calls-the-library", "Undoes it."),
    (
        "library-mask",
        lambda x, kept, p: torch.where(F.dropout(torch.ones_like(x), p) > 0, x, x * 0),
        "calls-the-library",
        "Lets the library draw.",
    ),
):
    ZOO.add_mutant(name, computing_with(compute), author, named)


@ZOO.mutant("one-shape-only", author="Has vectors in mind.")
def vectors_only(x, p=0.5, training=True):
    kept = torch.rand(x.shape[0], device=x.device) >= p
    return x * kept if training else x * (1 - p)


@ZOO.mutant("one-shape-only", author="Has a batch of vectors in mind.")
def matrices_only(x, p=0.5, training=True):
    batch, units = x.shape
    if not training:
        return x * (1 - p)
    return x * (torch.rand(batch, units, device=x.device) >= p)


# --- right ----------------------------------------------------------------------------------------

for name, compute, about in (
    ("multiplies", lambda x, kept, p: x * kept, "a boolean mask times x"),
    ("where", lambda x, kept, p: torch.where(kept, x, torch.zeros_like(x)), "torch.where"),
    ("masked-fill", lambda x, kept, p: x.masked_fill(~kept, 0.0), "masked_fill"),
    ("converted", lambda x, kept, p: x * kept.to(x.dtype), "a mask of x's dtype"),
    ("clone", lambda x, kept, p: x.clone().mul_(kept), "in place on a copy"),
    (
        "bernoulli-fill",
        lambda x, kept, p: x * torch.empty_like(x).bernoulli_(1 - p),
        "empty_like, bernoulli_",
    ),
    (
        "torch-bernoulli",
        lambda x, kept, p: x * torch.bernoulli(torch.full_like(x, 1 - p)),
        "torch.bernoulli",
    ),
    ("rand-like", lambda x, kept, p: x * (torch.rand_like(x) > p), "rand_like > p"),
    (
        "distributions",
        lambda x, kept, p: x * torch.distributions.Bernoulli(1 - p).sample(x.shape).to(x),
        "torch.distributions, moved to x",
    ),
    (
        "not-dropped",
        lambda x, kept, p: x - x * (torch.rand(x.shape, device=x.device) < p),
        "takes the dropped away",
    ),
):
    ZOO.add_style(name, computing_with(compute), about)


def bernoulli_mask(shape, p, *, generator=None):
    return (torch.rand(shape, generator=generator) < 1 - p).to(torch.get_default_dtype())


@ZOO.style("uses the mask of the exercise before")
def by_the_mask_function(x, p=0.5, training=True):
    if not training:
        return x * (1 - p)
    return x * bernoulli_mask(x.shape, p).to(dtype=x.dtype, device=x.device)


@ZOO.style("leaves early at p = 0 and p = 1")
def early_returns(x, p=0.5, training=True):
    if p == 0:
        return x
    if p == 1:
        return torch.zeros_like(x)
    return x * fair(x, p) if training else (1 - p) * x


@ZOO.style("x minus p times x at inference")
def subtracts_at_inference(x, p=0.5, training=True):
    return x * fair(x, p) if training else x - p * x


class Masked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, p):
        kept = fair(x, p)
        ctx.save_for_backward(kept)
        return x * kept

    @staticmethod
    def backward(ctx, gradient):
        (kept,) = ctx.saved_tensors
        return gradient * kept, None


@ZOO.style("a custom autograd.Function")
def autograd_function(x, p=0.5, training=True):
    return Masked.apply(x, p) if training else x * (1 - p)


def plain(x: torch.Tensor, p: float = 0.5, training: bool = True) -> torch.Tensor:
    if training:
        return x * (torch.rand(x.shape, device=x.device) < 1 - p)
    return x * (1 - p)


ZOO.add_style("scripted", torch.jit.script(plain), "compiled by torch.jit.script")
ZOO.add_style("compiled", torch.compile(plain, backend="eager"), "torch.compile, eager backend")
