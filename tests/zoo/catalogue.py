"""All mutants and all right styles, for every exercise. The only list of them; judges nothing."""

from __future__ import annotations

from tests.zoo import inverted_functions
from tests.zoo.species import Enclosure, Mutant, Style

__all__ = ["MUTANTS", "STYLES", "Mutant", "Style"]

ENCLOSURES: tuple[Enclosure, ...] = (inverted_functions.ZOO,)

MUTANTS: tuple[Mutant, ...] = tuple(m for enclosure in ENCLOSURES for m in enclosure.mutants)
STYLES: tuple[Style, ...] = tuple(s for enclosure in ENCLOSURES for s in enclosure.styles)
