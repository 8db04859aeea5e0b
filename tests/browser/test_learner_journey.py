"""A learner's hour in JupyterLab, driven in a real browser: fail, take a hint, pass, come back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="it comes with the extra `test`")

from harness import NEEDS_A_BROWSER, open_lesson
from playwright.sync_api import Browser, expect

pytestmark = NEEDS_A_BROWSER

SCALED_BY_P = """\
def inverted_dropout(x, p=0.5, training=True):
    if not training or p == 0:
        return x.clone()
    mask = (torch.rand_like(x, dtype=torch.float32) >= p).to(x.dtype)
    return x * mask * p
"""
RIGHT = """\
def inverted_dropout(x, p=0.5, training=True):
    if not training or p == 0:
        return x
    if p == 1:
        return torch.zeros_like(x) * x
    mask = (torch.rand_like(x, dtype=torch.float32) >= p).to(x.dtype)
    return x * mask / (1 - p)
"""


def test_a_learner_fails_takes_a_hint_passes_and_finds_the_progress_again(
    browser: Browser, address: str, tmp_path: Path
) -> None:
    lab = open_lesson(browser, address, tmp_path, "03_inverted_dropout", "light")
    page = lab.page
    assert page.locator(".jp-Dialog").count() == 0, "nothing covers the lesson"
    assert page.locator(".Toastify__toast").count() == 0, "nothing asks for attention"
    lab.picture("1-opened", page.locator(".jp-Notebook .jp-Cell").first)

    lab.run(lab.cell("from dropout_course import"))
    stub = lab.cell("def inverted_dropout(x: torch.Tensor")
    lab.run(stub)
    check = lab.cell("check(inverted_dropout)")
    lab.run(check)
    verdict = check.locator("section.dropout-course")
    expect(verdict).to_contain_text("not attempted yet")
    expect(check.locator(".jp-OutputArea")).to_contain_text("the report is above")
    expect(check).not_to_contain_text("Traceback")
    lab.picture("2-not-attempted", verdict)

    lab.write(stub, SCALED_BY_P)
    lab.run(lab.cell("mask * p"))
    lab.run(check)
    expect(verdict).to_contain_text("not right yet")
    expect(verdict).to_contain_text("Misconception: survivors multiplied by p (scaled-by-p)")
    lab.picture("3-misconception", verdict)

    ask = lab.scratch(check, "hint(inverted_dropout)")
    lab.run(ask)
    expect(ask.locator("section.dropout-course")).to_contain_text("hint 1 of 3")
    lab.picture("4-hint", ask)

    wrong = lab.cell("mask * p")
    lab.write(wrong, RIGHT)
    lab.run(lab.cell("mask / (1 - p)"))
    lab.run(check)
    expect(verdict).to_contain_text("passed · 3 of 3 points")
    expect(check.locator(".jp-OutputArea")).not_to_contain_text("the report is above")
    lab.picture("5-passed", verdict)

    lab.menu("Kernel", "Restart Kernel…")
    page.locator(".jp-Dialog .jp-mod-accept").click()
    expect(page.locator(".jp-Dialog")).to_have_count(0)
    lab.run(lab.cell("from dropout_course import"))
    lab.write(ask, "from dropout_course import progress\nprogress()")
    shown = lab.cell("import progress")
    lab.run(shown)
    row = shown.locator("section.dropout-course tr", has_text=re.compile("^inverted_dropout"))
    expect(row).to_contain_text("✓ passed")
    expect(row).to_contain_text("3/3")
    expect(shown.locator("section.dropout-course")).to_contain_text(
        "Next: 03_inverted_dropout, exercise 2 of 3"
    )
    lab.picture("6-progress", shown)


def luminance(colour: str) -> float:
    """Relative luminance of an rgb(…) colour, as WCAG 2 defines it."""
    channels = [int(each) / 255 for each in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_a_verdict_can_be_read_in_both_themes(
    browser: Browser, address: str, tmp_path: Path, theme: str
) -> None:
    # The system prefers the other scheme: the page's theme has to win.
    scheme = "light" if "Dark" in theme else "dark"
    lab = open_lesson(browser, address, tmp_path, "00_start", scheme)
    lab.menu("Settings", "Theme", theme)
    lab.run(lab.cell("from dropout_course import"))
    check = lab.cell("check(keep_probability)")
    lab.run(lab.cell("def keep_probability"))
    lab.run(check)
    card = check.locator("section.dropout-course")
    expect(card).to_contain_text("not attempted yet")
    lab.picture(theme.replace(" ", "-"), card)
    text = card.locator("p").last.evaluate("e => getComputedStyle(e).color")
    ground = lab.page.locator(".jp-Notebook").evaluate("e => getComputedStyle(e).backgroundColor")
    border = card.evaluate("e => getComputedStyle(e).borderLeftColor")
    assert contrast(text, ground) >= 4.5
    assert contrast(border, ground) >= 1.5
