"""Files that appear whole or not at all, and names that are safe to give them.

Must not know what is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_LONGEST = 80  # characters of a file name taken from a student's; file systems allow 255 bytes


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open a new file beside `path` that takes its place when the block ends without an error.

    `durable` waits for the disk, so that a power cut does not leave an empty file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}-", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp's 0600 would hide a gradebook from a colleague
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write `text` as UTF-8 in the place of `path`; a reader never sees half of it."""
    with replacing(path, durable=durable) as file:
        file.write(text.encode("utf-8", "replace"))


def slug(name: str) -> str:
    """A file name for any text: different texts give different names, also where case is ignored.

    A short hash is added wherever a letter had to be changed or folded.
    """
    plain = re.sub(r"[^a-z0-9._-]+", "-", name.casefold())[:_LONGEST].strip(".-") or "x"
    if plain == name:
        return plain
    return f"{plain}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"
