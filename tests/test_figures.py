"""The figures: true titles, words for those who cannot see, one look, no traces in the notebook."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable
from types import SimpleNamespace

import IPython
import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.image import imread

from dropout_course import figures
from dropout_course.figures import look
from dropout_course.figures.picture import Picture, front_end_asks

WAYS = {way: [0.04, 0.05] for way in figures.WAYS}
DRAWN: dict[str, Callable[[], Picture]] = {
    "mask_grid": lambda: figures.mask_grid([[1, 0], [0, 1]], title="Half of the units are dropped"),
    "running_mean": lambda: figures.running_mean([0, 12.5, 12.5], 10),
    "running_mean of runs": lambda: figures.running_mean(np.eye(3) * 12.5, 10, title="T"),
    "output_distribution": lambda: figures.output_distribution(torch.randn(100), 0.0),
    "output_distribution of masks": lambda: figures.output_distribution(
        [0, 1], 0.2, weights=[0.5, 0.5]
    ),
    "subnetworks": lambda: figures.subnetworks((3, 2, 1), [[1, 0], [1, 1]], title="T"),
    "scale_by_depth": lambda: figures.scale_by_depth(
        figures.ScaleByDepth((1, 2), [2, 4], WAYS, WAYS, WAYS)
    ),
    "scale_by_depth of seeds": lambda: figures.scale_by_depth(
        figures.ScaleByDepth((1, 2), [[2, 2], [4, 4]], WAYS, WAYS, {"unscaled": np.ones((2, 3))})
    ),
    "activation_sizes": lambda: figures.activation_sizes({"a": [1, 2], "b": [1, 100]}, title="T"),
    "ensemble_predictions": lambda: figures.ensemble_predictions([0.1], [0.1], [0.3]),
    "ensemble_gaps": lambda: figures.ensemble_gaps(["one", "two"], [0, 0.1], [0.2, 0.3]),
    "layer_differences": lambda: figures.layer_differences(["a", "b"], [0, 1], [1, 2]),
    "measured": lambda: figures.measured({"a": 1, "b": [2, 3]}, title="T", quantity="error (%)"),
}


@pytest.fixture(params=DRAWN)
def draw(request: pytest.FixtureRequest) -> Callable[[], Picture]:
    return DRAWN[request.param]


@pytest.fixture
def front_end(monkeypatch: pytest.MonkeyPatch) -> None:
    _answer_as(monkeypatch, {"cellId": "a"})


def _answer_as(monkeypatch: pytest.MonkeyPatch, metadata: dict[str, str]) -> None:
    kernel = SimpleNamespace(get_parent=lambda: {"metadata": metadata})
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=kernel))


def test_every_public_function_is_drawn_here() -> None:
    functions = {name for name in figures.__all__ if name.islower()}
    assert {name.partition(" ")[0] for name in DRAWN} == functions


def test_a_figure_is_a_png_on_a_light_ground_with_its_alt_text(
    draw: Callable[[], Picture],
) -> None:
    picture = draw()
    data, metadata = picture._repr_mimebundle_()
    pixels = imread(io.BytesIO(base64.b64decode(data["image/png"])))
    assert pixels[0, 0, :3].min() > 0.95
    assert metadata["image/png"]["alt"] == picture.alt
    assert picture.alt.startswith(picture.title)


def test_axes_that_are_shown_say_what_they_measure(draw: Callable[[], Picture]) -> None:
    for axes in draw().figure.axes:
        if axes.axison:
            assert axes.get_xlabel()
            assert axes.get_ylabel() or axes.get_yticklabels()


def test_the_text_output_holds_no_measured_number() -> None:
    first = figures.output_distribution(torch.randn(100), 0.1)
    second = figures.output_distribution(torch.randn(100), 0.2)
    assert first.text == second.text
    assert first.alt != second.alt


def test_matplotlib_is_left_as_the_notebook_has_set_it(draw: Callable[[], Picture]) -> None:
    with mpl.rc_context({"font.size": 31}):
        before = dict(mpl.rcParams)
        draw().png()
        assert dict(mpl.rcParams) == before


def test_the_settings_of_the_notebook_do_not_reach_a_figure() -> None:
    usual = DRAWN["running_mean"]().png()
    with mpl.rc_context({"font.size": 31, "axes.facecolor": "red"}):
        assert DRAWN["running_mean"]().png() == usual


@pytest.mark.usefixtures("front_end")
def test_a_page_gets_an_image_with_alt_text() -> None:
    picture = figures.mask_grid([[1, 0]], title='The "first" unit <b> is kept')
    page = picture._repr_mimebundle_()[0]["text/html"]
    assert f'alt="{html.escape(picture.alt)}"' in page


def test_a_run_without_a_page_gets_no_html_that_a_test_would_compare(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _answer_as(monkeypatch, {})
    assert not front_end_asks()
    assert set(DRAWN["mask_grid"]()._repr_mimebundle_()[0]) == {"text/plain", "image/png"}


def test_a_terminal_is_no_front_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IPython, "get_ipython", lambda: None)
    assert not front_end_asks()


def test_titles_say_what_the_numbers_say() -> None:
    title = figures.output_distribution([0, 1], 0.2, weights=[0.25, 0.75]).title
    assert title == "Train mode averages 0.75 over its masks; eval mode returns 0.2"
    title = figures.ensemble_gaps(["one", "two"], [0, 0.1], [0.2, 0.3]).title
    assert "equals weight scaling in 1 of 2 models, the arithmetic mean in 0" in title
    title = figures.layer_differences(["a", "b"], [0, 1], [1, 2]).title
    assert title.endswith("the difference is made in a")
    assert "agree in every layer" in figures.layer_differences(["a"], [0], [0]).title
    assert "no layer here" in figures.layer_differences(["a"], [1], [2]).title
    measured = figures.ScaleByDepth(
        (1, 2),
        [2, 4],
        error={"unscaled": [0.1, 0.2], "weight scaling": [0.1, 0.1]},
        nll={"unscaled": [0.1, 0.6], "weight scaling": [0.1, 0.2]},
        calibration=WAYS,
    )
    assert "multiplies the error by 2 and the NLL by 3" in figures.scale_by_depth(measured).title


def test_the_seeds_of_a_measurement_are_averaged() -> None:
    assert "b 2.5" in DRAWN["measured"]().alt


def test_tensors_that_need_gradients_are_drawn() -> None:
    values = torch.rand(2, 5, requires_grad=True)
    assert figures.running_mean(values, 0.5, title="T").alt
    assert figures.running_mean([values[0], values[1]], 0.5, title="T").alt


def test_series_are_told_apart_without_colour() -> None:
    for attribute in ("colour", "marker"):
        assert len({getattr(series, attribute) for series in look.SERIES}) == len(look.SERIES)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: figures.mask_grid([1, 0], title="T"), "mask must have 2 dimensions, not 1"),
        (lambda: figures.mask_grid([[2.0]], title="T"), "zeros and ones only"),
        (lambda: figures.running_mean([], 1), "values is empty"),
        (lambda: figures.running_mean([float("nan")], 1), "values holds nan or infinity"),
        (lambda: figures.running_mean(["a"], 1), "values must be an array of numbers"),
        (lambda: figures.output_distribution([1, 2], 1, weights=[1]), "one per output"),
        (lambda: figures.subnetworks((3, 4, 2), [[1, 0]], title="T"), "4 for the sizes"),
        (lambda: figures.subnetworks((1, 1, 1), [[1]] * 17, title="T"), "at most 16"),
        (lambda: figures.activation_sizes({"a": [1], "b": [1, 2]}, title="T"), "equally many"),
        (lambda: figures.ensemble_predictions([0.1], [0.1, 0.2], [0.1]), "same examples"),
        (lambda: figures.ensemble_gaps(["a"], [-1], [0]), "cannot be negative"),
        (lambda: figures.layer_differences(["a"], [0, 0], [0]), "needs both differences"),
        (lambda: figures.measured({}, title="T", quantity="q"), "nothing to draw"),
        (
            lambda: figures.scale_by_depth(figures.ScaleByDepth((1, 2), [1], WAYS, WAYS, WAYS)),
            "one row for each depth",
        ),
        (
            lambda: figures.scale_by_depth(
                figures.ScaleByDepth((1, 2), [1, 2], {"other": [1, 2]}, WAYS, WAYS)
            ),
            "must be among",
        ),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(call: Callable[[], Picture], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as raised:
        call()
    assert "\n" not in str(raised.value)
