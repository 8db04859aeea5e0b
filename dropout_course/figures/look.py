"""The look that all figures share: colours, marks, type, and how numbers come in and are said.

Nothing here changes matplotlib's settings for the rest of the notebook. Knows no single figure.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

# Okabe and Ito 2008, https://jfly.uni-koeln.de/color/: told apart with every colour vision.
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, YELLOW = "#56B4E9", "#CC79A7", "#F0E442"
INK, FAINT, GROUND = "#1a1a1a", "#c9c9c4", "#fbfbf9"


@dataclass(frozen=True)
class Series:
    """How one series looks. Mark, line and hatch tell it apart where colour is lost."""

    colour: str
    marker: str
    line: str
    hatch: str


SERIES = (
    Series(BLUE, "o", "-", ""),
    Series(VERMILLION, "s", "--", "//"),
    Series(GREEN, "^", "-.", ".."),
    Series(ORANGE, "D", ":", "xx"),
    Series(PURPLE, "v", "-", "\\\\"),
    Series(SKY, "P", "--", "--"),
)

_STYLE: dict[str, Any] = {
    "figure.figsize": (8.0, 4.4),
    "figure.facecolor": GROUND,
    "savefig.facecolor": GROUND,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.08,
    "axes.facecolor": GROUND,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 14,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "figure.titlesize": 15,
    "figure.titleweight": "bold",
    "font.size": 13,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 13,
    "ytick.labelsize": 13,
    "legend.fontsize": 13,
    "legend.frameon": True,
    "legend.framealpha": 0.9,
    "legend.edgecolor": FAINT,
    "legend.facecolor": GROUND,
    "lines.linewidth": 2.5,
    "lines.markersize": 8,
    "hatch.linewidth": 1.2,
}
TITLE_WIDTH = 62  # characters of a title's line at the figure's usual width


LABEL_WIDTH = 26


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's defaults with this look, whatever the notebook has set; restored afterwards."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def axes(title: str, height: float = 4.4) -> tuple[Figure, Axes]:
    """A figure of the usual width with one set of axes under its title."""
    figure = Figure(figsize=(8.0, height))
    entitle(figure, title)
    return figure, figure.subplots()


def entitle(figure: Figure, title: str) -> None:
    """Put the title at the figure's left edge, in lines that fit."""
    figure.suptitle(textwrap.fill(title, TITLE_WIDTH), x=0.012, ha="left")


def y_label(drawing: Axes, words: str) -> None:
    """Label the y axis, in lines that fit beside it."""
    drawing.set_ylabel(textwrap.fill(words, LABEL_WIDTH))


def plain_numbers(axis: Axis) -> None:
    """Label a log scale 1, 10, 100 (and 0.2, 0.5 where it is short), not by powers of ten."""
    low, high = axis.get_view_interval()
    between = (1.0, 2.0, 5.0) if high / low < 1000 else (1.0,)
    axis.set_major_locator(LogLocator(subs=between))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def numbers(name: str, values: object, *dimensions: int) -> Numbers:
    """`values` (lists, arrays, tensors) as an array with one of the given numbers of dimensions.

    Raises ValueError, one sentence, for anything else: empty, not numbers, nan, infinity.
    """
    if isinstance(values, list | tuple):
        values = [_detached(value) for value in values]
    try:
        array = np.asarray(_detached(values), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of numbers: {error}") from None
    if array.ndim not in dimensions:
        wanted = " or ".join(map(str, dimensions))
        raise ValueError(
            f"{name} must have {wanted} dimensions, not {array.ndim} (its shape is {array.shape})"
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty: there is nothing to draw")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds nan or infinity, which cannot be drawn")
    return array


def _detached(values: object) -> object:
    detach = getattr(values, "detach", None)
    return detach().cpu().double().numpy() if callable(detach) else values


def mean_and_spread(values: Numbers) -> tuple[Numbers, Numbers | None]:
    """Mean and standard deviation over the last axis, the seeds, of a two-dimensional array."""
    if values.ndim == 1:
        return values, None
    return values.mean(axis=1), values.std(axis=1, ddof=1) if values.shape[1] > 1 else None


def said(value: float) -> str:
    """A number in three figures, as a sentence says it."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{value:.0e}"


def enumerated(names: Iterable[object], values: Numbers) -> str:
    """'a 1, b 2, c 3', for the alt text."""
    return ", ".join(
        f"{name} {said(float(value))}" for name, value in zip(names, values, strict=True)
    )
