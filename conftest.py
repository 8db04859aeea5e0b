"""What nbval needs beyond its options: each notebook's kernel keeps its progress apart.

Knows nothing of the course. Stands at the root, since it is about solutions/, not about tests/.
"""

from __future__ import annotations

import os
import tempfile

import pytest

_homes = tempfile.TemporaryDirectory(prefix="dropout-course-nbval-")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give a notebook an empty record before nbval starts its kernel, as a build does.

    Its outputs are then those of a first run, and no test touches the record of whoever runs it.
    """
    notebook = item.parent
    if hasattr(item, "cell_num") and getattr(notebook, "kernel", None) is None:
        os.environ["DROPOUT_COURSE_HOME"] = tempfile.mkdtemp(dir=_homes.name)
