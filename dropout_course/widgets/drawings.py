"""What the explorers show: each view as SVG or HTML for a page, as a figure where there is none.

Views in, text or a Picture out; nothing is computed here but places.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Sequence

import numpy as np

from dropout_course import figures
from dropout_course.figures import Picture
from dropout_course.figures.look import said
from dropout_course.widgets import svg
from dropout_course.widgets.layers import Layer, LayerView
from dropout_course.widgets.masks import CALLS, INPUT, ROWS, UNITS, MaskView
from dropout_course.widgets.scale import CLASSES, Array, ScaleView
from dropout_course.widgets.subnets import MASKS, SubnetView, all_masks
from dropout_course.widgets.svg import BLUE, ORANGE, VERMILLION, Panel

LAYERS_SHOWN = 30
CLASS_NAMES = "ABCDEF"


# --- mask explorer ------------------------------------------------------------------------------


def draw_masks(view: MaskView) -> str:
    """The last call's outputs as a grid; one unit's outputs over all calls and their average."""
    cell_width, cell_height, left, top = 39.0, 38.0, 14.0, 62.0
    parts = [
        svg.text(left, 20, "One call", bold=True),
        svg.text(
            left, 42, f"{ROWS} examples × {UNITS} units, each input {INPUT:g}", size=svg.SMALL
        ),
    ]
    for (row, column), value in np.ndenumerate(view.grid):
        x, y = left + column * cell_width, top + row * cell_height
        kept = value != 0
        fill = BLUE if kept else "none"
        parts.append(
            svg.box(x + 1, y + 1, cell_width - 2, cell_height - 2, fill=fill, stroke="currentColor")
        )
        parts.append(
            svg.text(
                x + cell_width / 2,
                y + cell_height / 2 + 5,
                said(float(value)),
                anchor="middle",
                size=svg.SMALL,
                colour="#ffffff" if kept else "currentColor",
            )
        )
    corner = [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]
    parts.append(
        svg.line(
            [(left + x * cell_width, top + y * cell_height) for x, y in corner],
            colour=ORANGE,
            width=5,
        )
    )
    parts.append(
        svg.text(
            left,
            top + ROWS * cell_height + 22,
            "filled: kept · empty: dropped · framed: the unit on the right",
            size=svg.SMALL,
        )
    )
    parts += _averages(view)
    label = f"{view.finding} Grid of the last call and chart of one unit over {CALLS} calls."
    return svg.drawing(340, label, parts)


def _averages(view: MaskView) -> list[str]:
    outputs = view.outputs
    low = min(0.0, outputs.min(), view.inference)
    high = max(1.25 * INPUT, outputs.max(), view.inference)
    room = 0.08 * (high - low)
    panel = Panel(480, 62, 385, 190, (1, CALLS), (low - room, high + room))
    ticks = [(1, "1"), *((step, str(step)) for step in range(50, CALLS + 1, 50))]
    parts = [
        svg.frame(
            panel,
            title="One unit, call after call",
            y_label="its output, and the average so far",
            x_label="call",
            x_ticks=ticks,
        )
    ]
    calls = range(1, CALLS + 1)
    places = [(panel.across(call), panel.down(y)) for call, y in zip(calls, outputs, strict=True)]
    parts.append(svg.dots(places, 2.6, colour=ORANGE))
    level = panel.down(view.inference)
    parts.append(
        svg.line([(panel.left, level), (panel.left + panel.width, level)], width=2.5, dash="9 5")
    )
    points = zip(calls, view.averages, strict=True)
    parts.append(
        svg.line([(panel.across(x), panel.down(y)) for x, y in points], colour=BLUE, width=3.5)
    )
    return [
        *parts,
        *_key(
            470,
            318,
            [
                (svg.dot(0, 0, 4, fill=ORANGE), "output", 90),
                (_sample(BLUE), "average so far", 145),
                (_sample("currentColor", "9 5"), "inference returns", 0),
            ],
        ),
    ]


def mask_figure(view: MaskView) -> Picture:
    """The running average, where there is no page to move a slider on."""
    return figures.running_mean(view.outputs, view.inference, title=view.finding, draws="calls")


# --- scale explorer -----------------------------------------------------------------------------


def draw_scale(view: ScaleView) -> str:
    """Mean activations by layer; logits; probabilities."""
    depth = view.setting.depth
    layers = range(1, depth + 1)
    top = max(2.0, 2.0 ** math.ceil(math.log2(max(view.inference.max(), view.training.max()))))
    sizes = Panel(46, 62, 230, 200, (0.5, depth + 0.5), (0.5, top), log=True)
    parts = [
        svg.frame(
            sizes,
            title="Activations",
            y_label="mean of a layer (log scale)",
            x_label="hidden layer",
            x_ticks=[(layer, str(layer)) for layer in layers],
            y_ticks=svg.powers(0.5, top),
        )
    ]
    for values, colour, dash in ((view.training, BLUE, ""), (view.inference, VERMILLION, "8 4")):
        places = [
            (sizes.across(layer), sizes.down(max(value, 0.5)))
            for layer, value in zip(layers, values, strict=True)
        ]
        parts.append(svg.line(places, colour=colour, width=3, dash=dash))
        parts += [
            svg.dot(x, y, 7, fill=colour) if colour == BLUE else svg.square(x, y, 4.5, fill=colour)
            for x, y in places
        ]
    bound = 1.1 * max(1.0, np.abs(view.logits).max(), np.abs(view.scaled_logits).max())
    parts += _bars(
        Panel(346, 62, 230, 200, (-0.5, CLASSES - 0.5), (-bound, bound)),
        "Logits",
        "size",
        view.logits,
        view.scaled_logits,
    )
    parts += _bars(
        Panel(636, 62, 230, 200, (-0.5, CLASSES - 0.5), (0, 1)),
        f"Confidence {view.probabilities.max():.2f}",
        "probability",
        view.probabilities,
        view.scaled_probabilities,
    )
    parts += _key(
        46,
        330,
        [
            (svg.dot(0, 0, 6, fill=BLUE), "training, average over masks", 255),
            (
                svg.square(0, 0, 6, fill=VERMILLION),
                f"inference, {'scaled' if view.setting.scaled else 'not scaled'}",
                205,
            ),
            (svg.line([(-11, 0), (11, 0)], width=4), "inference with the scale, for comparison", 0),
        ],
    )
    return svg.drawing(346, f"{view.finding} Charts of activations, logits, probabilities.", parts)


def _bars(panel: Panel, title: str, y_label: str, values: Array, scaled: Array) -> list[str]:
    ticks = [(index, name) for index, name in enumerate(CLASS_NAMES)]
    parts = [svg.frame(panel, title=title, y_label=y_label, x_label="class", x_ticks=ticks)]
    base, width = panel.down(0), 0.66 * panel.width / CLASSES
    for index, (value, usual) in enumerate(zip(values, scaled, strict=True)):
        x, y = panel.across(index), panel.down(value)
        parts.append(svg.box(x - width / 2, min(y, base), width, abs(y - base), fill=VERMILLION))
        level = panel.down(usual)
        parts.append(svg.line([(x - width / 2 - 3, level), (x + width / 2 + 3, level)], width=4))
    parts.append(svg.line([(panel.left, base), (panel.left + panel.width, base)], width=1.5))
    return parts


def scale_figure(view: ScaleView) -> Picture:
    """Activations by layer, where there is no page to move a slider on."""
    name = f"inference, {'scaled' if view.setting.scaled else 'not scaled'}"
    return figures.activation_sizes(
        {"training, average over masks": view.training, name: view.inference}, title=view.finding
    )


# --- subnetwork explorer ------------------------------------------------------------------------


def draw_subnet(view: SubnetView) -> str:
    """The network with its units on and off; predictions so far and their means."""
    step = view.setting.step
    on = " ".join(f"{unit:.0f}" for unit in view.mask)
    parts = [
        svg.text(14, 20, f"Subnetwork {step} of {MASKS}", bold=True),
        svg.text(14, 42, f"mask {on} · probability {view.probability:.2%}", size=svg.SMALL),
        *_network(view),
    ]
    panel = Panel(440, 62, 425, 210, (0, MASKS + 1), (0, 1))
    parts.append(
        svg.frame(
            panel,
            title="Predictions accumulate",
            y_label="probability of class A",
            x_label="subnetworks so far",
            x_ticks=[(tick, str(tick)) for tick in (1, 16, 32, 48, 64)],
            y_ticks=(0, 0.25, 0.5, 0.75, 1),
        )
    )
    level = panel.down(view.weight_scaling)
    parts.append(
        svg.line([(panel.left, level), (panel.left + panel.width, level)], width=2.5, dash="9 5")
    )
    steps = range(1, step + 1)
    singles = zip(steps, view.predictions, strict=True)
    points = [(panel.across(at), panel.down(value)) for at, value in singles]
    parts.append(svg.dots(points, 3, colour=ORANGE))
    for means, colour, dash, mark in (
        (view.arithmetic, VERMILLION, "4 3", svg.square),
        (view.geometric, BLUE, "", svg.dot),
    ):
        places = [
            (panel.across(at), panel.down(mean)) for at, mean in zip(steps, means, strict=True)
        ]
        parts.append(svg.line(places, colour=colour, width=3.5, dash=dash))
        parts.append(mark(*places[-1], 6, fill=colour))
    parts += _key(
        430,
        334,
        [
            (svg.dot(0, 0, 4, fill=ORANGE), "one subnetwork", 185),
            (_sample("currentColor", "9 5"), "weight scaling, one pass", 0),
        ],
    )
    parts += _key(
        430,
        358,
        [
            (_sample(VERMILLION, "4 3"), "arithmetic mean", 185),
            (_sample(BLUE), "geometric mean, renormalised", 0),
        ],
    )
    return svg.drawing(372, f"{view.finding} Network and chart of predictions.", parts)


def _network(view: SubnetView) -> list[str]:
    sizes, units = view.sizes, iter(view.mask > 0)
    across = np.linspace(50, 370, len(sizes))
    layers = []
    for index, size in enumerate(sizes):
        gap = min(46, 250 / size)
        hidden = 0 < index < len(sizes) - 1
        layers.append(
            [
                (
                    float(across[index]),
                    196 + gap * (place - (size - 1) / 2),
                    not hidden or next(units),
                )
                for place in range(size)
            ]
        )
    parts = []
    for before, after in itertools.pairwise(layers):
        for x1, y1, from_on in before:
            for x2, y2, to_on in after:
                if from_on and to_on:
                    parts.append(svg.line([(x1, y1), (x2, y2)], width=1.5, opacity=0.55))
    for x, y, is_on in (node for layer in layers for node in layer):
        if is_on:
            parts.append(svg.dot(x, y, 15, fill=BLUE, stroke="currentColor"))
        else:
            parts.append(svg.dot(x, y, 14, fill="none", stroke="currentColor", dash="4 3"))
            parts += [
                svg.line([(x - 6, y - d), (x + 6, y + d)], width=1.5, opacity=0.7) for d in (6, -6)
            ]
    names = ["inputs", *(f"hidden {index}" for index in range(1, len(sizes) - 1)), "classes"]
    for place, name in zip(across, names, strict=True):
        parts.append(svg.text(float(place), 350, name, anchor="middle", size=svg.SMALL))
    for (x, y, _), name in zip(layers[-1], CLASS_NAMES, strict=False):
        parts.append(svg.text(x, y + 5, name, anchor="middle", colour="#ffffff", bold=True))
    return parts


def subnet_figure(view: SubnetView) -> Picture:
    """Eight of the subnetworks, where there is no page to step through all of them."""
    return figures.subnetworks(view.sizes, all_masks()[:8], title=view.finding)


# --- layer explorer -----------------------------------------------------------------------------


def draw_layers(view: LayerView) -> str:
    """A table: each layer's mode, whether two calls agree at its input and output, by how much."""
    shown = view.layers[:LAYERS_SHOWN]
    rows = "".join(_row(layer, layer in view.culprits) for layer in shown)
    more = len(view.layers) - len(shown)
    if more:
        rows += f'<tr><td colspan="6">and {more} more layers, not shown</td></tr>'
    heads = ("layer", "kind", "mode", "input", "output", "")
    head = "".join(f'<th scope="col" style="{_CELL}">{name}</th>' for name in heads)
    return (
        '<table style="border-collapse:collapse;font-size:15px;line-height:1.4;'
        'color:var(--jp-content-font-color1,currentColor)">'
        '<caption style="text-align:left;padding:4px 0">'
        "Inputs and outputs of each layer in two calls on one input"
        f"</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


_CELL = (
    "text-align:left;white-space:nowrap;padding:4px 18px 4px 6px;"
    "border-bottom:1px solid var(--jp-border-color2,#bdbdbd)"
)


def _row(layer: Layer, is_culprit: bool) -> str:
    cells = (
        layer.name,
        layer.kind,
        "train" if layer.training else "eval",
        _agreement(layer.input_gap),
        _agreement(layer.output_gap),
        "◀ here" if is_culprit else "",
    )
    mark = f"border-left:6px solid {VERMILLION};" if is_culprit else ""
    weight = "font-weight:600;" if is_culprit else ""
    inner = "".join(
        f'<td style="{_CELL};{mark if index == 0 else ""}">{html.escape(cell)}</td>'
        for index, cell in enumerate(cells)
    )
    return f'<tr style="{weight}">{inner}</tr>'


def _agreement(gap: float) -> str:
    return "= same" if gap == 0 else f"≠ by up to {said(gap)}"


def layer_figure(view: LayerView) -> Picture:
    """The differences as bars, where there is no page."""
    shown = [layer for layer in view.layers if math.isfinite(layer.input_gap + layer.output_gap)]
    shown = shown[:LAYERS_SHOWN]
    return figures.layer_differences(
        [f"{layer.name} ({layer.kind})" for layer in shown],
        [layer.input_gap for layer in shown],
        [layer.output_gap for layer in shown],
        title=view.finding,
    )


# --- legends ------------------------------------------------------------------------------------


def _key(x: float, y: float, entries: Sequence[tuple[str, str, float]]) -> list[str]:
    """A legend in one line: (mark around the origin, words, width) each."""
    parts = []
    for mark, words, width in entries:
        parts.append(f'<g transform="translate({x + 12:.0f},{y - 5:.0f})">{mark}</g>')
        parts.append(svg.text(x + 30, y, words, size=svg.SMALL))
        x += width
    return parts


def _sample(colour: str, dash: str = "") -> str:
    return svg.line([(-12, 0), (12, 0)], colour=colour, width=3.5, dash=dash)
