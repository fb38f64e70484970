"""What a router counts, look by look, becomes evidence."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ci.deploy.sequential import Count, Finding, LossRule
from ci.deploy.watch import LossWatch
from ci.deploy.world import RouteSeen, Traffic
from ci.verdict import Outcome, Verdict

pytestmark = pytest.mark.unit

HANG = 180.0


def routes(
    green: tuple[int, ...], blue: tuple[int, ...] = (0, 0, 0), still_open: int = 0
) -> Mapping[str, RouteSeen]:
    """Return what a router counted: requests, failed and cut of each slot."""
    return {
        "green": RouteSeen(open=still_open, traffic=Traffic(*green)),
        "blue": RouteSeen(traffic=Traffic(*blue)),
    }


def watch(stable: str = "blue") -> LossWatch:
    """Return the watch of a step before which both slots had lost some."""
    return LossWatch.begun(routes((100, 9, 9), (100, 9, 9)), "green", stable)


def test_only_what_a_step_sees_counts() -> None:
    """Losses before a step are held against it, or requests are counted twice."""
    seen = (
        watch()
        .looked(routes((110, 9, 9), (190, 10, 9)))
        .looked(routes((120, 10, 10), (280, 10, 9)))
    )
    assert seen.seen == {"green": Count(20, 2), "blue": Count(180, 1)}
    assert seen.looked(routes((120, 10, 10), (280, 10, 9))).evidence == seen.evidence


def test_good_and_bad_candidates_are_told_apart() -> None:
    """The watch says nothing, or the same of both."""
    good = watch().looked(routes((300, 9, 9), (300, 9, 9)))
    assert (good.finding, good.verdict) == (Finding.GOOD, Verdict.PASSED)
    assert good.case().message.endswith(": under 3.00%")
    bad = watch().looked(routes((120, 19, 14), (120, 9, 9)))
    assert (bad.finding, bad.verdict) == (Finding.BAD, Verdict.FAILED)
    case = bad.case()
    assert case.outcome is Outcome.FAILED
    assert case.message.startswith("green lost 15 of 20 (")
    assert case.message.endswith("): more than 0.50% and more than blue")


def test_what_hits_both_is_not_the_candidates_fault() -> None:
    """A network's outage rolls a good release back."""
    seen = watch().looked(routes((140, 29, 29), (140, 29, 29)))
    assert (seen.finding, seen.verdict) == (Finding.CONTINUE, Verdict.INCONCLUSIVE)
    assert "but not shown to be more than blue" in seen.case().message


def test_without_traffic_on_the_stable_slot_the_candidate_is_judged_alone() -> None:
    """The last step can't be aborted, as there is nobody to compare with."""
    seen = watch("").looked(routes((110, 14, 9)))
    assert seen.verdict is Verdict.FAILED
    assert seen.case().message.endswith(": more than 0.50%")


def test_too_little_traffic_says_what_is_missing() -> None:
    """A canary without visitors passes, or fails without a word on why."""
    case = watch().looked(routes((120, 9, 9), (120, 9, 9))).case()
    assert case.outcome is Outcome.INCONCLUSIVE
    assert "118 in a row without a loss would show it" in case.message
    assert watch().case().outcome is Outcome.INCONCLUSIVE


def test_open_requests_are_no_good_ones() -> None:
    """A hung server passes, since nothing that it holds has failed yet."""
    hung = watch().looked(routes((400, 9, 9), (400, 9, 9), still_open=300))
    assert hung.seen["green"] == Count(0, 0)
    assert hung.verdict is Verdict.INCONCLUSIVE
    ended = hung.looked(routes((400, 209, 109), (400, 9, 9)))
    assert ended.seen["green"] == Count(300, 300)
    assert ended.verdict is Verdict.FAILED


def test_losses_that_are_counted_before_their_requests_are_not_lost() -> None:
    """A router that counts in two steps hides losses, or counts requests twice."""
    early = watch().looked(routes((100, 12, 9)))
    assert early.seen["green"] == Count(3, 3)
    assert early.looked(routes((110, 12, 9))).seen["green"] == Count(10, 3)


def test_a_loss_that_is_taken_back_is_no_restart() -> None:
    """All that was lost before the step is held against a good candidate, or praises a bad one."""
    seen = watch()
    for at, lost in enumerate((9, 10, 8, 9, 10, 9), start=1):
        seen = seen.looked(routes((100 + 10 * at, lost, 9)))
    assert seen.seen["green"] == Count(60, 1)


@pytest.mark.parametrize("after", [(5, 1, 0), (90, 1, 0)])
def test_a_router_that_starts_anew_counts_from_nothing(after: tuple[int, ...]) -> None:
    """A restart of the router reads as requests that never were, or its losses are lost."""
    seen = watch().looked(routes(after)).looked(routes((after[0] + 1, 2, 0)))
    assert seen.seen["green"] == Count(after[0] + 1, 2)


def test_the_rule_is_the_callers() -> None:
    """Rates that a user sets change nothing."""
    strict = LossRule(allowed=0.001, bad=0.01)
    begun = LossWatch.begun(routes((0, 0, 0)), "green", rule=strict)
    assert begun.looked(routes((200, 0, 0))).verdict is Verdict.INCONCLUSIVE
    assert begun.looked(routes((strict.least, 0, 0))).verdict is Verdict.PASSED
