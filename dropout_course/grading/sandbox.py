"""Which sandbox there is, and the command that starts a worker in it.

Runs on the trusted side. Knows what a worker may see of this machine: the Python environment, the
package, the system's libraries; nothing else.
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path

import dropout_course
from dropout_course.grading.limits import HOME, WRITABLE

_PACKAGE = Path(dropout_course.__file__).resolve().parent
_SYSTEM: tuple[str, ...] = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache")
_SYSTEM += ("/etc/alternatives", "/etc/fonts", "/etc/localtime", "/etc/ssl/openssl.cnf")
# For a root grader: what it takes to split namespaces, become nobody, and watch and end others.
_CAPABILITIES = ("SYS_ADMIN", "SETUID", "SETGID", "SETPCAP", "SYS_PTRACE", "KILL", "SYS_RESOURCE")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class NoSandbox(RuntimeError):
    """Submissions cannot be shut in on this machine; the text says why and what can be done."""


class Sandbox(StrEnum):
    """What stands between a submission and this machine."""

    BWRAP = "bwrap"
    NONE = "none"


def choose(name: str = "auto") -> Sandbox:
    """Return the sandbox of that name: "auto", "bwrap" or "none".

    "auto" is bubblewrap or nothing: `NoSandbox` where it is missing or may not do its work. Running
    strangers' code unconfined takes a deliberate "none". `ValueError` for another name.
    """
    if name == "none":
        return Sandbox.NONE
    if name not in ("auto", "bwrap"):
        raise ValueError(f"There is no sandbox called {name!r}: choose auto, bwrap or none.")
    bwrap_namespaces()
    return Sandbox.BWRAP


def bwrap_namespaces() -> tuple[str, ...]:
    """Return the options for the namespaces that bubblewrap can make here; `NoSandbox` if none."""
    if sys.platform != "linux":
        raise NoSandbox(
            "Submissions are shut in by bubblewrap, which runs on Linux only: grade on a Linux "
            "machine, or choose --sandbox none if you trust everybody whose code you will run."
        )
    if shutil.which("bwrap") is None:
        raise NoSandbox(
            "Submissions are shut in by bubblewrap, which is not installed: install it "
            "(apt install bubblewrap, dnf install bubblewrap, pacman -S bubblewrap), or choose "
            "--sandbox none if you trust everybody whose code you will run."
        )
    shared = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts")
    # Real root needs no user namespace, and can give each submission another user without one.
    candidates: list[tuple[str, ...]] = [(*shared, "--unshare-user")]
    if os.getuid() == 0:
        candidates.insert(0, shared)
    said = ""
    for namespaces in candidates:
        trial = [*_bwrap(namespaces), *_system(), "/bin/true"]
        outcome = subprocess.run(trial, capture_output=True, text=True, check=False)
        if outcome.returncode == 0:
            return namespaces
        said = (outcome.stderr.strip().splitlines() or ["no reason given"])[-1]
    raise NoSandbox(
        f"bubblewrap may not make namespaces on this machine ({said}): allow unprivileged user "
        "namespaces (sysctl kernel.unprivileged_userns_clone=1, or "
        "kernel.apparmor_restrict_unprivileged_userns=0; in a container, start it with "
        "--privileged), or choose --sandbox none if you trust everybody whose code you will run."
    )


def host_command(namespaces: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """Return the command that starts a warmed process in the outer sandbox."""
    return [
        *_bwrap(namespaces),
        *_system(),
        *_mounts([*_environment(), _PACKAGE]),
        *("--remount-ro", "/", "--chdir", HOME),
        *_variables(),
        *host_python(arguments),
    ]


def host_python(arguments: Sequence[str], module: str = "host") -> list[str]:
    """Return the command of a module of this package, without a sandbox around it."""
    # -P: the working folder does not decide what is imported.
    options = ["-P"] if site.ENABLE_USER_SITE else ["-P", "-s"]
    return [sys.executable, *options, "-m", f"dropout_course.grading.{module}", *arguments]


def variables() -> dict[str, str]:
    """Return the environment variables of a submission: none of the grader's."""
    return {
        "HOME": HOME,
        "USER": "student",
        "LOGNAME": "student",
        "LANG": "C.UTF-8",
        "PATH": "/usr/bin:/bin",
        "MPLBACKEND": "Agg",
        "PYTHONDONTWRITEBYTECODE": "1",
        # The home is another one, the packages installed for this user are not.
        **({"PYTHONUSERBASE": site.getuserbase()} if site.ENABLE_USER_SITE else {}),
        **dict.fromkeys(_THREADS, "1"),
    }


def _bwrap(namespaces: Sequence[str]) -> list[str]:
    command = ["bwrap", *namespaces, "--unshare-cgroup-try", "--die-with-parent", "--new-session"]
    command += ["--hostname", "sandbox", "--clearenv", "--cap-drop", "ALL"]
    for capability in _CAPABILITIES:
        command += ["--cap-add", f"CAP_{capability}"]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for place in WRITABLE:
        # The warmed process may write while it warms up; each submission gets its own over these.
        command += ["--size", str(64 << 20), "--tmpfs", place]
    return command


def _system() -> list[str]:
    return _mounts(Path(name) for name in _SYSTEM)


def _mounts(paths: Iterable[Path]) -> list[str]:
    """Show each path where it stands, symbolic links as such, no path twice."""
    options: list[str] = []
    shown: set[Path] = set()
    for path in paths:
        if path.is_symlink():
            options += ["--symlink", str(path.readlink()), str(path)]
        elif path.exists() and not any(path.is_relative_to(other) for other in shown):
            options += [*_passages(path), "--ro-bind", str(path), str(path)]
            shown.add(path)
    return options


def _passages(path: Path) -> list[str]:
    """Make the folders above open to all: bubblewrap's own would let only root through."""
    above = [str(folder) for folder in reversed(path.parents) if folder.name]
    return [word for folder in above for word in ("--perms", "0755", "--dir", folder)]


def _environment() -> list[Path]:
    """The folders that this Python and its packages are in, and nothing beside them."""
    places = [sys.prefix, sys.base_prefix, sys.exec_prefix, *_links(Path(sys.executable))]
    places += [sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")]
    if site.ENABLE_USER_SITE and site.getusersitepackages() in sys.path:
        places.append(site.getusersitepackages())
    real = [*map(Path, places), *(Path(place).resolve() for place in places)]
    return sorted({path for path in real if not str(path).startswith("/usr/")}, key=str)


def _links(executable: Path) -> list[str]:
    """Folders that an interpreter's chain of links leads through: `bin`'s parent of each."""
    found = []
    while executable.is_symlink():
        executable = executable.parent / executable.readlink()
        found.append(os.path.normpath(executable.parent.parent))
    return found


def _variables() -> list[str]:
    return [word for name, value in variables().items() for word in ("--setenv", name, value)]
