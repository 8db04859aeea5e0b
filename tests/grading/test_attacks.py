"""What hostile or broken submissions can do: end badly, themselves, and nothing else.

Every attack runs between two right submissions, whose records must be the same bytes as without it.
"""

from __future__ import annotations

import ast
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dropout_course.checks.store import LIMIT
from dropout_course.grading.runner import Runner
from dropout_course.grading.work import Recorded, Status, Work
from tests.grading.submissions import KEEP, SMALL, bwrap_or_skip, passed, submission

WRONG = "def keep_probability(p):\n    return 2.0\n"
BOTH = ("keep_probability", "apply_inverted_mask")


@dataclass(frozen=True)
class Attack:
    """Cells, and what must come of them: status, words of a note, exercises that pass."""

    id: str
    cells: tuple[str, ...]
    status: tuple[Status, ...]
    note: str
    passes: frozenset[str] = frozenset()
    asked: tuple[str, ...] = ("keep_probability",)
    timeout: float = 20.0


GRADED, CRASHED = (Status.GRADED,), (Status.CRASHED,)
TIMED_OUT, REFUSED = (Status.TIMED_OUT,), (Status.REFUSED,)
RIGHT = frozenset({"keep_probability"})

# Tells every open file but the standard ones what it would like to have recorded.
TELL_ALL = """
import os
def tell(data):
    for fd in range(3, 256):
        try:
            os.write(fd, data)
        except OSError:
            pass
"""
# A record of a right answer, made for inputs that the submission chose itself.
OWN_RECORD = """
import numpy as np
from dropout_course.checks.record import record
from dropout_course.checks.store import encode
from dropout_course.course import EXERCISES
own_plan = EXERCISES["keep_probability"].plan(np.random.default_rng(1))
forged = encode(record(own_plan, lambda p: 1 - p))
def framed(kind, payload=b""):
    return kind + len(payload).to_bytes(4, "little") + payload
"""

ATTACKS = (
    Attack("infinite loop", ("while True: pass", KEEP), TIMED_OUT, "stopped", RIGHT, timeout=4),
    Attack(
        "infinite loop that nothing interrupts",
        (
            KEEP,
            "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})\n"
            "while True: time.sleep(1)",
        ),
        TIMED_OUT,
        "ran longer than 2 s",
        timeout=2,
    ),
    Attack(
        "sleep in the answer",
        ("import time\ndef keep_probability(p):\n    time.sleep(1000)",),
        GRADED,
        "",
        timeout=3,
    ),
    Attack(
        "fork bomb",
        (
            KEEP,
            "import os, signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})\n"
            "while True:\n    try:\n        os.fork()\n    except OSError: pass",
        ),
        (Status.TIMED_OUT, Status.CRASHED),
        "was ended",
        timeout=3,
    ),
    Attack(
        "memory bomb",
        ("held = []\nwhile True: held.append(bytearray(64 << 20))", "held = None", KEEP),
        GRADED,
        "Cell 1 raised MemoryError",
        RIGHT,
    ),
    Attack(
        "memory bomb of many processes",
        (
            "import os, time\nfor _ in range(12):\n    if os.fork() == 0:\n"
            "        held = bytearray(os.urandom(1 << 20)) * 200\n        time.sleep(1000)",
            "time.sleep(6)",
            KEEP,
        ),
        CRASHED,
        "0.5 GiB of memory",
    ),
    Attack(
        "a gigabyte printed",
        ("line = 'x' * 1_000_000\nfor _ in range(1000): print(line)", KEEP),
        GRADED,
        "printed 1,000,001,000 characters",
        RIGHT,
    ),
    Attack(
        "a gigabyte past Python's own output",
        ("import os\nfor _ in range(1000): os.write(1, b'x' * 1_000_000)", KEEP),
        GRADED,
        "",
        RIGHT,
    ),
    Attack(
        "filling the disk",
        (
            "import itertools, os\nfor place in ('/tmp', os.environ['HOME'], '/dev/shm'):\n"
            "    try:\n        for i in itertools.count():\n"
            "            open(f'{place}/{i}', 'wb').write(bytes(1 << 20))\n"
            "    except OSError as full: last = full",
            "raise last",
            KEEP,
        ),
        GRADED,
        "No space left on device",
        RIGHT,
    ),
    Attack(
        "writing where it may not",
        (
            "import dropout_course, os, sys, torch\nfor place in ('/', '/dev', '/etc', '/work', "
            "sys.prefix, torch.__path__[0], dropout_course.__path__[0], '/proc/sys/kernel'):\n"
            "    try:\n        open(place + '/planted', 'w')\n        print('x' * 200_000)\n"
            "    except OSError: pass",
            KEEP,
        ),
        GRADED,
        "",
        RIGHT,
    ),
    Attack("recursion", ("def f(): f()\nf()", KEEP), GRADED, "raised RecursionError", RIGHT),
    Attack(
        "recursion without a limit",
        (
            "import sys\nsys.setrecursionlimit(10**9)\ndef f(): return eval('f()')",
            "f()",
            KEEP,
        ),
        CRASHED,
        "SIGSEGV",
    ),
    Attack(
        "segfault in the second answer keeps the first",
        (KEEP, "import ctypes\ndef apply_inverted_mask(*_): ctypes.string_at(0)"),
        CRASHED,
        "SIGSEGV",
        RIGHT,
        BOTH,
    ),
    Attack("abort", ("import os\nos.abort()",), CRASHED, "was ended by"),
    Attack("os._exit", ("import os\nos._exit(0)", KEEP), CRASHED, "ended itself (exit code 0)"),
    Attack("sys.exit", ("import sys\nsys.exit(0)", KEEP), GRADED, "raised SystemExit", RIGHT),
    Attack("quit", ("quit()", KEEP), GRADED, "Cell 1 raised", RIGHT),
    Attack(
        "killing parent, siblings, everybody",
        (
            "import os, signal\n"
            "for pid in (os.getppid(), -1, 0, *range(1, 1000), *range(-999, 0)):\n"
            "    for number in (signal.SIGSTOP, signal.SIGKILL):\n"
            "        try: os.kill(pid, number)\n        except OSError: pass",
            KEEP,
        ),
        GRADED,
        "",
        RIGHT,
    ),
    Attack(
        "ptrace",
        (
            "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
            "answers = [libc.ptrace(16, pid, 0, 0) for pid in (0, 1, 2, 3)]\n"
            "answers.append(libc.syscall(310, 1, 0, 0, 0, 0, 0))\nraise OSError(str(answers))",
            KEEP,
        ),
        GRADED,
        "[-1, -1, -1, -1, -1]",
        RIGHT,
    ),
    Attack(
        "namespaces and mounts of its own",
        (
            "import ctypes\nlibc = ctypes.CDLL(None)\n"
            "answers = [libc.unshare(flag) for flag in (0x10000000, 0x20000, 0x20000000)]\n"
            "answers += [libc.mount(b'none', b'/tmp', b'tmpfs', 0, 0), libc.umount2(b'/tmp', 2)]\n"
            "answers += [libc.setuid(0) if __import__('os').getuid() else -1]\n"
            "raise OSError(str(answers))",
            KEEP,
        ),
        GRADED,
        "[-1, -1, -1, -1, -1, -1]",
        RIGHT,
    ),
    Attack(
        "patching the recorder",
        (
            OWN_RECORD,
            WRONG,
            "import dropout_course.grading.inside as inside\n"
            "inside.record = lambda *_, **__: None\ninside.encode = lambda _: forged",
        ),
        GRADED,
        "",
    ),
    Attack(
        "patching the judge, torch, numpy, json",
        (
            WRONG,
            "import json, math, numpy, torch\nfrom dropout_course.checks import judge, verdict\n"
            "from dropout_course.exercises.base import Exercise\n"
            "judge.apply = judge.conclude = lambda *_, **__: True\n"
            "Exercise.verdict = Exercise.examine = lambda *_, **__: True\n"
            "torch.equal = torch.allclose = numpy.allclose = math.isclose = lambda *_: True\n"
            "old = json.dumps\njson.dumps = lambda what, **kw: old(what, **kw).replace("
            "'\"value\":2.0', '\"value\":0.5')",
        ),
        GRADED,
        "",
    ),
    Attack(
        "patching builtins",
        (WRONG, "import builtins\nbuiltins.isinstance = builtins.getattr = lambda *_: True"),
        (Status.GRADED, Status.CRASHED, Status.TIMED_OUT),
        "",
        timeout=3,
    ),
    Attack(
        "import hooks, tracing, atexit, finalisers, threads",
        (
            KEEP,
            TELL_ALL,
            "import atexit, gc, sys, threading\n"
            "class Finder:\n    def find_spec(self, *_): raise ImportError('no')\n"
            "class Last:\n    def __del__(self): tell(b'bye')\n"
            "sys.meta_path.insert(0, Finder())\nkept = Last()\nkept.cycle = kept\n"
            "atexit.register(tell, b'bye')\n"
            "sys.settrace(lambda *_: (_ for _ in ()).throw(RuntimeError()))\n",
            "threading.Thread(target=threading.Event().wait).start()",
        ),
        GRADED,
        "",
        RIGHT,
    ),
    Attack(
        "an answer that equals everything",
        (
            "class Yes(float):\n    def __eq__(self, _): return True\n"
            "    __class__ = property(lambda self: float)\n    __hash__ = float.__hash__\n"
            "    __sub__ = __rsub__ = __abs__ = lambda self, *_: 0.0\n"
            "    __le__ = __lt__ = __ge__ = __gt__ = __eq__\n"
            "def keep_probability(p): return Yes(2.0)",
        ),
        GRADED,
        "",
    ),
    Attack(
        "fake records in every open file, before the seeds",
        (WRONG, TELL_ALL, OWN_RECORD, "tell(framed(b'R', b'keep_probability\\0' + forged))"),
        REFUSED,
        "out of turn",
    ),
    Attack(
        "a whole conversation faked",
        (
            WRONG,
            TELL_ALL,
            OWN_RECORD,
            "tell(framed(b'L') + framed(b'R', b'keep_probability\\0' + forged) + framed(b'D'))\n"
            "import time\ntime.sleep(1000)",
        ),
        GRADED,
        "",
    ),
    Attack(
        "replaying a record, then sending the real one",
        (
            TELL_ALL,
            OWN_RECORD,
            "def keep_probability(p):\n    tell(framed(b'R', b'keep_probability\\0' + forged))\n"
            "    return 2.0",
        ),
        REFUSED,
        "a second record",
    ),
    Attack("noise", (TELL_ALL, "tell(b'\\xff' * 1000)"), REFUSED, "no message"),
    Attack(
        "a message of four gigabytes",
        (TELL_ALL, "tell(b'N\\xff\\xff\\xff\\xff')"),
        REFUSED,
        "4,294,967,295 bytes",
    ),
    Attack(
        "notes that never end",
        (
            TELL_ALL,
            "note = b'[\"magic\", 1, \"x\", \"\"]'\n"
            "note = b'N' + len(note).to_bytes(4, 'little') + note\n"
            "while True: tell(note * 10_000)",
        ),
        REFUSED,
        "more came",
    ),
    Attack(
        "a note nested without end",
        (TELL_ALL, "tell(b'N' + (100_000).to_bytes(4, 'little') + b'[' * 100_000)"),
        REFUSED,
        "not JSON",
    ),
    Attack(
        "a record that is too large",
        (
            TELL_ALL,
            f"def keep_probability(p):\n    tell(b'R' + ({2 * LIMIT}).to_bytes(4, 'little'))",
        ),
        REFUSED,
        "was announced",
    ),
    Attack(
        "a library that is not installed",
        ("import tensorflow_of_my_own", KEEP),
        GRADED,
        "not installed where submissions are graded",
        RIGHT,
    ),
    Attack(
        "a name that control characters hide in",
        ("raise ValueError('\\x1b[2J\\ud800 fine\\n' * 1000)", KEEP),
        GRADED,
        "raised ValueError: [2J fine [2J",
        RIGHT,
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner(workers=2, sandbox=bwrap_or_skip(), limits=SMALL) as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(runner: Runner) -> Recorded:
    ((work, recorded),) = runner.run([submission("alone", KEEP)])
    assert passed(work, recorded) == RIGHT
    return recorded


def among_siblings(runner: Runner, work: Work, undisturbed: Recorded) -> Recorded:
    """Run it between right submissions, which must not notice it; return what it recorded."""
    around = [submission(name, KEEP) for name in ("before", "after", "last")]
    results = {
        done.student: recorded
        for done, recorded in runner.run([around[0], work, around[1], around[2]])
    }
    for sibling in around:
        seen = results[sibling.student]
        assert (seen.status, seen.notes) == (undisturbed.status, undisturbed.notes)
        assert seen.records == undisturbed.records
    return results[work.student]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.id)
def test_an_attack_ends_with_its_own_status_and_leaves_others_alone(
    attack: Attack, runner: Runner, undisturbed: Recorded
) -> None:
    work = submission("attacker", *attack.cells, asked=attack.asked, timeout=attack.timeout)
    recorded = among_siblings(runner, work, undisturbed)
    assert recorded.status in attack.status, recorded.notes
    assert attack.note in " | ".join(recorded.notes)
    assert recorded.notes or recorded.status is Status.GRADED
    assert passed(work, recorded) == attack.passes


def told(runner: Runner, source: str, undisturbed: Recorded) -> str:
    """Run a cell that puts what it found into `found`; return it as the note has it."""
    work = submission("spy", source + "\nraise LookupError(repr(found))")
    (note, _) = among_siblings(runner, work, undisturbed).notes
    return note.partition("raised LookupError: ")[2]


def test_a_submission_sees_no_process_but_its_own(runner: Runner, undisturbed: Recorded) -> None:
    spy = "import os\nfound = [int(n) for n in os.listdir('/proc') if n.isdecimal()], os.getppid()"
    assert told(runner, spy, undisturbed) == "([1], 0)"


def test_the_environment_holds_nothing_of_the_grader(runner: Runner, undisturbed: Recorded) -> None:
    known = {"HOME", "LANG", "LC_CTYPE", "LOGNAME", "MPLBACKEND", "PATH", "PWD", "USER"}
    known |= {"PYTHONDONTWRITEBYTECODE", "PYTHONUSERBASE"}
    spy = (
        "import os\nraw = open('/proc/1/environ', 'rb').read().decode()\n"
        "names = {line.partition('=')[0] for line in raw.split('\\0') if line} | set(os.environ)\n"
        "found = sorted(n for n in names if not n.endswith('_NUM_THREADS'))"
    )
    assert set(ast.literal_eval(told(runner, spy, undisturbed))) <= known


def test_solutions_tests_and_files_of_others_are_out_of_sight(
    runner: Runner, undisturbed: Recorded, tmp_path: Path
) -> None:
    (tmp_path / "other.ipynb").write_text("{}")
    root = Path(__file__).resolve().parents[2]
    secret = [root / name for name in ("solutions", "tests", "notebooks", "pyproject.toml")]
    secret += [
        tmp_path,
        root / ".git",
        Path.home() / ".ssh",
        Path("/etc/shadow"),
        Path("/root/.bashrc"),
    ]
    spy = f"import os\nfound = [p for p in {[str(p) for p in secret]} if os.path.exists(p)]"
    assert told(runner, spy, undisturbed) == "[]"


def test_the_seeds_are_not_there_before_the_code_is_loaded(
    runner: Runner, undisturbed: Recorded
) -> None:
    spy = (
        "import os\nfound = []\nfor fd in range(3, 256):\n    try:\n"
        "        os.set_blocking(fd, False)\n        found.append(os.read(fd, 4096))\n"
        "    except OSError: pass\n    finally:\n"
        "        try: os.set_blocking(fd, True)\n        except OSError: pass"
    )
    assert told(runner, spy, undisturbed) == "[]"


def test_there_is_no_network_not_even_this_machine(runner: Runner, undisturbed: Recorded) -> None:
    with socket.create_server(("127.0.0.1", 0)) as here:
        port = here.getsockname()[1]
        spy = (
            "import socket\nfound = []\n"
            f"for place in (('127.0.0.1', {port}), ('192.0.2.1', 80), ('1.1.1.1', 53)):\n"
            "    try: found.append(socket.create_connection(place, timeout=2))\n"
            "    except OSError as why: found.append(type(why).__name__)"
        )
        assert told(runner, spy, undisturbed) == "['ConnectionRefusedError', 'OSError', 'OSError']"


def test_nothing_is_left_for_the_next_submission(runner: Runner) -> None:
    leave = (
        "import os, torch\nplaces = ['/tmp/x', os.environ['HOME'] + '/x', '/dev/shm/x']\n"
        "found = [p for p in places if os.path.exists(p)] + [hasattr(torch, 'mine')]\n"
        "for p in places: open(p, 'w').close()\ntorch.mine = 1\nraise LookupError(repr(found))"
    )
    works = [submission(f"student {i}", leave) for i in range(5)]
    notes = [recorded.notes[0] for _, recorded in runner.run(works)]
    assert notes == ["Cell 1 raised LookupError: [False]"] * 5


def test_a_daemon_ends_with_its_submission(runner: Runner, undisturbed: Recorded) -> None:
    stay = (
        "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        os.execv('/bin/sleep', ['sleep', '98765.4321'])\n    os._exit(0)"
    )
    recorded = among_siblings(runner, submission("daemon", stay, KEEP), undisturbed)
    assert recorded.status is Status.GRADED
    assert "98765.4321" not in all_commands()


def test_siblings_draw_different_numbers(runner: Runner) -> None:
    draw = "import torch, random, numpy\nraise LookupError(repr((torch.rand(()).item(), "
    draw += "random.random(), numpy.random.rand())))"
    works = [submission(f"student {i}", draw) for i in range(4)]
    drawn = [
        recorded.notes[0].partition("(")[2].strip(")").split(",")
        for _, recorded in runner.run(works)
    ]
    assert all(len(set(numbers)) == 4 for numbers in zip(*drawn, strict=True))


def all_commands() -> str:
    """The command lines of every process of this machine."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            found.append((entry / "cmdline").read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)
