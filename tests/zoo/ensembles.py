"""All masks, their probabilities and the geometric mean: wrong and right ones.

Knows nothing of how they are judged.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch

from tests.zoo.species import Enclosure

MASKS = Enclosure("all_masks")
PROBABILITIES = Enclosure("mask_probabilities")
MEAN = Enclosure("geometric_mean")


def of_masks(function):
    """The function with the arguments' names of the stub."""
    return lambda masks, p: function(masks, p)


def of_predictions(function):
    """The function with the arguments' names of the stub."""
    return lambda probs, weights: function(probs, weights)


def digits(n, start=0, stop=None):
    numbers = torch.arange(start, 2**n if stop is None else stop).unsqueeze(1)
    return (numbers >> torch.arange(n) & 1).float()


# --- all_masks ----------------------------------------------------------------------------------

WRONG_MASKS = (
    (
        "no-zero",
        lambda n: digits(n, 1),
        "Counts from 1, so that no unit is ever off.",
        "masks-missing",
    ),
    ("one-short", lambda n: digits(n, 0, 2**n - 1), "Ends a range one early.", "masks-missing"),
    (
        "drawn",
        lambda n: (torch.rand(2**n, n) < 0.5).float(),
        "Draws as many masks as there are.",
        "masks-missing",
    ),
    (
        "one-a-unit",
        lambda n: torch.eye(n),
        "Thinks of dropping one unit at a time.",
        "masks-missing",
    ),
    (
        "cumulative",
        lambda n: torch.tril(torch.ones(2**n, n)),
        "Fills a triangle of ones.",
        "masks-missing",
    ),
    ("in-columns", lambda n: digits(n).T, "Gives each mask a column.", "masks-in-columns"),
    ("signs", lambda n: digits(n) * 2 - 1, "Writes dropped as -1.", "signs-instead-of-masks"),
    ("scaled", lambda n: digits(n) * 2, "Scales at p = 0.5 at once.", "mask-already-scaled"),
    (
        "doubled",
        lambda n: torch.cat([digits(n), digits(n)]),
        "Appends where it should have replaced.",
        "masks-repeated",
    ),
    (
        "permutations",
        lambda n: torch.tensor(list(itertools.combinations_with_replacement([0.0, 1.0], n))),
        "Takes the wrong function of itertools.",
        "masks-missing",
    ),
    (
        "a-list",
        lambda n: list(itertools.product([0.0, 1.0], repeat=n)),
        "Leaves the conversion to somebody else.",
        "wrong-type",
    ),
    (
        "flat-for-one",
        lambda n: torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * n),
        "Uses cartesian_prod, which returns one dimension for one unit.",
        "wrong-mask-shape",
    ),
    (
        "ten-units",
        lambda n: digits(10)[: 2**n, :n],
        "Builds one table and cuts it, which runs out of rows.",
        "wrong-mask-shape",
    ),
    (
        "powers",
        lambda n: torch.arange(2**n) / 2**n,
        "Returns the numbers, not digits.",
        "wrong-mask-shape",
    ),
)
for name, target, author, named in WRONG_MASKS:
    MASKS.add_mutant(name, target, author, named)

MASKS.add_style("binary-digits", digits, "digits of the numbers 0 to 2^n - 1")
MASKS.add_style(
    "product",
    lambda n: torch.tensor(list(itertools.product([0.0, 1.0], repeat=n))),
    "itertools.product in a tensor",
)
MASKS.add_style(
    "most-significant-first",
    lambda n: ((torch.arange(2**n)[:, None] // 2 ** torch.arange(n - 1, -1, -1)) % 2).double(),
    "division and remainder, the first unit most significant, float64",
)
MASKS.add_style(
    "integers", lambda n: digits(n).long(), "integers, which hold zeros and ones as well"
)
MASKS.add_style("booleans", lambda n: digits(n).bool(), "booleans")
MASKS.add_style(
    "text",
    lambda n: torch.tensor([[float(c) for c in f"{i:0{n}b}"] for i in range(2**n)]),
    "binary texts, letter by letter",
)


@MASKS.style("one unit after the other")
def recursive(n):
    if n == 0:
        return torch.zeros(1, 0)
    fewer = recursive(n - 1)
    zeros, ones = torch.zeros(len(fewer), 1), torch.ones(len(fewer), 1)
    return torch.cat([torch.cat([zeros, fewer], 1), torch.cat([ones, fewer], 1)])


@MASKS.style("meshgrid, one axis a unit")
def meshed(n):
    axes = torch.meshgrid(*[torch.tensor([0.0, 1.0])] * n, indexing="ij")
    return torch.stack(axes, dim=-1).reshape(-1, n)


# --- mask_probabilities -------------------------------------------------------------------------


def right(masks, p):
    kept = masks.sum(dim=1)
    return (1 - p) ** kept * p ** (masks.shape[1] - kept)


WRONG_PROBABILITIES = (
    (
        "p-as-keep",
        lambda m, p: right(m, 1 - p),
        "Reads p as the probability of keeping.",
        "p-read-as-keep",
    ),
    (
        "all-alike",
        lambda m, p: torch.full((len(m),), 0.5 ** m.shape[1]),
        "Believes that all masks are equally likely, as they are at p = 0.5.",
        "equal-probabilities",
    ),
    (
        "one-over-the-masks",
        lambda m, p: torch.ones(len(m)) / len(m),
        "Takes a plain mean for the ensemble's.",
        "equal-probabilities",
    ),
    (
        "survivors-alone",
        lambda m, p: (1 - p) ** m.sum(dim=1),
        "Forgets that dropping has a probability, too.",
        "kept-units-only",
    ),
    (
        "dropped-alone",
        lambda m, p: p ** (1 - m).sum(dim=1),
        "Counts what is dropped and forgets the rest.",
        "kept-units-only",
    ),
    (
        "added",
        lambda m, p: torch.where(m == 1, 1 - p, p).sum(dim=1),
        "Adds where independent draws multiply.",
        "probabilities-added",
    ),
    (
        "averaged",
        lambda m, p: torch.where(m == 1, 1 - p, p).mean(dim=1),
        "Averages the units' probabilities.",
        "probabilities-added",
    ),
    (
        "of-the-count",
        lambda m, p: (
            right(m, p) * torch.tensor([float(math.comb(m.shape[1], int(k))) for k in m.sum(dim=1)])
        ),
        "Remembers the binomial distribution, with its coefficient.",
        "probability-of-the-count",
    ),
    (
        "normalised",
        lambda m, p: right(m, p) / right(m, p).sum(),
        "Divides by the sum, which is 1 only over all masks.",
        "made-to-sum-to-one",
    ),
    (
        "logarithm",
        lambda m, p: (m * math.log(1 - p + 1e-30) + (1 - m) * math.log(p + 1e-30)).sum(dim=1),
        "Stops before taking the exponential.",
        "log-probabilities",
    ),
    (
        "by-column",
        lambda m, p: torch.where(m == 1, 1 - p, p).prod(dim=0),
        "Multiplies over the masks instead of over the units.",
        "one-number-a-mask",
    ),
    (
        "each-unit",
        lambda m, p: torch.where(m == 1, 1 - p, p),
        "Forgets the product.",
        "one-number-a-mask",
    ),
    (
        "nan-at-zero",
        lambda m, p: (
            (m * torch.log(torch.tensor(1 - p)) + (1 - m) * torch.log(torch.tensor(p)))
            .sum(dim=1)
            .exp()
        ),
        "Adds logarithms, and multiplies minus infinity by 0 at p = 0.",
        "nan-at-certain-p",
    ),
    (
        "default-p",
        lambda m, p: right(m, 0.2),
        "Wrote the worked example's p into the body.",
        "wrong-probability",
    ),
)
for name, target, author, named in WRONG_PROBABILITIES:
    PROBABILITIES.add_mutant(name, of_masks(target), author, named)


@PROBABILITIES.mutant("changes-its-input", author="Fills the probabilities into the mask itself.")
def in_place(masks, p):
    masks[masks == 0], kept = p, masks == 1
    masks[kept] = 1 - p
    return masks.prod(dim=1)


PROBABILITIES.add_style("counted", right, "powers of the number of kept units")
PROBABILITIES.add_style(
    "factors",
    of_masks(lambda m, p: torch.where(m == 1, 1 - p, p).prod(dim=1)),
    "a factor for each unit, multiplied",
)
PROBABILITIES.add_style(
    "interpolated",
    of_masks(lambda m, p: (m * (1 - p) + (1 - m) * p).prod(dim=-1)),
    "the factor as an interpolation",
)
PROBABILITIES.add_style(
    "distribution",
    of_masks(
        lambda m, p: (
            torch.distributions.Bernoulli(torch.tensor(1 - p, dtype=m.dtype))
            .log_prob(m)
            .sum(dim=1)
            .exp()
        )
    ),
    "torch.distributions, which clamps at p = 0",
)
PROBABILITIES.add_style(
    "loop",
    of_masks(lambda m, p: torch.tensor([math.prod(1 - p if u else p for u in r) for r in m])),
    "a loop over rows",
)
PROBABILITIES.add_style(
    "numpy",
    of_masks(lambda m, p: torch.from_numpy(np.where(m.numpy() == 1, 1 - p, p).prod(axis=1))),
    "through NumPy",
)

# --- geometric_mean -----------------------------------------------------------------------------


def centred(logs):
    return logs - logs.mean(dim=-1, keepdim=True)


def spread(weights, probs):
    return weights.reshape(-1, *[1] * (probs.dim() - 1))


def log_mean(probs, weights):
    return torch.special.xlogy(spread(weights, probs), probs).sum(dim=0)


def unit_sum(values, dim=-1):
    return values / values.sum(dim=dim, keepdim=True)


WRONG_MEANS = (
    (
        "arithmetic",
        lambda p, w: (spread(w, p) * p).sum(dim=0),
        "Takes the mean that everybody takes.",
        ("arithmetic-mean",),
    ),
    ("plain-mean", lambda p, w: p.mean(dim=0), "Averages without weights.", ("arithmetic-mean",)),
    (
        "not-renormalised",
        lambda p, w: log_mean(p, w).exp(),
        "Forgets that a geometric mean of probabilities sums to less than 1.",
        ("not-renormalised",),
    ),
    (
        "unweighted",
        lambda p, w: unit_sum(p.log().mean(dim=0).exp()),
        "Leaves the weights out.",
        ("weights-ignored",),
    ),
    (
        "no-root",
        lambda p, w: unit_sum(p.prod(dim=0)),
        "Multiplies, and takes no root.",
        ("root-forgotten",),
    ),
    (
        "over-the-batch",
        lambda p, w: unit_sum(log_mean(p, w).exp(), dim=0),
        "Divides by the sum over the examples.",
        ("renormalised-over-another-dimension",),
    ),
    (
        "over-everything",
        lambda p, w: log_mean(p, w).exp() / log_mean(p, w).exp().sum(),
        "Divides by the sum over everything, which is right for one example.",
        ("renormalised-over-another-dimension",),
    ),
    (
        "logarithms",
        lambda p, w: torch.log_softmax(log_mean(p, w), dim=-1),
        "Stays in logarithms.",
        ("log-probabilities",),
    ),
    (
        "no-exponential",
        log_mean,
        "Averages the logarithms and stops.",
        ("log-probabilities",),
    ),
    (
        "softmax-of-the-mean",
        lambda p, w: torch.softmax((spread(w, p) * p).sum(dim=0), dim=-1),
        "Takes a softmax of what is a probability already.",
        ("softmax-twice",),
    ),
    (
        "softmax-instead-of-a-sum",
        lambda p, w: torch.softmax(log_mean(p, w).exp(), dim=-1),
        "Makes things sum to 1 with a softmax, as always.",
        ("softmax-twice",),
    ),
    (
        "nan",
        lambda p, w: torch.softmax(centred(log_mean(p, w)), dim=-1),
        "Centres the logarithms first, for stability; minus infinity has no mean to subtract.",
        ("nan-at-zero-probability",),
    ),
    (
        "clamped",
        lambda p, w: torch.softmax((spread(w, p) * p.clamp_min(1e-4).log()).sum(dim=0), dim=-1),
        "Clamps before the logarithm; a zero then has a root that is none.",
        ("zero-probability-blurred",),
    ),
    (
        "two-dimensions",
        lambda p, w: torch.softmax(torch.special.xlogy(w[:, None], p).sum(dim=0), dim=-1),
        "Tried it on one example only.",
        ("one-shape-only",),
    ),
    (
        "float32",
        lambda p, w: torch.softmax(log_mean(p.float(), w.float()), dim=-1),
        "Computes in float32.",
        ("changes-dtype",),
    ),
    (
        "harmonic",
        lambda p, w: unit_sum(1 / (spread(w, p) / p).sum(dim=0)),
        "Mixes up the means.",
        ("wrong-geometric-mean",),
    ),
)
for name, target, author, named in WRONG_MEANS:
    MEAN.add_mutant(name, of_predictions(target), author, *named)


@MEAN.mutant("changes-its-input", author="Takes the logarithm in place.")
def logs_in_place(probs, weights):
    probs.log_()
    terms = torch.where(spread(weights, probs) == 0, 0.0, spread(weights, probs) * probs)
    return torch.softmax(terms.sum(dim=0), dim=-1)


MEAN.add_style(
    "xlogy",
    of_predictions(lambda p, w: torch.softmax(log_mean(p, w), dim=-1)),
    "xlogy and a softmax",
)
MEAN.add_style(
    "logarithms",
    lambda probs, weights: unit_sum((spread(weights, probs) * probs.log()).sum(dim=0).exp()),
    "weights times logarithms, nothing said about zeros",
)
MEAN.add_style(
    "epsilon",
    lambda probs, weights: torch.softmax(
        (spread(weights, probs) * (probs + 1e-12).log()).sum(dim=0), dim=-1
    ),
    "a small number inside the logarithm",
)
MEAN.add_style(
    "powers",
    lambda probs, weights: unit_sum((probs ** spread(weights, probs)).prod(dim=0)),
    "a product of powers, divided by its sum",
)
MEAN.add_style(
    "without-weightless-masks",
    lambda probs, weights: torch.softmax(
        torch.einsum("m,m...->...", weights[weights > 0], probs[weights > 0].log()), dim=-1
    ),
    "masks of weight 0 left out, einsum",
)


@MEAN.style("minus infinity times 0 made 0 afterwards")
def nan_to_num(probs, weights):
    terms = probs.log() * spread(weights, probs)
    terms = torch.where(terms.isnan(), torch.zeros_like(terms), terms)
    logs = terms.sum(0)
    return (logs - logs.logsumexp(dim=-1, keepdim=True)).exp()


@MEAN.style("a loop over masks")
def looped(probs, weights):
    product = torch.ones_like(probs[0])
    for prediction, weight in zip(probs, weights, strict=True):
        product = product * prediction**weight
    return product / product.sum(dim=-1, keepdim=True)
