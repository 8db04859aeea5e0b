"""The command line: dropout-course lab | doctor | check | status | reset | build.

Arguments, help texts and exit codes. What a command does lies in a module of its own, imported when
it is called, so that `--help` and `lab` do not wait for torch.
"""

from __future__ import annotations

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
