"""Whose notebook is it, and of which lesson: handed-in files as submissions.

Knows the names that platforms give to files. Must not know what a submission is worth.

The names were read in the platforms' sources:
Canvas   lib/content_zipper.rb: `<name>[_LATE]_<user id>_<attachment id>_<file>`, the name in lower
         case without spaces or signs; `[LATE_]anon_<id>_<attachment id>_<file>` where anonymous
Moodle   mod/assign (downloader): `<name>_<participant id>_assignsubmission_file_/<file>`, or with
         `_` for `/`; since 4.4 without the last `_` of the folder; a team has no number
nbgrader `submitted/<student>/<assignment>/<notebook>.ipynb`
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dropout_course.course import Lesson
from dropout_course.grading.notebook import parse
from dropout_course.grading.sources import File, NoSubmissions, Refused, Unreadable, files

_CANVAS = re.compile(
    r"(?:(?P<late>LATE_)?(?P<anonymous>anon_[^\W_]+)|(?P<name>\w+?)_(?P<late_>LATE_)?(?P<id>\d+))"
    r"_(?P<number>[1-9]\d*)_(?P<file>.+)"
)
_MOODLE = re.compile(r"(?P<name>.+?)(?:_(?P<id>\d+))?_assignsubmission_file(?:_(?P<file>.*))?")
_COPY = re.compile(r"[-_ ]*(?:\(\d+\)|copy\d*|-\d+)$", re.IGNORECASE)


@dataclass(frozen=True)
class Submission:
    """One student's notebook of one lesson, not read yet.

    `lesson` is the id of a lesson or, where none was recognised, the file's name; `problem` says
    why it cannot be graded at all. `platform` and `platform_id` tell a learning platform's own
    number of the student.
    """

    student: str
    lesson: str
    file: File
    notes: tuple[str, ...] = ()
    problem: str = ""
    platform: str = ""
    platform_id: str = ""


@dataclass(frozen=True)
class Found:
    """What was handed in, one submission a student and lesson; how many notebooks of lessons that
    were not asked for were left out."""

    submissions: tuple[Submission, ...]
    left_out: int = 0


@dataclass(frozen=True)
class _Owned:
    """A file whose owner is known; `hints` are names that may tell its lesson, the best first."""

    student: str
    file: File
    hints: tuple[str, ...]
    platform: str = ""
    platform_id: str = ""
    notes: tuple[str, ...] = ()


def find(place: Path, lessons: Sequence[Lesson], wanted: Collection[str] = ()) -> Found:
    """Every submission in a folder or zip; `wanted` are ids of lessons, all where empty.

    Raises NoSubmissions where there is none.
    """
    owned = [_owner(file, place) for file in _below_the_top(list(files(place)), place)]
    notebooks = [one for one in owned if one.file.name.lower().endswith(".ipynb")]
    submissions = [_submission(one, lessons) for one in notebooks]
    chosen = [one for one in submissions if not wanted or one.problem or one.lesson in wanted]
    found = [*_newest(chosen), *_empty_handed(owned, notebooks, wanted)]
    if not found:
        raise NoSubmissions(
            f"{place} holds no notebook of the lessons asked for: give the folder of the "
            "submissions, or the zip as the learning platform made it."
        )
    found.sort(key=lambda one: (one.student, one.lesson))
    return Found(tuple(found), len(submissions) - len(chosen))


def lesson_named(name: str, lessons: Iterable[Lesson]) -> Lesson | None:
    """The lesson whose id stands in a name: "03_inverted_dropout (1)", "03-inverted-dropout"."""
    plain = re.sub(r"[\s\-]+", "_", name.lower())
    return next((lesson for lesson in lessons if lesson.id in plain), None)


# --- owners -------------------------------------------------------------------------------------


def _below_the_top(found: list[File], place: Path) -> list[File]:
    """Without the folder around everything that zips and nbgrader have, where it is surely one."""
    tops = {file.parts[0] if len(file.parts) > 1 else "" for file in found}
    if len(tops) != 1 or "" in tops:
        return found
    top = tops.pop()
    inner = [replace(file, parts=file.parts[1:]) for file in found]
    names_all = top.lower() in ("submitted", "submissions", place.stem.lower())
    as_platform = all(
        _CANVAS.fullmatch(file.parts[0]) or _MOODLE.fullmatch(file.parts[0]) for file in inner
    )
    return inner if names_all or as_platform else found


def _owner(file: File, place: Path) -> _Owned:
    """The student by the first part of the path: what a student named inside cannot change it."""
    first, stem = file.parts[0], _stem(file.name)
    alone = len(file.parts) == 1
    if moodle := _MOODLE.fullmatch(first):
        student = "_".join(filter(None, (moodle["name"], moodle["id"])))
        inner = _stem(moodle["file"] or "") if alone else stem
        return _Owned(student, file, (inner,), "moodle", moodle["id"] or "")
    # A zip that a student handed in stands in the path under its name on the platform.
    from_canvas = alone or first.lower().endswith(".zip")
    if from_canvas and (canvas := _CANVAS.fullmatch(first)):
        number = canvas["anonymous"] or canvas["id"]
        student = canvas["anonymous"] or f"{canvas['name']}_{number}"
        late = canvas["late"] or canvas["late_"]
        notes = ("Canvas marks it as late.",) if late else ()
        inner = _stem(canvas["file"]) if alone else stem
        return _Owned(student, file, (inner,), "canvas", number, notes)
    if not alone:
        parents = reversed(file.parts[1:-1])
        return _Owned(_stem(first, ".zip"), file, (stem, *parents))
    # Loose notebooks: alice_03_inverted_dropout.ipynb, or one person's own folder of lessons.
    stem = _stem(stem, ".zip")
    named = re.match(r"(.+?)[-_ ]+(\d\d[-_ ][a-zA-Z].*)", stem)
    if named:
        return _Owned(named[1], file, (named[2],))
    if re.match(r"\d\d[-_ ][a-zA-Z]", stem):
        return _Owned(place.resolve().stem, file, (stem,))
    return _Owned(_COPY.sub("", stem) or stem, file, (stem,))


def _stem(name: str, suffix: str = ".ipynb") -> str:
    return name[: -len(suffix)] if name.lower().endswith(suffix) else name


# --- lessons ------------------------------------------------------------------------------------


def _submission(owned: _Owned, lessons: Sequence[Lesson]) -> Submission:
    """By the file's name, else by the ids of its cells, else by a folder's name or a number."""
    file = owned.file
    lesson = lesson_named(owned.hints[0], lessons)
    notes = owned.notes
    if lesson is None:
        lesson = _by_content(file, lessons)
        if lesson is None:
            lesson = next(filter(None, (_by_hint(hint, lessons) for hint in owned.hints)), None)
        if lesson is not None:
            notes += (f"Its name ({file.name}) names no lesson; it was taken for {lesson.id}.",)
    problem = ""
    if lesson is None:
        known = ", ".join(lesson.id for lesson in lessons)
        problem = (
            f"{file.path} belongs to no lesson that was handed out: name it like the lesson. "
            f"Lessons: {known}."
        )
    return Submission(
        owned.student,
        lesson.id if lesson else (_COPY.sub("", owned.hints[0]) or owned.hints[0])[:100],
        file,
        notes,
        problem,
        owned.platform,
        owned.platform_id,
    )


def _by_content(file: File, lessons: Sequence[Lesson]) -> Lesson | None:
    """The lesson to whose exercises the most cells belong."""
    try:
        ids = {cell.grade_id for cell in parse(file.read()).cells}
    except (Refused, Unreadable):
        return None
    counts = [sum(exercise.id in ids for exercise in lesson.exercises) for lesson in lessons]
    most = max(counts, default=0)
    return lessons[counts.index(most)] if most else None


def _by_hint(hint: str, lessons: Sequence[Lesson]) -> Lesson | None:
    named = lesson_named(hint, lessons)
    if named is not None:
        return named
    numbered = re.fullmatch(r"(?:lesson|notebook|nb)?[-_ ]*(\d{1,2})", hint.strip(), re.IGNORECASE)
    number = numbered[1].zfill(2) if numbered else None
    return next((lesson for lesson in lessons if lesson.number == number), None)


# --- one a student and lesson -------------------------------------------------------------------


def _newest(submissions: Iterable[Submission]) -> list[Submission]:
    """Of several notebooks for one lesson the one that was changed last, said in a note."""
    groups: dict[tuple[str, str], list[Submission]] = {}
    for one in submissions:
        groups.setdefault((one.student, one.lesson), []).append(one)
    return [_chosen(group) for group in groups.values()]


def _chosen(group: list[Submission]) -> Submission:
    *others, last = sorted(group, key=_age)
    if not others:
        return last
    names = ", ".join(one.file.path for one in others[:5])
    more = f" and {len(others) - 5} more" if len(others) > 5 else ""
    note = (
        f"{len(group)} notebooks were handed in for this lesson: {last.file.path}, the newest, "
        f"counts, and not {names}{more}."
    )
    return replace(last, notes=(*last.notes, note))


def _age(one: Submission) -> tuple[int, float, tuple[object, ...]]:
    # Canvas numbers attachments in the order of their upload; a zip's times only have 2 seconds.
    canvas = _CANVAS.fullmatch(one.file.parts[0]) if one.platform == "canvas" else None
    number = int(canvas["number"][:18]) if canvas else 0
    pieces = re.split(r"(\d+)", one.file.path)
    natural = tuple((int(piece[:18]), "") if piece.isdigit() else (0, piece) for piece in pieces)
    return number, one.file.modified, natural


def _empty_handed(
    owned: Sequence[_Owned], notebooks: Sequence[_Owned], wanted: Collection[str]
) -> list[Submission]:
    """A row for each student who handed something in that is no notebook."""
    having = {one.student for one in notebooks}
    others: dict[str, _Owned] = {}
    for one in owned:
        alone = len(one.file.parts) == 1 and not one.platform and not _is_zip(one.file)
        if one.student not in having and not alone:
            others.setdefault(one.student, one)
    lesson = next(iter(wanted)) if len(wanted) == 1 else "unknown"
    return [
        Submission(
            student,
            lesson,
            one.file,
            problem=_no_notebook(one.file),
            platform=one.platform,
            platform_id=one.platform_id,
        )
        for student, one in others.items()
    ]


def _is_zip(file: File) -> bool:
    return file.name.lower().endswith(".zip")


def _no_notebook(file: File) -> str:
    if _is_zip(file):  # listed as a file only where it could not be opened
        try:
            file.read()
        except (Refused, Unreadable) as fault:
            return str(fault)
    return f"No notebook was handed in, only {file.path}: hand in the .ipynb."
