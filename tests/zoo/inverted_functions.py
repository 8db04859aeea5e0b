"""Inverted dropout as a function: wrong masks, numbers, modes, gradients and manners; right styles.

Knows nothing of how they are judged.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.zoo.draws import WRONG_DRAWS, fair
from tests.zoo.species import Enclosure

ZOO = Enclosure("inverted_dropout")


def drawing_with(draw):
    """Inverted dropout that is right but for its draw."""

    def inverted_dropout(x, p=0.5, training=True):
        if not training:
            return x
        if p == 1:
            return x * 0
        return x * draw(x, p) / (1 - p)

    return inverted_dropout


def scaling_with(scale):
    """Inverted dropout that is right but for the number that survivors are multiplied by."""

    def inverted_dropout(x, p=0.5, training=True):
        if not training:
            return x
        if p == 1:
            return x * 0
        return x * fair(x, p) * scale(p)

    return inverted_dropout


def at_inference(answer):
    """Inverted dropout that is right but for inference, where it returns `answer(x, p)`."""
    right = drawing_with(fair)

    def inverted_dropout(x, p=0.5, training=True):
        return right(x, p) if training else answer(x, p)

    return inverted_dropout


def computing_with(compute):
    """Inverted dropout that leaves the rest to `compute(x, kept, p)`, with 0 <= p < 1."""

    def inverted_dropout(x, p=0.5, training=True):
        if not training:
            return x
        if p == 1:
            return x * 0
        return compute(x, fair(x, p), p)

    return inverted_dropout


for wrong in WRONG_DRAWS:
    ZOO.add_mutant(wrong.name, drawing_with(wrong.draw), wrong.author, *wrong.named)

# --- scales ---------------------------------------------------------------------------------------

for name, scale, named, author in (
    ("no-scaling", lambda p: 1, "no-scaling", "Remembers the zeros, not the scale."),
    (
        "over-p",
        lambda p: 1 / p if p else 1,
        "divided-by-p",
        "Reads p as keep in one of two places.",
    ),
    ("times-keep", lambda p: 1 - p, "scaled-by-keep-prob", "Took the factor of standard dropout."),
    ("times-p", lambda p: p if p else 1, "scaled-by-p", "Multiplies with the number at hand."),
    ("doubled", lambda p: 2, "hard-coded-two", "Tried it with the default only."),
    ("halved", lambda p: 0.5, "hard-coded-half", "Tried it with the default, upside down."),
    ("squared", lambda p: 1 / (1 - p) ** 2, "scaled-twice", "Scales the mask and the result."),
    ("root", lambda p: (1 - p) ** -0.5, "wrong-scale", "Keeps the variance instead of the mean."),
    ("one-plus-p", lambda p: 1 + p, "wrong-scale", "Adds p back instead of dividing."),
    ("epsilon", lambda p: 1 / (1 - p + 1e-3), "wrong-scale", "Adds an epsilon against p = 1."),
):
    ZOO.add_mutant(f"scale-{name}", scaling_with(scale), author, named)


@ZOO.mutant("scaled-by-survivor-count", author="Makes up for exactly what this call has lost.")
def scaled_by_survivors_of_the_call(x, p=0.5, training=True):
    if not training:
        return x
    kept = fair(x, p).to(x.dtype)
    return x * kept * (x.numel() / kept.double().sum().clamp(min=1)).to(x.dtype)


@ZOO.mutant("scaled-by-survivor-count", author="Makes up for what each row has lost.")
def scaled_by_survivors_of_the_row(x, p=0.5, training=True):
    if not training or x.dim() == 0:
        return x
    kept = fair(x, p).to(x.dtype)
    return x * kept / kept.float().mean(-1, keepdim=True).clamp(min=1e-6).to(x.dtype)


@ZOO.mutant("p-read-as-keep", author="Uses the 2014 paper's p throughout.")
def p_is_kept(x, p=0.5, training=True):
    if not training:
        return x
    if p == 0:
        return x * 0
    return x * (torch.rand(x.shape, device=x.device) < p) / p


@ZOO.mutant("standard-instead-of-inverted", author="Implements the 2014 paper to the letter.")
def standard_dropout(x, p=0.5, training=True):
    return x * fair(x, p) if training else x * (1 - p)


@ZOO.mutant("hard-coded-two", "ignores-p", author="Wrote it for p = 0.5 and never looked at p.")
def right_for_one_half_only(x, p=0.5, training=True):
    if not training:
        return x
    return x * (torch.rand(x.shape, device=x.device) >= 0.5) * 2


@ZOO.mutant("scale-varies", author="Shifts the mean back by adding instead of dividing.")
def shifts_the_mean(x, p=0.5, training=True):
    return x * fair(x, p) + p * x if training else x


# --- modes ----------------------------------------------------------------------------------------

for name, answer, named, author in (
    ("times-keep", lambda x, p: x * (1 - p), "scales-at-inference", "Mixes both kinds up."),
    (
        "over-keep",
        lambda x, p: x / (1 - p) if p < 1 else x,
        "scales-at-inference",
        "Scales in both modes, to be the same in both.",
    ),
    ("unscaled", lambda x, p: x * fair(x, p), "drops-at-inference", "Leaves only the scale out."),
    ("zeros", lambda x, p: x * 0, "drops-at-inference", "Took 'off' for 'nothing comes out'."),
    (
        "sampled",
        lambda x, p: torch.stack([drawing_with(fair)(x, p) for _ in range(50)]).mean(0),
        "changes-inference",
        "Averages fifty masks, as MC dropout does.",
    ),
    (
        "noisy",
        lambda x, p: x + 0.01 * torch.randn(x.shape, device=x.device).to(x.dtype),
        "changes-inference",
        "Adds a little noise for robustness.",
    ),
    ("detached", lambda x, p: x.detach(), "gradient-detached", "Needs no gradient at inference."),
    ("float", lambda x, p: x.float(), "changes-dtype", "Converts to float32 to be safe."),
    ("rounded", lambda x, p: x.half().to(x.dtype), "changes-dtype", "Saves memory at inference."),
):
    ZOO.add_mutant(f"inference-{name}", at_inference(answer), author, named)


@ZOO.mutant("drops-at-inference", author="Did not use the argument.")
def always_on(x, p=0.5, training=True):
    return x * 0 if p == 1 else x * fair(x, p) / (1 - p)


@ZOO.mutant("never-drops", author="Wrote the inference branch and forgot the other.")
def always_off(x, p=0.5, training=True):
    return x


@ZOO.mutant("modes-swapped", author="A `not` too few.")
def modes_swapped(x, p=0.5, training=True):
    return x if training or p == 1 else x * fair(x, p) / (1 - p)


@ZOO.mutant("draws-at-inference", author="Draws on the first line, decides on the last.")
def draws_before_it_decides(x, p=0.5, training=True):
    kept = fair(x, p)
    if not training:
        return x
    return x * 0 if p == 1 else x * kept / (1 - p)


@ZOO.mutant("draws-at-inference", author="Shuffles NumPy's generator in passing.")
def draws_from_numpy_at_inference(x, p=0.5, training=True):
    np.random.rand()
    return drawing_with(fair)(x, p, training)


@ZOO.mutant("wrong-default", author="Prefers p = 0.2, as the article does.")
def another_default_rate(x, p=0.2, training=True):
    return drawing_with(fair)(x, p, training)


@ZOO.mutant("wrong-default", author="Takes inference for the normal case.")
def another_default_mode(x, p=0.5, training=False):
    return drawing_with(fair)(x, p, training)


@ZOO.mutant("raises", author="Calls the rate `rate`.")
def another_argument_name(x, rate=0.5, training=True):
    return drawing_with(fair)(x, rate, training)


# --- gradients ------------------------------------------------------------------------------------


@ZOO.mutant("gradient-detached", author="Detaches, because the mask is random.")
def detached(x, p=0.5, training=True):
    return drawing_with(fair)(x.detach(), p, training)


@ZOO.mutant("gradient-detached", author="Wraps the body in no_grad, since nothing is learned here.")
def without_gradients(x, p=0.5, training=True):
    with torch.no_grad():
        return drawing_with(fair)(x, p, training) + 0


def custom_function(backward):
    """Inverted dropout by an autograd function; `backward(gradient, kept, p)` is the mutation."""

    class Dropout(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, p):
            kept = fair(x, p)
            ctx.save_for_backward(kept)
            ctx.p = p
            return x * kept / (1 - p)

        @staticmethod
        def backward(ctx, gradient):
            return backward(gradient, *ctx.saved_tensors, ctx.p), None

    def inverted_dropout(x, p=0.5, training=True):
        if not training:
            return x
        return x * 0 if p == 1 else Dropout.apply(x, p)

    return inverted_dropout


for name, backward, named, author in (
    ("unscaled", lambda g, kept, p: g * kept, "gradient-unscaled", "Forgets the scale on the way."),
    ("straight", lambda g, kept, p: g, "straight-through", "Knows the straight-through trick."),
    (
        "scaled",
        lambda g, kept, p: g / (1 - p),
        "straight-through",
        "Keeps the scale, not the mask.",
    ),
    (
        "redrawn",
        lambda g, kept, p: g * fair(g, p) / (1 - p),
        "gradient-other-mask",
        "Draws again, as checkpointing without the random state does.",
    ),
    (
        "inverted",
        lambda g, kept, p: g * ~kept / (1 - p),
        "gradient-other-mask",
        "Saved the dropped ones.",
    ),
    (
        "times-keep",
        lambda g, kept, p: g * kept * (1 - p),
        "gradient-wrong-scale",
        "Undoes the scale on the way back.",
    ),
    (
        "squared",
        lambda g, kept, p: g * kept / (1 - p) ** 2,
        "gradient-wrong-scale",
        "Scales again.",
    ),
    (
        "negated",
        lambda g, kept, p: -g * kept / (1 - p),
        "gradient-wrong-scale",
        "Descends already.",
    ),
    ("zero", lambda g, kept, p: g * 0, "gradient-wrong-scale", "Left a placeholder: zeros."),
):
    ZOO.add_mutant(f"backward-{name}", custom_function(backward), author, named)


@ZOO.mutant("straight-through", author="Replaces values behind autograd's back.")
def changed_behind_autograd(x, p=0.5, training=True):
    out = drawing_with(fair)(x, p, training)
    return x + (out - x).detach()


@ZOO.mutant("gradient-unscaled", author="Treats the scale as a constant that needs no gradient.")
def scale_behind_autograd(x, p=0.5, training=True):
    if not training:
        return x
    if p == 1:
        return x * 0
    out = x * fair(x, p)
    return out + (out * (p / (1 - p))).detach()


# --- manners --------------------------------------------------------------------------------------


@ZOO.mutant("changes-its-input", author="Saves memory with `*=`.")
def multiplies_in_place(x, p=0.5, training=True):
    if not training:
        return x
    x *= fair(x, p)
    return x if p == 1 else x / (1 - p)


@ZOO.mutant("changes-its-input", author="Sets dropped elements to 0 by index.")
def assigns_zeros(x, p=0.5, training=True):
    if not training:
        return x
    x[~fair(x, p)] = 0
    return x if p == 1 else x / (1 - p)


@ZOO.mutant("changes-its-input", author="Uses .data, which raises nothing.")
def multiplies_data_in_place(x, p=0.5, training=True):
    if not training:
        return x
    kept = fair(x, p)
    x.data.mul_(kept)
    return x * kept if p == 1 else x * kept / (1 - p)


@ZOO.mutant("changes-its-input", author="Clips its input on the way, for inference only.")
def changes_the_input_at_inference(x, p=0.5, training=True):
    if training:
        return drawing_with(fair)(x, p)
    out = x.clone()
    x.data.zero_()
    return out


for name, compute, named, author in (
    (
        "float-mask",
        lambda x, kept, p: x * kept.float() / (1 - p),
        "changes-dtype",
        "Makes the mask a float32 tensor.",
    ),
    (
        "float-result",
        lambda x, kept, p: (x * kept / (1 - p)).float(),
        "changes-dtype",
        "Converts the result to float32.",
    ),
    (
        "double",
        lambda x, kept, p: x.double() * kept / (1 - p),
        "changes-dtype",
        "Computes in double precision and stays there.",
    ),
    (
        "half-scale",
        lambda x, kept, p: x * kept * torch.tensor(1 / (1 - p)).half().to(x.device, x.dtype),
        "changes-dtype",
        "Keeps the scale in half precision.",
    ),
    (
        "float32-only",
        lambda x, kept, p: x * kept / (1 - p) if x.dtype is torch.float32 else x * kept,
        "changes-dtype",
        "Found the scale to overflow in half precision, and left it out.",
    ),
    (
        "through-half",
        lambda x, kept, p: (x.half() * kept / (1 - p)).to(x.dtype),
        "changes-dtype",
        "Computes in half precision to be fast.",
    ),
    (
        "cpu-mask",
        lambda x, kept, p: x * (torch.rand(x.shape) >= p) / (1 - p),
        "wrong-device",
        "Works on the CPU only.",
    ),
    (
        "cpu-result",
        lambda x, kept, p: (
            (x * kept / (1 - p)).to("cpu") if x.device.type == "cpu" else torch.zeros(x.shape)
        ),
        "wrong-device",
        "Brings results home.",
    ),
    (
        "flattened",
        lambda x, kept, p: (x * kept / (1 - p)).flatten(),
        "changes-shape",
        "Flattens and does not fold back.",
    ),
    (
        "squeezed",
        lambda x, kept, p: (x * kept / (1 - p)).squeeze(),
        "one-shape-only",
        "Removes dimensions of size 1.",
    ),
    (
        "view",
        lambda x, kept, p: (x.view(-1) * kept.view(-1) / (1 - p)).view(x.shape),
        "one-shape-only",
        "Uses view, which a transposed tensor refuses.",
    ),
    (
        "with-mask",
        lambda x, kept, p: (x * kept / (1 - p), kept),
        "wrong-type",
        "Returns the mask too, for backward.",
    ),
    (
        "numpy",
        lambda x, kept, p: (x * kept / (1 - p)).detach().numpy(),
        "wrong-type",
        "Returns a NumPy array.",
    ),
    ("nothing", lambda x, kept, p: None, "returns-nothing", "Forgot to return."),
    (
        "compressed",
        lambda x, kept, p: x[kept] / (1 - p),
        "changes-shape",
        "Returns survivors only.",
    ),
    (
        "maximum",
        lambda x, kept, p: x * kept / (1 - p) if x.max() < math.inf else x,
        "empty-tensor",
        "Looks for infinities first.",
    ),
    (
        "p-zero-zeros",
        lambda x, kept, p: x * kept / (1 - p) if p else x * 0,
        "p-zero-not-identity",
        "Took p = 0 for 'keep with probability 0'.",
    ),
    (
        "p-zero-default",
        lambda x, kept, p: x * fair(x, p or 0.5) / (1 - (p or 0.5)),
        "p-zero-not-identity",
        "`p or 0.5` fills the default in, for p = 0 too.",
    ),
):
    ZOO.add_mutant(name, computing_with(compute), author, named)


@ZOO.mutant("one-shape-only", author="Has vectors in mind.")
def vectors_only(x, p=0.5, training=True):
    if not training:
        return x
    kept = torch.rand(x.shape[0], device=x.device) >= p
    return x * 0 if p == 1 else x * kept / (1 - p)


@ZOO.mutant("one-shape-only", author="Has a batch of vectors in mind.")
def matrices_only(x, p=0.5, training=True):
    batch, units = x.shape
    if not training:
        return x
    return x * 0 if p == 1 else x * (torch.rand(batch, units, device=x.device) >= p) / (1 - p)


@ZOO.mutant("one-shape-only", author="Asks for the length, which a scalar has not.")
def no_scalars(x, p=0.5, training=True):
    if len(x) == 0:
        return x
    return drawing_with(fair)(x, p, training)


@ZOO.mutant("empty-tensor", author="Refuses what is empty.")
def refuses_empty(x, p=0.5, training=True):
    if x.numel() == 0:
        raise ValueError("nothing to drop")
    return drawing_with(fair)(x, p, training)


@ZOO.mutant("nan-at-p-one", author="Trusts the formula for every p.")
def nan_at_one(x, p=0.5, training=True):
    return x * fair(x, p) / (1 - p) if training else x


@ZOO.mutant("nan-at-p-one", author="Divides two Python numbers first.")
def raises_at_one(x, p=0.5, training=True):
    scale = 1 / (1 - p)
    return x * fair(x, p) * scale if training else x


@ZOO.mutant("p-one-not-zeros", author="Switches dropout off where the formula breaks.")
def identity_at_one(x, p=0.5, training=True):
    return x if p == 1 else drawing_with(fair)(x, p, training)


@ZOO.mutant("p-one-not-zeros", author="Clamps p to 0.99, to be safe.")
def clamped(x, p=0.5, training=True):
    return drawing_with(fair)(x, min(p, 0.99), training)


@ZOO.mutant("raises", author="Takes p = 0 and p = 1 for mistakes, and a small p for one too.")
def refuses_small_rates(x, p=0.5, training=True):
    if not 0.3 <= p <= 0.7:
        raise ValueError("p is unusual")
    return drawing_with(fair)(x, p, training)


@ZOO.mutant("never-finishes", author="A while loop whose condition never changes.")
def loops_for_ever(x, p=0.5, training=True):
    while True:
        pass


# --- the library ----------------------------------------------------------------------------------


def scripted(x: torch.Tensor, p: float = 0.5, training: bool = True) -> torch.Tensor:
    return F.dropout(x, p, training)


for name, dropout, author in (
    (
        "functional",
        lambda x, p=0.5, training=True: F.dropout(x, p, training),
        "Calls what one calls at work.",
    ),
    (
        "module",
        lambda x, p=0.5, training=True: nn.Dropout(p).train(training)(x),
        "Wraps the library's module.",
    ),
    (
        "torch",
        lambda x, p=0.5, training=True: torch.dropout(x, p, training),
        "Found torch.dropout, which is not torch.nn's.",
    ),
    (
        "operator",
        lambda x, p=0.5, training=True: torch.ops.aten.dropout.default(x, p, training),
        "Reads the operator library.",
    ),
    (
        "native",
        lambda x, p=0.5, training=True: torch.native_dropout(x, p, training)[0],
        "Calls the operator below it.",
    ),
    (
        "feature",
        lambda x, p=0.5, training=True: (
            torch.feature_dropout(x.reshape(1, -1), p, training).reshape(x.shape)
            if x.numel()
            else x
        ),
        "Takes a relative that is not called dropout.",
    ),
    (
        "mask",
        lambda x, p=0.5, training=True: x * F.dropout(torch.ones_like(x), p, training),
        "Lets the library draw the mask only.",
    ),
    ("scripted", torch.jit.script(scripted), "Compiles it, which hides the call from Python."),
    (
        "compiled",
        torch.compile(scripted, backend="eager"),
        "Compiles it with the library inside.",
    ),
):
    ZOO.add_mutant(f"library-{name}", dropout, author, "calls-the-library")


# --- right ----------------------------------------------------------------------------------------

for name, draw, about in (
    ("rand-at-least-p", lambda x, p: torch.rand(x.shape, device=x.device) >= p, "rand >= p"),
    ("rand-above-p", lambda x, p: torch.rand(x.shape, device=x.device) > p, "rand > p"),
    ("rand-below-keep", lambda x, p: torch.rand(x.shape, device=x.device) < 1 - p, "rand < 1 - p"),
    ("rand-like", lambda x, p: torch.rand_like(x) < 1 - p, "rand_like, in x's own dtype"),
    (
        "float32-mask",
        lambda x, p: (torch.rand(x.shape, device=x.device) >= p).float().to(x.dtype),
        "a float32 mask, converted for half inputs",
    ),
    (
        "bernoulli-fill",
        lambda x, p: torch.empty_like(x).bernoulli_(1 - p),
        "empty_like, bernoulli_",
    ),
    (
        "torch-bernoulli",
        lambda x, p: torch.bernoulli(torch.full_like(x, 1 - p)),
        "torch.bernoulli of probabilities",
    ),
    (
        "torch-bernoulli-p",
        lambda x, p: torch.bernoulli(torch.zeros(x.shape, device=x.device), p=1 - p).to(x.dtype),
        "torch.bernoulli with p=",
    ),
    (
        "one-minus-dropped",
        lambda x, p: 1 - (torch.rand(x.shape, device=x.device) < p).to(x.dtype),
        "one minus the mask of the dropped",
    ),
    ("not-dropped", lambda x, p: ~(torch.rand(x.shape, device=x.device) < p), "not dropped"),
    (
        "distributions",
        lambda x, p: (
            torch.distributions.Bernoulli(torch.tensor(1 - p, device=x.device))
            .sample(x.shape)
            .to(x.dtype)
        ),
        "torch.distributions.Bernoulli",
    ),
    (
        "float64-numbers",
        lambda x, p: torch.rand(x.shape, dtype=torch.float64, device=x.device) >= p,
        "uniform numbers in double precision",
    ),
    (
        "uniform-fill",
        lambda x, p: torch.empty(x.shape, device=x.device).uniform_(0, 1).ge(p),
        "uniform_ and ge",
    ),
    (
        "ceil",
        lambda x, p: (torch.rand(x.shape, device=x.device) - p).ceil().clamp(0, 1).to(x.dtype),
        "a mask by rounding up",
    ),
    (
        "exponential",
        lambda x, p: torch.empty(x.shape, device=x.device).exponential_() > -math.log1p(-p),
        "exponential numbers against the logarithm of the keep probability",
    ),
    (
        "cpu-then-moved",
        lambda x, p: (torch.rand(x.shape) >= p).to(x.device),
        "drawn on the CPU, moved to x's device",
    ),
):
    ZOO.add_style(name, drawing_with(draw), about)

for name, compute, about in (
    (
        "where",
        lambda x, kept, p: torch.where(kept, x / (1 - p), torch.zeros_like(x)),
        "torch.where between a survivor and 0",
    ),
    (
        "where-number",
        lambda x, kept, p: torch.where(kept, x / (1 - p), 0.0),
        "torch.where with 0.0",
    ),
    (
        "masked-fill",
        lambda x, kept, p: x.masked_fill(~kept, 0.0) / (1 - p),
        "masked_fill of the dropped",
    ),
    ("scale-first", lambda x, kept, p: x / (1 - p) * kept, "scales before it drops"),
    ("scaled-mask", lambda x, kept, p: x * (kept / (1 - p)).to(x.dtype), "divides the mask"),
    ("multiplies", lambda x, kept, p: x.mul(kept).mul(1 / (1 - p)), "methods, one over the rest"),
    (
        "clone",
        lambda x, kept, p: x.clone().mul_(kept).div_(1 - p),
        "in place on a copy",
    ),
    (
        "boolean-index",
        lambda x, kept, p: torch.zeros_like(x).masked_scatter(kept, x[kept] / (1 - p)),
        "writes survivors into zeros",
    ),
    (
        "full-precision",
        lambda x, kept, p: (
            (x.float() * kept / (1 - p)).to(x.dtype)
            if x.dtype is not torch.float64
            else x * kept / (1 - p)
        ),
        "computes in float32, returns x's dtype",
    ),
    (
        "scale-tensor",
        lambda x, kept, p: x * kept * torch.tensor(1 / (1 - p), dtype=x.dtype, device=x.device),
        "a scale that is a tensor of x's dtype",
    ),
    ("contiguous", lambda x, kept, p: (x * kept / (1 - p)).contiguous(), "makes it contiguous"),
):
    ZOO.add_style(name, computing_with(compute), about)


@ZOO.style("leaves early at p = 0 and at p = 1")
def early_returns(x, p=0.5, training=True):
    if not training or p == 0.0:
        return x
    if p == 1.0:
        return torch.zeros_like(x)
    kept = torch.rand(x.shape, device=x.device) > p
    return x * kept / (1.0 - p)


@ZOO.style("one formula for every p, by a mask that is multiplied with a harmless scale")
def harmless_scale(x, p=0.5, training=True):
    if not training:
        return x
    scale = 1 / max(1 - p, 1e-12) if p < 1 else 0.0
    return x * fair(x, p) * scale


@ZOO.style("a copy at inference")
def copy_at_inference(x, p=0.5, training=True):
    return drawing_with(fair)(x, p) if training else x.clone()


@ZOO.style("p checked first")
def checks_p(x, p=0.5, training=True):
    if p < 0 or p > 1:
        raise ValueError(f"p must lie in [0, 1], not {p}")
    return drawing_with(fair)(x, p, training)


ZOO.add_style(
    "autograd-function",
    custom_function(lambda g, kept, p: g * kept / (1 - p)),
    "a custom autograd.Function",
)


@ZOO.style("takes a generator, which is None here")
def generator_aware(x, p=0.5, training=True, *, generator=None):
    if not training:
        return x
    if p == 1:
        return torch.zeros_like(x)
    kept = torch.rand(x.shape, generator=generator, device=x.device) < 1 - p
    return torch.where(kept, x / (1 - p), torch.zeros_like(x))


@ZOO.style("has an inplace option, as the library has")
def inplace_option(x, p=0.5, training=True, inplace=False):
    if not training:
        return x
    out = x if inplace else x.clone()
    return out.mul_(0) if p == 1 else out.mul_(fair(x, p)).div_(1 - p)


@ZOO.style("draws a mask for x flattened, and folds it back")
def flat_mask(x, p=0.5, training=True):
    if not training:
        return x
    kept = torch.rand(x.numel(), device=x.device).reshape(x.shape) >= p
    return x * 0 if p == 1 else x * kept / (1 - p)


def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        print("called", function.__name__)
        return function(*args, **kwargs)

    return wrapper


@ZOO.style("decorated, and prints at each call")
@logged
def decorated(x, p=0.5, training=True):
    return drawing_with(fair)(x, p, training)


ZOO.add_style("partial", functools.partial(decorated), "a functools.partial")


class _Callable:
    def __call__(self, x, p=0.5, training=True):
        return drawing_with(fair)(x, p, training)


ZOO.add_style("callable-object", _Callable(), "an object with __call__")


def plain(x: torch.Tensor, p: float = 0.5, training: bool = True) -> torch.Tensor:
    if not training:
        return x
    if p == 1:
        return torch.zeros_like(x)
    mask = (torch.rand(x.shape, device=x.device) < 1 - p).to(x.dtype)
    return x * mask / (1 - p)


ZOO.add_style("scripted", torch.jit.script(plain), "compiled by torch.jit.script")
ZOO.add_style("compiled", torch.compile(plain, backend="eager"), "torch.compile, eager backend")
