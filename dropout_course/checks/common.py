"""What many exercises demand in the same words. Knows the evidence; knows no exercise."""

from __future__ import annotations

from collections.abc import Callable

from dropout_course.checks.evidence import Evidence
from dropout_course.checks.judge import Failure


def untouched(changed: str, expected: str) -> Callable[[Evidence], Failure | None]:
    """Return a judge that wants every call to leave its inputs as they were.

    `changed` says what came back where one did not, `expected` what was expected.
    """

    def judge(evidence: Evidence) -> Failure | None:
        for name, seen in evidence.record.observations.items():
            if seen.inputs_changed:
                return Failure(evidence.called(name), changed, expected, "changes-its-input")
        return None

    return judge
