"""A small lesson for the tests of authoring: lawful as it stands, with a check of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SmallExercise:
    id: str
    points: int


@dataclass(frozen=True)
class SmallLesson:
    id: str
    number: str
    title: str
    minutes: int
    exercises: tuple[SmallExercise, ...]


LESSON = SmallLesson(
    "00_small", "00", "Small", 5, (SmallExercise("double", 2), SmallExercise("guesses", 1))
)


def stub_metadata(grade_id: str) -> str:
    return (
        f'nbgrader={{"grade": false, "grade_id": "{grade_id}", "locked": false, '
        '"schema_version": 3, "solution": true, "task": false}'
    )


def check_metadata(exercise_id: str, points: int) -> str:
    return (
        f'nbgrader={{"grade": true, "grade_id": "{exercise_id}-check", "locked": true, '
        f'"points": {points}, "schema_version": 3, "solution": false, "task": false}}'
    )


def explanation_metadata(lesson_id: str) -> str:
    return (
        f'nbgrader={{"grade": true, "grade_id": "{lesson_id}-sixty-seconds", "locked": false, '
        '"points": 2, "schema_version": 3, "solution": true, "task": false}'
    )


SOURCE = f'''\
# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 00 · Small
#
# 5 minutes.

# %%
def check(target=None, **values):
    assert (target(2) if target else values["guesses"]["four"]) == 4
    print("passed")


# %% {stub_metadata("double")}
def double(x: int) -> int:
    """Return 2 * x."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION


# %% {check_metadata("double", 2)}
check(double)

# %% {stub_metadata("guesses")}
guesses = {{"four": None}}
### BEGIN SOLUTION
guesses = {{"four": 4}}
### END SOLUTION

# %% {check_metadata("guesses", 1)}
check(guesses=guesses)

# %% [markdown] {explanation_metadata("00_small")}
# Twice two is four.

# %% [markdown]
# <details><summary>A model answer</summary>Doubling adds a number to itself.</details>
'''


def write_course(root: Path, source: str = SOURCE) -> Path:
    """Lay out a course of one lesson under `root`; the path of the lesson's source."""
    path = root / "solutions" / f"{LESSON.id}.py"
    path.parent.mkdir(parents=True)
    path.write_text(source, encoding="utf-8")
    return path
