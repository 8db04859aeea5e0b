"""The gradebook: what it keeps, what a revision changes, and what no kill can break."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from dropout_course.checks.verdict import Finding, Outcome, Verdict
from dropout_course.course import EXERCISES
from dropout_course.exercises.base import Kind
from dropout_course.grading.assemble import PageCell, Shown
from dropout_course.grading.gradebook import FILE, Entry, Gradebook, GradebookError, Known
from dropout_course.grading.judging import Kept, fingerprint
from dropout_course.grading.work import Status

FINDINGS = (
    Finding("scale", passed=False, proves="right", called="f(x)", returned="1", expected="2"),
    Finding("rate", passed=True, proves="drops at p", also=("a", "b")),
)
PASSED = Verdict("keep_probability", Outcome.PASSED, 1.0, 1.0, (FINDINGS[1],))
FAILED = Verdict("keep_probability", Outcome.FAILED, 0.0, 1.0, FINDINGS, ("no-scale",), "note")
PAGE = (PageCell(Shown.OWN, "x = 1", "keep_probability"), PageCell(Shown.TEXT, "Grüße \ud800"))


def an_entry(student: str = "alice", verdict: Verdict = FAILED) -> Entry:
    notes = ("A note.",)
    return Entry(student, "00_start", Status.GRADED, 0.5, notes, (verdict,), PAGE, "a.ipynb")


def add(book: Gradebook, entry: Entry, digest: str = "d1") -> None:
    kept = (Kept("keep_probability", 2**62, "plan", b"\x00data"), Kept("other", 1, "", None))
    book.add(entry, digest=digest, timeout=60, kept=kept, criteria="c1")


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    with Gradebook(tmp_path) as book:
        add(book, an_entry())
    with Gradebook(tmp_path, create=False) as book:
        (entry,) = book.entries()
        assert entry.verdicts == (FAILED,)
        assert entry.notes == ("A note.",)
        assert entry.page == (PAGE[0], PageCell(Shown.TEXT, "Grüße ?"))
        assert book.known("alice", "00_start") == Known("d1", Status.GRADED, 60)
        assert book.known("alice", "01_the_question") is None
        (stored,) = book.stored(1)
        assert stored.kept[0] == Kept("keep_probability", 2**62, "plan", b"\x00data")
        assert stored.kept[1].data is None


def test_of_two_recordings_the_newest_counts_and_the_old_one_stays(tmp_path: Path) -> None:
    with Gradebook(tmp_path) as book:
        add(book, an_entry(verdict=FAILED), "d1")
        add(book, an_entry(verdict=PASSED), "d2")
        (entry,) = book.entries()
        assert entry.score == 1
        assert book.count() == 1
    rows = sqlite3.connect(tmp_path / FILE).execute("SELECT count(*) FROM recordings").fetchone()
    assert rows == (2,)


def test_a_new_revision_counts_and_the_old_one_stays(tmp_path: Path) -> None:
    with Gradebook(tmp_path) as book:
        add(book, an_entry())
        (stored,) = book.stored(1)
        with book.new_revision("c2") as revision:
            revision.add(stored.id, (PASSED,))
        assert [one.criteria for one in book.revisions()] == ["c1", "c2"]
        assert next(book.entries()).score == 1
        assert next(book.entries(1)).score == 0


def test_a_revision_that_fails_half_way_leaves_no_trace(tmp_path: Path) -> None:
    with Gradebook(tmp_path) as book:
        add(book, an_entry())
        (stored,) = book.stored(1)

        def broken_off() -> None:
            with book.new_revision("c2") as revision:
                revision.add(stored.id, (PASSED,))
                raise RuntimeError

        with pytest.raises(RuntimeError):
            broken_off()
        assert len(book.revisions()) == 1
        assert next(book.entries()).verdicts == (FAILED,)


def test_a_submission_that_cannot_be_stored_leaves_no_half(tmp_path: Path) -> None:
    with Gradebook(tmp_path) as book:
        twice = an_entry()
        twice = Entry(**{**vars(twice), "verdicts": (PASSED, PASSED)})
        with pytest.raises(sqlite3.IntegrityError):
            add(book, twice)
        assert book.count() == 0
        assert list(book.entries()) == []


def test_two_runs_do_not_write_to_one_gradebook(tmp_path: Path) -> None:
    with Gradebook(tmp_path), pytest.raises(GradebookError, match="Another run"):
        Gradebook(tmp_path)
    Gradebook(tmp_path).close()


def test_a_folder_without_a_gradebook_is_said(tmp_path: Path) -> None:
    with pytest.raises(GradebookError, match="holds no gradebook"):
        Gradebook(tmp_path, create=False)


@pytest.mark.parametrize("content", [b"this is no database at all, but long enough" * 50])
def test_a_file_that_is_no_gradebook_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(GradebookError, match="cannot be used as a gradebook"):
        Gradebook(tmp_path)


def test_a_newer_gradebook_is_left_alone(tmp_path: Path) -> None:
    Gradebook(tmp_path).close()
    database = sqlite3.connect(tmp_path / FILE)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(GradebookError, match="newer version"):
        Gradebook(tmp_path)


def test_verdicts_are_stored_as_json_that_others_can_read(tmp_path: Path) -> None:
    with Gradebook(tmp_path) as book:
        add(book, an_entry())
    (text,) = sqlite3.connect(tmp_path / FILE).execute("SELECT verdict FROM verdicts").fetchone()
    assert json.loads(text)["findings"][0]["criterion"] == "scale"


def test_a_plans_fingerprint_tells_what_is_asked() -> None:
    seen = set()
    for exercise in EXERCISES.values():
        plans = [exercise.plan(np.random.default_rng(seed)) for seed in (1, 1, 2)]
        one, same, other = map(fingerprint, plans)
        assert one == same
        assert one != other or exercise.kind is Kind.VALUE
        seen.add(one)
    assert len(seen) == len(EXERCISES)
