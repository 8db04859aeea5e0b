"""What a check concludes: findings and the verdict that they add up to.

Plain data. Must not know how a verdict was reached nor how it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a check ended; an exercise that nobody has tried yet is not a wrong one."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_ATTEMPTED = "not attempted"


@dataclass(frozen=True)
class Finding:
    """The outcome of one criterion.

    `proves` is the line that is shown when the criterion passed. It never holds a measured number,
    so that a passed check reads the same at every run. The other four texts belong to a failure and
    are shown in their order: what was called, what came back, what was expected, why it matters.
    `misconception` is the belief that explains it best; `also` are others that fit as well.
    """

    criterion: str
    passed: bool
    proves: str
    called: str = ""
    returned: str = ""
    expected: str = ""
    why: str = ""
    misconception: str | None = None
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check of one exercise.

    `misconceptions` are ids in `misconceptions.MISCONCEPTIONS` that explain the first failing
    finding; more than one where several beliefs explain it equally well. `note` is a sentence
    beside the findings, for example what the learner's code printed.
    """

    exercise: str
    outcome: Outcome
    points: float
    max_points: float
    findings: tuple[Finding, ...]
    misconceptions: tuple[str, ...] = ()
    note: str = ""

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASSED

    @property
    def first_failure(self) -> Finding | None:
        return next((finding for finding in self.findings if not finding.passed), None)
