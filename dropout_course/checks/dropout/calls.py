"""The calls that show everything about a dropout function or module. Trusted side; no judging.

A few large calls and one batch of small ones serve all criteria: a call is made for a criterion of
its own only where no other call can show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from dropout_course.checks.plan import Call, Construct, OnAnotherDevice, Plan, Step, Value
from dropout_course.checks.statistics import FALSE_ALARM, elements_needed

RATE_SHIFT = 0.01  # the smallest error of the drop rate that is sure to be seen
RATE_SAMPLES = ("large", "images", "again", "rare", "rarely_kept", "training_again")
RATE_LEVEL = FALSE_ALARM / len(RATE_SAMPLES)  # they share the criterion's false alarms
# At p = 0.5, the worst case, enough for elements_needed(0.5, RATE_SHIFT, RATE_LEVEL).
LARGE = (650, 620)
REPEATS = 200  # small calls in a row
SMALL = (2, 4, 4)
DEFAULT_P = 0.5
EDGE = (60, 70)  # at p = 0 and p = 1: a p clamped to 0.99 leaves no survivor once in 1e18

# The larger ones are kept, or dropped, as a whole with a probability below 0.85^210 < 2e-15.
SHAPES: dict[str, tuple[int, ...]] = {
    "shape_scalar": (),
    "shape_one": (1,),
    "shape_vector": (211,),
    "shape_sequence": (5, 6, 7),
    "shape_volume": (2, 3, 4, 3, 3),
}
LARGER_SHAPES = ("shape_vector", "shape_sequence", "shape_volume")
EMPTY: dict[str, tuple[int, ...]] = {"empty": (0,), "empty_rows": (0, 3)}
DTYPES = {"float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Asked:
    """What a call asks a dropout for, whether of a function or of a module."""

    x: Tensor
    p: float
    training: bool


@dataclass
class Script:
    """Collects the steps for a function `f(x, p, training)` or for a class `C(p)(x)`."""

    exercise: str
    as_module: bool
    steps: list[Step] = field(default_factory=list)
    _instances: dict[float | None, str] = field(default_factory=dict)

    def ask(
        self,
        name: str,
        x: Tensor | OnAnotherDevice,
        p: float | None,
        training: bool | None = True,
        *,
        seed: int | None = None,
        upstream: Tensor | None = None,
        repeats: int = 1,
        by_name: bool = False,
    ) -> None:
        """Add a call; `p` or `training` None leaves the argument to its default."""
        if self.as_module:
            args: tuple[Value, ...] = (x,)
            kwargs: dict[str, Value] = {}
            instance: str | None = self._instance(p, by_name)
        else:
            kwargs = {} if p is None else {"p": p}
            if training is not None:
                kwargs["training"] = training
            args = () if by_name else (x,)
            if by_name:
                kwargs = {"x": x, **kwargs}
            instance = None
        self.steps.append(
            Call(
                name,
                args,
                kwargs,
                seed=seed,
                upstream=upstream,
                repeats=repeats,
                instance=instance,
                training=training if self.as_module else None,
            )
        )

    def in_order(self) -> tuple[Step, ...]:
        """Instances first, so that they share their class; those of p = 0 and p = 1 when needed."""
        early = {name for p, name in self._instances.items() if p not in (0.0, 1.0)}
        first = [step for step in self.steps if step.name in early]
        return (*first, *(step for step in self.steps if step.name not in early))

    def _instance(self, p: float | None, by_name: bool) -> str:
        if p not in self._instances:
            name = f"module_{len(self._instances)}"
            args: tuple[Value, ...] = () if p is None or by_name else (p,)
            kwargs: dict[str, Value] = {"p": p} if by_name and p is not None else {}
            self.steps.append(Construct(name, args, kwargs))
            self._instances[p] = name
        return self._instances[p]


def dropout_plan(
    exercise: str,
    rng: np.random.Generator,
    *,
    as_module: bool = False,
    refused: Sequence[float] = (),
) -> Plan:
    """Plan the calls for a dropout: default rate and random ones, both modes, gradients, edges.

    `refused` are values of p that a class has to turn away with a ValueError.
    """
    script = Script(exercise, as_module)
    script.ask("first", torch.full((5,), 10.0), 0.2, seed=_seed(rng))
    _masks(script, rng)
    _modes(script, rng)
    _gradients(script, rng)
    _edges(script, rng)
    for value in refused:
        script.steps.append(Construct(f"refused_{value:g}", (), {"p": value}))
    return Plan(exercise, script.in_order())


def _masks(script: Script, rng: np.random.Generator) -> None:
    # Leaves p, and a function's `training`, to their defaults: p = 0.5 and True by contract.
    training = True if script.as_module else None
    script.ask("large", few_values(rng, LARGE), None, training, seed=_seed(rng))
    p = random_p(rng)
    rows = -(-elements_needed(p, RATE_SHIFT, RATE_LEVEL) // (12 * 25 * 40))
    script.ask("images", few_values(rng, (rows, 12, 25, 40)), p, seed=_seed(rng))
    # On the other side of 1/2, so that both sides are met in every check.
    other = random_p(rng, above=p < 0.5)
    script.ask("again", few_values(rng, SMALL), other, repeats=REPEATS, seed=_seed(rng))
    script.ask("rare", few_values(rng, (64, 96)), rare_p(rng), seed=_seed(rng))
    script.ask("rarely_kept", few_values(rng, (64, 96)), 1.0 - rare_p(rng), seed=_seed(rng))
    p, x, seed = random_p(rng), few_values(rng, (32, 48)), _seed(rng)
    script.ask("seed_a", x, p, seed=seed)
    script.ask("seed_a_again", x, p, seed=seed)
    script.ask("seed_b", x, p, seed=seed + 1)


def _modes(script: Script, rng: np.random.Generator) -> None:
    script.ask("inference", normal(rng, (16, 24)), None, False, seed=_seed(rng))
    p = random_p(rng)
    script.ask("inference_p", normal(rng, (16, 24)), p, False, seed=_seed(rng))
    # Back to training: a mode that is read once only shows here. Everything by keyword.
    script.ask("training_again", few_values(rng, (16, 24)), p, True, seed=_seed(rng), by_name=True)


def _gradients(script: Script, rng: np.random.Generator) -> None:
    for name, training in (("gradient", True), ("inference_gradient", False)):
        x, upstream = (normal(rng, (24, 40)).double() for _ in range(2))
        script.ask(name, x, random_p(rng), training, seed=_seed(rng), upstream=upstream)


def _edges(script: Script, rng: np.random.Generator) -> None:
    for name, edge in (("p_zero", 0.0), ("p_one", 1.0)):
        x = normal(rng, EDGE)
        script.ask(name, x, edge, seed=_seed(rng))
        script.ask(f"{name}_inference", x, edge, False, seed=_seed(rng))
    p = random_p(rng)
    for name, dtype in DTYPES.items():
        script.ask(name, few_values(rng, (8, 16)).to(dtype), p, seed=_seed(rng))
        script.ask(f"{name}_inference", normal(rng, (8, 16)).to(dtype), p, False)
    for name, shape in (SHAPES | EMPTY).items():
        script.ask(name, few_values(rng, shape), p, seed=_seed(rng))
    script.ask("shape_transposed", few_values(rng, (9, 14)).T, p, seed=_seed(rng))
    script.ask("device", OnAnotherDevice(few_values(rng, (3, 4))), p, seed=_seed(rng))


def asked(plan: Plan, name: str) -> Asked:
    """Return what the call of that name asks for, defaults filled in."""
    call = plan.call(name)
    given: dict[str, Value] = dict(zip(("x", "p", "training"), call.args, strict=False))
    given |= call.kwargs
    if call.instance is not None:
        made = plan.construct(call.instance)
        given |= dict(zip(("p",), made.args, strict=False)) | dict(made.kwargs)
        given["training"] = call.training
    x, p, training = given["x"], given.get("p", DEFAULT_P), given.get("training", True)
    if not (isinstance(x, Tensor) and isinstance(p, float) and isinstance(training, bool)):
        raise TypeError(f"step {name!r} is no call of a dropout")
    return Asked(x, p, training)


def random_p(rng: np.random.Generator, above: bool | None = None) -> float:
    """Draw a drop probability from 0.15 to 0.4 or, `above` one half, from 0.6 to 0.85.

    Away from 0, 1/2 and 1, where wrong formulas agree with right ones, and at least 0.0125 away
    from every multiple of 0.05, so that a rounded p is a wrong one. From a continuum: no
    implementation can know the values that it will be asked for.
    """
    while True:
        p = float(rng.uniform(0.15, 0.4))
        if abs(20.0 * p - round(20.0 * p)) >= 0.25:
            break
    if above is None:
        above = bool(rng.random() < 0.5)
    return 1.0 - p if above else p


def rare_p(rng: np.random.Generator) -> float:
    """Draw a small probability, from 0.02 to 0.08."""
    return float(rng.uniform(0.02, 0.08))


def few_values(rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    """Return a float32 tensor of four values, none 0: its dropout takes five, and packs well."""
    unit = rng.uniform(0.5, 2.0)
    values = np.array([-2.0, -1.0, 1.0, 2.0], dtype=np.float32) * np.float32(unit)
    return torch.from_numpy(np.asarray(values[rng.integers(0, 4, size=shape)]))


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    """Return a float32 tensor of standard normal values, none of them nearer to 0 than 0.01.

    Outputs are divided by these. One in 2^23 float32 draws is exactly 0, and one in a thousand
    batches of 128 holds a value so small that float16 cannot round its multiple to three digits.
    """
    values = rng.standard_normal(shape, dtype=np.float32)
    away = np.copysign(np.maximum(np.abs(values), np.float32(0.01)), values)
    return torch.from_numpy(np.asarray(away))


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
