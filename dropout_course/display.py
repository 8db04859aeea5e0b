"""A verdict, a message and the progress table, as text for a terminal and as HTML for a notebook.

Pure functions from data to strings. Must not know how a verdict was reached nor where it is shown.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dropout_course.checks.misconceptions import MISCONCEPTIONS, Misconception
from dropout_course.checks.verdict import Finding, Outcome, Verdict
from dropout_course.progress import Overview, Standing, spoken_time

LINE_LIMIT = 400  # characters of one line of a report; a learner's repr can be of any length


class Tone(StrEnum):
    """What a card is about. Each has a symbol and a word, so that colour is never alone."""

    PASSED = "passed"
    FAILED = "failed"
    WAITING = "waiting"
    TELLING = "telling"


SYMBOLS = {Tone.PASSED: "✓", Tone.FAILED: "✗", Tone.WAITING: "○", Tone.TELLING: "›"}

_TONES = {
    Outcome.PASSED: Tone.PASSED,
    Outcome.FAILED: Tone.FAILED,
    Outcome.NOT_ATTEMPTED: Tone.WAITING,
}


def _style() -> str:
    sheet = Path(__file__).with_name("display.css").read_text(encoding="utf-8")
    without_comments = re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL)
    return f"<style>{' '.join(without_comments.split())}</style>"


_STYLE = _style()


@dataclass(frozen=True)
class Message:
    """A title, sentences and perhaps some code: what hint, solution and reset have to say."""

    title: str
    sentences: tuple[str, ...] = ()
    code: str = ""
    tone: Tone = Tone.TELLING


# --- verdicts -----------------------------------------------------------------------------------


def as_text(verdict: Verdict, notices: Sequence[str] = ()) -> str:
    """The verdict as plain text; `notices` are sentences about the surroundings, put last."""
    lines = [f"{symbol(verdict.outcome)} {_headline(verdict)}"]
    match verdict.outcome:
        case Outcome.PASSED:
            lines += [f"  {SYMBOLS[Tone.PASSED]} {proof}" for proof in _proofs(verdict)]
        case Outcome.FAILED:
            lines += [f"  {label:<9} {text}" for label, text in _failure_lines(verdict)]
            lines += _explanations(verdict)
        case Outcome.NOT_ATTEMPTED:
            pass
    lines += _closing(verdict)
    return "\n".join([*lines, *map(_one_line, notices)])


def as_html(verdict: Verdict, notices: Sequence[str] = ()) -> str:
    """The verdict as one HTML card with its own style; everything in it is escaped."""
    tone = _TONES[verdict.outcome]
    body = ""
    match verdict.outcome:
        case Outcome.PASSED:
            items = "".join(f"<li>{_mark(tone)}{_inline(proof)}</li>" for proof in _proofs(verdict))
            body = f'<ul class="dc-proofs">{items}</ul>' if items else ""
        case Outcome.FAILED:
            terms = "".join(
                f"<dt>{label}</dt><dd>{_inline(text)}</dd>"
                for label, text in _failure_lines(verdict)
            )
            body = (f"<dl>{terms}</dl>" if terms else "") + _paragraphs(_explanations(verdict))
        case Outcome.NOT_ATTEMPTED:
            pass
    body += _paragraphs([*_closing(verdict), *map(_one_line, notices)])
    return _card(tone, _headline(verdict), body)


def symbol(outcome: Outcome) -> str:
    """The mark that stands beside the word wherever an outcome is shown."""
    return SYMBOLS[_TONES[outcome]]


def _headline(verdict: Verdict) -> str:
    points = f"{verdict.points:g} of {verdict.max_points:g} {_plural('point', verdict.max_points)}"
    spoken = {
        Outcome.PASSED: "passed",
        Outcome.FAILED: "not right yet",
        Outcome.NOT_ATTEMPTED: "not attempted yet",
    }
    return f"{verdict.exercise}: {spoken[verdict.outcome]} · {points}"


def _proofs(verdict: Verdict) -> list[str]:
    return [_one_line(finding.proves) for finding in verdict.findings if finding.passed]


def _failure_lines(verdict: Verdict) -> list[tuple[str, str]]:
    """Called, returned, expected, why: those that the first failing finding has."""
    failure = verdict.first_failure
    if failure is None:
        return []
    pairs = [
        ("called", failure.called),
        ("returned", failure.returned),
        ("expected", failure.expected),
        ("why", failure.why),
    ]
    return [(label, _one_line(text)) for label, text in pairs if text]


def _explanations(verdict: Verdict) -> list[str]:
    """The misconceptions by name, what to look at, and how many criteria are not shown."""
    known = [MISCONCEPTIONS[name] for name in verdict.misconceptions if name in MISCONCEPTIONS]
    return [*_named(known), *_counted(verdict.findings)]


def _named(misconceptions: Sequence[Misconception]) -> list[str]:
    if not misconceptions:
        return []
    names = "; or ".join(f"{each.name} ({each.id})" for each in misconceptions)
    opening = (
        "Misconception"
        if len(misconceptions) == 1
        else f"{len(misconceptions)} explanations fit what was measured"
    )
    looks = [
        f"Look at: {each.experiment.rstrip('.')} (lesson {each.lesson})." for each in misconceptions
    ]
    return [_one_line(f"{opening}: {_sentence(names)}"), *map(_one_line, looks)]


def _counted(findings: Iterable[Finding]) -> list[str]:
    results = [finding.passed for finding in findings]
    passed, failed = results.count(True), results.count(False) - 1
    if not passed and failed < 1:
        return []
    others = f"{failed} other {_plural('criterion', failed)} failed" if failed > 0 else ""
    rest = f"{passed} {_plural('criterion', passed)} passed" if passed else ""
    return [f"Of the rest, {' and '.join(filter(None, [others, rest]))}."]


def _closing(verdict: Verdict) -> list[str]:
    """The verdict's note and, where the exercise is not passed, the next step."""
    lines = [_one_line(verdict.note)] if verdict.note else []
    if verdict.outcome is Outcome.FAILED:
        lines.append(f'Next: change the cell and check again, or ask hint("{verdict.exercise}").')
    if verdict.outcome is Outcome.NOT_ATTEMPTED:
        lines.append(
            f"Next: fill the cell of {verdict.exercise} where it says YOUR CODE HERE, run it, "
            f'and check again; hint("{verdict.exercise}") helps to begin.'
        )
    return lines


# --- messages -----------------------------------------------------------------------------------


def message_text(message: Message) -> str:
    """The message as plain text."""
    lines = [f"{SYMBOLS[message.tone]} {message.title}", *message.sentences]
    return "\n".join([*lines, *(["", message.code] if message.code else [])])


def message_html(message: Message) -> str:
    """The message as one HTML card; everything in it is escaped."""
    code = f"<pre>{html.escape(message.code)}</pre>" if message.code else ""
    return _card(message.tone, message.title, _paragraphs(message.sentences) + code)


# --- progress -----------------------------------------------------------------------------------

_COLUMNS = ("exercise", "outcome", "points", "attempts", "hints", "time")


def overview_text(overview: Overview) -> str:
    """Lessons, exercises, attempts, hints, time and what to do next, as an aligned table."""
    rows = [_cells(standing) for lesson in overview.lessons for standing in lesson.standings]
    widths = [max(len(row[i]) for row in [_COLUMNS, *rows]) for i in range(len(_COLUMNS))]

    def line(cells: Sequence[str]) -> str:
        left = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
        return "  " + "  ".join(left + right)

    lines = [_totals(overview), line(_COLUMNS)]
    for lesson in overview.lessons:
        lines += [f"{lesson.id} · {lesson.title}", *map(line, map(_cells, lesson.standings))]
    return "\n".join([*lines, overview.next_step, *overview.notices])


def overview_html(overview: Overview) -> str:
    """The same table as one HTML card."""

    def row(tag: str, cells: Sequence[str]) -> str:
        numbers = [""] * 2 + [' class="dc-number"'] * (len(cells) - 2)
        scope = ' scope="col"' if tag == "th" else ""
        return "".join(
            f"<{tag}{number}{scope}>{_inline(cell)}</{tag}>"
            for number, cell in zip(numbers, cells, strict=True)
        )

    parts = [f"<thead><tr>{row('th', _COLUMNS)}</tr></thead>"]
    for lesson in overview.lessons:
        title = f"{html.escape(lesson.id)} · {html.escape(lesson.title)}"
        head = f'<tr><th colspan="{len(_COLUMNS)}" scope="rowgroup">{title}</th></tr>'
        rows = "".join(f"<tr>{row('td', _cells(standing))}</tr>" for standing in lesson.standings)
        parts.append(f"<tbody>{head}{rows}</tbody>")
    table = f"<table>{''.join(parts)}</table>"
    closing = _paragraphs([overview.next_step, *overview.notices])
    return _card(Tone.TELLING, _totals(overview), table + closing)


def _totals(overview: Overview) -> str:
    standings = [standing for lesson in overview.lessons for standing in lesson.standings]
    passed = sum(standing.outcome is Outcome.PASSED for standing in standings)
    points = sum(standing.points for standing in standings)
    most = sum(standing.max_points for standing in standings)
    seconds = sum(standing.seconds for standing in standings)
    return (
        f"Progress: {passed} of {len(standings)} exercises passed · {points:g} of {most:g} points"
        f" · {spoken_time(seconds)}"
    )


def _cells(standing: Standing) -> tuple[str, ...]:
    return (
        standing.exercise,
        f"{symbol(standing.outcome)} {standing.outcome.value}",
        f"{standing.points:g}/{standing.max_points:g}",
        str(standing.attempts),
        str(standing.hints),
        spoken_time(standing.seconds),
    )


# --- the pieces ---------------------------------------------------------------------------------


def _card(tone: Tone, title: str, body: str) -> str:
    heading = f'<p class="dc-title">{_mark(tone)}{_inline(title)}</p>'
    opening = (
        f'<section class="dropout-course dc-{tone}" role="status" '
        f'aria-label="{html.escape(title, quote=True)}">'
    )
    return f"{_STYLE}\n{opening}{heading}{body}</section>"


def _mark(tone: Tone) -> str:
    return f'<span class="dc-symbol" aria-hidden="true">{SYMBOLS[tone]}</span>'


def _paragraphs(sentences: Iterable[str]) -> str:
    return "".join(f"<p>{_inline(sentence)}</p>" for sentence in sentences)


def _inline(text: str) -> str:
    """Escaped text in which `backticks` become code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _one_line(text: str) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= LINE_LIMIT else joined[: LINE_LIMIT - 1] + "…"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?")) else f"{text}."


def _plural(noun: str, count: float) -> str:
    if count == 1:
        return noun
    return "criteria" if noun == "criterion" else f"{noun}s"
