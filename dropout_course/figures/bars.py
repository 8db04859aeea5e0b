"""Figures of one number per name: where two calls differ by layer, any measurement by label.

Arrays in, a Picture out; knows nothing of checks, models or lessons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dropout_course.figures import look
from dropout_course.figures.look import INK, SERIES, enumerated, mean_and_spread, numbers, said
from dropout_course.figures.picture import Picture


def layer_differences(
    layers: Sequence[str], inputs: object, outputs: object, *, title: str | None = None
) -> Picture:
    """Largest difference between two calls at each layer's input and output, as they ran."""
    before, after = numbers("inputs", inputs, 1), numbers("outputs", outputs, 1)
    if not len(layers) == len(before) == len(after):
        raise ValueError(
            f"each layer needs both differences: {len(layers)} layers, "
            f"{len(before)} inputs and {len(after)} outputs"
        )
    title = title or _where(layers, before.tolist(), after.tolist())
    places = np.arange(len(layers))
    with look.style():
        figure, drawing = look.axes(title, height=1.9 + 0.62 * len(layers))
        for values, series, name, offset in (
            (before, SERIES[0], "at its input", -0.18),
            (after, SERIES[1], "at its output", 0.18),
        ):
            bars = drawing.barh(
                places + offset,
                values,
                height=0.34,
                color=series.colour,
                hatch=series.hatch,
                edgecolor=INK,
                label=name,
            )
            labels = ["same" if value == 0 else said(value) for value in values.tolist()]
            drawing.bar_label(bars, labels, padding=4, fontsize=11)
        drawing.set_yticks(places, list(layers))
        drawing.invert_yaxis()
        drawing.margins(x=0.12)
        drawing.grid(visible=False)
        drawing.set_xlabel("largest |difference| between two calls")
        figure.legend(loc="outside lower center", ncols=2)
    return Picture(
        figure,
        title,
        f"largest difference between two calls, at input and output of {len(layers)} layers.",
        f"Inputs: {enumerated(layers, before)}. Outputs: {enumerated(layers, after)}.",
    )


def _where(layers: Sequence[str], before: list[float], after: list[float]) -> str:
    made = [name for name, x, y in zip(layers, before, after, strict=True) if x == 0 < y]
    if made:
        return f"Two calls on one input differ; the difference is made in {' and in '.join(made)}"
    if any(before):
        return "Two calls on one input differ, and no layer here makes the difference"
    return "Two calls on one input agree in every layer"


def measured(values: Mapping[str, object], *, title: str, quantity: str) -> Picture:
    """One bar for each label: a number, or the mean and standard deviation over [seeds]."""
    rows = {name: np.atleast_1d(numbers(f"{name!r}", each, 0, 1)) for name, each in values.items()}
    if not rows:
        raise ValueError("values is empty: there is nothing to draw")
    means, spreads = zip(*(mean_and_spread(row[None, :]) for row in rows.values()), strict=True)
    heights = np.array([float(mean[0]) for mean in means])
    errors = np.array([0.0 if spread is None else float(spread[0]) for spread in spreads])
    with look.style():
        figure, drawing = look.axes(title, height=1.7 + 0.6 * len(rows))
        for place, (height, error) in enumerate(zip(heights, errors, strict=True)):
            series = SERIES[place % len(SERIES)]
            drawing.barh(
                place,
                height,
                xerr=error or None,
                color=series.colour,
                hatch=series.hatch,
                edgecolor=INK,
                capsize=4,
            )
            drawing.annotate(
                said(float(height)),
                (max(height + error, 0), place),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
            )
        drawing.set_yticks(np.arange(len(rows)), list(rows))
        drawing.invert_yaxis()
        drawing.margins(x=0.15)
        drawing.grid(visible=False)
        several = max(len(row) for row in rows.values())
        drawing.set_xlabel(
            quantity + (f" (mean ± standard deviation, {several} seeds)" if several > 1 else "")
        )
    return Picture(
        figure, title, f"{quantity}, for {', '.join(rows)}.", f"{enumerated(rows, heights)}."
    )
