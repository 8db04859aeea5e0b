"""Predicting in eval mode, and asking a model whether it is random: wrong and right ones.

Knows nothing of how they are judged.
"""

from __future__ import annotations

import contextlib
import copy

import torch
from torch import nn

from tests.zoo.species import Enclosure

PREDICT = Enclosure("predict")
STOCHASTIC = Enclosure("is_stochastic")


def modes_of(model):
    return [(module, module.training) for module in model.modules()]


def give_back(modes):
    for module, training in modes:
        module.training = training


# --- predict ------------------------------------------------------------------------------------


@PREDICT.mutant("no-grad-is-not-eval", author="Believes that no_grad is what inference needs.")
def no_grad_alone(model, x):
    with torch.no_grad():
        return model(x)


@PREDICT.mutant("eval-forgotten", author="Calls the model.")
def just_called(model, x):
    return model(x)


@PREDICT.mutant("eval-is-not-no-grad", author="Believes that eval() turns gradients off.")
def eval_alone(model, x):
    modes = modes_of(model)
    try:
        return model.eval()(x)
    finally:
        give_back(modes)


@PREDICT.mutant("detached-afterwards", author="Detaches what has been recorded already.")
def detached(model, x):
    modes = modes_of(model)
    try:
        return model.eval()(x).detach()
    finally:
        give_back(modes)


@PREDICT.mutant("left-in-eval", author="Leaves the model in eval mode.")
def never_restored(model, x):
    with torch.no_grad():
        return model.eval()(x)


@PREDICT.mutant("always-back-to-train", author="Ends with model.train(), as training loops do.")
def back_to_train(model, x):
    model.eval()
    try:
        with torch.no_grad():
            return model(x)
    finally:
        model.train()


@PREDICT.mutant("modes-restored-wholesale", author="Remembers one flag for the whole model.")
def one_flag(model, x):
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return model(x)
    finally:
        model.train(training)


@PREDICT.mutant("modes-restored-wholesale", author="Remembers the direct children's flags.")
def children_only(model, x):
    training, modes = model.training, [(child, child.training) for child in model.children()]
    model.eval()
    try:
        with torch.no_grad():
            return model(x)
    finally:
        model.training = training
        for child, mode in modes:
            child.train(mode)


@PREDICT.mutant("modes-restored-wholesale", author="Restores from the inside to the outside.")
def children_first(model, x):
    modes = modes_of(model)
    model.eval()
    try:
        with torch.no_grad():
            return model(x)
    finally:
        for module, training in reversed(modes):
            module.train(training)


@PREDICT.mutant("not-restored-after-an-error", author="Has not thought of errors.")
def no_finally(model, x):
    modes = modes_of(model)
    with torch.no_grad():
        output = model.eval()(x)
    give_back(modes)
    return output


@PREDICT.mutant("swallows-the-error", author="Returns in the finally clause.")
def returns_in_finally(model, x):
    modes, output = modes_of(model), None
    with contextlib.suppress(Exception), torch.no_grad():
        output = model.eval()(x)
    give_back(modes)
    return output


@PREDICT.mutant("gradients-left-off", author="Turns gradients off with a call, for good.")
def for_good(model, x):
    modes = modes_of(model)
    torch.set_grad_enabled(False)
    try:
        return model.eval()(x)
    finally:
        give_back(modes)


@PREDICT.mutant("gradients-left-off", author="Turns them on again, but not after an error.")
def off_after_errors(model, x):
    modes = modes_of(model)
    torch.set_grad_enabled(False)
    try:
        output = model.eval()(x)
        torch.set_grad_enabled(True)
        return output
    finally:
        give_back(modes)


@PREDICT.mutant(
    "trusts-the-models-own-flag", author="Skips eval() where the model is in eval mode."
)
def only_if_training(model, x):
    modes = modes_of(model)
    if model.training:
        model.eval()
    try:
        with torch.no_grad():
            return model(x)
    finally:
        give_back(modes)


@PREDICT.mutant("eval-of-some-layers-only", author="Turns off what is called Dropout.")
def dropout_modules_only(model, x):
    modes = modes_of(model)
    for module, _ in modes:
        if isinstance(module, nn.Dropout):
            module.eval()
    try:
        with torch.no_grad():
            return model(x)
    finally:
        give_back(modes)


@PREDICT.mutant("eval-of-some-layers-only", author="Sets the model's own flag, not its children's.")
def own_flag_only(model, x):
    training, model.training = model.training, False
    try:
        with torch.no_grad():
            return model(x)
    finally:
        model.training = training


@PREDICT.mutant("resets-global-seed", author="Makes predictions repeatable with a seed.")
def seeded(model, x):
    modes = modes_of(model)
    torch.manual_seed(0)
    try:
        with torch.no_grad():
            return model.eval()(x)
    finally:
        give_back(modes)


@PREDICT.mutant("changes-the-model", author="Freezes the parameters to save memory.")
def frozen_for_good(model, x):
    modes = modes_of(model)
    try:
        return model.eval().requires_grad_(False)(x)
    finally:
        give_back(modes)


@PREDICT.mutant("returns-nothing", author="Forgets to return.")
def not_returned(model, x):
    modes = modes_of(model)
    try:
        with torch.no_grad():
            model.eval()(x)
    finally:
        give_back(modes)


@PREDICT.mutant("eval-forgotten", "no-grad-is-not-eval", author="Averages a few passes instead.")
def averaged(model, x):
    with torch.no_grad():
        return torch.stack([model(x) for _ in range(10)]).mean(dim=0)


@PREDICT.style("flags noted, finally, no_grad")
def by_the_book(model, x):
    modes = modes_of(model)
    try:
        with torch.no_grad():
            return model.eval()(x)
    finally:
        give_back(modes)


@PREDICT.style("inference_mode, modes in a dict, train(mode) from the outside to the inside")
def inference_mode(model, x):
    modes = {module: module.training for module in model.modules()}
    model.train(False)
    try:
        with torch.inference_mode():
            return model(x)
    finally:
        for module, training in modes.items():
            module.train(training)


@PREDICT.style("a copy of the model")
def of_a_copy(model, x):
    with torch.no_grad():
        return copy.deepcopy(model).eval()(x)


@PREDICT.style("a context manager and a decorator")
@torch.no_grad()
def decorated(model, x):
    with contextlib.ExitStack() as stack:
        for module in model.modules():
            stack.callback(setattr, module, "training", module.training)
            module.training = False
        return model(x)


@PREDICT.style("an error caught and raised again")
def caught(model, x):
    names = {name: module.training for name, module in model.named_modules()}
    was_recording = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    model.eval()
    try:
        output = model.forward(x)
    except Exception as error:
        raise RuntimeError(f"the model failed on {tuple(x.shape)}") from error
    finally:
        torch.set_grad_enabled(was_recording)
        for name, module in model.named_modules():
            module.training = names[name]
    return output


# --- is_stochastic ------------------------------------------------------------------------------


@contextlib.contextmanager
def same_numbers_afterwards():
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


def asks(question):
    """A mutant that asks something else, and leaves no traces."""

    def is_stochastic(model, x):
        modes = modes_of(model)
        with same_numbers_afterwards():
            answer = question(model, x)
        give_back(modes)
        return answer

    return is_stochastic


def dropouts(model):
    return [module for module in model.modules() if isinstance(module, nn.Dropout)]


def calls_differ(model, x):
    return not torch.equal(model(x), model(x))


def close_calls(model, x):
    return not torch.allclose(model(x), model(x))


def same_seed(model, x):
    torch.manual_seed(0)
    first = model(x)
    torch.manual_seed(0)
    return not torch.equal(first, model(x))


def against_eval(model, x):
    return not torch.equal(model.train()(x), model.eval()(x))


def now_against_eval(model, x):
    return not torch.equal(model(x), model.eval()(x))


def draws(model, x):
    before = torch.get_rng_state()
    model(x)
    return not torch.equal(before, torch.get_rng_state())


OTHER_QUESTIONS = (
    ("holds-dropout", lambda m, x: bool(dropouts(m)), "Searches the modules.", "looks-for-modules"),
    (
        "holds-active-dropout",
        lambda m, x: any(d.training for d in dropouts(m)),
        "Searches the modules, and asks each for its mode.",
        "looks-for-modules",
    ),
    (
        "holds-active-dropout-with-p",
        lambda m, x: any(d.training and d.p > 0 for d in dropouts(m)),
        "Searches for active dropout with a rate above 0.",
        "looks-for-modules",
    ),
    (
        "in-train-mode-with-dropout",
        lambda m, x: m.training and bool(dropouts(m)),
        "Searches the modules, and asks the model for its mode.",
        "looks-for-modules",
    ),
    (
        "direct-children",
        lambda m, x: any(isinstance(c, nn.Dropout) and c.training for c in m.children()),
        "Searches the direct children alone.",
        "looks-for-modules",
    ),
    ("in-train-mode", lambda m, x: m.training, "Asks for the mode.", "reads-the-mode"),
    ("allclose", close_calls, "Compares as one compares floats.", "compares-with-a-tolerance"),
    ("same-seed", same_seed, "Seeds both calls alike.", "calls-made-equal"),
    (
        "after-eval",
        lambda m, x: calls_differ(m.eval(), x),
        "Puts the model into eval mode first.",
        "switches-to-eval-first",
    ),
    (
        "after-train",
        lambda m, x: calls_differ(m.train(), x),
        "Puts the model into train mode first.",
        "switches-to-train-first",
    ),
    ("train-against-eval", against_eval, "Compares the modes.", "compares-train-with-eval"),
    (
        "now-against-eval",
        now_against_eval,
        "Compares the model as it stands with eval mode.",
        "compares-train-with-eval",
    ),
    (
        "generator",
        draws,
        "Watches the generator instead of the output.",
        "drawing-is-not-differing",
    ),
    (
        "equal",
        lambda m, x: torch.equal(m(x), m(x)),
        "Forgets a not.",
        "answers-the-opposite",
    ),
    ("once", lambda m, x: False, "Compares an output with itself.", "calls-made-equal"),
    ("yes", lambda m, x: m(x) is not m(x), "Compares identities.", "always-says-yes"),
    (
        "if-training",
        lambda m, x: m.training and calls_differ(m, x),
        "Saves the calls where the model is in eval mode.",
        "trusts-the-models-own-flag",
    ),
    ("text", lambda m, x: str(calls_differ(m, x)), "Answers in words.", "wrong-type"),
    ("how-far", lambda m, x: float((m(x) - m(x)).abs().max()), "Measures it.", "wrong-type"),
    ("nothing", lambda m, x: None, "Prints the answer.", "returns-nothing"),
)
for name, question, author, named in OTHER_QUESTIONS:
    STOCHASTIC.add_mutant(name, asks(question), author, named)


@STOCHASTIC.mutant("rng-state-forgotten", author="Thinks of the modes, not of the generator.")
def generator_moved(model, x):
    return calls_differ(model, x)


@STOCHASTIC.mutant("rng-state-forgotten", author="Notes the state after the calls.")
def noted_too_late(model, x):
    answer = calls_differ(model, x)
    torch.set_rng_state(torch.get_rng_state())
    return answer


@STOCHASTIC.mutant(
    "rng-state-forgotten",
    "resets-global-seed",
    author="Goes back to the seed, which is not where the generator stood.",
)
def back_to_the_seed(model, x):
    answer = calls_differ(model, x)
    torch.manual_seed(torch.initial_seed())
    return answer


@STOCHASTIC.mutant("resets-global-seed", author="Seeds before the two calls.")
def seeded_before(model, x):
    torch.manual_seed(0)
    return calls_differ(model, x)


@STOCHASTIC.mutant("calls-made-equal", author="Gives the state back between the two calls.")
def rewound(model, x):
    state = torch.get_rng_state()
    first = model(x)
    torch.set_rng_state(state)
    second = model(x)
    torch.set_rng_state(state)
    return not torch.equal(first, second)


@STOCHASTIC.mutant("left-in-eval", "left-in-another-mode", author="Ends in eval mode, to be safe.")
def ends_in_eval(model, x):
    with same_numbers_afterwards():
        answer = calls_differ(model, x)
    model.eval()
    return answer


@STOCHASTIC.mutant(
    "always-back-to-train", "left-in-another-mode", author="Ends in train mode, as after a test."
)
def ends_in_train(model, x):
    with same_numbers_afterwards():
        answer = calls_differ(model, x)
    model.train()
    return answer


@STOCHASTIC.mutant("gradients-left-off", author="Turns gradients off for the two calls, for good.")
def gradients_off(model, x):
    torch.set_grad_enabled(False)
    with same_numbers_afterwards():
        return calls_differ(model, x)


STOCHASTIC.add_style("state-noted", asks(calls_differ), "the state noted and given back")


@STOCHASTIC.style("fork_rng, no gradients")
def forked(model, x):
    with torch.random.fork_rng(), torch.no_grad():
        return bool((model(x) != model(x)).any())


@STOCHASTIC.style("the largest difference, in a finally clause")
def largest_difference(model, x):
    state = torch.random.get_rng_state()
    try:
        return (model(x) - model(x)).abs().max().item() > 0
    finally:
        torch.random.set_rng_state(state)


@STOCHASTIC.style("several calls of a copy, compared as lists")
def of_a_copy_several(model, x):
    twin = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        first, *others = [twin(x).tolist() for _ in range(4)]
    return any(other != first for other in others)


@STOCHASTIC.style("a tensor of one truth value")
def a_tensor(model, x):
    state = torch.get_rng_state()
    answer = (model(x) != model(x)).any()
    torch.set_rng_state(state)
    return answer
