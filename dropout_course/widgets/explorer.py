"""The frame of every explorer: controls, one sentence, one drawing; or a static figure.

Wires controls to a function that makes a Page; must not know what any explorer is about.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from dropout_course.figures import Picture
from dropout_course.figures.picture import front_end_asks
from dropout_course.widgets.plugged import Trouble


@dataclass(frozen=True)
class Page:
    """What an explorer shows for one position of its controls.

    finding: what the numbers say. notice: what was clamped. figure: makes the static picture.
    """

    finding: str
    drawing: str
    figure: Callable[[], Picture]
    notice: str = ""


@dataclass(frozen=True)
class Control:
    """`moved`: the widget whose value counts, or a button; `shown`: what stands for it on the page,
    where one control is made of several widgets."""

    moved: widgets.Widget
    shown: widgets.Widget


class Explorer:
    """A widget in a notebook's page, a figure elsewhere; the last expression of a cell shows it.

    `page` reads the controls and returns what to show, or raises Trouble with the one sentence to
    show instead. Every move of a control asks for a page. While the kernel is busy the page in the
    browser sends no more than the latest position of a control (ipywidgets holds back one message
    per widget), so a slow page drops moves in between and never the last one.
    """

    def __init__(
        self,
        title: str,
        about: str,
        controls: Mapping[str, Control],
        page: Callable[[], Page],
    ) -> None:
        self.title, self.about = title, about
        self.controls = {name: control.moved for name, control in controls.items()}
        self._page = page
        self.words = widgets.HTML()
        self.drawing = widgets.HTML()
        for moved in self.controls.values():
            if isinstance(moved, widgets.Button):
                moved.on_click(lambda _: self.refresh())
            else:
                moved.observe(lambda _: self.refresh(), "value")
        heading = widgets.HTML(_heading(title))
        row = widgets.Box(
            [control.shown for control in controls.values()],
            layout=widgets.Layout(flex_flow="row wrap", align_items="center"),
        )
        self.widget = widgets.VBox(
            [heading, row, self.words, self.drawing], layout=widgets.Layout(padding="4px 0")
        )
        self._shown: Page | None = None
        self.refresh()

    def refresh(self) -> None:
        """Compute and draw for where the controls stand now."""
        try:
            self._shown = self._page()
        except Trouble as trouble:
            self._shown = None
            self.words.value = _spoken("", str(trouble))
            self.drawing.value = ""
            return
        self.words.value = _spoken(self._shown.finding, self._shown.notice)
        self.drawing.value = self._shown.drawing

    @property
    def text(self) -> str:
        """What a terminal or a test sees: the same on every machine."""
        return f"{self.title}: {self.about} It moves in JupyterLab; here stands a figure of it."

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(
        self,
        include: object = None,  # noqa: ARG002 IPython's protocol
        exclude: object = None,  # noqa: ARG002
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        data: dict[str, Any] = {}
        metadata: dict[str, Any] = {}
        if self._shown is not None:
            data, metadata = self._shown.figure()._repr_mimebundle_()
        data["text/plain"] = self.text
        if front_end_asks():
            view = self.widget._repr_mimebundle_()
            kind = "application/vnd.jupyter.widget-view+json"
            data[kind] = view[kind]
        return data, metadata


def _heading(title: str) -> str:
    return (
        '<div style="font-size:16px;font-weight:600;'
        f'color:var(--jp-content-font-color1,currentColor)">{html.escape(title)}</div>'
    )


def _spoken(finding: str, notice: str) -> str:
    """The sentences under the controls; a screen reader says them when they change."""
    lines = [f"<div>{html.escape(finding)}</div>"] if finding else []
    if notice:
        lines.append(f'<div style="font-weight:600">⚠ {html.escape(notice)}</div>')
    return (
        '<div role="status" aria-live="polite" style="font-size:16px;line-height:1.45;'
        'max-width:1100px;color:var(--jp-content-font-color1,currentColor);white-space:normal">'
        f"{''.join(lines)}</div>"
    )
