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
# # 02 · Standard dropout
#
# > **Interviewer:** "Implement dropout the way the 2014 paper describes it. What do you do at
# > inference, and what happens if you forget?"
#
# 30 minutes. Afterwards you can **write** the mask, the function and the module, and **name** what one
# would see in production without the scale.

# %%
import torch
from torch import nn

from dropout_course import check, hint, progress, reset, solution

_ = torch.manual_seed(2)

# %% [markdown]
# ## The paper's *p* is your `keep_prob`
#
# Hinton et al. introduced dropout in 2012; the article calls the JMLR paper of 2014 the original. That
# paper retains a unit with probability *p*. Here, as in PyTorch, `p` drops it: the paper's *p* = 0.8 is
# `p = 0.2`.
#
# The mask comes first. Predict what it looks like.

# %%
# Five units, p = 0.2, so four are kept on average. In 100,000 masks, how many keep exactly four?
#   "a"  all of them      "b"  about 80 %      "c"  about 41 %
my_guess = "?"

# %%
kept = (torch.rand(100_000, 5) < 0.8).sum(dim=1)
print(f"your guess: {my_guess}")
for count in range(6):
    print(f"{count} kept: {(kept == count).double().mean():4.0%}")

# %% [markdown]
# ## One coin for each element
#
# Dropout does not choose 20 % of the units. Each element tosses its own coin, and nothing fixes the
# total. A uniform number on [0, 1) falls below $q$ with probability $q$, so $u < 0.8$ keeps 80 %.
#
# $$P(\text{exactly 4 of 5}) = 5 \cdot 0.8^4 \cdot 0.2 = 0.41$$


# %% nbgrader={"grade": false, "grade_id": "bernoulli_mask", "locked": false, "schema_version": 3, "solution": true, "task": false}
def bernoulli_mask(
    shape: tuple[int, ...], p: float, *, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Draw a dropout mask: each element is 1 (kept) with probability 1 - p, otherwise 0.

    shape:     a tuple of ints; () gives a 0-d tensor, and a 0 in it an empty one.
    p:         the probability of dropping, in [0, 1]; p = 0 gives ones, p = 1 zeros.
    generator: source of the random numbers; None means torch's global generator, so that
               torch.manual_seed makes the call repeatable. The call seeds nothing itself.
    Returns a tensor of zeros and ones; elements are independent.

    bernoulli_mask((5,), 0.2) may return [1., 0., 1., 1., 0.]; over many calls 80 % are 1.
    """
    ### BEGIN SOLUTION
    uniform = torch.rand(shape, generator=generator)
    return (uniform < 1 - p).to(torch.get_default_dtype())
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "bernoulli_mask-check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check(bernoulli_mask)

# %% [markdown]
# ## Use it: random, and repeatable
#
# A seed makes the whole program repeatable. A generator of its own makes one mask repeatable and leaves
# everybody else's random numbers alone.

# %%
torch.manual_seed(7)
first = bernoulli_mask((1000,), 0.2)
second = bernoulli_mask((1000,), 0.2)
torch.manual_seed(7)
print("two calls, same mask:     ", torch.equal(first, second))
print("same seed, same mask:     ", torch.equal(first, bernoulli_mask((1000,), 0.2)))

state = torch.get_rng_state()
own = [bernoulli_mask((1000,), 0.2, generator=torch.Generator().manual_seed(7)) for _ in range(2)]
print("same generator seed:      ", torch.equal(*own))
print("global generator untouched:", torch.equal(state, torch.get_rng_state()))

# %%
# Standard dropout multiplies by the mask and does nothing else while training.
# Five tens, p = 0.2: what is one activation on average, over many masks?
#   "a"  10      "b"  8      "c"  12.5
my_guess = "?"

# %%
tens = torch.full((100_000, 5), 10.0)
trained_on = tens * bernoulli_mask((100_000, 5), 0.2)
print(f"your guess: {my_guess}")
print(f"values in training: {trained_on.unique().tolist()}")
print(f"average:            {trained_on.mean():.1f}")

# %% [markdown]
# ## Why inference is scaled
#
# While training, the next layer sees $x\,r$, on average
#
# $$E[x\,r] = x\,(1-p), \qquad 10 \cdot 0.8 = 8$$
#
# At inference every unit is present and would send 10. So standard dropout multiplies by $1-p$ there.
# The paper scales the outgoing weights instead, which gives the same products; the *Deep Learning* book
# calls it the weight scaling inference rule.


# %% nbgrader={"grade": false, "grade_id": "standard_dropout", "locked": false, "schema_version": 3, "solution": true, "task": false}
def standard_dropout(x: torch.Tensor, p: float = 0.5, training: bool = True) -> torch.Tensor:
    """Dropout as in Srivastava et al. 2014: mask in training, multiply by 1 - p at inference.

    x: any shape (also 0-d or empty), any floating dtype; it is not changed in place.
    p: the probability of dropping, in [0, 1]; p = 0 keeps everything, p = 1 gives zeros.
    training=True:  each element is kept as it is with probability 1 - p, otherwise 0; a fresh
                    mask on every call, from torch's global generator (repeatable by its seed).
    training=False: x * (1 - p), and no random number is drawn.
    Returns x's shape, dtype and device; gradients pass through the same mask or factor.
    Without torch's own dropout (F.dropout, nn.Dropout and their relatives).

    Five tens, p = 0.2: for instance [10, 0, 10, 10, 0] in training, five times 8 at inference.
    """
    ### BEGIN SOLUTION
    if not training:
        return x * (1 - p)
    mask = bernoulli_mask(x.shape, p)
    return x * mask.to(dtype=x.dtype, device=x.device)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "standard_dropout-check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check(standard_dropout)

# %% [markdown]
# ## The same as a module
#
# Nobody wants to hand `training` through every call. An `nn.Module` carries `self.training`, and
# `model.train()` and `model.eval()` set it on all submodules.
#
# Dropout learns nothing: no parameter, no buffer, nothing in `state_dict`. A mask belongs to one call.


# %% nbgrader={"grade": false, "grade_id": "StandardDropout", "locked": false, "schema_version": 3, "solution": true, "task": false}
class StandardDropout(nn.Module):
    """standard_dropout as a layer: the mode comes from self.training.

    StandardDropout(p=0.5); p is the probability of dropping, in [0, 1].
    Train mode draws a fresh mask on every call; eval mode returns x * (1 - p), drawing nothing.
    Shapes, dtypes and gradients as in standard_dropout. No parameters, no buffers, and nothing
    in state_dict. Without torch's own dropout.

    StandardDropout(0.2).eval()(torch.tensor([10.0])) -> [8.0]
    """

    def __init__(self, p: float = 0.5) -> None:
        ### BEGIN SOLUTION
        super().__init__()
        self.p = p
        ### END SOLUTION

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ### BEGIN SOLUTION
        return standard_dropout(x, self.p, self.training)
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "StandardDropout-check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check(StandardDropout)

# %% [markdown]
# ## Use it: `SimpleNetwork`, with your layer
#
# The paper's way of saying it: scale the second layer's weights, not its bias, and use every unit.

# %%
layer1, drop, layer2 = nn.Linear(100, 50), StandardDropout(0.2), nn.Linear(50, 10)
network = nn.Sequential(layer1, nn.ReLU(), drop, layer2)
x = torch.randn(4, 100)
with torch.no_grad():
    averaged = network.train()(x.repeat(20_000, 1)).view(20_000, 4, 10).mean(dim=0)
    evaluated = network.eval()(x)
    by_weights = nn.functional.linear(torch.relu(layer1(x)), layer2.weight * 0.8, layer2.bias)
print("eval = 20,000 train passes averaged:", torch.allclose(evaluated, averaged, atol=0.02))
print("eval = outgoing weights times 0.8:  ", torch.allclose(evaluated, by_weights, atol=1e-5))
print("entries in state_dict:", list(network.state_dict()))

# %% [markdown]
# ## Break it: forget the scale
#
# "Your network's outputs will be roughly twice as large", says the article for p = 0.5. Take ReLU
# networks without biases, trained behind standard dropout, and drop the factor at inference.

# %%
# Three layers of dropout with p = 0.5, factor forgotten. How much larger are the outputs?
#   "a"  2 times      "b"  6 times      "c"  8 times
# And how many of the predicted classes change?
#   "a"  most         "b"  some         "c"  none
my_guess_ratio, my_guess_classes = "?", "?"


# %%
def deep_network(depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(100, 100, bias=False), nn.ReLU(), StandardDropout(0.5)]
    return nn.Sequential(*layers, nn.Linear(100, 10, bias=False)).eval()


# %%
print(f"your guesses: {my_guess_ratio}, {my_guess_classes}")
x = torch.randn(200, 100)
for depth in (1, 2, 3):
    network = deep_network(depth)
    right = network(x)
    for position in range(2, 3 * depth, 3):
        network[position] = nn.Identity()  # all units, no factor
    wrong = network(x)
    changed = (right.argmax(dim=1) != wrong.argmax(dim=1)).sum()
    print(f"depth {depth}: outputs x {wrong.norm() / right.norm():.1f}, classes changed: {changed}")

# %% [markdown]
# "Twice" is right for one layer without its output bias. The factor compounds: $2^3 = 8$ at depth 3.
#
# "Scaling doesn't matter" is a common misconception, and this is where it comes from: the largest
# output stays the largest. Accuracy does not move. Train a network on noisy clusters to see what does.

# %%
labels = torch.randint(10, (5500,))
inputs = 0.3 * torch.randn(10, 100)[labels] + torch.randn(5500, 100)
blocks = [(nn.Linear(100, 100), nn.ReLU(), StandardDropout(0.5)) for _block in range(2)]
network = nn.Sequential(*blocks[0], *blocks[1], nn.Linear(100, 10))
optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
for _step in range(150):
    batch = torch.randint(500, (100,))
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(inputs[batch]), labels[batch]).backward()
    optimizer.step()


# %%
def report(name: str) -> None:
    with torch.no_grad():
        logits = network.eval()(inputs[500:])
    accuracy = (logits.argmax(dim=1) == labels[500:]).float().mean()
    confidence = logits.softmax(dim=1).amax(dim=1).mean()
    loss = nn.functional.cross_entropy(logits, labels[500:])
    print(f"{name:15} accuracy {accuracy:.0%}  confidence {confidence:.0%}  loss {loss:.1f}")


report("scaled")
network[2] = network[5] = nn.Identity()
report("scale forgotten")

# %% [markdown]
# On 5,000 new examples the accuracy hardly differs, so no dashboard of accuracy rings. The network has
# become surer than it is right, and the loss has grown. In production that is seen wherever a
# probability is used: thresholds, rankings, an alert that fires at 0.9.

# %%
# Two more wrong factors at inference. At which p does a test with five tens catch them?
for p in (0.5, 0.2):
    right, swapped, inverse = 10 * (1 - p), 10 * p, 10 / (1 - p)
    print(f"p = {p}: times (1-p) {right:4.1f}  times p {swapped:4.1f}  over (1-p) {inverse:4.1f}")

# %% [markdown]
# ## Follow-up: "Your tests pass at p = 0.5. Are you done?"
#
# No. At 0.5 the factors $p$ and $1-p$ are the same number: 5 and 5. At 0.2 they are 2 and 8. Manual
# scaling errors are the second of the article's common bugs; test them at a *p* that is not one half.
#
# ## Say it in 60 seconds
#
# Implement it in words: training, inference, and what forgetting costs.

# %% [markdown] nbgrader={"grade": true, "grade_id": "02_standard_dropout-sixty-seconds", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# Standard dropout multiplies by a 0/1 mask in training, one coin for each element, and leaves survivors
# as they are. An activation is then x(1-p) on average, so at inference, where every unit is present, it
# multiplies by 1-p (or scales the outgoing weights). If I forget, a ReLU net with p = 0.5 is 2 times too
# large per layer: accuracy hardly moves, confidence and loss do.

# %% [markdown]
# <details><summary>A model answer</summary>
#
# "In the 2014 paper each unit is kept with its own coin toss and passed on unscaled. The next layer
# therefore sees 1-p of it on average, 8 of every 10 at p = 0.2. At inference all units are present, so
# I multiply by the keep probability, or fold it into the outgoing weights. Without it the outputs grow by
# 1/(1-p) a layer; classes hardly change, but the network turns overconfident."
#
# </details>

# %% [markdown]
# <details><summary>Key points and red flags</summary>
#
# **Key points:** independent coins, not exactly 20 % · the factor 1-p belongs to inference · weights, not
# biases · it compounds with depth · look at calibration, not accuracy.
#
# **Red flags:** "scaling doesn't matter" · a factor of p, right only at 0.5 · the paper's *p* taken for
# PyTorch's · "outputs double" for any depth · scaling in both phases.
#
# </details>

# %% [markdown]
# ## Sources, and what comes next
#
# * Srivastava et al. 2014, *Dropout*, JMLR 15, sections 1 and 4.
# * Goodfellow, Bengio and Courville 2016, *Deep Learning*, section 7.12: weight scaling inference rule.
# * [`torch.rand`](https://docs.pytorch.org/docs/stable/generated/torch.rand.html),
#   [`torch.Generator`](https://docs.pytorch.org/docs/stable/generated/torch.Generator.html)
#
# Next: **03 · Inverted dropout**, which moves the factor to the other side.
