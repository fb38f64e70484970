"""A deployment in a world that others change, and that isn't always seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import anyio
import anyio.lowlevel
import pytest

from ci.deploy.judged import Judged, Reply
from ci.deploy.outcome import DeployOutcome, taken_back
from ci.deploy.steps import Prove, Shift, Stop, Watch
from ci.deploy.strategy import next_step
from ci.deploy.wanted import Stage, StrategyName, Wanted
from ci.deploy.world import WHOLE, Release, RouteSeen, World
from ci.errors import ModelUnavailable, UsageError
from ci.verdict import Verdict
from tests.fakes.deployment import Cut, no_pause
from tests.rare import rare
from tests.unit.deploy_stand import CANARY, A, B, C, Stand, at_once, dies

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("part", ["router", "target"])
@pytest.mark.parametrize("when", ["prove", "watch 50"])
def test_nothing_is_touched_where_nothing_is_seen(part: str, when: str) -> None:
    """A router or target that is away for minutes costs a server its traffic or its life."""

    async def away(stand: Stand) -> None:
        fake = stand.router if part == "router" else stand.target
        fake.faults.plan(part, Cut.BEFORE, 200)

    stand = Stand(during={when: away})
    outcome = stand.run()
    assert (outcome.verdict, outcome.rested) == (Verdict.ERROR, False)
    assert f"no answer from the {part}" in outcome.cause
    assert not [taken for taken in outcome.steps if isinstance(taken.step, Stop)]
    for fake in (stand.router, stand.target):
        fake.faults.planned.clear()
    assert stand.run().verdict is Verdict.PASSED
    assert stand.alone() == B


@pytest.mark.parametrize("cut", Cut)
@pytest.mark.parametrize("call", ["fetch", "start", "mark", "point", "shift", "stop"])
def test_one_fault_is_got_over(call: str, cut: Cut) -> None:
    """A hiccup of target or router ends a deployment, or leaves something half done."""
    stand = Stand()
    for fake in (stand.router, stand.target):
        fake.faults.plan(call, cut)
    outcome = stand.run()
    assert (outcome.verdict, stand.alone()) == (Verdict.PASSED, B), outcome.cause


def test_a_router_that_does_nothing_is_said() -> None:
    """Shares that never take effect are asked for without an end."""
    stand = Stand()
    stand.router.deaf = True
    outcome = stand.run()
    assert (outcome.verdict, outcome.rested) == (Verdict.ERROR, False)
    assert "without effect, 4 times: blue: up proven" in outcome.cause


def test_a_run_has_an_end() -> None:
    """A strategy that goes in circles keeps a job for hours."""
    outcome = Stand().run(most_turns=5)
    assert outcome.verdict is Verdict.ERROR
    assert outcome.cause.startswith("not at rest after 5 turns: blue: up proven sha256:aaa")


def test_stable_dies_during_the_canary() -> None:
    """Half of all requests go to a dead server, or the proven candidate is taken away too."""
    stand = Stand(during={"watch 50": partial(dies, "blue")})
    outcome = stand.run()
    assert (outcome.verdict, stand.alone()) == (Verdict.PASSED, B)
    said = "shift new requests: blue 0 %, green 100 % (blue has traffic and has ended: exited with"
    assert any(line.startswith(said) for line in stand.told)
    at = next(taken for taken in outcome.steps if "something has changed" in taken.said)
    assert at.seconds < 2


def test_a_stream_longer_than_the_grace_is_cut_and_said() -> None:
    """One endless stream keeps the old server for ever, or is cut in silence."""
    stand = Stand()
    stand.router.ends = False
    outcome = stand.run(replace(CANARY, grace=90))
    assert (outcome.verdict, stand.alone()) == (Verdict.PASSED, B)
    drained = next(taken for taken in outcome.steps if "will be cut" in taken.said)
    assert drained.seconds == pytest.approx(90, abs=1)


def test_a_hung_candidate_loses_its_traffic_at_once_and_its_grace_is_told() -> None:
    """Users wait on a hung server as long as its open requests do, and nobody sees how long."""
    stand = Stand(watches=[Judged(), Judged(Verdict.FAILED, "our streams get no answer")])
    stand.router.ends = False
    outcome = stand.run(replace(CANARY, grace=90))
    assert (outcome.verdict, stand.alone()) == (Verdict.FAILED, A)
    told = taken_back(outcome.steps)
    assert told == "without traffic after 0.0 s, drained after 90.0 s, stopped after 90.0 s"
    drained = next(taken for taken in outcome.steps if "will be cut" in taken.said)
    assert drained.said.endswith("(waited 90.0 s)")
    assert taken_back(Stand().run().steps) == ""


def test_two_deployments_overtake_each_other() -> None:
    """Two runs stop and start each other's servers without an end."""
    stand = Stand()
    outcomes: dict[str, DeployOutcome] = {}

    async def both() -> None:
        async def one(release: Release, after: float) -> None:
            await anyio.sleep(after)
            outcome = await stand.runner().run(replace(CANARY, release=release))
            outcomes[release.deployment] = outcome

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one, B, 0)
            tasks.start_soon(one, C, 50)

    at_once(both())
    verdicts = {outcome.verdict for outcome in outcomes.values()}
    assert verdicts == {Verdict.PASSED, Verdict.ERROR}
    assert stand.alone() in {B, C}
    lost = next(one for one in outcomes.values() if one.verdict is Verdict.ERROR)
    assert "another deployment" in lost.cause


def test_the_release_before_is_wanted_again_in_the_middle() -> None:
    """A deployment of A while A gives way to B starts a third server, or goes through stages."""
    stand = Stand(reply=Reply.LATER)
    stand.run(replace(CANARY, stages=(Stage(50, 30, gate=True), Stage(WHOLE, 30))))
    assert stand.router.routes["green"].share == 50
    before = len(stand.target.calls)
    outcome = stand.run(replace(CANARY, release=A))
    assert (outcome.verdict, stand.alone()) == (Verdict.PASSED, A)
    assert stand.target.calls[before:] == ["stop green"]
    assert outcome.steps[0].step.line == "shift new requests: blue 100 %, green 0 %"


TO_THREE_QUARTERS = replace(CANARY, stages=(Stage(75, 30, gate=True), Stage(WHOLE, 30)))
TO_ALL = Wanted(B, StrategyName.BLUE_GREEN, (Stage(WHOLE, 30, gate=True),))


@pytest.mark.parametrize(
    ("wanted", "share"),
    [(TO_THREE_QUARTERS, 75), (TO_ALL, WHOLE)],
    ids=["canary", "watch of a blue-green"],
)
@pytest.mark.parametrize("then", [None, C], ids=["abort", "another release"])
def test_what_was_there_first_stays_the_stable_at_any_share(
    wanted: Wanted, share: int, then: Release | None
) -> None:
    """An abort keeps the candidate that has most traffic, and ends what was proven before it."""
    stand = Stand()
    stand.run(wanted)
    assert stand.router.routes["green"].share == share
    outcome = stand.run(replace(CANARY, release=then))
    assert outcome.verdict is Verdict.PASSED
    assert outcome.steps[0].step.line == "shift new requests: blue 100 %, green 0 %"
    assert next(call for call in stand.target.calls if call.startswith("stop")) == "stop green"
    assert stand.alone() == (then or A)


LATER = datetime(2100, 1, 1, tzinfo=UTC)


def test_a_clock_that_was_set_back_skips_no_watch() -> None:
    """A candidate that seems older than the stable one is taken for it, and gets everything."""
    stand = Stand()
    stand.target.slots["blue"] = replace(stand.target.slots["blue"], started=LATER)
    outcome = stand.run(replace(CANARY, stages=(Stage(50, 30), Stage(WHOLE, 30))))
    watched = [taken.step.line for taken in outcome.steps if isinstance(taken.step, Watch)]
    assert watched == ["watch green at 50 % for 30 s", "watch green at 100 % for 30 s"]


def interrupted(stand: Stand, wanted: Wanted, moment: int) -> bool:
    """Cut a run off before or after its n-th call took effect; say whether it came so far."""
    left = moment

    async def work() -> bool:
        with anyio.CancelScope() as scope:

            async def pause() -> None:
                nonlocal left
                left -= 1
                if left < 0:
                    scope.cancel()
                await anyio.lowlevel.checkpoint()

            stand.target.pause = stand.router.pause = pause
            await stand.runner().run(wanted)
        stand.target.pause = stand.router.pause = no_pause
        return scope.cancelled_caught

    return at_once(work())


@pytest.mark.parametrize(
    "strategy", rare([StrategyName.BLUE_GREEN, StrategyName.CANARY, StrategyName.REPLACE])
)
@pytest.mark.parametrize("then", rare(["resume", "abort", "roll back"]))
def test_a_run_that_is_cut_off_at_any_step_is_gone_on_with(
    strategy: StrategyName, then: str
) -> None:
    """Ctrl-C at some moment leaves what no command brings to rest."""
    wanted = CANARY if strategy is StrategyName.CANARY else Wanted(B, strategy)
    commands = {
        "resume": wanted,
        "abort": replace(wanted, release=None, rejected=B),
        "roll back": replace(wanted, release=A, back=True),
    }
    moment = 0
    while interrupted(stand := Stand(), wanted, moment):
        proven = [slot.release for slot in stand.target.slots.values() if slot.proven]
        kept = {
            "resume": B,
            "roll back": A,
            "abort": A if A in proven else next(iter(proven), None),
        }
        outcome = stand.run(commands[then])
        assert (outcome.rested, stand.alone()) == (True, kept[then]), (moment, stand.told)
        assert outcome.verdict is (Verdict.PASSED if kept[then] else Verdict.FAILED)
        moment += 1
    assert moment > 40


def test_a_proof_that_can_not_be_made_is_tried_again() -> None:
    """A hub that is away for a second ends a deployment."""

    async def away(stand: Stand) -> None:
        raise ModelUnavailable("the hub doesn't answer")

    assert Stand(during={"prove": away}).run().verdict is Verdict.PASSED


@pytest.mark.parametrize("shares", [(), (10,), (50, 10, 100), (0, 100), (100, 100), (50, 120)])
def test_stages_that_lead_nowhere_are_refused(shares: tuple[int, ...]) -> None:
    """A canary ends half-way, or goes backwards."""
    with pytest.raises(UsageError, match="shares have to rise"):
        Wanted(B, StrategyName.CANARY, tuple(Stage(share) for share in shares))


def test_a_proof_is_of_the_server_that_is_marked() -> None:
    """Somebody restarts a server in the moment of its proof, and the new one counts as proven."""

    async def restarted(stand: Stand) -> None:
        stand.target.run("green", B, proven=False)

    stand = Stand(during={"proven": restarted})
    outcome = stand.run()
    assert (outcome.verdict, stand.alone()) == (Verdict.PASSED, B)
    assert len([taken for taken in outcome.steps if isinstance(taken.step, Prove)]) == 2


def test_a_shift_that_was_cut_in_half_gives_the_candidate_no_more_than_both_say() -> None:
    """A candidate keeps a share that nobody took from the other one."""
    stand = Stand()
    stand.target.run("green", B)
    stand.router.routes["blue"] = replace(stand.router.routes["blue"], share=50)
    stand.router.routes["green"] = RouteSeen("green:1", 75, up=True)
    world = World(stand.target.slots, stand.router.routes)
    assert next_step(world, CANARY) == Shift.to({"blue": 50, "green": 50})
