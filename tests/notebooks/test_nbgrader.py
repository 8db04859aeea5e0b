"""nbgrader's own commands work on the lessons as they are, without any configuration."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbgrader.api import Gradebook

from dropout_course.course import LESSONS, Lesson

ROOT = Path(__file__).parents[2]
ASSIGNMENT = "lessons"


def nbgrader(folder: Path, *arguments: str) -> str:
    """Run one command in `folder`; what it printed."""
    # nbgrader starts alembic by name, so this environment's scripts must come first on the path.
    scripts = str(Path(sys.executable).parent)
    run = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": os.pathsep.join([scripts, os.environ["PATH"]])},
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def make_course(folder: Path, lessons: tuple[Lesson, ...]) -> Path:
    """A course whose only assignment holds the solutions of `lessons`, released by nbgrader."""
    source = folder / "source" / ASSIGNMENT
    source.mkdir(parents=True)
    for lesson in lessons:
        shutil.copy(ROOT / "solutions" / f"{lesson.id}.ipynb", source)
    nbgrader(folder, "generate_assignment", ASSIGNMENT)
    return folder


def cells(path: Path) -> list[dict[str, Any]]:
    """What a learner sees and nbgrader relies on, cell by cell."""
    return [
        {key: cell[key] for key in ("id", "cell_type", "source", "metadata")}
        for cell in nbformat.read(path, as_version=4).cells
    ]


def test_validate_passes_on_a_solution(tmp_path: Path) -> None:
    """One lesson is enough here: nbval runs them all, and the laws forbid stderr, which fails."""
    name = f"{LESSONS[0].id}.ipynb"
    shutil.copy(ROOT / "solutions" / name, tmp_path)
    printed = nbgrader(tmp_path, "validate", name)
    assert printed == "Success! Your notebook passes all the tests.\n"


def test_generate_assignment_gives_the_committed_notebooks(tmp_path: Path) -> None:
    course = make_course(tmp_path, LESSONS)
    for lesson in LESSONS:
        released = course / "release" / ASSIGNMENT / f"{lesson.id}.ipynb"
        assert cells(released) == cells(ROOT / "notebooks" / f"{lesson.id}.ipynb")


def test_autograde_gives_all_points_when_solved_and_none_as_handed_out(tmp_path: Path) -> None:
    lesson = LESSONS[0]
    course = make_course(tmp_path, (lesson,))
    for student, folder in (("solved", "solutions"), ("untouched", "notebooks")):
        submission = course / "submitted" / student / ASSIGNMENT
        submission.mkdir(parents=True)
        shutil.copy(ROOT / folder / f"{lesson.id}.ipynb", submission)
    nbgrader(course, "autograde", ASSIGNMENT)
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        points = {
            submission.student.id: submission.code_score
            for submission in gradebook.assignment_submissions(ASSIGNMENT)
        }
    exercise_points = sum(exercise.points for exercise in lesson.exercises)
    assert points == {"solved": exercise_points, "untouched": 0}
