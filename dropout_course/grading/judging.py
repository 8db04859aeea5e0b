"""Records judged on the trusted side: the plan made again from its seed, then the verdict.

Nothing that a submission's process says is believed, and nothing here runs a student's code.
"""

from __future__ import annotations

import functools
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path

import numpy as np
import torch

from dropout_course import __version__
from dropout_course.checks.store import UnreadableRecord, decode
from dropout_course.checks.verdict import Outcome, Verdict
from dropout_course.course import Lesson
from dropout_course.exercises.base import Exercise
from dropout_course.grading.work import Asked

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Kept:
    """One exercise's record as it is stored: the seed of its plan, the plan's digest, the bytes.

    `data` is None where the submission's process sent nothing for the exercise.
    """

    exercise: str
    seed: int
    plan: str
    data: bytes | None


def ask(lesson: Lesson, student: str, seed: int | None) -> tuple[Asked, ...]:
    """A seed for each exercise: unforeseeable, or the same at every run where `seed` is given."""

    def drawn(exercise: str) -> int:
        if seed is None:
            return secrets.randbits(63)
        text = f"{seed}\0{student}\0{exercise}".encode("utf-8", "replace")
        return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1

    return tuple(Asked(exercise.id, drawn(exercise.id)) for exercise in lesson.exercises)


def judge(
    lesson: Lesson, asked: Sequence[Asked], records: Mapping[str, bytes]
) -> tuple[tuple[Kept, ...], tuple[Verdict, ...]]:
    """Judge what a submission's process sent; the verdicts are in the lesson's order."""
    kept, verdicts = [], []
    seeds = {one.exercise: one.seed for one in asked}
    for exercise in lesson.exercises:
        one, verdict = _judged(exercise, seeds[exercise.id], records.get(exercise.id))
        kept.append(one)
        verdicts.append(verdict)
    return tuple(kept), tuple(verdicts)


def judge_again(lesson: Lesson, kept: Sequence[Kept]) -> tuple[Verdict | None, ...]:
    """Judge stored records by the criteria of now, in the lesson's order.

    None for an exercise whose plan asks something else now than when it was recorded, and for one
    that was not asked at all: no stored record answers it.
    """
    stored = {one.exercise: one for one in kept}
    return tuple(_again(exercise, stored.get(exercise.id)) for exercise in lesson.exercises)


def _again(exercise: Exercise, kept: Kept | None) -> Verdict | None:
    if kept is None:
        return None
    one, verdict = _judged(exercise, kept.seed, kept.data)
    return verdict if one.plan in (kept.plan, "") else None


def unjudged(exercise: Exercise, note: str) -> Verdict:
    """The verdict where nothing was recorded."""
    return Verdict(exercise.id, Outcome.NOT_ATTEMPTED, 0.0, float(exercise.points), (), note=note)


def _judged(exercise: Exercise, seed: int, data: bytes | None) -> tuple[Kept, Verdict]:
    if data is None:
        note = "Nothing was recorded for this exercise."
        return Kept(exercise.id, seed, "", None), unjudged(exercise, note)
    plan = exercise.plan(np.random.default_rng(seed))
    kept = Kept(exercise.id, seed, fingerprint(plan), data)
    try:
        record = decode(data)
        if record.exercise != exercise.id:
            raise UnreadableRecord(f"it is a record of {record.exercise[:40]}")
        return kept, exercise.verdict(plan, record)
    except UnreadableRecord as error:
        return kept, _refused(exercise, f"What its code sent is no record of it: {error}.")
    except Exception as error:  # noqa: BLE001 - a forged record may hold anything; it proves nothing
        reason = f"What its code sent could not be judged ({type(error).__name__})."
        return kept, _refused(exercise, reason)


def _refused(exercise: Exercise, note: str) -> Verdict:
    return Verdict(exercise.id, Outcome.FAILED, 0.0, float(exercise.points), (), note=note)


# --- what was asked, and by which criteria ------------------------------------------------------


_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


_ENDS = 64  # elements of a tensor at its beginning and its end: the draws between cannot differ


def fingerprint(value: object) -> str:
    """A digest of a plan: equal where the same calls are made with the same inputs.

    Of a long tensor only the ends are looked at. It was drawn from the seed in one go, so another
    way of drawing shows there too.
    """
    parts: list[bytes] = []
    _spell(parts, value)
    return hashlib.blake2b(b"\0".join(parts), digest_size=12).hexdigest()


def _spell(parts: list[bytes], value: object) -> None:
    if isinstance(value, torch.Tensor):
        # Viewed as integers of the same size, since NumPy knows no bfloat16.
        flat = value.detach().reshape(-1)
        ends = flat if flat.numel() <= 2 * _ENDS else torch.cat((flat[:_ENDS], flat[-_ENDS:]))
        bits = ends.view(_BITS[value.dtype.itemsize]).numpy().tobytes()
        parts += (f"{value.dtype}{tuple(value.shape)}".encode(), bits)
    elif is_dataclass(value):
        parts.append(type(value).__name__.encode())
        for name, inner in vars(value).items():
            parts.append(name.encode())
            _spell(parts, inner)
    elif isinstance(value, Mapping):
        parts.append(f"map {len(value)}".encode())
        for pair in value.items():
            _spell(parts, pair)
    elif isinstance(value, tuple | list):
        parts.append(f"tuple {len(value)}".encode())
        for item in value:
            _spell(parts, item)
    else:
        parts.append(repr(value).encode("utf-8", "replace"))


@functools.cache
def asking(lesson: Lesson) -> str:
    """A digest of what the exercises ask and how it is recorded: where it changes, ask anew."""
    parts = [fingerprint(exercise.plan(np.random.default_rng(0))) for exercise in lesson.exercises]
    parts += [_file(_PACKAGE / "checks" / f"{name}.py") for name in ("record", "store")]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


@functools.cache
def criteria() -> str:
    """The course's version with a digest of all that judges; another one may judge differently."""
    folders = (_PACKAGE / "checks", _PACKAGE / "exercises")
    paths = sorted(path for folder in folders for path in folder.rglob("*.py"))
    parts = [_file(path) for path in [*paths, _PACKAGE / "course.py"]]
    return f"{__version__}+{hashlib.sha256(''.join(parts).encode()).hexdigest()[:12]}"


def _file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def total(verdicts: Sequence[Verdict]) -> tuple[float, float]:
    """Points and most points."""
    return sum(one.points for one in verdicts), sum(one.max_points for one in verdicts)
