"""A fixed slice of the campaign: every mutant fails and is named, every right style passes.

`make zoo` does the same over many seeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import pytest
import torch

from dropout_course.checks.misconceptions import MISCONCEPTIONS
from dropout_course.checks.verdict import Outcome, Verdict
from dropout_course.course import EXERCISES
from tests.zoo.catalogue import MUTANTS, STYLES, Mutant, Style

MUTANTS_AN_EXERCISE, STYLES_AN_EXERCISE = 6, 3
DROPOUTS = ("standard_dropout", "StandardDropout", "inverted_dropout", "InvertedDropout")
# A module that wraps a wrong function is judged by the function's criteria: every fifth is enough
# here.
WRAPPING = {"StandardDropout": "standard_dropout", "InvertedDropout": "inverted_dropout"}
SHARE_OF_WRAPPED = 5

Animal = TypeVar("Animal", Mutant, Style)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def examined(animal: Mutant | Style, seed: int) -> Verdict:
    # What never ends need not be waited for; what compiles itself may, on a busy machine.
    limit = 0.3 if "never-finishes" in getattr(animal, "named", ()) else 60.0
    exercise = EXERCISES[animal.exercise]
    return exercise.examine(animal.target, np.random.default_rng(seed), time_limit=limit)


def slice_of(animals: Sequence[Animal]) -> list[Animal]:
    ids = {animal.id for animal in animals}

    def wraps(animal: Animal) -> bool:
        function = WRAPPING.get(animal.exercise)
        return f"{function}/{animal.id.partition('/')[2]}" in ids

    wrapped = [animal for animal in animals if wraps(animal)]
    left_out = {each.id for i, each in enumerate(wrapped) if i % SHARE_OF_WRAPPED}
    return [animal for animal in animals if animal.id not in left_out]


@pytest.mark.parametrize("mutant", slice_of(MUTANTS), ids=lambda mutant: mutant.id)
def test_a_mutant_fails_and_is_named(mutant: Mutant) -> None:
    verdict = examined(mutant, 0)
    assert verdict.outcome is Outcome.FAILED, f"{mutant.id} survives: {mutant.author}"
    failure = verdict.first_failure
    assert verdict.misconceptions, failure
    assert verdict.misconceptions[0] in mutant.named, failure
    assert failure is not None
    assert all((failure.called, failure.returned, failure.expected, failure.why)), failure


@pytest.mark.parametrize("style", slice_of(STYLES), ids=lambda style: style.id)
def test_a_right_style_passes(style: Style) -> None:
    verdict = examined(style, 1)
    assert verdict.passed, (verdict.first_failure, verdict.note)


# --- laws -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("exercise", EXERCISES)
def test_no_exercise_without_six_mutants_and_three_right_styles(exercise: str) -> None:
    assert sum(mutant.exercise == exercise for mutant in MUTANTS) >= MUTANTS_AN_EXERCISE
    assert sum(style.exercise == exercise for style in STYLES) >= STYLES_AN_EXERCISE


@pytest.mark.parametrize("exercise", DROPOUTS)
def test_a_dropout_has_fifty_mutants_and_fifteen_right_styles(exercise: str) -> None:
    assert sum(mutant.exercise == exercise for mutant in MUTANTS) >= 50
    assert sum(style.exercise == exercise for style in STYLES) >= 15


def test_everything_in_the_zoo_belongs_to_an_exercise_and_has_an_id_of_its_own() -> None:
    assert {animal.exercise for animal in (*MUTANTS, *STYLES)} <= set(EXERCISES)
    for animals in (MUTANTS, STYLES):
        assert [name for name, n in Counter(each.id for each in animals).items() if n > 1] == []


def test_every_name_that_a_mutant_may_get_is_a_misconception() -> None:
    assert {name for mutant in MUTANTS for name in mutant.named} <= set(MISCONCEPTIONS)


def test_a_mutant_says_in_a_sentence_who_would_write_it() -> None:
    for mutant in MUTANTS:
        assert mutant.author.endswith("."), mutant.id
        assert mutant.named, mutant.id
