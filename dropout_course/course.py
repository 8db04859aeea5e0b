"""The ordered lessons and exercises: the only registry. Knows nothing of learners."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from dropout_course.exercises import (
    ensembles,
    inverted,
    standard,
    start,
    the_question,
    train_vs_eval,
    why_scale,
)
from dropout_course.exercises.base import Exercise


class UnknownExercise(KeyError):
    """No exercise has that id; the message names those that come close."""

    def __init__(self, name: str) -> None:
        close = difflib.get_close_matches(name, EXERCISES, n=1, cutoff=0.6)
        meant = f" Did you mean {close[0]}?" if close else ""
        known = ", ".join(EXERCISES)
        super().__init__(f"{name} is not an exercise of this course.{meant} Exercises: {known}.")
        self.suggestion: str | None = close[0] if close else None

    def __str__(self) -> str:
        return str(self.args[0])


class UnknownLesson(KeyError):
    """No lesson has that number or id; the message lists them."""

    def __init__(self, name: str) -> None:
        known = ", ".join(lesson.id for lesson in LESSONS)
        super().__init__(f"{name} is not a lesson of this course. Lessons: {known}.")

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Lesson:
    """One notebook. `minutes` is the time that a learner should set aside."""

    id: str
    title: str
    minutes: int
    exercises: tuple[Exercise, ...]

    @property
    def number(self) -> str:
        """The two digits that the id begins with."""
        return self.id.partition("_")[0]


LESSONS: tuple[Lesson, ...] = (
    Lesson("00_start", "Start here", 10, start.EXERCISES),
    Lesson("01_the_question", "The question", 30, the_question.EXERCISES),
    Lesson("02_standard_dropout", "Standard dropout", 30, standard.EXERCISES),
    Lesson("03_inverted_dropout", "Inverted dropout", 35, inverted.EXERCISES),
    Lesson("04_why_scale", "Why scale", 35, why_scale.EXERCISES),
    Lesson("05_train_vs_eval", "Train and eval", 45, train_vs_eval.EXERCISES),
    Lesson("07_ensembles", "Ensembles", 35, ensembles.EXERCISES),
)

EXERCISES: Mapping[str, Exercise] = {
    exercise.id: exercise for lesson in LESSONS for exercise in lesson.exercises
}


def find_exercise(name: str) -> Exercise:
    """Return the exercise with that id; `UnknownExercise` if there is none."""
    try:
        return EXERCISES[name]
    except KeyError:
        raise UnknownExercise(name) from None


def find_lesson(name: str) -> Lesson:
    """Return a lesson by its id or its number: "03_inverted_dropout", "03" or "3"."""
    wanted = name.strip().removesuffix(".ipynb")
    for lesson in LESSONS:
        if wanted in (lesson.id, lesson.number) or wanted.zfill(2) == lesson.number:
            return lesson
    raise UnknownLesson(name)
