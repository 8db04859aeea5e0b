"""The runner: what it gives back, when it asks for more, and that nothing of it stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dropout_course.grading.runner import Runner
from dropout_course.grading.sandbox import Sandbox
from dropout_course.grading.work import Recorded, Status, Work
from tests.grading.submissions import KEEP, SMALL, bwrap_or_skip, passed, submission

BOTH = ("keep_probability", "apply_inverted_mask")
APPLY = "def apply_inverted_mask(a, mask, keep_prob):\n    return a * mask / keep_prob\n"


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner(workers=1, sandbox=bwrap_or_skip(), limits=SMALL) as running:
        yield running


def one(runner: Runner, work: Work) -> Recorded:
    ((_, recorded),) = runner.run([work])
    return recorded


def test_cells_share_a_namespace_and_one_that_raises_does_not_stop_the_next(runner: Runner) -> None:
    cells = ("import torch as t\none = 1", "1 / 0\none = 2", KEEP.replace("1 -", "one -"), APPLY)
    work = submission("s", *cells, asked=BOTH)
    recorded = one(runner, work)
    assert recorded.status is Status.GRADED
    assert recorded.notes == ("Cell 2 raised ZeroDivisionError: division by zero",)
    assert passed(work, recorded) == set(BOTH)


def test_magics_and_shell_lines_are_left_out_and_said(runner: Runner) -> None:
    cells = (
        "%matplotlib inline\n%store x\nlisting = !ls\n!pip install torch",
        f"%%time\n{KEEP}",
        "%%bash\nrm -rf /",
        "KEEP?\ndisplay(get_ipython().ask_exit())\nimport asyncio\nawait asyncio.sleep(0)",
    )
    work = submission("s", *cells)
    recorded = one(runner, work)
    assert recorded.notes == (
        "Cell 1 holds %store, which is not run while grading",
        "Cell 1 holds !ls, which is not run while grading",
        "Cell 1 holds !pip install torch, which is not run while grading",
        "Cell 3 holds %%bash, which is not run while grading",
    )
    assert passed(work, recorded) == {"keep_probability"}


def test_a_name_that_is_not_defined_is_said_and_not_recorded(runner: Runner) -> None:
    recorded = one(runner, submission("s", KEEP, asked=BOTH))
    assert recorded.status is Status.GRADED
    assert list(recorded.records) == ["keep_probability"]
    assert recorded.notes == ("apply_inverted_mask is not defined after all cells were run.",)


def test_a_syntax_error_is_a_note_on_its_cell(runner: Runner) -> None:
    recorded = one(runner, submission("s", "def broken(:", KEEP))
    assert recorded.notes[0].startswith("Cell 1 raised SyntaxError: invalid syntax")
    assert list(recorded.records) == ["keep_probability"]


def test_the_verbs_of_a_notebook_do_nothing(runner: Runner) -> None:
    cells = (KEEP, "from dropout_course import check, hint\nhint('x')\ncheck(keep_probability)")
    assert one(runner, submission("s", *cells)).notes == ()


def test_a_process_forked_by_a_cell_sends_nothing(runner: Runner) -> None:
    recorded = one(runner, submission("s", "import os\nos.fork()", KEEP))
    assert (recorded.status, list(recorded.records)) == (Status.GRADED, ["keep_probability"])


def test_without_a_sandbox_the_records_are_the_same(runner: Runner) -> None:
    works = [
        submission("right", KEEP, APPLY, asked=BOTH),
        submission("raises", "1 / 0", KEEP, "def apply_inverted_mask(): pass", asked=BOTH),
        submission("exits", KEEP, "import os\nos._exit(3)"),
        submission("loops", KEEP, "while True: pass", timeout=6),
    ]
    confined = {work.student: recorded for work, recorded in runner.run(works)}
    with Runner(workers=2, sandbox=Sandbox.NONE, limits=SMALL) as plain:
        free = {work.student: recorded for work, recorded in plain.run(works)}
    for student, recorded in confined.items():
        assert free[student].status is recorded.status
        assert free[student].notes == recorded.notes
        assert free[student].records == recorded.records


def test_submissions_are_taken_only_as_they_are_needed(runner: Runner) -> None:
    taken: list[int] = []

    def works() -> Iterator[Work]:
        for number in range(6):
            taken.append(number)
            yield submission(str(number), KEEP)

    results = runner.run(works())
    next(results)
    assert len(taken) <= 2
    assert len(list(results)) == 5


def test_a_lost_worker_is_replaced_and_its_submission_tried_again(runner: Runner) -> None:
    one(runner, submission("first", KEEP))
    (sandbox,) = sandboxes()
    killer = threading.Timer(0.5, os.kill, (sandbox, signal.SIGKILL))
    killer.start()
    work = submission("slow", "import time\ntime.sleep(2)", KEEP)
    recorded = one(runner, work)
    assert passed(work, recorded) == {"keep_probability"}
    assert sandboxes().isdisjoint({sandbox})


def sandboxes() -> set[int]:
    """Process ids of the sandboxes that this process has started."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if entry.name.isdecimal() and int(stat[1]) == os.getpid() and command.startswith(b"bwrap"):
            found.add(int(entry.name))
    return found


def test_leaving_ends_every_process_at_once() -> None:
    before = sandboxes()
    forever = submission("forever", "import time\ntime.sleep(1000)", timeout=5000)
    with Runner(workers=1, sandbox=bwrap_or_skip()) as running:
        next(running.run([submission("short", KEEP), forever]))
        assert len(sandboxes() - before) == 1
    assert sandboxes() == before


GRADER = """
import sys
from dropout_course.grading.runner import Runner
from dropout_course.grading.sandbox import Sandbox
from dropout_course.grading.work import Asked, CodeCell, Work
cell = CodeCell("import os\\nif os.fork() == 0: os.execv('/bin/sleep', ['sleep', sys.argv[1]])")
source = cell.source.replace("sys.argv[1]", repr(sys.argv[1])) + "\\nimport time\\ntime.sleep(900)"
with Runner(workers=1, sandbox=Sandbox.BWRAP) as runner:
    for _ in runner.run([Work("s", "00_start", (CodeCell(source),), (), 1000.0)]):
        pass
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_a_grader_that_is_ended_leaves_no_process_behind(end: signal.Signals) -> None:
    bwrap_or_skip()
    mark = f"{70_000 + os.getpid()}.{int(end)}"
    grader = subprocess.Popen([sys.executable, "-c", GRADER, mark], stderr=subprocess.DEVNULL)
    wait_until(lambda: running_sleeps(mark) == 1)
    grader.send_signal(end)
    assert grader.wait(60) != 0
    wait_until(lambda: running_sleeps(mark) == 0)


def running_sleeps(mark: str) -> int:
    wanted = f"sleep\0{mark}\0".encode()
    count = 0
    for entry in Path("/proc").iterdir():
        try:
            count += (entry / "cmdline").read_bytes() == wanted
        except OSError:
            continue
    return count


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def test_no_workers_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Runner(workers=0, sandbox=Sandbox.NONE)
