"""A learner's hour in JupyterLab, driven in a real browser: fail, take a hint, pass, come back.

Knows the page only as a learner does: cells, buttons, texts. Screenshots stay in pytest's folder.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="it comes with the extra `test`")

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 60_000  # milliseconds: a kernel that imports torch on a busy machine

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt install chromium"),
    pytest.mark.skipif(sys.platform == "win32", reason="stops the server by a signal"),
]

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


@dataclass
class Lab:
    """A page of JupyterLab on a lesson, and the folder for its screenshots."""

    page: Page
    pictures: Path

    def cell(self, text: str) -> Locator:
        """The code cell whose source holds `text`; only cells near the view are in the page."""
        editors = self.page.locator(".jp-Notebook .jp-CodeCell")
        return editors.filter(has=self.page.locator(".jp-InputArea-editor", has_text=text)).first

    def write(self, cell: Locator, source: str) -> None:
        cell.locator(".cm-content").click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.press("Delete")
        self.page.keyboard.insert_text(source)

    def run(self, cell: Locator) -> None:
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        expect(cell.locator(".jp-InputPrompt")).to_have_text(
            re.compile(r"\[\d+\]:"), timeout=PATIENCE
        )

    def scratch(self, below: Locator, source: str) -> Locator:
        """A new cell below another one, with `source`."""
        below.locator(".cm-content").click()
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("b")
        self.page.keyboard.press("Enter")
        self.page.keyboard.insert_text(source)
        return self.cell(source)

    def menu(self, *path: str) -> None:
        self.page.locator(".lm-MenuBar-item", has_text=path[0]).click()
        for name in path[1:]:
            self.page.locator(".lm-Menu-item", has_text=name).first.click()

    def picture(self, name: str, of: Locator) -> None:
        of.scroll_into_view_if_needed()
        self.page.screenshot(path=self.pictures / f"{name}.png")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The address that `dropout-course lab` prints for a copy of the lessons, as a learner has it:
    on a path with spaces, with a home of its own."""
    course = tmp_path / "my course"
    shutil.copytree(ROOT / "notebooks", course / "notebooks")
    for name in ("dropout_course", "solutions"):
        shutil.copytree(ROOT / name, course / name, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {
        **os.environ,
        "PYTHONPATH": str(course),
        "PYTHONUNBUFFERED": "1",
        "DROPOUT_COURSE_HOME": str(tmp_path / "home"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "jupyter-config"),
        "JUPYTER_DATA_DIR": str(tmp_path / "jupyter-data"),
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "lab-settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "lab-workspaces"),
    }
    command = "from dropout_course.cli import app; app()"
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", command, "lab", "--no-browser", "--port", str(free_port())],
            cwd=course,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert server.stdout is not None
        lines = iter(server.stdout.readline, "")
        yield next(line.strip() for line in lines if "http://" in line)
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)


def open_lesson(browser: Browser, address: str, pictures: Path, lesson: str, scheme: str) -> Lab:
    context = browser.new_context(
        viewport={"width": 1280, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    page.goto(address.replace("00_start", lesson))
    expect(page.locator(".jp-Notebook .jp-Cell").first).to_be_visible(timeout=PATIENCE)
    expect(page.locator(".jp-Notebook-ExecutionIndicator")).to_have_attribute(
        "data-status", "idle", timeout=PATIENCE
    )
    return Lab(page, pictures)


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
