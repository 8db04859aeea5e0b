"""The few calls of the Linux kernel that a sandbox needs and Python does not offer, by ctypes.

Each function raises `OSError` where the kernel says no. Knows nothing of submissions.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18

_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)

# Architecture as seccomp names it, then the calls' numbers: <asm/unistd.h>.
_DENIED = {
    "x86_64": (
        0xC000003E,
        {
            "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "pidfd_getfd": 438,
            "unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155,
            "move_mount": 429, "open_tree": 428, "fsopen": 430, "add_key": 248,
            "request_key": 249, "keyctl": 250, "bpf": 321, "perf_event_open": 298,
            "userfaultfd": 323, "io_uring_setup": 425, "memfd_create": 319, "memfd_secret": 447,
            "shmget": 29, "msgget": 68, "mq_open": 240,
        },
        {"clone": 56, "clone3": 435},
    ),
    "aarch64": (
        0xC00000B7,
        {
            "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "pidfd_getfd": 438,
            "unshare": 97, "setns": 268, "mount": 40, "umount2": 39, "pivot_root": 41,
            "move_mount": 429, "open_tree": 428, "fsopen": 430, "add_key": 217,
            "request_key": 218, "keyctl": 219, "bpf": 280, "perf_event_open": 241,
            "userfaultfd": 282, "io_uring_setup": 425, "memfd_create": 279, "memfd_secret": 447,
            "shmget": 194, "msgget": 186, "mq_open": 180,
        },
        {"clone": 220, "clone3": 435},
    ),
}  # fmt: skip


def unshare(flags: int) -> None:
    """Leave the namespaces that `flags` names for new ones."""
    _checked(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount, or change what is mounted; see mount(2)."""
    given = (source.encode(), target.encode(), kind.encode(), flags, options.encode())
    _checked(_libc.mount(*given[:3], ctypes.c_ulong(flags), given[4]), f"mount {target}")


def set_dumpable() -> None:
    """Own /proc/self again after a change of user."""
    _prctl(_PR_SET_DUMPABLE, 1)


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def drop_capabilities() -> None:
    """Give up every capability, and every way to gain one by a program that grants it."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails where it is gone already
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    _checked(_libc.capset(header, bytes(24)), "capset")
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def deny_calls() -> bool:
    """Refuse (EPERM) the calls by which a process reaches others, or hides memory from the limits.

    Needs no_new_privs. False on a processor whose call numbers are not known here.
    """
    machine = platform.machine()
    if machine not in _DENIED:
        return False
    architecture, numbers, clones = _DENIED[machine]
    load, jump_equal, jump_at_least, jump_if_set, give = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse, absent, kill = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
    denied = sorted(numbers.values())
    program = [
        (load, 0, 0, 4),  # the architecture
        (jump_equal, 1, 0, architecture),
        (give, 0, 0, kill),
        (load, 0, 0, 0),  # the call's number
        (jump_at_least, len(denied) + 6, 0, 0x40000000),  # x86's second set of numbers
        *((jump_equal, len(denied) + 5 - i, 0, number) for i, number in enumerate(denied)),
        # A new user namespace would give all capabilities in it. clone3 hides its flags from a
        # filter; where it is absent, the C library uses clone.
        (jump_equal, 5, 0, clones["clone3"]),
        (jump_equal, 0, 2, clones["clone"]),
        (load, 0, 0, 16),  # its flags
        (jump_if_set, 1, 0, CLONE_NEWUSER),
        (give, 0, 0, allow),
        (give, 0, 0, refuse),
        (give, 0, 0, absent),
    ]
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    held = ctypes.create_string_buffer(code)
    pointer = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(program), ctypes.addressof(held))
    )
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(pointer))
    return True


def _prctl(option: int, value: int, argument: int = 0) -> None:
    given = (ctypes.c_ulong(value), ctypes.c_ulong(argument), ctypes.c_ulong(0), ctypes.c_ulong(0))
    _checked(_libc.prctl(option, *given), f"prctl {option}")


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
