"""The criteria of a whole dropout exercise, in the order in which they are told.

What explains most comes first: a call that breaks, then the mask, then the numbers, then manners.
"""

from __future__ import annotations

from dropout_course.checks.dropout.evidence import DropoutEvidence
from dropout_course.checks.dropout.manners import (
    ANSWERS,
    IN_PLACE,
    LIBRARY,
    MANNERS,
    MODULE,
    P_EDGES,
    REFUSES,
    STATELESS,
)
from dropout_course.checks.dropout.masks import MASK_CRITERIA
from dropout_course.checks.dropout.rule import Rule
from dropout_course.checks.dropout.values import value_criteria
from dropout_course.checks.judge import Criterion, Findings, apply
from dropout_course.checks.plan import Plan
from dropout_course.checks.record import Record


def function_criteria(rule: Rule) -> tuple[Criterion[DropoutEvidence], ...]:
    """The criteria for a function `f(x, p=0.5, training=True)`."""
    values = value_criteria(rule.survivor_formula, rule.inference_formula)
    return (LIBRARY, ANSWERS, P_EDGES, IN_PLACE, *MASK_CRITERIA, *values, *MANNERS)


def module_criteria(rule: Rule, *, validates: bool) -> tuple[Criterion[DropoutEvidence], ...]:
    """The criteria for a class `C(p=0.5)`; `validates` demands a ValueError outside [0, 1]."""
    extra = (REFUSES,) if validates else ()
    return (MODULE, STATELESS, *function_criteria(rule), *extra)


def judge_dropout(
    plan: Plan, record: Record, rule: Rule, criteria: tuple[Criterion[DropoutEvidence], ...]
) -> Findings:
    """Judge a record of `calls.dropout_plan` by a rule's criteria."""
    return apply(criteria, DropoutEvidence(plan, record, rule))
