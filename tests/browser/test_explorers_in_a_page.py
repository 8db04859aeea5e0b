"""The explorers in JupyterLab, in a real browser: by keyboard, both themes, at projector size."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest

pytest.importorskip("playwright", reason="it comes with the extra `test`")

from harness import NEEDS_A_BROWSER, PATIENCE, Lab, open_lesson
from playwright.sync_api import Browser, Locator, expect

pytestmark = NEEDS_A_BROWSER

CELLS = [
    "from dropout_course import figures\nfrom dropout_course.widgets import *",
    "mask_explorer()",
    "scale_explorer(depth=0)",
    "subnetwork_explorer()",
    "layer_explorer()",
    "def unfilled(x, p, training):\n    raise NotImplementedError()\nmask_explorer(unfilled)",
    'figures.running_mean([0, 12.5, 12.5], 10, title="The average settles at ten")',
]


def write_notebook(folder: Path) -> None:
    cells = [
        {
            "cell_type": "code",
            "id": f"cell-{index}",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": source,
        }
        for index, source in enumerate(CELLS)
    ]
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook = {
        "cells": cells,
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (folder / "explorers.ipynb").write_text(json.dumps(notebook))


@pytest.fixture
def lab(browser: Browser, address: str, tmp_path: Path) -> Lab:
    """A notebook of explorers at the size of a projector, its first cell run."""
    write_notebook(tmp_path / "my course" / "notebooks")
    opened = open_lesson(browser, address, tmp_path, "explorers", "light", height=720)
    opened.run(opened.cell("from dropout_course import figures"))
    return opened


def run(lab: Lab, source: str) -> Locator:
    cell = lab.cell(source)
    lab.run(cell)
    output = cell.locator(".jp-OutputArea")
    expect(output.get_by_role("status").or_(output.locator("img"))).to_be_visible(timeout=PATIENCE)
    return output


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_every_explorer_is_operated_by_keyboard(lab: Lab, theme: str) -> None:
    lab.menu("Settings", "Theme", theme)
    expect(lab.page.locator("body")).to_have_attribute("data-jp-theme-name", theme)
    press = lab.page.keyboard.press

    masks = run(lab, "mask_explorer()")
    said = masks.get_by_role("status")
    expect(said).to_contain_text("a ten becomes 0 or 20")
    masks.get_by_role("spinbutton", name="p").focus()
    press("ArrowUp")
    expect(said).to_contain_text("p = 0.55")
    masks.get_by_role("slider").focus()
    press("ArrowLeft")
    expect(said).to_contain_text("p = 0.5:")
    press("End")
    expect(said).to_contain_text("p = 1 drops everything")
    press("Home")
    expect(said).to_contain_text("p = 0: 0% of this mask is dropped")
    masks.get_by_role("radio", name="keeping (keep_prob)").focus()
    press("Space")
    expect(said).to_contain_text("keep_prob = 0 drops everything")
    expect(masks.get_by_role("spinbutton", name="keep_prob")).to_have_value("0")
    masks.get_by_role("radio", name="train").focus()
    press("Tab")
    press("Space")
    expect(said).to_contain_text("Eval mode, keep_prob = 0")
    masks.get_by_role("button", name="Draw new masks").focus()
    press("Enter")
    lab.picture("masks", masks)

    scales = run(lab, "scale_explorer(depth=0)")
    said = scales.get_by_role("status")
    expect(said).to_contain_text("depth = 0 cannot be shown: shown with 1.")
    scales.get_by_role("spinbutton", name="Hidden layers").focus()
    press("ArrowUp")
    expect(said).to_contain_text("2 hidden layers: the logits are 4 times as large")
    expect(said).not_to_contain_text("cannot be shown")
    scales.get_by_role("radio", name="scaled by 1 - p").focus()
    press("Space")
    expect(said).to_contain_text("Scaled by 0.5 behind each of 2 hidden layers")
    lab.picture("scale", scales)

    subnets = run(lab, "subnetwork_explorer()")
    said = subnets.get_by_role("status")
    subnets.get_by_role("slider").first.focus()
    press("End")
    expect(said).to_contain_text("is exactly the geometric mean")
    subnets.get_by_role("radio", name="two, of 3 and 3").focus()
    press("Space")
    expect(said).to_contain_text("is not the geometric mean")
    lab.picture("subnetworks", subnets)

    layers = run(lab, "layer_explorer()")
    said = layers.get_by_role("status")
    expect(said).to_contain_text("the difference is made in dropout (Dropout)")
    layers.get_by_role("radio", name="functional dropout").focus()
    press("Space")
    expect(said).to_contain_text("FunctionalDropout.forward")
    layers.get_by_role("radio", name="eval()").focus()
    press("Space")
    expect(said).to_contain_text("After eval(), two calls on one input differ")
    lab.picture("layers", layers)

    output = run(lab, "figures.running_mean")
    image = output.get_by_role("img")
    expect(image).to_have_attribute("alt", re.compile("^The average settles at ten. Running mean"))
    lab.picture("figure", output)
    assert_fits_and_can_be_read(lab, scales)


def assert_fits_and_can_be_read(lab: Lab, output: Locator) -> None:
    output.scroll_into_view_if_needed()
    drawing = output.locator("svg[role=img]")
    expect(drawing).to_have_attribute("aria-label", re.compile("Charts of activations"))
    box, around = drawing.bounding_box(), output.bounding_box()
    assert box is not None
    assert around is not None
    assert box["x"] + box["width"] <= around["x"] + around["width"] + 1
    ink = drawing.locator("text").first.evaluate("e => getComputedStyle(e).fill")
    ground = lab.page.locator(".jp-Notebook").evaluate("e => getComputedStyle(e).backgroundColor")
    brightness = [sum(map(float, re.findall(r"[\d.]+", each)[:3])) / 3 for each in (ink, ground)]
    assert abs(brightness[0] - brightness[1]) > 150


def test_an_unfilled_function_is_one_sentence_and_the_explorer_lives(lab: Lab) -> None:
    output = run(lab, "mask_explorer(unfilled)")
    said = output.get_by_role("status")
    expect(said).to_contain_text("unfilled still raises NotImplementedError: fill it in")
    expect(output).not_to_contain_text("Traceback")
    output.get_by_role("radio", name="inverted").click()
    expect(said).to_contain_text("a ten becomes 0 or 20")


# Notes in the page when a key went down, and how long after it the drawing was another one. The
# promise is 100 ms on a machine that has nothing else to do; the run's summary tells the median.
STOPWATCH = """output => {
    window.redraws = []
    let pressed = 0
    output.addEventListener("keydown", () => { pressed = performance.now() }, true)
    const drawn = () => requestAnimationFrame(() => redraws.push(performance.now() - pressed))
    const content = output.querySelector("svg[role=img]").parentElement
    new MutationObserver(drawn).observe(content, {childList: true})
}"""


def test_a_move_is_redrawn_in_time_and_the_last_of_many_is_not_lost(
    lab: Lab, record_property: Callable[[str, object], None]
) -> None:
    output = run(lab, "mask_explorer()")
    said = output.get_by_role("status")
    press = lab.page.keyboard.press
    output.get_by_role("slider").focus()
    press("Home")
    expect(said).to_contain_text("p = 0:")
    output.evaluate(STOPWATCH)
    for step in range(1, 16):
        press("ArrowRight")
        expect(said).to_contain_text(f"p = {step * 0.05:g}:")
    # The last drawing may be a frame behind the text.
    lab.page.wait_for_function("redraws.length >= 15")
    times = lab.page.evaluate("redraws")
    record_property("summary", f"mask explorer: redrawn {median(times):.0f} ms after a key")
    for _ in range(40):
        press("ArrowLeft", delay=0)
    expect(said).to_contain_text("p = 0: 0% of this mask is dropped")
    for _ in range(7):
        press("ArrowRight", delay=0)
    expect(said).to_contain_text("p = 0.35:")
