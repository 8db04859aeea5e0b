"""How long a learner waits: each check, its parts, the first one, a stored record, a whole lesson.

`make bench` prints the times, and below the table the ratios that a faster machine does not change.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dropout_course.authoring.execution import run_cells
from dropout_course.authoring.formats import read_source
from dropout_course.checks.record import record
from dropout_course.checks.store import decode, encode
from dropout_course.course import EXERCISES, LESSONS
from dropout_course.exercises.base import Exercise
from tests.zoo.generated import define, solution_cells

SOLUTIONS = Path(__file__).parents[2] / "solutions"
ROUNDS, WARM_UP = 20, 3


class Benchmark(Protocol):
    def pedantic(self, function: Callable[..., Any], **options: Any) -> Any: ...


Tell = Callable[[str, object], None]


@pytest.fixture(params=EXERCISES)
def exercise(request: pytest.FixtureRequest) -> Exercise:
    return EXERCISES[request.param]


@pytest.fixture
def target(exercise: Exercise) -> object:
    """The model solution."""
    source, prelude = solution_cells()[exercise.id]
    return define(exercise.id, prelude, source)


def median(function: Callable[[], object]) -> float:
    """The median duration of a call, in seconds."""
    durations = []
    for _ in range(WARM_UP + ROUNDS):
        start = time.perf_counter()
        function()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations[WARM_UP:])


@pytest.mark.benchmark(group="check: plan, record and judge")
def test_check(benchmark: Benchmark, exercise: Exercise, target: object) -> None:
    rng = np.random.default_rng(0)
    verdict = benchmark.pedantic(
        exercise.examine, args=(target, rng), rounds=ROUNDS, warmup_rounds=WARM_UP
    )
    assert verdict.passed


@pytest.mark.benchmark(group="re-judging a stored record")
def test_judging_a_stored_record(
    benchmark: Benchmark, exercise: Exercise, target: object, record_property: Tell
) -> None:
    plan = exercise.plan(np.random.default_rng(0))
    stored = encode(record(plan, target))
    verdict = benchmark.pedantic(
        lambda: exercise.verdict(plan, decode(stored)), rounds=ROUNDS, warmup_rounds=WARM_UP
    )
    assert verdict.passed
    record_property("summary", f"{exercise.id}: a stored record takes {len(stored):,} bytes")


@pytest.mark.benchmark(group="parts of a check")
@pytest.mark.parametrize("part", ["plan", "record", "judge"])
def test_part(benchmark: Benchmark, exercise: Exercise, target: object, part: str) -> None:
    plan = exercise.plan(np.random.default_rng(0))
    seen = record(plan, target)
    parts: dict[str, Callable[[], object]] = {
        "plan": lambda: exercise.plan(np.random.default_rng(0)),
        "record": lambda: record(plan, target),
        "judge": lambda: exercise.verdict(plan, seen),
    }
    benchmark.pedantic(parts[part], rounds=ROUNDS, warmup_rounds=WARM_UP)


@pytest.mark.benchmark(group="against torch's own dropout")
@pytest.mark.parametrize("name", ["inverted_dropout", "InvertedDropout"])
def test_judging_against_torch_dropping_as_many_elements(
    benchmark: Benchmark, name: str, record_property: Tell
) -> None:
    source, prelude = solution_cells()[name]
    target, exercise = define(name, prelude, source), EXERCISES[name]
    plan = exercise.plan(np.random.default_rng(0))
    seen = record(plan, target)
    values = [one.value for one in seen.observations.values()]
    elements = sum(value.numel() for value in values if isinstance(value, torch.Tensor))
    x = torch.ones(elements)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    benchmark.pedantic(F.dropout, args=(x,), rounds=ROUNDS, warmup_rounds=WARM_UP)
    library = median(lambda: F.dropout(x))
    recording = median(lambda: record(plan, target)) / library
    judging = median(lambda: exercise.verdict(plan, seen)) / library
    torch.set_num_threads(threads)
    record_property(
        "summary",
        f"{name}: recording takes {recording:.1f}, judging {judging:.1f} times as long as"
        f" F.dropout on the same {elements:,} elements",
    )


FIRST = """
import json, sys, time
import torch
source, prelude, name = json.load(sys.stdin)
started = time.perf_counter()
from dropout_course.course import find_exercise
imported = time.perf_counter()
namespace = {"__name__": "__main__"}
exec(prelude, namespace)
exec(source, namespace)
before = time.perf_counter()
verdict = find_exercise(name).examine(namespace[name])
assert verdict.passed
print(json.dumps([imported - started, time.perf_counter() - before]))
"""


@pytest.mark.benchmark(group="a fresh interpreter: import torch, the course, first check")
def test_first_check_in_a_fresh_interpreter(benchmark: Benchmark, record_property: Tell) -> None:
    name = "inverted_dropout"
    inside: list[list[float]] = []

    def first_check() -> None:
        done = subprocess.run(
            [sys.executable, "-c", FIRST],
            input=json.dumps([*solution_cells()[name], name]),
            capture_output=True,
            text=True,
            check=True,
        )
        inside.append(json.loads(done.stdout))

    benchmark.pedantic(first_check, rounds=5, warmup_rounds=1)
    imports, checks = zip(*inside, strict=True)
    record_property(
        "summary",
        f"{name}: after `import torch`, importing the course takes"
        f" {1e3 * statistics.median(imports):.0f} ms and the first check"
        f" {1e3 * statistics.median(checks):.0f} ms",
    )


@pytest.mark.benchmark(group="a whole lesson, start of the kernel included")
@pytest.mark.parametrize("lesson", [lesson.id for lesson in LESSONS])
def test_lesson(benchmark: Benchmark, lesson: str, tmp_path: Path) -> None:
    notebook = read_source((SOLUTIONS / f"{lesson}.py").read_text("utf-8"))
    benchmark.pedantic(run_cells, args=(notebook, tmp_path), rounds=3)
