"""Stored records: exact where they must be, small, and safe to read whatever the bytes hold."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_course.checks.plan import GeneratorSeed, OnAnotherDevice, Other, Value
from dropout_course.checks.record import LearnerError, Observation, Record, record
from dropout_course.checks.store import LIMIT, MAGIC, UnreadableRecord, decode, encode
from dropout_course.course import EXERCISES, find_exercise


def inverted_dropout(x: torch.Tensor, p: float = 0.5, training: bool = True) -> torch.Tensor:
    if not training:
        return x
    return x * 0 if p == 1 else x * (torch.rand(x.shape, device=x.device) >= p) / (1 - p)


def gaussian_dropout(x: torch.Tensor, p: float = 0.5, training: bool = True) -> torch.Tensor:
    return x * (1 + torch.randn_like(x)) if training else x


def one(value: Value) -> Record:
    return Record("inverted_dropout", {"call": Observation("call", value=value)})


def back(value: Value) -> Value:
    return decode(encode(one(value)))["call"].value


DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "shape", [(), (0,), (0, 3), (7,), (4, 5), (100, 3), (2, 3, 40, 5)], ids=str
)
@pytest.mark.parametrize("kinds", [2, 3, 5, 17, 256, 10_000])
def test_tensors_come_back_bit_for_bit(
    dtype: torch.dtype, shape: tuple[int, ...], kinds: int
) -> None:
    numbers = torch.randint(0, kinds, shape, generator=torch.Generator().manual_seed(kinds))
    given_tensor = (numbers.double() * 0.37 - 1).to(dtype)
    found = back(given_tensor)
    assert isinstance(found, torch.Tensor)
    assert found.dtype is dtype
    assert found.shape == given_tensor.shape
    assert torch.equal(found, given_tensor)


def test_nan_infinity_and_negative_zero_survive() -> None:
    odd = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 0.0] * 20)
    found = back(odd)
    assert isinstance(found, torch.Tensor)
    assert torch.equal(found.view(torch.int32), odd.view(torch.int32))


def test_a_rare_value_that_a_sample_misses_is_kept() -> None:
    mask = torch.zeros(100_000)
    mask[77_777] = 3.0
    found = back(mask)
    assert isinstance(found, torch.Tensor)
    assert torch.equal(found, mask)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        2.5,
        "text",
        (1, (2.0, None)),
        {"a": True, "b": (1,)},
        GeneratorSeed(7),
        Other("list", "[1, 2]"),
    ],
    ids=repr,
)
def test_plain_values_come_back(value: Value) -> None:
    assert back(value) == value


def test_the_simulated_device_comes_back() -> None:
    found = back(OnAnotherDevice(torch.ones(3)))
    assert isinstance(found, OnAnotherDevice)
    assert torch.equal(found.tensor, torch.ones(3))


def test_a_whole_observation_comes_back() -> None:
    seen = Observation(
        "call",
        error=LearnerError("ValueError", "no", 3, "raise ValueError", True),
        differentiable=True,
        gradients=(None, torch.ones(3)),
        gradient_error=LearnerError("RuntimeError", "why"),
        inputs_changed=True,
        generator_moved=True,
        reseeded=True,
        given_generator_moved=True,
        other_generators=("random",),
        library_calls=("dropout",),
        state=("mask",),
    )
    given_record = Record("x", {"call": seen}, printed="hello", printed_lines=2, timed_out=True)
    found = decode(encode(given_record))
    assert found["call"].gradients is not None
    assert torch.equal(found["call"].gradients[1], torch.ones(3))  # type: ignore[arg-type]
    plain = replace(found, observations={"call": replace(found["call"], gradients=None)})
    assert plain == replace(given_record, observations={"call": replace(seen, gradients=None)})


@pytest.mark.parametrize("target", [inverted_dropout, gaussian_dropout])
def test_a_stored_record_is_small_and_gets_the_same_verdict(target: object) -> None:
    exercise = find_exercise("inverted_dropout")
    plan = exercise.plan(np.random.default_rng(5))
    seen = record(plan, target)
    data = encode(seen)
    assert len(data) <= LIMIT
    now, later = exercise.verdict(plan, seen), exercise.verdict(plan, decode(data))
    assert (now.outcome, now.misconceptions) == (later.outcome, later.misconceptions)
    assert [f.passed for f in now.findings] == [f.passed for f in later.findings]


def test_a_right_answer_to_any_dropout_exercise_is_stored_exactly() -> None:
    plan = EXERCISES["inverted_dropout"].plan(np.random.default_rng(6))
    seen = record(plan, inverted_dropout)
    found = decode(encode(seen))
    for name, observation in seen.observations.items():
        value = found[name].value
        if isinstance(observation.value, torch.Tensor):
            assert isinstance(value, torch.Tensor)
            assert torch.equal(value, observation.value), name


def test_what_is_too_large_is_refused_with_a_sentence() -> None:
    noise = torch.randn(16_000, dtype=torch.float64)
    many = {f"call{i}": Observation(f"call{i}", value=noise) for i in range(12)}
    with pytest.raises(UnreadableRecord, match="more than 1,000,000"):
        encode(Record("x", many))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_record_are_refused(data: bytes) -> None:
    for candidate in (data, MAGIC + data, MAGIC + len(data).to_bytes(4, "little") + data):
        with pytest.raises(UnreadableRecord):
            decode(candidate)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_record_is_read_or_refused_and_never_worse(place: int, byte: int) -> None:
    data = bytearray(encode(one(torch.arange(40.0).repeat(3))))
    data[place % len(data)] = byte
    try:
        found = decode(bytes(data))
    except UnreadableRecord:
        return
    assert isinstance(found, Record)


@pytest.mark.parametrize(
    "header",
    [
        ["float32", [10**9, 10**9], 0, 0, 0],
        ["float32", [-1, -3], 0, 0, 0],
        ["float32", [3], 2, 3, 0],
        ["float32", [3], 0, 0, 10**12],
        ["float32", ["3"], 0, 0, 0],
        ["float32", [3]],
        "float32",
    ],
    ids=str,
)
def test_headers_that_lie_are_refused(header: object) -> None:
    document = {
        "exercise": "x",
        "observations": [{"name": "a", "value": {"tensor": header}}],
        "printed": "",
        "printed_lines": 0,
        "timed_out": False,
    }
    text = json.dumps(document).encode()
    with pytest.raises(UnreadableRecord):
        decode(MAGIC + len(text).to_bytes(4, "little") + text)
