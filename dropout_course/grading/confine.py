"""Shuts one submission's process in: namespaces, mounts, user, limits, capabilities.

Runs inside the outer sandbox, before any of a stranger's code does. Knows nothing of cells or
records. Linux only.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from dropout_course.grading import kernel
from dropout_course.grading.limits import HOME, WRITABLE, Limits

NOBODY = 65534  # a root grader's submissions run as this user: limits on processes spare root
_CONFINED = b"confined"
_READ_ONLY = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY
_KEPT = {"nosuid": kernel.MS_NOSUID, "nodev": kernel.MS_NODEV, "noexec": kernel.MS_NOEXEC}


def seal() -> None:
    """Make every mount read-only: what one submission writes, the next must not find.

    For the warmed process, once it has written all that it will.
    """
    # An ordinary user's bubblewrap leaves the mounts to a namespace above ours: take a copy.
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    for path, options in _mounts():
        if "rw" in options and path != "/proc":
            kept = sum(flag for name, flag in _KEPT.items() if name in options)
            kernel.mount("none", path, "", _READ_ONLY | kept)


def _mounts() -> list[tuple[str, list[str]]]:
    """What is mounted here, and how: paths and their options."""
    lines = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [(each[4].encode().decode("unicode_escape"), each[5].split(",")) for each in lines]


def start_confined(serve: Callable[[], None], keep: int, limits: Limits) -> int:
    """Start `serve` as process 1 of namespaces of its own and return its process id here.

    Of the open files it keeps `keep` only. When it ends, the kernel ends whatever it started.
    `OSError` unless it is confined in every way.
    """
    report, write = os.pipe()
    between = os.fork()
    if between == 0:
        _split(serve, keep, limits, write)
    os.close(write)
    with os.fdopen(report, "rb") as told:
        said = told.read()  # up to the end: both processes have written, and closed, it
    os.waitpid(between, 0)
    if _CONFINED not in said:
        raise OSError(f"a submission could not be confined: {said.decode(errors='replace')}")
    return int(said.replace(_CONFINED, b""))


def _split(serve: Callable[[], None], keep: int, limits: Limits, report: int) -> NoReturn:
    """The process between: only what it starts is in the new process namespace."""
    try:
        kernel.unshare(kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC)
        inner = os.fork()
        if inner == 0:
            _become_a_submission(serve, keep, limits, report)
        os.write(report, str(inner).encode())
    except OSError as why:
        os.write(report, str(why).encode())
    finally:
        os._exit(0)


def _become_a_submission(
    serve: Callable[[], None], keep: int, limits: Limits, report: int
) -> NoReturn:
    code = 1
    try:
        os.setsid()  # signals to "my process group" must not reach the warmed process
        _close_files(keep, report)
        _own_mounts(limits)
        _lesser_user()
        _set_limits(limits)
        kernel.drop_capabilities()
        kernel.deny_calls()
        _ordinary_signals()
        os.write(report, _CONFINED)
        os.close(report)
        serve()
        code = 0
    except OSError as why:
        with contextlib.suppress(OSError):
            os.write(report, str(why).encode())
    finally:
        # No atexit, no finalisers: a stranger may have left some.
        os._exit(code)


def _close_files(*kept: int) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    highest = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    edges = [2, *sorted(kept), min(highest, 1 << 16)]
    for before, after in pairwise(edges):
        os.closerange(before + 1, after)


def _own_mounts(limits: Limits) -> None:
    safe = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("proc", "/proc", "proc", safe | kernel.MS_NOEXEC)
    if os.getuid() == 0 and not _rules_users():
        # It stays root, who may write to these even without capabilities.
        for name in ("sys", "sysrq-trigger", "irq", "bus"):
            _make_read_only(f"/proc/{name}")
    below = [path for path, _ in _mounts() if any(path.startswith(f"{p}/") for p in WRITABLE)]
    shown = {path: os.open(path, os.O_PATH) for path in below}
    for place in WRITABLE:
        options = f"size={limits.disk},nr_inodes={limits.files},mode=1777"
        kernel.mount("tmpfs", place, "tmpfs", safe, options)
    for path, held in shown.items():
        # A Python environment may stand below /tmp: the new /tmp must not hide it.
        Path(path).mkdir(mode=0o755, parents=True, exist_ok=True)
        kernel.mount(f"/proc/self/fd/{held}", path, "", kernel.MS_BIND)
        kernel.mount("none", path, "", _READ_ONLY | safe)
        os.close(held)
    os.chdir(HOME)


def _make_read_only(path: str) -> None:
    if Path(path).exists():
        kernel.mount(path, path, "", kernel.MS_BIND | kernel.MS_REC)
        kept = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
        kernel.mount("none", path, "", _READ_ONLY | kept)


def _lesser_user() -> None:
    """Leave root, then enter a user namespace: processes are counted by user and namespace, and
    from here no other namespace can be made."""
    if os.getuid() == 0:
        if not _rules_users():
            return
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        kernel.set_dumpable()
    user, group = os.getuid(), os.getgid()
    try:
        kernel.unshare(kernel.CLONE_NEWUSER)
    except OSError:
        return  # only root can be here, on a machine that forbids these namespaces to users
    own = Path("/proc/self")
    (own / "setgroups").write_text("deny")
    (own / "uid_map").write_text(f"{user} {user} 1")
    (own / "gid_map").write_text(f"{group} {group} 1")
    Path("/proc/sys/user/max_user_namespaces").write_text("0")


def _rules_users() -> bool:
    """Whether this root may become another user: not in a namespace that holds one user only."""
    return any(
        int(first) <= NOBODY < int(first) + int(count)
        for first, _, count in map(str.split, Path("/proc/self/uid_map").read_text().splitlines())
    )


def _set_limits(limits: Limits) -> None:
    at_hand = {
        line.split(":")[0]: int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith(("VmSize", "VmData"))
    }
    amounts = {
        resource.RLIMIT_CPU: limits.cpu,
        resource.RLIMIT_DATA: at_hand["VmData"] + limits.memory,
        # Shared maps count here only; libraries reserve addresses that they never fill.
        resource.RLIMIT_AS: at_hand["VmSize"] + 2 * limits.memory,
        resource.RLIMIT_NPROC: limits.processes,
        resource.RLIMIT_FSIZE: limits.disk,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for kind, amount in amounts.items():
        hard = resource.getrlimit(kind)[1]
        amount = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(kind, (amount, amount))


def _ordinary_signals() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a full disk is an OSError
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
