"""What a learner reads: every line of a verdict in its place, escaped, and never colour alone."""

from __future__ import annotations

import html.parser
import re

import pytest

from dropout_course import display
from dropout_course.checks.misconceptions import Misconception
from dropout_course.checks.verdict import Finding, Outcome, Verdict
from dropout_course.display import Message, Tone
from dropout_course.progress import LessonStanding, Overview, Standing

RATE = Finding("rate", True, "Elements are dropped with probability p.")
DTYPE = Finding("dtype", True, "The result has the dtype of x.")
SCALE = Finding(
    "scale",
    False,
    "Survivors are scaled by 1 / (1 - p).",
    called="inverted_dropout(torch.ones(400000), p=0.3)",
    returned="survivors of 0.3",
    expected="survivors of 1.4286, which is 1 / (1 - 0.3)",
    why="the mean of a layer changes between training and inference",
    misconception="scaled-by-p",
)
GRADIENT = Finding("gradient", False, "Gradients use the same mask.", called="y.sum().backward()")


@pytest.fixture(autouse=True)
def two_misconceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        name: Misconception(
            id=name,
            name=f"the name of {name}",
            looks_like="looks like",
            why_believed="because",
            experiment=f"the experiment of {name}",
            lesson="03_inverted_dropout",
        )
        for name in ("scaled-by-p", "p-read-as-keep")
    }
    monkeypatch.setattr(display, "MISCONCEPTIONS", known)


def failed(*misconceptions: str, findings: tuple[Finding, ...] = (RATE, SCALE, DTYPE)) -> Verdict:
    return Verdict("inverted_dropout", Outcome.FAILED, 0.0, 3.0, findings, misconceptions)


PASSED = Verdict("inverted_dropout", Outcome.PASSED, 3.0, 3.0, (RATE, DTYPE))
WAITING = Verdict("inverted_dropout", Outcome.NOT_ATTEMPTED, 0.0, 3.0, ())


class Checker(html.parser.HTMLParser):
    """Collects what is visible, and fails where tags do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.seen.append(data)


def visible(source: str) -> str:
    checker = Checker()
    checker.feed(source)
    assert checker.open == []
    return " ".join(" ".join(checker.seen).split())


def test_a_passed_verdict_says_what_was_proven_in_one_line_each() -> None:
    assert display.as_text(PASSED).splitlines() == [
        "✓ inverted_dropout: passed · 3 of 3 points",
        "  ✓ Elements are dropped with probability p.",
        "  ✓ The result has the dtype of x.",
    ]


def test_a_failed_verdict_says_called_returned_expected_why_in_that_order() -> None:
    assert display.as_text(failed("scaled-by-p")).splitlines() == [
        "✗ inverted_dropout: not right yet · 0 of 3 points",
        "  called    inverted_dropout(torch.ones(400000), p=0.3)",
        "  returned  survivors of 0.3",
        "  expected  survivors of 1.4286, which is 1 / (1 - 0.3)",
        "  why       the mean of a layer changes between training and inference",
        "Misconception: the name of scaled-by-p (scaled-by-p).",
        "Look at: the experiment of scaled-by-p (lesson 03_inverted_dropout).",
        "Of the rest, 2 criteria passed.",
        'Next: change the cell and check again, or ask hint("inverted_dropout").',
    ]


def test_only_the_first_failing_finding_is_shown_and_the_others_are_counted() -> None:
    text = display.as_text(failed(findings=(SCALE, GRADIENT, RATE)))
    assert "y.sum().backward()" not in text
    assert "Of the rest, 1 other criterion failed and 1 criterion passed." in text


def test_two_explanations_that_fit_are_both_named() -> None:
    text = display.as_text(failed("scaled-by-p", "p-read-as-keep"))
    assert "2 explanations fit what was measured: the name of scaled-by-p" in text
    assert "or the name of p-read-as-keep" in text
    assert text.count("Look at:") == 2


def test_an_unknown_misconception_does_not_break_the_report() -> None:
    finding = Finding("x", False, "", "f(x)", misconception="invented")
    text = display.as_text(failed("invented", findings=(finding,)))
    assert "Misconception" not in text
    assert "f(x)" in text


def test_not_attempted_has_a_sentence_of_its_own() -> None:
    text = display.as_text(WAITING)
    assert text.startswith("○ inverted_dropout: not attempted yet · 0 of 3 points\n")
    assert "not right" not in text
    assert "YOUR CODE HERE" in text


def test_a_note_and_the_notices_come_last() -> None:
    verdict = Verdict("a", Outcome.PASSED, 1.0, 1.0, (RATE,), note="It printed: hello")
    lines = display.as_text(verdict, ("restart the kernel",)).splitlines()
    assert lines[-2:] == ["It printed: hello", "restart the kernel"]
    assert visible(display.as_html(verdict, ("restart the kernel",))).endswith("restart the kernel")


def test_fractions_of_points_are_shown() -> None:
    verdict = Verdict("a", Outcome.FAILED, 1.5, 2.0, (SCALE,))
    assert "1.5 of 2 points" in display.as_text(verdict)


@pytest.mark.parametrize("verdict", [PASSED, WAITING, failed("scaled-by-p")], ids=str)
def test_html_says_what_the_text_says(verdict: Verdict) -> None:
    shown = visible(display.as_html(verdict))
    for line in display.as_text(verdict).splitlines():
        for part in re.split(r"\s{2,}", line.strip("✓✗○ ")):
            assert part in shown


@pytest.mark.parametrize("verdict", [PASSED, WAITING, failed("scaled-by-p")], ids=str)
def test_html_is_a_labelled_status_with_words_and_symbols(verdict: Verdict) -> None:
    source = display.as_html(verdict)
    assert 'role="status"' in source
    assert f'aria-label="inverted_dropout: {display._headline(verdict).split(": ")[1]}"' in source
    assert 'aria-hidden="true"' in source


def test_what_a_learner_wrote_is_escaped() -> None:
    nasty = '<script>alert("x")</script> & <b>'
    finding = Finding("x", False, "", nasty, nasty, nasty, nasty)
    verdict = Verdict("a", Outcome.FAILED, 0.0, 1.0, (finding,), note=nasty)
    source = display.as_html(verdict, (nasty,))
    assert "<script>" not in source
    assert "<b>" not in source
    assert "&lt;script&gt;" in source
    assert "<script>" not in display.message_html(Message(nasty, (nasty,), nasty))


def test_a_value_of_any_length_stays_one_line() -> None:
    finding = Finding("x", False, "", "f(x)", "line one\nline two\n" + "9" * 10_000, "1", "so")
    lines = display.as_text(Verdict("a", Outcome.FAILED, 0.0, 1.0, (finding,))).splitlines()
    assert lines[2].startswith("  returned  line one line two 999")
    assert len(lines[2]) < 420


def test_backticks_become_code_in_html_only() -> None:
    message = Message("title", ("use `x * mask`",))
    assert "<code>x * mask</code>" in display.message_html(message)
    assert "use `x * mask`" in display.message_text(message)


def test_the_style_follows_jupyterlab_and_falls_back_to_the_systems_preference() -> None:
    source = display.as_html(PASSED)
    assert "var(--jp-success-color1, #" in source
    assert "prefers-color-scheme: dark" in source
    assert len(source) < 4_000


def test_a_message_shows_its_code_as_it_is() -> None:
    code = "def f(x):\n    return x < 1"
    message = Message("a solution", (), code, Tone.TELLING)
    assert display.message_text(message).endswith(code)
    assert "<pre>def f(x):\n    return x &lt; 1</pre>" in display.message_html(message)


OVERVIEW = Overview(
    (
        LessonStanding(
            "00_start",
            "Start <here>",
            (Standing("keep_probability", Outcome.PASSED, 1.0, 1, 2, 1, 0, 130.0),),
        ),
        LessonStanding("03_inverted_dropout", "Inverted", (Standing("inverted_dropout"),)),
    ),
    "Next: 03_inverted_dropout, exercise 1 of 1, `inverted_dropout`: define it",
    ("the record was damaged",),
)


def test_the_overview_is_a_table_with_totals_and_the_next_step() -> None:
    lines = display.overview_text(OVERVIEW).splitlines()
    assert lines[0] == "Progress: 1 of 2 exercises passed · 1 of 1 points · 2 min"
    assert lines[1].split() == ["exercise", "outcome", "points", "attempts", "hints", "time"]
    assert lines[3].split() == ["keep_probability", "✓", "passed", "1/1", "2", "1", "2", "min"]
    assert lines[-2].startswith("Next: 03_inverted_dropout")
    assert lines[-1] == "the record was damaged"


def test_the_overview_in_html_has_headed_columns_and_escapes_titles() -> None:
    source = display.overview_html(OVERVIEW)
    shown = visible(source)
    assert source.count('scope="col"') == 6
    assert "Start &lt;here&gt;" in source
    for text in ("keep_probability", "✓ passed", "1/1", "2 min", "the record was damaged"):
        assert text in shown
