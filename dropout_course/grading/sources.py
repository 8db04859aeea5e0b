"""Handed-in files, in a folder or in a zip: listed first, then read one at a time, never unpacked.

Follows no link, leaves no folder and reads no more than a limit. Must not know what a notebook is.
"""

from __future__ import annotations

import contextlib
import io
import lzma
import os
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath

FILE_LIMIT = 32 * 2**20  # bytes of one notebook; a notebook full of pictures has a few MB
ZIP_LIMIT = 128 * 2**20  # bytes of a zip inside a zip, which is read into memory
MAX_FILES = 500_000
MAX_FILES_OF_ONE = 10_000  # in a zip that one student handed in
DEPTH = 12
_IGNORED = {"__MACOSX", ".ipynb_checkpoints", "__pycache__", "node_modules"}


class Refused(Exception):
    """A file that is not opened, for safety; the text is one sentence."""


class Unreadable(Exception):
    """A file that could not be read; the text is one sentence."""


class NoSubmissions(Exception):
    """What was given holds no submissions at all; the text says what to give."""


@dataclass(frozen=True)
class File:
    """A handed-in file: the parts of its path, fit to be shown; when it was changed, in seconds.

    `read` returns its bytes, at most FILE_LIMIT, or raises Refused or Unreadable.
    """

    parts: tuple[str, ...]
    modified: float
    read: Callable[[], bytes]

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.parts[-1]

    @property
    def path(self) -> str:
        """The path below the folder or zip, for people."""
        return "/".join(self.parts)


def files(place: Path) -> Iterator[File]:
    """Every file of a folder or zip, and of the zips in it; hidden ones and copies are left out.

    Raises NoSubmissions where `place` is neither.
    """
    if place.is_dir():
        yield from _of_folder(place)
    elif zipfile.is_zipfile(place):
        yield from _of_zip(place)
    elif place.exists():
        raise NoSubmissions(
            f"{place} is neither a folder nor a zip file: give the folder of the submissions, or "
            "the zip as the learning platform made it."
        )
    else:
        raise NoSubmissions(f"{place} does not exist: give the folder or zip of the submissions.")


def shown(name: str) -> str:
    """A file name as text that can be written anywhere: undecodable bytes become `\\xe9`."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    text = unicodedata.normalize("NFC", text)
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)[:200]


def _is_ignored(name: str) -> bool:
    return name.startswith((".", "~$")) or name in _IGNORED


# --- folders ------------------------------------------------------------------------------------


def _of_folder(root: Path) -> Iterator[File]:
    waiting: list[tuple[Path, tuple[str, ...]]] = [(root, ())]
    seen = 0
    while waiting:
        folder, parts = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            yield File((*parts, "?"), 0.0, _raiser(Unreadable, _unopened(error)))
            continue
        below = []
        for entry in entries:
            if _is_ignored(entry.name):
                continue
            seen += 1
            if seen > MAX_FILES:
                raise NoSubmissions(f"{root} holds more than {MAX_FILES:,} files: give a part.")
            here = (*parts, shown(entry.name))
            if entry.is_symlink():
                yield File(here, 0.0, _raiser(Refused, f"{'/'.join(here)} is a link: {_NO_LINKS}"))
            elif entry.is_dir(follow_symlinks=False):
                if len(here) < DEPTH:
                    below.append((Path(entry.path), here))
            else:
                yield from _of_entry(Path(entry.path), here, _modified(entry))
        waiting += reversed(below)


_NO_LINKS = "links are not followed; hand in the notebook itself."


def _modified(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat(follow_symlinks=False).st_mtime
    except OSError:
        return 0.0


def _of_entry(path: Path, parts: tuple[str, ...], modified: float) -> Iterator[File]:
    if path.suffix.lower() == ".zip":
        yield from _of_inner_zip(parts, modified, partial(_read_file, path, parts, ZIP_LIMIT))
    else:
        yield File(parts, modified, partial(_read_file, path, parts, FILE_LIMIT))


def _read_file(path: Path, parts: tuple[str, ...], limit: int) -> bytes:
    name = "/".join(parts)
    # Neither a link nor a pipe put there since the listing can lead elsewhere or make us wait.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags)
    except OSError as error:
        raise Unreadable(f"{name} {_unopened(error)}") from error
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Refused(f"{name} is no ordinary file: hand in the notebook itself.")
        if status.st_size > limit:
            raise Refused(_too_large(name, status.st_size, limit))
        try:
            return _bounded(file.read(limit + 1), name, limit)
        except OSError as error:
            raise Unreadable(f"{name} {_unopened(error)}") from error


def _unopened(error: OSError) -> str:
    return f"could not be opened ({error.strerror or type(error).__name__})."


def _bounded(data: bytes, name: str, limit: int) -> bytes:
    if len(data) > limit:
        raise Refused(_too_large(name, len(data), limit))
    return data


def _too_large(name: str, size: int, limit: int) -> str:
    return (
        f"{name} has {size / 2**20:,.0f} MB, and at most {limit / 2**20:.0f} MB are read: "
        "clear its outputs (Edit > Clear Outputs of All Cells) and hand it in again."
    )


def _raiser(kind: type[Exception], sentence: str) -> Callable[[], bytes]:
    def read() -> bytes:
        raise kind(sentence)

    return read


# --- zips ---------------------------------------------------------------------------------------

# What zipfile and its decompressors raise for damaged, encrypted and unknown kinds of archives.
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError),
    *(RuntimeError, ValueError, MemoryError),
)


def _of_zip(place: Path) -> Iterator[File]:
    try:
        archive = zipfile.ZipFile(place)
    except _DAMAGED as error:
        raise NoSubmissions(f"{place} cannot be read as a zip file ({error}).") from error
    # Stays open, as the files are read after they were listed.
    if len(archive.infolist()) > MAX_FILES:
        raise NoSubmissions(f"{place} holds more than {MAX_FILES:,} files: give a part.")
    for info in archive.infolist():
        for parts, modified, read in _member(archive, info, ()):
            if parts[-1].lower().endswith(".zip"):
                yield from _of_inner_zip(parts, modified, partial(read, ZIP_LIMIT))
            else:
                yield File(parts, modified, partial(read, FILE_LIMIT))


def _of_inner_zip(
    parts: tuple[str, ...], modified: float, read: Callable[[], bytes]
) -> Iterator[File]:
    """The files of a zip that a student handed in; it is one file with a fault if it has one."""
    try:
        with zipfile.ZipFile(io.BytesIO(read())) as archive:
            infos = archive.infolist()
            if len(infos) > MAX_FILES_OF_ONE:
                raise Refused(
                    f"{'/'.join(parts)} holds {len(infos):,} files, and at most "
                    f"{MAX_FILES_OF_ONE:,} are read: hand in the notebooks alone."
                )
            members = [
                File(here, when, partial(_read_inner, read, number, here))
                for number, info in enumerate(infos)
                for here, when, _ in _member(archive, info, parts)
            ]
    except (Refused, Unreadable) as fault:
        yield File(parts, modified, _raiser(type(fault), str(fault)))
    except _DAMAGED as error:
        sentence = f"{'/'.join(parts)} cannot be read as a zip file ({error})."
        yield File(parts, modified, _raiser(Unreadable, sentence))
    else:
        yield from members


def _read_inner(read: Callable[[], bytes], number: int, parts: tuple[str, ...]) -> bytes:
    # The outer file is read again: keeping it would hold every student's zip in memory.
    try:
        with zipfile.ZipFile(io.BytesIO(read())) as archive:
            return _read_member(archive, archive.infolist()[number], parts, FILE_LIMIT)
    except _DAMAGED as error:
        raise Unreadable(f"{'/'.join(parts)} could not be unpacked ({error}).") from error


_Member = tuple[tuple[str, ...], float, Callable[[int], bytes]]


def _member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, above: tuple[str, ...]
) -> Iterator[_Member]:
    """The member as a file, unless it is a folder or of no interest."""
    path = PurePosixPath(info.filename.replace("\\", "/"))
    parts = tuple(part for part in path.parts if part not in ("/", "..", "."))
    if info.is_dir() or not parts or any(_is_ignored(part) for part in parts):
        return
    here = (*above, *map(shown, parts))
    modified = 0.0
    with contextlib.suppress(ValueError, OverflowError, OSError):
        modified = datetime(*info.date_time).timestamp()
    yield here, modified, partial(_read_member, archive, info, here)


def _read_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, parts: tuple[str, ...], limit: int
) -> bytes:
    name = "/".join(parts)
    given = info.filename.replace("\\", "/")
    if ".." in given.split("/") or given.startswith("/") or given[1:2] == ":":
        raise Refused(f"{name}: its path in the zip leads outside ({shown(info.filename)}).")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise Refused(f"{name} is a link: {_NO_LINKS}")
    if info.file_size > limit:
        raise Refused(_too_large(name, info.file_size, limit))
    try:
        with archive.open(info) as file:
            return _bounded(file.read(limit + 1), name, limit)
    except _DAMAGED as error:
        raise Unreadable(f"{name} could not be unpacked ({error}).") from error
