"""Progress on a terminal: phases live, failures and the table to stay."""

import re
from pathlib import Path

import pytest
from hypothesis import given

from ci.report.model import Case, Report
from ci.report.terminal import RichProgress
from ci.verdict import Outcome
from tests.unit import report_samples
from tests.unit.report_players import TERMINAL, Screen, Ticks, play
from tests.unit.report_samples import any_report, unhurried

pytestmark = pytest.mark.unit


def test_a_terminal_keeps_a_line_a_check_and_the_table() -> None:
    """On a terminal the failures, the table or the stages not run are lost."""
    screen = Screen()
    environ = {**TERMINAL, "COLUMNS": "100"}
    play(RichProgress(screen, environ), report_samples.bad(), Path("/srv/report"))
    shown = re.sub(r"\x1b\[[0-?]*[A-Za-z]", "", screen.getvalue())
    for line in (
        "✓ PASSED       readiness  25.6 s  4 passed",
        "  ✗ stream equals generate: token 11 is missing from the stream",
        "  smoke       FAILED    6.2 s    14 passed, 2 failed, 1 inconclusive, 1 skipped",
        "FAILED: versions: sglang: expected 0.5.14, the server says 0.5.23",
        "not run here: publish: needs a registry: dagger call ci --publish-to REF",
        "report: /srv/report/index.html",
        "stopping the server",
    ):
        assert line in shown


def test_the_live_display_shows_phases_against_their_budgets() -> None:
    """Whoever watches a start-up can't see which phase runs, for how long, of how much."""
    screen = Screen()
    earlier = {("readiness", ""): 16.2, ("readiness", "[bold]port open"): 12.0}
    progress = RichProgress(screen, {**TERMINAL, "COLUMNS": "100"}, Ticks(), earlier)
    progress.check_started("readiness", 370)
    progress.phase_started("process started", 10)
    progress.phase_ended("process started", 0.3)
    progress.phase_started("[bold]port open", 300)
    progress.case(Case(name="process started", outcome=Outcome.PASSED))
    progress._console.print(progress)
    shown = re.sub(r"\x1b\[[0-?]*[A-Za-z]", "", screen.getvalue())
    assert re.search(r"readiness +3\.00? s .* at most 370 s, 16.2 s last time", shown)
    assert re.search(r"✓ +process started +0\.30 s .* at most 10 s *\n", shown)
    assert re.search(r"\[bold\]port open +2\.00? s .* at most 300 s, 12.0 s last time", shown)
    assert "1 passed" in shown


@unhurried
@given(any_report())
@pytest.mark.long
def test_a_terminal_survives_any_words(report: Report) -> None:
    """A server's words are taken for rich's markup, or reach the terminal as escapes."""
    screen = Screen()
    play(RichProgress(screen, TERMINAL), report)
    ours = re.sub(r"\x1b\[[0-9;?]*[mKAhlG]", "", screen.getvalue())
    assert not [sign for sign in ours if sign not in "\r\n" and ord(sign) < 32]
