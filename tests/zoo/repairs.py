"""Three classes to repair: repairs that are none, that break something else, and right ones.

Knows nothing of how they are judged.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.zoo.species import Enclosure

FUNCTIONAL = Enclosure("RepairedFunctional")
ATTENTION = Enclosure("RepairedAttention")
MODES = Enclosure("RepairedModes")


class Net(nn.Module):
    """What BrokenFunctional and BrokenModes have in common."""

    def __init__(self, features=16, hidden=32, classes=4, p=0.5):
        super().__init__()
        self.first = nn.Linear(features, hidden)
        self.last = nn.Linear(hidden, classes)
        self.p = p


def net(hide):
    """A net with `hide(module, hidden units)` between its layers."""

    class Repaired(Net):
        def forward(self, x):
            return self.last(hide(self, torch.relu(self.first(x))))

    return Repaired


def drop(h, p, training=True):
    return F.dropout(h, p, training=training)


def mask_of_one_row(m, h):
    return h * drop(torch.ones(h.shape[-1]), m.p, m.training)


def mask_of_one_column(m, h):
    return h * drop(torch.ones(*h.shape[:-1], 1), m.p, m.training)


def unscaled(m, h):
    return h * (torch.rand(h.shape) >= m.p) if m.training else h


def seeded(m, h):
    if m.training:
        torch.manual_seed(0)
    return drop(h, m.p, m.training)


def drawn_and_thrown_away(m, h):
    mask = drop(torch.ones_like(h), m.p)
    return h * mask if m.training else h


def detached(m, h):
    return drop(h.detach(), m.p, m.training)


def no_grad_in_eval(m, h):
    return drop(h, m.p) if m.training else h.detach()


def of_a_matrix(m, h):
    return h * drop(torch.ones(len(h), h.shape[1]), m.p, m.training)


def exactly_so_many(m, h):
    if not m.training:
        return h
    kept = torch.rand_like(h).argsort(dim=-1) >= round(m.p * h.shape[-1])
    return h * kept / (1 - m.p)


def one_mask_for_ever(m, h):
    if not m.training:
        return h
    if getattr(m, "mask", None) is None or m.mask.shape != h.shape:
        m.mask = torch.rand_like(h) >= m.p
    return h * m.mask / (1 - m.p)


def leaves_no_trace(m, h):
    with torch.random.fork_rng(devices=[]):
        return drop(h, m.p, m.training)


def noise(m, h):
    return h * (1 + torch.randn_like(h) * (m.p / (1 - m.p)) ** 0.5) if m.training else h


# What is wrong in the same way in both nets.
BETWEEN = (
    (
        "always-off",
        lambda m, h: drop(h, m.p, False),
        "Turns dropout off for good, and eval mode is right.",
        "never-drops",
    ),
    ("removed", lambda m, h: h, "Takes the dropout out.", "never-drops"),
    (
        "rate-zero",
        lambda m, h: F.dropout(h, 0.0, m.training),
        "Sets the rate to 0 while looking for the bug.",
        "never-drops",
    ),
    (
        "off-by-eval-in-forward",
        lambda m, h: F.dropout(h, m.p, m.eval().training),
        "Calls self.eval() in forward.",
        "never-drops",
    ),
    (
        "turned-round",
        lambda m, h: drop(h, m.p, not m.training),
        "Writes `not self.training`.",
        "modes-swapped",
    ),
    (
        "gradient-mode",
        lambda m, h: drop(h, m.p, torch.is_grad_enabled()),
        "Takes gradient mode for the mode of the model.",
        "no-grad-is-not-eval",
    ),
    (
        "gradient-mode-too",
        lambda m, h: drop(h, m.p, m.training and torch.is_grad_enabled()),
        "Turns dropout off under no_grad as well.",
        "no-grad-is-not-eval",
    ),
    (
        "half-the-rate",
        lambda m, h: drop(h, m.p / 2, m.training),
        "Halves the rate, since eval and train now look too different.",
        "rate-off",
    ),
    (
        "rate-written-out",
        lambda m, h: drop(h, 0.5, m.training),
        "Leaves p out, so that F.dropout takes its default.",
        "ignores-p",
    ),
    (
        "p-as-keep",
        lambda m, h: drop(h, 1 - m.p, m.training),
        "Reads p as the probability of keeping.",
        "p-read-as-keep",
    ),
    ("unscaled", unscaled, "Draws the mask by hand and forgets the scale.", "no-scaling"),
    (
        "scaled-in-eval",
        lambda m, h: drop(h, m.p) if m.training else h * (1 - m.p),
        "Scales at inference, as in 2014.",
        "scales-at-inference",
    ),
    (
        "one-mask-a-batch",
        mask_of_one_row,
        "Draws one mask for all examples.",
        "mask-shared-across-batch",
    ),
    (
        "whole-examples",
        mask_of_one_column,
        "Drops whole examples.",
        "mask-shared-across-features",
    ),
    ("seeded", seeded, "Makes it repeatable with a seed in forward.", "resets-global-seed"),
    (
        "draws-in-eval",
        drawn_and_thrown_away,
        "Draws a mask in both modes and uses it in one.",
        "draws-at-inference",
    ),
    ("detached", detached, "Detaches the hidden units.", "gradient-detached"),
    (
        "no-gradients-in-eval",
        no_grad_in_eval,
        "Believes that eval mode needs no gradients.",
        "eval-is-not-no-grad",
    ),
    ("exact-count", exactly_so_many, "Drops exactly k units of each example.", "exact-count"),
    ("of-a-matrix", of_a_matrix, "Makes a mask of two dimensions.", "one-shape-only"),
    ("cached", one_mask_for_ever, "Draws the mask once and keeps it.", "mask-cached"),
    ("fork", leaves_no_trace, "Forks the generator, to leave no trace in it.", "mask-cached"),
    ("noise", noise, "Multiplies by Gaussian noise.", "dropout-in-another-place"),
    (
        "twice",
        lambda m, h: drop(drop(h, m.p, m.training), m.p, m.training),
        "Adds a dropout where there is one.",
        "rate-off",
    ),
)
for enclosure, broken in (
    (FUNCTIONAL, "functional-default-is-training"),
    (MODES, "own-mode-flag"),
):
    for name, hide, author, named in BETWEEN:
        enclosure.add_mutant(name, net(hide), author, named)
    enclosure.add_mutant(
        "made-in-forward",
        net(lambda m, h: nn.Dropout(m.p)(h)),
        "Makes an nn.Dropout in forward: it is new, and so in train mode, at every call.",
        broken,
    )
    enclosure.add_mutant(
        "as-it-was", net(lambda m, h: drop(h, m.p)), "Hands in the broken class.", broken
    )

    class OfTheInput(Net):
        def forward(self, x):
            return self.last(torch.relu(self.first(drop(x, self.p, self.training))))

    class OfTheOutput(Net):
        def forward(self, x):
            return drop(self.last(torch.relu(self.first(x))), self.p, self.training)

    class OfTheWeights(Net):
        def forward(self, x):
            weight = drop(self.last.weight, self.p, self.training)
            return F.linear(torch.relu(self.first(x)), weight, self.last.bias)

    class WithoutRelu(Net):
        def forward(self, x):
            return self.last(drop(self.first(x), self.p, self.training))

    class RenamedLayers(nn.Module):
        def __init__(self, features=16, hidden=32, classes=4, p=0.5):
            super().__init__()
            self.net = nn.Sequential(
                nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(p), nn.Linear(hidden, classes)
            )

        def forward(self, x):
            return self.net(x)

    class FlagInABuffer(Net):
        def __init__(self, features=16, hidden=32, classes=4, p=0.5):
            super().__init__(features, hidden, classes, p)
            self.register_buffer("rate", torch.tensor(p))

        def forward(self, x):
            return self.last(drop(torch.relu(self.first(x)), float(self.rate), self.training))

    for name, target, author, named in (
        ("of-the-input", OfTheInput, "Moves dropout in front.", "dropout-in-another-place"),
        ("of-the-output", OfTheOutput, "Moves dropout to the end.", "dropout-in-another-place"),
        (
            "of-the-weights",
            OfTheWeights,
            "Drops weights instead of units.",
            "dropout-in-another-place|mask-shared-across-batch|scale-varies",
        ),
        ("without-relu", WithoutRelu, "Loses the relu on the way.", "computes-something-else"),
        ("renamed", RenamedLayers, "Rewrites the class as a Sequential.", "state-dict-differs"),
        ("rate-in-a-buffer", FlagInABuffer, "Keeps p in a buffer.", "state-dict-differs"),
    ):
        enclosure.add_mutant(name, target, author, *named.split("|"))

    class Module(Net):
        def __init__(self, features=16, hidden=32, classes=4, p=0.5):
            super().__init__(features, hidden, classes, p)
            self.drop = nn.Dropout(p)

        def forward(self, x):
            return self.last(self.drop(torch.relu(self.first(x))))

    class ByHand(Net):
        def forward(self, x):
            hidden = torch.relu(self.first(x))
            if self.training:
                hidden = hidden * (torch.rand_like(hidden) >= self.p) / (1 - self.p)
            return self.last(hidden)

    class BeforeRelu(Net):
        def forward(self, x):
            rate = self.p if self.training else 0.0
            return self.last(F.relu(F.dropout(self.first(x), rate)))

    for target, about in (
        (net(lambda m, h: F.dropout(h, m.p, m.training)), "F.dropout with self.training"),
        (net(lambda m, h: F.dropout(h, m.p) if m.training else h), "F.dropout in train mode only"),
        (Module, "an nn.Dropout made in __init__"),
        (ByHand, "a mask by hand"),
        (BeforeRelu, "a rate of 0 in eval mode, dropout before relu: the same thing"),
    ):
        enclosure.add_style(about.replace(" ", "-"), target, about)


# --- only RepairedModes: who hears of a switch --------------------------------------------------


class FlaggedNet(Net):
    """Keeps a mode of its own, which the repairs below try to set."""

    def __init__(self, features=16, hidden=32, classes=4, p=0.5):
        super().__init__(features, hidden, classes, p)
        self.mode = "train"

    def forward(self, x):
        return self.last(drop(torch.relu(self.first(x)), self.p, self.mode != "eval"))


@MODES.mutant("eval-overridden-alone", author="Overrides eval(), which a parent never calls.")
class EvalOverridden(FlaggedNet):
    def eval(self):
        self.mode = "eval"
        return super().eval()


@MODES.mutant("eval-overridden-alone", author="Overrides both, and ignores train's argument.")
class ArgumentIgnored(FlaggedNet):
    def train(self, mode=True):
        self.mode = "train"
        return super().train(mode)

    def eval(self):
        super().eval()
        self.mode = "eval"
        return self


@MODES.mutant("raises", author="Overrides train() without its argument.")
class ArgumentForgotten(FlaggedNet):
    def train(self):
        self.mode = "train"
        return super().train()

    def eval(self):
        self.mode = "eval"
        return self


@MODES.mutant("never-returns-to-train", author="Goes to eval, and never back.")
class NeverBack(FlaggedNet):
    def train(self, mode=True):
        if not mode:
            self.mode = "eval"
        return super().train(mode)


@MODES.mutant("never-returns-to-train", author="Sets the flag in forward, the first time it can.")
class SetInForward(FlaggedNet):
    def forward(self, x):
        if not self.training:
            self.mode = "eval"
        return super().forward(x)


@MODES.mutant("switch-returns-nothing", author="Overrides train() and returns nothing.")
class ReturnsNothing(FlaggedNet):
    def train(self, mode=True):
        self.mode = "train" if mode else "eval"
        super().train(mode)


@MODES.mutant("mode-not-passed-on", author="Overrides train() and does not call super().")
class NotPassedOn(FlaggedNet):
    def train(self, mode=True):
        self.mode = "train" if mode else "eval"
        return self


@MODES.mutant("never-drops", author="Starts in eval mode and leaves it at that.")
class EvalFromTheStart(FlaggedNet):
    def __init__(self, features=16, hidden=32, classes=4, p=0.5):
        super().__init__(features, hidden, classes, p)
        self.mode = "eval"


@MODES.mutant("own-mode-flag", author="Sets a differently named flag in eval().")
class AnotherName(FlaggedNet):
    def train(self, mode=True):
        self.is_eval = not mode
        return super().train(mode)


@MODES.style("train(mode) overridden, which eval() and a parent both call")
class TrainOverridden(FlaggedNet):
    def train(self, mode=True):
        self.mode = "train" if mode else "eval"
        return super().train(mode)


@MODES.style("the flag as a property of training")
class FlagAsProperty(Net):
    @property
    def mode(self):
        return "train" if self.training else "eval"

    def forward(self, x):
        return self.last(drop(torch.relu(self.first(x)), self.p, self.mode == "train"))


# --- RepairedAttention --------------------------------------------------------------------------


class Attention(nn.Module):
    def __init__(self, dim=16, heads=4, p=0.5):
        super().__init__()
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.heads, self.p = heads, p

    def split(self, x):
        parts = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        return parts.permute(2, 0, 3, 1, 4)

    def join(self, mixed):
        return self.out(mixed.transpose(1, 2).flatten(2))


def attention(mix):
    class Repaired(Attention):
        def forward(self, x):
            return self.join(mix(self, *self.split(x)))

    return Repaired


sdpa = F.scaled_dot_product_attention


def weights(q, k):
    return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, dim=-1)


def scaled_in_eval(m, q, k, v):
    return sdpa(q, k, v, dropout_p=m.p) if m.training else (1 - m.p) * sdpa(q, k, v)


def logits_dropped(m, q, k, v):
    logits = drop(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, m.p, m.training)
    return torch.softmax(logits, dim=-1) @ v


def renormalised(m, q, k, v):
    dropped = drop(weights(q, k), m.p, m.training)
    return dropped / dropped.sum(dim=-1, keepdim=True).clamp_min(1e-9) @ v


def one_mask_for_all(m, q, k, v):
    a = weights(q, k)
    return a * drop(torch.ones(a.shape[1:]), m.p, m.training) @ v


def unscaled_attention(m, q, k, v):
    a = weights(q, k)
    return (a * (torch.rand_like(a) >= m.p) if m.training else a) @ v


WRONG_ATTENTION = (
    (
        "as-it-was",
        lambda m, q, k, v: sdpa(q, k, v, dropout_p=m.p),
        "Hands in the broken class.",
        "attention-drops-by-its-argument",
    ),
    (
        "under-no-grad",
        lambda m, q, k, v: sdpa(q, k, v, dropout_p=m.p * torch.is_grad_enabled()),
        "Takes gradient mode for the mode of the model.",
        "no-grad-is-not-eval",
    ),
    (
        "rate-zero",
        lambda m, q, k, v: sdpa(q, k, v, dropout_p=0.0),
        "Sets the rate to 0 for good.",
        "never-drops",
    ),
    ("left-out", lambda m, q, k, v: sdpa(q, k, v), "Leaves the argument out.", "never-drops"),
    (
        "turned-round",
        lambda m, q, k, v: sdpa(q, k, v, dropout_p=0.0 if m.training else m.p),
        "Writes the two cases the wrong way round.",
        "modes-swapped",
    ),
    (
        "half-the-rate",
        lambda m, q, k, v: sdpa(q, k, v, dropout_p=m.p / 2 * m.training),
        "Halves the rate.",
        "rate-off",
    ),
    (
        "rate-written-out",
        lambda m, q, k, v: sdpa(q, k, v, dropout_p=0.5 if m.training else 0.0),
        "Writes the default's rate out.",
        "ignores-p",
    ),
    (
        "p-as-keep",
        lambda m, q, k, v: sdpa(q, k, v, dropout_p=(1 - m.p) * m.training),
        "Reads p as the probability of keeping.",
        "p-read-as-keep",
    ),
    (
        "of-what-was-mixed",
        lambda m, q, k, v: drop(sdpa(q, k, v), m.p, m.training),
        "Drops what attention returns.",
        "dropout-in-another-place",
    ),
    (
        "of-the-values",
        lambda m, q, k, v: sdpa(q, k, drop(v, m.p, m.training)),
        "Drops the values.",
        "dropout-in-another-place",
    ),
    (
        "of-the-queries",
        lambda m, q, k, v: sdpa(drop(q, m.p, m.training), k, v),
        "Drops the queries.",
        "dropout-in-another-place|never-drops",
    ),
    (
        "of-the-logits",
        logits_dropped,
        "Drops before the softmax.",
        "dropout-in-another-place|never-drops",
    ),
    (
        "renormalised",
        renormalised,
        "Makes the weights sum to 1 again.",
        "dropout-in-another-place",
    ),
    (
        "one-mask-a-batch",
        one_mask_for_all,
        "Draws one mask for all examples.",
        "mask-shared-across-batch",
    ),
    ("unscaled", unscaled_attention, "Forgets the scale.", "no-scaling"),
    (
        "scaled-in-eval",
        scaled_in_eval,
        "Scales at inference, as in 2014.",
        "scales-at-inference",
    ),
    (
        "causal",
        lambda m, q, k, v: sdpa(q, k, v, dropout_p=m.p * m.training, is_causal=True),
        "Copies a line from a language model.",
        "computes-something-else",
    ),
    (
        "unscaled-logits",
        lambda m, q, k, v: sdpa(q, k, v, dropout_p=m.p * m.training, scale=1.0),
        "Forgets the root of the dimension.",
        "computes-something-else",
    ),
    (
        "no-gradients-in-eval",
        lambda m, q, k, v: sdpa(q, k, v, dropout_p=m.p) if m.training else sdpa(q, k, v).detach(),
        "Believes that eval mode needs no gradients.",
        "eval-is-not-no-grad",
    ),
)
for name, mix, author, named in WRONG_ATTENTION:
    ATTENTION.add_mutant(name, attention(mix), author, *named.split("|"))


@ATTENTION.mutant("state-dict-differs", author="Uses nn.MultiheadAttention, which is right.")
class Multihead(nn.Module):
    def __init__(self, dim=16, heads=4, p=0.5):
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, heads, dropout=p, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x)[0]


@ATTENTION.mutant("dropout-in-another-place", author="Drops the module's output.")
class OfTheResult(Attention):
    def forward(self, x):
        return drop(self.join(sdpa(*self.split(x))), self.p, self.training)


@ATTENTION.mutant(
    "dropout-in-another-place", "never-drops", author="Drops the tokens before attention."
)
class OfTheTokens(Attention):
    def forward(self, x):
        return self.join(sdpa(*self.split(drop(x, self.p, self.training))))


ATTENTION.add_style(
    "conditional",
    attention(lambda m, q, k, v: sdpa(q, k, v, dropout_p=m.p if m.training else 0.0)),
    "a rate of 0 in eval mode",
)
ATTENTION.add_style(
    "product",
    attention(lambda m, q, k, v: sdpa(q, k, v, dropout_p=m.p * m.training)),
    "the rate times the mode",
)
ATTENTION.add_style(
    "two-calls",
    attention(lambda m, q, k, v: sdpa(q, k, v, dropout_p=m.p) if m.training else sdpa(q, k, v)),
    "two calls",
)
ATTENTION.add_style(
    "by-hand",
    attention(lambda m, q, k, v: F.dropout(weights(q, k), m.p, m.training) @ v),
    "softmax and F.dropout by hand",
)


@ATTENTION.style("chunks, views and an nn.Dropout in a list of heads")
class HeadByHead(nn.Module):
    def __init__(self, dim=16, heads=4, p=0.5):
        super().__init__()
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.drop, self.heads = nn.Dropout(p), heads

    def forward(self, x):
        q, k, v = (part.chunk(self.heads, dim=-1) for part in self.qkv(x).chunk(3, dim=-1))
        mixed = [self.drop(weights(a, b)) @ c for a, b, c in zip(q, k, v, strict=True)]
        return self.out(torch.cat(mixed, dim=-1))
