"""The gradebook: what was recorded of each submission and what it was judged to be, in SQLite.

One transaction a submission, so that whatever ends the grader loses at most the one in flight.
Must not know how anything is recorded or judged.

A submission (student, lesson) has recordings, the newest of which counts. A revision judges every
recording; a new one is made by judging again, and the old ones stay.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO

from dropout_course.checks.verdict import Finding, Outcome, Verdict
from dropout_course.grading.assemble import PageCell, Shown
from dropout_course.grading.judging import Kept
from dropout_course.grading.work import Status

FILE = "gradebook.sqlite"
SCHEMA = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS submissions (
    id INTEGER PRIMARY KEY, student TEXT NOT NULL, lesson TEXT NOT NULL,
    platform TEXT NOT NULL, platform_id TEXT NOT NULL, UNIQUE (student, lesson)) STRICT;
CREATE TABLE IF NOT EXISTS recordings (
    id INTEGER PRIMARY KEY, submission INTEGER NOT NULL REFERENCES submissions,
    path TEXT NOT NULL, digest TEXT NOT NULL, status TEXT NOT NULL, seconds REAL NOT NULL,
    timeout REAL NOT NULL, notes TEXT NOT NULL, page BLOB NOT NULL, made_at TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS newest ON recordings (submission, id);
CREATE TABLE IF NOT EXISTS records (
    recording INTEGER NOT NULL REFERENCES recordings, exercise TEXT NOT NULL,
    seed INTEGER NOT NULL, plan TEXT NOT NULL, data BLOB, PRIMARY KEY (recording, exercise)) STRICT;
CREATE TABLE IF NOT EXISTS revisions (
    id INTEGER PRIMARY KEY, criteria TEXT NOT NULL, made_at TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS verdicts (
    revision INTEGER NOT NULL REFERENCES revisions, recording INTEGER NOT NULL REFERENCES
    recordings, place INTEGER NOT NULL, exercise TEXT NOT NULL, points REAL NOT NULL,
    max_points REAL NOT NULL, verdict TEXT NOT NULL,
    PRIMARY KEY (revision, recording, exercise)) STRICT, WITHOUT ROWID;
"""


class GradebookError(Exception):
    """The gradebook cannot be used; the text says why and what to do."""


@dataclass(frozen=True)
class Known:
    """What the gradebook has of a submission: the digest of what was graded, and how it ended."""

    digest: str
    status: Status
    timeout: float


@dataclass(frozen=True)
class Entry:
    """One graded submission. `notes` are sentences about it, `page` what its feedback shows."""

    student: str
    lesson: str
    status: Status
    seconds: float
    notes: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    page: tuple[PageCell, ...] = ()
    path: str = ""
    platform: str = ""
    platform_id: str = ""

    @property
    def score(self) -> float:
        """The points of all exercises."""
        return sum(verdict.points for verdict in self.verdicts)

    @property
    def max_score(self) -> float:
        """The most points that the exercises give."""
        return sum(verdict.max_points for verdict in self.verdicts)


@dataclass(frozen=True)
class Stored:
    """A recording with its records, to be judged again; `verdicts` are a revision's."""

    id: int
    student: str
    lesson: str
    kept: tuple[Kept, ...]
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Revision:
    """A judging of all recordings: by which criteria, and when (UTC)."""

    id: int
    criteria: str
    made_at: str


class Gradebook:
    """The gradebook in `folder`, made where there is none; a context manager."""

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        path = folder / FILE
        if not create and not path.exists():
            raise GradebookError(
                f"{folder} holds no gradebook ({FILE}): give the folder that "
                "`dropout-course grade … --out` wrote."
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(folder)
            self._database = sqlite3.connect(path, isolation_level=None, timeout=30)
            self._prepare(path)
        except (OSError, sqlite3.Error) as error:
            raise GradebookError(f"{path} cannot be used as a gradebook ({error}).") from error

    def _prepare(self, path: Path) -> None:
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA:
            raise GradebookError(
                f"{path} was written by a newer version of the course: update it, and try again."
            )
        with self._transaction():
            for statement in _TABLES.split(";"):
                self._database.execute(statement)
            self._database.execute(f"PRAGMA user_version = {SCHEMA}")

    def __enter__(self) -> Gradebook:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; everything is in it already."""
        self._database.close()
        if self._lock is not None:
            self._lock.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    # --- grading --------------------------------------------------------------------------------

    def known(self, student: str, lesson: str) -> Known | None:
        """The newest recording of a submission, None where there is none."""
        row = self._database.execute(
            "SELECT digest, status, timeout FROM recordings JOIN submissions s ON s.id = submission"
            " WHERE student = ? AND lesson = ? ORDER BY recordings.id DESC LIMIT 1",
            (student, lesson),
        ).fetchone()
        return None if row is None else Known(row[0], Status(row[1]), row[2])

    def add(
        self, entry: Entry, *, digest: str, timeout: float, kept: Sequence[Kept], criteria: str
    ) -> None:
        """Store a graded submission and its records in one transaction."""
        with self._transaction():
            revision = self._current_or_first(criteria)
            submission = self._submission(entry)
            recording = self._database.execute(
                "INSERT INTO recordings (submission, path, digest, status, seconds, timeout, notes,"
                " page, made_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                (
                    submission,
                    entry.path,
                    digest,
                    entry.status.value,
                    entry.seconds,
                    timeout,
                    _json(entry.notes),
                    _packed(entry.page),
                    _now(),
                ),
            ).fetchone()[0]
            self._database.executemany(
                "INSERT INTO records VALUES (?, ?, ?, ?, ?)",
                [(recording, one.exercise, one.seed, one.plan, one.data) for one in kept],
            )
            self._insert_verdicts(revision, recording, entry.verdicts)

    def _submission(self, entry: Entry) -> int:
        row = self._database.execute(
            "INSERT INTO submissions (student, lesson, platform, platform_id) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (student, lesson) DO UPDATE SET platform = excluded.platform,"
            " platform_id = excluded.platform_id RETURNING id",
            (entry.student, entry.lesson, entry.platform, entry.platform_id),
        ).fetchone()
        return int(row[0])

    def _insert_verdicts(self, revision: int, recording: int, verdicts: Sequence[Verdict]) -> None:
        self._database.executemany(
            "INSERT INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (revision, recording, place, v.exercise, v.points, v.max_points, _verdict_out(v))
                for place, v in enumerate(verdicts)
            ],
        )

    def _current_or_first(self, criteria: str) -> int:
        revision = self.revision()
        if revision is not None:
            return revision.id
        self._database.execute("INSERT INTO revisions VALUES (1, ?, ?)", (criteria, _now()))
        return 1

    # --- reading --------------------------------------------------------------------------------

    def revisions(self) -> list[Revision]:
        """Every revision, the oldest first."""
        rows = self._database.execute("SELECT id, criteria, made_at FROM revisions ORDER BY id")
        return [Revision(*row) for row in rows]

    def revision(self) -> Revision | None:
        """The newest revision: the one that counts."""
        revisions = self.revisions()
        return revisions[-1] if revisions else None

    def entries(
        self, revision: int | None = None, *, student: str | None = None, lesson: str | None = None
    ) -> Iterator[Entry]:
        """What counts of every submission, by student and lesson; one at a time."""
        chosen = revision if revision is not None else (self.revision() or Revision(0, "", "")).id
        rows = self._database.execute(
            "SELECT r.id, s.student, s.lesson, r.status, r.seconds, r.notes, r.page, r.path,"
            " s.platform, s.platform_id FROM submissions s JOIN recordings r ON r.id ="
            " (SELECT max(id) FROM recordings WHERE submission = s.id)"
            " WHERE (?1 IS NULL OR s.student = ?1) AND (?2 IS NULL OR s.lesson = ?2)"
            " ORDER BY s.student, s.lesson",
            (student, lesson),
        )
        for row in rows:
            yield Entry(
                student=row[1],
                lesson=row[2],
                status=Status(row[3]),
                seconds=row[4],
                notes=tuple(json.loads(row[5])),
                verdicts=self._verdicts(chosen, row[0]),
                page=_unpacked(row[6]),
                path=row[7],
                platform=row[8],
                platform_id=row[9],
            )

    def _verdicts(self, revision: int, recording: int) -> tuple[Verdict, ...]:
        rows = self._database.execute(
            "SELECT verdict FROM verdicts WHERE revision = ? AND recording = ? ORDER BY place",
            (revision, recording),
        )
        return tuple(_verdict_in(row[0]) for row in rows)

    def lessons(self) -> set[str]:
        """The lessons of which there is a submission."""
        return {row[0] for row in self._database.execute("SELECT DISTINCT lesson FROM submissions")}

    def count(self) -> int:
        """How many submissions there are."""
        return int(self._database.execute("SELECT count(*) FROM submissions").fetchone()[0])

    # --- judging again --------------------------------------------------------------------------

    def stored(self, revision: int) -> Iterator[Stored]:
        """The newest recording of every submission, with its records and what they were judged."""
        rows = self._database.execute(
            "SELECT max(r.id), s.student, s.lesson FROM recordings r JOIN submissions s ON"
            " s.id = r.submission GROUP BY s.id ORDER BY s.student, s.lesson"
        )
        for recording, student, lesson in rows:
            kept = self._database.execute(
                "SELECT exercise, seed, plan, data FROM records WHERE recording = ?", (recording,)
            )
            yield Stored(
                recording,
                student,
                lesson,
                tuple(Kept(*row) for row in kept),
                self._verdicts(revision, recording),
            )

    @contextlib.contextmanager
    def new_revision(self, criteria: str) -> Iterator[NewRevision]:
        """A revision that counts when the block ends without an error, and leaves no trace else.

        The writing is one transaction; whoever reads meanwhile sees the old revision.
        """
        with self._transaction():
            row = self._database.execute(
                "INSERT INTO revisions (criteria, made_at) VALUES (?, ?) RETURNING id",
                (criteria, _now()),
            ).fetchone()
            number = int(row[0])
            yield NewRevision(number, partial(self._insert_verdicts, number))


@dataclass(frozen=True)
class NewRevision:
    """A revision in the making; `add` gives a recording, by its id, its verdicts."""

    id: int
    add: Callable[[int, Sequence[Verdict]], None]


def _locked(folder: Path) -> IO[bytes] | None:
    """A lock that ends with the process, however that ends; None on systems without."""
    try:
        import fcntl
    except ImportError:
        return None
    file = (folder / ".lock").open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise GradebookError(
            f"Another run of dropout-course is writing to {folder}: wait until it has ended, or "
            "choose another folder."
        ) from None
    return file


# --- values as text -----------------------------------------------------------------------------


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _packed(page: Sequence[PageCell]) -> bytes:
    return zlib.compress(_json([asdict(cell) for cell in page]).encode("utf-8", "replace"), 6)


def _unpacked(data: bytes) -> tuple[PageCell, ...]:
    entries = json.loads(zlib.decompress(data))
    return tuple(PageCell(Shown(e["shown"]), e["source"], e["exercise"]) for e in entries)


def _verdict_out(verdict: Verdict) -> str:
    # A learner's text may hold lone surrogates, which SQLite cannot store.
    return _json(asdict(verdict)).encode("utf-8", "replace").decode()


def _verdict_in(text: str) -> Verdict:
    entry = json.loads(text)
    findings = tuple(
        Finding(**{**finding, "also": tuple(finding["also"])}) for finding in entry["findings"]
    )
    return Verdict(
        exercise=entry["exercise"],
        outcome=Outcome(entry["outcome"]),
        points=entry["points"],
        max_points=entry["max_points"],
        findings=findings,
        misconceptions=tuple(entry["misconceptions"]),
        note=entry["note"],
    )
