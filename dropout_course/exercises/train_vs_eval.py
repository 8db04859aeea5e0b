"""Lesson 05: eval mode for a whole model, a detector of randomness, and three bugs that shipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dropout_course.checks.dropout.calls import few_values, normal
from dropout_course.checks.dropout.inside import AttentionWeights, HiddenUnits, Layout
from dropout_course.checks.dropout.repairs import judge_repair, repair_plan
from dropout_course.checks.evidence import Evidence
from dropout_course.checks.judge import Criterion, Failure, Findings, apply, raised_failure
from dropout_course.checks.layers import build
from dropout_course.checks.plan import BuiltModule, Call, Plan, Value
from dropout_course.checks.record import Record
from dropout_course.exercises.base import Exercise, Kind

LESSON = "05_train_vs_eval"
Layers = tuple[tuple[Value, ...], ...]


def _model_and_x(evidence: Evidence, name: str) -> tuple[BuiltModule, Tensor]:
    call = evidence.plan.call(name)
    given: dict[str, Value] = dict(zip(("model", "x"), call.args, strict=False))
    given |= call.kwargs
    model, x = given["model"], given["x"]
    if not (isinstance(model, BuiltModule) and isinstance(x, Tensor)):
        raise TypeError(f"step {name!r} has no model")
    return model, x


def _mode(training: bool) -> str:
    return "train mode" if training else "eval mode"


def _gradients_left_on(evidence: Evidence) -> Failure | None:
    for step in evidence.plan:
        if evidence.seen(step.name).grad_mode_changed:
            return Failure(
                evidence.called(step.name),
                "gradients are no longer recorded anywhere",
                "recorded again, as before the call",
                "gradients-left-off",
            )
    return None


def _modes_left_alone(evidence: Evidence) -> Failure | None:
    failures = {step.name: _mode_changes(evidence, step.name) for step in evidence.plan}
    changed = {name: paths for name, paths in failures.items() if paths}
    if not changed:
        return None
    shown = next(iter(changed))
    # A call that raised says something of its own only where the others are right.
    model, _ = _model_and_x(evidence, shown)
    owners = [path.rpartition(".")[0] for path in changed[shown]]
    parts = [f"submodule {owner}" if owner else "the model itself" for owner in owners]
    raised = evidence.seen(shown).error is not None
    return Failure(
        evidence.called(shown) + (", which raises" * raised),
        f"the mode was different afterwards: {', '.join(parts)}",
        f"every submodule in its own mode again (the model in {_mode(model.training)})",
        _name_modes(evidence, changed),
    )


def _mode_changes(evidence: Evidence, name: str) -> tuple[str, ...]:
    changes = evidence.seen(name).module_changes
    return tuple(path for path in changes if path.split(".")[-1] == "training")


def _name_modes(evidence: Evidence, changed: Mapping[str, tuple[str, ...]]) -> str:
    if all(evidence.seen(name).error is not None for name in changed):
        return "not-restored-after-an-error"
    models = {name: _model_and_x(evidence, name)[0] for name in changed}
    uniform = {name for name, model in models.items() if not model.switched}
    ends = {name: model.training != ("training" in changed[name]) for name, model in models.items()}
    if not uniform:
        return "modes-restored-wholesale"
    if all(not models[name].training for name in uniform):
        return "always-back-to-train"
    return "left-in-eval" if not any(ends[name] for name in uniform) else "left-in-another-mode"


def _rest_left_alone(evidence: Evidence) -> Failure | None:
    for step in evidence.plan:
        seen = evidence.seen(step.name)
        paths = [p for p in seen.module_changes if p.split(".")[-1] != "training"]
        if paths or seen.inputs_changed:
            return Failure(
                evidence.called(step.name),
                f"{', '.join(paths[:3])} changed" if paths else "x was changed",
                "parameters, buffers and x as they were",
                "changes-the-model" if paths else "changes-its-input",
            )
    return None


# --- predict ------------------------------------------------------------------------------------

NET: Layers = (
    ("linear", 8, 32),
    ("batch norm", 32),
    ("relu",),
    ("dropout", 0.5),
    ("linear", 32, 4),
)
NET_TEXT = "nn.Sequential(Linear, BatchNorm1d, ReLU, Dropout, Linear)"
DEEP: Layers = (
    ("linear", 8, 32),
    ("block", ("batch norm", 32), ("dropout", 0.5), ("functional dropout", 0.5)),
    ("linear", 32, 4),
)
DEEP_TEXT = "nn.Sequential(Linear, a block with BatchNorm1d and two dropouts, Linear)"
ANSWERED = ("first", "in_eval", "frozen", "awake", "nested", "functional", "by_name")
RAISING = ("error", "error_frozen", "error_in_eval")


def _predict_plan(rng: np.random.Generator) -> Plan:
    def model(
        layers: Layers, text: str, *switched: str, training: bool = True, other: str = ""
    ) -> BuiltModule:
        about = f"{text} in {_mode(training)}" + (
            f", its {other} in {_mode(not training)}" * bool(other)
        )
        seed = int(rng.integers(2**31))
        return BuiltModule(layers, about, seed, training=training, switched=switched)

    def call(name: str, asked: BuiltModule, *shape: int) -> Call:
        return Call(name, (asked, normal(rng, shape)), seed=int(rng.integers(2**31)), drawn=3)

    net, deep = partial(model, NET, NET_TEXT), partial(model, DEEP, DEEP_TEXT)
    frozen = partial(net, "1", other="BatchNorm1d")
    seed = int(rng.integers(2**31))
    by_name: dict[str, Value] = {"model": net(), "x": normal(rng, (4, 8))}
    ones = torch.ones(64)
    dropout = model((("dropout", 0.5),), "nn.Dropout(0.5)")
    functional = model((("functional dropout", 0.5),), "a module that calls F.dropout")
    return Plan(
        "predict",
        (
            call("first", net(), 16, 8),
            call("in_eval", net(training=False), 16, 8),
            call("frozen", frozen(), 16, 8),
            call("awake", net("3", training=False, other="Dropout"), 16, 8),
            call("nested", deep("1.0", other="inner BatchNorm1d"), 16, 8),
            Call("dropout", (dropout, ones), seed=seed),
            call("functional", functional, 8, 32),
            call("error", net(), 16, 9),
            call("error_frozen", frozen(), 16, 9),
            call("error_in_eval", net(training=False), 16, 9),
            Call("by_name", (), by_name, seed=seed),
        ),
    )


def _predictions_answer(evidence: Evidence) -> Failure | None:
    for name in (*ANSWERED, "dropout"):
        seen, expected = evidence.seen(name), _expected(evidence, name)
        if seen.error is not None:
            return raised_failure(evidence.plan, seen, "raises")
        if isinstance(seen.value, Tensor) and seen.value.shape == expected.shape:
            continue
        nothing = seen.value is None
        return Failure(
            evidence.called(name),
            "None" if nothing else "something else than the model's output",
            f"a tensor of shape {list(expected.shape)}",
            "returns-nothing" if nothing else "wrong-type",
        )
    return None


def _expected(evidence: Evidence, name: str) -> Tensor:
    model, x = _model_and_x(evidence, name)
    with torch.no_grad():
        output: Tensor = build(model).eval()(x)
    return output


def _in_eval(evidence: Evidence) -> Failure | None:
    wrong = []
    for name in (*ANSWERED, "dropout"):
        expected = _expected(evidence, name)
        found = evidence.tensor(name, expected.shape)
        seen = evidence.seen(name)
        close = torch.allclose(found, expected, rtol=1e-4, atol=1e-5)
        if not close or seen.generator_moved or seen.reseeded:
            wrong.append(name)
    if not wrong:
        return None
    seen = evidence.seen(wrong[0])
    return Failure(
        evidence.called(wrong[0]),
        "torch's global seed was set"
        if seen.reseeded
        else "another output than in eval mode"
        + (", with random numbers drawn" if seen.generator_moved else ""),
        "the output of eval mode, no random numbers drawn",
        _name_not_eval(evidence, wrong),
    )


def _name_not_eval(evidence: Evidence, wrong: list[str]) -> str:
    if any(evidence.seen(name).reseeded for name in wrong):
        return "resets-global-seed"
    if wrong == ["awake"]:
        return "trusts-the-models-own-flag"
    if set(wrong) >= {"first", "frozen", "nested", "functional", "dropout"}:
        graph = any(evidence.seen(name).saved_for_backward for name in wrong)
        return "eval-forgotten" if graph else "no-grad-is-not-eval"
    return "eval-of-some-layers-only"


def _no_gradients(evidence: Evidence) -> Failure | None:
    for name in ANSWERED:
        seen = evidence.seen(name)
        if not (seen.differentiable or seen.saved_for_backward):
            continue
        return Failure(
            evidence.called(name),
            "a result that requires a gradient"
            if seen.differentiable
            else "everything kept for a backward pass, then cut off",
            "nothing kept for a backward pass",
            "eval-is-not-no-grad" if seen.differentiable else "detached-afterwards",
        )
    return None


def _errors_pass(evidence: Evidence) -> Failure | None:
    for name in RAISING:
        if evidence.seen(name).error is None:
            return Failure(
                f"{evidence.called(name)}, for which the model raises",
                "no error",
                "the model's own error, passed on",
                "swallows-the-error",
            )
    return None


MODES_WHY = "Whoever trains on after a prediction must not train another model than before"
PREDICT_CRITERIA: tuple[Criterion[Evidence], ...] = (
    Criterion(
        "answers",
        "every call returns the model's output",
        "A prediction that is not returned is lost",
        _predictions_answer,
    ),
    Criterion(
        "eval",
        "every submodule is in eval mode while the model runs, whatever mode it came in",
        "One dropout left on makes every prediction a draw; one batch norm left on makes it depend"
        " on the rest of the batch",
        _in_eval,
    ),
    Criterion(
        "no-gradients",
        "nothing is kept for a backward pass",
        "eval() leaves gradients on: memory grows with every prediction that is kept",
        _no_gradients,
    ),
    Criterion(
        "grad-mode",
        "gradients are recorded again afterwards",
        "Training would stop learning, without an error",
        _gradients_left_on,
    ),
    Criterion("errors", "an error of the model is passed on", "A caller must know", _errors_pass),
    Criterion(
        "modes",
        "every submodule has its own mode back, also after an error",
        MODES_WHY,
        _modes_left_alone,
    ),
    Criterion(
        "untouched",
        "parameters, buffers and x are left as they were",
        "A prediction is no training step",
        _rest_left_alone,
    ),
)


def _judge_predict(plan: Plan, record: Record) -> Findings:
    return apply(PREDICT_CRITERIA, Evidence(plan, record))


# --- is_stochastic ------------------------------------------------------------------------------

# Two calls of a model that is random agree with a probability below 1e-30: 2048 elements are
# dropped or not, and each of the 192 that get faint noise, of about one unit in the last place,
# changes with a probability above 0.3.
WIDE: tuple[Value, ...] = ("linear", 6, 64)
NARROW: tuple[Value, ...] = ("linear", 64, 64)


def _wide(*inner: tuple[Value, ...]) -> Layers:
    return (WIDE, *inner, NARROW)


# name: layers, what they are called, in train mode, submodules in the other mode, the answer.
Case = tuple[Layers, str, bool, tuple[str, ...], bool]
CASES: Mapping[str, Case] = {
    "dropout": (_wide(("dropout", 0.5)), "a net with nn.Dropout", True, (), True),
    "dropout_off": (_wide(("dropout", 0.5)), "a net with nn.Dropout", False, (), False),
    "always": (
        _wide(("functional dropout always", 0.5)),
        "a net that calls F.dropout(x, 0.5)",
        False,
        (),
        True,
    ),
    "functional": (
        _wide(("functional dropout", 0.5)),
        "a net that calls F.dropout(x, 0.5, self.training)",
        True,
        (),
        True,
    ),
    "functional_off": (
        _wide(("functional dropout", 0.5)),
        "a net that calls F.dropout(x, 0.5, self.training)",
        False,
        (),
        False,
    ),
    "attention": (
        _wide(("attention dropout", 0.5)),
        "a net with scaled_dot_product_attention(dropout_p=0.5)",
        False,
        (),
        True,
    ),
    "noise": (_wide(("noise", 1.0)), "a net that adds noise", False, (), True),
    "faint": ((("noise", 1.5e-7),), "a module that adds very little noise", False, (), True),
    "plain": (_wide(("relu",)), "a net without dropout", True, (), False),
    "batch_norm": (_wide(("batch norm", 64)), "a net with BatchNorm1d", True, (), False),
    "p_zero": (_wide(("dropout", 0.0)), "a net with nn.Dropout(0.0)", True, (), False),
    "idle": (
        _wide(("idle dropout", 0.5)),
        "a net that holds an nn.Dropout and never calls it",
        True,
        (),
        False,
    ),
    "gated": (
        _wide(("gated dropout", 0.5)),
        "a net whose dropout is multiplied by a gate of 0",
        True,
        (),
        False,
    ),
    "awake": (
        _wide(("dropout", 0.5)),
        "a net with nn.Dropout, that one in train mode and the net",
        False,
        ("1",),
        True,
    ),
    "asleep": (
        _wide(("dropout", 0.5)),
        "a net with nn.Dropout, that one in eval mode and the net",
        True,
        ("1",),
        False,
    ),
}


def _always(answer: bool) -> Mapping[str, bool]:
    return dict.fromkeys(CASES, answer)


def _so(*true: str) -> Mapping[str, bool]:
    return {name: name in true for name in CASES}


_RIGHT = {name: case[4] for name, case in CASES.items()}
_IN_TRAIN = [name for name, case in CASES.items() if case[2]]
_HOLDS_DROPOUT = ("dropout", "dropout_off", "p_zero", "idle", "gated", "awake", "asleep")
_ALWAYS_ON = ("always", "attention", "noise", "faint")
_OBEYS = ("dropout", "dropout_off", "functional", "functional_off", "awake", "asleep")

# What people ask instead, and what they would answer. The order breaks ties.
BELIEFS: tuple[tuple[str, Mapping[str, bool]], ...] = (
    ("calls-made-equal", _always(False)),
    ("always-says-yes", _always(True)),
    ("answers-the-opposite", {name: not answer for name, answer in _RIGHT.items()}),
    ("looks-for-modules", _so(*_HOLDS_DROPOUT)),
    ("looks-for-modules", _so("dropout", "p_zero", "idle", "gated", "awake")),
    ("looks-for-modules", _so("dropout", "idle", "gated", "awake")),
    ("looks-for-modules", _so("dropout", "p_zero", "idle", "gated", "asleep")),
    ("looks-for-modules", _so("dropout", "p_zero", "awake")),
    ("reads-the-mode", _so(*_IN_TRAIN)),
    ("compares-with-a-tolerance", {**_RIGHT, "faint": False}),
    ("drawing-is-not-differing", {**_RIGHT, "gated": True}),
    ("switches-to-eval-first", _so(*_ALWAYS_ON)),
    ("switches-to-eval-first", _so("always", "attention", "noise")),
    ("switches-to-train-first", _so(*_ALWAYS_ON, *_OBEYS)),
    ("switches-to-train-first", _so("always", "attention", "noise", *_OBEYS)),
    (
        "compares-train-with-eval",
        _so(*_ALWAYS_ON, *_OBEYS, "batch_norm"),
    ),
    ("compares-train-with-eval", {**_RIGHT, "batch_norm": True}),
    (
        "trusts-the-models-own-flag",
        {name: answer and name in _IN_TRAIN for name, answer in _RIGHT.items()},
    ),
)


def _stochastic_plan(rng: np.random.Generator) -> Plan:
    calls = []
    for name, (layers, text, training, switched, _) in CASES.items():
        about = f"{text} in {_mode(training)}"
        model = BuiltModule(
            layers, about, int(rng.integers(2**31)), training=training, switched=switched
        )
        shape = (2, 16, 6) if name == "attention" else (32, 6)
        seed = int(rng.integers(2**31))
        calls.append(Call(name, (model, few_values(rng, shape)), seed=seed, drawn=3))
    first = calls[0].args
    calls.append(Call("by_name", (), {"model": first[0], "x": first[1]}, seed=1, drawn=3))
    return Plan("is_stochastic", tuple(calls))


def _said(evidence: Evidence, name: str) -> bool | None:
    """True or False; a tensor of one truth value is one, too. None for anything else."""
    value = evidence.value(name)
    if isinstance(value, Tensor) and value.numel() == 1 and value.dtype is torch.bool:
        return bool(value)
    return value if isinstance(value, bool) else None


def _says(evidence: Evidence) -> Failure | None:
    for step in evidence.plan:
        seen = evidence.seen(step.name)
        if seen.error is not None:
            return raised_failure(evidence.plan, seen, "raises")
        if _said(evidence, step.name) is not None:
            continue
        nothing = seen.value is None
        kind = getattr(seen.value, "type_name", type(seen.value).__name__)
        return Failure(
            evidence.called(step.name),
            "None" if nothing else f"a {kind}",
            "True or False",
            "returns-nothing" if nothing else "wrong-type",
        )
    return None


def _right(evidence: Evidence) -> Failure | None:
    said = {name: _said(evidence, name) for name in CASES}
    wrong = [name for name in CASES if said[name] is not _RIGHT[name]]
    if not wrong:
        return None
    named = (name for name, answers in BELIEFS if said == answers)
    shown = wrong[0]
    expected = _RIGHT[shown]
    return Failure(
        evidence.called(shown),
        f"{said[shown]}; {len(wrong)} of {len(CASES)} models are judged wrongly",
        f"{expected}: two calls as it stands give {'different' if expected else 'equal'} outputs",
        next(named, "wrong-about-randomness"),
    )


def _generator_left_alone(evidence: Evidence) -> Failure | None:
    for step in evidence.plan:
        seen = evidence.seen(step.name)
        if seen.reseeded or seen.generator_moved:
            return Failure(
                evidence.called(step.name),
                "torch's global seed was set"
                if seen.reseeded
                else "torch's random generator stood elsewhere afterwards",
                "the generator's state as it was before the call",
                "resets-global-seed" if seen.reseeded else "rng-state-forgotten",
            )
    return None


STOCHASTIC_CRITERIA: tuple[Criterion[Evidence], ...] = (
    Criterion(
        "answers", "every call says True or False", "A question of yes or no has two answers", _says
    ),
    Criterion(
        "right",
        "it is right about every model: dropout on, off, functional, in attention, or never called",
        "Behaviour shows what a look at the modules does not: whether two calls differ",
        _right,
    ),
    Criterion(
        "modes",
        "every submodule's mode is left as found",
        "A question must not change what it asks about",
        _modes_left_alone,
    ),
    Criterion(
        "generator",
        "the state of torch's random generator is left as found",
        "A run with the question asked must draw the same numbers as a run without",
        _generator_left_alone,
    ),
    Criterion(
        "grad-mode",
        "gradients are recorded again afterwards",
        "Training would stop learning, without an error",
        _gradients_left_on,
    ),
)


def _judge_stochastic(plan: Plan, record: Record) -> Findings:
    return apply(STOCHASTIC_CRITERIA, Evidence(plan, record))


# --- three repairs ------------------------------------------------------------------------------


def _repair(
    name: str, broken: str, layout: Layout, task: str, hints: tuple[str, str, str]
) -> Exercise:
    plan: Callable[[np.random.Generator], Plan] = partial(repair_plan, name, layout)
    judge = partial(judge_repair, layout=layout, broken=broken)
    return Exercise(name, LESSON, Kind.CLASS, 2, task, plan, judge, hints)


EXERCISES = (
    Exercise(
        id="predict",
        lesson=LESSON,
        kind=Kind.FUNCTION,
        points=3,
        task="predict(model, x): eval mode, no gradients, and everything as before afterwards",
        plan=_predict_plan,
        judge=_judge_predict,
        hints=(
            "Two switches have nothing to do with each other here: which are they? And what would"
            " model.train() at the end do to a batch norm that somebody had put into eval mode?",
            "Before: note (module, module.training) for every module. During: eval mode, no"
            " gradients. After, whatever happened: give each module its own flag back.",
            "`model.modules()` yields the model and all submodules; `model.eval()`;"
            " `with torch.no_grad():`; `try:` and `finally:` for what must happen after an error"
            " too; `module.training = ...` sets one module without its children.",
        ),
    ),
    Exercise(
        id="is_stochastic",
        lesson=LESSON,
        kind=Kind.FUNCTION,
        points=3,
        task="is_stochastic(model, x): do two calls on the same input differ?",
        plan=_stochastic_plan,
        judge=_judge_stochastic,
        hints=(
            "Which experiment would show you that a model draws random numbers, without reading a"
            " line of its code? And what does the experiment itself use up?",
            "stochastic means model(x) != model(x) in some element. Each call moves the generator"
            " on: note its state before, give it back after.",
            "`torch.get_rng_state()` and `torch.set_rng_state(state)`, or"
            " `torch.random.fork_rng()`; `torch.equal(a, b)` is exact, `torch.allclose` is not.",
        ),
    ),
    _repair(
        "RepairedFunctional",
        "functional-default-is-training",
        HiddenUnits(),
        "class RepairedFunctional(nn.Module): F.dropout that obeys the mode",
        (
            "Call the broken model twice in eval mode. Which line still draws, and how would that"
            " line know which mode the model is in?",
            "F.dropout(h, p) is F.dropout(h, p, training=True): a function has no mode of its own,"
            " somebody must hand it in.",
            "`F.dropout(..., training=...)` with `self.training`. Or an `nn.Dropout` made once, in"
            " `__init__`: it adds nothing to state_dict.",
        ),
    ),
    _repair(
        "RepairedAttention",
        "attention-drops-by-its-argument",
        AttentionWeights(),
        "class RepairedAttention(nn.Module): attention that drops in train mode only",
        (
            "scaled_dot_product_attention has no argument `training`. What is left to steer it"
            " with?",
            "Dropped with probability p in train mode, with probability 0 in eval mode: the"
            " argument is a number, and the number depends on the mode.",
            "`F.scaled_dot_product_attention(q, k, v, dropout_p=...)` with"
            " `self.p if self.training else 0.0`. The rest of forward is the broken one's.",
        ),
    ),
    _repair(
        "RepairedModes",
        "own-mode-flag",
        HiddenUnits(),
        "class RepairedModes(nn.Module): a model that hears of eval()",
        (
            "Print the attributes that change when you call model.eval(). Which one does forward"
            " ask, and who sets it?",
            "model.eval() is model.train(False), and a parent calls train(False) of its parts. Both"
            " set `training`; nobody knows of another flag.",
            "`self.training` in forward, in place of the flag; or an `nn.Dropout` as a submodule."
            " Overriding `train(self, mode=True)` works too, if it calls `super().train(mode)` and"
            " returns what that returns.",
        ),
    ),
)
