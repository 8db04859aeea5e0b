"""Criteria for the numbers: survivors' scale, inference, gradients, and the edges p = 0 and p = 1.

All are exact up to rounding: they have no false alarms.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dropout_course.checks.dropout.calls import DTYPES
from dropout_course.checks.dropout.evidence import DropoutEvidence, Sample, as_numpy, percent
from dropout_course.checks.dropout.rule import INVERTED, STANDARD
from dropout_course.checks.evidence import COARSE, TOLERANCE, told_apart
from dropout_course.checks.judge import Criterion, Failure
from dropout_course.checks.misconceptions import (
    INFERENCE_SCALES,
    SURVIVOR_SCALES,
    Belief,
    explanations,
)

SCALE_SAMPLES = ("large", "images", "again", "rare", "rarely_kept", "training_again", "float64")
INFERENCES = ("inference", "inference_p")


def _scale(evidence: DropoutEvidence) -> Failure | None:
    rule = evidence.rule
    planned = [name for name in SCALE_SAMPLES if evidence.plans(name)]
    samples = [s for s in evidence.samples(planned) if s.survivors]
    wrong = [s for s in samples if _off(s.scale, rule.survivor_scale(s.p)) > 2 * s.tolerance]
    if not wrong:
        return None
    # An example with a p of its own says more than one at the default, or one at an extreme.
    worst = min(wrong, key=lambda s: (s.name in DTYPES, abs(abs(s.p - 0.5) - 0.25)))
    right = rule.survivor_scale(worst.p)
    (name, *also), text = _name_scale(evidence, samples, wrong)
    return Failure(
        worst.called,
        f"survivors multiplied by {told_apart(worst.scale, right)}" + (f", {text}" if text else ""),
        f"{told_apart(right, worst.scale)}, which is {rule.survivor_formula} at p = {worst.p:.4g}",
        name,
        also=tuple(also),
    )


def _off(value: float, expected: float) -> float:
    return abs(value - expected) / max(abs(expected), 1e-30)


def _name_scale(
    evidence: DropoutEvidence, samples: Sequence[Sample], wrong: Sequence[Sample]
) -> tuple[tuple[str, ...], str]:
    """Name what survivors were multiplied by: misconceptions that fit, and the formula."""
    rule = evidence.rule
    if all(_off(s.scale, rule.survivor_scale(s.p)) < COARSE for s in wrong):
        return ("changes-dtype", "wrong-scale"), ""
    if {sample.name for sample in wrong} <= set(DTYPES):
        return ("changes-dtype",), ""
    found = explanations(SURVIVOR_SCALES, lambda f: all(_close(s.scale, f(s.p)) for s in samples))
    if not found:
        return ("wrong-scale",), ""
    name, text = found[0].misconception, found[0].text
    at_inference = _inference_belief(evidence)
    multiplies = at_inference is not None and at_inference.misconception == "scales-at-inference"
    if rule is INVERTED and name == "no-scaling" and multiplies:
        name = "standard-instead-of-inverted"
    if rule is STANDARD and name == "scaled-while-training":
        name = "scaled-at-both" if multiplies else "inverted-instead-of-standard"
    return (name,), text


def _close(value: float, believed: float) -> bool:
    return _off(value, believed) <= 1e-3


def _inference_belief(evidence: DropoutEvidence) -> Belief | None:
    """What inference multiplies with as a function of p; None where it is no known one."""
    points = [(evidence.asked(name).p, _common_ratio(evidence, name)) for name in INFERENCES]
    found = explanations(
        INFERENCE_SCALES,
        lambda f: all(ratio is not None and _close(ratio, f(p)) for p, ratio in points),
    )
    return found[0] if found else None


def _common_ratio(evidence: DropoutEvidence, name: str) -> float | None:
    """Return the number that all elements were multiplied by, None where there is no one number."""
    ask, out = evidence.asked(name), as_numpy(evidence.output(name))
    ratio = out / as_numpy(ask.x)
    low, high = float(ratio.min()), float(ratio.max())
    tolerance = 4 * TOLERANCE.get(ask.x.dtype, 1e-5) * max(abs(high), 1e-30)
    return (low + high) / 2 if high - low <= tolerance else None


def _inference(evidence: DropoutEvidence) -> Failure | None:
    rule = evidence.rule
    for name in reversed(INFERENCES):
        ask = evidence.asked(name)
        ratio = _common_ratio(evidence, name)
        expected = rule.inference_scale(ask.p)
        if ratio is not None and _off(ratio, expected) <= 4 * TOLERANCE[ask.x.dtype]:
            continue
        right = "x itself" if rule is INVERTED else f"x * {expected:.4g}, which is x * (1 - p)"
        misconception, seen = _name_inference(evidence, name, ratio)
        return Failure(evidence.called(name), seen, right, misconception)
    return None


def _name_inference(evidence: DropoutEvidence, name: str, ratio: float | None) -> tuple[str, str]:
    multipliers = evidence.multipliers(name)
    if ratio is None:
        dropped = float((multipliers == 0).mean())
        if dropped:
            return "drops-at-inference", f"{percent(dropped)} of the elements were 0"
        off = np.abs(multipliers / evidence.rule.inference_scale(evidence.asked(name).p) - 1.0)
        if float(off.max()) < COARSE:
            return "changes-dtype", f"elements off by up to {float(off.max()):.2g} of their value"
        return "changes-inference", "elements multiplied by different numbers"
    if ratio == 0:
        return "drops-at-inference", "zeros everywhere"
    belief = _inference_belief(evidence)
    seen = f"x * {ratio:.4g}" + (f", {belief.text}" if belief else "")
    if evidence.rule is STANDARD:
        return belief.misconception if belief else "wrong-inference-scale", seen
    return "scales-at-inference", seen


def _inference_randomness(evidence: DropoutEvidence) -> Failure | None:
    for name in INFERENCES:
        seen = evidence.seen(name)
        evidence.output(name)
        if seen.generator_moved or seen.other_generators:
            which = "torch's generator" if seen.generator_moved else seen.other_generators[0]
            return Failure(
                evidence.called(name),
                f"random numbers were drawn from {which}",
                "no random numbers drawn at inference",
                "draws-at-inference",
            )
    return None


def _gradient(evidence: DropoutEvidence) -> Failure | None:
    output, upstream, found = _gradient_parts(evidence, "gradient")
    ask = evidence.asked("gradient")
    multiplier = as_numpy(output) / as_numpy(ask.x)
    expected = multiplier * upstream
    if found is None:
        return _no_gradient(evidence, "gradient")
    tolerance = TOLERANCE[torch.float64] * max(1.0, float(np.abs(expected).max()))
    if bool(np.all(np.abs(found - expected) <= tolerance)):
        return None
    name, text = _name_gradient(found / upstream, multiplier)
    return Failure(
        f"{evidence.called('gradient')}, then backward",
        text,
        "the upstream gradient times what the element itself was multiplied by: 0 or"
        f" {evidence.rule.survivor_formula}",
        name,
    )


def _name_gradient(found: NDArray[np.float32], multiplier: NDArray[np.float32]) -> tuple[str, str]:
    kept = multiplier != 0
    through_dropped = found[~kept] != 0
    if np.allclose(found, 1.0):
        return "straight-through", "a gradient of 1 everywhere, also for dropped elements"
    if not through_dropped.any() and np.allclose(found[kept], 1.0):
        return "gradient-unscaled", "a gradient of 1 for survivors, as if they had not been scaled"
    if through_dropped.any() and (found == 0).any():
        return (
            "gradient-other-mask",
            f"{percent(float(through_dropped.mean()))} of the dropped elements got a gradient, some"
            " survivors got none",
        )
    if through_dropped.any():
        return "straight-through", "a gradient for dropped elements too"
    return "gradient-wrong-scale", f"survivors' gradient multiplied by {np.median(found[kept]):.4g}"


def _inference_gradient(evidence: DropoutEvidence) -> Failure | None:
    _, upstream, found = _gradient_parts(evidence, "inference_gradient")
    if found is None:
        return _no_gradient(evidence, "inference_gradient")
    scale = evidence.rule.inference_scale(evidence.asked("inference_gradient").p)
    if np.allclose(found, upstream * scale, rtol=TOLERANCE[torch.float64], atol=1e-6):
        return None
    return Failure(
        f"{evidence.called('inference_gradient')}, then backward",
        f"a gradient multiplied by {np.median(found / upstream):.4g}",
        f"multiplied by {scale:.4g}, as the elements are at inference",
        "gradient-wrong-scale",
    )


def _gradient_parts(
    evidence: DropoutEvidence, name: str
) -> tuple[Tensor, NDArray[np.float32], NDArray[np.float32] | None]:
    output, seen = evidence.output(name), evidence.seen(name)
    upstream = evidence.plan.call(name).upstream
    if upstream is None:
        raise ValueError(f"step {name!r} asks for no gradient")
    gradient = seen.gradients[0] if seen.gradients else None
    return output, as_numpy(upstream), None if gradient is None else as_numpy(gradient)


def _no_gradient(evidence: DropoutEvidence, name: str) -> Failure:
    seen = evidence.seen(name)
    if seen.gradient_error is not None:
        text = f"backward raised {seen.gradient_error.type_name}: {seen.gradient_error.message}"
    elif seen.differentiable:
        text = "no gradient for x"
    else:
        text = "a result cut off from the graph: requires_grad is False"
    return Failure(
        f"{evidence.called(name)}, then backward",
        text,
        "a gradient for x",
        "gradient-detached",
    )


def _p_zero(evidence: DropoutEvidence) -> Failure | None:
    for name in ("p_zero", "p_zero_inference"):
        x, out = evidence.asked(name).x, evidence.output(name)
        if not torch.allclose(out.to(x.dtype), x, rtol=1e-5, atol=0.0):
            seen = "other values than x" + (", nan among them" if bool(out.isnan().any()) else "")
            return Failure(evidence.called(name), seen, "x itself", "p-zero-not-identity")
    return None


def _p_one(evidence: DropoutEvidence) -> Failure | None:
    out = evidence.output("p_one")
    if not bool((out == 0).all()):
        finite = bool(out.isfinite().all())
        return Failure(
            evidence.called("p_one"),
            "values other than 0" if finite else "nan or infinite values",
            "zeros",
            "p-one-not-zeros" if finite else "nan-at-p-one",
        )
    x, out = evidence.asked("p_one_inference").x, evidence.output("p_one_inference")
    expected = x * evidence.rule.inference_scale(1.0)
    if torch.allclose(out.to(x.dtype), expected, rtol=1e-5, atol=0.0):
        return None
    finite = bool(out.isfinite().all())
    return Failure(
        evidence.called("p_one_inference"),
        "other values" if finite else "nan or infinite values",
        "x itself" if evidence.rule is INVERTED else "zeros: x * (1 - p)",
        "p-one-not-zeros" if finite else "nan-at-p-one",
    )


SCALE_WHY = "The scale keeps the mean the same in training and at inference; without it every layer"


def value_criteria(survivors: str, inference: str) -> tuple[Criterion[DropoutEvidence], ...]:
    """The criteria of a rule, worded for it: `survivors` and `inference` are its formulas."""
    return (
        Criterion(
            "scale",
            f"survivors are multiplied by {survivors} while training, for any p",
            f"{SCALE_WHY} after it sees inputs of another size",
            _scale,
        ),
        Criterion(
            "inference",
            f"at inference every element is multiplied by {inference}, none is dropped",
            "At inference all units work, at the mean that the next layer was trained on",
            _inference,
        ),
        Criterion(
            "inference-deterministic",
            "no random numbers are drawn at inference",
            "Drawing costs time, and shifts every random number that the program draws afterwards",
            _inference_randomness,
        ),
        Criterion(
            "gradient",
            "gradients flow back through the same mask and scale",
            "A dropped unit took no part in the output, so it has no part in the gradient",
            _gradient,
        ),
        Criterion(
            "inference-gradient",
            f"at inference gradients are multiplied by {inference}",
            "Saliency maps and adversarial examples differentiate a net in eval mode",
            _inference_gradient,
        ),
        Criterion(
            "p-zero",
            "p = 0 changes nothing",
            "p = 0 switches dropout off; sweeps over p start there",
            _p_zero,
        ),
        Criterion(
            "p-one",
            "p = 1 gives zeros, never nan",
            "1 / (1 - p) is infinite there, and infinity times 0 is nan",
            _p_one,
        ),
    )
