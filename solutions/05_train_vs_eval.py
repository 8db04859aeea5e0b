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
# # 05 · Train and eval
#
# > **Interviewer:** "What happens if you forget to turn off dropout during inference? And what exactly
# > does `model.eval()` do?"
#
# 45 minutes. Afterwards you can **find** by measuring whether a model still drops at inference, and
# **repair** three bugs that real projects had.

# %%
import copy

import torch
import torch.nn.functional as F
from torch import nn

from dropout_course import check, figures, hint, progress, reset, solution, widgets
from dropout_course.experiments import data, training
from dropout_course.experiments.training import Settings, Way

_ = torch.manual_seed(5)

# %%
# A network with nn.Dropout, called four times: train or eval mode, inside or outside no_grad().
# In which of the four do two calls give the same output?  In which can you call backward()?
my_guesses = {"train": "?", "train, no_grad": "?", "eval": "?", "eval, no_grad": "?"}

# %%
network = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 4))
x = torch.randn(8, 16)
for mode in ("train", "eval"):
    network.train(mode == "train")
    for recording in (True, False):
        with torch.set_grad_enabled(recording):
            first, second = network(x), network(x)
        same = torch.equal(first, second)
        name = mode if recording else f"{mode}, no_grad"
        print(f"{name:15} you: {my_guesses[name]:5} same output: {same!s:6}"
              f" backward possible: {first.requires_grad}")

# %% [markdown]
# ## Two switches
#
# `eval()` walks over the submodules and sets `training = False` on each. That is all it does: a layer
# obeys if it reads the flag. `no_grad()` stops recording for the backward pass and touches no flag.
#
# Inference wants both, and afterwards the model as it was: also a part that somebody had frozen in eval
# mode, and also when the forward pass fails.

# %%
print("before:", [module.training for module in network.modules()])
network.train()
network[2].eval()  # somebody switched this one off on purpose
print("a part:", [module.training for module in network.modules()])
network.eval().train()
print("after: ", [module.training for module in network.modules()])


# %% nbgrader={"grade": false, "grade_id": "predict", "locked": false, "schema_version": 3, "solution": true, "task": false}
def predict(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The model's output for x as inference wants it: every submodule in eval mode, no gradients.

    While the model runs, it and all its submodules are in eval mode, and nothing is kept for a backward
    pass (torch.no_grad or torch.inference_mode): the result does not require a gradient.
    Afterwards everything is as it was found: each submodule has its own mode back (one that was in eval
    mode inside a model in train mode is in eval mode again), parameters and buffers are untouched, and
    gradients are recorded again if they were before.
    An error that the model raises is passed on to the caller, the modes restored first.

    predict(nn.Dropout(0.5), torch.ones(4)) -> [1., 1., 1., 1.], and the module is in train mode as before.
    """
    ### BEGIN SOLUTION
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad():
            output: torch.Tensor = model.eval()(x)
    finally:
        for module, training in modes:
            module.training = training
    return output
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "predict-check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check(predict)

# %% [markdown]
# ## Use it: an evaluation that forgets `eval()`
#
# A published model's evaluation ran under `inference_mode()` and never called `eval()`; most results had
# to be computed anew ([ethos-ares#20](https://github.com/ipolharvard/ethos-ares/issues/20)).
#
# Here: a network that was trained on handwritten digits with p = 0.5. How wrong is it without `eval()`?

# %%
digits = data.digits(seeds=1, train=1000)
images, labels = digits.x_test[0], digits.y_test[0]
first, second, last = training.train(digits, Settings(hidden=(128, 128))).linears()
drop = nn.Dropout(0.5)
classifier = nn.Sequential(first, nn.ReLU(), drop, second, nn.ReLU(), drop, last)


def error(logits: torch.Tensor) -> float:
    return (logits.argmax(dim=1) != labels).double().mean().item()


with torch.no_grad():
    forgotten = [error(classifier(images)) for _ in range(20)]
correct = error(predict(classifier, images))

# %% tags=["nbval-ignore-output"]
print(f"eval forgotten: {100 * min(forgotten):.1f} to {100 * max(forgotten):.1f} % wrong")
print(f"predict:        {100 * correct:.1f} % wrong")
figures.output_distribution(
    100 * torch.tensor(forgotten), 100 * correct, quantity="error in %", calls="evaluations",
    title="Without eval(), one network gets many errors, on average larger",
)

# %%
print("the same weights and images, 20 evaluations, one error:", len(set(forgotten)) == 1)
print("every one of them worse than predict:                  ", min(forgotten) > correct)
print("still in train mode after predict:                     ", classifier.training)

# %% [markdown]
# ## The other way round: a validation that never returns to `train()`
#
# Validation in the middle of an epoch calls `eval()`, and training goes on without dropout
# ([pytorch-fcn#56](https://github.com/wkentaro/pytorch-fcn/pull/56),
# [pytorch-pfn-extras#688](https://github.com/pfnet/pytorch-pfn-extras/issues/688)).
#
# Nothing fails and nothing is printed. Train on digits of which 30 % carry a wrong label: once without
# dropout, once with it, and once with a `train()` that is lost after the first epoch.

# %%
# 500 digits, 30 % wrong labels, p = 0.75, 60 epochs; the first validation comes after epoch 1.
# The test error with dropout is about 9 %. With the lost train() it is about
#   "a"  9 %, dropout is only a detail      "b"  12 %      "c"  16 %, as without any dropout
my_guess = "?"

# %%
noisy = data.with_label_noise(data.digits(seeds=5, train=500), share=0.3)
arms = {"no dropout": (0.0, None), "dropout": (0.75, None), "train() lost": (0.75, 1)}
test_error = {}
for name, (p, dropout_epochs) in arms.items():
    settings = Settings(hidden=(256,), p=p, epochs=60, dropout_epochs=dropout_epochs)
    nets = training.train(noisy, settings)
    log_probs = training.log_probs(nets, noisy.x_test, Way.SCALED)
    test_error[name] = 100 * training.score(log_probs, noisy.y_test).error

# %% tags=["nbval-ignore-output"]
print(f"your guess: {my_guess}")
for name, errors in test_error.items():
    print(f"{name:13} {errors.mean():4.1f} ± {errors.std():.1f} % wrong on true labels")

# %%
lost, none, with_dropout = (test_error[k] for k in ("train() lost", "no dropout", "dropout"))
print("with train() lost, worse than dropout in", int((lost > with_dropout).sum()), "of 5 runs")
print("as bad as no dropout, within 2 points:  ", bool((lost.mean() - none.mean()).abs() < 2))

# %% [markdown]
# ## What `eval()` cannot know
#
# A module that is added later was not there when `eval()` walked by. This is how models that had been put
# into eval mode got adapters in train mode ([transformers#34469](https://github.com/huggingface/transformers/issues/34469),
# [peft#3753](https://github.com/huggingface/peft/issues/3753)).

# %%
adapted = nn.Sequential(nn.Linear(16, 4)).eval()
adapted.append(nn.Dropout(0.5))
print("the model says training =", adapted.training)
print("two calls equal:         ", torch.equal(adapted(x), adapted(x)))

# %% [markdown]
# ## Ask the model, not its flag
#
# `adapted.training` is False and the model drops. Flags are claims; two calls are a measurement.
#
# Write the measurement. It must not disturb what it measures: neither the modes nor the random numbers
# that are drawn afterwards.


# %% nbgrader={"grade": false, "grade_id": "is_stochastic", "locked": false, "schema_version": 3, "solution": true, "task": false}
def is_stochastic(model: nn.Module, x: torch.Tensor) -> bool:
    """Whether two calls of the model on the same x, in the modes it is in now, give different outputs.

    Judged by the outputs alone, a tensor each, and exactly: any difference counts, however small. So
    dropout is found wherever it hides (nn.Dropout, F.dropout, attention), any other noise as well, and
    a dropout layer that is off, or never called, is none.
    The two calls follow one another as they would in a program: no seed is set between them.
    Returns True or False. Leaves every submodule's mode as found, and the state of torch's random
    generator too: what is drawn afterwards is the same as if is_stochastic had not been called.

    nn.Dropout(0.5) on torch.ones(1000): True; after .eval(): False.
    """
    ### BEGIN SOLUTION
    state = torch.get_rng_state()
    first, second = model(x), model(x)
    torch.set_rng_state(state)
    return not torch.equal(first, second)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "is_stochastic-check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check(is_stochastic)

# %%
# Seven models in eval mode. Which still drop? "yes" or "no" for each.
my_guesses = {
    "nn.Dropout()": "?",
    "F.dropout(x)": "?",
    "F.dropout1d(x)": "?",
    "F.alpha_dropout(x)": "?",
    "attention, dropout_p=0.5": "?",
    "nn.MultiheadAttention": "?",
    "nn.Dropout() in a plain list": "?",
}


# %%
class Model(nn.Module):
    def __init__(self, function: object, part: nn.Module | None = None) -> None:
        super().__init__()
        self.function, self.part = function, part

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert callable(self.function)
        output: torch.Tensor = self.function(x)
        return output


sequence = torch.randn(2, 5, 16)
attention = nn.MultiheadAttention(16, 4, dropout=0.5, batch_first=True)
unseen = [nn.Dropout()]  # a plain list is no nn.ModuleList: eval() does not look inside

# %%
layer = nn.Dropout()
models = {
    "nn.Dropout()": Model(layer, layer),
    "F.dropout(x)": Model(F.dropout),
    "F.dropout1d(x)": Model(F.dropout1d),
    "F.alpha_dropout(x)": Model(F.alpha_dropout),
    "attention, dropout_p=0.5": Model(
        lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5)
    ),
    "nn.MultiheadAttention": Model(lambda x: attention(x, x, x)[0], attention),
    "nn.Dropout() in a plain list": Model(lambda x: unseen[0](x)),
}

# %%
for name, model in models.items():
    drops = is_stochastic(model.eval(), sequence)
    print(f"{name:29} you: {my_guesses[name]:4} drops in eval: {drops}")

# %% [markdown]
# `F.dropout` has `training=True` as its default, `F.alpha_dropout` has False. Attention takes a plain
# number and no mode at all. And a module that no attribute holds is never reached
# ([mt-dnn#45](https://github.com/namisan/mt-dnn/issues/45)).
#
# Three hunts follow. Each starts with a model that shipped in some form. Measure it first.

# %% [markdown]
# ## Hunt 1: the function that nobody told
#
# Seen in [pytorch-fm#21](https://github.com/rixwew/pytorch-fm/issues/21) and
# [SimpleNet#2](https://github.com/Coderx7/SimpleNet/issues/2); explained in
# [pytorch#26338](https://github.com/pytorch/pytorch/issues/26338). The code is ours.


# %%
class BrokenFunctional(nn.Module):
    def __init__(self, features: int = 16, hidden: int = 32, classes: int = 4, p: float = 0.5) -> None:
        super().__init__()
        self.first = nn.Linear(features, hidden)
        self.last = nn.Linear(hidden, classes)
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = F.dropout(torch.relu(self.first(x)), self.p)
        output: torch.Tensor = self.last(hidden)
        return output


# %%
def measure(model: nn.Module, x: torch.Tensor) -> None:
    for mode in (True, False):
        stochastic = is_stochastic(model.train(mode), x)
        print(f"{'train' if mode else 'eval':6} stochastic: {stochastic}")


measure(BrokenFunctional(), x)


# %% nbgrader={"grade": false, "grade_id": "RepairedFunctional", "locked": false, "schema_version": 3, "solution": true, "task": false}
class RepairedFunctional(nn.Module):
    """BrokenFunctional, repaired: dropout of the hidden units in train mode, none in eval mode.

    x: [..., features] -> [..., classes]. relu of `first`, inverted dropout with probability p, `last`.
    Constructor and the names in state_dict as in BrokenFunctional: its checkpoints load.
    Train mode (also under torch.no_grad): each hidden unit of each example is dropped with probability
    p, survivors are multiplied by 1 / (1 - p), a fresh mask on every call.
    Eval mode (also when set through a parent module): the same output on every call, nothing dropped or
    scaled, no random numbers drawn. Back in train mode, dropout is on again.
    Gradients reach x in both modes. torch's own dropout may be used.

    The same x twice in eval mode: twice the same output. In train mode with p = 0.5: two outputs.
    """

    def __init__(self, features: int = 16, hidden: int = 32, classes: int = 4, p: float = 0.5) -> None:
        super().__init__()
        self.first = nn.Linear(features, hidden)
        self.last = nn.Linear(hidden, classes)
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ### BEGIN SOLUTION
        hidden = F.dropout(torch.relu(self.first(x)), self.p, training=self.training)
        output: torch.Tensor = self.last(hidden)
        return output
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "RepairedFunctional-check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check(RepairedFunctional)

# %%
broken, repaired = BrokenFunctional(), RepairedFunctional()
print(repaired.load_state_dict(broken.state_dict()))  # the checkpoint of the broken model loads
measure(repaired, x)

# %% [markdown]
# ## Hunt 2: attention that drops at inference
#
# Seen in [timm#1978](https://github.com/huggingface/pytorch-image-models/pull/1978),
# [wenet#2699](https://github.com/wenet-e2e/wenet/issues/2699) and
# [torch-harmonics#221](https://github.com/NVIDIA/torch-harmonics/pull/221); reported against torch itself
# in [pytorch#124464](https://github.com/pytorch/pytorch/issues/124464). Its documentation warns of it now.


# %%
class BrokenAttention(nn.Module):
    def __init__(self, dim: int = 16, heads: int = 4, p: float = 0.5) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.heads, self.p = heads, p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        split = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # [batch, time, 3, heads, dim / heads]
        q, k, v = split.permute(2, 0, 3, 1, 4)  # each [batch, heads, time, dim / heads]
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=self.p)
        output: torch.Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return output


# %%
# How far apart are 500 answers to the same question, measured by how far positions are apart?
broken_attention = BrokenAttention().eval()
measure(broken_attention, sequence)
with torch.no_grad():
    answers = torch.stack([broken_attention.eval()(sequence) for _ in range(500)])
    spread = answers.std(dim=0).mean() / answers.mean(dim=0).std()
print(f"spread of one answer / spread between positions: {spread:.1f}")


# %% nbgrader={"grade": false, "grade_id": "RepairedAttention", "locked": false, "schema_version": 3, "solution": true, "task": false}
class RepairedAttention(nn.Module):
    """BrokenAttention, repaired: attention weights are dropped in train mode, none in eval mode.

    x: [batch, time, dim] -> [batch, time, dim]; `dim` is a multiple of `heads`. The same attention as in
    BrokenAttention: q, k, v of all heads from `qkv`, softmax(q k / sqrt(dim / heads)) v, then `out`.
    Constructor and the names in state_dict as in BrokenAttention: its checkpoints load.
    Train mode (also under torch.no_grad): each attention weight is dropped with probability p, the
    others are multiplied by 1 / (1 - p), a fresh mask on every call.
    Eval mode (also when set through a parent module): the same output on every call, nothing dropped or
    scaled, no random numbers drawn. Back in train mode, dropout is on again.
    Gradients reach x in both modes. torch's own functions may be used.

    The same x twice in eval mode: twice the same output. In train mode with p = 0.5: two outputs.
    """

    def __init__(self, dim: int = 16, heads: int = 4, p: float = 0.5) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.heads, self.p = heads, p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ### BEGIN SOLUTION
        split = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # [batch, time, 3, heads, dim / heads]
        q, k, v = split.permute(2, 0, 3, 1, 4)  # each [batch, heads, time, dim / heads]
        p = self.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=p)
        output: torch.Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return output
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "RepairedAttention-check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check(RepairedAttention)

# %%
# A repair can break the other mode: one project set its p to 0 at the first eval and trained on without
# dropout (Megatron-LM#411). So measure both, and go back to train.
repaired_attention = RepairedAttention()
measure(repaired_attention, sequence)
print("train again, stochastic:", is_stochastic(repaired_attention.train(), sequence))

# %% [markdown]
# ## Hunt 3: a flag that `eval()` does not set
#
# A course book's model kept its own `is_training`, which stayed True, so the test accuracy was computed
# with dropout ([d2l-en#1093](https://github.com/d2l-ai/d2l-en/issues/1093)). Here the flag is called
# `mode`.


# %%
class BrokenModes(nn.Module):
    def __init__(self, features: int = 16, hidden: int = 32, classes: int = 4, p: float = 0.5) -> None:
        super().__init__()
        self.first = nn.Linear(features, hidden)
        self.last = nn.Linear(hidden, classes)
        self.p = p
        self.mode = "train"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = F.dropout(torch.relu(self.first(x)), self.p, training=self.mode != "eval")
        output: torch.Tensor = self.last(hidden)
        return output


# %%
broken_modes = BrokenModes().eval()
print("training:", broken_modes.training, "  mode:", broken_modes.mode)
measure(broken_modes, x)


# %% nbgrader={"grade": false, "grade_id": "RepairedModes", "locked": false, "schema_version": 3, "solution": true, "task": false}
class RepairedModes(nn.Module):
    """BrokenModes, repaired: model.eval() turns its dropout off, model.train() on again.

    x: [..., features] -> [..., classes]. relu of `first`, inverted dropout with probability p, `last`.
    Constructor and the names in state_dict as in BrokenModes: its checkpoints load.
    Both ways of switching work: model.eval(), model.train() and model.train(False) of the module itself,
    which return the module as nn.Module's do, and those of a parent that it is part of; `training` says
    the mode. Gradient mode does not matter.
    Train mode: each hidden unit of each example is dropped with probability p, survivors are multiplied
    by 1 / (1 - p), a fresh mask on every call. Eval mode: the same output on every call, nothing dropped
    or scaled, no random numbers drawn. Gradients reach x in both modes. torch's own dropout may be used.

    nn.Sequential(RepairedModes()).eval(): two calls, the same output.
    """

    def __init__(self, features: int = 16, hidden: int = 32, classes: int = 4, p: float = 0.5) -> None:
        super().__init__()
        self.first = nn.Linear(features, hidden)
        self.last = nn.Linear(hidden, classes)
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ### BEGIN SOLUTION
        hidden = F.dropout(torch.relu(self.first(x)), self.p, training=self.training)
        output: torch.Tensor = self.last(hidden)
        return output
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "RepairedModes-check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check(RepairedModes)

# %%
# As a part of something larger, the flag must follow the parent.
parent = nn.Sequential(RepairedModes(), nn.ReLU())
measure(parent, x)

# %% [markdown]
# ## Find the stochastic layer
#
# A large model has hundreds of layers. The explorer calls a model twice and compares layer by layer where
# the outputs begin to differ. Pick one of your own, broken or repaired.

# %%
hunted = {
    "BrokenFunctional": BrokenFunctional().eval(),
    "BrokenAttention": BrokenAttention().eval(),
    "BrokenModes": BrokenModes().eval(),
    "RepairedFunctional": RepairedFunctional().eval(),
    "RepairedAttention": RepairedAttention().eval(),
    "RepairedModes": RepairedModes().eval(),
}
widgets.layer_explorer(hunted, sequence)

# %% [markdown]
# ## Random, and repeatable
#
# Predict: the same seed, the same network in train mode, the same input. Is the output the same? And if
# the evaluation in between forgets `eval()`: does training go on as it would have?

# %%
my_guess_seed, my_guess_training = "?", "?"


# %%
def loss_after_three_steps(evaluate: str) -> float:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        if evaluate:
            model.train(evaluate == "in train mode")(x)
            model.train()
    return predict(model, x).square().mean().item()


# %%
print(f"your guesses: {my_guess_seed}, {my_guess_training}")
plain = loss_after_three_steps("")
print("same seed, same run:                 ", loss_after_three_steps("") == plain)
print("evaluated in eval mode, same run:    ", loss_after_three_steps("in eval mode") == plain)
print("evaluated in train mode, same run:   ", loss_after_three_steps("in train mode") == plain)

# %% [markdown]
# A seed fixes the whole stream of random numbers, and every mask takes its part of it. In eval mode
# dropout takes none. Looking at a model in train mode therefore changes the rest of its training.
#
# ## Traps, one cell each
#
# Found in torch 2.13. Guess before you run: what does each print?

# %%
# The mode travels with a copy, but neither mode nor p is in the checkpoint.
served = nn.Sequential(nn.Linear(16, 4), nn.Dropout(0.2)).eval()
print("the copy is in eval mode:  ", not copy.deepcopy(served).training)
reloaded = nn.Sequential(nn.Linear(16, 4), nn.Dropout(0.9))
print("loaded without complaint:  ", reloaded.load_state_dict(served.state_dict()))
print("its mode and its p:        ", "train" if reloaded.training else "eval", reloaded[1].p)

# %%
# p = 1 gives zeros, unless the input is not finite: 0 times infinity is nan.
print(F.dropout(torch.tensor([1.0, float("inf"), float("nan")]), p=1.0).tolist())
# p = nan passes the constructor, and fails at the first call.
undecided = nn.Dropout(p=float("nan"))
try:
    undecided(x)
except RuntimeError as trouble:
    print("RuntimeError:", str(trouble).partition("\n")[0])

# %%
# Half precision: the scale is rounded, and 1/(1-p) can overflow.
ones = torch.ones(1000, dtype=torch.bfloat16)
survivor = F.dropout(ones, 0.1).max().item()
print(f"bfloat16, p = 0.1: survivors {survivor:.4f}, exact {1 / 0.9:.4f}")
large = torch.full((1000,), 40000.0, dtype=torch.float16)
print(f"float16, p = 0.5: a 40000 becomes {F.dropout(large, 0.5).max().item()}")

# %%
# inplace=True saves memory and changes what others still hold. A residual block of ones:
for inplace in (False, True):
    h = torch.ones(1000)
    out = F.dropout(h, 0.5, inplace=inplace) + h
    print(f"inplace={inplace!s:5}: drop(h) + h takes the values {out.unique().tolist()}")
h = torch.sigmoid(torch.ones(4, requires_grad=True))
try:
    F.dropout(h, 0.5, inplace=True).sum().backward()
except RuntimeError as trouble:
    print("after a sigmoid:", str(trouble)[:64])

# %%
# nn.MultiheadAttention is right in eval mode; in train mode the weights it returns were dropped, too.
for train_mode in (True, False):
    attention.train(train_mode)
    with torch.no_grad():
        weights = attention(sequence, sequence, sequence, average_attn_weights=False)[1]
    ones = torch.ones(2, 4, 5)
    sum_to_1 = torch.allclose(weights.sum(dim=-1), ones)
    print(f"{'train' if train_mode else 'eval':6} rows sum to 1: {sum_to_1}")

# %%
# nn.LSTM(dropout=...) drops between its layers, so with two layers only between the first and second.
two_layers = nn.LSTM(16, 8, num_layers=2, dropout=0.5, batch_first=True)
one_layer = nn.LSTM(16, 8, num_layers=1, batch_first=True)
one_layer.dropout = 0.5  # the constructor would warn that this does nothing
for name, lstm in (("two layers", two_layers), ("one layer", one_layer)):
    counted = Model(lambda x, lstm=lstm: lstm(x)[0], lstm).train()
    print(f"{name:10} in train mode stochastic: {is_stochastic(counted, sequence)}")

# %% [markdown]
# ## Follow-up: "You called `eval()`, and two calls still differ. Where do you look?"
#
# Not at the flags of the model: of the six below, three say `training = False` and drop.

# %%
print("model                 training   drops")
for name, hunted_model in hunted.items():
    drops = is_stochastic(hunted_model, sequence)
    print(f"{name:20}  {hunted_model.training!s:9}  {drops}")

# %% [markdown]
# ## Say it in 60 seconds
#
# What happens if you forget, what does `eval()` do, and what does it not do? Aloud first, then below.

# %% [markdown] nbgrader={"grade": true, "grade_id": "05_train_vs_eval-sixty-seconds", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# Forget it, and the same input gets different answers, each from a random subnetwork and worse on
# average. eval() sets training = False on every registered submodule, nothing more. It does not reach
# F.dropout without training=self.training, attention's dropout_p, a flag of one's own, a module in a
# plain list or one added later. It is not no_grad(), which stops gradients and leaves dropout on. I call
# eval() under no_grad(), go back to train(), and test with two calls.

# %% [markdown]
# <details><summary>A model answer</summary>
#
# "Predictions become random and worse: on my digits network each evaluation without `eval()` had a
# higher error than the one with it. `eval()` flips the `training` flag of all registered modules, so it
# works for those that read the flag. I have repaired three that did not: a functional call with its
# default, attention with a fixed `dropout_p`, and a model with a flag of its own. `no_grad()` is another
# switch. And the way back matters: a validation that never returned to `train()` lost all that dropout
# gave. In a test I call the model twice and compare."
#
# </details>

# %% [markdown]
# <details><summary>Key points and red flags</summary>
#
# **Key points:** random and worse · a flag on registered submodules · functional and attention dropout do
# not see it · `eval()` and `no_grad()` are independent · restore the mode · two calls as a test.
#
# **Red flags:** "`no_grad()` turns dropout off" · "`eval()` turns off all randomness" · "eval saves
# memory for gradients" · setting p = 0 at the first evaluation · fixing the seed instead of the mode.
#
# </details>

# %% [markdown]
# ## Sources, and what comes next
#
# * [`Module.eval`](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.eval),
#   [`F.dropout`](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout.html),
#   [`F.scaled_dot_product_attention`](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html)
# * [Megatron-LM#411](https://github.com/NVIDIA/Megatron-LM/pull/411), the repair that lasted too long; the
#   other reports stand beside their hunts.
#
# Next: **07 · Ensembles**, where every mask is a network of its own.
