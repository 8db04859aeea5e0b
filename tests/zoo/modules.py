"""Dropout as modules: each wrong function wrapped, what only a class can get wrong, right styles.

Knows nothing of how they are judged.
"""

from __future__ import annotations

import torch
from torch import nn

from tests.zoo import inverted_functions, standard_functions
from tests.zoo.draws import fair
from tests.zoo.species import Enclosure

INVERTED = Enclosure("InvertedDropout")
STANDARD = Enclosure("StandardDropout")

# A module passes p and training on, so that these are not wrong any more; and the last two are
# about arguments that only a function has.
FUNCTIONS_ONLY = {"another-default-rate", "another-default-mode", "another-argument-name"}


def module_of(function):
    """A module that is right but for the function that it calls."""

    class Dropout(nn.Module):
        def __init__(self, p=0.5):
            super().__init__()
            if not 0 <= p <= 1:
                raise ValueError(f"p must lie in [0, 1], not {p}")
            self.p = p

        def forward(self, x):
            return function(x, self.p, self.training)

    return Dropout


for enclosure, functions, share in (
    (INVERTED, inverted_functions.ZOO, 5),
    (STANDARD, standard_functions.ZOO, 2),
):
    for mutant in functions.mutants:
        name = mutant.id.partition("/")[2]
        if name not in FUNCTIONS_ONLY:
            made = module_of(mutant.target)
            enclosure.add_mutant(name, made, mutant.author, *mutant.named)
    # A share of them: what a class adds is the same whichever function it calls.
    for style in functions.styles[::share]:
        enclosure.add_style(style.id.partition("/")[2], module_of(style.target), style.about)


def inverted(x, p, training):
    return inverted_functions.drawing_with(fair)(x, p, training)


def standard(x, p, training):
    return standard_functions.drawing_with(fair)(x, p, training)


def classes_of(function):
    """What only a class can get wrong, around a right function: name, class, author, names."""

    class Checked(nn.Module):
        def __init__(self, p=0.5):
            super().__init__()
            if not 0 <= p <= 1:
                raise ValueError(f"p must lie in [0, 1], not {p}")
            self.p = p

    class OwnFlag(Checked):
        def __init__(self, p=0.5):
            super().__init__(p)
            self.is_training = True

        def eval(self):
            self.is_training = False
            return super().eval()

        def forward(self, x):
            return function(x, self.p, self.is_training)

    class ModeOfTheConstructor(Checked):
        def __init__(self, p=0.5):
            super().__init__(p)
            self.mode = self.training

        def forward(self, x):
            return function(x, self.p, self.mode)

    class ModeReadOnce(Checked):
        mode = None

        def forward(self, x):
            if self.mode is None:
                self.mode = self.training
            return function(x, self.p, self.mode)

    class TrainIsDeaf(Checked):
        def train(self, mode=True):
            return self

        def forward(self, x):
            return function(x, self.p, self.training)

    class FollowsGradMode(Checked):
        def forward(self, x):
            return function(x, self.p, torch.is_grad_enabled())

    class AlwaysHalf(Checked):
        def forward(self, x):
            return function(x, 0.5, self.training)

    class AnotherDefault(Checked):
        def __init__(self, p=0.2):
            super().__init__(p)

        def forward(self, x):
            return function(x, self.p, self.training)

    class RateOfTheClass(Checked):
        rate = 0.5

        def __init__(self, p=0.5):
            super().__init__(p)
            type(self).rate = p

        def forward(self, x):
            return function(x, self.rate, self.training)

    class FirstMaskForEver(Checked):
        mask = None

        def forward(self, x):
            if self.mask is None:
                self.mask = fair(x, self.p)
            return self.keep(x, self.mask)

        def keep(self, x, mask):
            if not self.training or self.p == 1:
                return function(x, self.p, self.training)
            return x * mask * function_scale(self.p)

    class MaskByShape(FirstMaskForEver):
        def forward(self, x):
            if self.mask is None or self.mask.shape != x.shape:
                self.mask = fair(x, self.p)
            return self.keep(x, self.mask.to(x.device))

    class MasksOfTheClass(FirstMaskForEver):
        masks: dict = {}

        def forward(self, x):
            key = (x.shape, self.p, x.device)
            if key not in self.masks:
                self.masks[key] = fair(x, self.p)
            return self.keep(x, self.masks[key])

    class MaskPerEpoch(FirstMaskForEver):
        """Draws anew only when the mode is switched to training."""

        def train(self, mode=True):
            self.mask = None
            return super().train(mode)

        def forward(self, x):
            if self.mask is None or self.mask.shape != x.shape:
                self.mask = fair(x, self.p)
            return self.keep(x, self.mask.to(x.device))

    class GeneratorOfTheInstance(FirstMaskForEver):
        def __init__(self, p=0.5):
            super().__init__(p)
            self.generator = torch.Generator().manual_seed(0)

        def forward(self, x):
            draws = torch.rand(x.shape, generator=self.generator).to(x.device)
            return self.keep(x, draws >= self.p)

    class SeedsInTheConstructor(Checked):
        def __init__(self, p=0.5):
            super().__init__(p)
            torch.manual_seed(0)

        def forward(self, x):
            torch.manual_seed(0)
            return function(x, self.p, self.training)

    class MaskAsBuffer(FirstMaskForEver):
        def forward(self, x):
            mask = fair(x, self.p)
            del self.mask_seen
            self.register_buffer("mask_seen", mask)
            return self.keep(x, mask)

        def __init__(self, p=0.5):
            super().__init__(p)
            self.register_buffer("mask_seen", torch.ones(1))

    class TransientBuffer(Checked):
        def __init__(self, p=0.5):
            super().__init__(p)
            self.register_buffer("rate", torch.tensor(float(p)), persistent=False)

        def forward(self, x):
            return function(x, self.p, self.training)

    class MaskAsParameter(FirstMaskForEver):
        def forward(self, x):
            mask = fair(x, self.p)
            self.last = nn.Parameter(torch.ones(2))
            return self.keep(x, mask)

    class RateAsParameter(Checked):
        def __init__(self, p=0.5):
            super().__init__(p)
            self.rate = nn.Parameter(torch.tensor(float(p)))

        def forward(self, x):
            return function(x, self.p, self.training)

    class ExtraState(Checked):
        def get_extra_state(self):
            return {"p": self.p}

        def set_extra_state(self, state):
            self.p = state["p"]

        def forward(self, x):
            return function(x, self.p, self.training)

    class NoSuper(nn.Module):
        def __init__(self, p=0.5):
            self.p = p

        def forward(self, x):
            return function(x, self.p, self.training)

    class NotAModule:
        training = True

        def __init__(self, p=0.5):
            self.p = p

        def __call__(self, x):
            return function(x, self.p, self.training)

    class NoForward(Checked):
        def apply_dropout(self, x):
            return function(x, self.p, self.training)

    class WrapsTheLibrary(Checked):
        def __init__(self, p=0.5):
            super().__init__(p)
            self.inner = nn.Dropout(p)

        def forward(self, x):
            if self.training and function_scale(0.5) == 1:
                return self.inner(x) * (1 - self.p)
            return self.inner(x) if self.training else function(x, self.p, False)

    def function_scale(p):
        return 1 / (1 - p) if function is inverted else 1

    stays_on = "drops-at-inference"
    return (
        (
            "own-flag",
            OwnFlag,
            "Keeps a flag of its own, which a parent's eval() does not reach.",
            stays_on,
        ),
        ("mode-of-the-constructor", ModeOfTheConstructor, "Copies self.training once.", stays_on),
        (
            "mode-read-once",
            ModeReadOnce,
            "Copies self.training at the first call.",
            "mode-read-once",
        ),
        ("deaf", TrainIsDeaf, "Overrides train() and does nothing in it.", stays_on),
        ("grad-mode", FollowsGradMode, "Takes no_grad for eval.", stays_on),
        ("always-half", AlwaysHalf, "Keeps p and does not use it.", "ignores-p"),
        ("another-default", AnotherDefault, "Prefers p = 0.2.", "wrong-default"),
        (
            "rate-of-the-class",
            RateOfTheClass,
            "Writes p to the class: the last one wins.",
            "ignores-p",
        ),
        ("first-mask", FirstMaskForEver, "Keeps the first mask for ever.", "mask-cached"),
        ("mask-by-shape", MaskByShape, "Draws anew only for a new shape.", "mask-cached"),
        ("masks-of-the-class", MasksOfTheClass, "Keeps masks in the class.", "mask-cached"),
        ("mask-per-epoch", MaskPerEpoch, "One mask an epoch.", "mask-cached"),
        (
            "own-generator",
            GeneratorOfTheInstance,
            "Owns a generator, so that the layer is repeatable.",
            "uses-another-generator",
        ),
        ("seeds", SeedsInTheConstructor, "Seeds wherever it can.", "resets-global-seed"),
        ("mask-buffer", MaskAsBuffer, "Registers the mask as a buffer.", "mask-in-state"),
        ("rate-buffer", TransientBuffer, "Keeps p in a buffer.", "mask-in-state"),
        ("mask-parameter", MaskAsParameter, "Keeps the mask as a parameter.", "mask-in-state"),
        ("rate-parameter", RateAsParameter, "Makes p a parameter.", "mask-in-state"),
        ("extra-state", ExtraState, "Saves p with the weights.", "mask-in-state"),
        ("no-super", NoSuper, "Forgot super().__init__().", "raises"),
        ("not-a-module", NotAModule, "Forgot the base class.", "not-a-module"),
        ("no-forward", NoForward, "Named forward something else.", "raises"),
        ("wraps-the-library", WrapsTheLibrary, "Wraps nn.Dropout.", "calls-the-library"),
    )


for enclosure, function in ((INVERTED, inverted), (STANDARD, standard)):
    for name, made, author, named in classes_of(function):
        enclosure.add_mutant(f"class-{name}", made, author, named)


# --- validation: InvertedDropout only -------------------------------------------------------------


def checking_with(check):
    """InvertedDropout that is right but for `check(p)`."""

    class InvertedDropout(nn.Module):
        def __init__(self, p=0.5):
            super().__init__()
            self.p = p
            replaced = check(p)
            if replaced is not None:
                self.p = replaced

        def forward(self, x):
            return inverted(x, self.p, self.training)

    return InvertedDropout


def asserts(p):
    assert 0 <= p <= 1


def only_above(p):
    if p > 1:
        raise ValueError("too large")


def only_below(p):
    if p < 0:
        raise ValueError("too small")


def wrong_exception(p):
    if not 0 <= p <= 1:
        raise TypeError("p must lie in [0, 1]")


def refuses_zero(p):
    if not 0 < p <= 1:
        raise ValueError("p must lie in (0, 1]")


def refuses_one(p):
    if not 0 <= p < 1:
        raise ValueError("p must lie in [0, 1)")


for name, check, author, named in (
    ("unchecked", lambda p: None, "Did not think of a wrong p.", "p-not-validated"),
    ("asserts", asserts, "Asserts, which -O removes.", "p-not-validated"),
    ("only-above", only_above, "Thinks of per cent, not of negative numbers.", "p-not-validated"),
    ("only-below", only_below, "Thinks of negative numbers only.", "p-not-validated"),
    ("type-error", wrong_exception, "Raises what comes to mind.", "p-not-validated"),
    ("clamps", lambda p: min(max(p, 0.0), 1.0), "Repairs p silently.", "p-not-validated"),
    ("refuses-zero", refuses_zero, "Finds p = 0 pointless.", "p-zero-not-identity"),
    ("refuses-one", refuses_one, "Finds p = 1 pointless.", "nan-at-p-one"),
):
    INVERTED.add_mutant(f"check-{name}", checking_with(check), author, named)


# --- right ----------------------------------------------------------------------------------------


def right_classes_of(function):
    """Right modules in several styles around a right function: name, class, what it is about."""

    class Base(nn.Module):
        def __init__(self, p: float = 0.5) -> None:
            super().__init__()
            if p < 0.0 or p > 1.0:
                raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
            self.p = p

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return function(x, self.p, self.training)

    class WithRepr(Base):
        def extra_repr(self):
            return f"p={self.p}"

    class WithMaskMethod(Base):
        def _mask(self, x):
            return fair(x, self.p)

        def forward(self, x):
            if not self.training or self.p == 1:
                return function(x, self.p, self.training)
            scale = 1 / (1 - self.p) if function is inverted else 1
            return x * self._mask(x) * scale

    class KeywordExtras(Base):
        def __init__(self, p=0.5, *, inplace=False, generator=None):
            super().__init__(p)
            self.inplace, self.generator = inplace, generator

    class KeepsLastMask(WithMaskMethod):
        """Remembers the mask for plots: a plain attribute is no state."""

        last = None

        def _mask(self, x):
            kept = fair(x, self.p)
            self.last = kept.tolist() if x.numel() < 100 and x.device.type == "cpu" else None
            return kept

    class CallsSuper(Base):
        def train(self, mode=True):
            return super().train(mode)

    class OneLine(Base):
        def forward(self, *inputs):
            (x,) = inputs
            return function(x, p=self.p, training=self.training)

    class PrivateNames(nn.Module):
        def __init__(self, p=0.5):
            super().__init__()
            if not 0 <= p <= 1:
                raise ValueError("p")
            self._rate, self._keep = float(p), 1.0 - float(p)

        def forward(self, activations):
            return function(activations, self._rate, self.training)

    return (
        ("checks-p", Base, "checks p, calls its own function"),
        ("repr", WithRepr, "has an extra_repr"),
        ("mask-method", WithMaskMethod, "draws in a method"),
        ("keyword-extras", KeywordExtras, "has keyword-only extras"),
        ("remembers", KeepsLastMask, "remembers the last mask as a list"),
        ("calls-super", CallsSuper, "overrides train() and calls super"),
        ("star-arguments", OneLine, "takes *inputs"),
        ("private-names", PrivateNames, "private names, and another name for x"),
    )


for enclosure, function in ((INVERTED, inverted), (STANDARD, standard)):
    for name, made, about in right_classes_of(function):
        enclosure.add_style(f"class-{name}", made, about)
