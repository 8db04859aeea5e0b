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
# # 01 · The question
#
# > **Interviewer:** "What happens to dropout during inference? If at the training stage we randomly
# > deactivate neurons, then do we do the same when predicting?"
#
# 30 minutes. Afterwards you can **compute** what dropout does to five activations by hand, and
# **predict** what a network returns in train and in eval mode.

# %%
import torch
from torch import nn

from dropout_course import check, figures, hint, progress, reset, solution

_ = torch.manual_seed(1)

# %% [markdown]
# ## Five words
#
# * **Dropout** sets randomly chosen activations to zero while a network trains.
# * **Training** is when gradients change the weights.
# * **Inference** is when the weights are fixed and the network predicts.
# * **Overfitting** is doing well on the training data and worse on new data.
# * **Regularisation** is any change to training that aims at less overfitting.
#
# Lesson 06 measures how much dropout regularises. Here you find out what it does, in two modes.

# %%
# Five activations of 10 pass nn.Dropout(p=0.2) a hundred times. Which values can come out?
#   in train mode:  "a"  0 and 8       "b"  0 and 10      "c"  0 and 12.5
#   in eval mode:   "a"  8             "b"  10            "c"  12.5
my_guess_train = "?"
my_guess_eval = "?"

# %%
layer = nn.Dropout(p=0.2)
tens = torch.full((5,), 10.0)
for mode, guess in ((True, my_guess_train), (False, my_guess_eval)):
    layer.train(mode)
    values = torch.cat([layer(tens) for _ in range(100)]).unique().tolist()
    print(f"{'train' if mode else 'eval':5}  your guess: {guess}   measured: {values}")

# %% [markdown]
# ## Why 12.5
#
# With probability `keep_prob` the mask entry $r$ is 1, otherwise 0. PyTorch returns $a\,r/\text{keep\_prob}$:
#
# $$10 \cdot 1 / 0.8 = 12.5, \qquad 10 \cdot 0 / 0.8 = 0$$
#
# The average over masks is the activation itself, which is what eval mode returns:
#
# $$E[a\,r/\text{keep\_prob}] = 0.8 \cdot 12.5 + 0.2 \cdot 0 = 10$$
#
# Write the middle line, for a mask that somebody else has drawn.


# %% nbgrader={"grade": false, "grade_id": "apply_inverted_mask", "locked": false, "schema_version": 3, "solution": true, "task": false}
def apply_inverted_mask(
    activations: torch.Tensor, mask: torch.Tensor, keep_prob: float
) -> torch.Tensor:
    """Zero the dropped activations and scale the survivors by 1 / keep_prob.

    activations: any shape (also 0-d or empty), any floating dtype.
    mask:        the same shape; 1 = kept, 0 = dropped; floating, integer or bool.
    keep_prob:   the probability of keeping, 0 < keep_prob <= 1.
    Returns a new tensor of the activations' shape and dtype; both inputs stay unchanged.

    Five tens, mask [1, 0, 1, 1, 0], keep_prob 0.8 -> [12.5, 0, 12.5, 12.5, 0]
    """
    ### BEGIN SOLUTION
    return activations * mask.to(activations.dtype) / keep_prob
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "apply_inverted_mask-check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check(apply_inverted_mask)

# %% [markdown]
# ## Use it: all 32 masks
#
# Five units have $2^5 = 32$ masks. Your function meets each of them; weighting each result by the
# probability of its mask gives the expectation without drawing a single random number.

# %%
masks = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 5)
outputs = torch.stack([apply_inverted_mask(tens, mask, 0.8) for mask in masks])
probability = torch.where(masks == 1, 0.8, 0.2).prod(dim=1)
print("mask 1 0 1 1 0:", outputs[0b10110].tolist())
print("masks:         ", len(masks), f"  probabilities sum to {probability.sum():.3f}")
print("expectation:   ", [f"{value:.3f}" for value in probability @ outputs])

# %% [markdown]
# ## A picture: the restaurant
#
# Every day 20 % of the chefs call in sick, at random, and those who come work harder. When all are
# present, everybody works at normal intensity. The food stays consistent, says the article.
#
# Take five chefs with 10 dishes each, so 50 dishes are ordered. Predict before you count.

# %%
# Which kind of dropout is the restaurant?
#   "a"  standard: survivors as they are in training, everybody scaled down at inference
#   "b"  inverted: survivors scaled up in training, everybody as they are at inference
my_guess_kind = "?"
# On what share of the days does it serve exactly 50 dishes?
#   "a"  on all of them      "b"  on about 80 %      "c"  on about 40 %
my_guess_days = "?"

# %%
dishes = outputs.sum(dim=1)
print(f"your guesses: {my_guess_kind}, {my_guess_days}")
for present in range(6):
    days = masks.sum(dim=1) == present
    share = probability[days].sum()
    print(f"{present} chefs: {dishes[days][0]:5.1f} dishes on {share:5.1%} of days")
print(f"average: {probability @ dishes:.1f} dishes")

# %% [markdown]
# The extra effort falls in training, so the restaurant is **inverted** dropout. It breaks in one place:
# the food is consistent *on average* only. A chef works 1.25 times as hard however many are missing,
# even when nobody is, so 62.5 dishes leave the kitchen on a third of the days.
#
# The next network is the article's: 100 inputs, 50 hidden units, 10 outputs, `p = 0.2`.


# %%
class SimpleNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Linear(100, 50)
        self.dropout = nn.Dropout(p=0.2)  # drops 20 %
        self.layer2 = nn.Linear(50, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.dropout(torch.relu(self.layer1(x)))
        output: torch.Tensor = self.layer2(hidden)
        return output


# %% [markdown]
# ## Predict: five statements about `SimpleNetwork`
#
# `model = SimpleNetwork()` and `x = torch.randn(4, 100)`. Nothing has been run yet. Replace every
# `None` by `True` or `False`, then delete the line that raises.
#
# The cell after it lets the network answer. ReLU makes zeros too, so only units that were positive
# before dropout count as dropped.

# %% nbgrader={"grade": false, "grade_id": "predictions", "locked": false, "schema_version": 3, "solution": true, "task": false}
predictions: dict[str, bool | None] = {
    # In train mode, two calls on the same input give the same output.
    "train_mode_repeats": None,
    # In eval mode, two calls on the same input give the same output.
    "eval_mode_repeats": None,
    # In eval mode, some hidden units are still set to zero by dropout.
    "eval_drops_units": None,
    # In train mode, the surviving hidden units are larger than in eval mode.
    "train_scales_survivors": None,
    # torch.no_grad() alone turns dropout off.
    "no_grad_turns_dropout_off": None,
}
### BEGIN SOLUTION
predictions = {
    "train_mode_repeats": False,
    "eval_mode_repeats": True,
    "eval_drops_units": False,
    "train_scales_survivors": True,
    "no_grad_turns_dropout_off": False,
}
### END SOLUTION

# %%
model = SimpleNetwork()
x = torch.randn(4, 100)
hidden = torch.relu(model.layer1(x)).detach()
active = hidden > 0
for mode in (True, False):
    model.train(mode)
    after = model.dropout(hidden)[active]
    print("train mode" if mode else "eval mode")
    print("  two calls give the same output:", torch.equal(model(x), model(x)))
    print("  dropout sets units to zero:    ", bool((after == 0).any()))
    print(f"  survivors are multiplied by:    {(after / hidden[active]).max():.2f}")

with torch.no_grad():
    repeats = torch.equal(model.train()(x), model(x))
print("train mode under no_grad\n  two calls give the same output:", repeats)

# %% [markdown]
# `train()` and `eval()` set `training` on every submodule, and `nn.Dropout` looks at nothing else.
# `no_grad()` stops the recording of gradients and leaves the mode alone.
#
# Correct any prediction that the output contradicts, then check.

# %% nbgrader={"grade": true, "grade_id": "predictions-check", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check(predictions=predictions)

# %% [markdown]
# ## A picture: the sports team
#
# Players sit out practice at random, so that the team depends on nobody. If it is always the same
# players, the picture fails: "the same neurons are always dropped" is a common misconception.
#
# Predict before you count.

# %%
# One batch of 100 rows: how many different masks does one call draw?
#   "a"  1, shared by the batch      "b"  100, one for each row
my_guess_masks = "?"
# Which gradient do units that sit out receive?
#   "a"  a smaller one               "b"  none
my_guess_gradient = "?"

# %%
practice = torch.ones(100, 50, requires_grad=True)
played = nn.Dropout(p=0.2)(practice)
(gradient,) = torch.autograd.grad(played.sum(), practice)
sat_out = played == 0
print(f"your guesses: {my_guess_masks}, {my_guess_gradient}")
print("different masks:  ", len(sat_out.unique(dim=0)))
print("gradient, sat out:", gradient[sat_out].unique().tolist())
print("gradient, played: ", gradient[~sat_out].unique().tolist())

# %% [markdown]
# Each row of the batch has its own mask, and a unit that sits out learns nothing from it. So far the
# team holds. It breaks at the scale: the players who stay on the field do not score 1.25 times as
# often, while the surviving units do count 1.25-fold, in the output and in the gradient.
#
# ## Break it: forget `model.eval()`
#
# The first of the article's common bugs. One input, 1,000 requests, a network left in train mode.

# %%
one_input = torch.randn(1, 100)
with torch.no_grad():
    requests = model.train()(one_input.expand(1000, 100))[:, 0]
    answer = model.eval()(one_input)[0, 0]
print("more than 900 different answers:", requests.unique().numel() > 900)
figures.output_distribution(
    requests,
    answer.item(),
    title="Without eval(), one input gets hundreds of different answers",
    quantity="output for class 0 (logit)",
    calls="requests",
)

# %% [markdown]
# ## Follow-up: "So does dropout make inference more accurate?"
#
# A red flag if you say yes. `SimpleNetwork` learns ten noisy clusters from 500 examples; then the same
# trained weights predict 5,000 new ones, in both modes. Five seeds.


# %%
def trained_network(seed: int) -> tuple[SimpleNetwork, torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    labels = torch.randint(10, (5500,))
    inputs = 0.3 * torch.randn(10, 100)[labels] + torch.randn(5500, 100)
    network = SimpleNetwork()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(100):
        batch = torch.randint(500, (100,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs[batch]), labels[batch]).backward()
        optimizer.step()
    return network, inputs[500:], labels[500:]


# %%
accuracy = torch.zeros(5, 2)
for seed in range(5):
    network, inputs, labels = trained_network(seed)
    for column, mode in enumerate((True, False)):
        prediction = network.train(mode)(inputs).argmax(dim=1)
        accuracy[seed, column] = (prediction == labels).float().mean()
print(f"dropout on  (train mode): {accuracy[:, 0].mean():.0%} right")
print(f"dropout off (eval mode):  {accuracy[:, 1].mean():.0%} right")
print(f"off is better in {int((accuracy[:, 1] > accuracy[:, 0]).sum())} of 5 runs")

# %% [markdown]
# Dropout is a change to training. Left on, it costs this network four points of accuracy and gives
# two callers two answers. (Averaging many passes on purpose is Monte Carlo dropout, lesson 08.)
#
# ## Say it in 60 seconds
#
# Answer the interviewer's question: training, inference, the scale, what can go wrong. Aloud first,
# then in the next cell.

# %% [markdown] nbgrader={"grade": true, "grade_id": "01_the_question-sixty-seconds", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# No. While training, every activation is zeroed with probability p, afresh for each example and call,
# and the survivors are multiplied by 1/(1-p): with p = 0.2 a 10 becomes 0 or 12.5, on average 10.
# At inference dropout is the identity: all units, no randomness, 10 stays 10. In PyTorch `model.eval()`
# makes the switch; `no_grad()` does not. If you forget it, the same input gets different answers.

# %% [markdown]
# <details><summary>A model answer</summary>
#
# "Dropout behaves differently in the two phases. Training drops units at random, so each step trains
# another subnetwork. Inference uses every unit, and the same input gives the same output. The scales
# must agree: PyTorch multiplies survivors by 1/(1-p) while training, so inference needs nothing. In
# practice it means calling `model.eval()`, which is not `no_grad()`. I have seen what forgetting costs:
# four points of accuracy, and answers that change from call to call."
#
# </details>

# %% [markdown]
# <details><summary>Key points and red flags</summary>
#
# **Key points:** random in training, identity at inference · the expectation is kept, 0.8 · 12.5 = 10 ·
# the mode decides, not the gradient · deterministic answers in production.
#
# **Red flags:** "dropout improves inference" · no word about scaling · "the same neurons are always
# dropped" · `no_grad()` taken for `eval()` · "all regularisation works like this" (weight decay has no
# second mode).
#
# </details>

# %% [markdown]
# ## Sources, and what comes next
#
# * Hinton et al. 2012, [arXiv 1207.0580](https://arxiv.org/abs/1207.0580): where dropout was introduced.
# * Srivastava et al. 2014, *Dropout*, JMLR 15, sections 1 and 4: the mask, and the scale at test time.
# * [`torch.nn.Dropout`](https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html),
#   [`Module.eval`](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.eval)
#
# Next: **02 · Standard dropout**, where the scale sits at inference and you write it.
