"""The learner's own record of attempts: an append-only list of events in one SQLite file.

Knows nothing of notebooks and of how anything is shown. Nothing that happens to the file may stop
a lesson: what cannot be written is kept in memory and explained by a sentence.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeVar

import platformdirs

from dropout_course.checks.verdict import Outcome

HOME_VARIABLE = "DROPOUT_COURSE_HOME"
FILE_NAME = "progress.sqlite3"
SCHEMA_VERSION = 1
BUSY_TIMEOUT = 3.0  # seconds that a write waits for another kernel's
LONGEST_GAP = 600.0  # seconds; a longer silence between two events counts as this much work
HINT_LEVELS = 3

T = TypeVar("T")


class Action(StrEnum):
    """What a learner did. `OPENED` marks the start of a kernel, so that the first gap is known."""

    OPENED = "opened"
    CHECK = "check"
    HINT = "hint"
    SOLUTION = "solution"


@dataclass(frozen=True)
class Event:
    """One thing that a learner did, at `at` seconds since the epoch."""

    at: float
    action: Action
    exercise: str = ""
    outcome: Outcome | None = None
    points: float = 0.0


@dataclass(frozen=True)
class Standing:
    """Where a learner stands with one exercise. `outcome` and `points` are the best so far,
    `seconds` the estimated time of work."""

    exercise: str
    outcome: Outcome = Outcome.NOT_ATTEMPTED
    points: float = 0.0
    max_points: float = 0.0
    attempts: int = 0
    hints: int = 0
    solutions: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class LessonStanding:
    """The standings of a lesson's exercises, in order."""

    id: str
    title: str
    standings: tuple[Standing, ...]


@dataclass(frozen=True)
class Overview:
    """Everything that `progress()` shows."""

    lessons: tuple[LessonStanding, ...]
    next_step: str
    notices: tuple[str, ...] = ()


class ExerciseLike(Protocol):
    """What the overview needs to know of an exercise."""

    @property
    def id(self) -> str: ...
    @property
    def points(self) -> int: ...
    @property
    def task(self) -> str: ...


class LessonLike(Protocol):
    """What the overview needs to know of a lesson."""

    @property
    def id(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def exercises(self) -> Sequence[ExerciseLike]: ...


def home() -> Path:
    """The folder of the record: the environment variable's, else the user's data folder."""
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    return Path(platformdirs.user_data_dir("dropout-course", appauthor=False))


class Ledger:
    """The events of one learner in `folder`, shared with the other kernels that write there.

    No method raises for what the file or the folder does. `take_notices` hands out, once each, the
    sentences that the learner should read.
    """

    def __init__(self, folder: Path | None = None, opening: Event | None = None) -> None:
        """`opening` is written together with the first event that is added."""
        self.path = (folder or home()) / FILE_NAME
        self._pending = [opening] if opening else []
        self._notices: list[str] = []
        self._said: set[str] = set()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None

    def add(self, *events: Event) -> None:
        """Write the events, and those that earlier could not be written."""
        with self._lock:
            self._pending += events
            self._with_file(self._write_pending, None)

    def events(self, exercise: str | None = None) -> list[Event]:
        """All events in order of time, or those of one exercise."""
        with self._lock:
            none: list[Event] = []
            stored = self._with_file(lambda connection: _read(connection, exercise), none)
            kept = [each for each in self._pending if exercise in (None, each.exercise)]
            return sorted(stored + kept, key=lambda event: event.at)

    def take_notices(self) -> tuple[str, ...]:
        """Sentences about the file that were not handed out yet."""
        with self._lock:
            notices, self._notices = tuple(self._notices), []
            return notices

    def _write_pending(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO events (at, action, exercise, outcome, points) VALUES (?, ?, ?, ?, ?)",
            [_to_row(event) for event in self._pending],
        )
        connection.execute("COMMIT")
        self._pending.clear()

    def _with_file(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Do `work` on the open file. Trouble becomes a sentence and the answer `otherwise`; a
        damaged file is set aside and the work done on a new one."""
        try:
            try:
                return self._once(work)
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                self._set_aside()
                return self._once(work)
        except _NewerSchemaError:
            self._say(
                f"Your progress in {self.path} was written by a newer version of the course: "
                "update the course to go on with it; until then this kernel only remembers."
            )
        except sqlite3.Error as error:
            self._say(self._unwritable(str(error)))
        except OSError as error:
            self._say(self._unwritable(error.strerror or str(error)))
        return otherwise

    def _once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connected()
        try:
            return work(connection)
        except BaseException:
            self._disconnect()  # ends the transaction; the next call begins afresh
            raise

    def _connected(self) -> sqlite3.Connection:
        """The connection, kept since opening and closing waits for the disk (15 ms for some), and
        opened again where another kernel has put a new file in the old one's place."""
        if self._connection is None or _identity(self.path) != self._opened:
            self._disconnect()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _open(self.path)
            self._opened = _identity(self.path)
            weakref.finalize(self, self._connection.close)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _unwritable(self, reason: str) -> str:
        return (
            f"Your progress cannot be saved in {self.path} ({reason}): the lesson goes on and this "
            f"kernel remembers; free or unlock that folder, or set {HOME_VARIABLE} to another one."
        )

    def _set_aside(self) -> None:
        """Rename a damaged file, unless another kernel has just done so."""
        aside = _free_name(self.path)
        with contextlib.suppress(FileNotFoundError):
            if _is_sound(self.path):
                return
            self.path.rename(aside)
            self._say(
                f"The record of your progress was damaged: it is kept as {aside}, and a new one "
                f"begins in {self.path}."
            )
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(OSError):
                self.path.with_name(f"{FILE_NAME}{suffix}").unlink()

    def _say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self._notices.append(sentence)


def standings(events: Iterable[Event]) -> dict[str, Standing]:
    """What the events add up to, by exercise id.

    A failed or passed check is an attempt; one that found the stub unfilled is not. The time of an
    exercise is the sum of the gaps that end in one of its events, each counted as `LONGEST_GAP` at
    most: reading and thinking count, a night does not. It is an estimate.
    """
    by_exercise: dict[str, Standing] = {}
    previous: float | None = None
    for event in sorted(events, key=lambda each: each.at):
        gap = 0.0 if previous is None else min(event.at - previous, LONGEST_GAP)
        previous = event.at
        if event.action is Action.OPENED:
            continue
        standing = by_exercise.get(event.exercise, Standing(event.exercise))
        by_exercise[event.exercise] = _after(standing, event, gap)
    return by_exercise


def overview(
    lessons: Sequence[LessonLike], events: Sequence[Event], notices: Sequence[str] = ()
) -> Overview:
    """The progress through `lessons`, and the next step by name."""
    found = standings(events)
    rows = tuple(
        LessonStanding(
            lesson.id,
            lesson.title,
            tuple(
                replace(found.get(each.id, Standing(each.id)), max_points=each.points)
                for each in lesson.exercises
            ),
        )
        for lesson in lessons
    )
    return Overview(rows, next_step(lessons, events), tuple(notices))


def next_step(lessons: Sequence[LessonLike], events: Sequence[Event]) -> str:
    """The exercise to do next: where the learner last worked, then later lessons, then earlier."""
    found = standings(events)
    order = [
        (lesson, number, exercise)
        for lesson in lessons
        for number, exercise in enumerate(lesson.exercises, start=1)
    ]
    open_ones = [
        index
        for index, (_, _, exercise) in enumerate(order)
        if found.get(exercise.id, Standing(exercise.id)).outcome is not Outcome.PASSED
    ]
    if not open_ones:
        return "Next: every exercise is passed; say each lesson's answer once more in 60 seconds."
    begin = _first_of_latest_lesson(order, events)
    index = next((each for each in open_ones if each >= begin), open_ones[0])
    lesson, number, exercise = order[index]
    return (
        f"Next: {lesson.id}, exercise {number} of {len(lesson.exercises)}, `{exercise.id}`: "
        f"{exercise.task}"
    )


def spoken_time(seconds: float) -> str:
    """Minutes, or hours and minutes: `0 min`, `< 1 min`, `12 min`, `1 h 05 min`."""
    if 0 < seconds < 60:
        return "< 1 min"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def now() -> float:
    """Seconds since the epoch."""
    return time.time()


def _first_of_latest_lesson(
    order: Sequence[tuple[LessonLike, int, ExerciseLike]], events: Sequence[Event]
) -> int:
    known = {exercise.id: lesson.id for lesson, _, exercise in order}
    latest = max(
        (event for event in events if event.exercise in known),
        key=lambda event: event.at,
        default=None,
    )
    if latest is None:
        return 0
    lesson_ids = [lesson.id for lesson, _, _ in order]
    return lesson_ids.index(known[latest.exercise])


def _after(standing: Standing, event: Event, gap: float) -> Standing:
    spent = replace(standing, seconds=standing.seconds + gap)
    if event.action is Action.HINT:
        return replace(spent, hints=min(spent.hints + 1, HINT_LEVELS))
    if event.action is Action.SOLUTION:
        return replace(spent, solutions=spent.solutions + 1)
    if event.outcome in (None, Outcome.NOT_ATTEMPTED):
        return spent
    passed = Outcome.PASSED in (spent.outcome, event.outcome)
    return replace(
        spent,
        attempts=spent.attempts + 1,
        outcome=Outcome.PASSED if passed else Outcome.FAILED,
        points=max(spent.points, event.points),
    )


# --- the file -----------------------------------------------------------------------------------


class _NewerSchemaError(Exception):
    """The file was written by a later version of the course."""


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
    )
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise _NewerSchemaError
        if version < SCHEMA_VERSION:
            _create(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _create(connection: sqlite3.Connection) -> None:
    # A folder on a network may refuse the write-ahead log; SQLite then stays with its journal.
    with contextlib.suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, at REAL NOT NULL,"
        " action TEXT NOT NULL, exercise TEXT NOT NULL, outcome TEXT, points REAL NOT NULL)"
    )
    connection.execute("CREATE INDEX IF NOT EXISTS by_exercise ON events (exercise)")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _read(connection: sqlite3.Connection, exercise: str | None) -> list[Event]:
    query = "SELECT at, action, exercise, outcome, points FROM events"
    if exercise is None:
        return [_from_row(row) for row in connection.execute(query)]
    return [
        _from_row(row) for row in connection.execute(f"{query} WHERE exercise = ?", (exercise,))
    ]


def _to_row(event: Event) -> tuple[float, str, str, str | None, float]:
    outcome = event.outcome.value if event.outcome else None
    return (event.at, event.action.value, event.exercise, outcome, event.points)


def _from_row(row: tuple[float, str, str, str | None, float]) -> Event:
    at, action, exercise, outcome, points = row
    try:
        return Event(at, Action(action), exercise, Outcome(outcome) if outcome else None, points)
    except ValueError as error:
        raise sqlite3.DatabaseError(f"malformed row: {error}") from error


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file itself is at fault, rather than its folder, a lock or a full disk."""
    if isinstance(error, sqlite3.OperationalError):
        return "no such" in str(error) or "has no column" in str(error)
    return not isinstance(error, sqlite3.ProgrammingError)


def _is_sound(path: Path) -> bool:
    """Whether the file can be read whole: asked just before renaming it, since another kernel may
    have replaced it in the meantime."""
    try:
        with contextlib.closing(_open(path)) as connection:
            _read(connection, None)
            return bool(connection.execute("PRAGMA quick_check").fetchone()[0] == "ok")
    except _NewerSchemaError:
        return True
    except sqlite3.DatabaseError as error:
        return not _is_damage(error)


def _free_name(path: Path) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    candidates = (
        path.with_name(f"{path.stem}.damaged-{stamp}{count}{path.suffix}")
        for count in ("", *(f"-{number}" for number in range(2, 1000)))
    )
    return next(candidate for candidate in candidates if not candidate.exists())
