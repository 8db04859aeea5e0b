"""One submission in flight: what is sent to its process, what is taken from it, how it ended.

Runs on the trusted side and reads what strangers' code wrote: every message is checked, and of the
words in it only short plain text goes into a note. Knows nothing of how processes are started.
"""

from __future__ import annotations

import signal
import socket
import time
from typing import Any

from dropout_course.grading.frames import (
    PAYLOAD_LIMIT,
    BadFrame,
    Frame,
    FrameReader,
    Kind,
    json_in,
    packed_json,
)
from dropout_course.grading.limits import Limits
from dropout_course.grading.work import Recorded, Status, Work
from dropout_course.grading.worker import Ending

NOTES = 40  # of one submission, at most
NOTE_LENGTH = 300  # characters of a stranger's text in a note
_CHUNK = 1 << 18


class Session:
    """The conversation with one submission. `finished` once nothing more will come."""

    def __init__(self, work: Work, channel: socket.socket) -> None:
        self.work = work
        self.channel = channel
        self.finished = False
        self.deadline = time.monotonic() + work.timeout
        self._started = time.monotonic()
        self._reader = FrameReader()
        self._outgoing = packed_json(Kind.WORK, _content(work))
        self._records: dict[str, bytes] = {}
        self._notes: list[str] = []
        self._said: dict[str, str] = {}
        self._loaded = self._done = self._stopped = self._timed_out = False
        self._violation = ""
        # As many bytes as all that may be said comes to.
        self._left = (len(work.asked) + 1) * PAYLOAD_LIMIT
        channel.setblocking(False)

    @property
    def decided(self) -> bool:
        """Whether its outcome no longer depends on how its process ends."""
        return self._done or self._timed_out or bool(self._violation)

    @property
    def sending(self) -> bool:
        """Whether something waits for the channel to take it."""
        return bool(self._outgoing)

    def send(self) -> None:
        """Send what the channel takes now."""
        try:
            sent = self.channel.send(self._outgoing)
            self._outgoing = self._outgoing[sent:]
        except BlockingIOError:
            return
        except OSError:
            self._outgoing = b""  # it is gone; its end tells why

    def receive(self) -> None:
        """Take what has come."""
        try:
            data = self.channel.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.finished = True
            return
        self._left -= len(data)
        try:
            if self._left < 0:
                raise BadFrame("more came than was asked for")
            for frame in self._reader.feed(data):
                self._take(frame)
                if self.finished:
                    return
        except BadFrame as why:
            self._violation = str(why)
            self.finished = True

    def time_out(self) -> None:
        """Note that the time is over."""
        self._timed_out = self.finished = True

    def recorded(self, ending: Ending | None, limits: Limits) -> Recorded:
        """What this submission comes to, its process having ended (None: with its worker)."""
        status, note = self._verdict(ending, limits)
        if self._done:
            silent = (one.exercise for one in self.work.asked if one.exercise not in self._records)
            for exercise in silent:
                self._said.setdefault(exercise, f"{exercise} was not recorded.")
        notes = [*self._notes, *self._said.values(), *([note] if note else [])]
        seconds = time.monotonic() - self._started
        return Recorded(status, dict(self._records), tuple(notes), seconds)

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.LOADED and not self._loaded:
            self._loaded = True
            # Only now: code that is loaded can no longer be written for these inputs.
            seeds = [[asked.exercise, asked.seed] for asked in self.work.asked]
            self._outgoing += packed_json(Kind.SEEDS, seeds)
        elif frame.kind is Kind.NOTE:
            self._note(json_in(frame))
        elif frame.kind is Kind.RECORD and self._loaded:
            self._record(frame.payload)
        elif frame.kind is Kind.DONE and self._loaded:
            self._done = self.finished = True
        else:
            raise BadFrame(f"a message came out of turn ({frame.kind.name.lower()})")

    def _record(self, payload: bytes) -> None:
        name, zero, data = payload.partition(b"\0")
        exercise = name.decode(errors="replace")
        if not zero or exercise not in {asked.exercise for asked in self.work.asked}:
            raise BadFrame("a record came for an exercise that was not asked for")
        if exercise in self._records:
            raise BadFrame(f"a second record came for {exercise}")
        self._records[exercise] = data

    def _note(self, content: Any) -> None:
        match content:
            case ["missing", str(exercise)] if self._is_asked(exercise):
                self._said[exercise] = f"{exercise} is not defined after all cells were run."
            case ["unrecorded", str(exercise), str(why)] if self._is_asked(exercise):
                self._said[exercise] = f"{exercise} could not be recorded: {_plain(why)}."
            case ["failed", str(what)]:
                self._keep(f"The recording itself failed: {_plain(what)}")
            case ["printed", 0, str(count), _] if count.isdecimal():
                self._keep(f"The cells printed {int(count[:18]):,} characters; none are kept.")
            case [str(kind), int(cell), str(text), str(detail)] if self._is_cell(cell):
                self._keep(f"{self._cell(cell)} {self._event(kind, text, detail)}")
            case _:
                raise BadFrame("a note came that is none")

    def _keep(self, note: str) -> None:
        if len(self._notes) < NOTES:
            self._notes.append(note)

    def _event(self, kind: str, text: str, detail: str) -> str:
        if kind == "raised":
            message = f": {_plain(detail)}" if detail else ""
            missing = text == "ModuleNotFoundError"
            hint = " (it is not installed where submissions are graded)" if missing else ""
            return f"raised {_plain(text)}{message}{hint}"
        if kind == "stopped":
            self._stopped = True
            return "ran too long and was stopped"
        if kind == "magic":
            return f"holds {_plain(text)}, which is not run while grading"
        raise BadFrame("a note came that is none")

    def _is_asked(self, exercise: str) -> bool:
        known = any(asked.exercise == exercise for asked in self.work.asked)
        return known and exercise not in self._said

    def _is_cell(self, number: int) -> bool:
        return not isinstance(number, bool) and 1 <= number <= len(self.work.cells)

    def _cell(self, number: int) -> str:
        grade_id = self.work.cells[number - 1].grade_id
        return f"Cell {number} ({grade_id})" if grade_id else f"Cell {number}"

    def _verdict(self, ending: Ending | None, limits: Limits) -> tuple[Status, str]:
        """Status and last note; the first reason that applies is the one that ended it."""
        counts = "what was recorded before counts"
        if self._violation:
            said = f"The submission wrote to the grader's connection: {self._violation}; {counts}."
            return Status.REFUSED, said
        if ending is not None and ending.exceeded == "memory":
            amount = f"{limits.memory / 2**30:.3g} GiB"
            return Status.CRASHED, f"It used more than {amount} of memory and was ended; {counts}."
        if ending is not None and ending.exceeded == "processes":
            said = f"It started more than {limits.processes} processes and was ended; {counts}."
            return Status.CRASHED, said
        if self._done:
            return (Status.TIMED_OUT if self._stopped else Status.GRADED), ""
        if self._timed_out:
            said = f"It ran longer than {self.work.timeout:g} s and was ended; {counts}."
            return Status.TIMED_OUT, said
        if ending is None:
            return Status.CRASHED, f"It ended together with its worker; {counts}."
        return _ended_early(ending, limits, counts)


def _ended_early(ending: Ending, limits: Limits, counts: str) -> tuple[Status, str]:
    number, code = ending.status & 0x7F, ending.status >> 8
    if number and ending.cpu >= limits.cpu - 1:
        said = f"It used more than {limits.cpu} s of processor time and was ended; {counts}."
        return Status.TIMED_OUT, said
    if number:
        name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
        return Status.CRASHED, f"Its process was ended by {name}; {counts}."
    return Status.CRASHED, f"Its process ended itself (exit code {code}); {counts}."


def _content(work: Work) -> dict[str, Any]:
    cells = [cell.source for cell in work.cells]
    return {"cells": cells, "timeout": work.timeout, "engine": work.engine}


def _plain(text: str) -> str:
    """One line of printable characters, of limited length."""
    kept = "".join(c if c.isprintable() else " " for c in text[: 4 * NOTE_LENGTH])
    line = " ".join(kept.split())
    return line if len(line) <= NOTE_LENGTH else line[: NOTE_LENGTH - 1] + "…"
