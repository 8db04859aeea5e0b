"""Figures of masks and of what they do to one output: grid, running mean, distribution, networks.

Arrays in, a Picture out; knows nothing of checks, models or lessons.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from dropout_course.figures import look
from dropout_course.figures.look import FAINT, GROUND, INK, SERIES, Numbers, numbers, said
from dropout_course.figures.picture import Picture

STEMS = 64  # up to so many different outputs are drawn one by one, more as a histogram
DRAWINGS = 16


def mask_grid(mask: object, *, title: str, rows: str = "example", columns: str = "unit") -> Picture:
    """A mask [rows, columns] of zeros and ones: kept filled, dropped empty and crossed out."""
    kept = numbers("mask", mask, 2)
    if not np.isin(kept, (0, 1)).all():
        raise ValueError("mask must hold zeros and ones only: 1 = kept, 0 = dropped")
    height, width = kept.shape
    with look.style():
        figure, drawing = look.axes(title, height=min(max(2.2, 1.6 + 0.42 * height), 7))
        drawing.pcolormesh(
            np.arange(width + 1) + 0.5,
            np.arange(height + 1) + 0.5,
            kept,
            cmap=ListedColormap([GROUND, look.BLUE]),
            vmin=0,
            vmax=1,
            edgecolors=FAINT,
            linewidth=1,
        )
        if kept.size <= 600:
            down, across = np.nonzero(kept == 0)
            drawing.plot(across + 1, down + 1, "x", color=INK, markersize=6, markeredgewidth=1.2)
        drawing.set(xlabel=f"{columns} (filled: kept, crossed: dropped)", ylabel=rows)
        drawing.set_yticks(_few_ticks(height))
        drawing.set_xticks(_few_ticks(width))
        drawing.invert_yaxis()
        drawing.grid(visible=False)
        drawing.spines[:].set_visible(False)
    return Picture(
        figure,
        title,
        f"a mask as a grid of {height} rows ({rows}) and {width} columns ({columns}).",
        f"{kept.sum():.0f} of {kept.size} elements are kept.",
    )


def running_mean(
    values: object,
    expectation: float,
    *,
    title: str | None = None,
    quantity: str = "average of one activation",
    draws: str = "masks drawn",
) -> Picture:
    """The average of the first n of `values` ([draws] or [runs, draws]) against its expectation."""
    runs = np.atleast_2d(numbers("values", values, 1, 2))
    count = np.arange(1, runs.shape[1] + 1)
    means = runs.cumsum(axis=1) / count
    final = means[:, -1]
    title = title or (
        f"After {count[-1]:,} {draws}, the average is "
        f"{_range_said(final)}; the expectation is {said(expectation)}"
    )
    with look.style():
        figure, drawing = look.axes(title)
        for index, mean in enumerate(means):
            series = SERIES[index % len(SERIES)]
            drawing.plot(count, mean, color=series.colour, linestyle=series.line, linewidth=2)
        drawing.axhline(
            expectation,
            color=INK,
            linestyle=(0, (6, 3)),
            linewidth=2,
            label=f"expectation: {said(expectation)}",
        )
        drawing.set_xscale("log")
        look.plain_numbers(drawing.xaxis)
        figure.legend(loc="outside lower center")
        several = f", {len(runs)} runs" if len(runs) > 1 else ""
        drawing.set_xlabel(f"{draws} (log scale)")
        look.y_label(drawing, f"{quantity}{several}")
    return Picture(
        figure,
        title,
        f"running mean: {quantity} by {draws}, beside its expectation.",
        f"After 1: {_range_said(means[:, 0])}. After {count[-1]}: {_range_said(final)}.",
    )


def output_distribution(
    outputs: object,
    eval_output: float,
    *,
    weights: object | None = None,
    title: str | None = None,
    quantity: str = "output",
    calls: str = "calls",
) -> Picture:
    """Outputs of train mode [n], each call or each mask one, against the output of eval mode.

    weights [n]: how probable each output is, where masks are enumerated instead of drawn.
    """
    drawn = numbers("outputs", outputs, 1)
    shares = np.ones(len(drawn)) if weights is None else numbers("weights", weights, 1)
    if shares.shape != drawn.shape:
        raise ValueError(f"weights must be one per output: {len(shares)} for {len(drawn)} outputs")
    eval_output = float(eval_output)
    mean = float(np.average(drawn, weights=shares))
    title = title or (
        f"Train mode averages {said(mean)} over its masks; eval mode returns {said(eval_output)}"
    )
    unit = f"number of {calls}" if weights is None else "probability"
    with look.style():
        figure, drawing = look.axes(title)
        _draw_distribution(drawing, drawn, shares)
        train, evaluation = SERIES[0], SERIES[1]
        drawing.axvline(
            mean,
            color=train.colour,
            linestyle="--",
            linewidth=3,
            label=f"mean of train mode: {said(mean)}",
        )
        drawing.axvline(
            eval_output,
            color=evaluation.colour,
            linewidth=3,
            label=f"eval mode, every call: {said(eval_output)}",
        )
        drawing.set_xlabel(quantity)
        look.y_label(drawing, unit)
        drawing.margins(y=0.1)
        figure.legend(loc="outside lower center", ncols=2)
    return Picture(
        figure,
        title,
        f"distribution of the {quantity} in train mode, its mean, and the output of eval mode.",
        f"In train mode from {said(drawn.min())} to {said(drawn.max())}, mean {said(mean)}; "
        f"in eval mode {said(eval_output)}.",
    )


def _draw_distribution(drawing: Axes, outputs: Numbers, shares: Numbers) -> None:
    different, which = np.unique(np.round(outputs, 9), return_inverse=True)
    colour = look.SKY
    if len(different) > STEMS:
        drawing.hist(outputs, bins=40, weights=shares, color=colour, edgecolor=GROUND)
        return
    heights = np.bincount(which, weights=shares)
    drawing.vlines(different, 0, heights, color=colour, linewidth=4)
    drawing.plot(different, heights, "o", color=look.BLUE, markersize=7)
    drawing.set_ylim(bottom=0)


@dataclass(frozen=True)
class _Node:
    across: float
    down: float
    on: bool


def subnetworks(sizes: Sequence[int], masks: object, *, title: str) -> Picture:
    """Small drawings of a network with its hidden units on and off.

    sizes: units per layer, for instance (3, 4, 2). masks [k, hidden units], 1 = on; k at most 16.
    """
    kept = numbers("masks", masks, 2)
    hidden = sum(sizes[1:-1])
    if len(sizes) < 3 or kept.shape[1] != hidden:
        raise ValueError(
            f"masks must have a column for each hidden unit: {hidden} for the sizes "
            f"{tuple(sizes)}, not {kept.shape[1]}"
        )
    if len(kept) > DRAWINGS:
        raise ValueError(f"masks has {len(kept)} rows: at most {DRAWINGS} can be drawn")
    columns = min(4, len(kept))
    lines = -(-len(kept) // columns)
    with look.style():
        figure = Figure(figsize=(8.0, 0.9 + 2.0 * lines))
        look.entitle(figure, title)
        for index, mask in enumerate(kept):
            _draw_network(figure.add_subplot(lines, columns, index + 1), sizes, mask)
    return Picture(
        figure,
        title,
        f"subnetworks of a network with {', '.join(map(str, sizes))} units: {len(kept)} drawings, "
        "dropped units crossed out.",
        "Hidden units on: " + "; ".join("".join(f"{unit:.0f}" for unit in mask) for mask in kept),
    )


def _draw_network(drawing: Axes, sizes: Sequence[int], mask: Numbers) -> None:
    layers = _nodes(sizes, mask)
    for before, after in itertools.pairwise(layers):
        for left in before:
            for right in after:
                if left.on and right.on:
                    drawing.plot(
                        [left.across, right.across], [left.down, right.down], color=INK, linewidth=1
                    )
    for node in (node for layer in layers for node in layer):
        drawing.plot(
            node.across,
            node.down,
            "o",
            markersize=15,
            markerfacecolor=look.BLUE if node.on else GROUND,
            markeredgecolor=INK if node.on else "#8a8a85",
            markeredgewidth=1.5,
            fillstyle="full",
        )
        if not node.on:
            drawing.plot(node.across, node.down, "x", color="#6a6a65", markersize=8)
    drawing.set_axis_off()
    drawing.margins(0.15)


def _nodes(sizes: Sequence[int], mask: Numbers) -> list[list[_Node]]:
    on = iter(mask > 0)
    layers = []
    for index, size in enumerate(sizes):
        is_hidden = 0 < index < len(sizes) - 1
        heights = (size - 1) / 2 - np.arange(size)
        layers.append(
            [_Node(float(index), float(y), bool(next(on)) if is_hidden else True) for y in heights]
        )
    return layers


def _few_ticks(count: int) -> list[int]:
    step = next(each for each in (1, 2, 5, 10, 20, 50, 100, 1000) if count / each <= 12)
    return list(range(step if step > 1 else 1, count + 1, step))


def _range_said(values: Numbers) -> str:
    low, high = said(float(values.min())), said(float(values.max()))
    return low if low == high else f"{low} to {high}"
