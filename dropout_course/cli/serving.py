"""`dropout-course lab`: JupyterLab on the first lesson, with nothing that covers it.

Starts a server and waits for it. Must not import torch: the page should be there in seconds.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Mapping
from pathlib import Path

import typer

from dropout_course.cli.console import out, root, stop
from dropout_course.surroundings import PACKAGE, PREFIX_VARIABLE, lesson_files

FIRST_PORT = 8888
PORTS_TRIED = 100
STOP_LIMIT = 10.0  # seconds
START_LIMIT = 120.0  # seconds; a cold disk in a container can take long


def run(*, browser: bool, port: int | None, ip: str) -> None:
    """Start JupyterLab, say its address, open a browser where there is one, wait for its end."""
    course = root()
    if importlib.util.find_spec("jupyterlab") is None:
        stop(f"JupyterLab is not installed in {sys.prefix}: run `make lab`, or pip install -e .")
    chosen = _checked(port, ip) if port else free_port(ip)
    token = secrets.token_urlsafe(16)
    console = out()
    console.print("Starting JupyterLab …")
    if _is_root():
        console.print("You are root, as in a container: JupyterLab is told to allow that.")
    server = subprocess.Popen(
        command(course, chosen, ip), env=environment(os.environ, token), cwd=course
    )
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    code = 0
    try:
        address = f"http://{_reachable(ip)}:{chosen}"
        if not _answers(f"{address}/api", server):
            stop("JupyterLab did not start: its last lines above say why.", code=1)
        page = f"{address}/lab/tree/notebooks/{lesson_files(course)[0].name}?token={token}"
        console.print(f"The course is open at\n  {page}", markup=False, soft_wrap=True)
        console.print("Ctrl-C stops it; notebooks and progress are kept.")
        if browser and has_display(os.environ) and not webbrowser.open(page):
            console.print("No browser could be opened: copy the address into one.")
        code = max(server.wait(), 0)
    except KeyboardInterrupt:
        console.print("JupyterLab is stopped.")  # Ctrl-C has reached the server as well
    finally:
        _end(server)
    if code:
        raise typer.Exit(1)


def command(course: Path, port: int, ip: str) -> list[str]:
    """The command line of the server."""
    return [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        f"--ServerApp.ip={ip}",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        "--ServerApp.answer_yes=True",  # one Ctrl-C is enough
        f"--ServerApp.root_dir={course}",
        "--log-level=ERROR",
        *(["--allow-root"] if _is_root() else []),
    ]


def environment(current: Mapping[str, str], token: str) -> dict[str, str]:
    """The environment of the server and of its kernels.

    A kernel of another environment finds the package of a checkout, which tells the learner what is
    wrong; the token is not in the command line, where every user of the machine could read it.
    """
    added = dict(current)
    added["JUPYTER_TOKEN"] = token
    added[PREFIX_VARIABLE] = sys.prefix
    added["JUPYTER_CONFIG_PATH"] = _joined(
        str(PACKAGE / "jupyter"), current.get("JUPYTER_CONFIG_PATH")
    )
    if (PACKAGE.parent / "notebooks").is_dir():
        added["PYTHONPATH"] = _joined(current.get("PYTHONPATH"), str(PACKAGE.parent))
    return added


def free_port(ip: str) -> int:
    """The first free port from Jupyter's usual one on; stops with a sentence if all are taken."""
    ports = range(FIRST_PORT, FIRST_PORT + PORTS_TRIED)
    port = next((each for each in ports if _is_free(ip, each)), None)
    if port is None:
        stop(f"No port from {ports[0]} to {ports[-1]} is free on {ip}: give another with --port.")
    return port


def has_display(variables: Mapping[str, str]) -> bool:
    """Whether a browser window could appear on this machine."""
    if sys.platform in ("win32", "darwin"):
        return "SSH_CONNECTION" not in variables
    return any(variables.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"))


def _checked(port: int, ip: str) -> int:
    if not _is_free(ip, port):
        stop(f"Port {port} is taken on {ip}: give another one, or none and a free one is found.")
    return port


def _is_free(ip: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(sys.platform != "win32"))
        try:
            probe.bind((ip, port))
        except OSError:
            return False
    return True


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _reachable(ip: str) -> str:
    return "127.0.0.1" if ip in ("0.0.0.0", "::", "") else ip


def _joined(*paths: str | None) -> str:
    return os.pathsep.join(path for path in paths if path)


def _answers(url: str, server: subprocess.Popen[bytes]) -> bool:
    # A proxy that the environment names must not stand between us and this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    limit = time.monotonic() + START_LIMIT
    while time.monotonic() < limit and server.poll() is None:
        try:
            with opener.open(url, timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            time.sleep(0.05)
    return False


def _end(server: subprocess.Popen[bytes]) -> None:
    try:
        server.wait(timeout=STOP_LIMIT / 2)  # it may be shutting its kernels down
    except subprocess.TimeoutExpired:
        server.terminate()
        try:
            server.wait(timeout=STOP_LIMIT)
        except subprocess.TimeoutExpired:
            server.kill()
