# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 04 · Why scale
#
# > **Interviewer:** "Why is scaling necessary? And if somebody forgot it, how would you notice?"
#
# 35 minutes. Afterwards you can **compute** what dropout does to the mean and the variance of an
# activation, and **fold** a forgotten factor into a trained layer.

# %%
import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from dropout_course import check, figures, hint, progress, reset, solution, widgets
from dropout_course.experiments import data, scaling, training
from dropout_course.experiments.training import Way

_ = torch.manual_seed(4)

# %%
# A million tens pass F.dropout, p = 0.2, in training. Their mean stays 10.
# What is their variance?               "a"  0       "b"  4       "c"  25
# And with p = 0.5?                     "a"  0       "b"  25      "c"  100
my_guess_02, my_guess_05 = "?", "?"

# %%
million = torch.full((1_000_000,), 10.0)
print(f"your guesses: {my_guess_02}, {my_guess_05}")
for p in (0.2, 0.5):
    out = F.dropout(million, p).double()
    print(f"p = {p}: mean {out.mean():.1f}  variance {out.var():.0f}")

# %% [markdown]
# ## The mean is kept, the variance is not
#
# An element becomes $x/(1-p)$ with probability $1-p$, otherwise 0. So
#
# $$E[y] = x, \qquad \mathrm{Var}[y] = (1-p)\frac{x^2}{(1-p)^2} - x^2 = x^2\,\frac{p}{1-p}$$
#
# For a ten and p = 0.2: $100 \cdot 0.25 = 25$, so a ten comes out as $10 \pm 5$.


# %% nbgrader={"grade": false, "grade_id": "dropout_moments", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dropout_moments(x: torch.Tensor, p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance, over all masks, of each element of inverted dropout of x.

    An element comes out as x / (1 - p) with probability 1 - p, otherwise as 0.
    x: any shape (also 0-d), any floating dtype; it is not changed.
    p: the probability of dropping, in [0, 1); p = 0 gives a variance of 0.
    Returns the tuple (mean, variance), two tensors of x's shape and dtype: one mean and one variance
    for each element, exact, so no masks are drawn. The variance is the average squared distance
    from the mean, not its square root.

    x = [10.], p = 0.2: mean [10.], variance [25.].
    """
    ### BEGIN SOLUTION
    return x, x**2 * p / (1 - p)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "dropout_moments-check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check(dropout_moments)

# %% [markdown]
# ## Use it: the noise that the next layer sees
#
# A linear layer adds up 100 noisy inputs. Their masks are independent, so with $\sigma^2$ from your
# function the noise of an output is $\sum_j w_j^2\,\sigma_j^2$. Compare with 20,000 passes of torch's
# dropout.

# %%
layer = nn.Linear(100, 3)
x = torch.rand(100)
with torch.no_grad():
    passes = layer(F.dropout(x.expand(20_000, 100), 0.2))
    mean, variance = dropout_moments(x, 0.2)
    computed = (variance @ layer.weight.T**2).sqrt()
    print("mean kept:  ", torch.allclose(passes.mean(dim=0), layer(mean), atol=0.01))
    print("noise, sampled: ", [f"{value:.2f}" for value in passes.std(dim=0)])
    print("noise, computed:", [f"{value:.2f}" for value in computed])

# %%
# Is standard dropout quieter? Its survivors stay 10, so a ten is 10 or 0 in training.
print("   p    standard: mean ± sd    inverted: mean ± sd    sd / mean")
for p in (0.1, 0.2, 0.5, 0.9):
    mean, variance = dropout_moments(torch.tensor([10.0]), p)
    m, sd = mean.item(), variance.item() ** 0.5
    print(f"{p:4}    {m * (1 - p):8.1f} ± {sd * (1 - p):4.1f}      "
          f"{m:8.1f} ± {sd:4.1f}         {sd / m:.2f}")

# %% [markdown]
# Relative to its mean, the noise is the same: the two kinds differ by a constant factor, nothing else.
# Open the explorer and switch between standard and inverted; watch where the running mean settles in
# train mode and what eval mode returns.

# %%
widgets.mask_explorer(p=0.2)

# %%
# Standard dropout, p = 0.5, one linear layer with a bias, factor forgotten at inference.
# How much larger is its output than the training average?
#   "a"  exactly 2 times      "b"  2 times, before the bias is added      "c"  1.5 times
my_guess = "?"

# %%
layer, x = nn.Linear(100, 10), torch.rand(100)
nn.init.ones_(layer.bias)  # a large bias, to make it visible
with torch.no_grad():
    average = layer(x * 0.5)  # standard dropout on average: the bias is never dropped
    forgotten = layer(x)
print(f"your guess: {my_guess}")
print(f"output:          {forgotten.norm() / average.norm():.2f} times as large")
print(f"without its bias: {(forgotten - 1).norm() / (average - 1).norm():.2f} times as large")

# %% [markdown]
# ## Weights, not biases
#
# "Roughly twice as large", says the article. Right for one linear layer, before its bias:
#
# $$E[W(x\,r) + b] = (1-p)\,Wx + b$$
#
# For one weight of 10, a bias of 1 and p = 0.2: $10x + 1$ has to become $8x + 1$. Write this for a layer
# that somebody trained behind standard dropout.


# %% nbgrader={"grade": false, "grade_id": "fold_scale", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fold_scale(linear: nn.Linear, p: float) -> nn.Linear:
    """A layer for inference, from one that was trained behind standard dropout of its input.

    The weight scaling inference rule: the inputs of `linear` were dropped with probability p and not
    scaled while training, so its weight is multiplied by 1 - p; its bias was never dropped and stays.
    p: the probability of dropping, in [0, 1].
    linear: any nn.Linear, with or without a bias (`linear.bias` is then None), of any floating dtype.
    Returns a new nn.Linear of the same sizes and dtype, with a bias only if `linear` has one. The
    given layer is left as it is, and shares no memory with the new one: training either of them
    afterwards does not change the other.

    weight [[10., 20.]], bias [1.], p = 0.2: weight [[8., 16.]], bias [1.].
    """
    ### BEGIN SOLUTION
    folded = copy.deepcopy(linear)
    with torch.no_grad():
        folded.weight.mul_(1 - p)
    return folded
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "fold_scale-check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check(fold_scale)

# %% [markdown]
# ## Use it: rescue a network
#
# Here are the layers of a network for handwritten digits, trained behind standard dropout with p = 0.5
# after both hidden layers. Whoever deployed it forgot the factor.

# %%
digits = data.digits(seeds=1, train=1000)
settings = training.Settings(hidden=(128, 128), p=0.5, inverted=False)
first, second, last = training.train(digits, settings).linears()
images, labels = digits.x_test[0], digits.y_test[0]
deployed = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)
folded = nn.Sequential(
    first, nn.ReLU(), fold_scale(second, 0.5), nn.ReLU(), fold_scale(last, 0.5)
)

# %% tags=["nbval-ignore-output"]
with torch.no_grad():
    for name, network in (("deployed", deployed), ("folded", folded)):
        logits = network(images)
        surest, predicted = logits.softmax(dim=1).max(dim=1)
        accuracy = (predicted == labels).double().mean()
        print(f"{name:9} logits {logits.abs().mean():5.1f}   accuracy {accuracy:.1%}"
              f"   confidence {surest.mean():.1%}   loss {F.cross_entropy(logits, labels):.3f}")


# %%
# Break it: scale the bias, too. How far do the outputs move?
def bias_scaled_too(linear: nn.Linear) -> nn.Linear:
    wrong = fold_scale(linear, 0.5)
    with torch.no_grad():
        wrong.bias.mul_(0.5)
    return wrong


wrong_second, wrong_last = bias_scaled_too(second), bias_scaled_too(last)
wrong = nn.Sequential(first, nn.ReLU(), wrong_second, nn.ReLU(), wrong_last)
with torch.no_grad():
    gap = (wrong(images) - folded(images)).abs().amax()
    changed = (wrong(images).argmax(dim=1) != folded(images).argmax(dim=1)).double().mean()
print("some output moves by more than 0.05:", bool(gap > 0.05))
print("less than 1 % of the classes change:", bool(changed < 0.01))

# %% [markdown]
# A scaled bias is hard to see in the predicted classes, and the missing factor was, too. Is that always
# so? Now four depths, five networks each, and four ways of predicting with the same trained weights:
#
# all units unscaled · weight scaling · one mask, as if left in train mode · the mean over 50 masks.

# %%
# p = 0.5, ReLU, one to four hidden layers, factor forgotten. At depth 4 the logits are about
#   "a"  2 times      "b"  8 times      "c"  15 times as large
my_guess_ratio = "?"
# Which number shows the missing factor at depth 2?   "a"  accuracy      "b"  the loss (NLL)
my_guess_number = "?"

# %%
# 1000 digits, width 128, 40 epochs, five seeds. (Ten seeds and 1000 masks take minutes.)
rows = scaling.by_depth(data.digits(seeds=5), depths=(1, 2, 3, 4), masks=50)
for row in rows:
    bare = row.ratio_without_biases.mean()
    print(f"depth {row.depth}: logits x {row.ratio.mean():.0f}, without biases x {bare:.2f}")

# %% tags=["nbval-ignore-output"]
print(f"your guesses: {my_guess_ratio}, {my_guess_number}")
print(" " * 15 + "".join(f"{way:>16}" for way in Way))
for row in rows:
    for name, unit in (("error", 100), ("calibration", 100), ("nll", 1)):
        values = [unit * getattr(score, name) for score in row.scores.values()]
        cells = "".join(f"{value.mean():9.2f} ± {value.std():4.2f}" for value in values)
        print(f"{row.depth} {name:11}{' ' if unit == 1 else '%'} {cells}")

# %%
figures.scale_by_depth(
    figures.ScaleByDepth(
        depths=[row.depth for row in rows],
        ratio=torch.stack([row.ratio for row in rows]),
        error={w: torch.stack([row.scores[w].error for row in rows]) for w in Way},
        nll={w: torch.stack([row.scores[w].nll for row in rows]) for w in Way},
        calibration={w: torch.stack([row.scores[w].calibration for row in rows]) for w in Way},
    )
)

# %%
for row in rows[:3]:  # at depth 4 the error does move, by one to two points
    without, scaled = row.scores[Way.UNSCALED], row.scores[Way.SCALED]
    moved = 100 * (without.error - scaled.error).mean().abs()
    worse = (without.calibration > scaled.calibration).all()
    print(f"depth {row.depth}: error moves by less than a point: {bool(moved < 1)},"
          f" calibration worse: {bool(worse)}")
averaged, one_pass = (
    torch.stack([row.scores[way].nll.mean() for row in rows]).mean()
    for way in (Way.MEAN_OF_MASKS, Way.SCALED)
)
print("averaging masks has a better loss than weight scaling:", bool(averaged < one_pass))

# %% [markdown]
# ## Accuracy hides it, calibration shows it
#
# $2^{\text{depth}}$ without biases, a little less with them. All logits grow together, so the largest
# stays the largest: up to depth 3 the error hardly moves, while the loss multiplies. *Calibration* is the
# gap between confidence and accuracy; from depth 2 on it opens.
#
# At depth 1 it does not: a dropout network is too modest there, and doubling its logits happens to help.

# %% [markdown]
# Two more readings of the table. **Train mode** costs accuracy at every depth: 2 to 5 points. And
# **averaging 50 masks** is not a free gain: on these digits its loss and its calibration are worse than
# weight scaling's, one pass against fifty. (Lesson 08 asks what the average is good for.)
#
# Move the depth below and watch layer by layer.

# %%
widgets.scale_explorer(depth=3, p=0.5)

# %% [markdown]
# ## "So eval mode returns the average of train mode"
#
# You will hear it as a fact. For one linear layer you have just measured it. Commit yourself for three
# more networks before you run all their masks.

# %%
# Inverted dropout, p = 0.5. Is the eval output the mean of the train outputs? "yes" or "no":
my_guesses = {
    "dropout, linear, relu": "?",
    "relu, dropout, linear": "?",
    "linear, dropout, linear, dropout, linear": "?",
}

# %%
# The smallest counter-example: inputs 1 and 1, p = 0.5, output relu(a - b). All four masks:
inputs = torch.ones(2)
train_outputs = []
for mask in ([0, 0], [0, 1], [1, 0], [1, 1]):
    a, b = inputs * torch.tensor(mask) / 0.5
    train_outputs.append(torch.relu(a - b).item())
    print(f"mask {mask}: relu({a:.0f} - {b:.0f}) = {train_outputs[-1]:.0f}")
print("mean of train outputs:", sum(train_outputs) / 4)
print("eval output:          ", torch.relu(inputs[0] - inputs[1]).item())

# %%
masks = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 8).double()  # 4 + 4 units, 256 masks
x, W, V, u = (torch.randn(size, dtype=torch.float64) for size in ((4,), (4, 4), (4, 4), (4,)))
first_mask, second_mask = masks[:, :4] / 0.5, masks[:, 4:] / 0.5
networks: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "dropout, linear, relu": lambda r, s: torch.relu((x * r) @ W) @ u,
    "relu, dropout, linear": lambda r, s: (torch.relu(x @ W) * r) @ u,
    "linear, dropout, linear, dropout, linear": lambda r, s: (((x @ W) * r) @ V * s) @ u,
}
for name, output in networks.items():
    average = output(first_mask, second_mask).mean()
    gap = (average - output(torch.ones(4), torch.ones(4))).abs()
    print(f"{name:42} you: {my_guesses[name]:4} equal: {bool(gap < 1e-12)}")

# %% [markdown]
# ## Exact where the output is affine in the mask
#
# A mean passes through sums and constant factors. *Affine* in each independent mask: exact, as in the
# last two, where no ReLU comes after a mask. A ReLU behind a mask bends the average:
#
# $$E[\mathrm{relu}(a-b)] = 0.5 \quad\neq\quad \mathrm{relu}(E[a-b]) = 0$$
#
# A probability is never affine in the mask, since softmax bends, too. Scaling keeps the *mean of the
# next layer's input*, and that is all it promises.

# %%
# The counter-example with four units on each side: relu(a1 + ... + a4 - b1 - ... - b4), 256 masks.
outputs = torch.relu(first_mask.sum(dim=1) - second_mask.sum(dim=1))
figures.output_distribution(outputs, 0.0, quantity="output of relu(a - b)", calls="masks")

# %% [markdown]
# ## Break it: a factor that shipped
#
# A fused attention kernel multiplied the gradient by `p` where `1 / (1 - p)` was due
# ([NVIDIA/apex#816](https://github.com/NVIDIA/apex/pull/816)). Only the backward pass was wrong: no
# prediction shows a mistake of this kind. How far off was the gradient?

# %%
for p in (0.1, 0.2, 0.5):
    due = 1 / (1 - p)
    print(f"p = {p}: gradient x {p}, due x {due:.2f}: {due / p:.0f} times too small")

# %% [markdown]
# ## Follow-up: "Accuracy is unchanged. Why should I care?"
#
# Because somebody uses the probability. Say an image goes to a human unless the network is 99 % sure.
# Back to the network with two hidden layers, with and without the factor.

# %% tags=["nbval-ignore-output"]
with torch.no_grad():
    for name, network in (("deployed", deployed), ("folded", folded)):
        surest, predicted = network(images).softmax(dim=1).max(dim=1)
        waved = surest > 0.99
        wrong_ones = int((predicted[waved] != labels[waved]).sum())
        share = waved.double().mean()
        print(f"{name:9} waved through: {share:.0%}, wrong among them: {wrong_ones}")

# %% [markdown]
# ## Say it in 60 seconds
#
# Why is scaling necessary, and how would you notice that it is missing? Aloud first, then below.

# %% [markdown] nbgrader={"grade": true, "grade_id": "04_why_scale-sixty-seconds", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# Training thins the input of the next layer to 1-p of its mean, inference does not. Without a factor a
# linear layer's output, before its bias, is 1/(1-p) times too large, and ReLU layers compound it: about
# 2^depth at p = 0.5. The classes hardly change, since all logits grow together; the loss and the
# calibration do. The factor keeps the mean, not the variance, x²p/(1-p); and the eval output is the mean
# of train outputs only where the output is affine in the mask.

# %% [markdown]
# <details><summary>A model answer</summary>
#
# "Each weight is learned for inputs of which only 1-p arrive on average. With all of them present the sum
# is 1/(1-p) times too large, twice at p = 0.5, before the bias, and it compounds with depth. I would not
# notice it in the accuracy: with three hidden layers I measured under a point, with logits eight times
# too large. I would look at the loss and at calibration. The repair is to multiply the weights, not the
# biases, by 1-p, or to scale in training. Scaling keeps the mean of the next layer's input; behind a
# ReLU the average of outputs is another number."
#
# </details>

# %% [markdown]
# <details><summary>Key points and red flags</summary>
#
# **Key points:** the expectation of the next layer's input · 1/(1-p) a layer, compounding · weights, not
# biases · accuracy hides it, loss and calibration show it · mean kept, variance not · exact only where
# affine.
#
# **Red flags:** "outputs double" for any depth · "scaling doesn't matter, accuracy is the same" ·
# "scaling keeps the distribution" · "eval is the average of all subnetworks", without a condition.
#
# </details>

# %% [markdown]
# ## Sources, and what comes next
#
# * Srivastava et al. 2014, *Dropout*, JMLR 15, section 7.5: averaging masks against weight scaling.
# * Goodfellow, Bengio and Courville 2016, *Deep Learning*, section 7.12: where weight scaling is exact.
# * Guo et al. 2017, [arXiv 1706.04599](https://arxiv.org/abs/1706.04599), section 2: calibration error.
# * Alpaydin and Kaynak 1998, optical recognition of handwritten digits, UCI; bundled with scikit-learn.
#
# Next: **05 · Train and eval**, about the switch that decides which of the two happens.
