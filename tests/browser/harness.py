"""JupyterLab on a copy of the lessons, in a real browser: what the tests in this folder share.

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

NEEDS_A_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt install chromium"),
    pytest.mark.skipif(sys.platform == "win32", reason="stops the server by a signal"),
]


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
        """Run the cell; again where a page that is still being laid out let the keys go astray."""
        prompt = cell.locator(".jp-InputPrompt")
        before = prompt.inner_text()
        for _ in range(5):
            cell.locator(".cm-content").click()
            self.page.keyboard.press("Control+Enter")
            try:
                expect(prompt).not_to_have_text(before, timeout=5_000)
                break
            except AssertionError:
                continue
        expect(prompt).to_have_text(re.compile(r"\[\d+\]:"), timeout=PATIENCE)

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


def open_lesson(
    browser: Browser, address: str, pictures: Path, lesson: str, scheme: str, height: int = 900
) -> Lab:
    context = browser.new_context(
        viewport={"width": 1280, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    # On a busy machine JupyterLab may give up a server or a kernel that is only slow, and say so in
    # a dialog. The one that a test asks for itself is the question before a restart.
    dialogs = page.locator(".jp-Dialog", has_not_text="Do you want to restart")
    page.add_locator_handler(dialogs, lambda dialog: dialog.locator(".jp-mod-accept").click())
    page.goto(address.replace("00_start", lesson))
    expect(page.locator(".jp-Notebook .jp-Cell").first).to_be_visible(timeout=PATIENCE)
    expect(page.locator(".jp-Notebook-ExecutionIndicator")).to_have_attribute(
        "data-status", "idle", timeout=PATIENCE
    )
    return Lab(page, pictures)
