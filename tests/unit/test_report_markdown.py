"""Markdown: what a reader of GitHub's dialect makes of a report."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from ci.report import markdown
from ci.report.model import Case, Check, Report
from ci.report.text import one_line
from ci.verdict import Outcome
from tests.unit import report_samples
from tests.unit.report_samples import START, any_report, unhurried

pytestmark = pytest.mark.unit

READER = MarkdownIt("commonmark").enable("table")
OURS = re.compile(
    r"<details><summary>[A-Z][a-z ]+</summary>|</details>|<pre>\n(?P<body>[^<>]*)\n</pre>"
)


def inline(text: str) -> list[Token]:
    """Return every inline token of `text`."""
    return [part for token in READER.parse(text) for part in token.children or []]


def cells(text: str) -> list[str]:
    """Return the plain words of every table cell in `text`."""
    tokens = READER.parse(text)
    inside = [
        tokens[n + 1] for n, token in enumerate(tokens) if token.type in ("td_open", "th_open")
    ]
    return ["".join(part.content for part in cell.children or []) for cell in inside]


def test_verdict_cause_checks_and_what_did_not_run_are_said() -> None:
    """A job's summary lacks what one opens it for."""
    text = markdown.render(report_samples.bad())
    assert text.startswith("## ❌ sglang-ci: FAILED\n\nCause: versions: sglang: expected 0.5.14")
    found = cells(text)
    for cell in ("❌ FAILED", "✅ PASSED", "14 passed, 2 failed, 1 inconclusive, 1 skipped"):
        assert cell in found
    for cell in ("port open", "↳ imports", "300 s", "image", "2.11.0+cpu"):
        assert (cell in found) == (cell != "2.11.0+cpu")
    assert "E   assert 11 == 12" in text


def test_a_good_report_shows_no_failures() -> None:
    """A summary of a good run alarms."""
    text = markdown.render(report_samples.good())
    assert text.startswith("## ✅ sglang-ci: PASSED\n\n| check")
    assert "FAILED" not in text
    assert "Details" not in text


@unhurried
@given(any_report())
def test_only_our_own_markup_is_markup(report: Report) -> None:
    """A server's words become links, images, HTML or further cells of the summary."""
    text = markdown.render(report)
    allowed = {"text", "text_special", "strong_open", "strong_close", "softbreak"}
    assert {token.type for token in inline(text)} <= allowed
    blocks = [token.content.strip() for token in READER.parse(text) if token.type == "html_block"]
    assert all(OURS.fullmatch(block) for block in blocks)


@unhurried
@given(st.text(st.characters(), max_size=200))
def test_a_cell_shows_what_was_said(text: str) -> None:
    """Escaping changes a message, or pipes move it into another column."""
    check = Check(name=text, started=START, seconds=1)
    found = cells(markdown.render(report_samples.report(check)))
    head = ["check", "verdict", "cases", "time", "cause"]
    assert found[:10] == [*head, one_line(text), "💥 ERROR", "none", "1.0 s", "no case ran"]


@unhurried
@given(st.text(max_size=200))
def test_a_block_shows_what_was_said(text: str) -> None:
    """A traceback with empty lines or markup is shown in pieces."""
    case = Case(name="case", outcome=Outcome.FAILED, details=f"first\n{text}\nlast")
    check = Check(name="smoke", started=START, seconds=1, cases=(case,))
    tokens = READER.parse(markdown.render(report_samples.report(check)))
    blocks = [match["body"] for t in tokens if (match := OURS.fullmatch(t.content.strip()))]
    body = html.unescape(next(block for block in blocks if block))
    assert body.startswith("first\n")
    assert body.endswith("\nlast")


def test_a_summary_stays_below_githubs_limit() -> None:
    """GitHub drops a summary above 1 MiB as a whole."""
    cases = [
        Case(name=f"case {n}", outcome=Outcome.FAILED, details="<" * 10_000) for n in range(400)
    ]
    check = Check(name="smoke", started=START, seconds=1, cases=tuple(cases))
    text = markdown.render(report_samples.report(check))
    assert len(text.encode()) < 1024 * 1024
    assert "failures are left out here" in text
    assert "image" in cells(text)
