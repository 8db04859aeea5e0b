"""The five verbs: what they accept, what they say, what they raise, in scripts and in kernels."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dropout_course
from dropout_course import check, hint, learner, progress, reset, solution, surroundings
from dropout_course.course import EXERCISES
from dropout_course.learner import CannotCheck, CheckError, CheckFailed, NotAttempted
from dropout_course.progress import HOME_VARIABLE, Action, Ledger

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.delenv(surroundings.SESSION_VARIABLE, raising=False)
    monkeypatch.delenv(surroundings.PREFIX_VARIABLE, raising=False)
    return tmp_path / "home"


def inverted_dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0
    return x * (torch.rand(x.shape, device=x.device) >= p).to(x.dtype) / (1 - p)


RIGHT = inverted_dropout


def scaled_by_p(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    return x * (torch.rand(x.shape, device=x.device) >= p).to(x.dtype) * p if training else x


def unfilled(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    raise NotImplementedError()


class InvertedDropout(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


# --- check --------------------------------------------------------------------------------------


def test_a_right_function_passes_and_prints_what_was_proven(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert check(inverted_dropout) is None
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "✓ inverted_dropout: passed · 3 of 3 points"
    assert len(shown) > 5


def test_a_passed_check_reads_the_same_at_every_run(capsys: pytest.CaptureFixture[str]) -> None:
    check(inverted_dropout)
    first = capsys.readouterr().out
    check(inverted_dropout)
    assert capsys.readouterr().out == first


def test_a_wrong_function_raises_with_the_whole_report_as_its_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(CheckFailed) as caught:
        check(inverted_dropout=scaled_by_p)
    lines = str(caught.value).splitlines()
    assert lines[0] == "✗ inverted_dropout: not right yet · 0 of 3 points"
    assert [line.split()[0] for line in lines[1:5]] == ["called", "returned", "expected", "why"]
    assert capsys.readouterr().out == ""


def test_an_unfilled_stub_is_not_attempted_yet() -> None:
    with pytest.raises(NotAttempted, match="not attempted yet"):
        check(inverted_dropout=unfilled)


def test_attempts_are_recorded_with_their_outcome(own_home: Path) -> None:
    for function in (unfilled, scaled_by_p):
        with pytest.raises(CheckError):
            check(inverted_dropout=function)
    check(inverted_dropout)
    events = Ledger(own_home).events("inverted_dropout")
    assert [event.outcome for event in events] == ["not attempted", "failed", "passed"]
    assert events[-1].points == 3.0


def decorated(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    wrapper.__name__ = "wrapper"
    return wrapper


@pytest.mark.parametrize(
    "wrap",
    [functools.partial, decorated, lambda f: torch.compile(f, backend="eager")],
    ids=["partial", "decorated", "compiled"],
)
def test_a_wrapped_function_is_found_by_what_it_wraps(wrap: Any) -> None:
    found, _ = learner._asked((wrap(inverted_dropout),), {})
    assert found.id == "inverted_dropout"


def test_a_scripted_function_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scripted.py").write_text(
        "import torch\n"
        "def inverted_dropout(x: torch.Tensor, p: float = 0.5, training: bool = True):\n"
        "    return x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import scripted  # type: ignore[import-not-found]

    found, _ = learner._asked((torch.jit.script(scripted.inverted_dropout),), {})
    assert found.id == "inverted_dropout"


def inverted_droput(x: Tensor) -> Tensor:
    return x


WRONG_ARGUMENTS = [
    ((), {}, "check needs what you defined"),
    ((None,), {}, "check received None"),
    ((RIGHT, RIGHT), {}, "one thing at a time, and received 2"),
    ((RIGHT,), {"predictions": {}}, "one thing at a time, and received 2"),
    (("inverted_dropout",), {}, "not its name in quotes: write check(inverted_dropout)"),
    (("predictions",), {}, "write check(predictions=predictions)"),
    ((torch.ones(3),), {}, "received a result (Tensor): give the function itself"),
    ((0.8,), {}, "received a result (float)"),
    ((lambda x: x,), {}, "received a lambda, which has no name"),
    ((InvertedDropout(),), {}, "give the class itself, check(InvertedDropout)"),
    ((nn.Dropout(0.5),), {}, "received an instance of Dropout: give the class"),
    ((nn.Dropout,), {}, "Dropout is not an exercise of this course. Did you mean"),
    ((inverted_droput,), {}, "Did you mean inverted_dropout?"),
    (({"train_mode_repeats": False},), {}, "check(predictions=predictions)"),
    ((object(),), {}, "received a object"),
    ((), {"inverted_droput": RIGHT}, "Did you mean inverted_dropout?"),
]


@pytest.mark.parametrize(("targets", "values", "sentence"), WRONG_ARGUMENTS)
def test_what_cannot_be_checked_is_answered_with_one_sentence(
    targets: tuple[object, ...], values: dict[str, object], sentence: str, own_home: Path
) -> None:
    with pytest.raises(CannotCheck) as caught:
        check(*targets, **values)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert Ledger(own_home).events() == []


def test_an_interrupted_check_says_so_and_records_nothing(
    monkeypatch: pytest.MonkeyPatch, own_home: Path
) -> None:
    def interrupted(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="was interrupted, and nothing was recorded"):
        check(inverted_dropout=interrupted)
    assert Ledger(own_home).events() == []


# --- hint, solution, reset, progress ------------------------------------------------------------


def test_hints_come_one_after_the_other_and_the_last_one_stays(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = []
    for target in (inverted_dropout, "inverted_dropout", inverted_dropout, inverted_dropout):
        hint(target)
        shown.append(capsys.readouterr().out)
    for number, text in enumerate(shown[:3], start=1):
        assert f"hint {number} of 3" in text
        assert EXERCISES["inverted_dropout"].hints[number - 1] in text
    assert shown[3] == shown[2]


def test_the_level_of_hints_is_remembered_by_the_record(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hint(inverted_dropout)
    learner._ledger_at.cache_clear()  # as after a restart of the kernel
    hint(inverted_dropout)
    assert "hint 2 of 3" in capsys.readouterr().out


@pytest.fixture
def handed_out_solution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "def inverted_dropout(x):\n    ### BEGIN SOLUTION\n    return x\n    ### END SOLUTION"
    cell = {
        "cell_type": "code",
        "metadata": {"nbgrader": {"grade_id": "inverted_dropout"}},
        "source": source.splitlines(keepends=True),
    }
    (tmp_path / "solutions").mkdir()
    notebook = tmp_path / "solutions" / "03_inverted_dropout.ipynb"
    notebook.write_text(json.dumps({"cells": [cell]}))
    monkeypatch.setattr(surroundings, "PACKAGE", tmp_path / "dropout_course")


@pytest.mark.usefixtures("handed_out_solution")
def test_the_solution_asks_to_be_called_twice_when_nothing_was_attempted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    solution(inverted_dropout)
    first = capsys.readouterr().out
    assert "nothing has been attempted yet" in first
    assert "return x" not in first
    solution("inverted_dropout")
    second = capsys.readouterr().out
    assert "def inverted_dropout(x):\n    return x" in second
    assert "SOLUTION" not in second


@pytest.mark.usefixtures("handed_out_solution")
def test_after_an_attempt_the_solution_is_shown_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(CheckFailed):
        check(inverted_dropout=scaled_by_p)
    solution(inverted_dropout)
    assert "return x" in capsys.readouterr().out


def test_without_solutions_the_instructor_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "PACKAGE", tmp_path / "dropout_course")
    solution(inverted_dropout)
    assert "Your instructor keeps them" in capsys.readouterr().out


def test_reset_prints_the_stub_outside_of_a_notebook(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "stubs", lambda: {"inverted_dropout": "def stub(): ..."})
    reset(inverted_dropout)
    assert "def stub(): ..." in capsys.readouterr().out


def test_reset_without_stubs_says_how_to_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "stubs", dict)
    with pytest.raises(CannotCheck, match="make lab"):
        reset(inverted_dropout)


@pytest.mark.parametrize("verb", [hint, solution, reset])
def test_the_other_verbs_answer_wrong_arguments_with_one_sentence(verb: Any) -> None:
    for target, sentence in [
        (None, "needs to know of what"),
        ("inverted_droput", "Did you mean inverted_dropout?"),
        (3, "cannot tell which exercise is meant"),
    ]:
        with pytest.raises(CannotCheck) as caught:
            verb(target)
        assert sentence in str(caught.value)


def test_progress_shows_the_table_and_the_next_step(capsys: pytest.CaptureFixture[str]) -> None:
    check(inverted_dropout)
    progress()
    shown = capsys.readouterr().out
    assert "Next: 03_inverted_dropout, exercise 2 of 3, `InvertedDropout`" in shown
    assert all(name in shown for name in EXERCISES)


def test_a_damaged_record_is_a_sentence_under_the_verdict(
    own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_home.mkdir()
    (own_home / "progress.sqlite3").write_bytes(b"rubbish" * 1000)
    check(inverted_dropout)
    shown = capsys.readouterr().out
    assert shown.startswith("✓ inverted_dropout: passed")
    assert "was damaged: it is kept as" in shown


def test_the_verbs_record_where_no_folder_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "file" / "home"))
    hint(inverted_dropout)
    assert "cannot be saved" in capsys.readouterr().out
    hint(inverted_dropout)
    assert "hint 2 of 3" in capsys.readouterr().out


# --- surroundings -------------------------------------------------------------------------------


def test_a_package_that_changed_on_disk_asks_for_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = Path(learner.__file__)
    stamps = {**surroundings._AT_IMPORT, file: (0, 0)}
    assert surroundings._stale_package() == ""
    monkeypatch.setattr(surroundings, "_AT_IMPORT", stamps)
    assert "restart the kernel" in surroundings._stale_package()
    assert "learner.py" in surroundings._stale_package()


def notebook_of_version(path: Path, version: str) -> None:
    path.write_text(json.dumps({"cells": [], "metadata": {"dropout_course": {"version": version}}}))


@pytest.mark.parametrize(
    ("version", "expected"), [("99.0.0", "run `make lab` again"), ("0.0.1", ""), ("x", "")]
)
def test_a_notebook_newer_than_the_package_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, expected: str
) -> None:
    notebook_of_version(tmp_path / "03.ipynb", version)
    monkeypatch.setenv(surroundings.SESSION_VARIABLE, str(tmp_path / "03.ipynb"))
    assert expected in surroundings.newer_notebook()
    assert bool(expected) == bool(surroundings.newer_notebook())


def test_an_unknown_exercise_in_a_newer_notebook_says_that_the_package_is_older(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook_of_version(tmp_path / "03.ipynb", "99.0.0")
    monkeypatch.setenv(surroundings.SESSION_VARIABLE, str(tmp_path / "03.ipynb"))
    with pytest.raises(CannotCheck, match=r"made for version 99\.0\.0"):
        check(inverted_droput)


def test_a_session_name_that_is_no_file_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(surroundings.SESSION_VARIABLE, "nowhere/at all.ipynb")
    assert surroundings.newer_notebook() == ""


def test_a_kernel_of_another_environment_is_told_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    surroundings._other_environment.cache_clear()
    monkeypatch.setenv(surroundings.PREFIX_VARIABLE, str(tmp_path))
    assert str(tmp_path) in surroundings._other_environment()
    assert "Change Kernel" in surroundings._other_environment()
    surroundings._other_environment.cache_clear()
    monkeypatch.setenv(surroundings.PREFIX_VARIABLE, sys.prefix)
    assert surroundings._other_environment() == ""
    surroundings._other_environment.cache_clear()


def with_the_course(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    paths = filter(None, (str(ROOT), environment.get("PYTHONPATH")))
    return {
        **environment,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONIOENCODING": "utf-8",
    }


def run_python(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=with_the_course(),
        check=False,
    )


def test_an_environment_without_torch_gets_one_sentence() -> None:
    # -S leaves site-packages out: a Python that has none of the packages.
    done = run_python(
        """
        try:
            from dropout_course import check
        except ImportError as error:
            print(error, error._render_traceback_() == [str(error)])
        """,
        "-S",
    )
    assert done.returncode == 0, done.stderr
    assert f"This kernel runs {sys.executable}, which has no" in done.stdout
    assert "torch" in done.stdout
    assert "make lab" in done.stdout
    assert done.stdout.count("\n") == 1


def test_importing_the_package_does_not_import_torch() -> None:
    done = run_python("import dropout_course, sys; print('torch' in sys.modules)")
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("first", ["", "import dropout_course.progress;"])
def test_the_verb_progress_is_not_hidden_by_the_module_of_that_name(first: str) -> None:
    done = run_python(f"{first} from dropout_course import progress; progress(); progress()")
    assert done.stdout.count("Progress: ") == 2, done.stderr


def test_an_unknown_name_of_the_package_lists_the_verbs() -> None:
    with pytest.raises(AttributeError, match="check, hint, progress, reset, solution"):
        dropout_course.grade  # noqa: B018
    assert set(dropout_course.__all__) <= set(dir(dropout_course))


def test_the_installed_version_is_the_one_that_the_package_states() -> None:
    from importlib.metadata import version

    assert version("dropout-course") == dropout_course.__version__


# --- scripts ------------------------------------------------------------------------------------

SCRIPT = """
import sys
from dropout_course import check
def previous(kind, error, trace):
    print("previous hook saw", kind.__name__)
sys.excepthook = previous
def inverted_dropout(x, p=0.5, training=True):
    {body}
check({argument})
"""


@pytest.mark.parametrize(
    ("body", "argument", "expected"),
    [
        ("return x", "inverted_dropout", "✗ inverted_dropout: not right yet"),
        ("raise NotImplementedError()", "inverted_dropout", "○ inverted_dropout: not attempted"),
        ("return x", "lambda x: x", "check received a lambda"),
    ],
)
def test_a_script_ends_with_the_report_and_no_traceback(
    body: str, argument: str, expected: str
) -> None:
    done = run_python(SCRIPT.format(body=body, argument=argument))
    assert done.returncode == 1
    assert done.stderr.startswith(expected)
    assert "Traceback" not in done.stderr
    assert "previous hook" not in done.stdout


def test_other_errors_of_a_script_reach_the_previous_hook() -> None:
    code = SCRIPT.format(body="return x", argument="lambda x: x").replace(
        "check(lambda", "try:\n    check(lambda x: x)\nexcept Exception:\n    1 / 0\ncheck(lambda"
    )
    done = run_python(code)
    assert "previous hook saw ZeroDivisionError" in done.stdout


# --- a real kernel ------------------------------------------------------------------------------


class Kernel:
    """An ipykernel, and what one cell of it answers."""

    def __init__(self, environment: dict[str, str]) -> None:
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(
            kernel_name="python3", env={**with_the_course(), **environment}
        )

    def run(self, code: str, timeout: float = 60) -> dict[str, Any]:
        seen: dict[str, Any] = {"stream": "", "html": "", "plain": "", "error": None}

        def note(message: dict[str, Any]) -> None:
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    seen["stream"] += content["text"]
                case "display_data":
                    seen["html"] += content["data"].get("text/html", "")
                    seen["plain"] += content["data"].get("text/plain", "")
                case "error":
                    seen["error"] = content

        reply = self.client.execute_interactive(
            textwrap.dedent(code), output_hook=note, timeout=timeout, allow_stdin=False
        )
        seen["payload"] = reply["content"].get("payload", [])
        return seen

    def stop(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    home = tmp_path_factory.mktemp("kernel")
    running = Kernel({HOME_VARIABLE: str(home)})
    running.run(
        """
        import os, time, torch
        from dropout_course import check, hint, progress, reset, solution
        os.environ.pop("JPY_SESSION_NAME", None)
        """
    )
    yield running
    running.stop()


RIGHT_CELL = """
def inverted_dropout(x, p=0.5, training=True):
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0
    return x * (torch.rand(x.shape, device=x.device) >= p).to(x.dtype) / (1 - p)
"""


def stub_with(body: str) -> str:
    return f"""
def inverted_dropout(x, p=0.5, training=True):
{textwrap.indent(textwrap.dedent(body), "    ")}
check(inverted_dropout)
"""


def assert_alive(kernel: Kernel) -> None:
    seen = kernel.run(RIGHT_CELL + "check(inverted_dropout)")
    assert seen["error"] is None, seen["error"]["evalue"]
    assert seen["plain"].startswith("✓ inverted_dropout: passed")


def test_a_passed_check_is_html_and_text_in_a_kernel(kernel: Kernel) -> None:
    seen = kernel.run(RIGHT_CELL + "check(inverted_dropout)")
    assert seen["error"] is None
    assert seen["plain"].startswith("✓ inverted_dropout: passed")
    assert 'class="dropout-course dc-passed"' in seen["html"]


def test_a_failed_check_shows_html_and_raises_the_full_report(kernel: Kernel) -> None:
    seen = kernel.run(stub_with("return x * p if training else x"))
    assert 'class="dropout-course dc-failed"' in seen["html"]
    assert seen["error"]["ename"] == "CheckFailed"
    traceback = "\n".join(seen["error"]["traceback"])
    assert traceback.startswith("✗ inverted_dropout: not right yet")
    assert "expected" in traceback
    assert "learner.py" not in traceback


def test_in_jupyterlab_the_error_is_one_line_that_points_to_the_report(kernel: Kernel) -> None:
    kernel.run("os.environ['JPY_SESSION_NAME'] = 'lesson.ipynb'")
    try:
        seen = kernel.run(stub_with("return x * p if training else x"))
    finally:
        kernel.run("del os.environ['JPY_SESSION_NAME']")
    (line,) = seen["error"]["traceback"]
    assert line.endswith("0 of 3 points: the report is above")
    assert "called" in seen["error"]["evalue"]


def test_a_cell_that_gives_something_else_gets_one_sentence(kernel: Kernel) -> None:
    seen = kernel.run("check(torch.ones(3))")
    (line,) = seen["error"]["traceback"]
    assert line.startswith("check received a result")


def test_a_kernel_that_cannot_run_the_course_says_so_without_a_traceback(kernel: Kernel) -> None:
    seen = kernel.run(
        """
        import dropout_course
        dropout_course._NEEDED += ("no_such_package",)
        from dropout_course import check
        """
    )
    kernel.run("dropout_course._NEEDED = dropout_course._NEEDED[:-1]")
    (line,) = seen["error"]["traceback"]
    assert "which has no no_such_package: start the course with `make lab`" in line


def test_a_learners_own_exception_names_the_line_of_their_cell(kernel: Kernel) -> None:
    seen = kernel.run(stub_with("mask = x > p\nreturn x @ undefined_name"))
    report = seen["error"]["evalue"]
    assert "undefined_name" in report
    assert "return x @ undefined_name" in report
    assert "record.py" not in report


def test_a_stub_that_prints_a_million_lines_is_judged_and_its_output_cut(kernel: Kernel) -> None:
    kernel.run("many = iter([1_000_000])")
    printing = "for _ in range(next(many, 0)): print('line')"
    seen = kernel.run(stub_with(f"{printing}\nreturn x * p if training else x"), timeout=120)
    assert seen["error"]["ename"] == "CheckFailed"
    assert "999999 lines more" in seen["error"]["evalue"]
    assert len(seen["error"]["evalue"]) + len(seen["stream"]) < 10_000
    assert_alive(kernel)


def test_an_endless_loop_is_stopped_and_the_limit_is_stated(kernel: Kernel) -> None:
    seen = kernel.run(stub_with("while True: pass"), timeout=60)
    assert seen["error"]["ename"] == "CheckFailed"
    assert "10 s" in seen["error"]["evalue"]
    assert_alive(kernel)


def test_the_learner_can_interrupt_a_check(kernel: Kernel) -> None:
    threading.Timer(1.5, kernel.manager.interrupt_kernel).start()
    seen = kernel.run(stub_with("while True: pass"), timeout=60)
    (line,) = seen["error"]["traceback"]
    assert (
        line == "Stopped: the check of inverted_dropout was interrupted, and nothing was recorded."
    )
    assert_alive(kernel)


@pytest.mark.parametrize("leave", ["exit()", "quit()", "import sys; sys.exit(0)"])
def test_a_stub_that_exits_is_a_finding_and_the_kernel_lives(kernel: Kernel, leave: str) -> None:
    seen = kernel.run(stub_with(leave))
    assert seen["error"]["ename"] == "CheckFailed"
    assert "called" in seen["error"]["evalue"]
    assert_alive(kernel)


def test_reset_puts_the_stub_into_a_new_cell(kernel: Kernel) -> None:
    seen = kernel.run('reset("inverted_dropout")')
    (payload,) = [each for each in seen["payload"] if each["source"] == "set_next_input"]
    assert payload["text"].startswith("def inverted_dropout")
    assert "NotImplementedError" in payload["text"]
    assert payload["replace"] is False
    assert "new cell below" in seen["plain"]


def test_progress_survives_a_new_kernel_with_the_same_home(kernel: Kernel, tmp_path: Path) -> None:
    assert_alive(kernel)
    home = kernel.run(f"print(os.environ[{HOME_VARIABLE!r}])")["stream"].strip()
    other = Kernel({HOME_VARIABLE: home})
    try:
        seen = other.run("from dropout_course import progress; progress()")
    finally:
        other.stop()
    (row,) = [line for line in seen["plain"].splitlines() if line.startswith("  inverted_dropout ")]
    assert "✓ passed" in row
    assert "<table>" in seen["html"]
    assert Action.CHECK in {event.action for event in Ledger(Path(home)).events()}
