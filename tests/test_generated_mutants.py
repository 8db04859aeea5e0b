"""Every mechanical change of a model solution is a wrong answer, unless it is listed here as none.

No sampling: each mutant of each exercise is examined, with fixed seeds, until one check rejects it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from dropout_course.course import EXERCISES
from tests.zoo.generated import GeneratedMutant, define, generated_mutants, solution_cells

SEEDS = range(3)  # a mutant that is wrong passes none of them

# Statements of the solutions that several equivalent changes start from.
APPLIED = "return activations * mask.to(activations.dtype) / keep_prob"
DRAWN = "return (uniform < 1 - p).to(torch.get_default_dtype())"
KEPT = "kept = torch.rand(x.shape, device=x.device)"
REFUSED = "raise ValueError(f'p must lie in [0, 1], not {p}')"
SPLIT = "q, k, v = split.permute(2, 0, 3, 1, "
MIXED = "output: torch.Tensor = self.out(mixed.transpose("
NUMBERS = "numbers = torch.arange(2 ** n)"
BITS = "numbers >> torch.arange(n) & 1"
WEIGHTED = "return (1 - p) ** kept * p ** ("
BACKWARD = "return grad_output * mask.to(grad_output.dtype) / (1 - p)"

# Changes after which the solution is still right, by exercise: reason -> `before -> after`.
EQUIVALENT: dict[str, dict[str, tuple[str, ...]]] = {
    "apply_inverted_mask": {
        "bool, integer and the activations' own dtype multiply to the activations' dtype": (
            f"{APPLIED} -> return activations * mask / keep_prob",
            f"{APPLIED} -> return activations * mask.to() / keep_prob",
            f"{APPLIED} -> return activations * mask.to(activations) / keep_prob",
            f"{APPLIED} -> return activations * mask.to(activations.device) / keep_prob",
            f"{APPLIED} -> return activations * mask.to(mask.dtype) / keep_prob",
        ),
    },
    "bernoulli_mask": {
        "booleans are zeros and ones too: a mask of any dtype is accepted": (
            f"{DRAWN} -> return uniform < 1 - p",
            f"{DRAWN} -> return (uniform < 1 - p).to()",
        ),
        "a uniform number equals 1 - p once in 2^24 draws": (
            f"{DRAWN} -> return (uniform <= 1 - p).to(torch.get_default_dtype())",
        ),
    },
    "inverted_dropout": {
        "p is at most 1": ("if p == 1: -> if p >= 1:",),
        "a uniform number equals 1 - p once in 2^24 draws": (f"{KEPT} < 1 - p -> {KEPT} <= 1 - p",),
    },
    "InvertedDropout": {
        "the exception is demanded, its message is not": (f"{REFUSED} -> raise ValueError()",),
    },
    "dropout_backward": {
        "bool and the gradient's own dtype multiply to the gradient's dtype": (
            f"{BACKWARD} -> return grad_output * mask / (1 - p)",
            f"{BACKWARD} -> return grad_output * mask.to() / (1 - p)",
            f"{BACKWARD} -> return grad_output * mask.to(grad_output) / (1 - p)",
            f"{BACKWARD} -> return grad_output * mask.to(grad_output.device) / (1 - p)",
            f"{BACKWARD} -> return grad_output * mask.to(mask.dtype) / (1 - p)",
        ),
    },
    "is_stochastic": {
        "equality is symmetric": (
            "return not torch.equal(first, second) -> return not torch.equal(second, first)",
        ),
    },
    "RepairedAttention": {
        "dimension -1 is the last of five": (f"{SPLIT}4) -> {SPLIT}-1)",),
        "exchanging two dimensions is symmetric": (
            f"{MIXED}1, 2).flatten(2)) -> {MIXED}2, 1).flatten(2))",
        ),
    },
    "all_masks": {
        "dimension -1 is the one after the last": (
            f"{NUMBERS}.unsqueeze(1) -> {NUMBERS}.unsqueeze(-1)",
        ),
        "a mask of any dtype is accepted": (f"return ({BITS}).float() -> return {BITS}",),
    },
    "mask_probabilities": {
        "dimension -1 is the last of two": (
            "kept = masks.sum(dim=1) -> kept = masks.sum(dim=-1)",
            f"{WEIGHTED}masks.shape[1] - kept) -> {WEIGHTED}masks.shape[-1] - kept)",
        ),
    },
}


def survives(mutant: GeneratedMutant) -> bool:
    """Whether every check passes. A cell that raises when it is run defines nothing to check."""
    try:
        target = mutant.build()
    except Exception:  # noqa: BLE001 - changed code may raise anything
        return False
    exercise = EXERCISES[mutant.exercise]
    return all(exercise.examine(target, np.random.default_rng(seed)).passed for seed in SEEDS)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("exercise", EXERCISES)
def test_every_generated_mutant_is_killed_unless_it_is_equivalent(
    exercise: str, record_property: Callable[[str, object], None]
) -> None:
    mutants = generated_mutants(exercise)
    reasons = EQUIVALENT.get(exercise, {})
    equivalent = {change for changes in reasons.values() for change in changes}

    survivors = {mutant.change for mutant in mutants if survives(mutant)}

    wrong = len(mutants) - len(equivalent)
    killed = wrong - len(survivors - equivalent)
    record_property(
        "summary",
        f"{exercise}: {killed} of {wrong} generated mutants killed ({killed / wrong:.0%}),"
        f" {len(equivalent)} equivalent",
    )
    assert not survivors - equivalent, "the judge accepts these: mend it, or list why"
    assert not equivalent - survivors, "listed as equivalent, but killed or no longer generated"


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_unchanged_solution_passes(exercise: str) -> None:
    source, prelude = solution_cells()[exercise]
    target = define(exercise, prelude, source)
    assert EXERCISES[exercise].examine(target, np.random.default_rng(0)).passed


@pytest.mark.parametrize("exercise", EXERCISES)
def test_a_mutants_name_is_its_own(exercise: str) -> None:
    changes = [mutant.change for mutant in generated_mutants(exercise)]
    assert len(changes) >= 10
    assert len(set(changes)) == len(changes)
