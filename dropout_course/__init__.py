"""What a notebook imports: check, hint, solution, reset, progress.

Light, and readable for older Pythons: the first thing that a kernel of the wrong environment meets
is this file, which then has to say so in one sentence. Must not import torch by itself.
"""

import importlib.util
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dropout_course.learner import check, hint, progress, reset, solution

__version__ = "0.1.0"
__all__ = ["check", "hint", "progress", "reset", "solution"]

_NEEDED = ("numpy", "scipy", "torch", "platformdirs")


class WrongEnvironmentError(ImportError):
    """This Python cannot run the course; the text says why and how to repair it."""

    def _render_traceback_(self) -> "list[str]":
        return [str(self)]


class _Package(types.ModuleType):
    """Keeps the submodule `progress` from hiding the verb of that name once it is imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "progress" and isinstance(value, types.ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"dropout_course has no {name}: it has {', '.join(__all__)}")
    trouble = _trouble()
    if trouble:
        raise WrongEnvironmentError(trouble)
    from dropout_course import learner

    return getattr(learner, name)


def __dir__() -> "list[str]":
    return [*globals(), *__all__]


def _trouble() -> str:
    repair = (
        "start the course with `make lab` (or install it there with "
        f"`{sys.executable} -m pip install -e .`), and in JupyterLab choose Kernel > Change Kernel"
        " > Python 3 (ipykernel)"
    )
    if sys.version_info < (3, 11):  # noqa: UP036 a kernel can be older than the package allows
        version = ".".join(map(str, sys.version_info[:2]))
        return (
            f"This kernel runs {sys.executable}, which is Python {version}; the course needs "
            f"Python 3.11 or later: {repair}."
        )
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return (
            f"This kernel runs {sys.executable}, which has no {' and no '.join(missing)}: {repair}."
        )
    return ""
