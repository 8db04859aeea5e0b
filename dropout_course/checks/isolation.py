"""Keeps a learner's code from leaving traces: state restored, output captured, time limited.

Knows nothing of plans and records; every context manager here restores what it found.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn, TypeAlias

import numpy as np
import torch

TraceFunction: TypeAlias = Callable[[FrameType, str, object], Any]

PRINT_LIMIT = 2_000  # characters of a learner's output that are kept
_PACKAGE = __name__.partition(".")[0] + "."


class TimeLimitReached(BaseException):
    """The learner's code ran longer than allowed. No `Exception`, so that `except Exception` in
    the learner's code does not swallow it."""


class LimitedText(io.TextIOBase):
    """Keeps the first characters written to it and counts the lines; the rest is let go."""

    def __init__(self, limit: int = PRINT_LIMIT) -> None:
        self.text = ""
        self.lines = 0
        self._limit = limit

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if len(self.text) < self._limit:
            self.text += text[: self._limit - len(self.text)]
        self.lines += text.count("\n")
        return len(text)


@contextlib.contextmanager
def captured_output() -> Iterator[LimitedText]:
    """Redirect what is printed, to stdout or stderr, into a text of limited length."""
    captured = LimitedText()
    with contextlib.redirect_stdout(captured), contextlib.redirect_stderr(captured):
        yield captured


@contextlib.contextmanager
def restored_state() -> Iterator[None]:
    """Restore torch's, NumPy's and Python's random states, grad mode, default dtype, deterministic
    mode, thread count and warning filters.

    Inside, torch computes with one thread: the calls of a check are small, and waiting for threads
    on a busy machine costs more than they save.
    """
    torch_state = torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    numpy_state = np.random.get_state()
    python_state = random.getstate()
    dtype = torch.get_default_dtype()
    grad = torch.is_grad_enabled()
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.set_grad_enabled(True)
            torch.set_num_threads(1)
            yield
    finally:
        torch.set_rng_state(torch_state)
        if cuda_states is not None:
            torch.cuda.set_rng_state_all(cuda_states)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if torch.are_deterministic_algorithms_enabled() != deterministic:
            torch.use_deterministic_algorithms(deterministic)  # its first call imports a compiler


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread: on a busy machine, waiting for others costs far more than
    they save on the small tensors of a check."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeLimitReached` in the code inside once `seconds` have passed.

    Where a bare `except:` swallows it, it comes again after a second, and then once more from
    within that `except`. Works in the main thread only (elsewhere it sets no limit: nobody can
    interrupt a thread).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
    elif hasattr(signal, "setitimer"):
        with _alarm(seconds):
            yield
    else:
        with _interrupting_timer(seconds):
            yield


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    times = 0

    def reached(signum: int, frame: FrameType | None) -> NoReturn:
        nonlocal times
        times += 1
        if times > 1:
            _raise_at_the_next_line(frame)
        raise TimeLimitReached

    before, tracing = signal.signal(signal.SIGALRM, reached), sys.gettrace()
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if times > 1:
            sys.settrace(tracing)


def _raise_at_the_next_line(frame: FrameType | None) -> None:
    """Raise again in the next line that runs in the learner's functions.

    The first line that runs after an exception was swallowed is in the `except:` clause, which its
    own `try` no longer protects.
    """

    def raise_again(_: FrameType, event: str, __: object) -> TraceFunction:
        if event == "line":
            raise TimeLimitReached
        return raise_again

    while frame is not None and not frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        frame.f_trace = raise_again
        frame = frame.f_back
    sys.settrace(lambda *_: None)  # switches tracing on, for those frames only


@contextlib.contextmanager
def _interrupting_timer(seconds: float) -> Iterator[None]:
    """The way on systems without `setitimer`: a thread interrupts the main one (Windows)."""
    import _thread

    reached = threading.Event()

    def interrupt() -> None:
        reached.set()
        _thread.interrupt_main()

    timer = threading.Timer(seconds, interrupt)
    timer.start()
    try:
        yield
    except KeyboardInterrupt:
        if not reached.is_set():
            raise
        raise TimeLimitReached from None
    finally:
        timer.cancel()


@contextlib.contextmanager
def exit_raises() -> Iterator[None]:
    """Make IPython's `exit()` and `quit()` raise `SystemExit`, as Python's own do.

    In a kernel they ask the front end to shut the kernel down, and the learner would lose
    everything that the session holds.
    """

    def raise_exit(*_: Any, **__: Any) -> NoReturn:
        raise SystemExit

    get_ipython: Callable[[], Any] | None = getattr(builtins, "get_ipython", None)
    if get_ipython is None and "IPython" in sys.modules:
        get_ipython = sys.modules["IPython"].get_ipython
    shell = get_ipython() if get_ipython is not None else None
    if shell is None:
        yield
        return
    shell.ask_exit = raise_exit
    try:
        yield
    finally:
        del shell.ask_exit
