"""What every test shares: a home of its own, one thread a worker, and the law on skipped tests.

Knows nothing of the course: it must not import dropout_course or torch.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Sequence

import pytest

# Set on import, so that kernels and scripts that a test starts inherit both.
_home = tempfile.mkdtemp(prefix="dropout-course-tests-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.environ["DROPOUT_COURSE_HOME"] = _home
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

# Notebooks under tests/ are material for tests, not tests: nbval leaves them alone.
collect_ignore_glob = ["*.ipynb"]

_skipped: dict[str, str] = {}
_measured: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note a skipped test (an expected failure is not one), and what a test has to tell.

    `record_property("summary", text)` reaches the end of the run from xdist's workers too.
    """
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped[report.nodeid] = _reason(report.longrepr)
    if report.when == "call":
        _measured.extend(str(text) for name, text in report.user_properties if name == "summary")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note a module that skipped itself while it was collected."""
    if report.skipped:
        _skipped[report.nodeid] = _reason(report.longrepr)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Where CI is set, nothing may be left out: a skipped test fails the run."""
    if _is_forbidden(session.config) and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests measured, and name the skipped tests that failed the run."""
    if _measured:
        terminalreporter.section("measured")
        for line in sorted(_measured):
            terminalreporter.write_line(line)
    if _is_forbidden(terminalreporter.config):
        terminalreporter.section("skipped, which CI does not allow")
        for nodeid, reason in _skipped.items():
            terminalreporter.write_line(f"{nodeid} was skipped ({reason}): install what it needs.")


def _is_forbidden(config: pytest.Config) -> bool:
    on_worker = hasattr(config, "workerinput")
    return bool(_skipped) and not on_worker and os.environ.get("CI", "") not in ("", "0", "false")


def _reason(longrepr: object) -> str:
    return str(longrepr[-1]) if isinstance(longrepr, Sequence) else str(longrepr)
