"""A figure with the words that stand for it, and how a notebook shows both.

Knows matplotlib's Figure and what asks for the output; must not know what any figure is about.
"""

from __future__ import annotations

import base64
import html
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from dropout_course.figures.look import style

PIXELS_PER_INCH = 160  # of the file; it is shown at SHOWN_PER_INCH, so it stays sharp when enlarged
SHOWN_PER_INCH = 100


@dataclass(frozen=True)
class Picture:
    """A finished figure; as the last expression of a cell it shows itself.

    title: the finding. about: what is drawn, without measured numbers, so that a notebook's text
    output is the same on every machine. reading: the numbers, in words, for those who cannot see.
    """

    figure: Figure
    title: str
    about: str
    reading: str = ""

    @property
    def alt(self) -> str:
        """The text that replaces the picture: the finding, what is drawn, and its numbers."""
        return " ".join(_sentence(text) for text in (self.title, self.about, self.reading) if text)

    @property
    def text(self) -> str:
        """What a terminal or a test sees: the same on every machine."""
        return f"Figure: {self.about}"

    def __repr__(self) -> str:
        return self.text

    def png(self) -> bytes:
        """The picture as the bytes of a PNG file, on a light ground that suits every theme."""
        buffer = io.BytesIO()
        with style():
            self.figure.savefig(buffer, format="png", dpi=PIXELS_PER_INCH)
        return buffer.getvalue()

    def _repr_mimebundle_(
        self,
        include: object = None,  # noqa: ARG002 IPython's protocol
        exclude: object = None,  # noqa: ARG002
    ) -> tuple[dict[str, str], dict[str, Any]]:
        encoded = base64.b64encode(self.png()).decode("ascii")
        width = round(self.figure.get_figwidth() * SHOWN_PER_INCH)
        data = {"text/plain": self.text, "image/png": encoded}
        if front_end_asks():
            # JupyterLab gives a bare PNG no alt text; nbval would compare this one byte by byte.
            data["text/html"] = (
                f'<img alt="{html.escape(self.alt, quote=True)}" width="{width}" '
                f'style="max-width:100%;height:auto" src="data:image/png;base64,{encoded}">'
            )
        return data, {"image/png": {"alt": self.alt, "width": width}}


def front_end_asks() -> bool:
    """Whether the running cell was sent by a notebook's page, where somebody can look and click.

    JupyterLab, Notebook and VS Code say with each request which cell it comes from. nbval,
    nbclient and nbconvert, which run a notebook for nobody in particular, do not.
    """
    if "IPython" not in sys.modules:
        return False
    get_ipython: Callable[[], Any] = sys.modules["IPython"].get_ipython
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return False
    request = kernel.get_parent() or {}
    return "cellId" in request.get("metadata", {})


def _sentence(text: str) -> str:
    begun = text[0].upper() + text[1:]
    return begun if begun.endswith((".", "?")) else f"{begun}."
