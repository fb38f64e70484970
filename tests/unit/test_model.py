"""The report's model: no verdict says more than what was seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ci.report.model import Case, Check, NotRun, Report, merge
from ci.verdict import Outcome, Verdict

pytestmark = pytest.mark.unit

AT = datetime(2026, 1, 2, tzinfo=UTC)
OUTCOMES = st.lists(st.sampled_from(Outcome), max_size=4)


def check(name: str, *outcomes: Outcome) -> Check:
    """Return a check with one case for each outcome."""
    cases = tuple(
        Case(name=f"case {at}", outcome=outcome, message=f"said {at}")
        for at, outcome in enumerate(outcomes)
    )
    return Check(name=name, started=AT, seconds=1, cases=cases)


def report(*checks: Check, interrupted: str = "") -> Report:
    """Return a report of a run of five seconds."""
    end = AT + timedelta(seconds=5)
    return Report(started=AT, finished=end, checks=checks, interrupted=interrupted)


def test_a_verdict_in_a_file_is_not_believed() -> None:
    """Who edits a report's verdict makes a bad server pass."""
    bad = report(check("smoke", Outcome.FAILED)).model_dump(mode="json")
    forged = bad | {"verdict": "PASSED", "checks": [bad["checks"][0] | {"verdict": "PASSED"}]}
    assert Report.model_validate(forged).verdict is Verdict.FAILED
    assert Report.model_validate(forged).checks[0].verdict is Verdict.FAILED


def test_a_check_without_cases_is_an_error() -> None:
    """A check that saw nothing passes."""
    empty, skipped = check("smoke"), check("smoke", Outcome.SKIPPED)
    assert (empty.verdict, skipped.verdict) == (Verdict.ERROR, Verdict.ERROR)
    assert empty.cause == "no case ran"
    assert report(check("a", Outcome.PASSED), empty).verdict is Verdict.ERROR
    assert report().cause == "no check ran"


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [(Outcome.PASSED, Verdict.ERROR), (Outcome.FAILED, Verdict.FAILED)],
)
def test_an_interrupted_run_never_passes(seen: Outcome, verdict: Verdict) -> None:
    """Ctrl-C after the first good check makes a report that reads as passed."""
    found = report(check("readiness", seen), interrupted="SIGINT")
    assert found.verdict is verdict
    assert found.cause == "interrupted by SIGINT"


def test_the_cause_is_the_first_decisive_case() -> None:
    """A table shows that something failed, and not what."""
    smoke = check("smoke", Outcome.PASSED, Outcome.ERROR, Outcome.FAILED, Outcome.FAILED)
    assert smoke.cause == "case 2: said 2 (and 1 more)"
    passed = check("readiness", Outcome.PASSED)
    assert passed.cause == ""
    assert report(passed, smoke).cause == "smoke: case 2: said 2 (and 1 more)"


@given(st.lists(OUTCOMES, min_size=1, max_size=3))
def test_a_report_survives_its_file(groups: list[list[Outcome]]) -> None:
    """A report read back differs from the one that was written."""
    made = report(*(check(str(at), *group) for at, group in enumerate(groups)))
    again = Report.model_validate_json(made.model_dump_json())
    assert (again, again.verdict) == (made, made.verdict)


def test_merge_keeps_everything_in_the_order_of_time() -> None:
    """Stages that ran in containers of their own get lost when they are laid together."""
    first = report(check("readiness", Outcome.PASSED))
    late = {"started": AT + timedelta(1), "finished": AT + timedelta(2)}
    second = report(check("smoke", Outcome.FAILED), interrupted="SIGTERM").model_copy(update=late)
    second = second.model_copy(
        update={"not_run": (NotRun(stage="image", needs="x"),), "facts": {"a": "b"}}
    )
    merged = merge([second, first])
    assert [one.name for one in merged.checks] == ["readiness", "smoke"]
    assert (merged.started, merged.finished) == (AT, AT + timedelta(2))
    assert (merged.interrupted, merged.facts) == ("SIGTERM", {"a": "b"})
    assert merged.not_run == second.not_run


def test_a_merged_report_names_what_was_published_last() -> None:
    """A release goes on with a digest that an earlier run published, or with none."""
    first, second = (
        report(check("publish", Outcome.PASSED)).model_copy(
            update={"started": AT + timedelta(day), "published": published}
        )
        for day, published in ((0, "r/x@sha256:1"), (1, "r/x@sha256:2"))
    )
    unpublished = report(check("smoke", Outcome.PASSED))
    assert merge([second, first, unpublished]).published == "r/x@sha256:2"
    assert merge([unpublished]).published == ""


@pytest.mark.parametrize(
    "wrong",
    [
        {"outcome": "GOOD"},
        {"seconds": -1},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    """A report holds times or outcomes that no reader can handle."""
    with pytest.raises(ValidationError):
        Case.model_validate({"name": "x", "outcome": "PASSED"} | wrong)


def test_reports_are_frozen() -> None:
    """A renderer changes what a check found."""
    case = Case(name="x", outcome=Outcome.FAILED)
    with pytest.raises(ValidationError, match="frozen"):
        case.outcome = Outcome.PASSED  # type: ignore[misc]


def test_times_need_a_zone() -> None:
    """Reports of two machines can't be laid in order."""
    with pytest.raises(ValidationError, match="timezone"):
        Check(name="x", started=datetime(2026, 1, 1), seconds=0)  # noqa: DTZ001
