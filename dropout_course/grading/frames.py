"""Messages between the grader and a submission's process: length-prefixed, typed, capped.

Whoever reads must expect anything: the other end may be run by a stranger. Knows nothing of what
the messages mean.

Layout of a frame: kind (1 byte), length of the payload (4 bytes, little-endian), payload.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from dropout_course.checks.store import LIMIT

PAYLOAD_LIMIT = LIMIT + 1024  # a stored record and the name before it
READY = b"+"  # what a process says, outside of frames, before it has a submission
_HEADER = 5


class Kind(Enum):
    """What a frame carries, in the order in which a submission's frames are sent."""

    WORK = b"W"  # to the submission: its cells and the ids of the exercises asked for
    LOADED = b"L"  # from it: every cell was run
    SEEDS = b"S"  # to it: a seed for each exercise
    NOTE = b"N"  # from it: what the grader should say about a cell or an exercise
    RECORD = b"R"  # from it: an exercise's id, a zero byte, a stored record
    DONE = b"D"  # from it: nothing more comes


class BadFrame(ValueError):
    """The other end sent bytes that are no frame, or one that is too large."""


@dataclass(frozen=True)
class Frame:
    """One message."""

    kind: Kind
    payload: bytes = b""


def packed(kind: Kind, payload: bytes = b"") -> bytes:
    """Return a frame's bytes."""
    return kind.value + len(payload).to_bytes(4, "little") + payload


def packed_json(kind: Kind, content: object) -> bytes:
    """Return the bytes of a frame that carries JSON."""
    return packed(kind, json.dumps(content).encode())


def json_in(frame: Frame) -> Any:
    """Read a frame's JSON; `BadFrame` if it is none, or nested without end."""
    try:
        return json.loads(frame.payload)
    except (ValueError, RecursionError) as why:
        raise BadFrame(f"a frame's content is not JSON: {why}") from why


@dataclass
class FrameReader:
    """Collects bytes as they arrive and gives the frames that are complete."""

    limit: int = PAYLOAD_LIMIT
    _held: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take `data` and yield each complete frame; `BadFrame` for a kind or length that no frame
        has, before its payload is waited for."""
        self._held += data
        while len(self._held) >= _HEADER:
            try:
                kind = Kind(bytes(self._held[:1]))
            except ValueError:
                raise BadFrame("bytes came that are no message") from None
            length = int.from_bytes(self._held[1:_HEADER], "little")
            if length > self.limit:
                raise BadFrame(f"a message of {length:,} bytes was announced")
            end = _HEADER + length
            if len(self._held) < end:
                return
            payload = bytes(self._held[_HEADER:end])
            del self._held[:end]
            yield Frame(kind, payload)


def receive(channel: socket.socket) -> Frame:
    """Wait for one frame on a blocking socket whose other end is the grader's."""
    header = _exactly(channel, _HEADER)
    kind = Kind(header[:1])
    return Frame(kind, _exactly(channel, int.from_bytes(header[1:], "little")))


def _exactly(channel: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        more = channel.recv(min(length - len(data), 1 << 20))
        if not more:
            raise EOFError("the grader closed the connection")
        data += more
    return bytes(data)
