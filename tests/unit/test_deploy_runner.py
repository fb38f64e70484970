"""The runner of a deployment: however a step ends, traffic stays with what was proven."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from ci.deploy.judged import Judged, Reply
from ci.deploy.steps import Watch
from ci.deploy.wanted import Stage, StrategyName, Wanted
from ci.deploy.world import WHOLE, Release
from ci.verdict import Verdict
from tests.fakes.deployment import Cut
from tests.unit.deploy_stand import CANARY, GOOD, REPLACE, A, B, Stand, at_once, dies, hangs

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("strategy", StrategyName)
def test_a_good_release_takes_the_place_of_the_one_before(strategy: StrategyName) -> None:
    """A deployment in which nothing goes wrong doesn't pass, or takes steps in a bad order."""
    stand = Stand()
    outcome = stand.run(Wanted(B, strategy))
    assert (outcome.verdict, outcome.cause, outcome.rested) == (Verdict.PASSED, "", True)
    assert stand.alone() == B
    assert all(taken.done for taken in outcome.steps)


def test_a_canary_goes_through_its_stages() -> None:
    """Traffic moves otherwise than was said, or a step is not told."""
    stand = Stand()
    outcome = stand.run()
    assert [call for call in stand.router.calls if call.startswith("shift")] == [
        "shift blue 90, green 10",
        "shift blue 50, green 50",
        "shift blue 0, green 100",
    ]
    watched = [taken.seconds for taken in outcome.steps if isinstance(taken.step, Watch)]
    assert watched == pytest.approx([30, 30, 30], abs=1)
    assert stand.told == [*(taken.step.line for taken in outcome.steps), stand.told[-1]]
    assert stand.told[-1] == "rest: green has all traffic"


BAD = Judged(Verdict.FAILED, "the answer is wrong")
UNSURE = Judged(Verdict.INCONCLUSIVE, "12 requests are too few")


@pytest.mark.parametrize(
    ("stand", "verdict", "cause"),
    [
        (Stand(during={"prove": hangs}), Verdict.FAILED, "took over 600 s"),
        (Stand(during={"prove": partial(dies, "green")}), Verdict.FAILED, "exited with 1"),
        (Stand(proofs={B.digest: BAD}), Verdict.FAILED, "the answer is wrong"),
        (Stand(watches=[BAD]), Verdict.FAILED, "the answer is wrong"),
        (Stand(watches=[GOOD, BAD]), Verdict.FAILED, "the answer is wrong"),
        (Stand(watches=[GOOD, GOOD, BAD]), Verdict.FAILED, "the answer is wrong"),
        (Stand(watches=[UNSURE] * 50), Verdict.INCONCLUSIVE, "12 requests are too few"),
        (Stand(during={"watch 50": hangs}), Verdict.FAILED, "no judgement in 360 s"),
        (Stand(during={"watch 50": partial(dies, "green")}), Verdict.FAILED, "exited with 1"),
        (Stand(watches=[Judged(Verdict.ERROR, "no metrics")] * 9), Verdict.ERROR, "no metrics"),
    ],
)
def test_a_bad_candidate_is_taken_back(stand: Stand, verdict: Verdict, cause: str) -> None:
    """A bad candidate keeps its share or its slot, or the run doesn't say what was wrong."""
    outcome = stand.run()
    assert (outcome.verdict, outcome.went_back, outcome.rested) == (verdict, True, True)
    assert cause in outcome.cause
    assert outcome.log == "the log of green"
    assert stand.alone() == A


def test_one_watch_comes_to_its_end_without_a_budget() -> None:
    """A watch that has only its own seconds is cut off in its last instant, as FAILED."""
    stand = Stand(watches=[UNSURE])
    runner = stand.runner()
    taking = replace(runner.taking, budgets=replace(runner.taking.budgets, watch=0))
    outcome = at_once(replace(runner, taking=taking).run(CANARY))
    assert (outcome.verdict, outcome.went_back) == (Verdict.INCONCLUSIVE, True)


def test_too_little_traffic_waits_up_to_its_budget() -> None:
    """A quiet hour brings a good candidate back, although traffic would have come."""
    stand = Stand(watches=[UNSURE, UNSURE, GOOD])
    assert stand.run().verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("reply", "verdict", "kept"),
    [
        (Reply.GO_ON, Verdict.PASSED, B),
        (Reply.GO_BACK, Verdict.FAILED, A),
        (Reply.LATER, Verdict.INCONCLUSIVE, None),
    ],
)
@pytest.mark.parametrize("gate", [True, False], ids=["gate", "unsure"])
def test_a_person_is_asked(
    reply: Reply, verdict: Verdict, kept: Release | None, *, gate: bool
) -> None:
    """A gate, or a watch that saw too little, is passed over, or its answer isn't heeded."""
    stand = Stand(reply=reply, watches=[] if gate else [UNSURE] * 20)
    wanted = replace(CANARY, stages=(Stage(10, 30, gate=gate), Stage(WHOLE)))
    outcome = stand.run(wanted, asks_when_unsure=True)
    assert (outcome.verdict, stand.alone()) == (verdict, kept)
    if not kept:
        assert "resume it, or abort it" in outcome.cause
        assert stand.router.routes["green"].share == 10
        assert stand.run(replace(wanted, approved=10)).verdict is Verdict.PASSED


def test_a_candidate_that_ends_at_once_is_bad() -> None:
    """A server that crashes before anybody looks is started again and again."""
    stand = Stand()
    stand.target.killed.add("green")
    outcome = stand.run()
    assert (outcome.verdict, stand.alone()) == (Verdict.FAILED, A)
    assert "exited with 1" in outcome.cause
    assert [call for call in stand.target.calls if call.startswith("start")] == [
        f"start green {B.digest}"
    ]


def test_a_candidate_that_can_not_be_started_leaves_all_as_it_was() -> None:
    """Out of memory on the GPU takes down what served."""
    stand = Stand()
    stand.target.faults.plan("start", Cut.BEFORE, 9)
    outcome = stand.run()
    assert (outcome.verdict, outcome.rested, stand.alone()) == (Verdict.ERROR, True, A)
    assert "no answer from the target" in outcome.cause


def test_a_candidate_that_the_router_does_not_reach_gets_no_traffic() -> None:
    """A slot is reached from here, not from the router's host, and gets requests."""
    stand = Stand()
    stand.router.blind = True
    outcome = stand.run()
    assert (outcome.verdict, stand.alone()) == (Verdict.FAILED, A)
    assert "can the router's host reach it?" in outcome.cause


@pytest.mark.parametrize("kind", [Verdict.FAILED, Verdict.ERROR])
def test_replace_brings_back_what_it_has_ended(kind: Verdict) -> None:
    """With one copy at a time a bad release leaves nothing that serves."""
    stand = Stand(proofs={B.digest: Judged(kind, "bad")})
    outcome = stand.run(REPLACE)
    assert (outcome.verdict, outcome.went_back, stand.alone()) == (kind, True, A)


def test_a_way_back_that_fails_is_said() -> None:
    """Nothing serves after a failed roll-back, and the report tells the first fault only."""
    stand = Stand(proofs={B.digest: BAD, A.digest: Judged(Verdict.FAILED, "its model is gone")})
    outcome = stand.run(REPLACE)
    assert (outcome.verdict, stand.alone()) == (Verdict.FAILED, None)
    assert "the answer is wrong" in outcome.cause
    assert "its model is gone" in " ".join([outcome.cause, *stand.told])
    assert "nothing serves" in outcome.cause
