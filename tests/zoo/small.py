"""The exercises without a draw of their own: a probability, a given mask, predictions, a gradient.

Knows nothing of how they are judged.
"""

from __future__ import annotations

import torch

from tests.zoo.species import Enclosure

# --- keep_probability -----------------------------------------------------------------------------

KEEP = Enclosure("keep_probability")

for name, function, named, author in (
    ("p-itself", lambda p: p, "p-read-as-keep", "Reads p as the 2014 paper does."),
    ("percent", lambda p: 100 * (1 - p), "wrong-value", "Thinks in per cent."),
    ("p-minus-one", lambda p: p - 1, "wrong-value", "Subtracts the wrong way round."),
    ("inverse", lambda p: 1 / (1 - p) if p < 1 else 0.0, "wrong-value", "Is ahead: the scale."),
    ("hard-coded", lambda p: 0.8, "wrong-value", "Types the example's answer."),
    ("rounded", lambda p: round(1 - p, 1), "wrong-value", "Rounds to one decimal."),
    ("half", lambda p: 0.5, "wrong-value", "Has the default in mind."),
    ("squared", lambda p: 1 - p * p, "wrong-value", "Typed one p too many."),
    ("absolute", lambda p: abs(p - 0.5) + 0.5, "wrong-value", "Right for small p only."),
    ("nothing", lambda p: None, "returns-nothing", "Computes and does not return."),
    ("text", lambda p: f"{1 - p}", "wrong-type", "Formats the answer."),
    ("boolean", lambda p: p < 1, "wrong-type", "Answers whether anything is kept."),
    ("raises", lambda p: 1 - prob, "raises", "Another name than the argument's."),  # noqa: F821
):
    KEEP.add_mutant(name, function, author, named)

for name, function, about in (
    ("difference", lambda p: 1 - p, "1 - p"),
    ("float", lambda p: 1.0 - float(p), "floats throughout"),
    ("negated", lambda p: -p + 1, "-p + 1"),
    ("tenths", lambda p: (10 - 10 * p) / 10, "another way round, up to rounding"),
):
    KEEP.add_style(name, function, about)


@KEEP.style("checks p first")
def checked(p):
    if not 0 <= p <= 1:
        raise ValueError(f"p must lie in [0, 1], not {p}")
    return 1 - p


# --- apply_inverted_mask --------------------------------------------------------------------------

APPLY = Enclosure("apply_inverted_mask")


def in_place(a, m, k):
    a.mul_(m).div_(k)
    return a


def fills_in_place(a, m, k):
    a[m == 0] = 0
    return a / k


def scales_mask_in_place(a, m, k):
    if m.is_floating_point():
        m /= k
        return a * m
    return a * m.to(a.dtype) / k


for name, function, named, author in (
    ("no-scaling", lambda a, m, k: a * m.to(a.dtype), "no-scaling", "Only masks."),
    ("times-keep", lambda a, m, k: a * m.to(a.dtype) * k, "scaled-by-keep-prob", "Multiplies."),
    (
        "example",
        lambda a, m, k: a * m.to(a.dtype) / 0.8,
        "hard-coded-keep-prob",
        "Types the example's number.",
    ),
    ("doubled", lambda a, m, k: a * m.to(a.dtype) * 2, "hard-coded-two", "Thinks of p = 0.5."),
    (
        "times-p",
        lambda a, m, k: a * m.to(a.dtype) * (1 - k) if k < 1 else a * m.to(a.dtype),
        "scaled-by-p",
        "Takes keep_prob for p and multiplies.",
    ),
    (
        "over-p",
        lambda a, m, k: a * m.to(a.dtype) / (1 - k) if k < 1 else a * m.to(a.dtype),
        "p-read-as-keep",
        "Takes keep_prob for p.",
    ),
    ("squared", lambda a, m, k: a * m.to(a.dtype) / k / k, "scaled-twice", "Scales twice."),
    ("root", lambda a, m, k: a * m.to(a.dtype) / k**0.5, "wrong-scale", "Keeps the variance."),
    (
        "share",
        lambda a, m, k: a * m.to(a.dtype) / m.double().mean().clamp(min=0.1).to(a.dtype),
        "scaled-by-survivor-count",
        "Divides by the share that survived.",
    ),
    ("no-mask", lambda a, m, k: a / k, "ignores-the-mask", "Scales and forgets the mask."),
    (
        "turned-round",
        lambda a, m, k: a * (1 - m.to(a.dtype)) / k,
        "mask-turned-round",
        "Takes 1 for dropped.",
    ),
    (
        "own-mask",
        lambda a, m, k: a * (torch.rand(a.shape) < k) / k,
        "ignores-the-mask",
        "Draws a mask by habit.",
    ),
    ("in-place", in_place, "changes-its-input", "Saves memory."),
    ("fills-in-place", fills_in_place, "changes-its-input", "Assigns zeros by index."),
    ("mask-in-place", scales_mask_in_place, "changes-its-input", "Scales the mask in place."),
    ("float32", lambda a, m, k: a.float() * m / k, "changes-dtype", "Converts to float32."),
    ("double", lambda a, m, k: a.double() * m / k, "changes-dtype", "Computes in double."),
    (
        "through-half",
        lambda a, m, k: (a.half() * m / k).to(a.dtype),
        "changes-dtype",
        "Computes in half precision.",
    ),
    (
        "shifted",
        lambda a, m, k: (a / k + 0.05) * m.to(a.dtype),
        "scale-varies",
        "Adds a bias to the survivors.",
    ),
    (
        "sum",
        lambda a, m, k: (a * m.to(a.dtype) / k).sum(),
        "changes-shape",
        "Sums, as a neuron does.",
    ),
    (
        "compressed",
        lambda a, m, k: a[m.bool()] / k,
        "changes-shape",
        "Leaves the dropped ones out.",
    ),
    ("nothing", lambda a, m, k: None, "returns-nothing", "Prints instead of returning."),
    ("list", lambda a, m, k: (a * m / k).tolist(), "wrong-type", "Returns a list."),
    ("raises", lambda a, m, k: a * m / keep, "raises", "Another name than the argument's."),  # noqa: F821
):
    APPLY.add_mutant(name, function, author, named)

for name, function, about in (
    ("plain", lambda a, m, k: a * m / k, "one line"),
    ("converted", lambda a, m, k: a * m.to(a.dtype) / k, "the mask in the activations' dtype"),
    (
        "where",
        lambda a, m, k: torch.where(m.bool(), a / k, torch.zeros_like(a)),
        "torch.where",
    ),
    ("masked-fill", lambda a, m, k: a.masked_fill(m == 0, 0.0) / k, "masked_fill"),
    ("scale-first", lambda a, m, k: a / k * m, "scales first"),
    ("multiplies", lambda a, m, k: torch.mul(a, m).mul(1 / k), "torch.mul and one over keep_prob"),
    ("clone", lambda a, m, k: a.clone().mul_(m).div_(k), "in place on a copy"),
):
    APPLY.add_style(name, function, about)


# --- predictions ----------------------------------------------------------------------------------

PREDICTIONS = Enclosure("predictions")
RIGHT = {
    "train_mode_repeats": False,
    "eval_mode_repeats": True,
    "eval_drops_units": False,
    "train_scales_survivors": True,
    "no_grad_turns_dropout_off": False,
}
CONFUSED = "train-and-eval-confused"

for name, value, named, author in (
    ("no-grad", RIGHT | {"no_grad_turns_dropout_off": True}, CONFUSED, "Takes no_grad for eval."),
    ("unscaled", RIGHT | {"train_scales_survivors": False}, CONFUSED, "Knows standard dropout."),
    ("seeded", RIGHT | {"train_mode_repeats": True}, CONFUSED, "Believes in one fixed mask."),
    ("noisy-eval", RIGHT | {"eval_mode_repeats": False}, CONFUSED, "Believes eval to be random."),
    ("eval-drops", RIGHT | {"eval_drops_units": True}, CONFUSED, "Believes that eval drops."),
    ("opposite", {k: not v for k, v in RIGHT.items()}, CONFUSED, "Swaps train and eval."),
    ("all-true", dict.fromkeys(RIGHT, True), CONFUSED, "Clicks through."),
    ("all-false", dict.fromkeys(RIGHT, False), CONFUSED, "Clicks through the other way."),
    ("texts", {k: str(v) for k, v in RIGHT.items()}, "wrong-type", "Writes 'True' in quotes."),
    ("numbers", {k: int(v) for k, v in RIGHT.items()}, "wrong-type", "Writes 0 and 1."),
    ("list", list(RIGHT.values()), "wrong-type", "Writes a list."),
    ("missing", {k: RIGHT[k] for k in list(RIGHT)[:4]}, "wrong-type", "Leaves one out."),
    ("misspelt", RIGHT | {"eval_drop_units": False}, "wrong-type", "Adds a key by a typing error."),
):
    PREDICTIONS.add_mutant(name, value, author, named)

for name, value, about in (
    ("dict", dict(RIGHT), "a dict"),
    ("other-order", dict(reversed(RIGHT.items())), "another order"),
    (
        "computed",
        {k: k in ("eval_mode_repeats", "train_scales_survivors") for k in RIGHT},
        "computed",
    ),
):
    PREDICTIONS.add_style(name, value, about)


# --- dropout_backward -----------------------------------------------------------------------------

BACKWARD = Enclosure("dropout_backward")


def backward_in_place(g, m, p):
    return g.mul_(m).div_(1 - p)


def backward_through_autograd(g, m, p):
    with torch.enable_grad():
        x = torch.zeros_like(g, requires_grad=True)
        y = x * m / (1 - p)
    return torch.autograd.grad(y, x, g)[0]


for name, function, named, author in (
    ("unscaled", lambda g, m, p: g * m, "gradient-unscaled", "Forgets the scale on the way back."),
    ("straight", lambda g, m, p: g, "straight-through", "Passes the gradient through."),
    ("no-mask", lambda g, m, p: g / (1 - p), "straight-through", "Keeps the scale, not the mask."),
    ("times-keep", lambda g, m, p: g * m * (1 - p), "gradient-wrong-scale", "Undoes the scale."),
    (
        "over-p",
        lambda g, m, p: g * m / p if p else g * m,
        "gradient-wrong-scale",
        "Reads p as keep.",
    ),
    ("squared", lambda g, m, p: g * m / (1 - p) ** 2, "gradient-wrong-scale", "Scales twice."),
    ("doubled", lambda g, m, p: g * m * 2, "gradient-wrong-scale", "Thinks of p = 0.5."),
    ("negated", lambda g, m, p: -g * m / (1 - p), "gradient-wrong-scale", "Descends already."),
    (
        "turned-round",
        lambda g, m, p: g * (1 - m.to(g.dtype)) / (1 - p),
        "gradient-other-mask",
        "Saved the dropped ones.",
    ),
    (
        "redrawn",
        lambda g, m, p: g * (torch.rand(g.shape) >= p) / (1 - p),
        "gradient-other-mask",
        "Draws a new mask.",
    ),
    ("in-place", backward_in_place, "changes-its-input", "Saves memory."),
    ("float32", lambda g, m, p: g.float() * m / (1 - p), "changes-dtype", "Converts to float32."),
    ("double", lambda g, m, p: g.double() * m / (1 - p), "changes-dtype", "Stays in double."),
    ("sum", lambda g, m, p: (g * m / (1 - p)).sum(), "changes-shape", "Sums over the elements."),
    (
        "compressed",
        lambda g, m, p: g[m.bool()] / (1 - p),
        "changes-shape",
        "Leaves the dropped ones out.",
    ),
    ("pair", lambda g, m, p: (g * m / (1 - p), None), "wrong-type", "Thinks of autograd.Function."),
    ("nothing", lambda g, m, p: None, "returns-nothing", "Forgot to return."),
    ("raises", lambda g, m, p: grad * m / (1 - p), "raises", "Another argument name."),  # noqa: F821
):
    BACKWARD.add_mutant(name, function, author, named)

for name, function, about in (
    ("plain", lambda g, m, p: g * m / (1 - p), "one line"),
    ("converted", lambda g, m, p: g * m.to(g.dtype) / (1 - p), "the mask in the gradient's dtype"),
    ("scale-first", lambda g, m, p: g / (1 - p) * m, "scales first"),
    (
        "where",
        lambda g, m, p: torch.where(m.bool(), g / (1 - p), torch.zeros_like(g)),
        "torch.where",
    ),
    ("masked-fill", lambda g, m, p: g.masked_fill(m == 0, 0.0) / (1 - p), "masked_fill"),
    ("autograd", backward_through_autograd, "asks autograd"),
    (
        "early",
        lambda g, m, p: torch.zeros_like(g) if p == 1 else g * m / (1 - p),
        "zeros at p = 1",
    ),
):
    BACKWARD.add_style(name, function, about)
