"""What lives in the zoo: wrong implementations (mutants) and right ones in many styles.

Knows nothing of how they are judged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

Target = TypeVar("Target", bound=Callable[..., Any])


@dataclass(frozen=True)
class Mutant:
    """A wrong implementation of an exercise.

    `author` is a sentence on who would write it. `named` are the misconceptions that the verdict
    may name first: normally one, more where the behaviour cannot tell which belief it was.
    """

    id: str
    exercise: str
    author: str
    target: object
    named: tuple[str, ...]


@dataclass(frozen=True)
class Style:
    """A right implementation of an exercise, in one of the ways that people write it."""

    id: str
    exercise: str
    about: str
    target: object


@dataclass
class Enclosure:
    """Collects the mutants and styles of one exercise, by decorators."""

    exercise: str
    mutants: list[Mutant] = field(default_factory=list)
    styles: list[Style] = field(default_factory=list)

    def add_mutant(self, name: str, target: object, author: str, *named: str) -> None:
        self.mutants.append(Mutant(f"{self.exercise}/{name}", self.exercise, author, target, named))

    def add_style(self, name: str, target: object, about: str) -> None:
        self.styles.append(Style(f"{self.exercise}/{name}", self.exercise, about, target))

    def mutant(self, *named: str, author: str) -> Callable[[Target], Target]:
        """Take what is decorated in as a mutant that has to be called one of `named`."""

        def take_in(target: Target) -> Target:
            self.add_mutant(_spoken(target), target, author, *named)
            return target

        return take_in

    def style(self, about: str) -> Callable[[Target], Target]:
        """Take what is decorated in as a right implementation."""

        def take_in(target: Target) -> Target:
            self.add_style(_spoken(target), target, about)
            return target

        return take_in


def _spoken(target: Callable[..., Any]) -> str:
    return target.__name__.strip("_").replace("_", "-")
