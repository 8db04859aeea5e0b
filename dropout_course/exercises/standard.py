"""Lesson 02: standard dropout as in Srivastava et al. 2014, from the mask up."""

from __future__ import annotations

import numpy as np

from dropout_course.checks.dropout.bernoulli import bernoulli_plan, judge_bernoulli
from dropout_course.checks.dropout.calls import dropout_plan
from dropout_course.checks.dropout.criteria import (
    function_criteria,
    judge_dropout,
    module_criteria,
)
from dropout_course.checks.dropout.rule import STANDARD
from dropout_course.checks.judge import Findings
from dropout_course.checks.plan import Plan
from dropout_course.checks.record import Record
from dropout_course.exercises.base import Exercise, Kind

LESSON = "02_standard_dropout"
FUNCTION_CRITERIA = function_criteria(STANDARD)
MODULE_CRITERIA = module_criteria(STANDARD, validates=False)


def _function_plan(rng: np.random.Generator) -> Plan:
    return dropout_plan("standard_dropout", rng)


def _judge_function(plan: Plan, record: Record) -> Findings:
    return judge_dropout(plan, record, STANDARD, FUNCTION_CRITERIA)


def _module_plan(rng: np.random.Generator) -> Plan:
    return dropout_plan("StandardDropout", rng, as_module=True)


def _judge_module(plan: Plan, record: Record) -> Findings:
    return judge_dropout(plan, record, STANDARD, MODULE_CRITERIA)


EXERCISES = (
    Exercise(
        id="bernoulli_mask",
        lesson=LESSON,
        kind=Kind.FUNCTION,
        points=2,
        task="bernoulli_mask(shape, p, *, generator=None): a fresh mask of zeros and ones",
        plan=bernoulli_plan,
        judge=judge_bernoulli,
        hints=(
            "A uniform number in [0, 1) falls below 0.8 in what share of the cases? Which event do"
            " you want to happen with probability 1 - p?",
            "P(u < q) = q for u uniform on [0, 1). You need q = 1 - p, since 1 means kept. Then"
            " p = 0 gives u < 1, always; p = 1 gives u < 0, never.",
            "`torch.rand(shape, generator=generator)` draws from the global generator where"
            " generator is None. A comparison gives bool; `.to(torch.get_default_dtype())` makes"
            " numbers of it. `torch.bernoulli(probabilities, generator=...)` works as well.",
        ),
    ),
    Exercise(
        id="standard_dropout",
        lesson=LESSON,
        kind=Kind.FUNCTION,
        points=3,
        task="standard_dropout(x, p=0.5, training=True): dropout as in 2014",
        plan=_function_plan,
        judge=_judge_function,
        hints=(
            "The 2014 paper leaves survivors as they are while training. Then what is the average"
            " of one activation over many masks, and what must inference return to match it?",
            "Training: y = x * r with P(r = 1) = 1 - p, so E[y] = x * (1 - p). Inference:"
            " y = x * (1 - p), and no mask at all.",
            "`bernoulli_mask(x.shape, p)` from the exercise before,"
            " `.to(dtype=x.dtype, device=x.device)`, and plain `*`. Return before drawing anything"
            " when training is False.",
        ),
    ),
    Exercise(
        id="StandardDropout",
        lesson=LESSON,
        kind=Kind.CLASS,
        points=2,
        task="class StandardDropout(nn.Module): the same, in a model",
        plan=_module_plan,
        judge=_judge_module,
        hints=(
            "Which attribute do model.train() and model.eval() change in every submodule, without"
            " you writing a line for it?",
            "forward(x) = x * r when self.training is True, x * (1 - p) when it is False: your"
            " function with its third argument filled in.",
            "`super().__init__()` first, then keep p as a plain Python attribute. In forward:"
            " `standard_dropout`, `self.p`, `self.training`. Nothing here is an nn.Parameter or a"
            " buffer.",
        ),
    ),
)
