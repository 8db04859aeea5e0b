"""`dropout-course grade` and `regrade`: choose, watch, tell. Must not know how grading works."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from dropout_course.cli.console import out, stop
from dropout_course.course import UnknownLesson, find_lesson
from dropout_course.grading import release
from dropout_course.grading.cluster import ClusterError, ClusterRunner
from dropout_course.grading.exports import ExportError
from dropout_course.grading.exports import Format as Export
from dropout_course.grading.exports import write as write_export
from dropout_course.grading.exports.reading import grades_of
from dropout_course.grading.gradebook import Entry, Gradebook, GradebookError
from dropout_course.grading.pipeline import Options, Releases, Summary
from dropout_course.grading.pipeline import grade as grade_all
from dropout_course.grading.regrading import Regraded
from dropout_course.grading.regrading import regrade as regrade_all
from dropout_course.grading.reports import Format, Reports, present
from dropout_course.grading.runner import Runner
from dropout_course.grading.sandbox import NoSandbox, choose
from dropout_course.grading.sources import NoSubmissions
from dropout_course.grading.work import Engine, Status

INTERRUPTED = 130
_SHOWN = 40  # rows of a table


def grade(
    submissions: Path,
    target: Path,
    *,
    lessons: Sequence[str],
    workers: int | None,
    scheduler: str | None,
    engine: Engine,
    sandbox: str,
    timeout: float,
    seed: int | None,
    formats: Sequence[str],
    released: Path | None,
) -> None:
    """Grade what is new or changed; exit with 2 where that cannot begin, 130 when interrupted."""
    options = Options(lesson_ids(lessons), timeout, seed, engine)
    kinds = tuple(kind for kind in Format if kind in formats)
    reports = Reports(target, tuple(Format) if not formats else kinds)
    exported = tuple(form for form in Export if form in formats)
    console = out()
    interrupted = False
    summary = None
    try:
        runner = _runner(scheduler, workers, sandbox)
        releases = _releases(released)
        with Gradebook(target) as gradebook:
            with _progress(console) as progress, _Watcher(progress, reports) as watcher:
                try:
                    with runner as running:
                        summary = grade_all(
                            submissions, gradebook, releases, running, options, watcher
                        )
                except KeyboardInterrupt:
                    interrupted = True
            written = [
                *reports.write(gradebook),
                *_exported(gradebook, exported, target / "exports"),
            ]
    except (NoSandbox, NoSubmissions, GradebookError, release.ReleaseMissing) as error:
        stop(str(error))
    except (ClusterError, ExportError) as error:
        stop(str(error), code=1)
    except OSError as error:
        stop(f"{error.filename or target} could not be written ({error.strerror}).")
    if interrupted:
        stop(
            f"Stopped. {_number(watcher.stored, 'submission')} of {watcher.total} are stored in "
            f"{target}; run the same command to go on.",
            INTERRUPTED,
        )
    if summary is not None:
        _tell(console, summary, written)


def _runner(scheduler: str | None, workers: int | None, sandbox: str) -> Runner | ClusterRunner:
    """Who runs the submissions: this machine, or the workers of a cluster."""
    if scheduler is None:
        return Runner(workers=workers or cores(), sandbox=choose(sandbox))
    if workers is not None:
        stop("--workers is for this machine, and a cluster's workers are its own: leave it out.")
    return ClusterRunner(scheduler, sandbox=sandbox)


def export(target: Path, *, formats: Sequence[str], folder: Path | None) -> None:
    """Write the gradebook in other programs' formats."""
    try:
        with Gradebook(target, create=False) as gradebook:
            written = _exported(
                gradebook, [Export(name) for name in formats], folder or target / "exports"
            )
    except GradebookError as error:
        stop(str(error))
    except ExportError as error:
        stop(str(error), code=1)
    except OSError as error:
        stop(f"{error.filename or target} could not be written ({error.strerror}).")
    for path in written:
        _say_written(path)


def _exported(gradebook: Gradebook, formats: Sequence[Export], folder: Path) -> list[Path]:
    """Write each format; the files, or the folders of many."""
    if not formats:
        return []
    grades = grades_of(gradebook)
    written = [path for form in formats for path in write_export(grades, form, folder)]
    tops = dict.fromkeys(folder / path.relative_to(folder).parts[0] for path in written)
    return list(tops)


def regrade(target: Path, *, dry_run: bool, workers: int | None) -> None:
    """Judge stored records again, show what changes and, unless `dry_run`, keep it."""
    console = out()
    try:
        with Gradebook(target, create=False) as gradebook:
            with _progress(console) as progress:
                task = progress.add_task("judging", total=gradebook.count(), rate="")
                regraded = regrade_all(
                    gradebook,
                    dry_run=dry_run,
                    workers=workers or cores(),
                    progress=lambda: progress.advance(task),
                )
            if not dry_run:
                reports = Reports(target, present(target))
                for change in regraded.changes:
                    for entry in gradebook.entries(student=change.student, lesson=change.lesson):
                        reports.write_feedback(entry)
                reports.write(gradebook)
    except GradebookError as error:
        stop(str(error))
    except KeyboardInterrupt:
        stop("Stopped: nothing was changed.", INTERRUPTED)
    except OSError as error:
        stop(f"{error.filename or target} could not be written ({error.strerror}).")
    _tell_changes(console, regraded)


def lesson_ids(names: Sequence[str]) -> tuple[str, ...]:
    """The ids of lessons given as `3`, `03` or their names, also several with commas."""
    given = [name.strip() for names_ in names for name in names_.split(",") if name.strip()]
    try:
        return tuple(dict.fromkeys(find_lesson(name).id for name in given))
    except UnknownLesson as error:
        stop(str(error))


def cores() -> int:
    """The processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _releases(released: Path | None) -> Releases:
    recorded = release.recorded(release.folder())
    if released is not None:
        given = release.read(released)
        recorded[given.id] = given
    return Releases(release.current(), recorded)


# --- watching -----------------------------------------------------------------------------------


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield progress


class _Watcher:
    """Moves the bar, and writes each student's page as soon as it is graded."""

    def __init__(self, progress: Progress, reports: Reports) -> None:
        self._progress = progress
        self._reports = reports
        self._task = progress.add_task("grading", total=None, rate="")
        self.total = 0
        self.stored = 0

    def __enter__(self) -> _Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def found(self, submissions: int) -> None:
        self.total = submissions
        self._progress.update(self._task, total=submissions)

    def done(self, entry: Entry | None) -> None:
        self.stored += 1
        if entry is not None:
            self._reports.write_feedback(entry)
        speed = self._progress.tasks[0].finished_speed or self._progress.tasks[0].speed
        rate = "" if speed is None else f"{speed:.1f} a second"
        self._progress.update(self._task, advance=1, rate=rate)


# --- telling ------------------------------------------------------------------------------------


def _tell(console: Console, summary: Summary, written: Sequence[Path]) -> None:
    graded = sum(summary.graded.values())
    parts = [
        f"{summary.graded[status]} {status.value.replace('_', ' ')}"
        for status in Status
        if summary.graded.get(status)
    ]
    told = f" ({', '.join(parts)})" if parts else ""
    sentences = [f"{_number(graded, 'submission')} processed{told}."]
    if summary.unchanged:
        sentences.append(f"{summary.unchanged} graded before and unchanged.")
    if summary.left_out:
        sentences.append(f"{_number(summary.left_out, 'notebook')} of other lessons left out.")
    console.print(" ".join(sentences), markup=False, soft_wrap=True)
    if summary.outdated:
        console.print(
            "The criteria have changed since the gradebook was begun: `dropout-course regrade` "
            "judges all of it by the newest.",
            markup=False,
            soft_wrap=True,
        )
    for path in written:
        _say_written(path)


def _say_written(path: Path) -> None:
    out().print(f"wrote {path}", markup=False, soft_wrap=True)


def _tell_changes(console: Console, regraded: Regraded) -> None:
    if regraded.changes:
        table = Table(box=None, pad_edge=False)
        for column in ("student", "lesson"):
            table.add_column(column)
        for column in ("before", "after"):
            table.add_column(column, justify="right")
        table.add_column("exercises", overflow="fold")
        for change in regraded.changes[:_SHOWN]:
            table.add_row(
                escape(change.student),
                escape(change.lesson),
                f"{change.before:g}",
                f"{change.after:g}",
                escape("\n".join(change.exercises)),
            )
        console.print(table)
        if len(regraded.changes) > _SHOWN:
            console.print(f"and {len(regraded.changes) - _SHOWN} more.")
    if regraded.kept:
        console.print(
            f"{_number(regraded.kept, 'verdict')} stayed as before: what these exercises ask has "
            "changed since they were recorded; `dropout-course grade` records them anew.",
            markup=False,
            soft_wrap=True,
        )
    changed = f"{len(regraded.changes)} of {_number(regraded.submissions, 'submission')}"
    if regraded.revision is None:
        console.print(f"{changed} would change. Nothing was written.", soft_wrap=True)
    else:
        console.print(f"{changed} changed; revision {regraded.revision} counts.", soft_wrap=True)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
