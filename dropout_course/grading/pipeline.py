"""Grading from end to end: find, read, assemble, record in a sandbox, judge, store.

A submission is worked on alone: nothing that one holds or does reaches another. Must not know the
sandbox, which is given, nor how results are shown.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dropout_course.checks.verdict import Verdict
from dropout_course.course import LESSONS, Lesson
from dropout_course.grading import judging
from dropout_course.grading.assemble import Assembled, PageCell, assemble
from dropout_course.grading.gradebook import Entry, Gradebook
from dropout_course.grading.notebook import Cell, Notebook, parse
from dropout_course.grading.release import Release, digest
from dropout_course.grading.sources import Refused, Unreadable
from dropout_course.grading.submission import Submission, find
from dropout_course.grading.work import Engine, Recorded, Status, Work


class Runner(Protocol):
    """What runs submissions: as they finish, each with what it recorded."""

    def run(self, works: Iterable[Work]) -> Iterator[tuple[Work, Recorded]]: ...


@dataclass(frozen=True)
class Options:
    """How to grade. `wanted` are ids of lessons, all where empty; `timeout` is in seconds a
    submission; with `seed` the checks' random inputs are the same at every run; `engine` runs
    the cells."""

    wanted: tuple[str, ...] = ()
    timeout: float = 60.0
    seed: int | None = None
    engine: Engine = Engine.FORK


@dataclass(frozen=True)
class Summary:
    """What one run did: submissions by status, and how many were graded before or left out."""

    graded: Mapping[Status, int]
    unchanged: int
    left_out: int
    outdated: bool  # the gradebook's revision was judged by other criteria than these


class Watcher(Protocol):
    """Who watches a run."""

    def found(self, submissions: int) -> None: ...

    def done(self, entry: Entry | None) -> None:
        """A submission is stored; None where it was graded before."""


@dataclass
class _Run:
    """The submissions of one run on their way through."""

    gradebook: Gradebook
    releases: Releases
    options: Options
    watcher: Watcher
    unchanged: int = 0
    counts: dict[Status, int] = field(default_factory=dict)
    in_flight: dict[tuple[str, str], _Prepared] = field(default_factory=dict)
    unrunnable: deque[tuple[Entry, str]] = field(default_factory=deque)


@dataclass(frozen=True)
class _Prepared:
    submission: Submission
    lesson: Lesson
    digest: str
    assembled: Assembled
    notes: tuple[str, ...]


class Releases:
    """The release of now and those recorded by hand-outs."""

    def __init__(self, current: Release, recorded: Mapping[str, Release]) -> None:
        self._current = current
        self._recorded = {**recorded, current.id: current}

    def of(self, notebook: Notebook, lesson: Lesson) -> tuple[Sequence[Cell], tuple[str, ...]]:
        """The cells that were handed out for a notebook, and what is to be said about that."""
        claimed = self._recorded.get(notebook.release)
        if claimed is not None and lesson.id in claimed.lessons:
            if claimed.digest(lesson.id) == self._current.digest(lesson.id):
                return claimed.lessons[lesson.id], ()
            return claimed.lessons[lesson.id], (_older(claimed.version),)
        cells = self._current.lessons.get(lesson.id, ())
        differs = notebook.version not in ("", self._current.version)
        return cells, (_older(notebook.version),) if differs else ()

    def digest(self, lesson: Lesson, notebook: Notebook) -> str:
        """A digest of the cells that `of` gives."""
        return digest(self.of(notebook, lesson)[0])


def _older(version: str) -> str:
    return (
        f"It is another edition of the lesson ({version[:20]}) than the newest; "
        "it was graded by the newest criteria."
    )


def grade(
    submissions: Path,
    gradebook: Gradebook,
    releases: Releases,
    runner: Runner,
    options: Options,
    watcher: Watcher,
    *,
    lessons: Sequence[Lesson] = LESSONS,
) -> Summary:
    """Grade what is new or changed in a folder or zip, and store it.

    Raises NoSubmissions where there is nothing to grade. Whatever a submission holds or does is its
    status and its notes. May be interrupted at any moment: what is stored stays.
    """
    found = find(submissions, lessons, options.wanted)
    watcher.found(len(found.submissions))
    run = _Run(gradebook, releases, options, watcher)
    works = _works(run, found.submissions, {lesson.id: lesson for lesson in lessons})
    for work, recorded in runner.run(works):
        _finish(run, work, recorded)
        _store_unrunnable(run)
    _store_unrunnable(run)
    revision = gradebook.revision()
    outdated = revision is not None and revision.criteria != judging.criteria()
    return Summary(run.counts, run.unchanged, found.left_out, outdated)


def _works(
    run: _Run, submissions: Iterable[Submission], lessons: Mapping[str, Lesson]
) -> Iterator[Work]:
    """What is to be run, made when the runner asks for it: only few are in memory at a time."""
    for submission in submissions:
        lesson = lessons.get(submission.lesson)
        try:
            if submission.problem or lesson is None:
                raise Refused(submission.problem)
            prepared = _prepared(run, submission, lesson)
        except (Refused, Unreadable) as fault:
            _set_aside(run, submission, lesson, fault)
            continue
        if prepared is None:
            run.unchanged += 1
            run.watcher.done(None)
            continue
        run.in_flight[submission.student, submission.lesson] = prepared
        yield Work(
            submission.student,
            submission.lesson,
            prepared.assembled.cells,
            judging.ask(lesson, submission.student, run.options.seed),
            run.options.timeout,
            run.options.engine,
        )


def _prepared(run: _Run, submission: Submission, lesson: Lesson) -> _Prepared | None:
    """Read and assemble a submission; None where it was graded before and has not changed."""
    data = submission.file.read()
    try:
        notebook = parse(data)
    except Unreadable as error:
        raise Unreadable(f"{submission.file.path} cannot be graded: {error}") from error
    digest = _digest(data, run.releases.digest(lesson, notebook), judging.asking(lesson))
    if _is_known(run, submission, digest):
        return None
    cells, notes = run.releases.of(notebook, lesson)
    if notebook.format[0] != "4":
        notes += (f"It is a notebook of format {notebook.format}; it was read as it is.",)
    assembled = assemble(notebook, lesson, cells)
    return _Prepared(
        submission, lesson, digest, assembled, (*submission.notes, *notes, *assembled.notes)
    )


def _digest(*parts: bytes | str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "replace") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def _is_known(run: _Run, submission: Submission, digest: str) -> bool:
    known = run.gradebook.known(submission.student, submission.lesson)
    if known is None or known.digest != digest:
        return False
    # More time may make a difference to one that ran out of it, and to nothing else.
    return known.status is not Status.TIMED_OUT or known.timeout >= run.options.timeout


def _set_aside(
    run: _Run, submission: Submission, lesson: Lesson | None, fault: Refused | Unreadable
) -> None:
    """A submission that there is nothing to run of: stored between two that ran."""
    refused = isinstance(fault, Refused)
    digest = _digest(type(fault).__name__, str(fault))
    if _is_known(run, submission, digest):
        run.unchanged += 1
        run.watcher.done(None)
        return
    note = "Nothing was run."
    verdicts = tuple(judging.unjudged(one, note) for one in (lesson.exercises if lesson else ()))
    status = Status.REFUSED if refused else Status.UNREADABLE
    notes = (*submission.notes, str(fault))
    run.unrunnable.append((_entry(submission, status, 0.0, notes, verdicts, ()), digest))


def _store_unrunnable(run: _Run) -> None:
    while run.unrunnable:
        entry, digest = run.unrunnable.popleft()
        _store(run, entry, digest, ())


def _finish(run: _Run, work: Work, recorded: Recorded) -> None:
    prepared = run.in_flight.pop((work.student, work.lesson))
    kept, verdicts = judging.judge(prepared.lesson, work.asked, recorded.records)
    entry = _entry(
        prepared.submission,
        recorded.status,
        recorded.seconds,
        (*prepared.notes, *recorded.notes),
        verdicts,
        prepared.assembled.page,
    )
    _store(run, entry, prepared.digest, kept)


def _store(run: _Run, entry: Entry, digest: str, kept: Sequence[judging.Kept]) -> None:
    run.gradebook.add(
        entry,
        digest=digest,
        timeout=run.options.timeout,
        kept=kept,
        criteria=judging.criteria(),
    )
    run.counts[entry.status] = run.counts.get(entry.status, 0) + 1
    run.watcher.done(entry)


def _entry(
    submission: Submission,
    status: Status,
    seconds: float,
    notes: Sequence[str],
    verdicts: tuple[Verdict, ...],
    page: tuple[PageCell, ...],
) -> Entry:
    return Entry(
        student=submission.student,
        lesson=submission.lesson,
        status=status,
        seconds=seconds,
        notes=tuple(dict.fromkeys(notes)),
        verdicts=verdicts,
        page=page,
        path=submission.file.path,
        platform=submission.platform,
        platform_id=submission.platform_id,
    )
