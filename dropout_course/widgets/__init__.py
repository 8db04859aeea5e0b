"""The four explorers: one idea each, to be moved by hand in JupyterLab.

Builds the controls and joins them to what is computed and drawn; computes and draws nothing itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets
from torch import nn

from dropout_course.widgets import drawings, layers, masks, scale, subnets
from dropout_course.widgets.explorer import Control, Explorer, Page
from dropout_course.widgets.layers import Example, LayerSetting, Mode
from dropout_course.widgets.masks import MaskSetting, Naming, Rule
from dropout_course.widgets.plugged import name_of
from dropout_course.widgets.scale import ScaleSetting
from dropout_course.widgets.subnets import SubnetSetting

__all__ = ["layer_explorer", "mask_explorer", "scale_explorer", "subnetwork_explorer"]

_FREE = widgets.Layout(width="auto", margin="2px 22px 2px 0")
_STYLE = {"description_width": "initial"}


def mask_explorer(dropout: object = None, *, p: float = 0.5, training: bool = True) -> Explorer:
    """Draw masks again and again: which units are dropped, what one unit's average settles at.

    dropout: a function of your own, f(x, p, training), or a module class as in lesson 03; without
    it, torch's inverted and the paper's standard dropout can be compared.
    p is clamped to [0, 1]. The notebook's random state is left alone.
    """
    start, note = masks.clamped(MaskSetting(number=p, training=bool(training)))
    rules = [("inverted", Rule.INVERTED), ("standard", Rule.STANDARD)]
    if dropout is not None:
        rules.insert(0, (name_of(dropout), Rule.YOURS))
    number, box, pair = _slider("p", start.number, 0.0, 1.0, 0.05, "What dropout is given")
    naming = _choice(
        "The number is the probability of",
        [("dropping (p)", Naming.DROP), ("keeping (keep_prob)", Naming.KEEP)],
        Naming.DROP,
        "PyTorch's p drops; the 2014 paper's p keeps",
    )
    rule = _choice("Dropout", rules, rules[0][1], "Where the scale 1/(1-p) or (1-p) stands")
    mode = _choice("Mode", [("train", True), ("eval", False)], start.training, "The training flag")
    again, seed = _button("Draw new masks", "Another seed")
    notes = _Once(note)

    def page() -> Page:
        box.description = naming.value.value
        view = masks.mask_view(
            MaskSetting(number.value, naming.value, rule.value, mode.value, seed()), dropout
        )
        return Page(
            view.finding,
            drawings.draw_masks(view),
            lambda: drawings.mask_figure(view),
            notes.take(),
        )

    return Explorer(
        "Mask explorer",
        f"p = {start.number:g}, {'train' if start.training else 'eval'} mode.",
        {
            "number": pair,
            "naming": _alone(naming),
            "rule": _alone(rule),
            "mode": _alone(mode),
            "again": _alone(again),
        },
        page,
    )


def scale_explorer(*, depth: int = 3, p: float = 0.5, scaled: bool = False) -> Explorer:
    """Leave out the scale of standard dropout, and see it compound with depth.

    depth: hidden layers, clamped to 1 … 6; p is clamped to [0, 0.9].
    """
    start, note = scale.clamped(ScaleSetting(depth, p, scaled))
    low, high = scale.DEPTHS
    deep, _, deep_pair = _slider(
        "Hidden layers", start.depth, low, high, 1, "Dropout stands behind each"
    )
    number, _, pair = _slider(
        "p", start.p, 0.0, scale.LARGEST_P, 0.05, "The probability of dropping"
    )
    switch = _choice(
        "At inference",
        [("not scaled", False), ("scaled by 1 - p", True)],
        start.scaled,
        "Standard dropout multiplies by 1 - p at inference",
    )
    notes = _Once(note)

    def page() -> Page:
        view = scale.scale_view(ScaleSetting(deep.value, number.value, switch.value))
        return Page(
            view.finding,
            drawings.draw_scale(view),
            lambda: drawings.scale_figure(view),
            notes.take(),
        )

    return Explorer(
        "Scale explorer",
        f"{start.depth} hidden layers, p = {start.p:g}, "
        f"{'scaled' if start.scaled else 'not scaled'} at inference.",
        {"depth": deep_pair, "p": pair, "scaled": _alone(switch)},
        page,
    )


def subnetwork_explorer(*, p: float = 0.5, hidden_layers: int = 1) -> Explorer:
    """Step through the 64 subnetworks of six hidden units, and compare their means.

    p is clamped to [0.1, 0.9]; hidden_layers is 1 (six units) or 2 (three and three).
    """
    start, note = subnets.clamped(SubnetSetting(1, p, hidden_layers))
    step, _, step_pair = _slider(
        "Subnetwork", 1, 1, subnets.MASKS, 1, "Which of the 64 masks is shown"
    )
    play = widgets.Play(
        value=1,
        min=1,
        max=subnets.MASKS,
        interval=250,
        description="Play",
        tooltip="Step through all subnetworks",
    )
    widgets.jslink((play, "value"), (step, "value"))
    low, high = subnets.P_RANGE
    number, _, pair = _slider("p", start.p, low, high, 0.1, "The probability of dropping")
    hidden = _choice(
        "Hidden layers",
        [("one, of 6 units", 1), ("two, of 3 and 3", 2)],
        start.hidden_layers,
        "With one, weight scaling is exact for the geometric mean",
    )
    notes = _Once(note)

    def page() -> Page:
        view = subnets.subnet_view(SubnetSetting(step.value, number.value, hidden.value))
        return Page(
            view.finding,
            drawings.draw_subnet(view),
            lambda: drawings.subnet_figure(view),
            notes.take(),
        )

    return Explorer(
        "Subnetwork explorer",
        f"p = {start.p:g}, hidden layers: {start.hidden_layers}.",
        {
            "step": Control(step, widgets.HBox([step_pair.shown, play])),
            "p": pair,
            "hidden_layers": _alone(hidden),
        },
        page,
    )


def layer_explorer(model: object = None, x: Any = None) -> Explorer:
    """Call a model twice on one input, and see in which layer the two calls part.

    model: an nn.Module of your own, or several by name; x: its input, a tensor or a tuple of
    arguments, which is moved to the model's device. Without a model, a gallery to search. Modes,
    buffers and random states are as before afterwards.
    """
    examples = _examples(model, x)
    names = [(name, name) for name in examples]
    choice = _choice("Model", names, names[0][1], "The model that is called twice")
    modes = [("train()", Mode.TRAIN), ("eval()", Mode.EVAL)]
    if model is not None:
        modes.insert(0, ("as it is", Mode.AS_IT_IS))
    mode = _choice("Called after", modes, modes[0][1], "The mode is put back afterwards")
    again, seed = _button("Call twice again", "Another seed")

    def page() -> Page:
        view = layers.layer_view(
            LayerSetting(choice.value, mode.value, seed()), examples[choice.value]
        )
        return Page(view.finding, drawings.draw_layers(view), lambda: drawings.layer_figure(view))

    return Explorer(
        "Layer explorer",
        f"two calls of {next(iter(examples))}.",
        {"model": _alone(choice), "mode": _alone(mode), "again": _alone(again)},
        page,
    )


def _examples(model: object, x: Any) -> Mapping[str, Example]:
    if model is None:
        return layers.gallery()
    arguments = None if x is None else x if isinstance(x, tuple) else (x,)
    if isinstance(model, Mapping) and model:
        return {str(name): Example(each, arguments) for name, each in model.items()}
    name = type(model).__name__ if isinstance(model, nn.Module) else name_of(model)
    return {name: Example(model, arguments)}


class _Once:
    """A sentence about the first setting: gone as soon as a control has moved."""

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence

    def take(self) -> str:
        sentence, self._sentence = self._sentence, ""
        return sentence


def _slider(
    name: str, start: float, low: float, high: float, step: float, tooltip: str
) -> tuple[widgets.Widget, widgets.Widget, Control]:
    """A slider, its number box, and both side by side.

    The box carries the label: ipywidgets gives a slider's handle no name that is read aloud.
    """
    whole = isinstance(step, int)
    kinds = (
        (widgets.IntSlider, widgets.BoundedIntText)
        if whole
        else (widgets.FloatSlider, widgets.BoundedFloatText)
    )
    limits = {"value": start, "min": low, "max": high, "step": step, "tooltip": tooltip}
    slider = kinds[0](**limits, readout=False, layout=widgets.Layout(width="200px"))
    box = kinds[1](
        **limits,
        description=name,
        style=_STYLE,
        layout=widgets.Layout(width="auto", max_width="200px"),
    )
    widgets.jslink((slider, "value"), (box, "value"))
    return slider, box, Control(slider, widgets.HBox([box, slider], layout=_FREE))


def _choice(
    name: str, options: list[tuple[str, Any]], value: object, tooltip: str
) -> widgets.RadioButtons:
    """Radio buttons, since JupyterLab takes the arrow keys of a drop-down list for itself."""
    return widgets.RadioButtons(
        options=options,
        value=value,
        description=name,
        tooltip=tooltip,
        orientation="horizontal",
        style=_STYLE,
        layout=_FREE,
    )


def _button(name: str, tooltip: str) -> tuple[widgets.Button, Callable[[], int]]:
    """A button, and how often it was pressed: the seed of the next drawing."""
    button = widgets.Button(description=name, tooltip=tooltip, layout=_FREE)
    pressed = itertools.count(1)
    seeds = [0]
    button.on_click(lambda _: seeds.__setitem__(0, next(pressed)))
    return button, lambda: seeds[0]


def _alone(widget: widgets.Widget) -> Control:
    return Control(widget, widget)
