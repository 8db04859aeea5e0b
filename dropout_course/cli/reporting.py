"""`dropout-course status`: the learner's progress in a terminal. Must not know notebooks."""

from __future__ import annotations

from dropout_course import display
from dropout_course.cli.console import out
from dropout_course.course import LESSONS
from dropout_course.progress import Ledger, overview


def run() -> None:
    """Print the same overview as `progress()` in a notebook."""
    ledger = Ledger()
    events = ledger.events()
    text = display.overview_text(overview(LESSONS, events, ledger.take_notices()))
    out().print(text, markup=False, soft_wrap=True)
