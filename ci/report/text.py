"""Words that every rendering shares: cleaned text, durations, counts and headlines.

Messages and logs come from servers and processes that may write anything. What is said
of them here holds for every page: no terminal escapes, no characters that XML forbids.
"""

from __future__ import annotations

import re
from collections import Counter

from ci.report.model import Check, Figure, Report
from ci.secrets.veil import beginning, ending
from ci.verdict import Outcome, Verdict

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor movements
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles and links
    r"|\x1b[@-Z\\-_]"
)
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

BAD = frozenset({Outcome.FAILED, Outcome.ERROR, Outcome.INCONCLUSIVE})
"""Outcomes that keep a check from passing."""

MARKS = {
    Outcome.PASSED.value: "✓",
    Outcome.FAILED.value: "✗",
    Outcome.INCONCLUSIVE.value: "?",
    Outcome.ERROR.value: "!",
    Outcome.SKIPPED.value: "\N{EN DASH}",
}
"""One sign for each outcome and verdict, so that colour is never the only difference."""

_GROUPED = 10_000
"""Numbers from which on thousands are told apart and fractions left out."""
_MINUTES_FROM = 120.0
"""Seconds from which on durations are given in minutes."""


def clean(text: str) -> str:
    """Return `text` without terminal escapes; what can't be shown becomes U+FFFD."""
    lines = _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", lines)


def one_line(text: str) -> str:
    """Return `text` cleaned, with every run of white space as one space."""
    return " ".join(clean(text).split())


def shorten(text: str, limit: int) -> str:
    """Return `text` with its middle left out where it has more than `limit` characters.

    The end is kept as well as the start: the line that says why is often the last one.
    """
    if len(text) <= limit:
        return text
    kept = limit // 2
    left_out = f"… {len(text) - 2 * kept} characters left out …"
    return f"{beginning(text, kept)}\n{left_out}\n{ending(text, kept)}"


def expected(budget: float | None, earlier: float | None) -> str:
    """Return what a stretch of time may take, and took before; empty where nothing is known."""
    most = "" if budget is None else f"at most {limit(budget)}"
    last = "" if earlier is None else f"{duration(earlier)} last time"
    return ", ".join(filter(None, (most, last)))


def duration(seconds: float) -> str:
    """Return seconds for people: '0.25 s', '24.3 s', '3 min 05 s'."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < _MINUTES_FROM:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def limit(seconds: float) -> str:
    """Return a budget for people, without needless digits: '0.5 s', '300 s'."""
    return f"{seconds:g} s"


def counts(check: Check) -> str:
    """Return how many cases had which outcome, for instance '14 passed, 2 skipped'."""
    found = Counter(case.outcome for case in check.cases)
    return ", ".join(f"{found[outcome]} {outcome.lower()}" for outcome in Outcome if found[outcome])


def unexplained(check: Check) -> bool:
    """Tell whether no case of `check` shows why it isn't PASSED: none ran."""
    return check.verdict is not Verdict.PASSED and not any(
        case.outcome in BAD for case in check.cases
    )


def headline(report: Report) -> str:
    """Return the verdict and, where it isn't PASSED, its cause in one line."""
    cause = one_line(report.cause)
    return f"{report.verdict}: {cause}" if cause else str(report.verdict)


SUBJECT = ("SGLang", "model", "device", "image")
"""Facts of a report that say what was proven, in the order in which they are told."""


def subject(report: Report) -> str:
    """Return in one line what the report is about; empty where it doesn't know."""
    known = [(name, report.facts[name]) for name in SUBJECT if report.facts.get(name)]
    told = (f"SGLang {text}" if name == "SGLang" else text for name, text in known)
    return ", ".join(map(one_line, told))


def measured(figure: Figure) -> str:
    """Return a figure's value with its unit, and its interval where one is known."""
    shown = _quantity(figure.value, figure.unit)
    if figure.low is None and figure.high is None:
        return shown
    low, high = (
        "?" if end is None else _quantity(end, figure.unit) for end in (figure.low, figure.high)
    )
    return f"{shown} [{low}, {high}]"


def _quantity(value: float, unit: str) -> str:
    """Return a number with its unit: seconds below one in milliseconds, bytes in MB."""
    if unit == "s" and abs(value) < 1:
        value, unit = 1e3 * value, "ms"
    elif unit == "bytes":
        value, unit = value / 1e6, "MB"
    number = f"{value:,.4g}" if abs(value) < _GROUPED else f"{value:,.0f}"
    return f"{number} {unit}".rstrip()
