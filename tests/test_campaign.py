"""The campaign's report tells what was counted, and calls it a proof only where it is one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.zoo.campaign import (
    LEADING,
    Result,
    Tally,
    Task,
    animals,
    draw,
    examine,
    is_leading,
    main,
    markdown,
    mistakes,
    tasks,
)
from tests.zoo.catalogue import MUTANTS, STYLES, Mutant, Style

CRITERIA = ("value", "rate")
MUTANT = Mutant("f/wrong", "keep_probability", "Somebody.", None, ("rate-off",))
STYLE = Style("f/right", "keep_probability", "As usual.", None)


def result(mutant: Tally, style: Tally) -> Result:
    return Result(((MUTANT, mutant),), ((STYLE, style),))


KILLED = Tally(50, 0, CRITERIA, Counter(rate=50), Counter({"rate-off": 50}))
SURVIVED_ONCE = Tally(50, 1, CRITERIA, Counter(rate=49), Counter({"rate-off": 49}))
MISNAMED_ONCE = Tally(50, 0, CRITERIA, Counter(rate=50), Counter({"rate-off": 49, "no-scaling": 1}))
PASSED = Tally(2000, 2000, CRITERIA)
REJECTED_ONCE = Tally(2000, 1999, CRITERIA, Counter(rate=1))


def test_all_killed_all_named_rightly_and_none_rejected_is_a_proof() -> None:
    found = result(KILLED, PASSED)
    assert found.is_proof
    assert "| **all** | 1 | 50 | 100 % | 100 % | 1 | 2,000 | 0 |" in markdown(found, 2000, 50)


@pytest.mark.parametrize(
    ("mutant", "style"),
    [(SURVIVED_ONCE, PASSED), (MISNAMED_ONCE, PASSED), (KILLED, REJECTED_ONCE)],
)
def test_a_single_wrong_verdict_is_no_proof_and_shows(mutant: Tally, style: Tally) -> None:
    found = result(mutant, style)
    assert not found.is_proof
    total = next(line for line in markdown(found, 2000, 50).splitlines() if "**all**" in line)
    assert "98.0 %" in total or total.endswith("| 1 |")


def test_a_rejected_style_is_named_with_its_criterion() -> None:
    report = markdown(result(KILLED, REJECTED_ONCE), 2000, 50)
    assert "right (rejected 1 of 2000 times: rate)" in report
    assert "* f/right was rejected 1 of 2000 times: rate" in report


def test_a_mutant_that_passed_or_was_misnamed_is_told() -> None:
    assert mistakes(result(KILLED, PASSED)) == []
    assert mistakes(result(SURVIVED_ONCE, PASSED)) == ["f/wrong passed 1 of 50 times"]
    misnamed = "f/wrong was named no-scaling 1 of 50 times, not rate-off"
    assert mistakes(result(MISNAMED_ONCE, PASSED)) == [misnamed]


def test_nearly_all_is_never_written_as_all() -> None:
    nearly = Tally(100_000, 1, CRITERIA, Counter(rate=99_999), Counter({"rate-off": 99_999}))
    assert "| 99.9 % | 99.9 % |" in markdown(result(nearly, PASSED), 2000, 50)


def test_the_report_and_the_figure_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    found = result(KILLED, PASSED)
    assert markdown(found, 2000, 50) == markdown(found, 2000, 50)
    for name in ("a.svg", "b.svg"):
        draw(found, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_every_implementation_gets_all_its_seeds_once() -> None:
    seeds: dict[str, list[int]] = {}
    for task in tasks(style_seeds=120, mutant_seeds=3, all_styles=True):
        seeds.setdefault(task.animal, []).extend(task.seeds)
    assert list(seeds) == list(animals())
    assert len(seeds) == len(MUTANTS) + len(STYLES)
    for name, found in seeds.items():
        assert found == list(range(3 if name.startswith("Mutant") else 120))


def test_an_examination_repeats() -> None:
    task = Task(next(name for name in animals() if name.startswith("Mutant")), range(2))
    assert examine(task) == examine(task)


def test_too_few_seeds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--style-seeds", "0"])
    assert "at least 1" in capsys.readouterr().err


def test_at_least_fifteen_styles_of_a_dropout_get_all_seeds_and_every_exercise_has_some() -> None:
    leading = [style for style in STYLES if is_leading(style)]
    assert sum(style.exercise == "inverted_dropout" for style in leading) >= 15
    assert {style.exercise for style in leading} == {style.exercise for style in STYLES}
    named = {f"{exercise}/{name}" for exercise, names in LEADING.items() for name in names}
    assert named <= {style.id for style in STYLES}
