"""A class with dropout inside, repaired: does it drop in train mode as it should, and only there?

Plans and judges; the layout says where the dropout is. The false-alarm rate of each randomised
criterion is split among the tests that it makes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dropout_course.checks.common import untouched
from dropout_course.checks.dropout.calls import random_p
from dropout_course.checks.dropout.evidence import as_numpy, percent
from dropout_course.checks.dropout.inside import Layout, Setting
from dropout_course.checks.evidence import Evidence
from dropout_course.checks.judge import (
    Criterion,
    Failure,
    Findings,
    Guarantee,
    apply,
    raised_failure,
)
from dropout_course.checks.plan import Call, Construct, Plan, Step
from dropout_course.checks.record import Record
from dropout_course.checks.statistics import (
    FALSE_ALARM,
    MISS,
    agreement_p_value,
    binomial_p_value,
    elements_needed,
    modal_count_p_value,
)

Formula = Callable[[float], float]

RATE_SHIFT = 0.02  # of the large call; the two others see COARSE_SHIFT
RATE_CALLS = ("large", "default_p", "dense")
RATE_LEVEL = FALSE_ALARM / len(RATE_CALLS)
COARSE_SHIFT = 0.25
NEIGHBOUR_CORRELATION = 0.15
SMALL = 4096  # elements of a call that only has to show whether anything is dropped

# One instance, switched to and fro: the name, the mode, and who switches.
SWITCHES = (
    ("train_by_parent", True, False),
    ("eval_by_parent", False, False),
    ("train_by_parent_again", True, False),
    ("eval_by_itself", False, True),
    ("train_by_itself", True, True),
)


def repair_plan(exercise: str, layout: Layout, rng: np.random.Generator) -> Plan:
    """Plan the calls that show what a class with dropout inside does in each mode."""
    above = bool(rng.random() < 0.5)
    p, other = random_p(rng, above=above), random_p(rng, above=not above)
    plain = layout.plain(rng, elements_needed(p, RATE_SHIFT, RATE_LEVEL))
    small, dense, natural = layout.plain(rng, SMALL), layout.dense(rng), layout.natural(rng)
    seed, shape = int(rng.integers(2**31)), layout.output(natural, 1.0).shape
    upstream, dense_upstream = _normal(rng, shape), _normal(rng, layout.output(dense, 1.0).shape)

    def made(name: str, setting: Setting, p: float | None) -> Construct:
        chosen = {} if p is None else {"p": p}
        return Construct(name, kwargs={**setting.sizes, **chosen}, state=setting.state)

    steps: list[Step] = [
        Construct("defaults"),
        Call("first", (_normal(rng, layout.default_shapes[0]),), instance="defaults", seed=seed),
        made("plain", plain, p),
        Call("large", (plain.x,), instance="plain", training=True, seed=seed + 1),
        Call("plain_inference", (small.x,), instance="plain", training=False, seed=seed + 2),
        made("half", small, None),
        Call("default_p", (small.x,), instance="half", training=True, seed=seed + 3),
        Call("carried_on", (small.x,), instance="half", training=True),  # carries on, unseeded
    ]
    steps += [
        Call(name, (small.x,), instance="half", training=mode, switches_itself=itself, seed=seed)
        for name, mode, itself in SWITCHES
    ]
    no_grad = Call("no_grad", (small.x,), instance="half", training=True, seed=seed)
    steps += [
        replace(no_grad, records_gradients=False),
        made("mixed", dense, other),
        Call("dense", (dense.x,), instance="mixed", training=True, seed=seed + 5),
        Call(
            "gradient",
            (dense.x,),
            instance="mixed",
            training=True,
            seed=seed + 6,
            upstream=dense_upstream,
        ),
        made("natural", natural, other),
        Call("inference", (natural.x,), instance="natural", training=False, seed=seed),
        Call(
            "inference_gradient",
            (natural.x,),
            instance="natural",
            training=False,
            seed=seed,
            upstream=upstream,
        ),
    ]
    return Plan(exercise, tuple(steps))


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


class RepairEvidence(Evidence):
    """The calls of `repair_plan`, read through a layout. `broken` is the misconception of the class
    as it was handed out."""

    def __init__(self, plan: Plan, record: Record, layout: Layout, broken: str) -> None:
        super().__init__(plan, record)
        self.layout, self.broken = layout, broken

    def setting(self, name: str) -> Setting:
        call = self.plan.call(name)
        made = self.plan.construct(call.instance or "")
        sizes = {key: value for key, value in made.kwargs.items() if isinstance(value, int)}
        x = call.args[0]
        if made.state is None or not isinstance(x, Tensor):
            raise TypeError(f"step {name!r} is no call of a repaired class")
        return Setting(sizes, made.state, x)

    def p(self, name: str) -> float:
        made = self.plan.construct(self.plan.call(name).instance or "")
        p = made.kwargs.get("p", 0.5)
        if not isinstance(p, float):
            raise TypeError(f"step {name!r} has no p")
        return p

    def output(self, name: str) -> Tensor:
        """Return what a call gave; `Missing` unless it is a tensor of the right shape."""
        return self.tensor(name, self.shape(name))

    def shape(self, name: str) -> torch.Size:
        """The shape that a call's output ought to have."""
        if name == "first":
            return torch.Size(self.layout.default_shapes[1])
        setting = self.setting(name)
        return setting.x.shape[:-1] + setting.state[self.layout.keys[-1]].shape

    def multipliers(self, name: str) -> Tensor:
        """What each element was multiplied by."""
        if name not in self._multipliers:
            setting = self.setting(name)
            product = self.layout.read(setting, self.output(name))
            self._multipliers[name] = product / self.layout.elements(setting)
        return self._multipliers[name]

    @cached_property
    def _multipliers(self) -> dict[str, Tensor]:
        return {}

    def kept(self, name: str) -> Tensor:
        """Which elements survived; a survivor's multiplier is 1 at least in a right answer."""
        return self.multipliers(name).abs() > 1e-3

    def drops(self, name: str) -> bool:
        return not bool(self.kept(name).all())

    def scale(self, name: str) -> float:
        kept = self.kept(name)
        return float(self.multipliers(name)[kept].mean()) if bool(kept.any()) else 0.0


def _answers(evidence: RepairEvidence) -> Failure | None:
    for step in evidence.plan:
        seen = evidence.seen(step.name)
        if seen.error is not None:
            if isinstance(step, Call) and step.switches_itself and "NoneType" in seen.error.message:
                mode = "train" if step.training else "eval"
                return Failure(
                    evidence.called(step.name),
                    f"None from .{mode}()",
                    "the module itself, as nn.Module's own returns it",
                    "switch-returns-nothing",
                )
            names = () if isinstance(step, Call) else seen.state
            if names and set(names) != set(evidence.layout.keys):
                return None  # the next criterion says which names differ
            shaped = step.name.startswith("inference")  # the one input of three dimensions
            name = "one-shape-only" if shaped else "raises"
            return raised_failure(evidence.plan, seen, name)
        if not isinstance(step, Call):
            continue
        shape = evidence.shape(step.name)
        if isinstance(seen.value, Tensor) and seen.value.shape == shape:
            continue
        nothing = seen.value is None
        return Failure(
            evidence.called(step.name),
            "None" if nothing else "something else than a tensor of the right shape",
            f"a tensor of shape {list(shape)}",
            "returns-nothing" if nothing else "wrong-type",
        )
    return None


def _state(evidence: RepairEvidence) -> Failure | None:
    found, keys = evidence.seen("defaults").state, evidence.layout.keys
    if set(found) == set(keys):
        return None
    extra = [name for name in found if name not in keys]
    lost = [name for name in keys if name not in found]
    parts = [f"{', '.join(extra)} added"] * bool(extra) + [f"{', '.join(lost)} lost"] * bool(lost)
    return Failure(
        f"{evidence.called('defaults')}.state_dict()",
        "; ".join(parts),
        f"{', '.join(keys)}",
        "state-dict-differs",
    )


def _switching(evidence: RepairEvidence) -> Failure | None:
    wrong = [name for name, mode, _ in SWITCHES if evidence.drops(name) is not mode]
    if not wrong:
        return None
    name = wrong[0]
    training = evidence.plan.call(name).training
    by = "its own" if evidence.plan.call(name).switches_itself else "a parent's"
    switch = f"after {by} .{'train' if training else 'eval'}()"
    share = float((~evidence.kept(name)).double().mean())
    return Failure(
        f"{evidence.called(name)}, {switch}",
        f"{percent(share)} of the {evidence.layout.element} dropped",
        f"{percent(evidence.p(name))} dropped, as in train mode"
        if training
        else "none dropped: the module is in eval mode",
        _name_switching(evidence, wrong),
        why=_why_switching(evidence),
    )


def _why_switching(evidence: RepairEvidence) -> str:
    """A better reason than who switched, where no switch has any effect."""
    dropping = [evidence.drops(name) for name, _, _ in SWITCHES]
    if all(dropping):
        return "The same request must get the same answer, and from the whole model"
    return "" if any(dropping) else "A model that trains without dropout is another model"


def _name_switching(evidence: RepairEvidence, wrong: list[str]) -> str:
    dropping = [evidence.drops(name) for name, _, _ in SWITCHES]
    if all(dropping):
        return evidence.broken if evidence.drops("no_grad") else "no-grad-is-not-eval"
    if not any(dropping):
        return "never-drops"
    if len(wrong) == len(SWITCHES):
        return "modes-swapped"
    if "eval_by_parent" in wrong and "eval_by_itself" not in wrong:
        return "eval-overridden-alone"
    return "never-returns-to-train" if not dropping[2] else "modes-mixed-up"


def _inference(evidence: RepairEvidence) -> Failure | None:
    plain = evidence.multipliers("plain_inference")
    if _computes_right(evidence) and torch.allclose(plain, torch.ones(()), rtol=1e-4):
        return None
    ratio = float(plain.reshape(-1)[0])
    scaled = abs(ratio - 1.0) > 1e-3 and torch.allclose(plain, plain.reshape(-1)[0], rtol=1e-3)
    return Failure(
        evidence.called("plain_inference" if scaled else "inference"),
        f"{evidence.layout.element} multiplied by {ratio:.4g}" if scaled else "other numbers",
        "what the same weights give without dropout",
        "scales-at-inference" if scaled else "computes-something-else",
    )


def _computes_right(evidence: RepairEvidence) -> bool:
    expected = evidence.layout.output(evidence.setting("inference"), 1.0)
    return torch.allclose(evidence.output("inference"), expected, rtol=1e-3, atol=1e-4)


def _quiet(evidence: RepairEvidence) -> Failure | None:
    for name in ("plain_inference", "eval_by_parent", "eval_by_itself", "inference"):
        seen = evidence.seen(name)
        if seen.generator_moved or seen.other_generators:
            return Failure(
                evidence.called(name),
                "random numbers were drawn",
                "no random numbers drawn in eval mode",
                "draws-at-inference",
            )
    return None


def _place(evidence: RepairEvidence) -> Failure | None:
    """Every element is dropped or multiplied by one number, and nothing else is touched.

    Exact up to 960 fair coins that all show the same: 0.85^480 < 1e-33.
    """
    kept = evidence.kept("dense")
    multipliers = evidence.multipliers("dense")[kept]
    if multipliers.numel() == 0:
        return None  # the rate tells
    low, high = float(multipliers.min()), float(multipliers.max())
    setting, output = evidence.setting("dense"), evidence.output("dense")
    once, again = evidence.layout.read(setting, output), evidence.layout.read_again(setting, output)
    seen = ""
    if high - low > 1e-2 * abs(high):
        seen = f"{evidence.layout.element} multiplied by anything from {low:.3g} to {high:.3g}"
    elif not torch.allclose(once, again, rtol=1e-3, atol=1e-6):
        seen = "outputs of one and the same element, one of them dropped and the other not"
    if not seen:
        return None
    if not evidence.seen("inference").generator_moved and not _computes_right(evidence):
        return _inference(evidence)  # dropout or not, it computes something else
    return Failure(
        evidence.called("dense"),
        seen,
        f"each of the {evidence.layout.element} dropped or multiplied by one number, nothing else"
        " dropped",
        "dropout-in-another-place",
    )


def _rate(evidence: RepairEvidence) -> Failure | None:
    counts = {name: evidence.kept(name) for name in RATE_CALLS}

    def fits(name: str, rate: float) -> bool:
        kept = counts[name]
        return binomial_p_value(int(kept.sum()), kept.numel(), 1.0 - rate) >= RATE_LEVEL

    wrong = [name for name in RATE_CALLS if not fits(name, evidence.p(name))]
    if not wrong:
        return None
    shown = wrong[0]
    beliefs: dict[str, Formula] = {
        "never-drops": lambda p: 0.0,
        "p-read-as-keep": lambda p: 1.0 - p,
        "ignores-p": lambda p: 0.5,
        "drops-everything": lambda p: 1.0,
    }
    named = (
        belief
        for belief, rate in beliefs.items()
        if all(fits(name, rate(evidence.p(name))) for name in RATE_CALLS)
    )
    dropped = 1.0 - float(counts[shown].double().mean())
    return Failure(
        evidence.called(shown),
        f"{percent(dropped)} of {counts[shown].numel():,} {evidence.layout.element} dropped",
        f"{percent(evidence.p(shown))} dropped",
        next(named, "rate-off"),
    )


def _scale(evidence: RepairEvidence) -> Failure | None:
    points = [(evidence.p(name), evidence.scale(name)) for name in RATE_CALLS]

    def off(formula: float, scale: float) -> bool:
        return abs(scale - formula) > 1e-3 * formula

    wrong = [(p, scale) for p, scale in points if off(1.0 / (1.0 - p), scale)]
    if not wrong:
        return None
    beliefs: dict[str, Formula] = {
        "no-scaling": lambda p: 1.0,
        "divided-by-p": lambda p: 1.0 / p,
        "scaled-by-keep-prob": lambda p: 1.0 - p,
        "scaled-by-p": lambda p: p,
        "scaled-twice": lambda p: 1.0 / (1.0 - p) ** 2,
        "hard-coded-two": lambda p: 2.0,
    }
    named = (n for n, formula in beliefs.items() if not any(off(formula(p), s) for p, s in points))
    p, scale = wrong[0]
    shown = next(name for name in RATE_CALLS if evidence.p(name) == p)
    return Failure(
        evidence.called(shown),
        f"survivors multiplied by {scale:.4g}",
        f"{1.0 / (1.0 - p):.4g}, which is 1 / (1 - p)",
        next(named, "wrong-scale"),
    )


def _fresh(evidence: RepairEvidence) -> Failure | None:
    """Exact: two masks of 4096 elements at p = 1/2 are equal with a probability of 2^-4096."""
    reseeded = any(evidence.seen(name).reseeded for name in ("default_p", "carried_on"))
    if not reseeded and not torch.equal(evidence.kept("default_p"), evidence.kept("carried_on")):
        return None
    if not evidence.drops("carried_on"):
        return None  # the rate tells
    return Failure(
        f"{evidence.called('carried_on')}, twice",
        "torch's global seed was set by the call" if reseeded else "twice the same mask",
        "a new mask on every call, and the seed left alone",
        "resets-global-seed" if reseeded else "mask-cached",
    )


def _independent(evidence: RepairEvidence) -> Failure | None:
    kept = as_numpy(evidence.kept("large").float()) > 0
    survivors, q = int(kept.sum()), 1.0 - evidence.p("large")
    if survivors in (0, kept.size):
        return None  # the rate tells
    if binomial_p_value(survivors, kept.size, q) < RATE_LEVEL:
        q = survivors / kept.size  # a wrong rate is named as that alone
    pairs = [_pairs(kept, axis) for axis in range(kept.ndim)]
    tests = kept.ndim + 1  # and one for the counts
    p_values = [tests * agreement_p_value(first, second, q) for first, second in pairs]
    if min(p_values) >= FALSE_ALARM:
        return _counts(evidence, kept, q, tests)
    shared = [axis for axis, (first, second) in enumerate(pairs) if bool((first == second).all())]
    axis = shared[0] if shared else int(np.argmin(p_values))
    first, second = pairs[axis]
    return Failure(
        evidence.called("large"),
        f"neighbours along dimension {axis} share their fate in"
        f" {percent(float((first == second).mean()))} of the pairs",
        f"one independent draw for each of the {evidence.layout.element}",
        _name_shared(axis, kept.ndim) if shared else "neighbours-correlated",
    )


def _counts(
    evidence: RepairEvidence, kept: NDArray[np.bool_], q: float, tests: int
) -> Failure | None:
    """The number of survivors in a row varies: it is never always the same."""
    row = kept.shape[-1]
    counts = np.count_nonzero(kept.reshape(-1, row), axis=1)
    if tests * modal_count_p_value(counts, row, q) >= FALSE_ALARM:
        return None
    return Failure(
        evidence.called("large"),
        f"{int(np.median(counts))} of {row} kept in nearly every row",
        "a number that is random itself",
        "exact-count",
    )


def _pairs(kept: NDArray[np.bool_], axis: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Split into disjoint pairs of neighbours along an axis."""
    along = np.moveaxis(kept, axis, 0)
    even = len(along) // 2 * 2
    return along[0:even:2], along[1:even:2]


def _name_shared(axis: int, dims: int) -> str:
    if axis == 0:
        return "mask-shared-across-batch"
    # The same for all queries of an attention: what was dropped are the values.
    return "mask-shared-across-features" if axis == dims - 1 else "dropout-in-another-place"


def _no_grad(evidence: RepairEvidence) -> Failure | None:
    if evidence.drops("no_grad"):
        return None
    return Failure(
        evidence.called("no_grad"),
        "nothing dropped",
        f"{percent(evidence.p('no_grad'))} dropped: the module is in train mode",
        "no-grad-is-not-eval",
    )


def _flag(evidence: RepairEvidence) -> Failure | None:
    for name, mode, _ in SWITCHES:
        if evidence.seen(name).in_training is not mode:
            return Failure(
                evidence.called(name),
                f"training is {not mode} afterwards",
                f"training is {mode}, as the switch says",
                "mode-not-passed-on",
            )
    return None


def _gradients(evidence: RepairEvidence) -> Failure | None:
    for name in ("gradient", "inference_gradient"):
        expected = _expected_gradient(evidence, name)
        seen = evidence.seen(name)
        found = seen.gradients[0] if seen.gradients else None
        called = f"{evidence.called(name)}, then backward"
        if found is None:
            at_inference = name == "inference_gradient"
            return Failure(
                called,
                "no gradient for x",
                "a gradient, in eval mode as well" if at_inference else "a gradient",
                "eval-is-not-no-grad" if at_inference else "gradient-detached",
            )
        size = float(expected.abs().max())
        if not torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * size):
            return Failure(
                called,
                "another gradient than the output has",
                "the derivative of what was computed, through the same mask",
                "gradient-other-mask",
            )
    return None


def _expected_gradient(evidence: RepairEvidence, name: str) -> Tensor:
    setting, upstream = evidence.setting(name), evidence.plan.call(name).upstream
    multipliers = 1.0 if name == "inference_gradient" else evidence.multipliers(name)
    if upstream is None:
        raise ValueError(f"step {name!r} asks for no gradient")
    x = setting.x.clone().requires_grad_()
    with torch.enable_grad():
        loss = (evidence.layout.output(replace(setting, x=x), multipliers) * upstream).sum()
        return torch.autograd.grad(loss, x)[0]


def repair_criteria(layout: Layout) -> tuple[Criterion[RepairEvidence], ...]:
    """The criteria of a repaired class, in the order in which they are told."""
    elements = layout.element
    return (
        Criterion(
            "answers",
            "every call returns a tensor of the right shape, in both modes",
            "The repaired class takes the broken one's place in the model",
            _answers,
        ),
        Criterion(
            "state",
            "state_dict has the names that it had",
            "Checkpoints of the broken class must load: its weights were trained",
            _state,
        ),
        Criterion(
            "place",
            f"in train mode the {elements} are dropped, and nothing else",
            "Dropout of something else trains another model",
            _place,
        ),
        Criterion(
            "switching",
            "train and eval switch dropout on and off, by the module itself and through a parent",
            "A parent calls train(mode) of its parts, whatever eval() of theirs would do",
            _switching,
        ),
        Criterion(
            "inference",
            "in eval mode it computes what the weights say, nothing dropped or scaled",
            "Inverted dropout leaves nothing to do at inference",
            _inference,
        ),
        Criterion(
            "quiet",
            "no random numbers are drawn in eval mode",
            "Drawing costs time, and shifts every random number that is drawn afterwards",
            _quiet,
        ),
        Criterion(
            "independent",
            f"each of the {elements} has a draw of its own",
            "Units that always go together can still rely on each other",
            _independent,
            Guarantee(
                "exact binomial tests of agreeing neighbours along every dimension, and of the most"
                " frequent number of survivors in a row (Bonferroni)",
                FALSE_ALARM,
                f"a correlation of {NEIGHBOUR_CORRELATION} between neighbours; exactly k dropped in"
                " every row",
                MISS,
            ),
        ),
        Criterion(
            "rate",
            f"in train mode each of the {elements} is dropped with probability p",
            "A repair that trains with another rate changes the model",
            _rate,
            Guarantee(
                f"exact two-sided binomial tests, {len(RATE_CALLS)} of them (Bonferroni)",
                FALSE_ALARM,
                f"a rate that is off by {RATE_SHIFT}; by {COARSE_SHIFT} at the default p",
                MISS,
            ),
        ),
        Criterion(
            "scale",
            "survivors are multiplied by 1 / (1 - p)",
            "Without the scale the next layer sees other sums in training than at inference",
            _scale,
        ),
        Criterion(
            "fresh",
            "every call in train mode draws a new mask",
            "Every training step must meet another subnetwork",
            _fresh,
        ),
        Criterion(
            "no-grad",
            "torch.no_grad() does not turn dropout off",
            "Gradients and dropout have a switch each",
            _no_grad,
        ),
        Criterion(
            "flag",
            "training says the mode",
            "Other code asks `training`: batch norm, a logger, the next reader",
            _flag,
        ),
        Criterion(
            "gradient",
            "gradients reach x in both modes",
            "Saliency maps and adversarial examples differentiate a net in eval mode",
            _gradients,
        ),
        Criterion(
            "in-place",
            "x is left as it was",
            "Somebody else may still need x",
            untouched("x was changed", "x as it was"),
        ),
    )


def judge_repair(plan: Plan, record: Record, layout: Layout, broken: str) -> Findings:
    """Judge a record of `repair_plan`; `broken` names what the class did as it was handed out."""
    return apply(repair_criteria(layout), RepairEvidence(plan, record, layout, broken))
