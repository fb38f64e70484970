"""Drain: what was lost is a failure, and what was not seen is no proof."""

from __future__ import annotations

from typing import Any

import pytest

from ci.health.drain import Drain, facts, judge
from ci.health.experiments import Exit
from ci.health.streams import End, Stream
from ci.settings.health import DrainSettings
from ci.verdict import Outcome

pytestmark = pytest.mark.unit

ASKED = 10.0
WHOLE = "every accepted stream has its final event"
REFUSED = "new requests are refused"


def opened(end: End | None, at: float = 12.0, said: str = "") -> Stream:
    """Return a stream that was accepted before SIGTERM."""
    return Stream(begun=5, accepted=6, events=9, end=end, ended=at if end else 0, said=said)


def late(end: End | None, at: float = 11.0) -> Stream:
    """Return a request that was sent after SIGTERM."""
    return Stream(begun=at, accepted=None, end=end, ended=at + 0.1)


def drained(**more: Any) -> Drain:
    """Return a good drain, but for what is named."""
    good: dict[str, Any] = {
        "streams": [opened(End.FINISHED), opened(End.ABORTED)],
        "late": [late(End.REFUSED)],
        "exit": Exit(3.0, 0, ()),
        "promised": 20.0,
    }
    return Drain("streams", begun=4, asked=ASKED, ended=14, **(good | more))


@pytest.mark.parametrize(
    ("seen", "case", "outcome"),
    [
        (drained(), WHOLE, Outcome.PASSED),
        (drained(streams=[opened(End.TRUNCATED)]), WHOLE, Outcome.FAILED),
        (drained(streams=[opened(None)]), WHOLE, Outcome.FAILED),
        (drained(streams=[]), WHOLE, Outcome.INCONCLUSIVE),
        (drained(streams=[opened(End.FINISHED, 9.0)]), WHOLE, Outcome.INCONCLUSIVE),
        (drained(streams=[late(End.REFUSED, 5.0)]), WHOLE, Outcome.INCONCLUSIVE),
        (drained(), REFUSED, Outcome.PASSED),
        (drained(late=[late(End.FINISHED)]), REFUSED, Outcome.FAILED),
        (drained(late=[late(End.RESET)]), REFUSED, Outcome.FAILED),
        (drained(late=[late(End.FINISHED, 10.1), late(End.REFUSED)]), REFUSED, Outcome.PASSED),
        (drained(late=[]), REFUSED, Outcome.INCONCLUSIVE),
        (drained(late=[late(None)]), REFUSED, Outcome.INCONCLUSIVE),
        (drained(), "exits in time", Outcome.PASSED),
        (drained(exit=None), "exits in time", Outcome.FAILED),
        (drained(exit=Exit(3.0, -9, ())), "exit code 0", Outcome.FAILED),
        (drained(exit=Exit(3.0, None, ())), "exit code 0", Outcome.SKIPPED),
        (drained(exit=Exit(3.0, 0, ("sglang::detokenizer",))), "leaves no", Outcome.FAILED),
    ],
    ids=lambda value: None if isinstance(value, Drain) else str(value),
)
def test_verdict_follows_what_was_seen(seen: Drain, case: str, outcome: Outcome) -> None:
    """A lost stream passes, or a drain that lost nothing fails."""
    found = [one for one in judge(seen, DrainSettings()) if case in one.name]
    assert [one.outcome for one in found] == [outcome], found
    assert bool(found[0].message) is (outcome is not Outcome.PASSED)


def test_a_server_that_promises_no_drain_is_told() -> None:
    """A drain fails, and nobody says that the server never was to drain."""
    cases = list(judge(drained(promised=None), DrainSettings()))
    assert cases[0].name == "streams: is to drain"
    assert cases[0].outcome is Outcome.SKIPPED
    assert cases[0].message.startswith("SGLang's own end, and no drain: the plugin isn't attached")
    assert facts(drained(promised=None))["streams: promise"] == cases[0].message
    assert not [one for one in judge(drained(), DrainSettings()) if "is to drain" in one.name]


def test_facts_count_what_became_of_all() -> None:
    """The report tells other numbers than were seen."""
    told = facts(drained())
    assert told["streams: streams"] == "1 finished, 1 aborted; the last 2.0 s after SIGTERM"
    assert told["streams: new requests"] == "1 refused"
    assert told["streams: process"] == "exit code 0, 3.0 s after SIGTERM"
