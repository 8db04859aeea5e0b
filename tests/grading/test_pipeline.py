"""Grading from end to end, without a sandbox: statuses, notes, what is skipped, what survives."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import jsonschema
import pytest

from dropout_course.checks.verdict import Outcome
from dropout_course.course import LESSONS, Lesson, find_lesson
from dropout_course.grading import judging, release
from dropout_course.grading.gradebook import FILE, Entry, Gradebook
from dropout_course.grading.pipeline import Options, Releases, Summary, grade
from dropout_course.grading.regrading import regrade
from dropout_course.grading.reports import Reports
from dropout_course.grading.results import SCHEMA, submission
from dropout_course.grading.work import Recorded, Status, Work
from tests.grading.material import (
    ROOT,
    START,
    WRONG,
    InProcess,
    Watching,
    cell_of,
    filled,
    hand_in,
    handed_out,
    releases,
    solved,
)

Results = dict[tuple[str, str], Entry]


def run(place: Path, book: Gradebook, runner: object = None, **options: object) -> Summary:
    return grade(
        place,
        book,
        releases(),
        runner or InProcess(),  # type: ignore[arg-type]
        Options(**options),  # type: ignore[arg-type]
        Watching(),
    )


def results(book: Gradebook) -> Results:
    return {(entry.student, entry.lesson): entry for entry in book.entries()}


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Gradebook]:
    with Gradebook(tmp_path / "grades") as opened:
        yield opened


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "in"


# --- the ordinary way ---------------------------------------------------------------------------


def test_right_wrong_and_untouched(place: Path, book: Gradebook) -> None:
    hand_in(place, "right", filled())
    hand_in(place, "wrong", filled(WRONG))
    hand_in(place, "untouched", handed_out())
    summary = run(place, book)
    assert summary.graded == {Status.GRADED: 3}
    found = results(book)
    outcomes = {student: found[student, START.id].verdicts[0].outcome for student, _ in found}
    assert outcomes == {
        "right": Outcome.PASSED,
        "wrong": Outcome.FAILED,
        "untouched": Outcome.NOT_ATTEMPTED,
    }
    assert found["wrong", START.id].verdicts[0].misconceptions
    assert all(entry.notes == () for entry in found.values())


def test_every_lesson_solved_gets_every_point(place: Path, book: Gradebook) -> None:
    for lesson in LESSONS:
        hand_in(place, "alice", solved(lesson), f"{lesson.id}.ipynb")
    run(place, book)
    for entry in book.entries():
        assert entry.score == entry.max_score, entry
        assert entry.notes == ()


def test_seeds_are_fresh_for_each_submission_and_run_unless_one_is_given(
    place: Path, tmp_path: Path
) -> None:
    hand_in(place, "alice", filled())
    hand_in(place, "bob", filled())
    seeds = []
    for number, seed in enumerate((None, None, 7, 7)):
        runner = InProcess()
        with Gradebook(tmp_path / f"grades{number}") as book:
            run(place, book, runner, seed=seed)
        seeds.append([work.asked[0].seed for work in runner.ran])
    assert len({seed for some in seeds[:3] for seed in some}) == 6
    assert seeds[2] == seeds[3]


# --- again --------------------------------------------------------------------------------------


def test_run_again_grades_only_what_is_new_or_changed(place: Path, book: Gradebook) -> None:
    hand_in(place, "alice", filled(WRONG))
    hand_in(place, "bob", filled())
    (place / "eve").mkdir()
    (place / "eve" / "00_start.ipynb").write_bytes(b"")
    run(place, book)
    hand_in(place, "alice", filled())
    hand_in(place, "carol", filled())
    runner = InProcess()
    summary = run(place, book, runner)
    assert [work.student for work in runner.ran] == ["alice", "carol"]
    assert summary.unchanged == 2
    assert results(book)["alice", START.id].score == 1


def test_a_changed_release_is_graded_anew(place: Path, book: Gradebook) -> None:
    hand_in(place, "alice", filled())
    run(place, book)
    now = release.current()
    cells = {**now.lessons, START.id: now.lessons[START.id][:-1]}
    later = Releases(dataclasses.replace(now, lessons=cells), {})
    runner = InProcess()
    grade(place, book, later, runner, Options(), Watching())
    assert len(runner.ran) == 1


def test_more_time_is_given_to_those_only_who_ran_out_of_it(place: Path, book: Gradebook) -> None:
    hand_in(place, "alice", filled())
    run(place, book, InProcess(status=Status.TIMED_OUT), timeout=10)
    runner = InProcess()
    run(place, book, runner, timeout=10)
    assert runner.ran == []
    run(place, book, runner, timeout=60)
    assert len(runner.ran) == 1


# --- editions -----------------------------------------------------------------------------------


def test_an_older_edition_is_said(place: Path, book: Gradebook) -> None:
    document = filled()
    document["metadata"]["dropout_course"] = {"version": "0.0.1"}
    hand_in(place, "alice", document)
    run(place, book)
    entry = results(book)["alice", START.id]
    assert entry.score == 1
    assert "another edition of the lesson (0.0.1)" in entry.notes[0]


def test_a_recorded_release_tells_what_was_handed_out(place: Path, book: Gradebook) -> None:
    """Its cells, not those of now, decide what a student changed."""
    old = handed_out()
    cell_of(old, "keep_probability-check")["source"] = "check(keep_probability)  # an older text"
    made = release.of("0.0.1", {START.id: json.dumps(old).encode()})
    cell_of(old, "keep_probability")["source"] = "def keep_probability(p):\n    return 1 - p"
    old["metadata"]["dropout_course"] = {"version": "0.0.1", "release": made.id}
    hand_in(place, "alice", old)
    grade(
        place,
        book,
        Releases(release.current(), {made.id: made}),
        InProcess(),
        Options(),
        Watching(),
    )
    notes = results(book)["alice", START.id].notes
    assert len(notes) == 1
    assert "another edition" in notes[0]


# --- bad submissions ----------------------------------------------------------------------------


def bad_files(place: Path) -> Mapping[str, tuple[Status, str]]:
    """Students with bad files, the status each must get, and what a note must say."""

    def put(student: str, data: bytes, name: str = "00_start.ipynb") -> Path:
        path = place / student / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    put("empty", b"")
    put("binary", bytes(range(256)) * 50)
    put("truncated", json.dumps(filled()).encode()[:-500])
    put("nested", b'{"cells": ' + b"[" * 100_000)
    put("json", b'{"hello": 1}')
    os.truncate(put("huge", b"{}"), 2**31)
    put("unknown", json.dumps(handed_out()).encode().replace(b"keep_prob", b"x"), "47_x.ipynb")
    put("essay", b"%PDF", "essay.pdf")
    (place / "linked").mkdir()
    (place / "linked" / "00_start.ipynb").symlink_to("/etc/passwd")
    with zipfile.ZipFile(place / "zip.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("00_start.ipynb", bytes(40 * 2**20))
    with zipfile.ZipFile(place / "traversal.zip", "w") as archive:
        archive.writestr("../../00_start.ipynb", json.dumps(filled()))
    (place / "broken.zip").write_bytes(b"PK\x03\x04 no zip")
    return {
        "empty": (Status.UNREADABLE, "empty"),
        "binary": (Status.UNREADABLE, "UTF-8"),
        "truncated": (Status.UNREADABLE, "damaged"),
        "nested": (Status.UNREADABLE, "nested"),
        "json": (Status.UNREADABLE, "no notebook"),
        "huge": (Status.REFUSED, "2,048 MB"),
        "unknown": (Status.REFUSED, "no lesson"),
        "essay": (Status.REFUSED, "No notebook"),
        "linked": (Status.REFUSED, "is a link"),
        "zip": (Status.REFUSED, "40 MB"),
        "traversal": (Status.REFUSED, "leads outside"),
        "broken": (Status.REFUSED, "cannot be read as a zip"),
    }


def test_each_bad_file_has_a_status_and_a_note_and_harms_no_other(
    place: Path, book: Gradebook, tmp_path: Path
) -> None:
    expected = bad_files(place)
    for n in range(3):
        hand_in(place, f"good{n}", filled(), "00_start.ipynb")
    hand_in(place, "twice", filled(WRONG), "00_start.ipynb")
    path = hand_in(place, "twice", filled(), "00_start (1).ipynb")
    os.utime(path, (2e9, 2e9))
    run(place, book)
    found = {entry.student: entry for entry in book.entries()}
    assert {name: found[name].status for name in expected} == {
        name: status for name, (status, _) in expected.items()
    }
    for name, (_, said) in expected.items():
        assert any(said in note for note in found[name].notes), (name, found[name].notes)
        assert found[name].score == 0
    for name in ("good0", "good1", "good2", "twice"):
        assert (found[name].status, found[name].score) == (Status.GRADED, 1)
    assert "2 notebooks" in found["twice"].notes[0]
    Reports(tmp_path / "grades").write(book)
    document = json.loads((tmp_path / "grades" / "results.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(document)
    assert len(document["submissions"]) == len(expected) + 4


def test_partial_results_count(place: Path, book: Gradebook) -> None:
    hand_in(place, "alice", filled())
    run(place, book, InProcess(status=Status.CRASHED))
    entry = results(book)["alice", START.id]
    assert (entry.status, entry.score) == (Status.CRASHED, 1)


# --- what the process says is not believed ------------------------------------------------------


class Saying:
    """A runner whose submissions send these bytes for every exercise."""

    def __init__(self, data: bytes | None) -> None:
        self._data = data

    def run(self, works: Iterable[Work]) -> Iterator[tuple[Work, Recorded]]:
        for work in works:
            records = {one.exercise: self._data for one in work.asked if self._data is not None}
            yield work, Recorded(Status.GRADED, {**records, "no exercise": b"x"})


@pytest.mark.parametrize("data", [b"", b"DCR1", b"passed", b"DCR1\xff\xff\xff\xff{}", b"x" * 2**21])
def test_bytes_that_are_no_record_earn_nothing(place: Path, book: Gradebook, data: bytes) -> None:
    hand_in(place, "alice", filled())
    run(place, book, Saying(data))
    (verdict,) = results(book)["alice", START.id].verdicts
    assert (verdict.outcome, verdict.points) == (Outcome.FAILED, 0)
    assert "no record" in verdict.note


def test_no_record_is_not_attempted(place: Path, book: Gradebook) -> None:
    hand_in(place, "alice", filled())
    run(place, book, Saying(None))
    (verdict,) = results(book)["alice", START.id].verdicts
    assert verdict.outcome is Outcome.NOT_ATTEMPTED


def test_a_record_of_another_exercise_or_another_submission_earns_nothing(
    place: Path, book: Gradebook
) -> None:
    hand_in(place, "alice", solved(find_lesson("03")), "03_inverted_dropout.ipynb")
    run(place, book)
    (stored,) = book.stored(1)
    sent = {one.exercise: one.data for one in stored.kept}
    lesson = find_lesson("03")
    asked = judging.ask(lesson, "eve", None)
    replayed = {name: data for name, data in sent.items() if data is not None}
    _, verdicts = judging.judge(lesson, asked, replayed)
    assert [verdict.passed for verdict in verdicts] == [False] * 3
    exchanged = dict.fromkeys(replayed, replayed["dropout_backward"])
    _, verdicts = judging.judge(lesson, asked, exchanged)
    assert "no record of it" in verdicts[0].note


# --- judged again -------------------------------------------------------------------------------


def worth(lesson: Lesson, points: int, keep: int | None = None) -> list[Lesson]:
    exercises = tuple(
        dataclasses.replace(exercise, points=points) for exercise in lesson.exercises[:keep]
    )
    return [dataclasses.replace(lesson, exercises=exercises)]


def test_changed_points_are_judged_again_without_running_anything(
    place: Path, book: Gradebook
) -> None:
    hand_in(place, "alice", filled())
    hand_in(place, "bob", filled(WRONG))
    run(place, book)
    dry = regrade(book, dry_run=True, lessons=worth(START, 5))
    assert [(one.student, one.before, one.after) for one in dry.changes] == [
        ("alice", 1, 5),
        ("bob", 0, 0),
    ]
    assert results(book)["alice", START.id].score == 1
    assert len(book.revisions()) == 1
    regraded = regrade(book, lessons=worth(START, 5))
    assert regraded.revision == 2
    assert results(book)["alice", START.id].score == 5
    assert next(book.entries(1)).score == 1


def test_a_dropped_exercise_counts_no_more(place: Path, book: Gradebook) -> None:
    lesson = find_lesson("03")
    hand_in(place, "alice", solved(lesson), f"{lesson.id}.ipynb")
    run(place, book)
    (change,) = regrade(book, lessons=worth(lesson, 3, keep=2)).changes
    assert (change.before, change.after) == (8, 6)
    assert "dropout_backward: passed 2/2 → not asked" in change.exercises


def test_where_an_exercise_asks_something_else_now_its_verdict_stays(
    place: Path, book: Gradebook
) -> None:
    hand_in(place, "alice", filled())
    run(place, book)
    (exercise,) = START.exercises
    other = dataclasses.replace(
        exercise, plan=lambda rng: find_lesson("03").exercises[0].plan(rng), points=9
    )
    lesson = dataclasses.replace(START, exercises=(other,))
    regraded = regrade(book, lessons=[lesson])
    assert (regraded.kept, regraded.changes) == (1, ())
    assert results(book)["alice", START.id].score == 1


def test_many_are_judged_in_other_processes_with_the_same_verdicts(
    place: Path, book: Gradebook
) -> None:
    for n in range(45):
        hand_in(
            place, f"s{n:02}", filled(WRONG if n % 3 else "def keep_probability(p): return 1-p")
        )
    run(place, book)
    before = [submission(entry) for entry in book.entries()]
    regraded = regrade(book, workers=2)
    assert (regraded.submissions, regraded.changes) == (45, ())
    assert [submission(entry) for entry in book.entries()] == before


# --- killed -------------------------------------------------------------------------------------

GRADER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from dropout_course.grading.gradebook import Gradebook
    from dropout_course.grading.pipeline import Options, grade
    from tests.grading.material import InProcess, Watching, releases

    place, target = map(Path, sys.argv[1:])
    with Gradebook(target) as book:
        grade(place, book, releases(), InProcess(seconds=0.03), Options(seed=1), Watching())
    print("done")
    """
)


def grader(place: Path, target: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", GRADER, str(place), str(target)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def stored(target: Path) -> int:
    try:
        database = sqlite3.connect(f"file:{target / FILE}?mode=ro", uri=True)
        return int(database.execute("SELECT count(*) FROM submissions").fetchone()[0])
    except sqlite3.Error:
        return 0


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_grader_loses_no_stored_submission_and_goes_on_where_it_was(
    place: Path, tmp_path: Path
) -> None:
    for n in range(30):
        hand_in(
            place, f"s{n:02}", filled(WRONG if n % 2 else "def keep_probability(p): return 1-p")
        )
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for enough in (4, 17):
        process = grader(place, killed)
        deadline = time.monotonic() + 60
        while stored(killed) < enough and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        before = stored(killed)
        process.kill()
        process.communicate()
        assert stored(killed) >= before >= enough
        database = sqlite3.connect(killed / FILE)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        halves = "SELECT count(*) FROM recordings WHERE id NOT IN (SELECT recording FROM verdicts)"
        assert database.execute(halves).fetchone() == (0,)
        database.close()
    for target in (killed, whole):
        process = grader(place, target)
        assert process.communicate(timeout=60)[0] == "done\n"
    with Gradebook(killed) as one, Gradebook(whole) as other:
        told = [[submission(entry) for entry in book.entries()] for book in (one, other)]
    for entry in (*told[0], *told[1]):
        del entry["seconds"]
    assert len(told[0]) == 30
    assert told[0] == told[1]
