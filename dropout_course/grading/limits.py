"""What one submission may use, and where it may write. Data only."""

from __future__ import annotations

from dataclasses import asdict, dataclass

HOME = "/home/student"
WRITABLE = ("/tmp", HOME, "/dev/shm")
_MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Of one submission.

    `cpu` is in seconds for each process; `memory` in bytes, of each process beyond what the course
    itself needs, and of all its processes together; `disk` in bytes, of a file and of each writable
    place; `files` how many of them; `processes` counts threads, too.
    """

    cpu: int = 60
    memory: int = 2048 * _MIB
    processes: int = 64
    disk: int = 64 * _MIB
    files: int = 4096
    open_files: int = 256

    def as_dict(self) -> dict[str, int]:
        """Return the fields by name."""
        return asdict(self)
