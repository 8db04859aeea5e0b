"""Figures of exact ensembles: geometric and arithmetic mean beside weight scaling.

Arrays in, a Picture out; knows nothing of checks, models or lessons.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dropout_course.figures import look
from dropout_course.figures.look import FAINT, INK, SERIES, enumerated, numbers, said
from dropout_course.figures.picture import Picture

EXACT = 1e-9  # differences below are rounding
SMALLEST = 1e-17  # a gap of exactly zero is drawn here, at the left edge of the log scale


def ensemble_predictions(
    weight_scaling: object, geometric: object, arithmetic: object, *, title: str | None = None
) -> Picture:
    """Probability of one class [examples] by both means over all masks, against weight scaling."""
    scaled, ngm, mean = (
        numbers(name, values, 1)
        for name, values in (
            ("weight_scaling", weight_scaling),
            ("geometric", geometric),
            ("arithmetic", arithmetic),
        )
    )
    if not len(scaled) == len(ngm) == len(mean):
        raise ValueError(
            "the three predictions must be of the same examples, "
            f"not {len(scaled)}, {len(ngm)} and {len(mean)}"
        )
    gaps = [float(np.abs(each - scaled).max()) for each in (ngm, mean)]
    title = title or (
        f"Largest distance to weight scaling: geometric mean {said(gaps[0])}, "
        f"arithmetic mean {said(gaps[1])}"
    )
    with look.style():
        figure, drawing = look.axes(title, height=5)
        drawing.plot([0, 1], [0, 1], color=INK, linewidth=1.2, label="equal to weight scaling")
        for values, series, name in (
            (mean, SERIES[1], "arithmetic mean of all masks"),
            (ngm, SERIES[0], "renormalised geometric mean"),
        ):
            drawing.plot(
                scaled,
                values,
                series.marker,
                color=series.colour,
                markerfacecolor="none",
                markeredgewidth=2,
                label=name,
            )
        drawing.set(
            xlabel="probability by weight scaling",
            ylabel="probability by the ensemble",
            xlim=(-0.02, 1.02),
            ylim=(-0.02, 1.02),
        )
        figure.legend(loc="outside lower center", ncols=2)
    return Picture(
        figure,
        title,
        "predictions of the renormalised geometric and of the arithmetic mean over all masks, "
        "against weight scaling.",
        f"{len(scaled)} examples; the largest distances are {said(gaps[0])} and {said(gaps[1])}.",
    )


def ensemble_gaps(
    models: Sequence[str], geometric: object, arithmetic: object, *, title: str | None = None
) -> Picture:
    """Largest absolute difference to weight scaling, by model [models], on a log scale."""
    ngm, mean = numbers("geometric", geometric, 1), numbers("arithmetic", arithmetic, 1)
    if not len(models) == len(ngm) == len(mean):
        raise ValueError(
            f"each model needs both gaps: {len(models)} models, {len(ngm)} and {len(mean)} gaps"
        )
    if min(ngm.min(), mean.min()) < 0:
        raise ValueError("a largest absolute difference cannot be negative")
    exact = int((ngm < EXACT).sum())
    title = title or (
        f"The geometric mean equals weight scaling in {exact} of {len(models)} models, "
        f"the arithmetic mean in {int((mean < EXACT).sum())}"
    )
    places = np.arange(len(models))
    with look.style():
        figure, drawing = look.axes(title, height=1.9 + 0.62 * len(models))
        for values, series, name, offset in (
            (ngm, SERIES[0], "renormalised geometric mean", -0.14),
            (mean, SERIES[1], "arithmetic mean", 0.14),
        ):
            drawn = np.maximum(values, SMALLEST)
            drawing.hlines(places + offset, SMALLEST / 3, drawn, color=series.colour, linewidth=2)
            drawing.plot(
                drawn,
                places + offset,
                series.marker,
                color=series.colour,
                markersize=10,
                label=name,
            )
        drawing.axvline(np.finfo(np.float64).eps, color=FAINT, linewidth=6, zorder=0)
        drawing.annotate(
            "rounding of float64",
            (np.finfo(np.float64).eps, 1),
            xycoords=("data", "axes fraction"),
            xytext=(6, -2),
            textcoords="offset points",
            va="top",
            fontsize=12,
        )
        drawing.set_xscale("log")
        drawing.set_xlim(SMALLEST / 3, 3)
        drawing.set_ylim(len(models) - 0.4, -0.8)
        drawing.set_yticks(places, list(models))
        drawing.grid(visible=False, axis="y")
        drawing.set_xlabel("largest |difference| to weight scaling (log scale)")
        figure.legend(loc="outside lower center", ncols=2)
    return Picture(
        figure,
        title,
        "largest difference to weight scaling of the renormalised geometric and of the arithmetic "
        f"mean, for {len(models)} models.",
        f"Geometric: {enumerated(models, ngm)}. Arithmetic: {enumerated(models, mean)}.",
    )
