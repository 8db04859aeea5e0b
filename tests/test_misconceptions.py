"""The misconceptions: exactly those that the judge can name, each said in full."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import dropout_course
from dropout_course.checks.misconceptions import (
    APPLIED_SCALES,
    DROP_RATES,
    INFERENCE_SCALES,
    MISCONCEPTIONS,
    SURVIVOR_SCALES,
    explanations,
)
from dropout_course.course import LESSONS

PACKAGE = Path(dropout_course.__file__).parent
DEFINED_IN = PACKAGE / "checks" / "misconceptions.py"
SOURCES = sorted([*(PACKAGE / "checks").rglob("*.py"), *(PACKAGE / "exercises").rglob("*.py")])
BELIEFS = (*SURVIVOR_SCALES, *APPLIED_SCALES, *DROP_RATES, *INFERENCE_SCALES)
ID = re.compile(r"[a-z]+(-[a-z0-9]+)+|raises")


def strings_of(path: Path) -> Iterator[str]:
    """The texts in a module that look like ids, docstrings left out."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(value, str) and ID.fullmatch(value):
            yield value


def criteria_of(path: Path) -> Iterator[str]:
    """The ids of criteria and findings in a module: the other things that look so."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        function = node.func.value if isinstance(node.func, ast.Subscript) else node.func
        if isinstance(function, ast.Name) and function.id in ("Criterion", "Finding"):
            named = [word.value for word in node.keywords if word.arg == "criterion"]
            for argument in (*node.args[:1], *named):
                if isinstance(argument, ast.Constant):
                    yield str(argument.value)


OTHER = {"site-packages"}


def named_in_code() -> set[str]:
    named: set[str] = {belief.misconception for belief in BELIEFS}
    for path in SOURCES:
        if path != DEFINED_IN:
            named |= set(strings_of(path)) - set(criteria_of(path)) - OTHER
    return named


def test_every_id_that_the_judge_names_is_a_misconception() -> None:
    assert sorted(named_in_code() - set(MISCONCEPTIONS)) == []


def test_every_misconception_can_be_named_by_the_judge() -> None:
    everything = {belief.misconception for belief in BELIEFS}
    everything |= {text for path in SOURCES if path != DEFINED_IN for text in strings_of(path)}
    assert sorted(set(MISCONCEPTIONS) - everything) == []


@pytest.mark.parametrize("name", MISCONCEPTIONS)
def test_a_misconception_is_said_in_full(name: str) -> None:
    each = MISCONCEPTIONS[name]
    assert each.id == name
    assert each.name
    assert not each.name.endswith(".")
    for sentence in (each.looks_like, each.why_believed):
        assert sentence.endswith(".")
        assert len(sentence) <= 200
    # It is shown after "Look at:", with the lesson behind it.
    assert each.experiment
    assert not each.experiment.endswith(".")
    assert each.experiment.count("`") % 2 == 0
    assert len(each.experiment) <= 160


@pytest.mark.parametrize("name", MISCONCEPTIONS)
def test_a_misconception_is_treated_in_a_lesson_of_the_course(name: str) -> None:
    assert MISCONCEPTIONS[name].lesson in {lesson.id for lesson in LESSONS}


def test_no_two_misconceptions_have_the_same_name() -> None:
    names = [each.name for each in MISCONCEPTIONS.values()]
    assert len(set(names)) == len(names)


def test_a_formula_is_told_apart_from_every_other_by_two_rates() -> None:
    """At two values of p such as a plan draws, one formula never explains another's numbers."""
    for beliefs in (SURVIVOR_SCALES, INFERENCE_SCALES, APPLIED_SCALES):
        for belief in beliefs:
            points = [(p, belief.formula(p)) for p in (0.22, 0.73)]
            found = explanations(
                beliefs, lambda f, points=points: all(abs(f(p) - y) < 1e-3 for p, y in points)
            )
            assert found == (belief,)


def test_a_rate_of_one_minus_p_has_two_explanations() -> None:
    found = explanations(DROP_RATES, lambda rate: abs(rate(0.2) - 0.8) < 1e-9)
    assert {each.misconception for each in found} == {"p-read-as-keep", "mask-turned-round"}
