"""The class at a glance: scores, the hardest exercises, the most common misconceptions.

Adds up one submission at a time. Must not know how anything was graded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dropout_course.checks.misconceptions import MISCONCEPTIONS
from dropout_course.checks.verdict import Outcome
from dropout_course.grading.feedback import SPOKEN, file_name
from dropout_course.grading.gradebook import Entry
from dropout_course.grading.page import escape, page
from dropout_course.grading.pictures import Bar, columns, rows
from dropout_course.grading.work import Status

_BINS = 10
_SHOWN = 12  # misconceptions


@dataclass
class _Lesson:
    """What is counted of one lesson; scores are counted in tenths of the most points."""

    scores: Counter[int] = field(default_factory=Counter)
    points: float = 0.0
    max_points: float = 0.0
    outcomes: dict[str, Counter[Outcome]] = field(default_factory=dict)


def summary(entries: Iterable[Entry], titles: Mapping[str, str]) -> str:
    """The page; `titles` are the lessons' by id. Links lead to the feedback pages beside it."""
    lessons: dict[str, _Lesson] = {}
    statuses: Counter[Status] = Counter()
    misconceptions: Counter[str] = Counter()
    students: set[str] = set()
    table = []
    for entry in entries:
        students.add(entry.student)
        statuses[entry.status] += 1
        misconceptions.update({name for v in entry.verdicts for name in v.misconceptions[:1]})
        if entry.max_score:
            _count(lessons.setdefault(entry.lesson, _Lesson()), entry)
        table.append(_row(entry))
    parts = [
        "<h1>Class summary</h1>",
        f"<p>{_number(len(students), 'student')} · {_number(len(table), 'submission')}</p>",
        f'<p class="soft">{" · ".join(_statuses(statuses))}</p>',
        *(_lesson(name, titles.get(name, ""), lesson) for name, lesson in sorted(lessons.items())),
        _misconceptions(misconceptions, len(table)),
        "<h2>Submissions</h2><table><thead><tr><th>student</th><th>lesson</th><th>status</th>"
        '<th class="number">points</th></tr></thead><tbody>',
        *table,
        "</tbody></table>",
    ]
    return page("Class summary", "\n".join(parts))


def _count(lesson: _Lesson, entry: Entry) -> None:
    lesson.scores[min(int(_BINS * entry.score / entry.max_score + 1e-9), _BINS)] += 1
    lesson.points += entry.score
    lesson.max_points += entry.max_score
    for verdict in entry.verdicts:
        lesson.outcomes.setdefault(verdict.exercise, Counter())[verdict.outcome] += 1


def _statuses(statuses: Counter[Status]) -> list[str]:
    return [
        f"{statuses[status]} {SPOKEN[status].partition(':')[0].partition(' ')[2]}"
        for status in Status
        if statuses[status]
    ]


def _lesson(name: str, title: str, lesson: _Lesson) -> str:
    count = lesson.scores.total()
    mean = 100 * lesson.points / lesson.max_points
    full = lesson.scores[_BINS]
    named = f"{name} · {title}" if title else name
    most = max(lesson.scores.values())
    labels = [f"{10 * n}–{10 * n + 9} %" for n in range(_BINS)] + ["100 %"]
    scores = columns(
        f"{named}: {mean:.0f} % of the points on average, {full} of {count} with all of them",
        [
            Bar(label, lesson.scores[n] / most, str(lesson.scores[n]))
            for n, label in enumerate(labels)
        ],
        f"Submissions of {name} by their share of the points",
        "share of the points",
    )
    return scores + _difficulty(name, lesson)


def _difficulty(name: str, lesson: _Lesson) -> str:
    ordered = sorted(
        lesson.outcomes.items(), key=lambda item: item[1][Outcome.PASSED] / item[1].total()
    )
    bars = []
    for exercise, counts in ordered:
        passed, total = counts[Outcome.PASSED], counts.total()
        untried = counts[Outcome.NOT_ATTEMPTED]
        more = f", {untried} not attempted" if untried else ""
        bars.append(Bar(exercise, passed / total, f"{passed} of {total} passed{more}"))
    return rows(
        f"{name}: {_hardest(ordered)}",
        bars,
        f"Share of submissions of {name} that passed, hardest first",
    )


def _hardest(ordered: Sequence[tuple[str, Counter[Outcome]]]) -> str:
    rates = [counts[Outcome.PASSED] / counts.total() for _, counts in ordered]
    if len(rates) > 1 and rates[0] < rates[1]:
        return f"{ordered[0][0]} was passed least often"
    return f"{100 * rates[0]:.0f} % passed {ordered[0][0]}"


def _misconceptions(counts: Counter[str], submissions: int) -> str:
    if not counts:
        return "<h2>No misconception was seen</h2>"
    common = counts.most_common(_SHOWN)
    bars = [
        Bar(_name(name), count / common[0][1], f"{count} ({100 * count / submissions:.0f} %)")
        for name, count in common
    ]
    return rows(
        f"The most common misconception: {_name(common[0][0])}",
        bars,
        "Submissions in which a misconception explains a failed exercise best",
        kind="missed",
    )


def _name(misconception: str) -> str:
    known = MISCONCEPTIONS.get(misconception)
    return known.name if known and len(known.name) <= 56 else misconception


def _row(entry: Entry) -> str:
    link = escape(f"feedback/{file_name(entry)}")
    return (
        f'<tr><td><a href="{link}">{escape(entry.student)}</a></td><td>{escape(entry.lesson)}</td>'
        f"<td>{escape(SPOKEN[entry.status].partition(':')[0])}</td>"
        f'<td class="number">{entry.score:g}/{entry.max_score:g}</td></tr>'
    )


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
