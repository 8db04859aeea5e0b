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
# # 03 · Inverted dropout
#
# > **Interviewer:** "What is the difference between standard and inverted dropout? Write the second,
# > forward and backward."
#
# 35 minutes. Afterwards you can **write** dropout as PyTorch does it, and **defend** why frameworks
# chose it.

# %%
import torch
import torch.nn.functional as F
from torch import nn

from dropout_course import check, figures, hint, progress, reset, solution
from dropout_course.widgets import mask_explorer

_ = torch.manual_seed(3)

# %%
# F.dropout receives five tens, p = 0.5, a thousand times. Which values come out in training?
#   "a"  0 and 10      "b"  0 and 20      "c"  0 and 5
# With training=False, what comes back?
#   "a"  five times 5      "b"  a copy of the input      "c"  the input itself, the same object
my_guess_train, my_guess_eval = "?", "?"

# %%
tens = torch.full((5,), 10.0)
seen = torch.cat([F.dropout(tens, p=0.5, training=True) for _ in range(1000)])
print(f"your guesses: {my_guess_train}, {my_guess_eval}")
print("training:", seen.unique().tolist())
out = F.dropout(tens, p=0.5, training=False)
print("inference:", out.tolist(), " the same object:", out is tens)

# %% [markdown]
# ## Solve for the scale
#
# Inference is to return $x$ untouched. So training must average to $x$. Multiply the mask by a factor
# $s$ and solve:
#
# $$E[x\,r\,s] = x\,(1-p)\,s = x \quad\Rightarrow\quad s = \frac{1}{1-p}$$
#
# For p = 0.2: $s = 1.25$, and $0.8 \cdot 12.5 + 0.2 \cdot 0 = 10$. For p = 1 nobody survives and $s$
# does not exist: return zeros.


# %% nbgrader={"grade": false, "grade_id": "inverted_dropout", "locked": false, "schema_version": 3, "solution": true, "task": false}
def inverted_dropout(x: torch.Tensor, p: float = 0.5, training: bool = True) -> torch.Tensor:
    """Dropout as PyTorch does it: survivors times 1 / (1 - p) in training, nothing at inference.

    x: any shape (also 0-d or empty), any floating dtype; it is not changed in place.
    p: the probability of dropping, in [0, 1]; p = 0 keeps everything, p = 1 gives zeros, not nan.
    training=True:  each element becomes x / (1 - p) with probability 1 - p, otherwise 0; each
                    element has its own coin; a fresh mask on every call, from torch's global
                    generator (repeatable by its seed). Draw in float32 also for half precision:
                    bfloat16 numbers are too coarse for a small p.
    training=False: x, and no random number is drawn.
    Returns x's shape, dtype and device; gradients pass through the same mask and scale.
    Without torch's own dropout (F.dropout, nn.Dropout and their relatives).

    Five tens, p = 0.2: for instance [12.5, 0, 12.5, 12.5, 0] in training, the tens at inference.
    """
    ### BEGIN SOLUTION
    if not training:
        return x
    if p == 1:
        return x * 0
    kept = torch.rand(x.shape, device=x.device) < 1 - p
    return x * kept / (1 - p)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "inverted_dropout-check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check(inverted_dropout)

# %% [markdown]
# ## Use it: measure it beside torch's
#
# A seed cannot compare the two: each correct way of drawing a mask uses other random numbers. Statistics
# can. The input is a million tens.

# %%
million = torch.full((1_000_000,), 10.0)
print("   p         dropped   survivors   average")
for p in (0.1, 0.2, 0.5):
    for name, dropout in (("yours", inverted_dropout), ("torch", F.dropout)):
        out = dropout(million, p, True)
        dropped = (out == 0).double().mean()
        print(f"{p:4}  {name}   {dropped:6.0%}   {out.max():9.2f}   {out.double().mean():7.1f}")

# %%
# Why the docstring asks for float32 numbers: bfloat16 has 8 bits of precision.
for dtype in (torch.float32, torch.bfloat16):
    dropped = torch.rand(1_000_000, dtype=dtype) < 0.001
    print(f"p = 0.001 drawn in {dtype}: {dropped.double().mean():.1%} dropped")

# %%
out = inverted_dropout(torch.full((3, 10_000), 10.0), 0.2)
figures.running_mean(
    out, 10, title="Single values are 0 or 12.5, their average settles at the input"
)

# %%
# Yours, by hand: move p, switch to eval, read the number as keep_prob. What stays at ten?
mask_explorer(inverted_dropout, p=0.2)

# %% [markdown]
# ## As a module
#
# `nn.Dropout(p=1.5)` refuses when it is built, not hours later in the first batch. A probability is a
# setting that somebody types, or reads from a file; a layer says at once that it makes no sense.

# %%
for p in (1.5, -0.1):
    try:
        nn.Dropout(p=p)
    except ValueError as error:
        print(f"nn.Dropout(p={p}): ValueError: {error}")


# %% nbgrader={"grade": false, "grade_id": "InvertedDropout", "locked": false, "schema_version": 3, "solution": true, "task": false}
class InvertedDropout(nn.Module):
    """inverted_dropout as a layer: the mode comes from self.training.

    InvertedDropout(p=0.5); p is the probability of dropping. The constructor raises ValueError
    for p outside [0, 1]; 0 and 1 themselves are allowed.
    Train mode draws a fresh mask on every call; eval mode returns x and draws nothing.
    Shapes, dtypes and gradients as in inverted_dropout. No parameters, no buffers, and nothing
    in state_dict. Without torch's own dropout.

    InvertedDropout(0.2).eval()(torch.tensor([10.0])) -> [10.0]
    """

    def __init__(self, p: float = 0.5) -> None:
        ### BEGIN SOLUTION
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p must lie in [0, 1], not {p}")
        self.p = p
        ### END SOLUTION

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ### BEGIN SOLUTION
        return inverted_dropout(x, self.p, self.training)
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "InvertedDropout-check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check(InvertedDropout)


# %% [markdown]
# ## Use it: a drop-in for `nn.Dropout`
#
# `SimpleNetwork` again, with its dropout layer as an argument. The weights of one load into the other:
# nothing in `state_dict` knows which dropout it was.


# %%
def simple_network(dropout: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(100, 50), nn.ReLU(), dropout, nn.Linear(50, 10))


yours, theirs = simple_network(InvertedDropout(0.2)), simple_network(nn.Dropout(0.2))
print("weights loaded:             ", theirs.load_state_dict(yours.state_dict()))
x = torch.randn(4, 100)
same = torch.equal(yours.eval()(x), theirs.eval()(x))
print("eval outputs equal:         ", same)
print("train mode, two calls equal:", torch.equal(yours.train()(x), yours(x)))

# %%
# The backward pass. y = dropout(x) with p = 0.2, and the loss is y.sum().
# What is the gradient at a survivor?        "a"  1      "b"  1.25      "c"  0.8
# And at a dropped element?                  "a"  0      "b"  1         "c"  it depends on x
my_guess_survivor, my_guess_dropped = "?", "?"

# %%
x = torch.randn(1000, requires_grad=True)
y = F.dropout(x, p=0.2)
(gradient,) = torch.autograd.grad(y.sum(), x)
print(f"your guesses: {my_guess_survivor}, {my_guess_dropped}")
print("at survivors:       ", gradient[y != 0].unique().tolist())
print("at dropped elements:", gradient[y == 0].unique().tolist())

# %% [markdown]
# ## The same mask, the same scale
#
# Given the mask, dropout multiplies each element by a constant:
#
# $$y_i = x_i \frac{r_i}{1-p} \quad\Rightarrow\quad
# \frac{\partial L}{\partial x_i} = \frac{\partial L}{\partial y_i}\,\frac{r_i}{1-p}$$
#
# With p = 0.2 the factor is 1.25 or 0. The mask of the forward pass is kept for this; a fresh one would
# send the gradient through units that took no part.


# %% nbgrader={"grade": false, "grade_id": "dropout_backward", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dropout_backward(grad_output: torch.Tensor, mask: torch.Tensor, p: float) -> torch.Tensor:
    """The gradient of the loss with respect to the input of inverted dropout.

    grad_output: the gradient with respect to its output; any shape, any floating dtype.
    mask:        the forward pass's mask, the same shape; 1 = kept, 0 = dropped; floating or bool.
    p:           the probability of dropping, in [0, 1).
    Returns a new tensor of grad_output's shape and dtype; grad_output stays unchanged, and no
    random number is drawn.

    Five ones, mask [1, 0, 1, 1, 0], p = 0.2 -> [1.25, 0, 1.25, 1.25, 0]
    """
    ### BEGIN SOLUTION
    return grad_output * mask.to(grad_output.dtype) / (1 - p)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "dropout_backward-check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check(dropout_backward)

# %% [markdown]
# ## Use it: against autograd
#
# Autograd goes backward through your forward pass. Your backward pass must agree with it, and at the
# elements where the mask was 0 nothing may come through.

# %%
for p in (0.2, 0.5, 0.9):
    x = torch.randn(200, 50, requires_grad=True)
    y = inverted_dropout(x, p)
    grad_output = torch.randn(200, 50)
    (by_autograd,) = torch.autograd.grad(y, x, grad_output)
    by_hand = dropout_backward(grad_output, y != 0, p)
    print(f"p = {p}: autograd agrees: {torch.allclose(by_autograd, by_hand)}")

# %%
# Break it: somebody reads p as the probability of keeping, and writes p=0.8 to keep 80 %.
# Which measurements, made in training on a million tens, show the mistake? "yes" or "no" for each.
my_guesses = {"average": "?", "share of zeros": "?", "largest value": "?"}

# %%
print("your guesses:", my_guesses)
print("          average   zeros   largest")
for meant, p in (("p=0.2", 0.2), ("p=0.8", 0.8)):
    out = inverted_dropout(million, p)
    zeros = (out == 0).double().mean()
    print(f"{meant}     {out.double().mean():7.1f}   {zeros:5.0%}   {out.max():7.1f}")

# %% [markdown]
# The average stays 10: the layer repairs its own scale, and a test of the mean passes. Only the share of
# zeros and the survivors tell. In eval mode the two layers are equal, so in production you see nothing
# but a network that learned poorly, behind 80 % dropout.
#
# `p` drops in PyTorch and Keras; the paper's, CS231n's and this course's `keep_prob` keep.

# %%
# Break it again: train with inverted dropout, and still multiply by 1 - p at inference.
signal = torch.full((1000,), 10.0)
for depth in (1, 2, 3):
    signal = inverted_dropout(signal, 0.2, training=False) * 0.8
    print(f"dropout layers passed: {depth}   a ten has become {signal.mean():.2f}")

# %% [markdown]
# ## Follow-up: "Why did the frameworks choose inverted?"
#
# Because inference is left alone. *p* may differ between layers or change during training, and the
# deployed function does not know it. Under standard dropout a changed *p* changes every prediction:
# inconsistent rates, the article's third common bug, become a wrong answer.

# %%
print("a ten at inference")
for p in (0.2, 0.5):
    inverted = inverted_dropout(torch.tensor([10.0]), p, training=False).item()
    standard = (torch.tensor([10.0]) * (1 - p)).item()
    print(f"p = {p}:  inverted {inverted:4.1f}   standard {standard:4.1f}")

# %% [markdown]
# ## Follow-up: "Does dropout slow training down?"
#
# The article calls that a misconception and says dropout often allows faster convergence. The 2014 paper
# (section 11) reports the opposite: 2 to 3 times longer. Count the steps until the network, in eval mode,
# fits its 500 training examples with a loss below 0.2.


# %%
def steps_to_fit(p: float, seed: int) -> int:
    torch.manual_seed(seed)
    labels = torch.randint(10, (500,))
    inputs = 0.3 * torch.randn(10, 100)[labels] + torch.randn(500, 100)
    network = simple_network(InvertedDropout(p))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for step in range(2000):
        if F.cross_entropy(network.eval()(inputs), labels) < 0.2:
            return step
        batch = torch.randint(500, (100,))
        optimizer.zero_grad()
        F.cross_entropy(network.train()(inputs[batch]), labels[batch]).backward()
        optimizer.step()
    return 2000


# %%
steps = torch.tensor([[steps_to_fit(p, seed) for p in (0.0, 0.5)] for seed in range(3)])
print("with p = 0.5 more steps in", int((steps[:, 1] > steps[:, 0]).sum()), "of 3 runs")
ratio = (steps[:, 1] / steps[:, 0]).mean()
print(f"steps, p = 0.5 against p = 0: {ratio:.1f} times as many")

# %% [markdown]
# More steps, not fewer, to the same training loss: each step follows the gradient of another thinned
# network. Generalising better and converging faster are two claims; lesson 06 measures both on real data.
#
# ## Say it in 60 seconds
#
# Answer the interviewer's question, forward and backward, and say why. Aloud first, then below.

# %% [markdown] nbgrader={"grade": true, "grade_id": "03_inverted_dropout-sixty-seconds", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# Both zero each element with probability p in training. Standard dropout leaves survivors alone and
# multiplies by 1-p at inference. Inverted dropout multiplies survivors by 1/(1-p) in training, so the
# average is already x and inference is the identity. Backward uses the same mask and the same factor.
# Frameworks chose it because the deployed network then has no factor and need not know p.

# %% [markdown]
# <details><summary>A model answer</summary>
#
# "The two differ in where the scale sits. Standard: survivors unscaled, inference times 1-p. Inverted:
# survivors times 1/(1-p), inference untouched. With p = 0.2 a ten is 0 or 12.5 in training, on average
# 10, and 10 in eval mode. The backward pass multiplies by that same mask and factor, so dropped units
# get no gradient. PyTorch does this because a model in production then carries no trace of dropout."
#
# </details>

# %% [markdown]
# <details><summary>Key points and red flags</summary>
#
# **Key points:** the expectation, in one line · the same mask and factor backward · eval returns the
# input · `p` drops in PyTorch · count zeros, since the mean cannot tell 0.2 from 0.8.
#
# **Red flags:** scaling by 1/p · scaling in both phases · a fresh mask in the backward pass · comparing
# seeds to test two implementations · "dropout makes convergence faster".
#
# </details>

# %% [markdown]
# ## Sources, and what comes next
#
# * Srivastava et al. 2014, *Dropout*, JMLR 15, section 10 (the scale moved to training) and section 11
#   (the cost in training time).
# * CS231n notes, *Neural Networks Part 2*, section on dropout: the name "inverted", with `p` as keep.
# * [`torch.nn.functional.dropout`](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout.html)
#
# Next: **04 · Why scale**, where the mean is kept and the variance is not.
