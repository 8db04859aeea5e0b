"""A student's feedback on one lesson, as one HTML file: their cells, each verdict below its cell.

Must not know how anything was graded, nor where the file lies.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dropout_course.checks.verdict import Verdict
from dropout_course.display import as_html
from dropout_course.grading.assemble import PageCell, Shown
from dropout_course.grading.files import slug
from dropout_course.grading.gradebook import Entry
from dropout_course.grading.page import escape, page
from dropout_course.grading.work import Status

SPOKEN = {
    Status.GRADED: "✓ graded",
    Status.UNREADABLE: "✗ unreadable",
    Status.TIMED_OUT: "○ timed out: what was recorded before counts",
    Status.CRASHED: "✗ crashed: what was recorded before counts",
    Status.REFUSED: "✗ refused",
}
_CARD_STYLE = re.compile(r"^<style>(.*?)</style>\s*", re.DOTALL)


def file_name(entry: Entry) -> str:
    """Where the page stands below feedback/."""
    return f"{slug(entry.student)}/{slug(entry.lesson)}.html"


def feedback(entry: Entry, title: str = "") -> str:
    """The page; `title` is the lesson's."""
    verdicts = {verdict.exercise: verdict for verdict in entry.verdicts}
    named = f"{entry.lesson} · {title}" if title else entry.lesson
    parts = [
        f"<h1>{escape(named)}</h1>",
        f'<p class="soft">{escape(entry.student)} · {escape(SPOKEN[entry.status])}</p>',
        f'<p class="score">{entry.score:g} of {entry.max_score:g} points</p>',
        _notes(entry.notes),
    ]
    style = ""
    for cell in entry.page:
        parts.append(_cell(cell))
        verdict = verdicts.pop(cell.exercise, None) if cell.exercise else None
        if verdict is not None:
            style, card = _card(verdict)
            parts.append(card)
    for verdict in verdicts.values():  # of exercises that no cell stands for
        style, card = _card(verdict)
        parts.append(card)
    return page(f"{entry.student} · {entry.lesson}", "\n".join(filter(None, parts)), style)


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>'


def _cell(cell: PageCell) -> str:
    if not cell.source.strip():
        return ""
    text = escape(cell.source)
    match cell.shown:
        case Shown.HEADING:
            return f"<h3>{text}</h3>"
        case Shown.TEXT:
            return f"<blockquote>{text}</blockquote>"
        case Shown.LESSON:
            first = escape(cell.source.strip().partition("\n")[0][:70])
            return (
                f"<details><summary>as handed out: <code>{first}</code></summary>"
                f"<pre>{text}</pre></details>"
            )
        case Shown.OWN:
            return f"<pre>{text}</pre>"


def _card(verdict: Verdict) -> tuple[str, str]:
    """The card's style, which every card brings and a page needs once, and the card."""
    shown = as_html(verdict)
    style = _CARD_STYLE.match(shown)
    return (style[1], shown[style.end() :]) if style else ("", shown)
