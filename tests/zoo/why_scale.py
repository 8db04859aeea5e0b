"""Moments of inverted dropout, and the scale folded into a layer: wrong and right ones.

Knows nothing of how they are judged.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from tests.zoo.species import Enclosure

MOMENTS = Enclosure("dropout_moments")
FOLD = Enclosure("fold_scale")

# --- dropout_moments ----------------------------------------------------------------------------

WRONG_MOMENTS = (
    (
        "standard-dropout",
        lambda x, p: ((1 - p) * x, p * (1 - p) * x**2),
        "Learned the moments of dropout without a scale.",
        "moments-of-standard-dropout",
    ),
    (
        "mean-times-keep",
        lambda x, p: ((1 - p) * x, x**2 * p / (1 - p)),
        "Knows that a share of 1 - p survives, forgets that survivors grow.",
        "moments-of-standard-dropout",
    ),
    (
        "survivor-as-mean",
        lambda x, p: (x / (1 - p), x**2 * p / (1 - p)),
        "Takes the value of a survivor for the average.",
        "survivor-taken-for-the-mean",
    ),
    (
        "deviation",
        lambda x, p: (x, x.abs() * (p / (1 - p)) ** 0.5),
        "Gives the standard deviation.",
        "deviation-for-variance",
    ),
    (
        "variance-not-squared",
        lambda x, p: (x, x * p / (1 - p)),
        "Pulls x out of a variance as it is.",
        "variance-not-squared",
    ),
    (
        "coin-variance",
        lambda x, p: (x, p * (1 - p) * x**2),
        "Takes the mask's variance and forgets its scale.",
        "mask-variance-unscaled",
    ),
    (
        "scale-once",
        lambda x, p: (x, p * x**2),
        "Divides by 1 - p once, where a variance takes it squared.",
        "scale-not-squared",
    ),
    (
        "second-moment",
        lambda x, p: (x, x**2 / (1 - p)),
        "Forgets to subtract the square of the mean.",
        "second-moment-for-variance",
    ),
    (
        "p-as-keep",
        lambda x, p: (x, x**2 * (1 - p) / p),
        "Reads p as the probability of keeping.",
        "p-read-as-keep",
    ),
    (
        "denominator-squared",
        lambda x, p: (x, x**2 * p / (1 - p) ** 2),
        "Squares the scale and forgets the coin's own factor 1 - p.",
        "wrong-moment",
    ),
    ("no-variance", lambda x, p: (x, x * 0), "Believes that a right mean is all.", "wrong-moment"),
    (
        "swapped",
        lambda x, p: (x**2 * p / (1 - p), x),
        "Returns the variance first, as torch.var_mean does.",
        "moments-swapped",
    ),
    (
        "over-the-elements",
        lambda x, p: (x.mean(), x.var(unbiased=False)),
        "Reads mean and variance as those of the tensor.",
        "moments-over-the-elements",
    ),
    (
        "p-one-half",
        lambda x, p: (x, x**2),
        "Worked it out at p = 0.5 and left it at that.",
        "wrong-moment",
    ),
    (
        "float32",
        lambda x, p: (x.float(), (x.float() ** 2 * p / (1 - p))),
        "Computes in float32 to be safe.",
        "changes-dtype",
    ),
    ("mean-alone", lambda x, p: x, "Forgets the second answer.", "wrong-type"),
    ("a-list", lambda x, p: [x, x**2 * p / (1 - p)], "Returns a list.", "wrong-type"),
)
for name, target, author, named in WRONG_MOMENTS:
    MOMENTS.add_mutant(name, target, author, named)


@MOMENTS.mutant("estimated-by-sampling", author="Would rather simulate than compute.")
def many_masks(x, p):
    draws = torch.stack([x * (torch.rand(x.shape) >= p) / (1 - p) for _ in range(500)])
    return draws.mean(dim=0), draws.var(dim=0)


@MOMENTS.mutant("changes-its-input", author="Saves a line by squaring in place.")
def squares_in_place(x, p):
    mean = x.clone()
    return mean, x.pow_(2) * p / (1 - p)


@MOMENTS.mutant("returns-nothing", author="Prints the answer.")
def printed(x, p):
    print(x, x**2 * p / (1 - p))


MOMENTS.add_style("by-formula", lambda x, p: (x, x**2 * p / (1 - p)), "the formula as it stands")
MOMENTS.add_style(
    "copied", lambda x, p: (x.clone(), x * x * (p / (1 - p))), "a copy for the mean, odds first"
)
MOMENTS.add_style(
    "second-moment-minus-square",
    lambda x, p: (x, x**2 / (1 - p) - x**2),
    "E[y²] - E[y]², which loses a digit for small p",
)


@MOMENTS.style("both outcomes spelled out")
def two_outcomes(x, p):
    survivor, dropped = x / (1 - p), torch.zeros_like(x)
    mean = (1 - p) * survivor + p * dropped
    return mean, (1 - p) * (survivor - mean) ** 2 + p * (dropped - mean) ** 2


@MOMENTS.style("the mask's moments, scaled")
def from_the_coin(x, p):
    keep = 1 - p
    scale = x / keep
    return scale * keep, scale.square() * (keep * p)


# --- fold_scale ---------------------------------------------------------------------------------


def folded(weight=lambda w, p: w * (1 - p), bias=lambda b, p: b):
    """A right fold but for what happens to the weight or the bias."""

    def fold_scale(linear, p):
        made = copy.deepcopy(linear)
        with torch.no_grad():
            made.weight.copy_(weight(linear.weight, p))
            if linear.bias is not None:
                made.bias.copy_(bias(linear.bias, p))
        return made

    return fold_scale


WRONG_FOLDS = (
    (
        "bias-too",
        folded(bias=lambda b, p: b * (1 - p)),
        "Scales everything that the layer holds.",
        "bias-scaled",
    ),
    (
        "divided",
        folded(weight=lambda w, p: w / (1 - p) if p < 1 else w * 0),
        "Has inverted dropout in mind, and its division.",
        "divides-the-weight",
    ),
    (
        "times-p",
        folded(weight=lambda w, p: w * p),
        "Reads p as the probability of keeping, as in the 2014 paper.",
        "p-read-as-keep",
    ),
    (
        "not-at-all",
        folded(weight=lambda w, p: w),
        "Believes that a copy in eval mode is enough.",
        "not-folded",
    ),
    (
        "halved",
        folded(weight=lambda w, p: w * 0.5),
        "Writes the default's factor out.",
        "hard-coded-half",
    ),
    (
        "twice",
        folded(weight=lambda w, p: w * (1 - p) ** 2),
        "Scales in a helper, and once more outside of it.",
        "scaled-twice",
    ),
    (
        "no-bias-kept",
        folded(bias=lambda b, p: b * 0),
        "Makes a new layer and copies the weight alone.",
        "bias-changed",
    ),
    (
        "first-column",
        folded(weight=lambda w, p: torch.cat([w[:, :1] * (1 - p), w[:, 1:]], dim=1)),
        "Indexes where a product was meant.",
        "wrong-fold",
    ),
)
for name, target, author, named in WRONG_FOLDS:
    FOLD.add_mutant(name, target, author, named)


@FOLD.mutant("folds-in-place", author="Scales the layer that was given and returns it.")
def in_place(linear, p):
    with torch.no_grad():
        linear.weight *= 1 - p
    return linear


@FOLD.mutant("folds-in-place", author="Copies after the scaling instead of before.")
def copied_too_late(linear, p):
    linear.weight.data *= 1 - p
    return copy.deepcopy(linear)


@FOLD.mutant("folds-in-place", author="Copies with copy.copy, which shares the parameters' dict.")
def shallow_copy(linear, p):
    made = copy.copy(linear)
    with torch.no_grad():
        made.weight.mul_(1 - p)
    return made


@FOLD.mutant("shares-memory", author="Hands the bias on: it does not change, after all.")
def shared_bias(linear, p):
    made = nn.Linear(linear.in_features, linear.out_features, dtype=linear.weight.dtype)
    made.weight = nn.Parameter(linear.weight.detach() * (1 - p))
    made.bias = linear.bias
    return made


@FOLD.mutant("shares-memory", author="Uses bias.data, which is the same memory.")
def shared_data(linear, p):
    has_bias = linear.bias is not None
    made = nn.Linear(linear.in_features, linear.out_features, has_bias, dtype=linear.weight.dtype)
    made.weight.data = linear.weight.data * (1 - p)
    if has_bias:
        made.bias.data = linear.bias.data
    return made


@FOLD.mutant("bias-none-forgotten", author="Never met a layer without a bias.")
def clones_the_bias(linear, p):
    made = nn.Linear(linear.in_features, linear.out_features, dtype=linear.weight.dtype)
    with torch.no_grad():
        made.weight.copy_(linear.weight * (1 - p))
        made.bias.copy_(linear.bias.clone())
    return made


@FOLD.mutant("bias-none-forgotten", author="Leaves nn.Linear's bias=True to its default.")
def invents_a_bias(linear, p):
    made = nn.Linear(linear.in_features, linear.out_features, dtype=linear.weight.dtype)
    with torch.no_grad():
        made.weight.copy_(linear.weight * (1 - p))
        if linear.bias is not None:
            made.bias.copy_(linear.bias)
    return made


@FOLD.mutant("changes-dtype", author="Forgets that a layer need not be float32.")
def float32_layer(linear, p):
    made = nn.Linear(linear.in_features, linear.out_features, linear.bias is not None)
    with torch.no_grad():
        made.weight.copy_(linear.weight * (1 - p))
        if linear.bias is not None:
            made.bias.copy_(linear.bias)
    return made


@FOLD.mutant("layer-of-another-shape", author="Takes in_features for the first dimension.")
def transposed(linear, p):
    made = nn.Linear(linear.out_features, linear.in_features, linear.bias is not None)
    made.weight = nn.Parameter(linear.weight.detach().T * (1 - p))
    return made


@FOLD.mutant("wrong-type", author="Returns the scaled weight instead of a layer.")
def the_weight_alone(linear, p):
    return linear.weight.detach() * (1 - p)


@FOLD.mutant("wrong-type", author="Puts a scale in front of the layer and calls it one.")
def a_sequence(linear, p):
    return nn.Sequential(nn.Dropout(p), copy.deepcopy(linear))


FOLD.add_style("deep-copy", folded(), "deepcopy, then copy_ into it")


@FOLD.style("deepcopy and mul_")
def multiplied(linear, p):
    made = copy.deepcopy(linear)
    with torch.no_grad():
        made.weight.mul_(1 - p)
    return made


@FOLD.style("a new layer, parameters replaced")
def new_parameters(linear, p):
    has_bias = linear.bias is not None
    made = nn.Linear(linear.in_features, linear.out_features, bias=has_bias)
    made.weight = nn.Parameter(linear.weight.detach() * (1 - p))
    if has_bias:
        made.bias = nn.Parameter(linear.bias.detach().clone())
    return made


@FOLD.style("through a state_dict")
def by_state_dict(linear, p):
    state = {key: value.clone() for key, value in linear.state_dict().items()}
    state["weight"] *= 1 - p
    made = nn.Linear(
        linear.in_features, linear.out_features, "bias" in state, dtype=linear.weight.dtype
    )
    made.load_state_dict(state)
    return made


@FOLD.style("weight.data on a copy, not trained any more")
def by_data(linear, p):
    made = copy.deepcopy(linear).requires_grad_(False)
    made.weight.data = made.weight.data - p * made.weight.data
    return made.eval()
