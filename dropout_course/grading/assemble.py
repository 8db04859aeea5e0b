"""A student's notebook and the release, put together: what to run, what to show, what to say.

Cells are matched by their ids, then by their text, at last by the name they define. Must not run
anything, nor know what an answer is worth.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from dropout_course.course import Lesson
from dropout_course.grading import code
from dropout_course.grading.notebook import Cell, Notebook
from dropout_course.grading.work import CodeCell

_LIKENESS = 0.6  # of two texts, for an edited cell that lost its ids
_LONGEST_COMPARED = 4_000  # characters; difflib's time grows with their square


class Shown(StrEnum):
    """How a cell stands on the feedback page."""

    OWN = "own"  # written or changed by the student
    LESSON = "lesson"  # code as it was handed out
    HEADING = "heading"  # of the lesson's text, to find one's way
    TEXT = "text"  # the student's words


@dataclass(frozen=True)
class PageCell:
    """A cell of the feedback page; the verdict of `exercise` follows it."""

    shown: Shown
    source: str
    exercise: str | None = None


@dataclass(frozen=True)
class Assembled:
    """The code to run in its order, the cells to show, and a sentence for each repair."""

    cells: tuple[CodeCell, ...]
    page: tuple[PageCell, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Placed:
    """A cell of the submission with what it was recognised as.

    `anchor` is the position in the release of the cell that it is or follows; `exercise` the
    exercise that it answers; `unchanged` whether the text is the released one; `known` whether the
    cell is one of the release, changed or not.
    """

    cell: Cell
    anchor: int = -1
    exercise: str | None = None
    is_check: bool = False
    unchanged: bool = False
    known: bool = False

    @property
    def source(self) -> str:
        return self.cell.source


@dataclass(frozen=True)
class _Step:
    anchor: int
    source: str
    grade_id: str | None = None


def assemble(notebook: Notebook, lesson: Lesson, release: Sequence[Cell]) -> Assembled:
    """Put the notebook back into the lesson's shape. Never raises for what the notebook holds."""
    return _Assembly(lesson, release).of(notebook)


class _Assembly:
    def __init__(self, lesson: Lesson, release: Sequence[Cell]) -> None:
        self._lesson = lesson
        self._release = release
        self._exercises = {exercise.id for exercise in lesson.exercises}
        self._stubs = {
            cell.grade_id: _plain(cell.source)
            for cell in release
            if cell.grade_id in self._exercises
        }
        self._notes: dict[str, None] = {}

    def of(self, notebook: Notebook) -> Assembled:
        cells = [self._as_code(cell) for cell in notebook.cells]
        if not any(cell.kind == "code" for cell in cells):
            self._note("It has no code cell at all.")
        placed = self._in_order(self._recognised(self._placed(cells)))
        placed = self._rejoined(placed)
        answers = {name: self._answers(name, placed) for name in self._stubs_in_order()}
        steps = self._completed(self._steps(placed, answers), placed)
        run = tuple(CodeCell(s.source, s.grade_id) for s in steps if s.source.strip())
        return Assembled(run, tuple(self._page(placed, answers)), tuple(self._notes))

    def _stubs_in_order(self) -> list[str]:
        return [exercise.id for exercise in self._lesson.exercises]

    def _note(self, sentence: str) -> None:
        self._notes[sentence] = None

    # --- recognising ----------------------------------------------------------------------------

    def _as_code(self, cell: Cell) -> Cell:
        name = cell.grade_id
        if cell.kind == "code" or name not in self._exercises:
            return cell
        self._note(f"The cell of {name} was turned into {cell.kind}; it was read as code.")
        return replace(cell, kind="code")

    def _placed(self, cells: Sequence[Cell]) -> list[_Placed]:
        """Each cell matched with the release by its id, its text or its cell's id."""
        by_id = {cell.grade_id: n for n, cell in enumerate(self._release) if cell.grade_id}
        by_text: dict[str, list[int]] = {}
        for n, cell in enumerate(self._release):
            by_text.setdefault(f"{cell.kind} {_plain(cell.source)}", []).append(n)
        by_cell_id = {cell.cell_id: n for n, cell in enumerate(self._release) if cell.cell_id}
        placed = []
        for cell in cells:
            same = by_text.get(f"{cell.kind} {_plain(cell.source)}", [])
            if cell.grade_id is not None and cell.grade_id not in by_id:
                self._note(
                    f"The id {cell.grade_id} is none of this lesson's; the cell was taken for what "
                    "it defines."
                )
            anchor = by_id.get(cell.grade_id) if cell.grade_id else None
            if anchor is None and same:
                anchor = same.pop(0) if len(same) > 1 else same[0]
            if anchor is None and cell.grade_id is None:
                anchor = by_cell_id.get(cell.cell_id) if cell.cell_id else None
                if anchor is not None and self._release[anchor].kind != cell.kind:
                    anchor = None
            placed.append(_Placed(cell) if anchor is None else self._as_released(cell, anchor))
        return placed

    def _as_released(self, cell: Cell, anchor: int) -> _Placed:
        original = self._release[anchor]
        name = original.grade_id or ""
        return _Placed(
            cell,
            anchor,
            name if name in self._exercises else None,
            name.removesuffix("-check") in self._exercises and name.endswith("-check"),
            _plain(cell.source) == _plain(original.source),
            known=True,
        )

    def _recognised(self, placed: list[_Placed]) -> list[_Placed]:
        """Cells that lost every id: a stub by the name it defines, a demonstration by likeness."""
        answered = {each.exercise for each in placed}
        found = []
        for each in placed:
            names = code.bound(each.source) & self._exercises if _is_code(each) else frozenset()
            lost = sorted(names - answered)
            if not each.known and lost:
                name = lost[0]
                self._note(f"No cell has the id {name}; the cell that defines {name} was taken.")
                anchor = self._anchor_of(name)
                each = replace(each, exercise=name, anchor=anchor)
            found.append(each)
        taken = {each.anchor for each in found}
        free = [
            (n, _plain(cell.source))
            for n, cell in enumerate(self._release)
            if cell.kind == "code" and cell.grade_id is None and n not in taken
        ]
        return [self._alike(each, free) for each in found]

    def _anchor_of(self, name: str) -> int:
        return next((n for n, cell in enumerate(self._release) if cell.grade_id == name), -1)

    def _alike(self, placed: _Placed, free: list[tuple[int, str]]) -> _Placed:
        text = _plain(placed.source)
        if placed.known or placed.exercise or not _is_code(placed) or not free:
            return placed
        if len(text) > _LONGEST_COMPARED:
            return placed
        compare = difflib.SequenceMatcher(autojunk=False, b=text)
        for n, original in free:
            compare.set_seq1(original[:_LONGEST_COMPARED])
            if compare.real_quick_ratio() > _LIKENESS and compare.ratio() > _LIKENESS:
                free.remove((n, original))
                return replace(placed, anchor=n, known=True)
        return placed

    # --- order ----------------------------------------------------------------------------------

    def _in_order(self, placed: list[_Placed]) -> list[_Placed]:
        """The lesson's order, where cells were moved; an own cell stays behind its neighbour."""
        anchored, at = [], -1
        for each in placed:
            at = each.anchor if each.anchor >= 0 else at
            anchored.append(replace(each, anchor=at))
        moved = [
            each.anchor
            for each, original in zip(anchored, placed, strict=True)
            if _is_code(each) and original.anchor >= 0
        ]
        first = list(dict.fromkeys(moved))  # a copied cell is not a moved one
        if first == sorted(first):
            return anchored
        self._note("The cells were not in the lesson's order; they were put back into it.")
        return sorted(anchored, key=lambda each: each.anchor)

    def _rejoined(self, placed: list[_Placed]) -> list[_Placed]:
        """A split cell is one again where its second part is no Python of its own."""
        joined: list[_Placed] = []
        for each in placed:
            before = next((one for one in reversed(joined) if _is_code(one)), None)
            if before is not None and self._continues(before, each):
                whole = f"{before.source}\n{each.source}"
                joined[joined.index(before)] = replace(
                    before, cell=replace(before.cell, source=whole), unchanged=False
                )
                self._note(f"The cell of {before.exercise} was split; its parts were joined.")
            else:
                joined.append(each)
        return joined

    def _continues(self, before: _Placed, each: _Placed) -> bool:
        if before.exercise is None or not _is_code(each) or each.unchanged or each.is_check:
            return False
        if each.exercise not in (None, before.exercise) or not each.source.strip():
            return False
        broken = not code.parses(each.source) or not code.parses(before.source)
        return broken and code.parses(f"{before.source}\n{each.source}")

    # --- answers --------------------------------------------------------------------------------

    def _answers(self, name: str, placed: Sequence[_Placed]) -> list[_Placed]:
        """The cells that answer an exercise, in their order; empty where none does."""
        own = [each for each in placed if each.exercise == name]
        filled = [each for each in own if _plain(each.source) != self._stubs.get(name)]
        elsewhere = [
            each
            for each in placed
            if _is_code(each)
            and each.exercise != name
            and not each.unchanged
            and name in code.bound(each.source)
        ]
        if filled:
            if len(own) > 1:
                self._note(
                    f"The cell of {name} is there {len(own)} times; "
                    "the last one that was filled counts."
                )
            return filled
        if elsewhere:
            self._note(f"{name} is defined in another cell than its own; that one was taken.")
            return elsewhere
        if not own:
            self._note(f"The cell of {name} is missing; it counts as not attempted.")
        return own[:1]

    # --- what to run ----------------------------------------------------------------------------

    def _steps(self, placed: Sequence[_Placed], answers: dict[str, list[_Placed]]) -> list[_Step]:
        steps = []
        checked: set[str] = set()  # exercises whose check was passed by
        for each in filter(_is_code, placed):
            if each.is_check:
                checked.add((self._release[each.anchor].grade_id or "").removesuffix("-check"))
                if not each.unchanged:
                    self._note(
                        f"The check {self._release[each.anchor].grade_id} was changed; "
                        "the released one counts."
                    )
                if not any(each in cells for cells in answers.values()):
                    continue
            if each.exercise is not None:
                if each in answers.get(each.exercise, ()):
                    steps.append(_Step(each.anchor, each.source, each.exercise))
            elif not each.unchanged:
                again = self._defined_again(each, answers, checked)
                source = code.leaving_out(each.source, again) if again else each.source
                steps.append(_Step(each.anchor, source))
        return steps

    def _defined_again(
        self, each: _Placed, answers: dict[str, list[_Placed]], checked: set[str]
    ) -> set[str]:
        """Exercises that a later cell of experiments defines once more, after their check."""
        names = {
            name
            for name in code.bound(each.source) & self._exercises & checked
            if each not in answers[name]
        }
        for name in sorted(names):
            self._note(f"{name} is defined again after its check; the definition before it counts.")
        return names

    def _completed(self, steps: list[_Step], placed: Sequence[_Placed]) -> list[_Step]:
        """With what the student's cells need of the lesson's own, and nothing else of it.

        Of a cell of the lesson only the statements that define what is needed.
        """
        for name in self._stubs_in_order():
            if not any(each.is_check and self._checks(each, name) for each in placed):
                self._note(f"The check of {name} was missing; it was put back.")
        there = {each.anchor: each.unchanged for each in placed if each.known}
        offered = [n for n in range(len(self._release)) if there.get(n, True) and self._offers(n)]
        chosen: dict[int, set[str]] = {}
        wanted = list(self._lacking(steps))
        for name, anchor in wanted:  # grows while it is gone through
            n = self._provider(name, anchor, offered)
            if n is None or name in chosen.setdefault(n, set()):
                continue
            chosen[n].add(name)
            source = code.defining(self._release[n].source, {name})
            wanted += [(more, n) for more in sorted(code.needed(source) - {name})]
        added = []
        for n, names in chosen.items():
            source = code.defining(self._release[n].source, names)
            added.append(_Step(n, source))
            if n not in there:
                first = source.strip().partition("\n")[0][:60]
                self._note(f"A cell of the lesson was missing and was put back: `{first}`.")
        return sorted([*added, *steps], key=lambda step: step.anchor)

    def _lacking(self, steps: Sequence[_Step]) -> Iterator[tuple[str, int]]:
        """The names that a step reads and that neither it nor one before it defines."""
        have = set(self._exercises)
        for step in steps:
            have |= code.bound(step.source)
            yield from ((name, step.anchor) for name in sorted(code.needed(step.source) - have))

    def _offers(self, n: int) -> bool:
        return self._release[n].kind == "code" and self._release[n].grade_id is None

    def _provider(self, name: str, anchor: int, offered: Sequence[int]) -> int | None:
        """The lesson's cell that defines a name for the cell at `anchor`: the last one up to it."""
        if name in self._exercises:
            return None
        defining = [n for n in offered if name in code.bound(self._release[n].source)]
        before = [n for n in defining if n <= anchor]
        return before[-1] if before else next(iter(defining), None)

    def _checks(self, each: _Placed, name: str) -> bool:
        return self._release[each.anchor].grade_id == f"{name}-check"

    def _defining(self, names: set[str]) -> tuple[int, str] | None:
        """The first released cell that defines one of the names, and its code."""
        for n, cell in enumerate(self._release):
            if cell.kind != "code" or cell.grade_id is not None:
                continue
            source = code.leaving_out(cell.source, self._exercises)
            if code.bound(source) & names:
                return n, source
        return None

    # --- what to show ---------------------------------------------------------------------------

    def _page(
        self, placed: Sequence[_Placed], answers: dict[str, list[_Placed]]
    ) -> Iterator[PageCell]:
        last = {name: cells[-1] for name, cells in answers.items() if cells}
        told = set()
        for each in placed:
            names = [name for name, cell in last.items() if cell is each]
            if each.is_check and not names:
                continue
            page = self._page_cell(each)
            if page is None:
                continue
            yield replace(page, exercise=names[0] if names else None)
            for name in names[1:]:  # one cell may answer several
                yield PageCell(Shown.OWN, "", name)
            told.update(names)
        for name in self._stubs_in_order():
            if name not in told:
                yield PageCell(Shown.OWN, "", name)

    def _page_cell(self, each: _Placed) -> PageCell | None:
        if each.cell.kind == "code":
            if not each.source.strip():
                return None
            lesson = each.unchanged and each.exercise is None
            return PageCell(Shown.LESSON if lesson else Shown.OWN, each.source)
        if not each.unchanged:
            return PageCell(Shown.TEXT, each.source) if each.source.strip() else None
        heading = each.source.lstrip().partition("\n")[0]
        return (
            PageCell(Shown.HEADING, heading.strip("# ").replace("`", ""))
            if heading.startswith("#")
            else None
        )


def _is_code(placed: _Placed) -> bool:
    return placed.cell.kind == "code"


def _plain(source: str) -> str:
    """The text as it is compared: blanks at the ends of lines and of the text do not count."""
    return "\n".join(line.rstrip() for line in source.strip().split("\n"))
