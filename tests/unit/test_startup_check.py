"""Timed starts as a check: budgets, an earlier report, a baseline beside, and none of them."""

from __future__ import annotations

import typing
from functools import partial

import pytest
from pydantic import ValidationError

from ci.boot import log
from ci.errors import UsageError
from ci.report.model import Case, Check, Phase, Report, now
from ci.settings import GateSettings
from ci.settings.budgets import BudgetSettings
from ci.startup.phases import BUDGETED, TOTAL, earlier, seconds_of, timeline
from ci.startup.stage import Timed, result_of
from ci.verdict import Outcome, Verdict
from tests.unit.judged import check_of
from tests.unit.startup_samples import timed
from tests.unit.waiting import PHASES

pytestmark = pytest.mark.unit

LEFT = "not compared: within 0.5 s, or not in every start"


def held(starts: Timed, **budgets: float) -> Check:
    """Return the check of some starts."""
    settings = BudgetSettings.model_validate(budgets)
    check = check_of("startup", partial(result_of, starts, settings, GateSettings()))
    assert len({case.name for case in check.cases}) == len(check.cases)
    assert all(len(case.message.splitlines()) == 1 for case in check.cases)
    return check


def alone(count: int = 3) -> Timed:
    """Return starts without a baseline."""
    return Timed(timed(count).candidate)


def report(check: str, *phases: Phase) -> Report:
    """Return a report of one check with these phases."""
    case = Case(name="x", outcome=Outcome.PASSED)
    one = Check(name=check, started=now(), seconds=1, cases=(case,), phases=phases)
    return Report(started=now(), finished=now(), checks=(one,))


def outcomes(check: Check) -> dict[str, Outcome]:
    """Return the outcome of each case."""
    return {case.name: case.outcome for case in check.cases}


def test_without_budget_and_baseline_the_way_to_both_is_told() -> None:
    """A user reads PASSED beside nothing, and not how to name something."""
    check = held(alone())
    assert outcomes(check) == {
        "starts": Outcome.PASSED,
        "budgets": Outcome.SKIPPED,
        "baseline": Outcome.SKIPPED,
    }
    assert "[budgets]" in check.cases[1].message
    assert "--baseline FILE.toml" in check.cases[2].message
    assert held(Timed(())).verdict is Verdict.INCONCLUSIVE


def test_a_phase_over_its_budget_is_named() -> None:
    """A start that takes too long passes, or the phase that took it isn't named."""
    check = held(alone(), scheduler=5, port_open=60, start_up=60)
    assert outcomes(check)["budget of port open"] is Outcome.PASSED
    assert outcomes(check)["budget of start-up"] is Outcome.PASSED
    assert check.cause.startswith("budget of scheduler: scheduler took 1")
    assert check.cause.endswith("s (median of 3) of 5 s (budgets.scheduler)")
    assert {phase.name: phase.budget for phase in check.phases}["scheduler"] == 5


def test_a_budget_of_a_phase_that_was_not_seen_is_inconclusive() -> None:
    """A budget passes because the log doesn't show its phase."""
    check = held(alone(), graph_capture=5)
    assert check.verdict is Verdict.INCONCLUSIVE
    assert "graph capture" in check.cause


@pytest.mark.parametrize("name", ["startup", "readiness"])
def test_an_earlier_report_fails_nothing(name: str) -> None:
    """A number of another machine blocks a release, or a regression isn't told at all."""
    phases = (
        Phase(name="port open", start=0, seconds=12.0),
        Phase(name="weights", start=0, seconds=0.04, within="port open"),
        Phase(name="gone\x1b[31m", start=0, seconds=1),
    )
    before = earlier(report(name, *phases), "report")
    check = held(Timed(alone().candidate, before=before))
    found = outcomes(check)
    assert found["port open"] is Outcome.INCONCLUSIVE
    assert found["start-up"] is Outcome.INCONCLUSIVE
    assert found["weights"] is Outcome.PASSED
    assert check.verdict is Verdict.INCONCLUSIVE
    assert check.cause.startswith("port open: 12.00 s in the earlier report, 2")
    assert "--baseline FILE.toml" in check.cause


def test_an_earlier_report_without_phases_is_a_usage_error() -> None:
    """A report of something else is taken for a start of no time."""
    for other in (report("smoke", Phase(name="x", start=0, seconds=1)), report("readiness")):
        with pytest.raises(UsageError, match="old: has no check 'startup' or 'readiness'"):
            earlier(other, "old")
    nothing = held(Timed(alone().candidate, before={"other": 1.0}))
    assert nothing.verdict is Verdict.INCONCLUSIVE


def test_a_baseline_beside_is_decided_by_the_gate() -> None:
    """A slower phase passes, or an equal server fails."""
    assert held(timed(12)).verdict is Verdict.PASSED
    slow = held(timed(12, {"scheduler": 6.0}))
    assert slow.verdict is Verdict.FAILED
    assert slow.cause.startswith("scheduler: slower: ")
    assert slow.facts[LEFT] == "weights, process started, first token"
    few = held(timed(3, {"scheduler": 6.0}))
    assert few.verdict is Verdict.INCONCLUSIVE
    assert "at least 9 pairs are needed" in few.cause


def test_a_phase_of_one_side_only_is_a_fact() -> None:
    """A new phase, such as a graph capture, isn't told."""
    both = timed(12)
    extra = Phase(name="graph capture", start=0, seconds=9, within="port open")
    new = tuple((*start, extra) for start in both.candidate)
    facts = held(Timed(new, both.baseline)).facts
    assert "graph capture" in facts[LEFT]


def test_the_timeline_is_the_median_start() -> None:
    """A report shows the phases of one odd start."""
    starts = [(Phase(name="a", start=n, seconds=n),) for n in (1, 2, 30)]
    assert timeline(starts, BudgetSettings()) == (Phase(name="a", start=2, seconds=2),)


def test_figures_are_the_medians_of_all_phases() -> None:
    """Reports of two builds can't be compared by number."""
    figures = held(Timed(tuple((Phase(name="a", start=0, seconds=n),) for n in (1, 2, 9)))).figures
    assert [(one.name, one.value) for one in figures] == [("a", 2.0), (TOTAL, 2.0)]
    assert {(one.unit, one.better) for one in figures} == {("s", "lower")}


def test_every_phase_can_have_a_budget() -> None:
    """A phase that readiness or the log shows has no setting."""
    shown = [TOTAL, *PHASES, *(mark.name for mark in log._MARKS)]
    assert sorted(BUDGETED) == sorted(shown)
    assert {*BUDGETED.values()} <= {*BudgetSettings.model_fields}
    assert seconds_of(()) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image_bytes", -1),
        ("image_bytes", True),
        ("image_growth", -0.1),
        ("image_growth", "nan"),
        ("size_floor", "x"),
        ("port_open", 0),
        ("startup_floor", 0),
        ("startup_growth", 0),
        ("ports_open", 1),
    ],
)
def test_settings_that_mean_nothing_are_refused(key: str, value: typing.Any) -> None:
    """A budget that can't be kept, or can't be broken, is taken."""
    with pytest.raises(ValidationError):
        BudgetSettings.model_validate({key: value})
