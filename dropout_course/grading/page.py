"""The frame of a page that needs no other file. Must not know what stands in it."""

from __future__ import annotations

import functools
import html
import re
from pathlib import Path

_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # controls that HTML may not hold


def page(title: str, body: str, *more_style: str) -> str:
    """A whole HTML document; `title` is escaped here, `body` is HTML already."""
    document = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Even if a text escaped its escaping, no script, picture or form of it would do anything.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{_style()}{''.join(more_style)}</style>\n"
        f"</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
    return _FORBIDDEN.sub("\ufffd", document)


def escape(text: str) -> str:
    """Text for an element or a quoted attribute."""
    return html.escape(text, quote=True)


@functools.cache
def _style() -> str:
    sheet = Path(__file__).with_name("look.css").read_text(encoding="utf-8")
    return " ".join(re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL).split())
