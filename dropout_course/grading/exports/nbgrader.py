"""Grades in an nbgrader gradebook, through nbgrader.api.Gradebook.

A lesson is a notebook of its own name. It goes into the assignment that holds this notebook, else
into a new one of the lesson's name. What a person entered (manual scores and comments, extra
credit) is left as it is, so that the export can be repeated.
"""

from __future__ import annotations

import contextlib
import json
import os
import sysconfig
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dropout_course.checks.verdict import Verdict
from dropout_course.display import as_text
from dropout_course.grading.exports.reading import ExportError, Grades
from dropout_course.grading.gradebook import Entry
from dropout_course.surroundings import CourseNotFoundError, course_root

FILE = "gradebook.db"  # nbgrader's own name for it, in a course's folder


def write(grades: Grades, out: Path) -> list[Path]:
    """Fill out/gradebook.db, which may be that of an existing nbgrader course."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / FILE
    try:
        with opened(path) as gradebook:
            fill(gradebook, grades)
    except ExportError:
        raise
    except Exception as error:
        if type(error).__module__.startswith(("sqlalchemy", "nbgrader")):
            raise ExportError(f"nbgrader could not write {path}: {error}") from error
        raise
    return [path]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The nbgrader gradebook at `path`, made where there is none."""
    try:
        from nbgrader.api import Gradebook
    except ImportError as error:
        raise ExportError(
            "nbgrader is not installed, and only it can write its gradebook: "
            "pip install 'dropout-course[grade]', and try again."
        ) from error
    # nbgrader starts alembic by name when it makes a gradebook.
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), before])
    try:
        gradebook = Gradebook(f"sqlite:///{path}")
    finally:
        os.environ["PATH"] = before
    with gradebook, warnings.catch_warnings():
        # SQLAlchemy has something to say about each submission that nbgrader adds.
        warnings.filterwarnings("ignore", message="Object of type .* not in session")
        yield gradebook


def fill(gradebook: Any, grades: Grades) -> None:
    """Bring assignments, cells, students, scores and comments up to date."""
    assignments: dict[str, str] = {}
    for entry in grades.entries():
        if not entry.verdicts:
            continue  # of no lesson that was handed out
        if entry.lesson not in assignments:
            assignments[entry.lesson] = _lesson(gradebook, entry)
        _submission(gradebook, entry, assignments[entry.lesson])
        gradebook.db.commit()
        gradebook.db.expunge_all()  # else every student's rows would stay in memory


def _lesson(gradebook: Any, entry: Entry) -> str:
    """Make sure of the lesson's assignment, notebook and cells; return the assignment's name."""
    lesson = entry.lesson
    holding = [
        assignment.name
        for assignment in gradebook.assignments
        if lesson in {notebook.name for notebook in assignment.notebooks}
    ]
    assignment = holding[0] if holding else lesson
    gradebook.update_or_create_assignment(assignment)
    gradebook.update_or_create_notebook(lesson, assignment)
    for verdict in entry.verdicts:
        gradebook.update_or_create_solution_cell(verdict.exercise, lesson, assignment)
        gradebook.update_or_create_grade_cell(
            check_id(verdict.exercise),
            lesson,
            assignment,
            max_score=verdict.max_points,
            cell_type="code",
        )
    for grade_id, points in _explanations(lesson).items():
        gradebook.update_or_create_solution_cell(grade_id, lesson, assignment)
        gradebook.update_or_create_grade_cell(
            grade_id, lesson, assignment, max_score=points, cell_type="markdown"
        )
    return assignment


def check_id(exercise: str) -> str:
    """The nbgrader id of the cell that checks an exercise."""
    return f"{exercise}-check"


def _explanations(lesson: str) -> Mapping[str, float]:
    """The cells that a person grades, with their points, as the lesson was handed out."""
    try:
        path = course_root() / "notebooks" / f"{lesson}.ipynb"
        cells: Iterable[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (CourseNotFoundError, OSError, ValueError, KeyError):
        return {}
    tags = [cell["metadata"].get("nbgrader", {}) for cell in cells]
    manual = [tag for tag in tags if tag.get("grade") and tag.get("solution")]
    return {tag["grade_id"]: float(tag["points"]) for tag in manual}


def _submission(gradebook: Any, entry: Entry, assignment: str) -> None:
    gradebook.update_or_create_student(entry.student)
    gradebook.update_or_create_submission(assignment, entry.student)
    notebook = gradebook.find_submission_notebook(entry.lesson, assignment, entry.student)
    for place, verdict in enumerate(entry.verdicts):
        grade = _row(gradebook, notebook, "grades", check_id(verdict.exercise))
        grade.auto_score = verdict.points
        # As nbgrader's own SaveAutoGrades: a person who overruled a score should look again.
        grade.needs_manual_grade = grade.manual_score is not None
        comment = _row(gradebook, notebook, "comments", verdict.exercise)
        comment.auto_comment = _comment(entry.notes if place == 0 else (), verdict)


def _comment(notes: tuple[str, ...], verdict: Verdict) -> str:
    return "\n".join([*notes, as_text(verdict)])


def _row(gradebook: Any, notebook: Any, kind: str, name: str) -> Any:
    """The notebook's grade or comment for the cell of that name.

    A submission has rows for the cells that were there when it was made; later ones are added.
    """
    rows = getattr(notebook, kind)
    found = next((row for row in rows if row.name == name), None)
    if found is not None:
        return found
    from nbgrader.api import Comment, Grade

    table, cells = (
        (Grade, notebook.notebook.grade_cells)
        if kind == "grades"
        else (Comment, notebook.notebook.solution_cells)
    )
    cell = next(cell for cell in cells if cell.name == name)
    row = table(cell_id=cell.id, notebook=notebook)
    gradebook.db.add(row)
    gradebook.db.flush()
    return row
