"""The words that every rendering shares."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.report.text import clean, counts, duration, limit, one_line, shorten, unexplained
from tests.unit import report_samples
from tests.unit.report_samples import unhurried

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;http://x\x07link\x1b]8;;\x07", "link"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("nul\x00", "nul\N{REPLACEMENT CHARACTER}"),
        ("half \ud800", "half \N{REPLACEMENT CHARACTER}"),
        ("tab\tand café 漢字 🎉", "tab\tand café 漢字 🎉"),
    ],
)
def test_clean_keeps_what_can_be_shown(raw: str, shown: str) -> None:
    """Escapes of a server's log reach a page, or plain words get lost."""
    assert clean(raw) == shown


@unhurried
@given(st.text(st.characters()))
def test_one_line_is_one_printable_line(text: str) -> None:
    """A server's words can break out of the line that they are quoted in."""
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert not any(ord(sign) < 32 or 0xD800 <= ord(sign) < 0xE000 for sign in line)


@unhurried
@given(st.text(), st.integers(2, 50))
def test_shorten_keeps_both_ends(text: str, most: int) -> None:
    """A long log loses its last line, which often says why."""
    short = shorten(text, most)
    assert short == text if len(text) <= most else "left out" in short
    kept = most // 2
    assert short.startswith(text[:kept])
    assert short.endswith(text[-kept:])


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0.00 s"), (0.254, "0.25 s"), (24.31, "24.3 s"), (185.2, "3 min 05 s")],
)
def test_durations_read_well(seconds: float, shown: str) -> None:
    """Times in reports become unreadable."""
    assert duration(seconds) == shown
    assert limit(300.0) == "300 s"


def test_counts_and_what_they_leave_open() -> None:
    """A check that ran no case looks like one that did."""
    failing, nothing = report_samples.smoke(failing=True), report_samples.empty().checks[1]
    assert counts(failing) == "14 passed, 2 failed, 1 inconclusive, 1 skipped"
    assert not unexplained(failing)
    assert counts(nothing) == ""
    assert unexplained(nothing)
