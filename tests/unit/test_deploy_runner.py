"""The runner of a deployment: however a step ends, traffic stays with what was proven."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial

import anyio
import anyio.lowlevel
import pytest

from ci.deploy.judged import Judged, Reply
from ci.deploy.outcome import DeployOutcome
from ci.deploy.runner import Runner
from ci.deploy.steps import Stop, Watch
from ci.deploy.taking import Budgets, Taking
from ci.deploy.wanted import Stage, StrategyName, Wanted
from ci.deploy.world import WHOLE, Life, Release
from ci.errors import ModelUnavailable, UsageError
from ci.verdict import Verdict
from tests.fakes.deploy_exploration import release
from tests.fakes.deployment import Cut, FakeRouter, FakeTarget, no_pause
from tests.unit import virtual_time

pytestmark = pytest.mark.unit

A, B, C = release("a"), release("b"), release("c")
CANARY = Wanted(B, StrategyName.CANARY, (Stage(10, 30), Stage(50, 30), Stage(WHOLE, 30)))
REPLACE = Wanted(B, StrategyName.REPLACE)
GOOD = Judged()
Happening = Callable[["Stand"], Awaitable[None]]


@pytest.fixture(autouse=True)
def _no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leap at once: all that happens here lies in memory."""
    monkeypatch.setattr(virtual_time, "GRACE", 0)
    monkeypatch.setattr(virtual_time, "HANG", 1e6)


@dataclass
class Stand:
    """A target and a router in memory, and what proof and watch say.

    Args:
        proofs: What each proof says, by digest; passes where nothing stands.
        watches: What the watches say, in order; they pass where nothing is left.
        during: What happens during a proof or a watch, by `prove` or `watch` and share.
        reply: What a person says.
    """

    proofs: dict[str, Judged] = field(default_factory=dict)
    watches: list[Judged] = field(default_factory=list)
    during: dict[str, Happening] = field(default_factory=dict)
    reply: Reply = Reply.LATER
    target: FakeTarget = field(default_factory=FakeTarget)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Let A have everything."""
        self.router = FakeRouter(self.target)
        self.target.run("blue", A)
        address = self.target.slots["blue"].address
        self.router.routes["blue"] = replace(self.router.routes["blue"], address=address, share=100)

    def runner(self, **more: object) -> Runner:
        """Return a runner of these; it waits on a virtual clock."""
        budgets = Budgets(60, 60, 600, 60, 30, 30, 300, 60)
        taking = Taking(self.target, self.router, self.prove, self.watch, budgets)
        return Runner(taking, self.told.append, self.ask, **more)  # type: ignore[arg-type]

    def run(self, wanted: Wanted = CANARY, **more: object) -> DeployOutcome:
        """Run a deployment."""
        return virtual_time.run(self.runner(**more).run(wanted))

    async def prove(self, slot: str, address: str) -> Judged:
        """Prove a slot in ten seconds."""
        assert address == self.target.slots[slot].address
        await self._happens("prove")
        await anyio.sleep(10)
        there = self.target.slots[slot].release
        return self.proofs.get(there.digest if there else "", GOOD)

    async def watch(self, slot: str, share: int, seconds: float) -> Judged:
        """Watch a slot."""
        assert self.router.routes[slot].share == share
        await self._happens(f"watch {share}")
        await anyio.sleep(seconds)
        return self.watches.pop(0) if self.watches else GOOD

    async def ask(self, question: str) -> Reply:
        """Say what a person says."""
        self.told.append(question)
        return self.reply

    async def _happens(self, when: str) -> None:
        happening = self.during.pop(when, None)
        if happening:
            await happening(self)

    def alone(self) -> Release | None:
        """Return the release that runs alone, proven, with everything; None where none does."""
        slots = self.target.slots
        there = [name for name, slot in slots.items() if slot.life is not Life.ABSENT]
        if len(there) != 1 or not slots[there[0]].proven:
            return None
        routes = self.router.routes
        whole = routes[there[0]].share == WHOLE == sum(route.share for route in routes.values())
        return slots[there[0]].release if whole else None


async def dies(slot: str, stand: Stand) -> None:
    """End a slot's server."""
    stand.target.die(slot)


async def hangs(stand: Stand) -> None:
    """Never end."""
    await anyio.sleep_forever()


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
        (Stand(during={"watch 50": hangs}), Verdict.FAILED, "no judgement in 330 s"),
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

    virtual_time.run(both())
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

    return virtual_time.run(work())


@pytest.mark.parametrize("strategy", StrategyName)
@pytest.mark.parametrize("then", ["resume", "abort", "roll back"])
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
