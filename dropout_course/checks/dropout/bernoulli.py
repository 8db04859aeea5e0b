"""A mask by itself: `bernoulli_mask(shape, p, generator=...)`, planned and judged as a dropout of
ones. Shares the criteria for masks; adds what only a mask has: its values and its generator."""

from __future__ import annotations

import numpy as np
import torch

from dropout_course.checks.dropout.calls import (
    EDGE,
    EMPTY,
    LARGE,
    RATE_LEVEL,
    RATE_SHIFT,
    REPEATS,
    SHAPES,
    SMALL,
    Asked,
    random_p,
    rare_p,
)
from dropout_course.checks.dropout.evidence import DropoutEvidence
from dropout_course.checks.dropout.manners import LIBRARY, usable
from dropout_course.checks.dropout.masks import MASK_CRITERIA
from dropout_course.checks.dropout.rule import STANDARD
from dropout_course.checks.judge import Criterion, Failure, Findings, apply
from dropout_course.checks.plan import Call, GeneratorSeed, Plan, Value
from dropout_course.checks.record import Record
from dropout_course.checks.statistics import elements_needed

EXERCISE = "bernoulli_mask"
CORE = ("first", "large", "images", "again", "seed_a", "seed_b", "training_again")
GIVEN = ("given_a", "given_a_again", "given_b")


def bernoulli_plan(rng: np.random.Generator) -> Plan:
    """Plan the calls for `bernoulli_mask`: rates, shapes, edges, and a generator of its own."""

    def seed() -> int:
        return int(rng.integers(2**31))

    p, q = random_p(rng), random_p(rng)
    rows = -(-elements_needed(p, RATE_SHIFT, RATE_LEVEL) // (12 * 25 * 40))
    same = seed()
    pair: tuple[Value, ...] = ((32, 48), q)
    rare, kept = rare_p(rng), 1.0 - rare_p(rng)
    calls = [
        Call("first", ((5,), 0.2), seed=seed()),
        Call("large", (LARGE, 0.5), seed=seed()),
        Call("images", ((rows, 12, 25, 40), p), seed=seed()),
        Call("again", (SMALL, random_p(rng, above=p < 0.5)), repeats=REPEATS, seed=seed()),
        Call("rare", ((64, 96), rare), seed=seed()),
        Call("rarely_kept", ((64, 96), kept), seed=seed()),
        Call("seed_a", pair, seed=same),
        Call("seed_a_again", pair, seed=same),
        Call("seed_b", pair, seed=same + 1),
        Call("training_again", (), {"shape": (16, 24), "p": random_p(rng)}, seed=seed()),
        Call("p_zero", (EDGE, 0.0), seed=seed()),
        Call("p_one", (EDGE, 1.0), seed=seed()),
    ]
    calls += [Call(name, (shape, q), seed=seed()) for name, shape in (SHAPES | EMPTY).items()]
    for name in GIVEN:
        generator = GeneratorSeed(same + (name == "given_b"))
        calls.append(Call(name, pair, {"generator": generator}, seed=seed()))
    return Plan(EXERCISE, tuple(calls))


class MaskEvidence(DropoutEvidence):
    """A mask's calls, read as dropouts of a tensor of ones."""

    def asked(self, name: str) -> Asked:
        call = self.plan.call(name)
        given: dict[str, Value] = dict(zip(("shape", "p"), call.args, strict=False))
        given |= call.kwargs
        shape, p = given["shape"], given["p"]
        if not (isinstance(shape, tuple) and isinstance(p, float)):
            raise TypeError(f"step {name!r} is no call of {EXERCISE}")
        sizes = [size for size in shape if isinstance(size, int)]
        return Asked(torch.ones(()).expand(sizes), p, True)  # a view: ones without the memory


def _answers(evidence: DropoutEvidence) -> Failure | None:
    return usable(evidence, CORE, "raises")


def _zeros_and_ones(evidence: DropoutEvidence) -> Failure | None:
    for sample in evidence.samples(CORE):
        odd = next((value for value in (sample.low, sample.high) if value != 1.0), None)
        if odd is not None:
            return Failure(
                sample.called,
                f"a value of {odd:.4g}",
                "0 for dropped and 1 for kept, nothing else",
                "mask-already-scaled",
            )
    return None


def _edges(evidence: DropoutEvidence) -> Failure | None:
    for name, value, misconception in (
        ("p_zero", 1.0, "p-zero-not-identity"),
        ("p_one", 0.0, "p-one-not-zeros"),
    ):
        failure = usable(evidence, (name,), misconception)
        if failure is not None:
            return failure
        out = evidence.output(name)
        if not bool((out == value).all()):
            return Failure(
                evidence.called(name),
                f"{int((out != value).sum())} of {out.numel()} elements other than {value:g}",
                f"{value:g} everywhere",
                misconception,
            )
    return None


def _shapes(evidence: DropoutEvidence) -> Failure | None:
    return usable(evidence, SHAPES, "one-shape-only")


def _empty(evidence: DropoutEvidence) -> Failure | None:
    return usable(evidence, EMPTY, "empty-tensor")


def _generator(evidence: DropoutEvidence) -> Failure | None:
    failure = usable(evidence, GIVEN, "ignores-the-generator")
    if failure is not None:
        return failure
    first, again, other = (evidence.output(name) for name in GIVEN)
    seen = evidence.seen("given_a")
    called = evidence.called("given_a")
    if seen.generator_moved or not seen.given_generator_moved:
        return Failure(
            called,
            "the given generator was not used"
            if not seen.given_generator_moved
            else "torch's global generator was used as well",
            "all random numbers from the given generator",
            "ignores-the-generator",
        )
    if not torch.equal(first, again) or torch.equal(first, other):
        return Failure(
            called,
            "a mask that does not follow the generator's seed",
            "the same mask for the same seed, another one for another",
            "ignores-the-generator",
        )
    return None


def _plain(evidence: DropoutEvidence) -> Failure | None:
    if not evidence.seen("seed_a").differentiable:
        return None
    return Failure(
        evidence.called("seed_a"),
        "a mask that requires a gradient",
        "plain numbers: nothing is learned about a mask",
        "mask-in-state",
    )


CRITERIA: tuple[Criterion[DropoutEvidence], ...] = (
    Criterion(
        "answers",
        "every call returns a tensor of the given shape",
        "A mask has one number for every element",
        _answers,
    ),
    LIBRARY,
    Criterion(
        "zeros-and-ones",
        "a mask holds zeros and ones only",
        "1 means kept, 0 dropped; scaling is the next function's business",
        _zeros_and_ones,
    ),
    *(criterion for criterion in MASK_CRITERIA if criterion.id != "support"),
    Criterion(
        "edges",
        "p = 0 keeps everything, p = 1 drops everything",
        "Comparing with < or <= decides the ends",
        _edges,
    ),
    Criterion(
        "generator",
        "a given generator is the only source of random numbers",
        "With a generator of its own, one layer can be repeated without touching the others",
        _generator,
    ),
    Criterion(
        "shape",
        "any shape works, from a scalar up",
        "Dropout sits after layers of every kind",
        _shapes,
    ),
    Criterion(
        "empty", "empty shapes work", "The last batch of a filtered data set can be empty", _empty
    ),
    Criterion(
        "plain",
        "a mask requires no gradient",
        "A mask that is a parameter would be trained and saved",
        _plain,
    ),
)


def judge_bernoulli(plan: Plan, record: Record) -> Findings:
    """Judge a record of `bernoulli_plan`."""
    return apply(CRITERIA, MaskEvidence(plan, record, STANDARD))
