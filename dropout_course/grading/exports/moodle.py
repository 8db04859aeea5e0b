"""Moodle's two ways of taking grades, each as CSV.

`moodle-<lesson>.csv` is an assignment's offline grading worksheet, for students whose files came
from Moodle: mod/assign/feedback/offline/importgradeslib.php finds the columns "Identifier"
("Participant <number>", the number in the name of the downloaded file), "Grade" and "Last modified
(grade)" by these names, and puts "Feedback comments" beside the grade. A grade that stands in
Moodle already is only replaced where "Allow updating records that have been modified more recently
in Moodle than in the spreadsheet" is ticked: the worksheet does not know when that was.

`moodle.csv` is for Grades > Import > CSV file (grade/import/csv/classes/load_data.php; "Grade
import" in Moodle's documentation): one column that identifies the student, mapped by hand to
username or email; then two columns a lesson, its grade and its feedback. Moodle wants both to be
mapped, since feedback alone erases the grade, and refuses the whole file for one unknown student.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from dropout_course.grading.exports.reading import Grades, feedback, number, unformulated
from dropout_course.grading.files import write_text
from dropout_course.grading.gradebook import Entry

FILE = "moodle.csv"
WORKSHEET = (
    "Identifier",
    "Full name",
    "Grade",
    "Maximum Grade",
    "Last modified (grade)",
    "Feedback comments",
)
NO_GRADE = "-"


def write(grades: Grades, out: Path) -> list[Path]:
    """Write moodle.csv and a worksheet for each lesson that came from Moodle."""
    path = out / FILE
    write_text(path, table(grades))
    written = [path]
    lessons = {one.lesson for one in grades.entries() if _participant(one) and one.verdicts}
    for lesson in sorted(lessons):
        path = out / f"moodle-{lesson}.csv"
        write_text(path, worksheet(grades, lesson))
        written.append(path)
    return written


def worksheet(grades: Grades, lesson: str) -> str:
    """The offline grading worksheet of one lesson, for those whom Moodle numbered."""
    rows = (
        [
            f"Participant {entry.platform_id}",
            unformulated(_name(entry)),
            number(entry.score),
            number(entry.max_score),
            NO_GRADE,
            unformulated(feedback(entry)),
        ]
        for entry in grades.entries()
        if entry.lesson == lesson and _participant(entry)
    )
    return _csv(WORKSHEET, rows)


def table(grades: Grades) -> str:
    """A row a student; a lesson that was not handed in is "-", which Moodle reads as no grade."""
    lessons: set[str] = set()
    students: set[str] = set()
    for entry in grades.entries():
        if entry.verdicts:
            lessons.add(entry.lesson)
            students.add(_name(entry))
    columns = sorted(lessons)
    by_mail = bool(students) and all("@" in student for student in students)
    header = ["Email address" if by_mail else "Username"]
    for lesson in columns:
        header += [lesson, f"{lesson} (feedback)"]
    return _csv(header, _rows(grades, columns))


def _rows(grades: Grades, columns: Sequence[str]) -> Iterable[list[str]]:
    """The rows, made of entries that come sorted by student."""
    student, cells = "", dict[str, list[str]]()

    def row() -> list[str]:
        found = [cells.get(lesson, [NO_GRADE, ""]) for lesson in columns]
        return [unformulated(student), *(cell for pair in found for cell in pair)]

    for entry in grades.entries():
        if not entry.verdicts:
            continue
        if _name(entry) != student:
            if cells:
                yield row()
            student, cells = _name(entry), {}
        cells[entry.lesson] = [number(entry.score), unformulated(feedback(entry))]
    if cells:
        yield row()


def _participant(entry: Entry) -> bool:
    return entry.platform == "moodle" and entry.platform_id.isdecimal()


def _name(entry: Entry) -> str:
    return (
        entry.student.removesuffix(f"_{entry.platform_id}")
        if _participant(entry)
        else (entry.student)
    )


def _csv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
