"""Bars as inline SVG that follow the page's light or dark colours. Knows numbers and words only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dropout_course.grading.page import escape

_WIDTH = 720
_ROW = 30


@dataclass(frozen=True)
class Bar:
    """A bar: its label, its length as a share of the whole from 0 to 1, and what is written at
    its end."""

    label: str
    share: float
    told: str


def rows(title: str, bars: Sequence[Bar], about: str, kind: str = "bar") -> str:
    """Horizontal bars below one another; `title` says the finding, `about` what is drawn."""
    start = 12 + 7.6 * max((len(bar.label) for bar in bars), default=0)
    room = _WIDTH - start - 150
    height = _ROW * len(bars) + 6
    drawn = []
    for number, bar in enumerate(bars):
        y = _ROW * number
        length = max(room * min(max(bar.share, 0.0), 1.0), 1.5)
        drawn.append(
            f'<text x="{start - 10:.0f}" y="{y + 20}" text-anchor="end">{escape(bar.label)}</text>'
            f'<rect class="{kind}" x="{start:.0f}" y="{y + 6}" width="{length:.1f}" height="20"/>'
            f'<text x="{start + length + 8:.1f}" y="{y + 20}">{escape(bar.told)}</text>'
        )
    axis = f'<line class="axis" x1="{start:.0f}" x2="{start:.0f}" y1="0" y2="{height}"/>'
    return _figure(title, about, height, "".join(drawn) + axis, bars)


def columns(title: str, bars: Sequence[Bar], about: str, axis_label: str) -> str:
    """Columns beside one another, each labelled below and counted above."""
    tall, base = 170, 200
    width = (_WIDTH - 20) / max(len(bars), 1)
    drawn = []
    for number, bar in enumerate(bars):
        x = 10 + width * number
        high = tall * min(max(bar.share, 0.0), 1.0)
        middle = x + width / 2
        drawn.append(
            f'<rect class="bar" x="{x + 2:.1f}" y="{base - high:.1f}" width="{width - 4:.1f}"'
            f' height="{high:.1f}"/>'
            f'<text x="{middle:.1f}" y="{base - high - 6:.1f}" text-anchor="middle">'
            f"{escape(bar.told)}</text>"
            f'<text class="soft" x="{middle:.1f}" y="{base + 18}" text-anchor="middle">'
            f"{escape(bar.label)}</text>"
        )
    axis = f'<line class="axis" x1="10" x2="{_WIDTH - 10}" y1="{base}" y2="{base}"/>'
    label = (
        f'<text class="soft" x="{_WIDTH / 2:.0f}" y="{base + 40}" text-anchor="middle">'
        f"{escape(axis_label)}</text>"
    )
    return _figure(title, about, base + 50, "".join(drawn) + axis + label, bars)


def _figure(title: str, about: str, height: float, drawn: str, bars: Sequence[Bar]) -> str:
    told = "; ".join(f"{bar.label}: {bar.told}" for bar in bars)
    return (
        f"<figure><h2>{escape(title)}</h2>"
        f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="'
        f'{escape(f"{about}. {told}")}">{drawn}</svg>'
        f"<figcaption>{escape(about)}</figcaption></figure>"
    )
