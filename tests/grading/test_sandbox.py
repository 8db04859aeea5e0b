"""Which sandbox is chosen, what it shows of this machine, and the messages that cross its wall."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dropout_course
from dropout_course.grading import sandbox
from dropout_course.grading.frames import (
    PAYLOAD_LIMIT,
    BadFrame,
    Frame,
    FrameReader,
    Kind,
    json_in,
    packed,
    packed_json,
)
from dropout_course.grading.limits import Limits
from dropout_course.grading.session import Session
from dropout_course.grading.work import Status
from tests.grading.submissions import KEEP, bwrap_or_skip, submission

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap runs on Linux only")


def test_none_is_a_choice_that_must_be_made() -> None:
    assert sandbox.choose("none") is sandbox.Sandbox.NONE


def test_an_unknown_sandbox_is_named() -> None:
    with pytest.raises(ValueError, match="'docker': choose auto, bwrap or none"):
        sandbox.choose("docker")


@LINUX
def test_auto_without_bubblewrap_refuses_and_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(sandbox.NoSandbox, match=r"apt install bubblewrap.*--sandbox none"):
        sandbox.choose("auto")


def test_auto_on_another_system_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(sandbox.NoSandbox, match=r"Linux only.*--sandbox none"):
        sandbox.choose("auto")


@LINUX
def test_a_bubblewrap_that_may_not_make_namespaces_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(sandbox.NoSandbox) as refused:
        sandbox.choose("auto")
    text = str(refused.value)
    assert "No permissions to create new namespace" in text
    assert "--sandbox none" in text
    assert "\n" not in text


def test_only_the_package_and_the_python_environment_are_shown() -> None:
    command = sandbox.host_command((), [])
    shown = {Path(command[i + 1]) for i, word in enumerate(command) if word == "--ro-bind"}
    package = Path(dropout_course.__file__).resolve().parent
    beside = {package.parent / name for name in ("solutions", "tests", "notebooks", ".git")}
    for place in shown:
        assert not any(hidden.is_relative_to(place) for hidden in beside), place
    assert any(package.is_relative_to(place) for place in shown)


def test_no_variable_of_the_grader_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET_TOKEN", "s3cret")
    command = sandbox.host_command((), [])
    assert "--clearenv" in command
    assert not any("s3cret" in word or "MY_SECRET" in word for word in command)


@LINUX
def test_an_ordinary_user_and_a_container_s_root_can_grade_too(tmp_path: Path) -> None:
    bwrap_or_skip()
    script = tmp_path / "grade.py"
    script.write_text(
        "from dropout_course.grading.runner import Runner\n"
        "from dropout_course.grading.sandbox import choose\n"
        "from tests.grading.submissions import KEEP, SMALL, passed, submission\n"
        "fork = 'import os\\nfor _ in range(500): os.fork() or __import__(\"time\").sleep(99)'\n"
        "works = [submission('s', KEEP), submission('bomb', fork)]\n"
        "with Runner(workers=1, sandbox=choose('bwrap'), limits=SMALL) as runner:\n"
        "    for work, seen in runner.run(works):\n"
        "        print(work.student, seen.status, sorted(passed(work, seen)))\n"
    )
    root = Path(__file__).resolve().parents[2]
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    places = [str(Path(sys.executable).resolve()), sys.prefix, str(root)]
    if subprocess.run([*user, "stat", *places], check=False, capture_output=True).returncode:
        # Not root (every other test is then an ordinary user's), or in a home of root's.
        return
    for prefix in (user, [*user, "unshare", "-Ur"]):
        done = subprocess.run(
            [*prefix, sys.executable, "-c", script.read_text()],
            cwd=root,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(root), "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stdout.splitlines()[:1] == ["s graded ['keep_probability']"], done.stderr
        assert done.stdout.splitlines()[1].startswith("bomb "), done.stderr


@given(st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=50)), max_size=8), st.data())
def test_frames_arrive_whole_however_the_bytes_are_cut(
    frames: list[tuple[Kind, bytes]], data: st.DataObject
) -> None:
    sent = b"".join(packed(kind, payload) for kind, payload in frames)
    reader, got, at = FrameReader(), list[Frame](), 0
    while at < len(sent):
        step = data.draw(st.integers(1, 60))
        got += reader.feed(sent[at : at + step])
        at += step
    assert got == [Frame(kind, payload) for kind, payload in frames]


@given(st.binary(max_size=300))
def test_any_bytes_are_frames_or_refused(noise: bytes) -> None:
    try:
        for frame in FrameReader().feed(noise):
            assert len(frame.payload) <= len(noise)
            json_in(frame)
    except BadFrame:
        return


def test_a_frame_s_length_is_refused_before_it_is_waited_for() -> None:
    with pytest.raises(BadFrame, match="was announced"):
        list(FrameReader().feed(b"R" + (PAYLOAD_LIMIT + 1).to_bytes(4, "little")))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)
kinds = st.sampled_from(["raised", "stopped", "magic", "printed", "missing", "unrecorded", "x"])
notes = json_values | st.tuples(kinds, json_values, json_values, json_values).map(list)


@given(st.lists(notes, max_size=4))
def test_any_note_becomes_plain_lines_or_a_refusal(contents: list[object]) -> None:
    theirs, ours = socket.socketpair()
    session = Session(submission("s", KEEP), ours)
    with theirs, ours:
        for content in contents:
            theirs.sendall(packed_json(Kind.NOTE, content))
        theirs.close()
        while not session.finished:
            session.receive()
    recorded = session.recorded(None, Limits())
    assert recorded.status in (Status.CRASHED, Status.REFUSED)
    assert all(note.isprintable() and len(note) < 700 for note in recorded.notes)
