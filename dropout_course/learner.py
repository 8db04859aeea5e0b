"""What a learner calls in a notebook: check, hint, solution, reset, progress.

Finds the exercise that is meant, asks the engine, shows the answer, keeps the record. Must not know
how anything is judged.
"""

from __future__ import annotations

import functools
import numbers
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from dropout_course import display, surroundings
from dropout_course.checks.verdict import Outcome, Verdict
from dropout_course.course import EXERCISES, LESSONS, UnknownExercise, find_exercise
from dropout_course.display import Message, Tone
from dropout_course.exercises.base import Exercise, Kind
from dropout_course.progress import HINT_LEVELS, Action, Event, Ledger, home, now, overview

_STARTED = now()
_EXAMPLE = "inverted_dropout"


class CheckError(Exception):
    """A check that did not pass. Its text is the whole report; no traceback is shown for it."""

    def __init__(self, report: str, brief: str = "") -> None:
        super().__init__(report)
        self._brief = brief
        _hide_tracebacks_of_checks()

    def _render_traceback_(self) -> list[str]:
        return [self._brief or str(self)]


class CheckFailed(CheckError):
    """What was defined is not right yet."""


class NotAttempted(CheckError):
    """The stub is still as it was handed out."""


class CannotCheck(CheckError):
    """What was given is nothing that can be checked; the text says what to give instead."""


class CheckInterrupted(KeyboardInterrupt):
    """The learner stopped a check."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        _hide_tracebacks_of_checks()

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


# --- the five verbs -----------------------------------------------------------------------------


def check(*targets: object, **values: object) -> None:
    """Examine what you defined: `check(inverted_dropout)`, or `check(predictions=predictions)`.

    Shows the verdict and records the attempt. Raises CheckFailed or NotAttempted, whose text is the
    report, and CannotCheck where the argument is not something that can be checked.
    """
    exercise, target = _asked(targets, values)
    try:
        verdict = exercise.examine(target)
    except KeyboardInterrupt:
        raise CheckInterrupted(
            f"Stopped: the check of {exercise.id} was interrupted, and nothing was recorded."
        ) from None
    _note(Action.CHECK, exercise, verdict.outcome, verdict.points)
    _deliver(verdict, (*surroundings.notices(), *_ledger().take_notices()))


def hint(target: object = None) -> None:
    """Show the next of three hints: `hint(inverted_dropout)`, or by name `hint("predictions")`."""
    exercise = _named(target, "hint")
    taken = sum(each.action is Action.HINT for each in _ledger().events(exercise.id))
    level = min(taken, HINT_LEVELS - 1)
    _note(Action.HINT, exercise)
    after = "" if level < HINT_LEVELS - 1 else f'The last one; then solution("{exercise.id}").'
    _show_message(
        Message(
            f"{exercise.id}: hint {level + 1} of {HINT_LEVELS}",
            tuple(filter(None, (exercise.hints[level], after, *_ledger().take_notices()))),
        )
    )


def solution(target: object = None) -> None:
    """Show the model solution; asks to be called twice while nothing has been attempted."""
    exercise = _named(target, "solution")
    code = surroundings.model_solution(exercise.lesson, exercise.id)
    if code is None:
        _show_message(
            Message(
                f"{exercise.id}: the solutions were not handed out",
                ("Your instructor keeps them: ask there, or ask hint again.",),
                tone=Tone.WAITING,
            )
        )
        return
    history = _ledger().events(exercise.id)
    tried = any(
        each.action is Action.SOLUTION or each.outcome in (Outcome.PASSED, Outcome.FAILED)
        for each in history
    )
    _note(Action.SOLUTION, exercise)
    notices = _ledger().take_notices()
    if not tried:
        _show_message(
            Message(
                f"{exercise.id}: nothing has been attempted yet",
                (
                    f'A wrong attempt teaches more: try one, or ask hint("{exercise.id}").',
                    f'To see the solution all the same, call solution("{exercise.id}") again.',
                    *notices,
                ),
                tone=Tone.WAITING,
            )
        )
        return
    _show_message(Message(f"{exercise.id}: a model solution", notices, code))


def reset(target: object = None) -> None:
    """Give the stub back: in a new cell of the notebook, or printed outside of one."""
    exercise = _named(target, "reset")
    stub = surroundings.stubs().get(exercise.id)
    if stub is None:
        raise CannotCheck(
            f"The stub of {exercise.id} is missing from the package ({surroundings.PACKAGE}): run "
            "`make lab` again, or `dropout-course doctor` to see what else is missing."
        )
    shell = _shell()
    if shell is None:
        _show_message(Message(f"{exercise.id}: the stub as it was handed out", code=stub))
        return
    shell.set_next_input(stub)
    command = f"dropout-course reset {exercise.lesson[:2]} {exercise.id}"
    _show_message(
        Message(
            f"{exercise.id}: the stub is in a new cell below",
            (
                "Copy it over the cell that it came from: that one is handed in.",
                f"Or close the notebook and run `{command}` in a terminal.",
            ),
        )
    )


def progress() -> None:
    """Show lessons, exercises, attempts, hints, time, and what to do next."""
    events = _ledger().events()
    seen = overview(LESSONS, events, _ledger().take_notices())
    _show(display.overview_text(seen), display.overview_html(seen))


# --- which exercise is meant --------------------------------------------------------------------


def _asked(targets: tuple[object, ...], values: Mapping[str, object]) -> tuple[Exercise, object]:
    """The exercise and what to examine. Raises CannotCheck with one sentence."""
    if len(targets) + len(values) > 1:
        raise CannotCheck(
            f"check takes one thing at a time, and received {len(targets) + len(values)}: write "
            f"one line for each, for example check({_EXAMPLE})."
        )
    for name, value in values.items():
        return _known(name), value
    if not targets:
        raise CannotCheck(f"check needs what you defined: for example check({_EXAMPLE}).")
    target = targets[0]
    exercise = next((EXERCISES[name] for name in _names(target) if name in EXERCISES), None)
    if exercise is None or not callable(target):
        raise CannotCheck(_why_not(target))
    return exercise, target


def _named(target: object, verb: str) -> Exercise:
    """The exercise that hint, solution and reset are asked about."""
    if isinstance(target, str):
        return _known(target)
    if target is None:
        raise CannotCheck(f'{verb} needs to know of what: for example {verb}("{_EXAMPLE}").')
    for name in (*_names(target), type(target).__name__):
        if name in EXERCISES:
            return EXERCISES[name]
    raise CannotCheck(
        f'{verb} cannot tell which exercise is meant: give its name, {verb}("{_EXAMPLE}").'
    )


def _known(name: str) -> Exercise:
    try:
        return find_exercise(name)
    except UnknownExercise as error:
        raise CannotCheck(_with_age(str(error))) from None


def _names(target: object) -> Iterator[str]:
    """The names that `target` goes by: its own, and those of what it wraps."""
    while target is not None:
        # A scripted function has `name`; a compiled one and a decorated one keep what they wrap.
        for attribute in ("__name__", "name"):
            name = getattr(target, attribute, None)
            if isinstance(name, str):
                yield name
        if isinstance(target, functools.partial):
            target = target.func
        else:
            inner = getattr(target, "__wrapped__", None)
            target = inner or getattr(target, "_torchdynamo_orig_callable", None)


def _why_not(target: object) -> str:
    """One sentence on why `target` cannot be checked and what to give instead."""
    kind = type(target).__name__
    if target is None:
        return (
            f"check received None: give what you defined, for example check({_EXAMPLE}), after "
            "running its cell."
        )
    if isinstance(target, str):
        call = _call(target if target in EXERCISES else _EXAMPLE)
        return f"check takes what you defined, not its name in quotes: write {call}."
    if isinstance(target, (torch.Tensor, numbers.Number)):
        return (
            f"check received a result ({kind}): give the function itself, without calling it, for "
            f"example check({_EXAMPLE}); a value goes by its name, check(predictions=predictions)."
        )
    if kind in EXERCISES:
        return f"check received an instance of {kind}: give the class itself, check({kind})."
    if isinstance(target, torch.nn.Module):
        return (
            f"check received an instance of {kind}: give the class that the exercise asks for, for "
            "example check(InvertedDropout)."
        )
    name = next(iter(_names(target)), None)
    if name == "<lambda>":
        return (
            "check received a lambda, which has no name: define the exercise with def, for example "
            f"def {_EXAMPLE}(...), and check that."
        )
    if name is None or not callable(target):
        values = [each.id for each in EXERCISES.values() if each.kind is Kind.VALUE]
        examples = " or ".join(f"check({value}={value})" for value in values)
        return f"check received a {kind}: a value goes by its name, {examples}."
    return _with_age(str(UnknownExercise(name)))


def _call(name: str) -> str:
    is_value = EXERCISES[name].kind is Kind.VALUE
    return f"check({name}={name})" if is_value else f"check({name})"


def _with_age(sentence: str) -> str:
    """What the notebook asks for may be unknown because the package is older."""
    return " ".join(filter(None, (sentence, surroundings.newer_notebook())))


# --- keeping and showing ------------------------------------------------------------------------


@functools.cache
def _ledger_at(folder: Path, _process: int) -> Ledger:
    return Ledger(folder, opening=Event(_STARTED, Action.OPENED))


def _ledger() -> Ledger:
    return _ledger_at(home(), os.getpid())


def _note(
    action: Action, exercise: Exercise, outcome: Outcome | None = None, points: float = 0.0
) -> None:
    _ledger().add(Event(now(), action, exercise.id, outcome, points))


def _deliver(verdict: Verdict, notices: tuple[str, ...]) -> None:
    """Show a passed verdict; raise what is not passed, with the report as its text."""
    text = display.as_text(verdict, notices)
    if verdict.passed:
        _show(text, display.as_html(verdict, notices))
        return
    brief = ""
    if _in_kernel():
        _show(text, display.as_html(verdict, notices))
        if surroundings.SESSION_VARIABLE in os.environ:
            brief = f"{text.splitlines()[0]}: the report is above"
    kind = NotAttempted if verdict.outcome is Outcome.NOT_ATTEMPTED else CheckFailed
    raise kind(text, brief)


def _show_message(message: Message) -> None:
    _show(display.message_text(message), display.message_html(message))


def _show(text: str, as_html: str) -> None:
    if _shell() is None:
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        return
    from IPython.display import display as publish

    publish({"text/plain": text, "text/html": as_html}, raw=True)  # type: ignore[no-untyped-call]


def _shell() -> Any:
    """The running IPython shell, or None in a plain script."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython else None


def _in_kernel() -> bool:
    return hasattr(_shell(), "kernel")


@functools.cache
def _hide_tracebacks_of_checks() -> None:
    """In a plain script, let an uncaught CheckError print its report and nothing of our code."""
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, (CheckError, CheckInterrupted)):
            sys.stderr.write(f"{error}\n")
        else:
            previous(kind, error, trace)

    sys.excepthook = hook
