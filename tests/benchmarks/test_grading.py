"""Grading lesson 03 against nbgrader and nbval, two workers against one, regrade, 10,000.

`make bench` prints every figure. By default it is small; the sizes of the full setting are
GRADING_SUBMISSIONS=300 GRADING_PEERS=20 GRADING_GENERATED=10000. "Per core" is measured, not
computed: a grader and all its processes are bound to one core, its peers to the same.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from nbgrader.api import Gradebook as NbgraderGradebook

from dropout_course.course import find_lesson
from dropout_course.grading import release
from dropout_course.grading.gradebook import FILE, Entry, Gradebook
from dropout_course.grading.pipeline import Options, Releases, grade
from dropout_course.grading.regrading import regrade
from dropout_course.grading.reports import Reports
from dropout_course.grading.runner import Runner
from dropout_course.grading.sandbox import choose
from tests.grading.material import ROOT, cell_of, code, hand_in, handed_out, solved

LESSON = find_lesson("03")
NAME = f"{LESSON.id}.ipynb"
SUBMISSIONS = int(os.environ.get("GRADING_SUBMISSIONS", "40"))
PEERS = int(os.environ.get("GRADING_PEERS", "4"))
GENERATED = int(os.environ.get("GRADING_GENERATED", "400"))
SETTLED = min(500, GENERATED // 2)
LEAST_OVER_NBGRADER, LEAST_OVER_NBVAL, LEAST_OF_TWO, LEAST_REGRADED = 25.0, 3.0, 1.8, 50.0
MOST_OF_A_RECORD, MOST_OF_A_SUBMISSION = 1_000_000, 1_000_000
FLAT, LINEAR = 0.10, 0.10
LONG_ENOUGH = 2000  # in a minute or two, whatever else the machine does decides


class Quiet:
    """What `grade` does when a submission is stored: writes its page."""

    def __init__(self, folder: Path) -> None:
        self.reports = Reports(folder)

    def found(self, submissions: int) -> None: ...

    def done(self, entry: Entry | None) -> None:
        if entry is not None:
            self.reports.write_feedback(entry)


@contextmanager
def on_cores(number: int) -> Iterator[None]:
    """Bind this process, and with it all that it starts, to so many cores."""
    before = os.sched_getaffinity(0)
    if number > len(before):
        pytest.skip(f"this machine has fewer than {number} cores")
    os.sched_setaffinity(0, set(sorted(before)[:number]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def variants() -> list[Any]:
    """What students hand in: all solved, one exercise wrong, one left out, nothing done."""
    wrong = solved(LESSON)
    stub = cell_of(wrong, "inverted_dropout")
    stub["source"] = (
        "".join(stub["source"]).replace("/ (1 - p)", "/ p").replace("/ (1.0 - p)", "/ p")
    )
    partly = solved(LESSON)
    cell_of(partly, "dropout_backward")["source"] = cell_of(handed_out(LESSON), "dropout_backward")[
        "source"
    ]
    return [solved(LESSON), wrong, partly, handed_out(LESSON)]


def class_of(folder: Path, number: int) -> Path:
    kinds = variants()
    for place in range(number):
        hand_in(folder, f"student{place:05}", kinds[place % len(kinds)], NAME)
    return folder


@dataclass(frozen=True)
class Run:
    """Seconds from beginning to end, and from the first submission stored to the last."""

    seconds: float
    folder: Path


def graded(submissions: Path, out: Path, workers: int) -> Run:
    """What `dropout-course grade` does, from starting the workers to the last page."""
    start = time.perf_counter()
    with (
        Gradebook(out) as gradebook,
        Runner(workers=workers, sandbox=choose("auto")) as runner,
    ):
        watcher = Quiet(out)
        releases = Releases(release.current(), {})
        grade(submissions, gradebook, releases, runner, Options(), watcher)
        watcher.reports.write(gradebook)
    return Run(time.perf_counter() - start, out)


@pytest.fixture(scope="module")
def submissions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_of(tmp_path_factory.mktemp("class"), SUBMISSIONS)


@pytest.fixture(scope="module")
def one_core(submissions: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    with on_cores(1):
        return graded(submissions, tmp_path_factory.mktemp("one"), 1)


def tell(record_property: Any, text: str) -> None:
    print(text)
    record_property("summary", text)


def test_grading_is_faster_than_its_peers_on_one_core(
    benchmark: Any, record_property: Any, submissions: Path, one_core: Run, tmp_path: Path
) -> None:
    each = one_core.seconds / SUBMISSIONS
    with on_cores(1):
        nbgrader = nbgrader_autograde(tmp_path / "nbgrader", submissions)
        nbval = warmed_nbval(tmp_path / "nbval", submissions)
        fresh = fresh_nbval(tmp_path / "fresh", submissions)
    tell(
        record_property,
        f"lesson 03 on one core: {each:.3f} s a submission ({SUBMISSIONS}, start and pages "
        f"included); nbgrader autograde {nbgrader:.2f} s, {nbgrader / each:.0f}x; nbval with "
        f"warmed kernels {nbval:.2f} s, {nbval / each:.1f}x; nbval {fresh:.2f} s, "
        f"{fresh / each:.0f}x ({PEERS} each)",
    )
    benchmark.pedantic(lambda: None, rounds=1)
    assert nbgrader / each >= LEAST_OVER_NBGRADER
    assert nbval / each >= LEAST_OVER_NBVAL


def nbgrader_autograde(folder: Path, submissions: Path) -> float:
    """Seconds a submission of `nbgrader autograde` over the same notebooks."""
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": os.pathsep.join([scripts, os.environ["PATH"]])}

    def command(*arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "nbgrader", *arguments],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
        )

    source = folder / "source" / LESSON.id
    source.mkdir(parents=True)
    shutil.copy(ROOT / "solutions" / NAME, source)
    command("generate_assignment", LESSON.id)
    for student in chosen(submissions):
        target = folder / "submitted" / student.name / LESSON.id
        target.mkdir(parents=True)
        shutil.copy(student / NAME, target)
    start = time.perf_counter()
    command("autograde", LESSON.id)
    seconds = time.perf_counter() - start
    with NbgraderGradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        assert len(gradebook.assignment_submissions(LESSON.id)) == PEERS
    return seconds / PEERS


def chosen(submissions: Path) -> list[Path]:
    """As many as the peers are given; all kinds are among them."""
    return sorted(submissions.iterdir())[:PEERS]


def warmed_nbval(folder: Path, submissions: Path) -> float:
    return run_nbval(folder, submissions, "-p", "tests.benchmarks.warmed_kernels")


def fresh_nbval(folder: Path, submissions: Path) -> float:
    return run_nbval(folder, submissions)


def run_nbval(folder: Path, submissions: Path, *more: str) -> float:
    """Seconds a submission of one pytest with nbval over the same notebooks."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n", "utf-8")
    for student in chosen(submissions):
        shutil.copy(student / NAME, folder / f"{student.name}.ipynb")
    start = time.perf_counter()
    outcome = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", *more, "--nbval-lax", "--nbval-current-env", "-q"),
            *("-p", "no:cacheprovider", "-c", str(folder / "pytest.ini"), "--tb=no", str(folder)),
        ],
        cwd=ROOT,
        env={**os.environ, "DROPOUT_COURSE_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    # The unsolved and the wrong ones fail, the others pass: all were run.
    assert outcome.returncode == 1, outcome.stdout[-2000:] + outcome.stderr[-2000:]
    return seconds / PEERS


def test_two_workers_on_two_cores_against_one_on_one(
    record_property: Any, benchmark: Any, submissions: Path, one_core: Run, tmp_path: Path
) -> None:
    with on_cores(2):
        one = graded(submissions, tmp_path / "one", 1)
        two = graded(submissions, tmp_path / "two", 2)
    ratio = one_core.seconds / two.seconds
    tell(
        record_property,
        f"{SUBMISSIONS} of lesson 03: {one_core.seconds:.1f} s with one worker on one core, "
        f"{one.seconds:.1f} s with one on two, {two.seconds:.1f} s with two on two: {ratio:.2f}x "
        f"the first, {one.seconds / two.seconds:.2f}x the second",
    )
    benchmark.pedantic(lambda: None, rounds=1)
    assert ratio >= LEAST_OF_TWO


def test_regrade_and_the_size_of_records(
    record_property: Any, benchmark: Any, one_core: Run
) -> None:
    with sqlite3.connect(one_core.folder / FILE) as database:
        ((largest, total),) = database.execute(
            "SELECT max(length(data)), sum(length(data)) FROM records"
        )
    start = time.perf_counter()
    with on_cores(2), Gradebook(one_core.folder) as gradebook:
        regraded = regrade(gradebook, workers=2)
    rate = regraded.submissions / (time.perf_counter() - start)
    size = (one_core.folder / FILE).stat().st_size
    tell(
        record_property,
        f"regrade: {rate:.0f} submissions of lesson 03 a second on 2 cores ({SUBMISSIONS}); a "
        f"record has at most {largest / 1000:.0f} kB, a submission "
        f"{total / SUBMISSIONS / 1000:.0f} kB of records; the gradebook {size / 1e6:.1f} MB",
    )
    benchmark.pedantic(lambda: None, rounds=1)
    assert regraded.changes == ()
    assert largest <= MOST_OF_A_RECORD
    assert total / SUBMISSIONS <= MOST_OF_A_SUBMISSION
    if SUBMISSIONS >= 300:  # starting the second process is most of a small run
        assert rate >= LEAST_REGRADED


class Sampler(Quiet):
    """Notes memory and time as submissions are stored: this process', and all of them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.process = psutil.Process()
        self.start = time.perf_counter()
        self.samples: list[tuple[int, float, float, float]] = []
        self.count = 0

    def done(self, entry: Entry | None) -> None:
        super().done(entry)
        self.count += 1
        if self.count % 50 == 0:
            own = self.process.memory_info().rss
            tree = own + sum(rss(child) for child in self.process.children(recursive=True))
            self.samples.append((self.count, time.perf_counter() - self.start, own, tree))


def rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def test_memory_is_flat_and_time_linear_over_many(
    record_property: Any, benchmark: Any, tmp_path: Path
) -> None:
    """Generated: only the stubs' cells, each notebook different; the release gives the rest."""
    sources = {e.id: cell_of(solved(LESSON), e.id)["source"] for e in LESSON.exercises}
    for place in range(GENERATED):
        cells = [
            code(f"{''.join(source)}\n# {place}", grade_id=name, solution=True, grade=False)
            for name, source in sources.items()
        ]
        document = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}
        path = tmp_path / "in" / f"s{place:05}" / NAME
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(document), "utf-8")
    watcher = Sampler(tmp_path / "out")
    with (
        Gradebook(tmp_path / "out") as gradebook,
        Runner(workers=len(os.sched_getaffinity(0)), sandbox=choose("auto")) as runner,
    ):
        grade(
            tmp_path / "in", gradebook, Releases(release.current(), {}), runner, Options(), watcher
        )
    settled = [sample for sample in watcher.samples if sample[0] >= SETTLED]
    memory = [own for _, _, own, _ in settled]
    growth = max(memory) / memory[0] - 1
    (first, begun, _, _), (last, ended, _, tree) = settled[0], settled[-1]
    middle_place, middle, _, _ = settled[len(settled) // 2]
    early = (middle - begun) / (middle_place - first)
    late = (ended - middle) / (last - middle_place)
    tell(
        record_property,
        f"{GENERATED} generated submissions: {ended:.0f} s, {GENERATED / ended:.1f} a second; the "
        f"grader's memory {memory[0] / 1e6:.0f} MB after {first}, {growth:+.1%} at most later "
        f"(with its workers {tree / 1e6:.0f} MB); second half {late / early:.2f} x the first",
    )
    benchmark.pedantic(lambda: None, rounds=1)
    assert growth <= FLAT
    if GENERATED >= LONG_ENOUGH:
        assert abs(late / early - 1) <= LINEAR
