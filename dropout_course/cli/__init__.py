"""The command line: dropout-course lab | doctor | check | status | reset | build | grade | regrade
| export | handout.

Arguments, help texts and exit codes. What a command does lies in a module of its own, imported when
it is called, so that `--help` and `lab` do not wait for torch.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_LESSON = "The lesson: its number (3 or 03) or its name (03_inverted_dropout)."


@app.callback()
def course() -> None:
    """What happens to dropout during inference? Implement the answer, measure it, say it.

    Begin with [bold]dropout-course lab[/bold]. In a notebook, fill a cell,
    run it, and run the check below it. When something does not work,
    [bold]dropout-course doctor[/bold] says what, and how to repair it.
    """


@app.command()
def lab(
    browser: Annotated[
        bool,
        typer.Option(help="Open a browser; without a display the address is printed either way."),
    ] = True,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="The port to listen on; by default a free one."),
    ] = None,
    ip: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 inside a container.")
    ] = "127.0.0.1",
) -> None:
    """Open JupyterLab on the first lesson.

    Stop it with Ctrl-C in this terminal; notebooks and progress are kept.

    Examples:
      dropout-course lab
      dropout-course lab --no-browser --port 8890
    """
    from dropout_course.cli.serving import run

    run(browser=browser, port=port, ip=ip)


@app.command()
def doctor() -> None:
    """Say what is installed, what works, and how to repair what does not.

    Looks at Python, the packages, torch, the kernel that notebooks get,
    the notebooks and the record of your progress. Exits with 1 when
    something is broken.
    """
    from dropout_course.cli.examining import run

    run()


@app.command()
def check(
    lesson: Annotated[str | None, typer.Argument(help=f"{_LESSON} By default all.")] = None,
) -> None:
    """Run your notebooks from top to bottom in a fresh kernel and list every check.

    This is what an instructor sees: save the notebook first. It counts as
    an attempt. Exits with 0 only when every exercise is passed.

    Examples:
      dropout-course check 03
      dropout-course check
    """
    from dropout_course.cli.checking import run

    run(lesson)


@app.command()
def status() -> None:
    """Show your progress: exercises, attempts, hints, time, and what to do next."""
    from dropout_course.cli.reporting import run

    run()


@app.command()
def reset(
    lesson: Annotated[str, typer.Argument(help=_LESSON)],
    exercise: Annotated[
        str | None, typer.Argument(help="One exercise, by its name; by default all of the lesson.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Put stubs back into a lesson's notebook, keeping a backup.

    Only the cells to fill are replaced; everything else that you wrote
    stays, and so does your progress. Close the notebook in JupyterLab
    first, or reload it from disk afterwards.

    Examples:
      dropout-course reset 03 inverted_dropout
      dropout-course reset 03
    """
    from dropout_course.cli.resetting import run

    run(lesson, exercise, confirmed=yes)


@app.command()
def build(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 on any difference.")
    ] = False,
    execute: Annotated[
        bool, typer.Option("--execute", help="Run every solution, also those that did not change.")
    ] = False,
) -> None:
    """For authors: make notebooks/ from solutions/.

    Edit solutions/NN_slug.py, then build. The laws of a lesson are checked
    on the way, and each broken one is a sentence.

    Examples:
      dropout-course build
      dropout-course build --check
    """
    from dropout_course.cli.building import run

    run(check=check, execute=execute)


class _Sandbox(StrEnum):
    AUTO = "auto"
    BWRAP = "bwrap"
    NONE = "none"


class _Format(StrEnum):
    CSV = "csv"
    JSON = "json"
    HTML = "html"
    GRADESCOPE = "gradescope"
    NBGRADER = "nbgrader"
    CANVAS = "canvas"
    MOODLE = "moodle"
    JUNIT = "junit"


class _Engine(StrEnum):
    FORK = "fork"
    NBVAL = "nbval"


_REPORTS = (_Format.CSV, _Format.JSON, _Format.HTML)
_LESSONS = "Only these lessons, by number or name; several with commas or by repeating the option."


@app.command()
def grade(
    submissions: Annotated[
        Path,
        typer.Argument(
            help="A folder or zip: <student>/<lesson>.ipynb, nbgrader's submitted/, or what Canvas"
            " or Moodle gives you to download."
        ),
    ],
    target: Annotated[
        Path, typer.Option("--out", metavar="GRADES", help="The gradebook's folder.")
    ],
    lessons: Annotated[list[str] | None, typer.Option(help=_LESSONS)] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Submissions at a time; by default one a core.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Grade on a Dask cluster: its scheduler, e.g. tcp://host:8786.",
        ),
    ] = None,
    engine: Annotated[
        _Engine,
        typer.Option(
            help="fork: a warmed process runs the cells. nbval: a fresh kernel for each submission;"
            " slow, same verdicts."
        ),
    ] = _Engine.FORK,
    sandbox: Annotated[
        _Sandbox,
        typer.Option(
            help="auto: bubblewrap, or a refusal where it is missing. none: submissions run with"
            " your rights; only for code of people you trust."
        ),
    ] = _Sandbox.AUTO,
    timeout: Annotated[
        float, typer.Option(min=1, max=86400, help="Seconds that a submission may run.")
    ] = 60.0,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Draw the checks' random inputs from this; by default fresh."),
    ] = None,
    formats: Annotated[
        list[_Format] | None,
        typer.Option(
            "--format",
            help="What to write beside the gradebook, by default csv, json and html; the others are"
            " for other programs, as `export` writes them.",
        ),
    ] = None,
    released: Annotated[
        Path | None,
        typer.Option(
            "--release",
            metavar="FILE",
            help="The .release.json that `handout` left, where that was on another machine.",
        ),
    ] = None,
) -> None:
    """Grade the notebooks that students handed in.

    Every submission runs in a sandbox, and what it did is judged outside.
    Run it again and only what is new or has changed is graded; it may be
    stopped at any moment. Exits with 0 when all were processed.

    Examples:
      dropout-course grade submissions/ --out grades
      dropout-course grade download.zip --out grades --lessons 03
    """
    from dropout_course.cli.grading import grade as run
    from dropout_course.grading.work import Engine

    run(
        submissions,
        target,
        lessons=lessons or (),
        workers=workers,
        scheduler=scheduler,
        engine=Engine(engine.value),
        sandbox=sandbox.value,
        timeout=timeout,
        seed=seed,
        formats=[each.value for each in formats or ()],
        released=released,
    )


@app.command()
def regrade(
    grades: Annotated[Path, typer.Argument(help="The folder that `grade` wrote.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change; write nothing.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that judge; by default one a core.")
    ] = None,
) -> None:
    """Judge what was recorded again, by the points and criteria of now.

    No student's code is run. What changes is shown and becomes a new
    revision of the gradebook; the old ones stay in it.

    Examples:
      dropout-course regrade grades --dry-run
      dropout-course regrade grades
    """
    from dropout_course.cli.grading import regrade as run

    run(grades, dry_run=dry_run, workers=workers)


@app.command()
def export(
    grades: Annotated[Path, typer.Argument(help="The folder that `grade` wrote.")],
    formats: Annotated[
        list[_Format],
        typer.Option(
            "--format", help="gradescope, nbgrader, canvas, moodle or junit; may be repeated."
        ),
    ],
    target: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where to write, by default GRADES/exports. An nbgrader course's folder has its"
            " gradebook.db brought up to date.",
        ),
    ] = None,
) -> None:
    """Write the grades as other programs take them.

    gradescope: results.json for each submission, and an autograder's
    folder. nbgrader: gradebook.db. canvas, moodle: CSV files to import.
    junit: one XML file.

    Examples:
      dropout-course export grades --format canvas
      dropout-course export grades --format nbgrader --out my-course
    """
    from dropout_course.cli.grading import export as run

    if reports := [each.value for each in formats if each in _REPORTS]:
        raise typer.BadParameter(
            f"{reports[0]} is written by `grade` and `regrade`; choose gradescope, nbgrader,"
            " canvas, moodle or junit.",
            param_hint="--format",
        )
    run(grades, formats=[each.value for each in formats], folder=target)


@app.command()
def handout(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write the zip.")],
    lessons: Annotated[list[str] | None, typer.Option(help=_LESSONS)] = None,
    withhold_solutions: Annotated[
        bool,
        typer.Option("--withhold-solutions", help="Leave solutions/ out of the zip."),
    ] = False,
) -> None:
    """Make the zip that students get: lessons, package and set-up.

    The same course gives the same bytes. What was handed out is recorded,
    so that `grade` knows it.

    Examples:
      dropout-course handout out --lessons 02,03 --withhold-solutions
    """
    from dropout_course.cli.handing_out import run

    run(target, lessons=lessons or (), withhold_solutions=withhold_solutions)
