"""Whose notebook it is and of which lesson, by the names that platforms give; and bad files."""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile
from pathlib import Path

import pytest

from dropout_course.course import LESSONS
from dropout_course.grading.notebook import parse
from dropout_course.grading.sources import FILE_LIMIT, NoSubmissions, Refused, Unreadable
from dropout_course.grading.submission import Submission, find
from tests.grading.material import filled, hand_in, handed_out

NOTEBOOK = json.dumps(filled()).encode()


def folder(place: Path, *names: str) -> Path:
    """A folder with the same notebook under each of these names."""
    for name in names:
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(NOTEBOOK)
    return place


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def owners(place: Path) -> list[tuple[str, str]]:
    return [(one.student, one.lesson) for one in find(place, LESSONS).submissions]


def only(place: Path) -> Submission:
    (one,) = find(place, LESSONS).submissions
    return one


# --- names --------------------------------------------------------------------------------------


def test_a_folder_a_student(tmp_path: Path) -> None:
    names = ("alice/00_start.ipynb", "alice/03_inverted_dropout.ipynb", "bob/00_start.ipynb")
    assert owners(folder(tmp_path, *names)) == [
        ("alice", "00_start"),
        ("alice", "03_inverted_dropout"),
        ("bob", "00_start"),
    ]


@pytest.mark.parametrize("top", ["", "submitted/"])
def test_nbgraders_folders(tmp_path: Path, top: str) -> None:
    names = (f"{top}alice/hw1/00_start.ipynb", f"{top}bob/hw1/00_start.ipynb")
    assert owners(folder(tmp_path, *names)) == [("alice", "00_start"), ("bob", "00_start")]


def test_nbgraders_assignment_names_the_lesson_where_the_notebook_does_not(tmp_path: Path) -> None:
    path = tmp_path / "submitted" / "alice" / "lesson02" / "problem.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "cells": []}))
    assert owners(tmp_path) == [("alice", "02_standard_dropout")]


def test_canvas_names(tmp_path: Path) -> None:
    """content_zipper.rb: name[_LATE]_user_attachment_file, and anonymous ones."""
    members = {
        "smithbob_340934_208490284_00_start.ipynb": NOTEBOOK,
        "wellsl_LATE_334244_394803489_00_start-1.ipynb": NOTEBOOK,
        "åsamüller_7_9_03_inverted_dropout.ipynb": NOTEBOOK,
        "anon_Ab3dE_17_00_start.ipynb": NOTEBOOK,
        "LATE_anon_Zz9_18_00_start.ipynb": NOTEBOOK,
    }
    found = find(zipped(tmp_path / "submissions.zip", members), LESSONS).submissions
    assert {(one.student, one.lesson, one.platform_id) for one in found} == {
        ("smithbob_340934", "00_start", "340934"),
        ("wellsl_334244", "00_start", "334244"),
        ("åsamüller_7", "03_inverted_dropout", "7"),
        ("anon_Ab3dE", "00_start", "anon_Ab3dE"),
        ("anon_Zz9", "00_start", "anon_Zz9"),
    }
    assert {one.platform for one in found} == {"canvas"}
    late = {one.student for one in found if "Canvas marks it as late." in one.notes}
    assert late == {"wellsl_334244", "anon_Zz9"}


def test_a_zip_that_a_student_handed_in_on_canvas_is_theirs(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("my work/00_start.ipynb", NOTEBOOK)
        archive.writestr("__MACOSX/my work/._00_start.ipynb", b"junk")
    place = zipped(tmp_path / "d.zip", {"smithbob_340934_2084_Work.zip": inner.getvalue()})
    one = only(place)
    assert (one.student, one.lesson) == ("smithbob_340934", "00_start")
    assert one.file.read() == NOTEBOOK


@pytest.mark.parametrize(
    "name",
    [
        "Jane Doe_657737_assignsubmission_file_/00_start.ipynb",
        "Jane Doe_657737_assignsubmission_file/00_start.ipynb",
        "Jane Doe_657737_assignsubmission_file_00_start.ipynb",
        "Jane Doe_657737_assignsubmission_file_/week 1/00_start.ipynb",
    ],
)
def test_moodle_names(tmp_path: Path, name: str) -> None:
    one = only(zipped(tmp_path / "Course-Lesson-12345.zip", {name: NOTEBOOK}))
    assert (one.student, one.lesson) == ("Jane Doe_657737", "00_start")
    assert (one.platform, one.platform_id) == ("moodle", "657737")


def test_a_moodle_team_has_no_number(tmp_path: Path) -> None:
    name = "Group A-Default team_assignsubmission_file_/00_start.ipynb"
    assert only(folder(tmp_path, name)).student == "Group A-Default team"


def test_a_students_file_name_cannot_make_them_another(tmp_path: Path) -> None:
    folder(tmp_path, "mallory/alice_1_2_00_start.ipynb", "alice/00_start.ipynb")
    assert owners(tmp_path) == [("alice", "00_start"), ("mallory", "00_start")]


def test_loose_notebooks(tmp_path: Path) -> None:
    folder(tmp_path, "alice_00_start.ipynb", "bob-00-start.ipynb", "carol.ipynb")
    assert owners(tmp_path) == [("alice", "00_start"), ("bob", "00_start"), ("carol", "00_start")]


def test_a_lesson_is_known_by_its_cells_where_its_name_tells_nothing(tmp_path: Path) -> None:
    hand_in(tmp_path, "alice", handed_out(LESSONS[3]), "homework.ipynb")
    one = only(tmp_path)
    assert one.lesson == "03_inverted_dropout"
    assert "homework.ipynb" in one.notes[0]


def test_only_the_lessons_asked_for(tmp_path: Path) -> None:
    folder(tmp_path, "alice/00_start.ipynb", "alice/03_inverted_dropout.ipynb")
    found = find(tmp_path, LESSONS, ["03_inverted_dropout"])
    assert [one.lesson for one in found.submissions] == ["03_inverted_dropout"]
    assert found.left_out == 1


def test_the_same_student_twice_the_newest_counts_and_it_is_said(tmp_path: Path) -> None:
    folder(tmp_path, "alice/00_start.ipynb", "alice/00_start (1).ipynb", "alice/00_start-2.ipynb")
    os.utime(tmp_path / "alice/00_start.ipynb", (2e9, 2e9))
    one = only(tmp_path)
    assert one.file.name == "00_start.ipynb"
    assert "3 notebooks" in one.notes[-1]


def test_of_two_uploads_on_canvas_the_later_number_counts(tmp_path: Path) -> None:
    members = {"bob_1_900_00_start-1.ipynb": NOTEBOOK, "bob_1_80_00_start.ipynb": b"old"}
    assert only(zipped(tmp_path / "s.zip", members)).file.read() == NOTEBOOK


def test_a_lesson_nobody_released_is_a_problem_of_that_submission_only(tmp_path: Path) -> None:
    hand_in(tmp_path, "alice", {"nbformat": 4, "cells": []}, "47_batch_norm.ipynb")
    folder(tmp_path, "bob/00_start.ipynb")
    alice, bob = find(tmp_path, LESSONS).submissions
    assert "belongs to no lesson" in alice.problem
    assert alice.lesson == "47_batch_norm"
    assert not bob.problem


def test_who_hands_in_no_notebook_is_told(tmp_path: Path) -> None:
    (tmp_path / "alice").mkdir()
    (tmp_path / "alice" / "essay.pdf").write_bytes(b"%PDF")
    folder(tmp_path, "bob/00_start.ipynb")
    alice, _ = find(tmp_path, LESSONS, ["00_start"]).submissions
    assert (alice.student, alice.lesson) == ("alice", "00_start")
    assert "essay.pdf" in alice.problem


@pytest.mark.skipif(sys.platform == "darwin", reason="the file system refuses such names")
def test_names_that_are_no_utf8_are_kept_apart_and_printable(tmp_path: Path) -> None:
    for name in (b"caf\xe9", b"caf\xe8"):
        folder(tmp_path / os.fsdecode(name), "00_start.ipynb")
    found = find(tmp_path, LESSONS).submissions
    assert [one.student for one in found] == ["caf\\xe8", "caf\\xe9"]
    assert all(one.file.read() == NOTEBOOK for one in found)


@pytest.mark.parametrize("name", ["nothing", "text.txt"])
def test_neither_a_folder_nor_a_zip_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(NoSubmissions, match="give the folder"):
        find(tmp_path / name, LESSONS)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoSubmissions, match="no notebook"):
        find(tmp_path, LESSONS)


def test_copies_that_tools_make_are_no_submissions(tmp_path: Path) -> None:
    folder(
        tmp_path,
        "alice/00_start.ipynb",
        "alice/.ipynb_checkpoints/00_start-checkpoint.ipynb",
        "__MACOSX/alice/._00_start.ipynb",
    )
    assert only(tmp_path).notes == ()


# --- bad files ----------------------------------------------------------------------------------


def test_a_linked_notebook_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.ipynb"
    secret.write_bytes(NOTEBOOK)
    (tmp_path / "in" / "alice").mkdir(parents=True)
    (tmp_path / "in" / "alice" / "00_start.ipynb").symlink_to(secret)
    with pytest.raises(Refused, match="is a link"):
        only(tmp_path / "in").file.read()


def test_a_linked_folder_is_refused_and_not_entered(tmp_path: Path) -> None:
    folder(tmp_path / "elsewhere", "00_start.ipynb")
    folder(tmp_path / "in", "bob/00_start.ipynb")
    (tmp_path / "in" / "alice").symlink_to(tmp_path / "elsewhere")
    assert owners(tmp_path / "in") == [("bob", "00_start")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "alice").mkdir()
    os.mkfifo(tmp_path / "alice" / "00_start.ipynb")
    with pytest.raises(Refused, match="no ordinary file"):
        only(tmp_path).file.read()


def test_two_gigabytes_are_refused_unread(tmp_path: Path) -> None:
    path = folder(tmp_path, "alice/00_start.ipynb") / "alice" / "00_start.ipynb"
    os.truncate(path, 2**31)
    with pytest.raises(Refused, match="2,048 MB"):
        only(tmp_path).file.read()


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "all.zip"
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("alice/00_start.ipynb", bytes(FILE_LIMIT + 1))
        archive.writestr("bob/00_start.ipynb", NOTEBOOK)
    alice, bob = find(place, LESSONS).submissions
    with pytest.raises(Refused, match="at most"):
        alice.file.read()
    assert bob.file.read() == NOTEBOOK


def test_a_zip_that_lies_about_a_size_is_still_read_to_the_limit_only(tmp_path: Path) -> None:
    place = tmp_path / "all.zip"
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("alice/00_start.ipynb", bytes(FILE_LIMIT + 1))
    data = place.read_bytes()
    size = (FILE_LIMIT + 1).to_bytes(4, "little")
    place.write_bytes(data.replace(size, (100).to_bytes(4, "little")))
    with pytest.raises((Refused, Unreadable)):
        only(place).file.read()


@pytest.mark.parametrize("name", ["../../alice/00_start.ipynb", "/alice/00_start.ipynb"])
def test_a_path_that_leaves_the_zip_is_refused(tmp_path: Path, name: str) -> None:
    place = zipped(tmp_path / "all.zip", {name: NOTEBOOK, "bob/00_start.ipynb": NOTEBOOK})
    alice, bob = find(place, LESSONS).submissions
    assert (alice.student, bob.student) == ("alice", "bob")
    with pytest.raises(Refused, match="leads outside"):
        alice.file.read()


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "all.zip"
    with zipfile.ZipFile(place, "w") as archive:
        info = zipfile.ZipInfo("alice/00_start.ipynb")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(Refused, match="is a link"):
        only(place).file.read()


def test_a_damaged_zip_in_a_zip_is_a_fault_of_that_student_only(tmp_path: Path) -> None:
    members = {"bob_1_2_00_start.ipynb": NOTEBOOK, "eve_3_4_work.zip": b"PK\x03\x04broken"}
    bob, eve = find(zipped(tmp_path / "s.zip", members), LESSONS).submissions
    assert not bob.problem
    assert "cannot be read as a zip" in eve.problem


def test_a_damaged_member_is_unreadable(tmp_path: Path) -> None:
    place = zipped(tmp_path / "all.zip", {"alice/00_start.ipynb": NOTEBOOK})
    place.write_bytes(place.read_bytes().replace(b"keep_probability", b"KEEP_probability", 1))
    with pytest.raises(Unreadable, match="unpacked"):
        only(place).file.read()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (os.urandom(1000) + b"\xff", "no text in UTF-8"),
        (NOTEBOOK[: len(NOTEBOOK) // 2], "damaged"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"cells": ' + b"[" * 200_000, "nested too deeply"),
        (b"[]", "no notebook"),
        (b'{"a": 1}', "no notebook"),
        (b'{"nbformat": 7, "cells": []}', "format 7"),
        (b'{"nbformat": 4}', "damaged"),
        (b'{"nbformat": 4, "cells": [1]}', "damaged"),
        (b'{"nbformat": 4, "cells": ' + str([{}] * 5001).encode() + b"}", "5,001 cells"),
        (b'{"nbformat": ' + b"9" * 10_000 + b"}", "damaged"),
        (json.dumps({"nbformat": 4, "cells": [{"source": "x" * 5_000_000}]}).encode(), "MB"),
    ],
)
def test_what_is_no_notebook_is_unreadable_and_the_reason_is_said(data: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        parse(data)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_notebooks_that_editors_saved_with_a_mark_are_read(encoding: str) -> None:
    text = json.dumps(filled(), ensure_ascii=False)
    assert parse(text.encode(encoding)).format == "4.5"


def test_odd_values_in_a_notebook_do_no_harm() -> None:
    cells = [
        {"cell_type": 3, "source": {"a": 1}, "metadata": [], "id": 5},
        {"cell_type": "code", "source": ["a\n", 1, "b"], "metadata": {"nbgrader": {"grade_id": 1}}},
        {"cell_type": "code", "source": "\ud800", "metadata": None},
    ]
    parsed = parse(json.dumps({"nbformat": 4, "cells": cells, "metadata": []}).encode())
    assert [cell.source for cell in parsed.cells] == ["", "a\nb", "?"]
