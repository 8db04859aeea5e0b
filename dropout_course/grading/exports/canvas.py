"""Canvas' gradebook as CSV: a row a student, a column a lesson.

Written for Canvas' own reader, canvas-lms lib/gradebook_importer.rb, whose rules are:
- the header's first cell contains "Student", the second "ID"; "SIS Login ID" may be the third, and
  the last of the student's columns contains "Section";
- a row whose first cell contains "Points Possible" says what an assignment is worth;
- a student is found by Canvas' own number in "ID", else by "SIS Login ID", else by the name;
- a column "Title (number)" or "Title" of an existing assignment fills it; others are made new.
See "How do I import grades in the Gradebook?" in Instructure's guide for instructors.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from dropout_course.grading.exports.reading import Grades, number, unformulated
from dropout_course.grading.files import write_text

FILE = "canvas.csv"
_STUDENT = ("Student", "ID", "SIS Login ID", "Section")


def write(grades: Grades, out: Path) -> list[Path]:
    """Write canvas.csv into `out`."""
    path = out / FILE
    write_text(path, table(grades))
    return [path]


def table(grades: Grades) -> str:
    """The CSV's text. A lesson that a student did not hand in stays empty, so is left as it is."""
    points: dict[str, float] = {}
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for entry in grades.entries():
        if not entry.verdicts:
            continue  # of no lesson that was handed out: Canvas has no column for it
        points[entry.lesson] = max(points.get(entry.lesson, 0.0), entry.max_score)
        canvas_id = entry.platform_id if entry.platform == "canvas" else ""
        known = canvas_id if canvas_id.isdecimal() else ""
        name = entry.student.removesuffix(f"_{known}") if known else entry.student
        student = (unformulated(name), known, "" if known else unformulated(entry.student))
        rows.setdefault(student, {})[entry.lesson] = number(entry.score)
    lessons = sorted(points)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*_STUDENT, *lessons])
    writer.writerow(["    Points Possible", "", "", "", *(number(points[one]) for one in lessons)])
    for student, scores in rows.items():
        writer.writerow([*student, "", *(scores.get(lesson, "") for lesson in lessons)])
    return text.getvalue()
