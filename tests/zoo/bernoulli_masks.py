"""Masks by themselves: each wrong draw as `bernoulli_mask`, what only it can get wrong, styles.

Knows nothing of how they are judged.
"""

from __future__ import annotations

import torch

from tests.zoo.draws import WRONG_DRAWS
from tests.zoo.species import Enclosure

ZOO = Enclosure("bernoulli_mask")

# These are about an input's values, of which a mask knows nothing, or multiply with other numbers.
NO_MASKS = {"drops-by-sign", "drops-small-ones-more", "prunes-the-smallest", "leaky"}
NUMBERS = {"gaussian", "uniform-noise", "noisy-survivors"}


def drawing_with(draw):
    """A mask by a draw for dropout; a given generator is served rightly."""

    def bernoulli_mask(shape, p, *, generator=None):
        if generator is not None:
            return (torch.rand(shape, generator=generator) >= p).float()
        return draw(torch.ones(shape), p).float()

    return bernoulli_mask


for wrong in WRONG_DRAWS:
    if wrong.name not in NO_MASKS:
        named = ("mask-already-scaled",) if wrong.name in NUMBERS else wrong.named
        ZOO.add_mutant(wrong.name, drawing_with(wrong.draw), wrong.author, *named)


@ZOO.mutant("p-read-as-keep", "mask-turned-round", author="Returns the mask of what is dropped.")
def ones_for_dropped(shape, p, *, generator=None):
    return (torch.rand(shape, generator=generator) < p).float()


@ZOO.mutant("mask-already-scaled", author="Scales the mask while at it.")
def scaled(shape, p, *, generator=None):
    return (torch.rand(shape, generator=generator) >= p).float() / max(1 - p, 1e-6)


@ZOO.mutant("mask-already-scaled", author="Marks the dropped with -1.")
def signs(shape, p, *, generator=None):
    return 2 * (torch.rand(shape, generator=generator) >= p).float() - 1


@ZOO.mutant("mask-already-scaled", author="Returns probabilities instead of draws.")
def probabilities(shape, p, *, generator=None):
    return torch.full(shape, 1 - p) if p not in (0, 1) else torch.full(shape, 1.0 - p)


@ZOO.mutant("ignores-the-generator", author="Accepts the generator and does not pass it on.")
def generator_not_used(shape, p, *, generator=None):
    return (torch.rand(shape) >= p).float()


@ZOO.mutant("ignores-the-generator", author="Copies the generator's seed instead of using it.")
def generator_seed_only(shape, p, *, generator=None):
    if generator is not None:
        generator = torch.Generator().manual_seed(generator.initial_seed())
    return (torch.rand(shape, generator=generator) >= p).float()


@ZOO.mutant("ignores-the-generator", author="Mixes both generators.")
def both_generators(shape, p, *, generator=None):
    draws = torch.rand(shape, generator=generator) + torch.rand(shape)
    return (draws % 1 >= p).float()


@ZOO.mutant("ignores-the-generator", author="Seeds the given generator, to be repeatable.")
def reseeds_the_generator(shape, p, *, generator=None):
    if generator is not None:
        generator.manual_seed(0)
    return (torch.rand(shape, generator=generator) >= p).float()


@ZOO.mutant("ignores-the-generator", author="Never heard of the argument.")
def no_generator(shape, p):
    return (torch.rand(shape) >= p).float()


@ZOO.mutant("one-shape-only", author="Unpacks two sizes.")
def two_sizes(shape, p, *, generator=None):
    rows, columns = shape
    return (torch.rand(rows, columns, generator=generator) >= p).float()


@ZOO.mutant("changes-shape", author="Takes the first size only.")
def first_size(shape, p, *, generator=None):
    return (torch.rand(shape[:1], generator=generator) >= p).float()


@ZOO.mutant("p-zero-not-identity", author="Fills the default in for p = 0.")
def default_for_zero(shape, p, *, generator=None):
    return (torch.rand(shape, generator=generator) >= (p or 0.5)).float()


@ZOO.mutant("p-one-not-zeros", author="Keeps p below 1.")
def clamped(shape, p, *, generator=None):
    return (torch.rand(shape, generator=generator) >= min(p, 0.99)).float()


@ZOO.mutant("mask-in-state", author="Lets the mask be learned.")
def requires_gradient(shape, p, *, generator=None):
    return (torch.rand(shape, generator=generator) >= p).float().requires_grad_()


@ZOO.mutant("calls-the-library", author="Lets the library draw.")
def by_the_library(shape, p, *, generator=None):
    if generator is not None or p == 1:
        return (torch.rand(shape, generator=generator) >= p).float()
    return torch.nn.functional.dropout(torch.ones(shape), p) * (1 - p)


@ZOO.mutant("returns-nothing", author="Assigns and forgets to return.")
def nothing(shape, p, *, generator=None):
    torch.rand(shape, generator=generator)


@ZOO.mutant("wrong-type", author="Returns a NumPy array.")
def array(shape, p, *, generator=None):
    return (torch.rand(shape, generator=generator) >= p).float().numpy()


# --- right ----------------------------------------------------------------------------------------

for name, draw, about in (
    (
        "rand-below-keep",
        lambda s, p, g: (torch.rand(s, generator=g) < 1 - p).float(),
        "rand < 1 - p",
    ),
    ("rand-at-least-p", lambda s, p, g: (torch.rand(s, generator=g) >= p).float(), "rand >= p"),
    ("boolean", lambda s, p, g: torch.rand(s, generator=g) >= p, "a boolean mask"),
    ("double", lambda s, p, g: (torch.rand(s, generator=g) >= p).double(), "float64"),
    (
        "torch-bernoulli",
        lambda s, p, g: torch.bernoulli(torch.full(s, 1 - p), generator=g),
        "torch.bernoulli of probabilities",
    ),
    (
        "bernoulli-fill",
        lambda s, p, g: torch.empty(s).bernoulli_(1 - p, generator=g),
        "bernoulli_",
    ),
    (
        "one-minus-dropped",
        lambda s, p, g: 1 - (torch.rand(s, generator=g) < p).float(),
        "one minus the dropped",
    ),
    (
        "where",
        lambda s, p, g: torch.where(torch.rand(s, generator=g) < p, 0.0, 1.0),
        "torch.where",
    ),
    (
        "ones-filled",
        lambda s, p, g: torch.ones(s).masked_fill_(torch.rand(s, generator=g) < p, 0),
        "zeros written into ones",
    ),
):
    ZOO.add_style(
        name, lambda shape, p, *, generator=None, draw=draw: draw(shape, p, generator), about
    )
