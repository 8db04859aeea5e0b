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
        written = []
        if Format.CSV in self._formats:
            write_csv(self._folder / "grades.csv", gradebook.entries(), self._exercises(gradebook))
            written.append(self._folder / "grades.csv")
        if Format.JSON in self._formats:
            write_json(self._folder / "results.json", gradebook.entries())
            written.append(self._folder / "results.json")
        if Format.HTML in self._formats:
            for entry in gradebook.entries():
                if not self._feedback(entry).exists():
                    self.write_feedback(entry)
            text = summary(gradebook.entries(), self._titles)
            write_text(self._folder / "summary.html", text)
            written.append(self._folder / "summary.html")
        return written

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
