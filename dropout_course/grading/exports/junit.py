"""Grades as JUnit XML: a suite a submission, a case an exercise; for CI and its report viewers.

Valid for Jenkins' schema (xunit-plugin, junit-10.xsd) and for the stricter one of Ant's reports
(windyroad/JUnit-Schema, JUnit.xsd), which wants every attribute that is written here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from xml.etree import ElementTree as ET

from dropout_course.checks.verdict import Outcome, Verdict
from dropout_course.display import as_text
from dropout_course.grading.exports.reading import Grades, number
from dropout_course.grading.files import replacing
from dropout_course.grading.gradebook import Entry
from dropout_course.grading.work import Status

FILE = "junit.xml"
# What XML 1.0 has no way to write.
_UNWRITABLE = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(grades: Grades, out: Path) -> list[Path]:
    """Write junit.xml, one suite after another: ten thousand need no more memory than one."""
    path = out / FILE
    with replacing(path) as file:
        for piece in document(grades):
            file.write(piece)
    return [path]


def document(grades: Grades) -> Iterator[bytes]:
    """The XML in UTF-8, piece by piece."""
    yield b'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n'
    timestamp = grades.made_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    for place, entry in enumerate(grades.entries()):
        yield ET.tostring(_suite(entry, place, timestamp), encoding="utf-8") + b"\n"
    yield b"</testsuites>\n"


def _suite(entry: Entry, place: int, timestamp: str) -> ET.Element:
    cases = [_case(entry, verdict) for verdict in entry.verdicts] or [_unreadable(entry)]
    counts = {kind: sum(case.find(kind) is not None for case in cases) for kind in _KINDS}
    suite = ET.Element(
        "testsuite",
        name=_token(f"{entry.lesson} {entry.student}"),
        package=_token(entry.lesson),
        id=str(place),
        hostname="localhost",
        timestamp=timestamp,
        tests=str(len(cases)),
        failures=str(counts["failure"]),
        errors=str(counts["error"]),
        skipped=str(counts["skipped"]),
        time=f"{entry.seconds:.3f}",
    )
    properties = ET.SubElement(suite, "properties")
    told = {
        "student": entry.student,
        "status": entry.status.value,
        "score": number(entry.score),
        "max_score": number(entry.max_score),
    }
    for name, value in told.items():
        ET.SubElement(properties, "property", name=name, value=_clean(value))
    suite.extend(cases)
    ET.SubElement(suite, "system-out").text = _clean("\n".join(entry.notes))
    ET.SubElement(suite, "system-err")
    return suite


_KINDS = ("failure", "error", "skipped")


def _case(entry: Entry, verdict: Verdict) -> ET.Element:
    """Failed is a failure; not attempted is skipped, or an error where the submission ended badly.

    Only a suite has a time: exercises are not timed one by one.
    """
    case = ET.Element(
        "testcase",
        name=_token(verdict.exercise),
        classname=_token(f"{entry.lesson}.{entry.student}"),
        time="0",
    )
    if verdict.outcome is Outcome.PASSED:
        return case
    first = verdict.first_failure
    text = as_text(verdict)
    if verdict.outcome is Outcome.FAILED:
        kind = (first and (first.misconception or first.criterion)) or "failed"
        message = (first and first.returned) or text.splitlines()[0]
        _problem(case, "failure", kind, message, text)
    elif entry.status is Status.GRADED:
        # The stricter schema has a skipped case without any attribute.
        ET.SubElement(case, "skipped")
    else:
        _problem(case, "error", entry.status.value, " ".join(entry.notes), text)
    return case


def _unreadable(entry: Entry) -> ET.Element:
    case = ET.Element(
        "testcase",
        name="submission",
        classname=_token(f"{entry.lesson}.{entry.student}"),
        time="0",
    )
    _problem(case, "error", entry.status.value, " ".join(entry.notes), "\n".join(entry.notes))
    return case


def _problem(case: ET.Element, tag: str, kind: str, message: str, text: str) -> None:
    ET.SubElement(case, tag, type=kind, message=_clean(message)).text = _clean(text)


def _token(text: str) -> str:
    """A name as both schemas want it: no line breaks, no doubled spaces, not empty."""
    return " ".join(_clean(text).split()) or "-"


def _clean(text: str) -> str:
    return _UNWRITABLE.sub("\ufffd", text)
