"""The record of progress: several kernels at once, damaged files, folders that refuse, time."""

from __future__ import annotations

import importlib
import multiprocessing
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from dropout_course.checks.verdict import Outcome
from dropout_course.progress import (
    FILE_NAME,
    HOME_VARIABLE,
    LONGEST_GAP,
    Action,
    Event,
    Ledger,
    Standing,
    home,
    next_step,
    overview,
    spoken_time,
    standings,
)

# Asked for by name: the package's attribute `progress` is the verb.
MODULE = importlib.import_module("dropout_course.progress")


@dataclass(frozen=True)
class FakeExercise:
    id: str
    points: int = 2
    task: str = "do it"


@dataclass(frozen=True)
class FakeLesson:
    id: str
    title: str
    exercises: Sequence[FakeExercise]


LESSONS = (
    FakeLesson("01_one", "One", (FakeExercise("a"), FakeExercise("b"))),
    FakeLesson("02_two", "Two", (FakeExercise("c"), FakeExercise("d"))),
)


def checked(exercise: str, outcome: Outcome, at: float = 0.0, points: float = 0.0) -> Event:
    return Event(at, Action.CHECK, exercise, outcome, points)


def _write_many(folder: Path, exercise: str, count: int) -> None:
    for number in range(count):
        Ledger(folder).add(checked(exercise, Outcome.FAILED, at=float(number)))


def test_events_come_back_in_order_of_time_in_another_process_lifetime(tmp_path: Path) -> None:
    Ledger(tmp_path).add(
        checked("b", Outcome.PASSED, at=2.0, points=2.0), checked("a", Outcome.FAILED, at=1.0)
    )
    assert [event.exercise for event in Ledger(tmp_path).events()] == ["a", "b"]
    assert Ledger(tmp_path).events("b") == [checked("b", Outcome.PASSED, at=2.0, points=2.0)]


def test_the_opening_of_a_kernel_is_written_with_its_first_event(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, opening=Event(1.0, Action.OPENED))
    assert Ledger(tmp_path).events() == []
    ledger.add(checked("a", Outcome.FAILED, at=61.0))
    stored = Ledger(tmp_path).events()
    assert [event.action for event in stored] == [Action.OPENED, Action.CHECK]
    assert standings(stored)["a"].seconds == 60.0


def test_four_processes_write_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_write_many, args=(tmp_path, f"exercise{number}", 25))
        for number in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(Ledger(tmp_path).events()) == 100


def test_the_file_uses_a_write_ahead_log(tmp_path: Path) -> None:
    Ledger(tmp_path).add(checked("a", Outcome.FAILED))
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def damage_header(path: Path) -> None:
    path.write_bytes(b"this is no database" * 400)


def damage_half_of_it(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:150] + b"\xff" * (len(content) - 150))


def replace_the_table(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE events")
        connection.execute("CREATE TABLE events (something TEXT)")


def put_an_unknown_action(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE events SET action = 'dancing'")


@pytest.mark.parametrize(
    "damage", [damage_header, damage_half_of_it, replace_the_table, put_an_unknown_action]
)
def test_a_damaged_file_is_set_aside_and_named_in_a_sentence(tmp_path: Path, damage) -> None:
    Ledger(tmp_path).add(checked("a", Outcome.FAILED))
    damage(tmp_path / FILE_NAME)

    ledger = Ledger(tmp_path)
    ledger.events()
    ledger.add(checked("b", Outcome.PASSED))

    (sentence,) = ledger.take_notices()
    (aside,) = tmp_path.glob("progress.damaged-*.sqlite3")
    assert str(aside) in sentence
    assert [event.exercise for event in Ledger(tmp_path).events()] == ["b"]
    assert ledger.take_notices() == ()


def test_an_event_written_to_a_damaged_file_is_not_lost(tmp_path: Path) -> None:
    Ledger(tmp_path).add(checked("a", Outcome.FAILED))
    damage_header(tmp_path / FILE_NAME)
    Ledger(tmp_path).add(checked("b", Outcome.PASSED))
    assert [event.exercise for event in Ledger(tmp_path).events()] == ["b"]


def test_a_new_file_of_another_kernel_is_not_set_aside(tmp_path: Path) -> None:
    """Two kernels meet the same damaged file; the slower one finds the faster one's new file."""
    Ledger(tmp_path).add(checked("a", Outcome.FAILED))
    slow = Ledger(tmp_path)
    slow._set_aside()
    assert list(tmp_path.glob("progress.damaged-*")) == []
    assert slow.take_notices() == ()


@pytest.mark.parametrize(
    "obstacle", ["a file in the folder's place", "a folder in the file's place"]
)
def test_a_place_that_refuses_gives_one_sentence_and_the_kernel_remembers(
    tmp_path: Path, obstacle: str
) -> None:
    folder = tmp_path / "home"
    if obstacle.startswith("a file"):
        folder.write_text("in the way")
    else:
        (folder / FILE_NAME).mkdir(parents=True)
    ledger = Ledger(folder)
    ledger.add(checked("a", Outcome.FAILED))
    ledger.add(checked("a", Outcome.PASSED, at=1.0))
    assert len(ledger.events()) == 2
    (sentence,) = ledger.take_notices()
    assert str(folder / FILE_NAME) in sentence
    assert HOME_VARIABLE in sentence


def test_what_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.write_text("in the way")
    ledger = Ledger(folder)
    ledger.add(checked("a", Outcome.FAILED))
    folder.unlink()
    ledger.add(checked("b", Outcome.PASSED, at=1.0))
    assert [event.exercise for event in Ledger(folder).events()] == ["a", "b"]


@pytest.mark.parametrize(
    "reason", ["attempt to write a readonly database", "database or disk is full"]
)
def test_a_read_only_file_and_a_full_disk_do_not_stop_the_lesson(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError(reason)

    ledger = Ledger(tmp_path)
    monkeypatch.setattr(MODULE, "_open", refuse)
    ledger.add(checked("a", Outcome.FAILED))
    assert len(ledger.events()) == 1
    assert reason in ledger.take_notices()[0]
    assert list(tmp_path.glob("*damaged*")) == []


@pytest.mark.skipif(sys.platform == "win32", reason="it has no limit on the size of a file")
def test_a_disk_that_is_really_full_gives_a_sentence(tmp_path: Path) -> None:
    Ledger(tmp_path).add(checked("a", Outcome.FAILED))
    script = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))
from pathlib import Path
from dropout_course.progress import *
ledger = Ledger(Path({str(tmp_path)!r}))
ledger.add(Event(1.0, Action.HINT, "a"))
print(len([e for e in ledger.events() if e.action is Action.HINT]), *ledger.take_notices())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 Your progress cannot be saved")


def test_a_file_that_another_kernel_locks_for_long_gives_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "BUSY_TIMEOUT", 0.05)
    ledger = Ledger(tmp_path)
    ledger.add(checked("a", Outcome.FAILED))
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    ledger.add(checked("b", Outcome.PASSED, at=1.0))
    other.execute("ROLLBACK")
    other.close()
    assert "locked" in ledger.take_notices()[0]
    ledger.add(checked("c", Outcome.PASSED, at=2.0))
    assert len(Ledger(tmp_path).events()) == 3


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    Ledger(tmp_path).add(checked("a", Outcome.FAILED))
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("PRAGMA user_version = 99")
    ledger = Ledger(tmp_path)
    ledger.add(checked("b", Outcome.PASSED))
    assert "newer version" in ledger.take_notices()[0]
    assert list(tmp_path.glob("*damaged*")) == []


def test_the_folder_comes_from_the_environment_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "mine"))
    assert home() == tmp_path / "mine"
    monkeypatch.delenv(HOME_VARIABLE)
    assert "dropout-course" in str(home())


def test_writing_an_event_takes_a_few_milliseconds(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add(checked("a", Outcome.FAILED))
    times = []
    for _ in range(21):
        start = time.perf_counter()
        ledger.add(checked("a", Outcome.FAILED))
        times.append(time.perf_counter() - start)
    assert sorted(times)[10] < 0.02


def test_an_unfilled_stub_is_no_attempt() -> None:
    found = standings([checked("a", Outcome.NOT_ATTEMPTED)])["a"]
    assert (found.attempts, found.outcome) == (0, Outcome.NOT_ATTEMPTED)


def test_the_best_outcome_stays() -> None:
    found = standings(
        [
            checked("a", Outcome.FAILED, 1.0, 1.0),
            checked("a", Outcome.PASSED, 2.0, 2.0),
            checked("a", Outcome.FAILED, 3.0, 0.0),
        ]
    )["a"]
    assert (found.outcome, found.points, found.attempts) == (Outcome.PASSED, 2.0, 3)


def test_a_night_between_two_checks_is_not_time_of_work() -> None:
    events = [
        checked("a", Outcome.FAILED, 0.0),
        checked("a", Outcome.FAILED, 60.0),
        checked("b", Outcome.FAILED, 60.0 + 8 * 3600),
    ]
    found = standings(events)
    assert found["a"].seconds == 60.0
    assert found["b"].seconds == LONGEST_GAP


def test_time_while_no_kernel_ran_counts_for_nobody() -> None:
    events = [
        checked("a", Outcome.FAILED, 0.0),
        Event(8 * 3600.0, Action.OPENED),
        checked("a", Outcome.PASSED, 8 * 3600.0 + 30),
    ]
    assert standings(events)["a"].seconds == 30.0


def test_hints_are_counted_up_to_three() -> None:
    hints = [Event(float(at), Action.HINT, "a") for at in range(5)]
    assert standings(hints)["a"].hints == 3


@pytest.mark.parametrize(
    ("passed", "last", "expected"),
    [
        ((), None, "01_one, exercise 1 of 2, `a`: do it"),
        (("a",), "a", "01_one, exercise 2 of 2, `b`: do it"),
        (("a", "b"), "b", "02_two, exercise 1 of 2, `c`: do it"),
        (("c",), "c", "02_two, exercise 2 of 2, `d`: do it"),
        (("c", "d"), "d", "01_one, exercise 1 of 2, `a`: do it"),
        (("a", "b", "c", "d"), "d", "every exercise is passed"),
    ],
)
def test_the_next_step_goes_on_where_the_learner_is(
    passed: tuple[str, ...], last: str | None, expected: str
) -> None:
    events = [checked(name, Outcome.PASSED, float(at)) for at, name in enumerate(passed)]
    assert expected in next_step(LESSONS, events)


def test_the_overview_names_every_exercise_with_its_points() -> None:
    seen = overview(LESSONS, [checked("b", Outcome.PASSED, 0.0, 2.0)], ("a sentence",))
    rows = [standing for lesson in seen.lessons for standing in lesson.standings]
    assert [row.exercise for row in rows] == ["a", "b", "c", "d"]
    assert rows[1] == Standing("b", Outcome.PASSED, 2.0, 2, attempts=1)
    assert seen.notices == ("a sentence",)


@pytest.mark.parametrize(
    ("seconds", "spoken"),
    [(0, "0 min"), (20, "< 1 min"), (89, "1 min"), (720, "12 min"), (3900, "1 h 05 min")],
)
def test_time_is_spoken_in_minutes(seconds: float, spoken: str) -> None:
    assert spoken_time(seconds) == spoken
