"""nbval and the forked process come to the same verdicts, over a slice of the zoo.

A creature of the zoo goes into a cell pickled, since many are made by closures.
"""

from __future__ import annotations

import base64
import os
import pickle
import sys
from collections.abc import Iterator

import cloudpickle
import pytest

from dropout_course.checks.verdict import Verdict
from dropout_course.course import EXERCISES, LESSONS
from dropout_course.grading import judging
from dropout_course.grading.runner import Runner
from dropout_course.grading.work import Asked, CodeCell, Engine, Recorded, Status, Work
from tests.grading.submissions import bwrap_or_skip
from tests.zoo.catalogue import MUTANTS, STYLES

# One creature in so many of lessons 00 to 03; ENGINES_STEP=1 takes all, at seconds for each.
STEP = int(os.environ.get("ENGINES_STEP", "80"))
CREATURES = [
    creature
    for creature in (*MUTANTS, *STYLES)
    if EXERCISES[creature.exercise].lesson[:2] in ("00", "01", "02", "03")
][::STEP]
SEED = 20_140_601


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner(workers=1, sandbox=bwrap_or_skip()) as runner:
        yield runner


def by_value() -> None:
    """Modules of tests/ are not there where submissions run."""
    for name, module in list(sys.modules.items()):
        if name == "tests" or name.startswith("tests."):
            cloudpickle.register_pickle_by_value(module)


def cell(exercise: str, target: object) -> CodeCell | None:
    """None for what cannot be pickled: a scripted function can only be made where it is used."""
    by_value()
    try:
        data = base64.b64encode(cloudpickle.dumps(target)).decode()
    except (pickle.PickleError, TypeError):
        return None
    return CodeCell(
        f"import base64, cloudpickle\n{exercise} = cloudpickle.loads(base64.b64decode({data!r}))"
    )


def work(cells: list[CodeCell], exercises: list[str], engine: Engine, name: str = "x") -> Work:
    asked = tuple(Asked(exercise, SEED) for exercise in exercises)
    lesson = EXERCISES[exercises[0]].lesson
    return Work(name, lesson, tuple(cells), asked, timeout=120.0, engine=engine)


def recorded(runner: Runner, one: Work) -> Recorded:
    ((_, found),) = runner.run([one])
    return found


def verdicts(one: Work, found: Recorded) -> dict[str, Verdict]:
    lesson = next(lesson for lesson in LESSONS if lesson.id == one.lesson)
    seeds = {asked.exercise: asked for asked in one.asked}
    asked = [seeds.get(e.id, Asked(e.id, SEED)) for e in lesson.exercises]
    _, judged = judging.judge(lesson, asked, found.records)
    return {verdict.exercise: verdict for verdict in judged if verdict.exercise in seeds}


def by_lesson() -> dict[str, list[tuple[str, list[CodeCell], list[str]]]]:
    """Creatures of different exercises share a notebook: nbval takes seconds for each."""
    notebooks: dict[str, list[tuple[str, list[CodeCell], list[str]]]] = {}
    for creature in CREATURES:
        lesson = EXERCISES[creature.exercise].lesson
        code = cell(creature.exercise, creature.target)
        if code is None:
            continue
        pages = notebooks.setdefault(lesson, [])
        page = next((p for p in pages if creature.exercise not in p[2]), None)
        if page is None:
            page = (f"{lesson}-{len(pages)}", [], [])
            pages.append(page)
        page[1].append(code)
        page[2].append(creature.exercise)
    return notebooks


NOTEBOOKS = [page for pages in by_lesson().values() for page in pages]


@pytest.mark.parametrize(
    ("name", "cells", "exercises"), NOTEBOOKS, ids=[n for n, _, _ in NOTEBOOKS]
)
def test_both_engines_come_to_the_same_verdicts(
    runner: Runner, name: str, cells: list[CodeCell], exercises: list[str]
) -> None:
    found = {engine: work(cells, exercises, engine, name) for engine in Engine}
    judged = {engine: verdicts(one, recorded(runner, one)) for engine, one in found.items()}
    for exercise in exercises:
        fork, nbval = judged[Engine.FORK][exercise], judged[Engine.NBVAL][exercise]
        assert told(nbval) == told(fork)


def told(verdict: Verdict) -> tuple[object, ...]:
    findings = tuple((finding.criterion, finding.passed) for finding in verdict.findings)
    return verdict.outcome, verdict.points, verdict.misconceptions, findings


RIGHT = "def keep_probability(p):\n    return 1 - p"
BOTH = pytest.mark.parametrize("engine", list(Engine))


@BOTH
def test_a_cell_that_raises_is_noted_and_the_rest_is_run(runner: Runner, engine: Engine) -> None:
    cells = [CodeCell("1 / 0"), CodeCell(RIGHT)]
    one = work(cells, ["keep_probability"], engine)
    found = recorded(runner, one)
    assert found.status is Status.GRADED
    assert found.notes == ("Cell 1 raised ZeroDivisionError: division by zero",)
    assert verdicts(one, found)["keep_probability"].passed


@BOTH
def test_a_process_that_ends_itself_has_crashed(runner: Runner, engine: Engine) -> None:
    cells = [CodeCell(RIGHT), CodeCell("import os\nos._exit(7)")]
    found = recorded(runner, work(cells, ["keep_probability"], engine))
    assert found.status is Status.CRASHED
    assert not found.records
