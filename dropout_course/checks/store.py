"""Records as bytes and back: JSON for the structure, raw arrays for the numbers, never pickle.

Reading is defensive: bytes that are no record raise `UnreadableRecord`, whatever they hold. Knows
nothing of who wrote them or of what is made of them.

Layout: magic, length of the JSON (4 bytes, little-endian), JSON, arrays one after another. An array
that takes few values is kept as those values and packed codes of 1, 2, 4 or 8 bits.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dropout_course.checks.plan import (
    GeneratorSeed,
    ModuleState,
    OnAnotherDevice,
    Other,
    Value,
)
from dropout_course.checks.record import LearnerError, Observation, Record

MAGIC = b"DCR1"
LIMIT = 1_000_000  # bytes of one stored record, at most
MAX_ELEMENTS = 4_000_000  # of one array; far above what any plan asks for
EXACT_ELEMENTS = 2**14  # larger arrays of many values are kept as 256 typical ones
_SAMPLE = 4096

_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
    )
}
_Array = NDArray[Any]


class UnreadableRecord(ValueError):
    """The bytes are no record, or one that is damaged or too large."""


def encode(record: Record) -> bytes:
    """Write a record as bytes.

    Exact, but for arrays of more than `EXACT_ELEMENTS` elements and more than 256 values (no right
    answer of a large call has so many): these are rounded to 256 typical values, with zero, the
    smallest and the largest kept. `UnreadableRecord` if even so it exceeds `LIMIT` bytes.
    """
    blobs: list[bytes] = []
    document = {
        "exercise": record.exercise,
        "observations": [_observation_out(seen, blobs) for seen in record.observations.values()],
        "printed": record.printed,
        "printed_lines": record.printed_lines,
        "timed_out": record.timed_out,
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    data = b"".join((MAGIC, len(text).to_bytes(4, "little"), text, *blobs))
    if len(data) > LIMIT:
        raise UnreadableRecord(f"the record has {len(data):,} bytes, more than {LIMIT:,}")
    return data


def decode(data: bytes) -> Record:
    """Read what `encode` wrote; `UnreadableRecord` for anything else."""
    if len(data) > LIMIT or data[:4] != MAGIC:
        raise UnreadableRecord("these bytes are no record of a check")
    end = 8 + int.from_bytes(data[4:8], "little")
    try:
        document = json.loads(data[8:end])
        blobs = _Blobs(data, end)
        seen = [_observation_in(entry, blobs) for entry in document["observations"]]
        return Record(
            exercise=_checked(document["exercise"], str),
            observations={one.name: one for one in seen},
            printed=_checked(document["printed"], str),
            printed_lines=_checked(document["printed_lines"], int),
            timed_out=_checked(document["timed_out"], bool),
        )
    except UnreadableRecord:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as why:
        raise UnreadableRecord(f"the record is damaged: {why}") from why
    except (RuntimeError, zlib.error, IndexError) as why:
        raise UnreadableRecord(f"an array of the record is damaged: {why}") from why


def _checked(value: object, kind: type) -> Any:
    if not isinstance(value, kind):
        raise UnreadableRecord(f"expected {kind.__name__}, found {type(value).__name__}")
    return value


_FLAGS = (
    "differentiable",
    "inputs_changed",
    "generator_moved",
    "reseeded",
    "given_generator_moved",
    "in_training",
    "saved_for_backward",
    "shares_memory",
    "grad_mode_changed",
)
_NAMES = ("other_generators", "library_calls", "state", "module_changes")


def _observation_out(seen: Observation, blobs: list[bytes]) -> dict[str, Any]:
    """Only what differs from an empty observation is written."""
    entry: dict[str, Any] = {"name": seen.name, "value": _value_out(seen.value, blobs)}
    for key in ("error", "gradient_error"):
        error: LearnerError | None = getattr(seen, key)
        if error is not None:
            entry[key] = vars(error)
    if seen.gradients is not None:
        entry["gradients"] = [_value_out(gradient, blobs) for gradient in seen.gradients]
    entry |= {key: True for key in _FLAGS if getattr(seen, key)}
    entry |= {key: list(getattr(seen, key)) for key in _NAMES if getattr(seen, key)}
    return entry


def _observation_in(entry: dict[str, Any], blobs: _Blobs) -> Observation:
    # Arrays follow one another in the order of writing: the value's before the gradients'.
    value, gradients = _value_in(entry["value"], blobs), None
    if "gradients" in entry:
        gradients = tuple(_tensor_or_none(_value_in(g, blobs)) for g in entry["gradients"])
    flags: dict[str, Any] = {key: _checked(entry.get(key, False), bool) for key in _FLAGS}
    names: dict[str, Any] = {
        key: tuple(_checked(n, str) for n in entry.get(key, ())) for key in _NAMES
    }
    return Observation(
        name=_checked(entry["name"], str),
        value=value,
        error=_error_in(entry.get("error")),
        gradients=gradients,
        gradient_error=_error_in(entry.get("gradient_error")),
        **flags,
        **names,
    )


def _error_in(entry: dict[str, Any] | None) -> LearnerError | None:
    if entry is None:
        return None
    return LearnerError(
        _checked(entry["type_name"], str),
        _checked(entry["message"], str),
        _checked(entry["line_number"], int),
        _checked(entry["line"], str),
        _checked(entry["in_own_code"], bool),
    )


def _tensor_or_none(value: Value) -> Tensor | None:
    if value is not None and not isinstance(value, Tensor):
        raise UnreadableRecord("a gradient is neither a tensor nor None")
    return value


def _value_out(value: Value, blobs: list[bytes]) -> Any:
    """Plain values as themselves, the rest as an object with one telling key."""
    if isinstance(value, Tensor):
        return {"tensor": _tensor_out(value, blobs)}
    if isinstance(value, OnAnotherDevice):
        return {"elsewhere": _tensor_out(value.tensor, blobs)}
    if isinstance(value, GeneratorSeed):
        return {"generator": value.seed}
    if isinstance(value, Other):
        return {"other": [value.type_name, value.text]}
    if isinstance(value, ModuleState):
        tensors = {name: _tensor_out(tensor, blobs) for name, tensor in value.tensors.items()}
        return {"module": [list(value.kinds), value.type_name, tensors]}
    if isinstance(value, tuple):
        return {"tuple": [_value_out(one, blobs) for one in value]}
    if isinstance(value, Mapping):
        return {"map": {key: _value_out(one, blobs) for key, one in value.items()}}
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 63:
        return {"other": ["int", f"an integer of {value.bit_length()} bits"]}
    return value


def _value_in(entry: Any, blobs: _Blobs) -> Value:
    if entry is None or isinstance(entry, bool | int | float | str):
        return entry
    ((kind, content),) = _checked(entry, dict).items()
    if kind == "tensor":
        return _tensor_in(content, blobs)
    if kind == "elsewhere":
        return OnAnotherDevice(_tensor_in(content, blobs))
    if kind == "generator":
        return GeneratorSeed(_checked(content, int))
    if kind == "other":
        type_name, text = content
        return Other(_checked(type_name, str), _checked(text, str))
    if kind == "module":
        kinds, type_name, tensors = content
        return ModuleState(
            tuple(_checked(one, str) for one in kinds),
            _checked(type_name, str),
            {_checked(key, str): _tensor_in(one, blobs) for key, one in tensors.items()},
        )
    if kind == "tuple":
        return tuple(_value_in(one, blobs) for one in content)
    if kind == "map":
        return {key: _value_in(one, blobs) for key, one in content.items()}
    raise UnreadableRecord(f"a value of unknown kind {kind!r}")


class _Blobs:
    """The arrays behind the JSON, taken one after another."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = memoryview(data)
        self._at = start

    def take(self, length: int) -> memoryview:
        end = self._at + _checked(length, int)
        if length < 0 or end > len(self._data):
            raise UnreadableRecord("an array reaches beyond the record's end")
        taken, self._at = self._data[self._at : end], end
        return taken


def _tensor_out(tensor: Tensor, blobs: list[bytes]) -> list[Any]:
    """Header: dtype, shape, number of few values (0: raw), bits a code, bytes that follow."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in _DTYPES:
        # Nothing that an exercise asks for; the name is what a verdict needs.
        return [dtype, list(tensor.shape), 0, 0, 0]
    flat = _as_bits(tensor)
    values, codes = _few_values(flat)
    if values is None and flat.size > EXACT_ELEMENTS:
        values, codes = _typical_values(tensor, flat)
    if values is None or codes is None:
        data = zlib.compress(flat.tobytes(), 1)
        blobs.append(data)
        return [dtype, list(tensor.shape), 0, 0, len(data)]
    bits = next(b for b in (1, 2, 4, 8) if values.size <= 2**b)
    data = values.tobytes() + _pack(codes, bits).tobytes()
    blobs.append(data)
    return [dtype, list(tensor.shape), int(values.size), bits, len(data)]


def _tensor_in(header: list[Any], blobs: _Blobs) -> Tensor:
    name, shape, few, bits, length = header
    elements = math.prod(_checked(n, int) for n in shape)
    if not 0 <= elements <= MAX_ELEMENTS or any(n < 0 for n in shape):
        raise UnreadableRecord(f"an array of {elements:,} elements is not what a check records")
    if name not in _DTYPES:
        # Only the dtype's name was kept: complex and quantised tensors answer no exercise.
        return torch.zeros(shape, dtype=torch.complex64)
    dtype = _DTYPES[name]
    integer = _integer_type(dtype)
    data = blobs.take(length)
    if few:
        width = integer.itemsize * few
        values = np.frombuffer(data[:width], dtype=integer)
        flat = values[_unpack(np.frombuffer(data[width:], dtype=np.uint8), bits, elements)]
    else:
        inflate = zlib.decompressobj()
        size = elements * integer.itemsize
        flat = np.frombuffer(bytearray(inflate.decompress(bytes(data), size)), dtype=integer)
    if flat.size != elements:
        raise UnreadableRecord("an array has another size than its shape")
    return _from_bits(flat, dtype).reshape(shape)


def _integer_type(dtype: torch.dtype) -> np.dtype[Any]:
    return np.dtype(f"i{dtype.itemsize}")


def _as_bits(tensor: Tensor) -> _Array:
    """View the elements as integers: exact for every dtype, nan and -0.0 included."""
    flat = tensor.detach().contiguous().reshape(-1)
    if tensor.dtype is torch.bool:
        flat = flat.to(torch.int8)
    integer = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    array: _Array = flat.view(integer[flat.dtype.itemsize]).numpy()
    return array


def _from_bits(flat: _Array, dtype: torch.dtype) -> Tensor:
    tensor = torch.from_numpy(flat if flat.flags.writeable else flat.copy())
    return tensor.to(torch.bool) if dtype is torch.bool else tensor.view(dtype)


def _few_values(flat: _Array) -> tuple[_Array | None, _Array | None]:
    """Return the values and each element's code, or nothing where there are more than 256.

    A sample finds them; sorting all elements would take ten times as long.
    """
    if flat.size < 32:
        return None, None
    values = np.unique(flat[:: max(1, flat.size // _SAMPLE)])
    if values.size > 256:
        return None, None
    codes = np.searchsorted(values, flat).astype(np.uint8)
    if values.size == 256 or not np.array_equal(values[np.minimum(codes, values.size - 1)], flat):
        values = np.unique(flat)
        if values.size > 256:
            return None, None
        codes = np.searchsorted(values, flat).astype(np.uint8)
    return values, codes


def _typical_values(tensor: Tensor, flat: _Array) -> tuple[_Array, _Array]:
    """Round to 256 values: zero, the extremes, and quantiles between them. nan becomes its own."""
    numbers = tensor.detach().reshape(-1).to(torch.float64).numpy()
    finite = numbers[np.isfinite(numbers)]
    quantiles = np.quantile(finite, np.linspace(0.0, 1.0, 253)) if finite.size else np.zeros(1)
    grid = np.unique(np.concatenate([quantiles, [0.0, np.nan]]))
    nearest = np.clip(np.searchsorted(grid[:-1], numbers), 0, grid.size - 2)
    codes = np.where(np.isnan(numbers), grid.size - 1, nearest).astype(np.uint8)
    # Only zeros may become zeros: they are what "dropped" means. Rounding goes up, so what is
    # wrongly there lies just below.
    zero = int(np.searchsorted(grid[:-1], 0.0))
    codes[(codes == zero) & (numbers < 0)] = max(zero - 1, 0)
    return _as_bits(torch.from_numpy(grid).to(tensor.dtype)), codes


def _pack(codes: _Array, bits: int) -> _Array:
    if bits == 1:
        return np.packbits(codes)
    per_byte = 8 // bits
    padded = np.zeros(-(-codes.size // per_byte) * per_byte, dtype=np.uint8)
    padded[: codes.size] = codes
    packed = np.zeros(padded.size // per_byte, dtype=np.uint8)
    for place in range(per_byte):
        packed |= padded[place::per_byte] << np.uint8(bits * place)
    return packed


def _unpack(packed: NDArray[np.uint8], bits: int, elements: int) -> _Array:
    if bits == 1:
        return np.unpackbits(packed, count=elements)
    if bits not in (2, 4, 8):
        raise UnreadableRecord(f"codes of {bits!r} bits")
    per_byte = 8 // bits
    codes = np.empty(packed.size * per_byte, dtype=np.uint8)
    for place in range(per_byte):
        codes[place::per_byte] = (packed >> np.uint8(bits * place)) & np.uint8(2**bits - 1)
    return codes[:elements]
