"""Pages and tables for people and programs: complete, valid, and safe whatever a student wrote."""

from __future__ import annotations

import csv
import html.parser
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import pytest

from dropout_course.checks.verdict import Finding, Outcome, Verdict
from dropout_course.grading.assemble import PageCell, Shown
from dropout_course.grading.classroom import summary
from dropout_course.grading.feedback import feedback, file_name
from dropout_course.grading.files import replacing, slug, write_text
from dropout_course.grading.gradebook import Entry
from dropout_course.grading.results import SCHEMA, SCHEMA_VERSION, message, write_csv, write_json
from dropout_course.grading.work import Status

EVIL = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>`</code>`\x00\x1b"
FAILING = Finding(
    "rate",
    passed=False,
    proves="drops at p",
    called="inverted_dropout(x, 0.2)",
    returned="80 % dropped",
    expected="20 % dropped",
    why="p is the probability of dropping",
    misconception="p-read-as-keep",
)
PASSED = Verdict("inverted_dropout", Outcome.PASSED, 3.0, 3.0, (Finding("a", True, "works"),))
FAILED = Verdict(
    "InvertedDropout", Outcome.FAILED, 0.0, 3.0, (FAILING,), ("p-read-as-keep",), note="A note."
)
UNTRIED = Verdict("dropout_backward", Outcome.NOT_ATTEMPTED, 0.0, 2.0, ())
PAGE = (
    PageCell(Shown.HEADING, "Inverted dropout"),
    PageCell(Shown.LESSON, "import torch"),
    PageCell(Shown.OWN, "def inverted_dropout(x): ...", "inverted_dropout"),
    PageCell(Shown.TEXT, "In my own words"),
    PageCell(Shown.OWN, "class InvertedDropout: ...", "InvertedDropout"),
)


def an_entry(student: str = "alice", **changed: object) -> Entry:
    fields: dict[str, object] = {
        "student": student,
        "lesson": "03_inverted_dropout",
        "status": Status.GRADED,
        "seconds": 1.25,
        "notes": ("The cells were put back.",),
        "verdicts": (PASSED, FAILED, UNTRIED),
        "page": PAGE,
    }
    return Entry(**{**fields, **changed})  # type: ignore[arg-type]


class _Tags(html.parser.HTMLParser):
    """The elements and attributes of a page; every element that is opened must be closed."""

    VOID = frozenset({"meta", "br", "html", "body"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.text += data


def test_each_verdict_stands_below_its_cell() -> None:
    text = _Tags(feedback(an_entry(), "Inverted dropout").partition("<body>")[2]).text
    order = (
        "03_inverted_dropout · Inverted dropout",
        "alice",
        "3 of 8 points",
        "The cells were put back.",
        "def inverted_dropout(x): ...",
        "inverted_dropout: passed",
        "In my own words",
        "class InvertedDropout: ...",
        "InvertedDropout: not right yet",
        "80 % dropped",
        "dropout_backward: not attempted yet",
    )
    places = [text.index(each) for each in order]
    assert places == sorted(places)


@pytest.mark.parametrize("status", list(Status))
def test_every_status_is_a_word_on_the_page(status: Status) -> None:
    text = _Tags(feedback(an_entry(status=status))).text
    assert status.value.replace("_", " ") in text


def hostile() -> Entry:
    finding = Finding("rate", False, EVIL, EVIL, EVIL, EVIL, EVIL, EVIL)
    verdict = Verdict("inverted_dropout", Outcome.FAILED, 0, 3, (finding,), (EVIL,), EVIL)
    page = tuple(PageCell(shown, EVIL, "inverted_dropout") for shown in Shown)
    return an_entry(EVIL, lesson=EVIL, notes=(EVIL,), verdicts=(verdict,), page=page)


@pytest.mark.parametrize("make", [lambda e: feedback(e, EVIL), lambda e: summary([e], {})])
def test_what_a_student_wrote_stays_text(make: object) -> None:
    page = make(hostile())  # type: ignore[operator]
    tags = _Tags(page)
    assert not {"script", "img", "iframe", "object", "link", "form"} & set(tags.tags)
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    assert "\x00" not in page
    assert "\x1b" not in page
    assert "default-src 'none'" in page


@pytest.mark.parametrize("make", [lambda e: feedback(e), lambda e: summary([e], {})])
def test_a_page_needs_no_other_file_and_follows_light_and_dark(make: object) -> None:
    page = make(an_entry())  # type: ignore[operator]
    assert "prefers-color-scheme: dark" in page
    assert "url(" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert "src=" not in page.replace("default-src", "")


def test_a_pages_style_is_there_once_however_many_cards() -> None:
    page = feedback(an_entry())
    assert page.count("section.dropout-course p,") == 1
    assert page.count('<section class="dropout-course') == 3


def test_the_summary_draws_scores_difficulty_and_misconceptions() -> None:
    entries = [an_entry(f"s{n}", verdicts=(PASSED, FAILED if n % 3 else PASSED)) for n in range(9)]
    page = summary(entries, {"03_inverted_dropout": "Inverted dropout"})
    text = _Tags(page).text
    assert "9 students · 9 submissions" in text
    assert "3 of 9 with all of them" in text
    assert "03_inverted_dropout: InvertedDropout was passed least often" in text
    assert "The most common misconception: p read as the probability of keeping" in text
    assert "6 (67 %)" in text
    pictures = page.count("<svg")
    assert pictures == 3
    assert page.count('role="img" aria-label="') == pictures
    for part in page.split("<svg")[1:]:
        ET.fromstring("<svg" + part.partition("</svg>")[0] + "</svg>")


def test_a_summary_of_bad_submissions_only_is_a_page() -> None:
    entry = an_entry(status=Status.REFUSED, verdicts=(), page=())
    assert "1 refused" in _Tags(summary([entry], {})).text


# --- tables -------------------------------------------------------------------------------------


def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_results_json_is_as_its_schema_says(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json(path, [an_entry(), hostile(), an_entry(status=Status.UNREADABLE, verdicts=())])
    document = json.loads(path.read_text(encoding="utf-8"))
    validator().validate(document)
    assert document["schema_version"] == SCHEMA_VERSION
    first = document["submissions"][0]
    assert (first["score"], first["max_score"]) == (3, 8)
    assert [each["attempted"] for each in first["exercises"]] == [True, True, False]
    assert first["exercises"][1]["findings"][0]["misconception"] == "p-read-as-keep"


def test_results_json_of_nothing_is_as_its_schema_says(tmp_path: Path) -> None:
    write_json(tmp_path / "results.json", [])
    validator().validate(json.loads((tmp_path / "results.json").read_text()))


@pytest.mark.parametrize("field", ["student", "status", "score", "exercises"])
def test_the_schema_notices_what_is_missing(tmp_path: Path, field: str) -> None:
    write_json(tmp_path / "results.json", [an_entry()])
    document = json.loads((tmp_path / "results.json").read_text())
    del document["submissions"][0][field]
    with pytest.raises(jsonschema.ValidationError):
        validator().validate(document)


def test_a_message_says_what_was_called_came_back_and_was_expected() -> None:
    assert message(FAILING) == (
        "inverted_dropout(x, 0.2); returned 80 % dropped; expected 20 % dropped; "
        "p is the probability of dropping"
    )


def test_grades_csv_has_a_column_an_exercise(tmp_path: Path) -> None:
    path = tmp_path / "grades.csv"
    exercises = ["inverted_dropout", "InvertedDropout", "dropout_backward", "keep_probability"]
    write_csv(path, [an_entry()], exercises)
    with path.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert [row[name] for name in exercises] == ["3", "0", "0", ""]
    assert (row["score"], row["max_score"], row["status"]) == ("3", "8", "graded")


@pytest.mark.parametrize("name", ["=1+1", "+a", "-a", "@SUM(A1)", "\ta", "\ra"])
def test_a_name_becomes_no_formula(tmp_path: Path, name: str) -> None:
    path = tmp_path / "grades.csv"
    write_csv(path, [an_entry(name)], [])
    with path.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["student"] == f"'{name}"


# --- files --------------------------------------------------------------------------------------


def test_file_names_are_harmless_and_no_two_students_share_one() -> None:
    names = [
        "a/../../b",
        "..",
        "",
        ".",
        "Alice",
        "alice",
        "ALICE",
        "ä",
        "a" * 300,
        "a" * 301,
        "a b",
    ]
    names += ["a-b", EVIL, "con\\aux", "\udcff"]
    slugs = [slug(name) for name in names]
    assert len({each.casefold() for each in slugs}) == len(names)
    for each in slugs:
        assert "/" not in each
        assert each not in ("", ".", "..")
        assert len(each) < 100
    assert file_name(an_entry("../../etc")).count("/") == 1


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "before")

    def broken_off() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken_off()
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]
