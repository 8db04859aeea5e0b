"""A pytest plugin for the peer "nbval with warmed kernels": kernels are forked, not started.

A process that has imported torch, numpy, matplotlib and the course forks one for each notebook;
nbval and jupyter_client are as they are. Loaded with `-p tests.benchmarks.warmed_kernels`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from jupyter_client.provisioning import local_provisioner

WARM = (
    "torch",
    "numpy",
    "matplotlib.pyplot",
    "dropout_course.checks.record",
    "dropout_course.course",
)


def serve(orders: socket.socket) -> None:
    """The warmed process: fork a kernel for each order, tell its process id."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for name in WARM:
        __import__(name)
    import torch
    from ipykernel.kernelapp import IPKernelApp

    torch.set_num_threads(1)
    while order := orders.recv(65536):
        arguments, folder = json.loads(order)
        if os.fork() == 0:
            # In a group of its own before its id is known: jupyter_client ends whole groups.
            os.setsid()
            orders.sendall(str(os.getpid()).encode())
            orders.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.chdir(folder)
            torch.seed()
            IPKernelApp.launch_instance(argv=arguments)
            os._exit(0)
    os._exit(0)


ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
if os.fork() == 0:
    ours.close()
    serve(theirs)
theirs.close()


class ForkedKernel:
    """As much of a Popen as jupyter_client's provisioner uses."""

    stdin = stdout = stderr = None
    returncode: int | None = None

    def __init__(self, command: list[str], folder: str) -> None:
        # python -m ipykernel_launcher -f FILE
        ours.sendall(json.dumps([command[command.index("-f") :], folder]).encode())
        self.pid = int(ours.recv(64))

    def poll(self) -> int | None:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            self.returncode = 0
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("kernel", timeout or 0)
            time.sleep(0.005)
        return 0

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def launch_kernel(cmd: list[str], cwd: str | None = None, **_: Any) -> ForkedKernel:
    return ForkedKernel(cmd, cwd or str(Path.cwd()))


local_provisioner.launch_kernel = launch_kernel
