"""Stored records judged again by the criteria of now; nobody's code is run.

Must not know how records came about.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context

from dropout_course.checks.verdict import Verdict
from dropout_course.course import LESSONS, Lesson
from dropout_course.grading import judging
from dropout_course.grading.gradebook import Gradebook, Stored

_CHUNK = 8  # submissions handed to a process at once
_AHEAD = 4  # chunks a process has waiting: the rest stays in the gradebook
_WORTH_IT = 40  # submissions; fewer are judged faster than another Python starts


@dataclass(frozen=True)
class Change:
    """A submission whose score or outcomes change."""

    student: str
    lesson: str
    before: float
    after: float
    exercises: tuple[str, ...]  # "id: passed → failed"


@dataclass(frozen=True)
class Regraded:
    """What judging again changes; `kept` counts verdicts that had to stay as they were, because
    what the exercise asks has changed since its record was made. `revision` is None in a dry run.
    """

    submissions: int
    changes: tuple[Change, ...]
    kept: int
    revision: int | None


def regrade(
    gradebook: Gradebook,
    *,
    dry_run: bool = False,
    workers: int = 1,
    lessons: Sequence[Lesson] = LESSONS,
    progress: Callable[[], None] = lambda: None,
) -> Regraded:
    """Judge every submission's stored records again; unless `dry_run`, as a new revision."""
    current = gradebook.revision()
    stored = gradebook.stored(current.id if current else 0)
    results = _judged(stored, workers, gradebook.count(), lessons)
    total, kept = 0, 0
    changes: list[Change] = []
    with contextlib.ExitStack() as stack:
        revision = None
        if not dry_run:
            revision = stack.enter_context(gradebook.new_revision(judging.criteria()))
        for one, verdicts, stayed in results:
            total, kept = total + 1, kept + stayed
            changes += _change(one, verdicts)
            if revision is not None:
                revision.add(one.id, verdicts)
            progress()
    return Regraded(total, tuple(changes), kept, revision.id if revision else None)


_Result = tuple[Stored, tuple[Verdict, ...], int]


def _judged(
    stored: Iterator[Stored], workers: int, count: int, lessons: Sequence[Lesson]
) -> Iterator[_Result]:
    """Each submission with its new verdicts, in order, judged in other processes if many."""
    if workers < 2 or count < _WORTH_IT:
        yield from (_again(one, lessons) for one in stored)
        return
    # Forking a process that has used torch may hang; a fresh one costs an import of torch.
    with ProcessPoolExecutor(workers, get_context("spawn"), _start_judge) as pool:
        waiting: deque[Future[list[_Result]]] = deque()
        chunks = iter(lambda: list(islice(stored, _CHUNK)), [])
        for chunk in chunks:
            waiting.append(pool.submit(_all_again, chunk, tuple(lesson.id for lesson in lessons)))
            if len(waiting) > _AHEAD * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _start_judge() -> None:
    import torch

    torch.set_num_threads(1)


def _all_again(chunk: Sequence[Stored], lessons: Sequence[str]) -> list[_Result]:
    known = [lesson for lesson in LESSONS if lesson.id in lessons]
    return [_again(one, known) for one in chunk]


def _again(stored: Stored, lessons: Sequence[Lesson]) -> _Result:
    lesson = next((lesson for lesson in lessons if lesson.id == stored.lesson), None)
    if lesson is None:
        return stored, stored.verdicts, 0
    before = {verdict.exercise: verdict for verdict in stored.verdicts}
    recorded = {one.exercise for one in stored.kept if one.data is not None}
    verdicts, stayed = [], 0
    for exercise, verdict in zip(
        lesson.exercises, judging.judge_again(lesson, stored.kept), strict=True
    ):
        if verdict is None:
            stayed += exercise.id in recorded
            note = "Nothing was recorded for this exercise."
            verdict = before.get(exercise.id) or judging.unjudged(exercise, note)
        verdicts.append(verdict)
    return stored, tuple(verdicts), stayed


def _change(stored: Stored, verdicts: Sequence[Verdict]) -> Iterator[Change]:
    before = {verdict.exercise: verdict for verdict in stored.verdicts}
    after = {verdict.exercise: verdict for verdict in verdicts}
    told = tuple(
        f"{name}: {_told(before.get(name))} → {_told(after.get(name))}"
        for name in dict.fromkeys([*before, *after])
        if _told(before.get(name)) != _told(after.get(name))
    )
    if told:
        score = sum(one.points for one in stored.verdicts), sum(one.points for one in verdicts)
        yield Change(stored.student, stored.lesson, *score, told)


def _told(verdict: Verdict | None) -> str:
    if verdict is None:
        return "not asked"
    return f"{verdict.outcome.value} {verdict.points:g}/{verdict.max_points:g}"
