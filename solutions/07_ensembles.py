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
# # 07 · Ensembles
#
# > **Interviewer:** "They say that dropout trains an ensemble. Of how many networks, and in what sense is
# > one forward pass their average?"
#
# 35 minutes. Afterwards you can **enumerate** every subnetwork of a small net, and **say** which average
# weight scaling computes, and where it does not.

# %%
import torch
from torch import nn

from dropout_course import check, figures, hint, progress, reset, solution, widgets
from dropout_course.experiments import data, ensembles, training
from dropout_course.experiments.training import Settings, Way

_ = torch.manual_seed(7)

# %%
# SimpleNetwork has 50 hidden units. 100 epochs over 1000 examples draw 100,000 masks for them.
# What share of its subnetworks has then been trained at least once?
#   "a"  most      "b"  about a tenth      "c"  less than one in a billion
my_guess = "?"

# %%
for units in (5, 12, 50):
    masks = (torch.rand(100_000, units) < 0.5).to(torch.int64)
    seen = len((masks * 2 ** torch.arange(units)).sum(dim=1).unique())
    share = seen / 2**units
    print(f"{units:3} units: {2**units:>22,} subnetworks, seen {seen:>7,}, share {share:.1g}")
print("your guess:", my_guess)

# %% [markdown]
# ## The claim, word by word
#
# "Dropout can be viewed as training multiple subnetworks and averaging their predictions", says the
# article, "effectively training many smaller networks simultaneously".
#
# *Training*: nearly none is ever drawn. *Averaging their predictions*: one forward pass averages nothing.
# Both are statements about 2ⁿ networks. For a dozen units you can run them all. First, list them.


# %% nbgrader={"grade": false, "grade_id": "all_masks", "locked": false, "schema_version": 3, "solution": true, "task": false}
def all_masks(n: int) -> torch.Tensor:
    """Every mask of n units: each of the 2**n rows of zeros and ones, once, in any order.

    n: number of units, 1 to 16 (n = 1 gives shape [2, 1]).
    Returns a tensor of shape [2**n, n], floating point, 1 = kept, 0 = dropped.

    n = 2: [[0., 0.], [0., 1.], [1., 0.], [1., 1.]], or these rows in another order.
    """
    ### BEGIN SOLUTION
    numbers = torch.arange(2**n).unsqueeze(1)
    return (numbers >> torch.arange(n) & 1).float()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "all_masks-check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check(all_masks)

# %%
# Five units, p = 0.2. Which of the 32 subnetworks is the likeliest?
#   "a"  the one with all five units      "b"  one that keeps four      "c"  all are equally likely
my_guess = "?"


# %% [markdown]
# ## Not all subnetworks count alike
#
# Units fall independently, so the probability of a mask is a product. With $k$ of $n$ units kept:
#
# $$P(r) = (1-p)^k\,p^{\,n-k}, \qquad 0.8 \cdot 0.8 \cdot 0.2 = 0.128$$


# %% nbgrader={"grade": false, "grade_id": "mask_probabilities", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mask_probabilities(masks: torch.Tensor, p: float) -> torch.Tensor:
    """The probability that dropout draws each mask: units fall independently, each with probability p.

    masks: [m, n], floating point, each row a mask of n units, 1 = kept, 0 = dropped: all 2**n masks or
    only some of them, in any order. They are not changed.
    p: the probability of dropping, in [0, 1]; p = 0 gives 1 for the mask that keeps all units, 0 for
    every other; p = 1 the other way round.
    Returns [m]; over all masks it sums to 1 (over some of them, to less).

    masks = [[1., 1., 0.]], p = 0.2: [0.128], which is 0.8 * 0.8 * 0.2.
    """
    ### BEGIN SOLUTION
    kept = masks.sum(dim=1)
    return (1 - p) ** kept * p ** (masks.shape[1] - kept)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "mask_probabilities-check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check(mask_probabilities)

# %% [markdown]
# ## Use it: the article's five tens
#
# An expectation without a single random number: all 32 masks, weighted by their probabilities.

# %%
masks = all_masks(5).double()
probability = mask_probabilities(masks, 0.2).double()
kept = masks.sum(dim=1)
print("your guess:", my_guess)
for count in (5, 4, 3):
    print(f"one mask that keeps {count}: {probability[kept == count][0]:.3f};"
          f"  there are {int((kept == count).sum()):2} of them")
average = probability @ (10 * masks / 0.8)
print("average of five tens, inverted:", [f"{value:.1f}" for value in average])

# %% [markdown]
# ## Three ways to be one network
#
# Each subnetwork predicts class probabilities. To combine them:
#
# * the **arithmetic mean**: add the probabilities, weighted;
# * the **geometric mean**: multiply them, weighted, and divide by the sum over classes (*renormalised*);
# * **weight scaling**: run one network with every unit, the weights times $1-p$.
#
# Weight scaling costs one pass. Which of the two means is it?

# %%
# Which of the means equals weight scaling?  "arithmetic", "geometric" or "neither"
my_guess_softmax = "?"  # for softmax regression with dropped inputs
my_guess_deep = "?"  # for two hidden ReLU layers with dropout


# %% nbgrader={"grade": false, "grade_id": "geometric_mean", "locked": false, "schema_version": 3, "solution": true, "task": false}
def geometric_mean(probs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The masks' predictions combined by a weighted geometric mean, made into probabilities again.

    probs: [masks, ..., classes] with any number of dimensions in between (none, too); the last one sums
    to 1. weights: [masks], at least 0, summing to 1; the same floating dtype.
    Returns [..., classes] in that dtype: for each class the product over masks of
    probs[mask] ** weights[mask], divided by its sum over the classes.
    A probability of 0 under a mask with a weight makes the result exactly 0 for that class; a mask of
    weight 0 has no say, whatever it predicts. Neither gives nan. (At least one class is never 0.)
    The inputs are not changed.

    probs = [[0.8, 0.2], [0.5, 0.5]], weights = [0.5, 0.5]: the roots of 0.4 and 0.1 are 0.632 and 0.316,
    so the result is [0.667, 0.333].
    """
    ### BEGIN SOLUTION
    shape = (-1,) + (1,) * (probs.dim() - 1)
    log_mean = torch.special.xlogy(weights.view(shape), probs).sum(dim=0)
    return torch.softmax(log_mean, dim=-1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "geometric_mean-check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check(geometric_mean)

# %% [markdown]
# ## Use it: all 8192 subnetworks
#
# Softmax regression on wine: 13 measurements, three cultivars, trained on 60 bottles with p = 0.5 on the
# inputs. Your three functions now run each of its $2^{13}$ subnetworks on the other 118.

# %%
nets, wines = ensembles.wine_nets(ensembles.CASES[0])
(linear,) = nets.linears()
x = wines.x_test[0]
masks = all_masks(13).double()
weights = mask_probabilities(masks, 0.5).double()
with torch.no_grad():
    probs = linear(x * masks.unsqueeze(1) / 0.5).softmax(dim=2)
    weight_scaling = linear(x).softmax(dim=1)
geometric = geometric_mean(probs, weights)
arithmetic = torch.einsum("m,mxc->xc", weights, probs)

# %%
print("your guess:", my_guess_softmax)
print("subnetworks, bottles, classes:", tuple(probs.shape))
for name, mean in (("geometric", geometric), ("arithmetic", arithmetic)):
    gap = (mean - weight_scaling).abs().max()
    print(f"{name:10} mean equals weight scaling to 1e-12: {bool(gap < 1e-12)}")

# %%
figures.ensemble_predictions(weight_scaling[:, 0], geometric[:, 0], arithmetic[:, 0])

# %% [markdown]
# ## Why the geometric one
#
# The log of a softmax is its logit minus something that is the same for all classes. So the weighted mean
# of log probabilities is the mean logit, up to that constant, and renormalising removes it:
#
# $$\prod_r p_r(c)^{P(r)} \;\propto\; \exp\Big(\sum_r P(r)\,z_r(c)\Big) = \exp\big(z_{\text{scaled}}(c)\big)$$
#
# The last step needs the mean logit to be the logit of the scaled network: logits affine in the mask.

# %%
# Five nets on wine, every mask of each. For which is the geometric mean weight scaling? "yes" or "no":
my_guesses = {
    "softmax regression, 13 inputs": "?",
    "one hidden ReLU layer of 12": "?",
    "two hidden linear layers, 6 + 6": "?",
    "one hidden ReLU layer, input dropout": "?",
    "two hidden ReLU layers, 6 + 6": "?",
}

# %%
results = {}
for case in ensembles.CASES:
    nets, wines = ensembles.wine_nets(case, seeds=3)
    results[case.name] = ensembles.enumerate_masks(nets, wines.x_test)
for name, result in results.items():
    exact = bool(result.geometric_gap.max() < 1e-12)
    print(f"{name:38}{result.masks} masks   you: {my_guesses[name]:4} equal: {exact}")

# %% tags=["nbval-ignore-output"]
print("largest difference of a probability to weight scaling, mean of three nets")
for name, result in results.items():
    print(f"{name:38}geometric {result.geometric_gap.mean():8.1e}"
          f"   arithmetic {result.arithmetic_gap.mean():.2f}")
figures.ensemble_gaps(
    list(results),
    [result.geometric_gap.mean() for result in results.values()],
    [result.arithmetic_gap.mean() for result in results.values()],
)

# %% [markdown]
# ## Exact where no ReLU stands behind a mask
#
# The first three agree to the last digit of float64: also one hidden ReLU layer, since its mask comes
# *after* the ReLU and the output layer is linear. Put a ReLU behind a mask, in the last two, and a
# probability can differ by a tenth and more.
#
# The arithmetic mean, what most people call an ensemble, is another thing in every row.

# %%
gaps = {name: result.arithmetic_gap.min() for name, result in results.items()}
print("arithmetic mean, some probability differs by more than 0.1 in all nets:",
      all(bool(gap > 0.1) for gap in gaps.values()))
print("your guess for two hidden ReLU layers:", my_guess_deep)
inexact = [results[case.name].geometric_gap.min() for case in ensembles.CASES if not case.exact]
print("geometric mean, ReLU behind a mask, differs by more than 0.01:         ",
      all(bool(gap > 0.01) for gap in inexact))

# %% [markdown]
# ## Break it: "an approximation must be worse"
#
# *Exact* and *good* are two questions. Take ten nets of the deepest kind, where weight scaling is neither
# mean, and see which of the three predicts 118 bottles best.

# %%
nets, wines = ensembles.wine_nets(ensembles.CASES[4], seeds=10)
deep = ensembles.enumerate_masks(nets, wines.x_test)
scores = {
    name: training.score(probs.log(), wines.y_test)
    for name, probs in (("weight scaling", deep.weight_scaled), ("geometric", deep.geometric),
                        ("arithmetic", deep.arithmetic))
}

# %% tags=["nbval-ignore-output"]
for name, score in scores.items():
    print(f"{name:15} error {100 * score.error.mean():4.1f} %   loss {score.nll.mean():.3f}"
          f"   confidence {100 * score.confidence.mean():.0f} %")
better = int((scores["arithmetic"].nll < scores["weight scaling"].nll).sum())
print(f"the arithmetic mean has the smaller loss in {better} of 10 nets")

# %%
surer = scores["weight scaling"].confidence > scores["arithmetic"].confidence
print("weight scaling is surer than the arithmetic mean in", int(surer.sum()), "of 10 nets")

# %% [markdown]
# The arithmetic mean is the more modest one. For a net that is surer than it is right, that helps; for most
# of these, as on the digits of lesson 04, it costs. The theory says which average weight scaling *is*; which
# one predicts better has to be measured each time.

# %% [markdown]
# ## Shared weights
#
# Members of an ordinary ensemble know nothing of each other. Here they share every weight: one step of
# one subnetwork moves all the others that use the same units. Measure it: train one mask, once.

# %%
shared = nn.Sequential(nn.Linear(13, 12), nn.ReLU(), nn.Linear(12, 3)).double()
masks = all_masks(12).double()
wanted = wines.y_train[0]


def subnetworks(x: torch.Tensor) -> torch.Tensor:
    hidden = torch.relu(shared[0](x)) * masks.unsqueeze(1) / 0.5
    output: torch.Tensor = shared[2](hidden)
    return output.softmax(dim=2)


# %%
x = wines.x_train[0]
before = subnetworks(x).detach()
one = masks.sum(dim=1).argsort()[2048]  # a mask that keeps about half of the units
nn.functional.nll_loss(subnetworks(x)[one].log(), wanted).backward()
torch.optim.SGD(shared.parameters(), lr=0.5).step()
with torch.no_grad():
    moved = (subnetworks(x) - before).abs().amax(dim=(1, 2))
    improved = (subnetworks(x) - before)[:, torch.arange(60), wanted].mean(dim=1) > 0
print(f"trained subnetworks: 1, moved: {int((moved > 0).sum())} of {len(masks)}")
print(f"better on its training data afterwards: {improved.double().mean():.0%}")

# %% [markdown]
# That is how 100,000 masks train $2^{50}$ networks: not each of them, but the weights that all of them
# share. How good are its members, and how often do two of them disagree? Compare with ten networks that were
# trained on their own, on the same 1000 digits.

# %%
digits = data.digits(seeds=1, train=1000)
alone = training.train(digits.repeated(10), Settings(hidden=(128,), p=0.0, epochs=20))
dropped = training.train(digits, Settings(hidden=(128,), p=0.5, epochs=20))
members = {
    "ten networks on their own": list(
        training.log_probs(alone, digits.x_test.expand(10, -1, -1), Way.SCALED).exp()
    ),
    "ten masks of one network": [
        training.log_probs(dropped, digits.x_test, Way.ONE_MASK, seed=seed)[0].exp()
        for seed in range(10)
    ],
}

# %% tags=["nbval-ignore-output"]
labels = digits.y_test
print("                              one member   two disagree   mean of ten")
for name, predictions in members.items():
    stacked = torch.stack(predictions)
    classes = stacked.argmax(dim=2)
    apart = (classes.unsqueeze(0) != classes.unsqueeze(1)).double().mean() * 10 / 9
    single = training.score(stacked.log(), labels.expand(10, -1)).error.mean()
    mean = training.score(stacked.mean(dim=0, keepdim=True).log(), labels).error
    print(f"{name:27} {100 * single:8.1f} % {100 * apart:12.1f} % {100 * mean.item():11.1f} %")
scaled = training.score(training.log_probs(dropped, digits.x_test, Way.SCALED), labels)
print(f"weight scaling, one pass {100 * scaled.error.item():43.1f} %")

# %% [markdown]
# A single mask makes a weak network, since half of its units are gone, and two of them disagree more often
# than two whole networks. Their mean comes close to what one weight-scaled pass does. Step through the masks below and watch the accumulated mean approach
# the ensemble, beside weight scaling.

# %%
widgets.subnetwork_explorer(p=0.5)

# %% [markdown]
# ## Follow-up: "Is the prediction in eval mode the average of all subnetworks?"
#
# Which average, and of what? Exactly the geometric mean, renormalised, of the class probabilities, if the
# logits are affine in the mask. Not the arithmetic mean, not even for softmax regression:

# %% tags=["nbval-ignore-output"]
bottle = (arithmetic - weight_scaling).abs().amax(dim=1).argmax()
for name, probs in (("weight scaling", weight_scaling), ("geometric", geometric),
                    ("arithmetic", arithmetic)):
    print(f"{name:15} {probs[bottle].amax():.2f}")

# %% [markdown]
# ## Say it in 60 seconds
#
# An ensemble of how many, trained how, averaged how? Aloud first, then below.

# %% [markdown] nbgrader={"grade": true, "grade_id": "07_ensembles-sixty-seconds", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# With n droppable units there are 2^n subnetworks, one for each mask; nearly none is ever drawn, but all
# share the weights, so each step trains many. At inference weight scaling runs one network with all
# units. For softmax regression, and wherever the logits are affine in the masks, its output is exactly
# the renormalised geometric mean of all subnetworks' probabilities. Behind a ReLU it is an approximation,
# and it is never the arithmetic mean.

# %% [markdown]
# <details><summary>A model answer</summary>
#
# "2ⁿ for n droppable units. It is not an ensemble in the usual sense: members share all weights, and
# almost none of them is ever drawn. One pass with scaled weights stands for their average. I have
# enumerated small nets: for softmax regression, for a single hidden ReLU layer and for linear nets the
# scaled pass is the renormalised geometric mean to 16 digits; with a ReLU behind a mask a probability was
# off by a tenth and more. The arithmetic mean differed in every case, and it is less sure. Which of them
# predicts better is an empirical question."
#
# </details>

# %% [markdown]
# <details><summary>Key points and red flags</summary>
#
# **Key points:** 2ⁿ masks with unequal probabilities unless p = 0.5 · shared weights · geometric,
# renormalised · exact if and only if the logits are affine in each independent mask · different is not
# worse.
#
# **Red flags:** "eval mode averages the predictions of all subnetworks" · "each step trains one
# independent network" · "weight scaling is exact" without a condition · "sampling is always better".
#
# </details>

# %% [markdown]
# ## Sources, and what comes next
#
# * Hinton et al. 2012, [arXiv 1207.0580](https://arxiv.org/abs/1207.0580): the geometric mean of all 2ⁿ
#   networks with one hidden layer.
# * Goodfellow, Bengio and Courville 2016, *Deep Learning*, section 7.12: the proof for softmax regression.
# * Warde-Farley et al. 2014, [arXiv 1312.6197](https://arxiv.org/abs/1312.6197): all masks of small ReLU
#   networks, enumerated.
# * Baldi and Sadowski 2013, *Understanding Dropout*, NeurIPS: the normalised weighted geometric mean.
#
# Next: Monte Carlo dropout, lesson 08, a later one: averaging masks on purpose.
