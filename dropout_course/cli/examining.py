"""`dropout-course doctor`: what is installed, what works, and how to repair what does not.

Every examination answers with a diagnosis and never raises; what may crash runs in a process of its
own. Must work in an environment where half of the packages are missing.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import typer
from rich.markup import escape

from dropout_course import __version__
from dropout_course.cli.console import out
from dropout_course.surroundings import (
    PACKAGE,
    CourseNotFoundError,
    course_root,
    lesson_files,
    stubs,
)

PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "matplotlib",
    "scikit-learn",
    "jupyterlab",
    "ipykernel",
    "ipywidgets",
    "nbval",
    "typer",
    "rich",
    "platformdirs",
)
PROBE_LIMIT = 120  # seconds for a first import of torch from a cold disk
INSTALL = "`make lab` (or pip install -e . in the course's folder)"

_TORCH_PROBE = """
import torch
x = torch.ones(1000, requires_grad=True)
y = torch.nn.functional.dropout(x, 0.5, training=True)
y.sum().backward()
assert torch.equal(x.grad, y.detach())
print(torch.__version__, "on", torch.get_num_threads(), "threads")
"""

_KERNEL_PROBE = """
import json, sys
import ipykernel, torch
import dropout_course
print(json.dumps([sys.prefix, dropout_course.__file__]))
"""


class State(StrEnum):
    """How an examination ended."""

    FINE = "fine"
    WORTH_KNOWING = "worth knowing"
    BROKEN = "broken"


SYMBOLS = {State.FINE: "✓", State.WORTH_KNOWING: "!", State.BROKEN: "✗"}
STYLES = {State.FINE: "green", State.WORTH_KNOWING: "yellow", State.BROKEN: "red"}


@dataclass(frozen=True)
class Diagnosis:
    """What was looked at, what was found, and the repair where one is needed."""

    subject: str
    state: State
    found: str
    repair: str = ""


def run() -> None:
    """Print every diagnosis; exit with 1 if something is broken."""
    console = out()
    broken = 0
    for diagnosis in examinations():
        style = STYLES[diagnosis.state]
        mark = f"[{style}]{SYMBOLS[diagnosis.state]}[/]"
        console.print(f"{mark} {diagnosis.subject:<10} {escape(diagnosis.found)}", soft_wrap=True)
        if diagnosis.repair:
            console.print(f"  {'repair:':<10} {escape(diagnosis.repair)}", soft_wrap=True)
        broken += diagnosis.state is State.BROKEN
    if broken:
        console.print(f"{broken} of these must be repaired before the course can run.")
        raise typer.Exit(1)
    console.print("Everything that the course needs works.")


def examinations() -> Iterator[Diagnosis]:
    """All diagnoses, in the order in which one would repair things."""
    yield python()
    yield from packages()
    yield torch_works()
    yield kernel()
    yield notebooks()
    yield progress_record()


def python() -> Diagnosis:
    """The interpreter and its environment."""
    found = f"{platform.python_version()} in {sys.prefix}, dropout-course {__version__}"
    try:
        installed = importlib.metadata.version("dropout-course")
    except importlib.metadata.PackageNotFoundError:
        return Diagnosis(
            "python",
            State.BROKEN,
            f"{found}; the course is not installed in this environment",
            f"run {INSTALL}",
        )
    if installed != __version__:
        return Diagnosis(
            "python",
            State.WORTH_KNOWING,
            f"{found}; version {installed} was installed",
            f"run {INSTALL} again",
        )
    return Diagnosis("python", State.FINE, found)


def packages() -> Iterator[Diagnosis]:
    """What is installed, with versions; one diagnosis more for what is missing."""
    versions, missing = [], []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    yield Diagnosis("packages", State.FINE, ", ".join(versions) or "none")
    if missing:
        yield Diagnosis(
            "packages", State.BROKEN, f"missing: {', '.join(missing)}", f"run {INSTALL}"
        )


def torch_works() -> Diagnosis:
    """A forward and a backward pass, in a process of its own: a broken torch can crash."""
    code, told = _probe(sys.executable, _TORCH_PROBE)
    if code == 0:
        return Diagnosis("torch", State.FINE, f"{told}; a forward and a backward pass agree")
    return Diagnosis(
        "torch",
        State.BROKEN,
        f"it does not work: {told}",
        f"`{sys.executable} -m pip install --force-reinstall torch`, or remove .venv and run "
        "`make lab`",
    )


def kernel() -> Diagnosis:
    """Whether notebooks get a kernel of this environment that can import the course."""
    subject = "kernel"
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    except ImportError:
        return Diagnosis(subject, State.BROKEN, "jupyter_client is missing", f"run {INSTALL}")
    install = f"`{sys.executable} -m ipykernel install --sys-prefix --name python3`"
    try:
        spec = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        return Diagnosis(subject, State.BROKEN, "there is no kernel named python3", install)
    # Jupyter runs a bare `python` of a kernel's specification as its own interpreter.
    named = spec.argv[0]
    interpreter = sys.executable if named in ("python", "python3") else named
    code, told = _probe(interpreter, _KERNEL_PROBE, {**os.environ, **spec.env})
    where = f"python3 runs {interpreter}"
    if code:
        return Diagnosis(
            subject,
            State.BROKEN,
            f"{where}, which cannot run the course: {told}",
            f"{install}; it was found in {spec.resource_dir}",
        )
    prefix, package = json.loads(told)
    if Path(prefix).resolve() != Path(sys.prefix).resolve():
        return Diagnosis(
            subject,
            State.BROKEN,
            f"{where}, of another environment ({prefix})",
            f"{install}; it was found in {spec.resource_dir}",
        )
    if Path(package).resolve().parent != PACKAGE:
        return Diagnosis(
            subject,
            State.BROKEN,
            f"{where}, which imports another copy of the course ({package})",
            f"remove that copy, or run {INSTALL} again",
        )
    return Diagnosis(subject, State.FINE, f"{where}, this environment")


def notebooks() -> Diagnosis:
    """Whether the lessons are there and can be read."""
    try:
        course = course_root()
    except CourseNotFoundError as error:
        return Diagnosis("notebooks", State.BROKEN, str(error), "change to the course's folder")
    unreadable = []
    for file in lesson_files(course):
        try:
            json.loads(file.read_text(encoding="utf-8"))["cells"]
        except (OSError, ValueError, KeyError, TypeError):
            unreadable.append(file.name)
    if unreadable:
        return Diagnosis(
            "notebooks",
            State.BROKEN,
            f"cannot be read: {', '.join(unreadable)}",
            "take the newest copy from notebooks/backups, or a fresh one from the course",
        )
    found = f"{len(lesson_files(course))} lessons in {course / 'notebooks'}"
    if not stubs():
        return Diagnosis(
            "notebooks",
            State.WORTH_KNOWING,
            f"{found}; the stubs for reset are missing from the package",
            f"run {INSTALL} again",
        )
    return Diagnosis("notebooks", State.FINE, found)


def progress_record() -> Diagnosis:
    """Whether the record of progress can be read and written."""
    try:
        from dropout_course.progress import HOME_VARIABLE, Ledger
    except ImportError as error:
        return Diagnosis("progress", State.BROKEN, str(error), f"run {INSTALL}")
    ledger = Ledger()
    count = len(ledger.events())
    ledger.add()
    sentences = ledger.take_notices()
    if sentences:
        return Diagnosis(
            "progress",
            State.WORTH_KNOWING,
            " ".join(sentences),
            f"make {ledger.path.parent} writable, or set {HOME_VARIABLE} to a folder that is",
        )
    return Diagnosis("progress", State.FINE, f"{count} events in {ledger.path}")


def _probe(
    interpreter: str, code: str, environment: dict[str, str] | None = None
) -> tuple[int, str]:
    """Run `code`; its exit status, and its output or the last line of its error."""
    try:
        process = subprocess.run(
            [interpreter, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=PROBE_LIMIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, re.sub(r"\s+", " ", str(error))
    told = process.stdout if process.returncode == 0 else process.stderr
    last = told.strip().splitlines()[-1:]
    return process.returncode, last[0] if last else f"it ended with {process.returncode}"
