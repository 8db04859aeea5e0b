"""The explorers without a browser: what they compute, say and draw, and how they take mistakes."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import IPython
import ipywidgets
import numpy as np
import pytest
import torch
from torch import nn

from dropout_course import widgets
from dropout_course.widgets import layers, masks, plugged, scale, subnets
from dropout_course.widgets.explorer import Explorer
from dropout_course.widgets.layers import Example, LayerSetting, Mode
from dropout_course.widgets.masks import MaskSetting, Naming, Rule
from dropout_course.widgets.scale import ScaleSetting
from dropout_course.widgets.subnets import SubnetSetting

EXPLORERS: dict[str, Callable[..., Explorer]] = {
    name: getattr(widgets, name) for name in widgets.__all__
}


def words(explorer: Explorer) -> str:
    return re.sub("<[^>]*>", " ", explorer.words.value).strip()


# --- masks --------------------------------------------------------------------------------------


def test_survivors_are_scaled_and_the_average_settles_at_what_inference_returns() -> None:
    view = masks.mask_view(MaskSetting(0.2))
    assert set(view.outputs) == {0, 12.5}
    assert view.inference == 10
    assert abs(view.averages[-1] - 10) < 2


def test_standard_dropout_leaves_survivors_and_scales_at_inference() -> None:
    view = masks.mask_view(MaskSetting(0.2, rule=Rule.STANDARD))
    assert set(view.outputs) == {0, 10}
    assert view.inference == 8


def test_the_same_number_read_as_keeping_drops_the_rest() -> None:
    assert MaskSetting(0.2, Naming.DROP).p == 0.2
    assert MaskSetting(0.2, Naming.KEEP).p == 0.8
    assert "keep_prob = 0.2" in masks.mask_view(MaskSetting(0.2, Naming.KEEP)).finding


def test_eval_mode_returns_one_value() -> None:
    view = masks.mask_view(MaskSetting(0.3, training=False))
    assert view.finding == "Eval mode, p = 0.3: every call returns 10."


def test_dropping_everything_is_said() -> None:
    assert "drops everything" in masks.mask_view(MaskSetting(1.0)).finding


@pytest.mark.parametrize(
    ("number", "shown"), [(1.7, 1), (-1, 0), (float("nan"), 0.5), ("half", 0.5), (None, 0.5)]
)
def test_a_number_that_is_no_probability_is_clamped_and_said(number: Any, shown: float) -> None:
    setting, note = masks.clamped(MaskSetting(number))
    assert setting.number == shown
    assert "is no probability" in note
    assert "is no probability" in words(widgets.mask_explorer(p=number))


def test_your_own_function_is_shown_first() -> None:
    def half(x: torch.Tensor, p: float, training: bool) -> torch.Tensor:
        return x / 2

    explorer = widgets.mask_explorer(half)
    assert explorer.controls["rule"].value is Rule.YOURS
    assert "a ten becomes 5" in words(explorer)
    explorer.controls["rule"].value = Rule.INVERTED
    assert "0 or 20" in words(explorer)


@pytest.mark.parametrize("given", [nn.Dropout, nn.Dropout(0.1)])
def test_a_module_is_called_with_the_number_on_the_slider(given: object) -> None:
    assert "p = 0.5" in words(widgets.mask_explorer(given))
    assert "0 or 20" in words(widgets.mask_explorer(given))


def _unfilled(x: Any, p: Any, training: Any) -> Any:
    raise NotImplementedError


def _endless(x: Any, p: Any, training: Any) -> Any:
    while True:
        pass


def _leaves(x: Any, p: Any, training: Any) -> Any:
    raise SystemExit(1)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (_unfilled, "_unfilled still raises NotImplementedError: fill it in"),
        (lambda x, p, training: None, "returned nothing (None) when called with p = 0.5"),
        (lambda x, p, training: 3.0, "returned a float"),
        (lambda x, p, training: x[0], "returned the shape (10,) for an input of shape (5, 10)"),
        (lambda x, p, training: x / 0, "returned nan or infinity"),
        (lambda x, p, training: x / [], "raised TypeError"),
        (lambda x: x, "raised TypeError"),
        (_leaves, "raised SystemExit: 1"),
        (3, "An object of type int cannot be called"),
    ],
)
def test_a_function_that_does_not_work_is_one_sentence(function: Any, sentence: str) -> None:
    explorer = widgets.mask_explorer(function)
    assert sentence in words(explorer)
    assert "\n" not in words(explorer)
    explorer.controls["rule"].value = Rule.STANDARD
    assert "a ten becomes 0 or 10" in words(explorer), "the explorer lives on"


def test_a_function_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugged, "SECONDS", 0.2)
    assert "took longer than 0.2 seconds" in words(widgets.mask_explorer(_endless))


def test_a_function_that_prints_and_seeds_leaves_no_trace(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def loud(x: torch.Tensor, p: float, training: bool) -> torch.Tensor:
        print("called")
        torch.manual_seed(0)
        x += 1
        return x

    before = torch.get_rng_state()
    explorer = widgets.mask_explorer(loud)
    assert "a ten becomes 11" in words(explorer), "each call gets tens of its own"
    assert torch.equal(torch.get_rng_state(), before)
    assert capsys.readouterr().out == ""


# --- scale --------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 3, 6])
@pytest.mark.parametrize("p", [0.2, 0.5])
def test_a_missing_scale_compounds_with_depth(depth: int, p: float) -> None:
    view = scale.scale_view(ScaleSetting(depth, p))
    assert view.ratio == pytest.approx((1 - p) ** -depth)
    assert view.logits.argmax() == view.scaled_logits.argmax()
    assert view.probabilities.max() > view.scaled_probabilities.max()


def test_with_the_scale_inference_is_near_the_training_average() -> None:
    view = scale.scale_view(ScaleSetting(6, 0.5, scaled=True))
    assert np.allclose(view.inference, view.training, rtol=0.1)


def test_nothing_dropped_needs_no_scale() -> None:
    view = scale.scale_view(ScaleSetting(3, 0.0))
    assert view.ratio == 1
    assert "nothing is dropped" in view.finding


@pytest.mark.parametrize(
    ("depth", "p", "note"),
    [
        (0, 0.5, "depth = 0 cannot be shown: shown with 1."),
        (99, 0.5, "shown with 6."),
        (2.5, 0.5, "shown with 2."),
        (3, 1, "p = 1 drops everything: shown with 0.9."),
        (3, -1, "p = -1 cannot be shown: shown with 0."),
        (3, float("nan"), "p = nan cannot be shown: shown with 0.5."),
        ("deep", 0.5, "not both numbers"),
        (math.inf, 0.5, "not both numbers"),
    ],
)
def test_a_depth_or_p_that_cannot_be_shown_is_clamped_and_said(
    depth: Any, p: Any, note: str
) -> None:
    assert note in words(widgets.scale_explorer(depth=depth, p=p))


def test_the_note_is_gone_once_a_control_has_moved() -> None:
    explorer = widgets.scale_explorer(depth=0)
    explorer.controls["depth"].value = 4
    assert "cannot be shown" not in words(explorer)
    assert "4 hidden layers" in words(explorer)


# --- subnetworks --------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_weight_scaling_is_the_geometric_mean_with_one_hidden_layer(p: float) -> None:
    view = subnets.subnet_view(SubnetSetting(64, p, 1))
    assert view.all_geometric == pytest.approx(view.weight_scaling, abs=1e-12)
    assert "is exactly the geometric mean" in view.finding


def test_weight_scaling_is_not_the_geometric_mean_with_two() -> None:
    view = subnets.subnet_view(SubnetSetting(64, 0.5, 2))
    assert abs(view.all_geometric - view.weight_scaling) > 0.05
    assert "is not the geometric mean" in view.finding


def test_all_masks_are_different_and_their_probabilities_sum_to_one() -> None:
    assert len(np.unique(subnets.all_masks(), axis=0)) == 64
    total = sum(subnets.subnet_view(SubnetSetting(k, 0.3)).probability for k in range(1, 65))
    assert total == pytest.approx(1)


def test_the_arithmetic_mean_is_the_average_weighted_by_the_masks() -> None:
    view = subnets.subnet_view(SubnetSetting(64, 0.5))
    assert view.arithmetic[-1] == pytest.approx(view.predictions.mean())
    assert view.arithmetic[9] == pytest.approx(view.predictions[:10].mean())


@pytest.mark.parametrize(
    ("p", "hidden", "note"),
    [
        (1, 1, "p = 1 cannot be shown: shown with 0.9."),
        (0, 1, "shown with 0.1."),
        (0.5, 7, "hidden_layers = 7 cannot be shown: shown with 2."),
        ("a", 1, "not all numbers"),
    ],
)
def test_subnetworks_clamp_and_say_so(p: Any, hidden: Any, note: str) -> None:
    assert note in words(widgets.subnetwork_explorer(p=p, hidden_layers=hidden))


# --- layers -------------------------------------------------------------------------------------


def search(model: object, *arguments: Any, mode: Mode = Mode.TRAIN) -> layers.LayerView:
    return layers.layer_view(LayerSetting("m", mode), Example(model, arguments))


def test_the_layer_that_makes_the_difference_is_found() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Sequential(nn.ReLU(), nn.Dropout()), nn.Linear(8, 2))
    view = search(model, torch.randn(3, 4))
    assert [layer.name for layer in view.culprits] == ["1.1"]
    assert search(model, torch.randn(3, 4), mode=Mode.EVAL).culprits == ()


@pytest.mark.parametrize(
    ("name", "train", "evaluation"),
    [
        ("dropout layer", "made in dropout (Dropout)", "nothing here is random"),
        ("functional dropout", "FunctionalDropout.forward does, before last", "before last"),
        ("attention", "SmallAttention.forward does, before out", "before out"),
        ("convolutions", "made in 3 (Dropout2d)", "nothing here is random"),
        ("recurrent", "the whole model (LSTM)", "nothing here is random"),
        ("no dropout", "nothing here is random", "nothing here is random"),
    ],
)
def test_the_gallery_hides_randomness_in_different_places(
    name: str, train: str, evaluation: str
) -> None:
    example = layers.gallery()[name]
    assert train in layers.layer_view(LayerSetting(name, Mode.TRAIN), example).finding
    assert evaluation in layers.layer_view(LayerSetting(name, Mode.EVAL), example).finding


class OwnFlag(nn.Module):
    """Its train() sets a flag of its own, and its forward counts calls."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.flag, self.calls = nn.BatchNorm1d(4), nn.Dropout(), "mine", 0

    def train(self, mode: bool = True) -> OwnFlag:
        self.flag = str(mode)
        return super().train(mode)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.latest = x
        result: torch.Tensor = self.drop(self.norm(x))
        return result


@pytest.mark.parametrize("mode", Mode)
def test_a_model_is_left_as_it_was_found(mode: Mode) -> None:
    model = OwnFlag()
    model.norm.eval()
    model.flag = "mine"
    state = {name: value.clone() for name, value in model.state_dict().items()}
    x = torch.randn(3, 4)
    generator = torch.get_rng_state()
    search(model, x, mode=mode)
    assert torch.equal(generator, torch.get_rng_state())
    assert (model.training, model.norm.training, model.flag, model.calls) == (
        True,
        False,
        "mine",
        0,
    )
    assert not hasattr(model, "latest")
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not model._forward_hooks
    assert not model.drop._forward_pre_hooks
    assert torch.is_grad_enabled()


def test_a_layer_that_is_called_twice_has_two_rows() -> None:
    shared = nn.Linear(4, 4)
    view = search(nn.Sequential(shared, nn.Dropout(), shared), torch.randn(3, 4))
    assert [layer.name for layer in view.layers][1:] == ["0", "1", "0 (call 2)"]


@pytest.mark.parametrize(
    ("model", "x", "sentence"),
    [
        (nn.Linear, torch.ones(1), "Linear is a class: give a model, Linear()."),
        (3, torch.ones(1), "An object of type int is no model"),
        (nn.Linear(4, 4), None, "needs an input: layer_explorer(model, x)"),
        (nn.Linear(4, 4), torch.ones(2, 3), "with a tensor of shape (2, 3)"),
        (nn.Linear(4, 4, device="meta"), torch.ones(2, 4), "on the meta device"),
        (nn.Module(), torch.ones(1), "Module raised NotImplementedError"),
        ({"a": nn.Linear(4, 4), "b": 3}, torch.ones(2, 4), "nothing here is random"),
        ({}, torch.ones(2, 4), "An object of type dict is no model"),
    ],
)
def test_a_model_that_cannot_be_called_is_one_sentence(model: Any, x: Any, sentence: str) -> None:
    explorer = widgets.layer_explorer(model, x)
    assert sentence in words(explorer)
    assert "\n" not in words(explorer)


def test_a_call_with_another_number_of_layers_is_said() -> None:
    class Fickle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.calls = nn.Identity(), iter(range(10))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) if next(self.calls) else x

    with pytest.raises(plugged.Trouble, match="ran different layers"):
        search(Fickle(), torch.ones(2))


def test_outputs_of_any_shape_are_compared() -> None:
    class Nested(nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, Any]:
            return {"a": (x, [torch.rand(2)]), "b": torch.tensor(float("nan")), "c": "text"}

    view = search(Nested(), torch.ones(2))
    assert 0 < view.layers[0].output_gap < 1


# --- every explorer -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXPLORERS)
def test_every_control_is_labelled_and_explained(name: str) -> None:
    for control in EXPLORERS[name]().controls.values():
        assert control.tooltip
        if not isinstance(control, ipywidgets.IntSlider | ipywidgets.FloatSlider):
            assert control.description  # a slider's label is that of its number box


@pytest.mark.parametrize("name", EXPLORERS)
def test_every_position_of_every_control_is_drawn(name: str) -> None:
    explorer = EXPLORERS[name]()
    for control in explorer.controls.values():
        for value in _positions(control):
            control.value = value
            assert words(explorer)
            assert explorer.drawing.value
            ET.fromstring(explorer.drawing.value)
        if isinstance(control, ipywidgets.Button):
            control.click()


def _positions(control: ipywidgets.Widget) -> list[Any]:
    if hasattr(control, "options"):
        return [value for _, value in map(_pair, control.options)]
    if hasattr(control, "min"):
        return [control.min, control.max, (control.min + control.max) // 2]
    return []


def _pair(option: Any) -> tuple[Any, Any]:
    return option if isinstance(option, tuple) else (option, option)


def test_a_button_draws_other_masks() -> None:
    explorer = widgets.mask_explorer()
    before = explorer.drawing.value
    explorer.controls["again"].click()
    assert explorer.drawing.value != before


@pytest.mark.parametrize("name", EXPLORERS)
def test_a_drawing_says_in_words_what_it_shows(name: str) -> None:
    drawing = EXPLORERS[name]().drawing.value
    assert "aria-label=" in drawing or "<caption" in drawing


@pytest.mark.parametrize("name", EXPLORERS)
def test_where_no_widget_can_run_a_figure_and_a_fixed_text_stand(name: str) -> None:
    data, metadata = EXPLORERS[name]()._repr_mimebundle_()
    assert set(data) == {"text/plain", "image/png"}
    assert data["text/plain"] == EXPLORERS[name]()._repr_mimebundle_()[0]["text/plain"]
    assert metadata["image/png"]["alt"]


@pytest.mark.parametrize("name", EXPLORERS)
def test_a_page_gets_the_widget(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = SimpleNamespace(get_parent=lambda: {"metadata": {"cellId": "a"}})
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=kernel))
    explorer = EXPLORERS[name]()
    data = explorer._repr_mimebundle_()[0]
    view = data["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == explorer.widget.model_id


def test_without_a_page_an_unfilled_function_is_a_text() -> None:
    data, _ = widgets.mask_explorer(_unfilled)._repr_mimebundle_()
    assert set(data) == {"text/plain"}


def test_the_notebooks_random_numbers_are_left_alone() -> None:
    before = torch.get_rng_state()
    for make in EXPLORERS.values():
        make()._repr_mimebundle_()
    assert torch.equal(torch.get_rng_state(), before)
