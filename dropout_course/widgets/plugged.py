"""What a learner plugs into an explorer: called apart from the notebook, its mistakes a sentence.

Knows how foreign code can go wrong, not what it is for; must not know widgets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from dropout_course.checks.isolation import (
    TimeLimitReached,
    captured_output,
    exit_raises,
    restored_state,
    time_limit,
)

SECONDS = 2.0  # for all calls behind one drawing; a whole dropout exercise takes milliseconds
LONGEST = 160  # characters of an exception's own words

Result = TypeVar("Result")


class Trouble(Exception):
    """Something plugged in does not work; the text is one sentence for whoever plugged it in."""


@contextmanager
def apart(seed: int) -> Iterator[None]:
    """Seeded, silent and limited in time; the notebook's random state is as before afterwards."""
    with restored_state(), captured_output(), exit_raises(), time_limit(SECONDS):
        torch.manual_seed(seed)
        yield


def attempt(name: str, call: Callable[[], Result], how: str = "") -> Result:
    """The result of `call`, run inside `apart`; raises Trouble for whatever else it does.

    name: what the learner calls it; how: how it was called, for the sentence.
    """
    called = f" when called {how}" if how else ""
    try:
        return call()
    except NotImplementedError as error:
        if str(error):
            raise Trouble(f"{name} raised {_said(error)}{called}.") from error
        raise Trouble(
            f"{name} still raises NotImplementedError: fill it in, then run this cell again."
        ) from error
    except TimeLimitReached as error:
        raise Trouble(
            f"{name} took longer than {SECONDS:g} seconds and was stopped{called}."
        ) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit must not end the kernel
        raise Trouble(f"{name} raised {_said(error)}{called}.") from error


def expect_like(name: str, result: object, given: Tensor, how: str) -> Tensor:
    """`result` as a float tensor on the CPU; Trouble where it is no finite tensor of that shape."""
    if not isinstance(result, Tensor):
        kind = "nothing (None)" if result is None else f"a {type(result).__name__}"
        raise Trouble(f"{name} returned {kind} when called {how}: it must return a tensor.")
    if result.shape != given.shape:
        raise Trouble(
            f"{name} returned the shape {tuple(result.shape)} for an input of shape "
            f"{tuple(given.shape)} when called {how}: both must be equal."
        )
    values = result.detach().to("cpu", torch.float32)
    if not values.isfinite().all():
        raise Trouble(f"{name} returned nan or infinity when called {how}.")
    return values


def name_of(target: object) -> str:
    """What the learner calls it."""
    return str(getattr(target, "__name__", type(target).__name__))


def _said(error: BaseException) -> str:
    words = " ".join(str(error).split())
    if len(words) > LONGEST:
        words = words[: LONGEST - 1] + "…"
    return f"{type(error).__name__}: {words}".rstrip(": .")
