"""A notebook's bytes as cells, whatever version of the format they are in.

Reads defensively and believes nothing. Must not know lessons, nor where the bytes came from.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dropout_course.grading.sources import Unreadable
from dropout_course.surroundings import grade_id

MAX_CELLS = 5_000
MAX_SOURCE = 4 * 2**20  # characters of all cells together

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAVE_AGAIN = "open the notebook in JupyterLab, save it and hand it in again."


@dataclass(frozen=True)
class Cell:
    """A cell: its kind ("code", "markdown" or "raw"), its text and the ids by which it is known."""

    kind: str
    source: str
    grade_id: str | None = None
    cell_id: str | None = None


@dataclass(frozen=True)
class Notebook:
    """The cells, the version of the format ("4.5"), and the version of the course and the release
    that the notebook says it was made for (empty where it says nothing)."""

    cells: tuple[Cell, ...]
    format: str
    version: str = ""
    release: str = ""


def parse(data: bytes) -> Notebook:
    """Read a notebook of format 2 to 4; Unreadable, with the reason, where there is none."""
    document = _document(data)
    major, minor = document.get("nbformat"), document.get("nbformat_minor", 0)
    if not isinstance(major, int) or not 2 <= major <= 4:
        raise Unreadable(
            f"it is a notebook of format {str(major)[:20]}, and formats 2 to 4 are read: "
            + _SAVE_AGAIN
            if "nbformat" in document
            else f"it is JSON but no notebook: {_SAVE_AGAIN}"
        )
    cells = [_cell(entry) for entry in _entries(document, major)]
    if sum(len(cell.source) for cell in cells) > MAX_SOURCE:
        raise Unreadable(
            f"its cells hold more than {MAX_SOURCE / 2**20:.0f} MB of text: delete what does not "
            "belong to the lesson."
        )
    return Notebook(tuple(cells), f"{major}.{str(minor)[:4]}", *_made_for(document))


def _document(data: bytes) -> dict[str, Any]:
    if not data.strip():
        raise Unreadable(f"it is empty: {_SAVE_AGAIN}")
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        document = json.loads(data.decode(encoding))
    except UnicodeDecodeError as error:
        raise Unreadable(f"it is no text in UTF-8, so no notebook: {_SAVE_AGAIN}") from error
    except RecursionError as error:
        raise Unreadable("its JSON is nested too deeply to be a notebook.") from error
    except ValueError as error:
        raise Unreadable(f"its JSON is damaged ({str(error)[:100]}): {_SAVE_AGAIN}") from error
    if not isinstance(document, dict):
        raise Unreadable(f"it is JSON but no notebook: {_SAVE_AGAIN}")
    return document


def _entries(document: Mapping[str, Any], major: int) -> list[Mapping[str, object]]:
    """The cells as they stand in the file; formats 2 and 3 keep them in worksheets."""
    pages = [document] if major == 4 else document.get("worksheets")
    if not isinstance(pages, list):
        raise Unreadable(f"it has no cells: {_SAVE_AGAIN}")
    found: list[Mapping[str, object]] = []
    for page in pages:
        cells = page.get("cells") if isinstance(page, dict) else None
        if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
            raise Unreadable(f"its cells are damaged: {_SAVE_AGAIN}")
        found += cells
    if len(found) > MAX_CELLS:
        raise Unreadable(f"it has {len(found):,} cells, and at most {MAX_CELLS:,} are read.")
    return found


def _cell(entry: Mapping[str, object]) -> Cell:
    kind = str(entry.get("cell_type", "raw"))
    source = _joined(entry.get("source", entry.get("input", "")))
    if kind == "heading":  # format 3
        kind, source = "markdown", f"# {source}"
    name = entry.get("id")
    return Cell(
        kind if kind in ("code", "markdown") else "raw",
        _storable(source).replace("\r\n", "\n"),
        _short(grade_id(entry)),
        _short(name) if isinstance(name, str) else None,
    )


def _joined(source: object) -> str:
    """A cell's text; the format also allows a list of lines."""
    if isinstance(source, list):
        return "".join(line for line in source if isinstance(line, str))
    return source if isinstance(source, str) else ""


def _made_for(document: Mapping[str, Any]) -> tuple[str, str]:
    metadata = document.get("metadata")
    ours = metadata.get("dropout_course") if isinstance(metadata, dict) else None
    if not isinstance(ours, dict):
        return "", ""
    return _text(ours, "version"), _text(ours, "release")


def _short(text: str | None) -> str | None:
    return None if text is None else _storable(text)[:100]


def _storable(text: str) -> str:
    """Lone surrogates, which JSON may spell, can be written to no file."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _text(entry: Mapping[str, object], key: str) -> str:
    value = entry.get(key)
    return _storable(value)[:100] if isinstance(value, str) else ""
