"""What a learner reads for twelve typical mistakes, as text and as HTML, word by word.

After a change on purpose: `pytest tests/test_verdict_snapshots.py --snapshot-update`, and read it.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from syrupy.assertion import SnapshotAssertion

from dropout_course.checks.verdict import Verdict
from dropout_course.course import EXERCISES
from dropout_course.display import as_html, as_text
from tests.zoo.catalogue import MUTANTS

# Stateless ones: the same seed gives the same verdict in any order of tests.
TYPICAL = (
    "inverted_dropout/scale-no-scaling",
    "inverted_dropout/scale-doubled",
    "inverted_dropout/keeps-with-p",
    "inverted_dropout/drops-a-hundredth-more",
    "inverted_dropout/one-mask-for-the-batch",
    "inverted_dropout/exactly-k-of-the-tensor",
    "inverted_dropout/always-on",
    "inverted_dropout/own-generator-seeded-at-each-call",
    "inverted_dropout/backward-straight",
    "inverted_dropout/nan-at-one",
    "inverted_dropout/float-mask",
    "InvertedDropout/class-own-flag",
)
BY_ID = {mutant.id: mutant for mutant in MUTANTS}


def verdict_of(name: str) -> Verdict:
    mutant = BY_ID[name]
    return EXERCISES[mutant.exercise].examine(mutant.target, np.random.default_rng(20140615))


@pytest.mark.parametrize("name", TYPICAL)
def test_the_text_of_a_verdict(name: str, snapshot: SnapshotAssertion) -> None:
    assert as_text(verdict_of(name)) == snapshot


@pytest.mark.parametrize("name", TYPICAL)
def test_the_html_of_a_verdict(name: str, snapshot: SnapshotAssertion) -> None:
    # The style is the same on every card, and has tests of its own.
    assert (
        re.sub(r"<style>.*?</style>", "<style/>", as_html(verdict_of(name)), flags=re.S) == snapshot
    )


@pytest.mark.parametrize("name", TYPICAL)
def test_a_verdict_says_four_things_in_their_order_with_numbers_and_without_the_solution(
    name: str,
) -> None:
    lines = as_text(verdict_of(name)).splitlines()
    told = [line.split()[0] for line in lines[1:5]]
    assert told == ["called", "returned", "expected", "why"]
    assert any(character.isdigit() for line in lines[1:4] for character in line)
    for code in ("torch.rand", "bernoulli", "x * mask", "return x", "<style"):
        assert code not in "\n".join(lines[:5])
