"""Every test, and every kernel that nbval starts, keeps its progress in a folder of its own."""

from __future__ import annotations

import os
import tempfile

import pytest

# Set before anything is imported or started, so that no test can touch a learner's own record.
_home = tempfile.TemporaryDirectory(prefix="dropout-course-tests-")
os.environ["DROPOUT_COURSE_HOME"] = _home.name


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give each notebook under nbval an empty record, as `dropout-course build` does.

    nbval starts a notebook's kernel just before its first cell and hands on this environment.
    """
    if getattr(item, "cell_num", None) == 0:
        os.environ["DROPOUT_COURSE_HOME"] = tempfile.mkdtemp(dir=_home.name)
