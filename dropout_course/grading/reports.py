"""What people and programs read of a gradebook, written into its folder.

Everything here can be made again from the gradebook. Must not know how to grade.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from pathlib import Path

from dropout_course.course import LESSONS, Lesson
from dropout_course.grading.classroom import summary
from dropout_course.grading.feedback import feedback, file_name
from dropout_course.grading.files import write_text
from dropout_course.grading.gradebook import Entry, Gradebook
from dropout_course.grading.results import write_csv, write_json


class Format(StrEnum):
    """A kind of report: grades.csv, results.json, or feedback/ and summary.html."""

    CSV = "csv"
    JSON = "json"
    HTML = "html"


_FILES = {Format.CSV: "grades.csv", Format.JSON: "results.json", Format.HTML: "summary.html"}


def present(folder: Path) -> tuple[Format, ...]:
    """The formats that were written into a gradebook's folder before."""
    return tuple(each for each in Format if (folder / _FILES[each]).exists())


class Reports:
    """The reports in `folder`, in the given formats."""

    def __init__(
        self,
        folder: Path,
        formats: Collection[Format] = tuple(Format),
        lessons: Sequence[Lesson] = LESSONS,
    ) -> None:
        self._folder = folder
        self._formats = frozenset(formats)
        self._lessons = lessons
        self._titles = {lesson.id: lesson.title for lesson in lessons}

    def write_feedback(self, entry: Entry) -> None:
        """Write a student's page."""
        if Format.HTML in self._formats:
            text = feedback(entry, self._titles.get(entry.lesson, ""))
            write_text(self._feedback(entry), text, durable=False)

    def write(self, gradebook: Gradebook) -> list[Path]:
        """Write all that speaks of the whole class, and pages that are not there yet.

        Returns the files that people open first.
        """
        paths = {each: self._folder / _FILES[each] for each in Format if each in self._formats}
        if Format.CSV in paths:
            write_csv(paths[Format.CSV], gradebook.entries(), self._exercises(gradebook))
        if Format.JSON in paths:
            write_json(paths[Format.JSON], gradebook.entries())
        if Format.HTML in paths:
            for entry in gradebook.entries():
                if not self._feedback(entry).exists():
                    self.write_feedback(entry)
            write_text(paths[Format.HTML], summary(gradebook.entries(), self._titles))
        return list(paths.values())

    def _feedback(self, entry: Entry) -> Path:
        return self._folder / "feedback" / file_name(entry)

    def _exercises(self, gradebook: Gradebook) -> list[str]:
        """The exercises of the lessons in the gradebook, in the course's order."""
        there = gradebook.lessons()
        return [
            exercise.id
            for lesson in self._lessons
            if lesson.id in there
            for exercise in lesson.exercises
        ]
