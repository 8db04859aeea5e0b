"""`dropout-course build`: print what authoring did. Must not know how lessons are built."""

from __future__ import annotations

import typer

from dropout_course.authoring import AuthoringToolsMissing
from dropout_course.authoring import build as build_lessons
from dropout_course.cli.console import out, root, stop


def run(*, check: bool, execute: bool) -> None:
    """Build, or with `check` only compare; exit with 1 on drift or a broken law."""
    course = root()
    if not (course / "solutions").is_dir():
        stop(f"There is no solutions/ folder in {course}: only authors, who have it, can build.")
    try:
        report = build_lessons(course, check=check, execute=execute)
    except AuthoringToolsMissing as error:
        stop(str(error))
    console = out()
    for sentence in (*report.violations, *report.drift):
        console.print(f"✗ {sentence}", markup=False, soft_wrap=True)
    for path in report.written:
        console.print(f"wrote {path}", markup=False, soft_wrap=True)
    if not report.ok:
        raise typer.Exit(1)
    if not report.written:
        console.print("notebooks/ agrees with solutions/.")
