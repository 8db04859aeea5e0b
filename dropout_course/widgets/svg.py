"""Drawings as SVG text: small enough to be made anew at every move of a slider.

Matplotlib needs 100 ms and more for what these functions draw in 2. Text and lines take their
colour from the page, so that a drawing suits every theme. Knows no explorer.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dropout_course.figures.look import BLUE, ORANGE, VERMILLION

WIDTH = 880  # units of a drawing's own coordinates; on the page it is as wide as there is room
SMALL, NORMAL = 14, 16

__all__ = ["BLUE", "ORANGE", "VERMILLION"]


@dataclass(frozen=True)
class Panel:
    """A chart's rectangle in the drawing, and the values at its edges.

    With `log`, y runs over powers; both ends must be positive.
    """

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    log: bool = False

    def across(self, x: float) -> float:
        low, high = self.x
        return self.left + self.width * (x - low) / (high - low)

    def down(self, y: float) -> float:
        low, high = map(self._scaled, self.y)
        return self.top + self.height * (high - self._scaled(y)) / (high - low)

    def _scaled(self, y: float) -> float:
        return math.log(y) if self.log else y


def drawing(height: float, label: str, parts: Iterable[str]) -> str:
    """One SVG picture; `label` is what a screen reader says in its place."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" '
        f'aria-label="{html.escape(label, quote=True)}" '
        'style="width:100%;max-width:1100px;height:auto;display:block;'
        "color:var(--jp-content-font-color1,currentColor);"
        f'font-family:var(--jp-ui-font-family,sans-serif);font-size:{NORMAL}px" '
        f'fill="currentColor" stroke="none">{"".join(parts)}</svg>'
    )


def text(
    x: float,
    y: float,
    words: object,
    *,
    anchor: str = "start",
    size: float = NORMAL,
    bold: bool = False,
    colour: str = "currentColor",
) -> str:
    """Words with their baseline at y."""
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size:g}"{weight} '
        f'fill="{colour}">{html.escape(str(words))}</text>'
    )


def box(
    x: float,
    y: float,
    width: float,
    height: float,
    *,
    fill: str = "none",
    stroke: str = "none",
    opacity: float = 1,
) -> str:
    """A rectangle, its corner at the top left."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" '
        f'fill="{fill}" stroke="{stroke}" opacity="{opacity:g}"/>'
    )


def line(
    points: Iterable[tuple[float, float]],
    *,
    colour: str = "currentColor",
    width: float = 2,
    dash: str = "",
    opacity: float = 1,
) -> str:
    """A line through the points."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}" '
        f'stroke-dasharray="{dash}" stroke-linejoin="round" opacity="{opacity:g}"/>'
    )


def dot(
    x: float,
    y: float,
    radius: float,
    *,
    fill: str = "currentColor",
    stroke: str = "none",
    dash: str = "",
    opacity: float = 1,
) -> str:
    """A disc or, with fill "none", a circle."""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{fill}" stroke="{stroke}" '
        f'stroke-width="2" stroke-dasharray="{dash}" opacity="{opacity:g}"/>'
    )


def dots(points: Iterable[tuple[float, float]], radius: float, *, colour: str) -> str:
    """Many equal discs as one path, which a page draws in one go."""
    path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{2 * radius:g}" '
        'stroke-linecap="round"/>'
    )


def square(x: float, y: float, radius: float, *, fill: str) -> str:
    """A square mark around a point."""
    return box(x - radius, y - radius, 2 * radius, 2 * radius, fill=fill)


def frame(
    panel: Panel,
    *,
    title: str,
    x_label: str = "",
    y_label: str = "",
    x_ticks: Sequence[tuple[float, str]] = (),
    y_ticks: Sequence[float] | None = None,
) -> str:
    """A chart's title, axes, grid and labels; the label of y stands above, where it is read."""
    bottom, right = panel.top + panel.height, panel.left + panel.width
    heading = panel.top - (34 if y_label else 14)
    parts = [text(panel.left, heading, title, bold=True)]
    if y_label:
        parts.append(text(panel.left, panel.top - 12, y_label, size=SMALL))
    ticks = y_ticks if y_ticks is not None else round_ticks(*panel.y)
    for tick in ticks:
        level = panel.down(tick)
        parts.append(line([(panel.left, level), (right, level)], width=1, opacity=0.25))
        parts.append(text(panel.left - 6, level + 5, f"{tick:g}", anchor="end", size=SMALL))
    for place, name in x_ticks:
        parts.append(text(panel.across(place), bottom + 18, name, anchor="middle", size=SMALL))
    parts.append(line([(panel.left, bottom), (right, bottom)], width=1.5))
    if x_label:
        middle = panel.left + panel.width / 2
        parts.append(text(middle, bottom + 38, x_label, anchor="middle", size=SMALL))
    return "".join(parts)


def round_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round numbers between low and high."""
    raw = (high - low) / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 10) + 0.0 for index in range(first, last + 1)]


def powers(low: float, high: float) -> list[float]:
    """Powers of two between low and high, at most seven; for a log scale."""
    first, last = math.ceil(math.log2(low) - 1e-9), math.floor(math.log2(high) + 1e-9)
    step = max(1, -(-(last - first) // 6))
    return [2.0**index for index in range(first, last + 1, step)]
