"""Figures by layer or by depth: what a missing scale does, how large activations are.

Arrays in, a Picture out; knows nothing of checks, models or lessons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dropout_course.figures import look
from dropout_course.figures.look import (
    INK,
    SERIES,
    Numbers,
    mean_and_spread,
    numbers,
    said,
)
from dropout_course.figures.picture import Picture

# The four ways of predicting with a network that was trained behind standard dropout.
WAYS: Mapping[str, str] = {
    "unscaled": "all units, no scale",
    "weight scaling": "weight scaling",
    "train mode": "left in train mode",
    "mean of masks": "mean of many masks",
}
LOG_SPAN = 20  # activations that span more than this are drawn on a log scale


@dataclass(frozen=True)
class ScaleByDepth:
    """What was measured at each depth; each array is [depths] or [depths, seeds].

    ratio: logits without the scale over logits with weight scaling. error, calibration: fractions
    (expected calibration error); nll: nats. Their keys are those of WAYS.
    """

    depths: Sequence[int]
    ratio: object
    error: Mapping[str, object]
    nll: Mapping[str, object]
    calibration: Mapping[str, object]


def scale_by_depth(measured: ScaleByDepth, *, title: str | None = None) -> Picture:
    """Logit ratio, error, NLL and calibration error by depth, for the four ways of predicting."""
    depths = numbers("depths", measured.depths, 1)
    ratio = _at(depths, "ratio", measured.ratio)
    error = _by_way(depths, "error", measured.error, percent=True)
    nll = _by_way(depths, "nll", measured.nll)
    calibration = _by_way(depths, "calibration", measured.calibration, percent=True)
    title = title or _finding(depths, error, nll)
    with look.style():
        figure = Figure(figsize=(9.5, 7.2))
        look.entitle(figure, title)
        panels: Sequence[Axes] = figure.subplots(2, 2).flat
        _draw_ratio(panels[0], depths, ratio)
        for panel, name, values in (
            (panels[1], "test error (%)", error),
            (panels[2], "NLL (nats, log scale)", nll),
            (panels[3], "calibration error (%)", calibration),
        ):
            _draw_ways(panel, depths, values)
            panel.set_ylabel(name)
        panels[2].set_yscale("log")
        look.plain_numbers(panels[2].yaxis)
        for panel in (panels[0], panels[1], panels[3]):
            panel.set_ylim(bottom=0)
        for panel in panels:
            panel.set_xticks(depths)
            panel.set_xlabel("hidden layers")
        handles, labels = panels[1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return Picture(
        figure,
        title,
        "logit ratio, error, NLL and calibration error by depth, "
        f"for {len(error)} ways of predicting.",
        " ".join(
            (
                f"Depths: {', '.join(map(said, depths))}.",
                f"Logit ratio: {', '.join(map(said, mean_and_spread(ratio)[0]))}.",
                _read("Error in percent", error),
                _read("NLL", nll),
                _read("Calibration error in percent", calibration),
            )
        ),
    )


def _finding(depths: Numbers, error: Mapping[str, Numbers], nll: Mapping[str, Numbers]) -> str:
    if not {"unscaled", "weight scaling"} <= error.keys() & nll.keys():
        return "What each way of predicting costs, by depth"
    worse_error, worse_nll = (
        float(
            (mean_and_spread(each["unscaled"])[0] / mean_and_spread(each["weight scaling"])[0])[-1]
        )
        if mean_and_spread(each["weight scaling"])[0][-1] > 0
        else float("inf")
        for each in (error, nll)
    )
    return (
        f"With {depths[-1]:.0f} hidden layers a missing scale multiplies the error by "
        f"{said(worse_error)} and the NLL by {said(worse_nll)}"
    )


def _draw_ratio(panel: Axes, depths: Numbers, ratio: Numbers) -> None:
    mean, spread = mean_and_spread(ratio)
    series = SERIES[0]
    panel.errorbar(
        depths,
        mean,
        spread,
        color=INK,
        marker=series.marker,
        linestyle="-",
        capsize=4,
        label="ratio",
    )
    for depth, value in zip(depths, mean, strict=True):
        panel.annotate(
            said(float(value)),
            (depth, value),
            xytext=(-4, 9),
            textcoords="offset points",
            ha="right",
        )
    panel.margins(x=0.15, y=0.18)
    panel.set_ylabel("logits: no scale / scaled")


def _draw_ways(panel: Axes, depths: Numbers, ways: Mapping[str, Numbers]) -> None:
    # Side by side, so that equal values do not hide each other.
    offsets = np.linspace(-0.12, 0.12, len(ways)) if len(ways) > 1 else np.zeros(1)
    for (way, values), series, offset in zip(ways.items(), SERIES, offsets, strict=False):
        mean, spread = mean_and_spread(values)
        panel.errorbar(
            depths + offset,
            mean,
            spread,
            color=series.colour,
            marker=series.marker,
            linestyle=series.line,
            linewidth=2,
            capsize=3,
            elinewidth=1.2,
            label=WAYS[way],
        )


def _at(depths: Numbers, name: str, values: object) -> Numbers:
    array = numbers(name, values, 1, 2)
    if len(array) != len(depths):
        raise ValueError(
            f"{name} must have one row for each depth: {len(depths)}, not {len(array)}"
        )
    return array


def _by_way(
    depths: Numbers, name: str, ways: Mapping[str, object], *, percent: bool = False
) -> dict[str, Numbers]:
    unknown = [way for way in ways if way not in WAYS]
    if unknown or not ways:
        raise ValueError(f"{name} has the ways {list(ways)}: they must be among {list(WAYS)}")
    factor = 100 if percent else 1
    return {
        way: factor * _at(depths, f"{name} of {way!r}", ways[way]) for way in WAYS if way in ways
    }


def _read(name: str, ways: Mapping[str, Numbers]) -> str:
    lines = [
        f"{WAYS[way]} {', '.join(said(float(value)) for value in mean_and_spread(values)[0])}"
        for way, values in ways.items()
    ]
    return f"{name}: {'; '.join(lines)}."


def activation_sizes(
    series: Mapping[str, object], *, title: str, quantity: str = "mean activation"
) -> Picture:
    """One line per entry of `series`, name -> [layers]: the size of activations layer by layer."""
    lines = {name: numbers(f"series {name!r}", values, 1) for name, values in series.items()}
    lengths = {len(values) for values in lines.values()}
    if len(lengths) != 1 or len(lines) > len(SERIES):
        raise ValueError(
            f"series must hold one to {len(SERIES)} names with equally many layers, "
            f"not {len(lines)} names with {sorted(lengths)} layers"
        )
    layers = np.arange(1, lengths.pop() + 1)
    values = np.array(list(lines.values()))
    is_log = bool(values.min() > 0 and values.max() / values.min() > LOG_SPAN)
    with look.style():
        figure, drawing = look.axes(title)
        for (name, line), look_of in zip(lines.items(), SERIES, strict=False):
            drawing.plot(
                layers,
                line,
                color=look_of.colour,
                marker=look_of.marker,
                linestyle=look_of.line,
                label=name,
            )
        drawing.set_yscale("log" if is_log else "linear")
        if not is_log and values.min() >= 0:
            drawing.set_ylim(bottom=0)
        drawing.set_xticks(layers)
        drawing.set_xlabel("layer")
        look.y_label(drawing, quantity + (" (log scale)" if is_log else ""))
        figure.legend(loc="outside lower center", ncols=2)
    return Picture(
        figure,
        title,
        f"{quantity} by layer, for {', '.join(lines)}.",
        " ".join(f"{name}: {', '.join(map(said, line.tolist()))}." for name, line in lines.items()),
    )
