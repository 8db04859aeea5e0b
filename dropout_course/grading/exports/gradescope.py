"""Gradescope: a results.json for each submission, and the folder of an autograder.

The format and the autograder's files follow Gradescope's specification:
gradescope-autograders.readthedocs.io/en/latest/specs, "Autograder Specifications" (setup.sh and
run_autograder at the root of the zip, results in /autograder/results/results.json, the fields of a
test and of the whole).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dropout_course.checks.verdict import Outcome, Verdict
from dropout_course.display import as_text
from dropout_course.grading.exports.reading import ExportError, Grades
from dropout_course.grading.files import slug, write_text
from dropout_course.grading.gradebook import Entry
from dropout_course.grading.work import Status
from dropout_course.surroundings import PACKAGE, CourseNotFoundError, course_root

FOLDER, AUTOGRADER = "gradescope", "gradescope-autograder"


def write(grades: Grades, out: Path) -> list[Path]:
    """Write gradescope/<lesson>/<student>/results.json for each submission, and the autograder."""
    written = []
    lessons: set[str] = set()
    for entry in grades.entries():
        path = out / FOLDER / slug(entry.lesson) / slug(entry.student) / "results.json"
        write_text(path, text([entry]))
        written.append(path)
        if entry.verdicts:
            lessons.add(entry.lesson)
    return [*written, *write_autograder(out / AUTOGRADER, sorted(lessons))]


def text(entries: Sequence[Entry]) -> str:
    """The results.json of one upload as text."""
    return json.dumps(results(entries), ensure_ascii=False, indent=1) + "\n"


def results(entries: Sequence[Entry]) -> dict[str, Any]:
    """The results of one student's upload, which may hold several lessons."""
    notes = [note for entry in entries for note in entry.notes]
    many = len(entries) > 1
    tests = [
        _test(verdict, f"{verdict.exercise} ({entry.lesson})" if many else verdict.exercise, number)
        for number, (entry, verdict) in enumerate(
            ((entry, verdict) for entry in entries for verdict in entry.verdicts), start=1
        )
    ]
    document: dict[str, Any] = {
        # Also where every test has a score: the tests' scores are added up only without it.
        "score": sum(entry.score for entry in entries),
        "execution_time": round(sum(entry.seconds for entry in entries), 3),
        "output": "\n".join(notes),
        "output_format": "text",
        "visibility": "visible",
        # What the grader prints is for the instructor.
        "stdout_visibility": "hidden",
        "extra_data": {
            "submissions": [{"lesson": one.lesson, "status": one.status.value} for one in entries]
        },
        "tests": tests,
    }
    return document


def _test(verdict: Verdict, name: str, number: int) -> dict[str, Any]:
    return {
        "name": name,
        "number": str(number),
        "score": verdict.points,
        "max_score": verdict.max_points,
        "status": "passed" if verdict.outcome is Outcome.PASSED else "failed",
        "output": as_text(verdict),
        "output_format": "text",
        "visibility": "visible",
        "extra_data": {"misconceptions": list(verdict.misconceptions)},
    }


def failure(sentence: str, max_scores: Mapping[str, float]) -> dict[str, Any]:
    """Results for an upload that could not be graded at all; every exercise gets no points."""
    return {
        "score": 0.0,
        "output": sentence,
        "output_format": "text",
        "visibility": "visible",
        "extra_data": {"submissions": [{"lesson": "", "status": Status.UNREADABLE.value}]},
        "tests": [
            {"name": name, "score": 0.0, "max_score": most, "status": "failed", "output": sentence}
            for name, most in max_scores.items()
        ],
    }


# --- the autograder -----------------------------------------------------------------------------

PROGRAMS = ("setup.sh", "run_autograder")
_TEMPLATES = PACKAGE / "grading" / "exports" / "autograder_files"
_COURSE = (
    "dropout_course",
    "notebooks",
    "pyproject.toml",
    "constraints.txt",
    "README.md",
    "LICENSE",
)


def write_autograder(folder: Path, lessons: Sequence[str]) -> list[Path]:
    """Make the folder whose contents, zipped, are an autograder for these lessons (all if none).

    Raises ExportError where the course's own files are not beside the package.
    """
    try:
        root = course_root()
    except CourseNotFoundError as error:
        raise ExportError(str(error)) from error
    missing = [name for name in _COURSE if not (root / name).exists()]
    if missing:
        raise ExportError(
            f"The autograder needs the course's folder, and {root} lacks {', '.join(missing)}: "
            "run the command where the course was cloned."
        )
    written = []
    for name in PROGRAMS:
        path = folder / name
        write_text(path, (_TEMPLATES / name).read_text(encoding="utf-8"))
        path.chmod(0o755)
        written.append(path)
    chosen = [lesson for lesson in lessons if re.fullmatch(r"[\w-]+", lesson)]
    write_text(folder / "lessons.txt", "".join(f"{lesson}\n" for lesson in chosen))
    for name in _COURSE:
        _copy(root / name, folder / "course" / name)
    return [*written, folder / "lessons.txt", folder / "course"]


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".ipynb_checkpoints", "backups")
        shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)
