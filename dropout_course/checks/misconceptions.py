"""From what was measured to the wrong belief that it reveals, and what shows that it is wrong.

Knows what was measured as numbers only; must not know calls, records or lessons' code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

Formula = Callable[[float], float]


@dataclass(frozen=True)
class Belief:
    """What people compute from p, and the misconception that it is; `text` follows the number."""

    misconception: str
    formula: Formula
    text: str


# What survivors are multiplied with, as a function of p. The first that fits is told first.
SURVIVOR_SCALES: tuple[Belief, ...] = (
    Belief("no-scaling", lambda p: 1.0, "whatever p is"),
    Belief("divided-by-p", lambda p: 1.0 / p, "which is 1 / p"),
    Belief("scaled-by-keep-prob", lambda p: 1.0 - p, "which is 1 - p"),
    Belief("scaled-by-p", lambda p: p, "which is p"),
    Belief("scaled-while-training", lambda p: 1.0 / (1.0 - p), "which is 1 / (1 - p)"),
    Belief("hard-coded-two", lambda p: 2.0, "whatever p is"),
    Belief("hard-coded-half", lambda p: 0.5, "whatever p is"),
    Belief("scaled-twice", lambda p: 1.0 / (1.0 - p) ** 2, "which is 1 / (1 - p)²"),
    Belief("scaled-twice", lambda p: (1.0 - p) ** 2, "which is (1 - p)²"),
)

# What a given mask's survivors are multiplied with, as a function of the keep probability.
APPLIED_SCALES: tuple[Belief, ...] = (
    Belief("no-scaling", lambda keep: 1.0, "whatever keep_prob is"),
    Belief("scaled-by-keep-prob", lambda keep: keep, "which is keep_prob"),
    Belief("hard-coded-keep-prob", lambda keep: 1.25, "whatever keep_prob is"),
    Belief("hard-coded-two", lambda keep: 2.0, "whatever keep_prob is"),
    Belief("scaled-by-p", lambda keep: 1.0 - keep, "which is 1 - keep_prob"),
    Belief("scaled-twice", lambda keep: keep**-2, "which is 1 / keep_prob²"),
    Belief("p-read-as-keep", lambda keep: 1.0 / (1.0 - keep), "which is 1 / (1 - keep_prob)"),
)

# What share is dropped, as a function of p.
DROP_RATES: tuple[Belief, ...] = (
    Belief("never-drops", lambda p: 0.0, "whatever p is"),
    Belief("drops-everything", lambda p: 1.0, "whatever p is"),
    Belief("p-read-as-keep", lambda p: 1.0 - p, "which is 1 - p"),
    Belief("mask-turned-round", lambda p: 1.0 - p, "which is 1 - p"),
    Belief("ignores-p", lambda p: 0.5, "whatever p is"),
)

# What inference multiplies with, as a function of p.
INFERENCE_SCALES: tuple[Belief, ...] = (
    Belief("no-scaling-at-inference", lambda p: 1.0, "whatever p is"),
    Belief("scales-at-inference", lambda p: 1.0 - p, "which is 1 - p"),
    Belief("p-read-as-keep", lambda p: p, "which is p"),
    Belief("wrong-inference-scale", lambda p: 1.0 / (1.0 - p), "which is 1 / (1 - p)"),
)


def explanations(beliefs: Iterable[Belief], fits: Callable[[Formula], bool]) -> tuple[Belief, ...]:
    """Return the beliefs whose formula fits what was measured; several where that cannot tell."""
    return tuple(belief for belief in beliefs if fits(belief.formula))


@dataclass(frozen=True)
class Misconception:
    """A named wrong belief.

    `experiment` is the one line of code or measurement that shows it, worded to follow "Look at:";
    `out` stands for what came back, `x` for what went in. `lesson` is the id of the lesson that
    treats it.
    """

    id: str
    name: str
    looks_like: str
    why_believed: str
    experiment: str
    lesson: str


_START, _QUESTION = "00_start", "01_the_question"
_STANDARD, _INVERTED = "02_standard_dropout", "03_inverted_dropout"

_ALL = (
    # --- the scale of survivors ---------------------------------------------------------------
    Misconception(
        "no-scaling",
        "survivors are not scaled",
        "Survivors come back with the value that they had, at every p.",
        "Zeroing units is the part of dropout that everybody remembers.",
        "`out.mean()` for a million ones at p = 0.2: 0.8 without the scale, 1 with it",
        _INVERTED,
    ),
    Misconception(
        "divided-by-p",
        "survivors divided by p instead of by the keep probability",
        "Survivors are multiplied by 1 / p; at p = 0.5 nobody sees a difference.",
        "In the 2014 paper and in many courses the letter p is the probability of keeping.",
        "`out.mean()` for a million ones at p = 0.2: it is 4, and ought to be 1",
        _INVERTED,
    ),
    Misconception(
        "scaled-by-keep-prob",
        "survivors multiplied by the keep probability",
        "Survivors are multiplied by 1 - p, so that they shrink twice: by dropping and by scaling.",
        "Standard dropout does multiply by 1 - p, but at inference and without a mask.",
        "`out.mean()` for a million ones at p = 0.2: it is 0.64, the square of 0.8",
        _INVERTED,
    ),
    Misconception(
        "scaled-by-p",
        "survivors multiplied by p",
        "Survivors are multiplied by p; small rates make them nearly vanish.",
        "p is the number at hand, and one of p and 1 - p has to be multiplied with something.",
        "`out.max()` for ones at p = 0.1: 0.1, although nine in ten survive",
        _INVERTED,
    ),
    Misconception(
        "scaled-while-training",
        "survivors scaled although inference is to do it",
        "Survivors are multiplied by 1 / (1 - p) where they should stay as they are.",
        "PyTorch does so; standard dropout, of 2014, leaves survivors alone.",
        "`out.max()` for tens at p = 0.2 in training: 12.5, where standard dropout gives 10",
        _STANDARD,
    ),
    Misconception(
        "hard-coded-two",
        "a scale of 2 whatever p is",
        "Survivors are doubled at every p.",
        "The default p = 0.5 makes 1 / (1 - p) = 2, and most examples use the default.",
        "`out.max()` for ones at p = 0.2: 2, and ought to be 1.25",
        _INVERTED,
    ),
    Misconception(
        "hard-coded-half",
        "a scale of 0.5 whatever p is",
        "Survivors are halved at every p.",
        "The default p = 0.5 makes 1 - p = 0.5, and most examples use the default.",
        "`out.max()` for ones at p = 0.2: 0.5",
        _INVERTED,
    ),
    Misconception(
        "hard-coded-keep-prob",
        "the example's 0.8 instead of `keep_prob`",
        "Kept activations are divided by 0.8 whatever `keep_prob` is.",
        "The worked example has 0.8 in it, and it passes with the number written out.",
        "the result for `keep_prob` = 0.5: survivors must double",
        _QUESTION,
    ),
    Misconception(
        "scaled-twice",
        "scaled twice",
        "The scale is applied two times, so that it is squared.",
        "The mask was already divided, or the scale stands in two functions that call each other.",
        "`out.mean()` for a million ones at p = 0.5: it is 2, and ought to be 1",
        _INVERTED,
    ),
    Misconception(
        "scaled-at-both",
        "scaled in training and at inference",
        "Training divides by 1 - p and inference multiplies by it as well.",
        "Each of the two is right in one kind of dropout; together they cancel nothing.",
        "the average of many training outputs for ones at p = 0.2 beside the inference output:"
        " 1 and 0.8",
        _STANDARD,
    ),
    Misconception(
        "wrong-scale",
        "a scale that follows no formula known here",
        "Survivors are all multiplied by one number, and it is not the right one.",
        "A slip in the formula, or a p that was changed before it was used.",
        "`out.max()` for ones at three values of p, beside 1 / (1 - p)",
        _INVERTED,
    ),
    Misconception(
        "scale-varies",
        "survivors scaled by different numbers",
        "Survivors of one call are multiplied by several numbers.",
        "Dividing by the share that happened to survive looks like a more exact correction.",
        "`(out / x)[out != 0].unique()`: it ought to hold one number",
        _INVERTED,
    ),
    Misconception(
        "scaled-by-survivor-count",
        "scaled by the number of survivors instead of by the probability",
        "The scale changes from call to call: it is one over the share that happened to survive.",
        "It makes each output's mean right; but the survivors' fates are then tied together, and"
        " one element's output is no longer x on average.",
        "`out.max()` for five ones, ten times: it ought to be the same number each time",
        _INVERTED,
    ),
    Misconception(
        "gaussian-noise",
        "noise of another kind than a 0/1 mask",
        "Elements are multiplied by random numbers, few or none of them exactly 0.",
        "Gaussian dropout has the same mean and variance, and is a method of its own.",
        "`(out == 0).float().mean()`: it ought to be p",
        _INVERTED,
    ),
    Misconception(
        "standard-instead-of-inverted",
        "standard dropout where inverted dropout is asked for",
        "Survivors stay as they are in training, and inference multiplies by 1 - p.",
        "The 2014 paper does it so, and both are called dropout.",
        "the output at inference for ones at p = 0.2: 0.8, where PyTorch returns 1",
        _INVERTED,
    ),
    Misconception(
        "inverted-instead-of-standard",
        "inverted dropout where standard dropout is asked for",
        "Survivors are multiplied by 1 / (1 - p) in training, and inference returns x.",
        "Every framework of today does it so.",
        "the output at inference for ones at p = 0.2: 1, where the 2014 paper has 0.8",
        _STANDARD,
    ),
    # --- the rate of dropping -----------------------------------------------------------------
    Misconception(
        "p-read-as-keep",
        "p read as the probability of keeping",
        "A share of 1 - p is dropped instead of p.",
        "p is the keep probability in the 2014 paper, in CS231n and in the article.",
        "`(out == 0).float().mean()` at p = 0.1: it is 0.9",
        _STANDARD,
    ),
    Misconception(
        "mask-turned-round",
        "the mask of the dropped taken for the mask of the kept",
        "A share of 1 - p is dropped instead of p; the scale belongs to the other share.",
        "`torch.rand(...) < p` is true for what is to go, and multiplying keeps what is true.",
        "`mask.float().mean()` at p = 0.1 right after it is drawn: 0.9 are to be kept",
        _STANDARD,
    ),
    Misconception(
        "ignores-p",
        "the same rate whatever p is",
        "The same share of the elements is dropped at every p.",
        "A fair coin comes to mind first, and most examples use the default p = 0.5.",
        "`(out == 0).float().mean()` at p = 0.1 and at p = 0.9",
        _STANDARD,
    ),
    Misconception(
        "wrong-default",
        "another default than the signature's",
        "Calls that leave an argument out behave differently from calls that name it.",
        "The example at hand has another p, or inference seems the normal case.",
        "the first line of the definition: p=0.5, training=True",
        _STANDARD,
    ),
    Misconception(
        "never-drops",
        "nothing is dropped in training",
        "No element is ever 0 in training.",
        "An inverted condition on `training`, or a mask that is drawn and not used.",
        "`(out == 0).any()` for a thousand ones in training",
        _STANDARD,
    ),
    Misconception(
        "drops-everything",
        "everything is dropped in training",
        "Each element is 0 in training, at every p.",
        "An integer mask of `torch.rand(...)`, which rounds down to 0, or a turned comparison.",
        "`mask.float().mean()` right after the line that draws the mask",
        _STANDARD,
    ),
    Misconception(
        "rate-off",
        "the rate of dropping is not p",
        "The share of dropped elements differs from p by more than chance allows.",
        "Few people count over enough elements to see an error of a hundredth.",
        "`(out == 0).double().mean()` over a million elements: it ought to be p to three decimals",
        _STANDARD,
    ),
    # --- the structure of the mask ------------------------------------------------------------
    Misconception(
        "mask-shared-across-batch",
        "one mask for the whole batch",
        "All examples of a batch lose the same units.",
        "A layer has one row of units, so one row of coins seems enough; broadcasting hides it.",
        "`(out == 0).all(dim=0)` for a batch of ones: no column ought to be lost for everybody",
        _STANDARD,
    ),
    Misconception(
        "mask-shared-across-features",
        "one draw for all elements of the last dimension",
        "The elements along the last dimension share one draw.",
        "A mask of shape [..., 1] broadcasts without an error.",
        "`(out == 0).all(dim=-1).any()` for ones: it ought to be False nearly always",
        _STANDARD,
    ),
    Misconception(
        "mask-shared-across-channels",
        "one mask for all channels",
        "All channels of an image lose the same pixels.",
        "The mask was drawn for height and width, and broadcast over the channels.",
        "`(out == 0)[0].all(dim=0)` for images of ones: no pixel ought to be lost in all channels",
        _STANDARD,
    ),
    Misconception(
        "whole-rows-dropped",
        "whole examples are dropped",
        "An example is kept or lost as a whole.",
        "A mask of shape [batch, 1] broadcasts; it is stochastic depth rather than dropout.",
        "`(out == 0).float().mean(dim=1)` for a batch of ones: p for each row, not 0 or 1",
        _STANDARD,
    ),
    Misconception(
        "whole-channels-dropped",
        "whole channels are dropped",
        "A channel is kept or lost as a whole.",
        "That is `nn.Dropout2d`, a variant for convolutions; plain dropout treats each element.",
        "`(out == 0).float().mean(dim=(2, 3))` for images of ones: p everywhere, not 0 or 1",
        _STANDARD,
    ),
    Misconception(
        "neighbours-correlated",
        "the draws of different elements depend on each other",
        "Elements share their fate, or its opposite, more often than chance has it.",
        "Drawing fewer numbers and repeating, mirroring or inverting them seems to save time.",
        "`((out[::2] == 0) == (out[1::2] == 0)).float().mean()`: p² + (1 - p)² if independent",
        _STANDARD,
    ),
    Misconception(
        "calls-correlated",
        "the masks of different calls depend on each other",
        "A mask tells something about one of the masks before it.",
        "Using a draw twice, the second time mirrored, lowers the variance of an average.",
        "`((f(x) == 0) == (f(x) == 0)).float().mean()` in training: p² + (1 - p)² if independent",
        _STANDARD,
    ),
    Misconception(
        "exact-count",
        "exactly k elements are dropped",
        "The number of dropped elements is the same each time.",
        '"Drop 20 %" sounds like choosing 20 of 100; dropout tosses a coin for each of them.',
        "`(out == 0).sum()` for a hundred ones, ten times: ten different numbers",
        _STANDARD,
    ),
    Misconception(
        "depends-on-position",
        "some positions are dropped more often than others",
        "One index is dropped more often or less often than p.",
        "A unit was protected on purpose, or an index range ends one too early.",
        "`(out == 0).float().mean(dim=0)` over many rows of ones: p in every column",
        _STANDARD,
    ),
    Misconception(
        "depends-on-input",
        "the value of an element decides whether it is dropped",
        "Small, large, positive or negative inputs are dropped more often than others.",
        "Losing what is small seems to do less harm; it is pruning, not dropout.",
        "the share of zeros in `out` among positive and among negative inputs",
        _STANDARD,
    ),
    Misconception(
        "mask-already-scaled",
        "the mask holds other numbers than 0 and 1",
        "Kept elements of the mask are not 1.",
        "Scaling the mask saves a line; but then it is no mask, and others scale it again.",
        "`mask.unique()`: it ought to hold 0 and 1",
        _STANDARD,
    ),
    Misconception(
        "ignores-the-mask",
        "the given mask does not decide what is 0",
        "Elements that the mask drops survive, or the other way round.",
        "1 can be read as 'drop' as well as 'keep', and some write their own mask by habit.",
        "`(out == 0) == (mask == 0)`: it ought to be True everywhere",
        _QUESTION,
    ),
    # --- freshness and randomness -------------------------------------------------------------
    Misconception(
        "mask-cached",
        "a mask is drawn once and used again",
        "Later calls repeat the mask of an earlier one.",
        "Backward needs the forward pass's mask, so people keep it, and then use it for too long.",
        "`torch.equal(f(x), f(x))` in training: it ought to be False",
        _STANDARD,
    ),
    Misconception(
        "reseeded-every-call",
        "each call starts from the same seed",
        "Each call returns the same mask, drawn anew from a fixed seed.",
        "A seed makes experiments repeatable; inside the function it makes every step the same.",
        "a call after `torch.manual_seed(1)` and one after `torch.manual_seed(2)`: two masks",
        _STANDARD,
    ),
    Misconception(
        "deterministic-pattern",
        "the mask is a fixed pattern",
        "The mask is no draw at all: every other element, the first k, or the like.",
        "A regular pattern drops the right share, and looks tidy.",
        "the mask of a thousand ones: `(out != 0)[:20]`, twice",
        _STANDARD,
    ),
    Misconception(
        "resets-global-seed",
        "torch's global seed is set inside the function",
        "The call changes the seed of the whole program.",
        "`torch.manual_seed` at the top of a function looks like good practice.",
        "`torch.rand(1)` after two calls of yours: the same number each time",
        _STANDARD,
    ),
    Misconception(
        "uses-another-generator",
        "random numbers that torch.manual_seed does not reach",
        "The same torch seed gives different masks.",
        "`numpy.random` and `random` draw just as well; but nobody seeds them here, and they do not"
        " work on an accelerator.",
        "`torch.manual_seed(0)` before two calls: the masks ought to be the same",
        _STANDARD,
    ),
    Misconception(
        "ignores-the-generator",
        "the given generator is not the source of the random numbers",
        "The global generator is used although another one was given.",
        "`generator=` is easily accepted and not passed on.",
        "two calls, each with `generator=torch.Generator().manual_seed(0)`: the same mask twice",
        _STANDARD,
    ),
    # --- inference ----------------------------------------------------------------------------
    Misconception(
        "drops-at-inference",
        "dropout stays on at inference",
        "Elements are still 0 at inference.",
        "The mode is easily forgotten: nothing fails, predictions are only worse and change.",
        "`torch.equal(f(x), f(x))` at inference: it ought to be True",
        _QUESTION,
    ),
    Misconception(
        "mode-read-once",
        "the mode is read once and remembered",
        "An instance stays in the mode that it met first.",
        "`self.training` looks like a setting; it is a switch that the model turns many times.",
        "`(out == 0).any()` after `.eval()`, a call, and `.train()` of the same instance",
        _STANDARD,
    ),
    Misconception(
        "modes-swapped",
        "training and inference are swapped",
        "Nothing is dropped in training, and elements are dropped at inference.",
        "A `not` too many, or one too few, in front of `training`.",
        "`(out == 0).any()` for a thousand ones, in both modes",
        _QUESTION,
    ),
    Misconception(
        "scales-at-inference",
        "inference changes the numbers",
        "Inference multiplies by a factor, although training has already made up for the losses.",
        "Standard dropout does multiply at inference; inverted dropout has done it in training.",
        "`torch.equal(out, x)` at inference",
        _INVERTED,
    ),
    Misconception(
        "no-scaling-at-inference",
        "inference does not make up for the missing losses",
        "Inference returns x, larger than what the next layer was trained on.",
        "PyTorch's dropout returns x at inference; but it has scaled while training.",
        "the average of many training outputs beside the inference output, for ones at p = 0.2:"
        " 0.8 and 1",
        _STANDARD,
    ),
    Misconception(
        "wrong-inference-scale",
        "a wrong factor at inference",
        "Inference multiplies by another factor than the keep probability.",
        "The factor depends on which of the two meanings of p one has in mind.",
        "the average of many training outputs beside the inference output, for ones at p = 0.2",
        _STANDARD,
    ),
    Misconception(
        "changes-inference",
        "inference changes elements in different ways",
        "At inference elements are multiplied by different numbers, or something is added.",
        "Noise of some kind was left on, or the mask's average was estimated by drawing.",
        "`(out / x).unique()` at inference: it ought to hold one number",
        _QUESTION,
    ),
    Misconception(
        "draws-at-inference",
        "random numbers are drawn at inference",
        "A mask is drawn before the mode is looked at.",
        "The mask stands at the top of the function, and nobody sees numbers that are not used.",
        "`torch.get_rng_state()` before and after a call at inference: it ought to be the same",
        _INVERTED,
    ),
    Misconception(
        "train-and-eval-confused",
        "what train mode and eval mode do",
        "At least one prediction about the two modes does not come true.",
        "eval(), no_grad() and 'no dropout' are mentioned together so often that they seem one.",
        "`torch.equal(model(x), model(x))` in train mode, in eval mode, and under no_grad",
        _QUESTION,
    ),
    # --- gradients ----------------------------------------------------------------------------
    Misconception(
        "gradient-detached",
        "no gradient reaches the input",
        "The result is cut off from the graph.",
        "`detach`, `.data`, `.item()` or NumPy were used to be on the safe side.",
        "`out.requires_grad` for an x that requires a gradient",
        _INVERTED,
    ),
    Misconception(
        "straight-through",
        "dropped elements still get a gradient",
        "The backward pass ignores the mask.",
        "Straight-through estimators exist for quantisation; dropout's mask has a derivative.",
        "`x.grad[out == 0]` after `out.sum().backward()`: zeros only",
        _INVERTED,
    ),
    Misconception(
        "gradient-unscaled",
        "the scale is missing in the backward pass",
        "Survivors get the gradient as it came, without the factor of the forward pass.",
        "The scale is thought of as a correction of values, not as part of the function.",
        "`x.grad.max()` after `out.sum().backward()`: it ought to be the forward pass's factor",
        _INVERTED,
    ),
    Misconception(
        "gradient-other-mask",
        "forward and backward use different masks",
        "Some dropped elements get a gradient, and some survivors get none.",
        "The mask was drawn anew, or turned round, in the backward pass.",
        "`(x.grad == 0) == (out == 0)` after `out.sum().backward()`: True everywhere",
        _INVERTED,
    ),
    Misconception(
        "gradient-wrong-scale",
        "the gradient has another scale than the forward pass",
        "Survivors' gradients are multiplied by another factor than the survivors.",
        "The factor was derived a second time for the backward pass, and came out differently.",
        "`x.grad.max()` after `out.sum().backward()`, beside `out.max()` for an x of ones",
        _INVERTED,
    ),
    # --- edges, types, manners ----------------------------------------------------------------
    Misconception(
        "p-zero-not-identity",
        "p = 0 is not 'no dropout'",
        "At p = 0 something is still dropped, changed, or raised.",
        "`<=` in place of `<`, or a formula with p in the denominator.",
        "`torch.equal(out, x)` at p = 0",
        _INVERTED,
    ),
    Misconception(
        "nan-at-p-one",
        "p = 1 is left to the formula",
        "At p = 1 the result is nan or infinite, or the call raises.",
        "1 / (1 - p) is written down for every p; at p = 1 it divides by 0.",
        "`torch.zeros(3) / (1 - 1.0)`: three times nan",
        _INVERTED,
    ),
    Misconception(
        "p-one-not-zeros",
        "p = 1 does not drop everything",
        "At p = 1 something survives.",
        "p = 1 was treated as a special case that returns x, or `<=` stands in place of `<`.",
        "`out.abs().max()` at p = 1: it ought to be 0",
        _INVERTED,
    ),
    Misconception(
        "p-not-validated",
        "a p outside [0, 1] is accepted",
        "No ValueError for p = -0.1 or p = 1.1.",
        "Nobody means to pass such a p; but 20 for 20 % happens.",
        "`(torch.rand(5) < 1 - 20).any()`: at p = 20 nothing survives, and nothing complains",
        _INVERTED,
    ),
    Misconception(
        "changes-its-input",
        "the input is changed in place",
        "The tensor that was passed in holds other values after the call.",
        "`x *= mask` and `x[dropped] = 0` save memory, at the cost of whoever holds x.",
        "`before = x.clone(); f(x); torch.equal(x, before)`",
        _STANDARD,
    ),
    Misconception(
        "changes-dtype",
        "the result has another dtype than the input",
        "float64, float16 or bfloat16 come back as another type, or with another type's precision.",
        "The mask's own dtype decides where it is float32; all examples use float32.",
        "`f(x.double()).dtype` and `f(x.bfloat16()).dtype`",
        _STANDARD,
    ),
    Misconception(
        "changes-shape",
        "the result has another shape than the input",
        "Elements are left out, or dimensions are lost.",
        '"Dropped" sounds like removed; dropped elements stay in their place, as zeros.',
        "`f(torch.ones(4, 8)).shape`: it ought to be (4, 8)",
        _STANDARD,
    ),
    Misconception(
        "one-shape-only",
        "right for one number of dimensions only",
        "Tensors of some shapes raise, or come back wrong.",
        "A batch of vectors is what one has in mind.",
        "`f(torch.ones(s)).shape` for s in (), (7,), (3, 4, 5)",
        _STANDARD,
    ),
    Misconception(
        "empty-tensor",
        "empty tensors raise or change their shape",
        "A tensor without elements does not come through.",
        "Nobody passes one on purpose; a filtered last batch can be one.",
        "`f(torch.ones(0, 3)).shape`",
        _STANDARD,
    ),
    Misconception(
        "wrong-device",
        "the mask is made on the CPU",
        "An input on an accelerator raises, or comes back on the CPU.",
        "`torch.rand(x.shape)` works as long as everything is on the CPU.",
        "`f(torch.ones(3, device='meta')).device`: 'meta' stands for any accelerator",
        _INVERTED,
    ),
    Misconception(
        "calls-the-library",
        "the library's own dropout does the work",
        "F.dropout, nn.Dropout or one of their relatives is called.",
        "It is what one does at work; here the point is to build what they do.",
        "the definition: which line draws the mask?",
        _STANDARD,
    ),
    Misconception(
        "mask-in-state",
        "the mask is kept as part of the model",
        "A parameter or buffer holds the mask, and the state_dict saves it.",
        "`register_buffer` is the usual place for tensors that are not trained.",
        "`list(module.state_dict())` after a call: it ought to be empty",
        _STANDARD,
    ),
    Misconception(
        "not-a-module",
        "the class is not an nn.Module",
        "model.train() and model.eval() do not reach it.",
        "A class with a `forward` looks like a module; the base class does the rest.",
        "`isinstance(made, nn.Module)`",
        _STANDARD,
    ),
    Misconception(
        "returns-nothing",
        "the result is not returned",
        "The call gives None.",
        "A computed value that is not returned, or printed instead of returned.",
        "the last line of the function: does it begin with `return` in every branch?",
        _START,
    ),
    Misconception(
        "wrong-type",
        "an answer of another kind than asked for",
        "What came back has the wrong type.",
        "The value is there, but inside a list, a text or a tensor.",
        "`type(...)` of the answer",
        _START,
    ),
    Misconception(
        "wrong-value",
        "another number than the keep probability",
        "The number that comes back is neither p nor 1 - p.",
        "A slip in the arithmetic, or the worked example's number written out.",
        "the results for p = 0.2 and p = 0.7: they ought to be 0.8 and 0.3",
        _START,
    ),
    Misconception(
        "raises",
        "the code raises an error",
        "A call ends in an exception.",
        "An error says what Python could not do; the line above says where.",
        "the named line of your cell, run on its own in a spare cell",
        _START,
    ),
    Misconception(
        "never-finishes",
        "the code does not come to an end in time",
        "The call was interrupted.",
        "A loop over single elements feels natural; tensors do it in one operation.",
        "the time of one call on `torch.ones(400_000)`: some milliseconds are enough",
        _START,
    ),
)

MISCONCEPTIONS: Mapping[str, Misconception] = {each.id: each for each in _ALL}
