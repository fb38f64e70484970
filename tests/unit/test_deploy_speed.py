"""A watch that judges speed: a slow candidate goes back, an equal one or a loaded one doesn't."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import anyio
import pytest
from pydantic import ValidationError

from ci.deploy.judged import Judged
from ci.deploy.record import predicate_of
from ci.deploy.sequential import LossRule
from ci.deploy.speed import Speed, probing, speed_options
from ci.deploy.watching import Losses
from ci.deploy.world import RouteSeen
from ci.errors import BadAnswer
from ci.gate.blocks import Block, BlockResult
from ci.gate.measured import Options
from ci.report.model import Case, Check, Figure, now
from ci.settings import GateSettings, Settings
from ci.settings.deploy import DeploySettings
from ci.verdict import Verdict
from tests.fakes.fake_router import FakeRouter
from tests.fakes.timed import Timed, Timing
from tests.rare import rare
from tests.unit.deploy_stand import Stand, at_once
from tests.unit.gate_samples import Servers

pytestmark = pytest.mark.unit

GREEN = "http://green.invalid:1"
PASSED, FAILED, UNSURE = Verdict.PASSED, Verdict.FAILED, Verdict.INCONCLUSIVE
HANG = 120.0


class Users(FakeRouter):
    """A router whose users send 3000 requests after its second look, to each by its share."""

    looks = 0

    async def seen(self) -> Mapping[str, RouteSeen]:
        """Return every slot."""
        self.looks += 1
        for _ in range(3000 if self.looks == 3 else 0):
            assert self.request()
        return await super().seen()


@asynccontextmanager
async def of(block: Block) -> AsyncIterator[Block]:
    """Yield a block."""
    yield block


def repeatable(slower: float) -> Options:
    """Return how slots are compared, with a seed that is always the same."""
    return replace(speed_options(GateSettings(), slower), seed=1)


class WatchOfGreen:
    """A watch of green beside blue, whose blocks are invented."""

    def __init__(self, block: Block, slower: float = 0.2, *, demanded: bool = False) -> None:
        self.speed = Speed(repeatable(slower), partial(of, block), demanded=demanded)
        self.told: list[Case] = []
        self.router = Users()
        self._losses: Losses | None = None

    async def watch(self, share: int, seconds: float = 30) -> Judged:
        """Watch green once at a share."""
        for slot in ("blue", "green"):
            await self.router.point(slot, f"{slot}.invalid:1")
        await self.router.shift({"blue": 100 - share, "green": share})
        self._losses = self._losses or Losses(
            self.router, LossRule(), self.told.append, speed=self.speed
        )
        return await self._losses.watch("green", share, seconds)

    def judged(self, share: int) -> Judged:
        """Watch green once, on a clock that leaps."""
        return at_once(self.watch(share))

    @property
    def speeds(self) -> dict[str, str]:
        """Each case on speed that was told, and its outcome."""
        return {case.name: case.outcome.value for case in self.told if "speed" in case.name}


def slow(share: float) -> Servers:
    """Return blocks of two slots, of which green is slower by a share."""
    return Servers({GREEN: share})


@pytest.mark.parametrize(
    ("really", "allowed", "verdict", "speed"),
    [
        (0.0, 0.2, PASSED, ["PASSED"]),
        (0.1, 0.2, PASSED, ["PASSED"]),
        (0.1, 0.05, FAILED, ["FAILED"]),
        (0.3, 0.2, FAILED, ["FAILED"]),
        (0.2, 0.2, PASSED, []),
    ],
)
def test_a_slow_candidate_is_bad_and_an_equal_one_is_not(
    really: float, allowed: float, verdict: Verdict, speed: list[str]
) -> None:
    """A slow candidate gets all traffic, or a good one is taken back."""
    watched = WatchOfGreen(slow(really), allowed)
    judged = watched.judged(50)
    assert judged.verdict is verdict, judged
    assert list(watched.speeds.values()) == speed
    assert ("slower by more than" in judged.cause) is (verdict is FAILED)


@pytest.mark.parametrize(
    ("share", "really", "verdict", "speed", "told"),
    [
        (10, 0.3, FAILED, ["FAILED"], "slower by more than 20 %"),
        (10, 0.0, PASSED, [], "blue has more of the users' requests"),
        (90, 0.3, PASSED, [], "green has more of the users' requests"),
        (100, 0.3, PASSED, [], "slower by more than 20 %, which proves nothing"),
        (100, 0.0, PASSED, ["PASSED"], "not slower by 20 %"),
    ],
)
def test_users_requests_are_no_proof(
    share: int, really: float, verdict: Verdict, speed: list[str], told: str
) -> None:
    """A slot passes for the load that the other one has, or goes back for its own."""
    watched = WatchOfGreen(slow(really))
    assert watched.judged(share).verdict is verdict
    assert list(watched.speeds.values()) == speed
    (step,) = watched.speed.steps
    assert step.name == f"speed of green at {share} %"
    assert told in step.told
    figures = list(step.figures())
    assert [figure.name for figure in figures] == [
        f"{metric}, green / blue at {share} %" for metric in ("ttft", "tpot")
    ]
    assert all(one.low and one.high and one.low < one.value < one.high for one in figures)


def after(pairs: int, then: Callable[[], Exception] | None = None) -> Servers:
    """Return blocks of a slow candidate; after so many pairs each time, one hangs or breaks."""

    class Stopping(Servers):
        async def __call__(self, server: str, seed: int) -> BlockResult:
            if len(self.calls) == 2 * (pairs + 1):
                self.calls.clear()
                await anyio.sleep_forever() if then is None else None
                assert then
                raise then()
            return await super().__call__(server, seed)

    return Stopping({GREEN: 0.5})


def test_too_few_pairs_say_nothing() -> None:
    """Some pairs are taken for enough, or for a pass."""
    watched = WatchOfGreen(after(7))
    assert watched.judged(50).verdict is PASSED
    assert not watched.speeds
    (step,) = watched.speed.steps
    assert step.told == "7 pairs of blocks: too few, 12 are needed"
    assert not list(step.figures())


def test_a_busy_machine_takes_more_pairs() -> None:
    """Where blocks are measured too late, speed is never judged, or nobody learns why."""
    late = "its event loop was 68.6 ms late at p99"
    watched = WatchOfGreen(Servers({GREEN: 0.3}, problems=dict.fromkeys(range(3, 999, 4), late)))
    assert watched.judged(50).verdict is FAILED
    assert len(watched.speed.steps[0].duel.unusable) > 6
    stopped = after(3)
    stopped.problems = {3: late}
    few = WatchOfGreen(stopped)
    assert few.judged(50).verdict is PASSED
    assert "2 pairs of blocks: too few, 12 are needed (1 more were unus" in few.speed.steps[0].told
    assert late in few.speed.steps[0].told


def test_a_further_watch_goes_on_with_the_pairs() -> None:
    """A slow server with slow answers never has enough pairs, or each watch has a chance to err."""
    watched = WatchOfGreen(after(7), demanded=True)
    assert watched.judged(50).verdict is UNSURE
    judged = watched.judged(50)
    assert judged.verdict is FAILED
    assert list(watched.speeds.values()) == ["FAILED"]


@pytest.mark.parametrize("url", [GREEN, "http://blue.invalid:1"])
def test_a_slot_that_breaks_is_not_called_slow(url: str) -> None:
    """One bad answer to a probe takes a good release back, or a bad old one lets all pass."""
    watched = WatchOfGreen(after(3, partial(BadAnswer, url, "nothing came")))
    assert watched.judged(50).verdict is PASSED
    assert not watched.speeds
    assert "3 pairs of blocks: too few, 12 are needed (" in watched.speed.steps[0].told
    assert "nothing came" in watched.speed.steps[0].told


def test_a_router_that_names_no_address_leaves_nothing_to_ask() -> None:
    """A hook's router that says only its counters ends a deployment, or makes it look fast."""
    watched = WatchOfGreen(slow(0.5))

    async def measured() -> str:
        routes = {"blue": RouteSeen("blue.invalid:1"), "green": RouteSeen()}
        async with watched.speed.measuring("green", "blue", 50, routes) as step:
            await anyio.sleep(1)
        return step.told

    assert "(the router doesn't say where green listens)" in at_once(measured())


def test_a_proof_is_demanded_once_and_where_it_can_be_had() -> None:
    """A canary at 10 % waits for what it can't show, or one that was shown waits again."""
    watched = WatchOfGreen(slow(0.0), demanded=True)
    assert watched.judged(10).verdict is PASSED
    assert not watched.speeds
    watched.router.looks = 0
    assert watched.judged(50).verdict is PASSED
    assert watched.speeds == {"speed of green at 50 %": "PASSED"}
    heavy = WatchOfGreen(slow(0.3), demanded=True)
    judged = heavy.judged(100)
    assert judged.verdict is UNSURE
    assert "which proves nothing" in judged.cause


def test_prompts_are_new_in_each_watch_and_the_rest_is_the_gates() -> None:
    """The stable slot has the prompts in its cache, and the candidate looks slow."""
    asked = GateSettings(seed=7, pairs=40, false_alarm=0.02, metrics=("tpot", "e2e"))
    options = speed_options(asked, 0.3)
    assert options.seed != 7
    assert (options.schedule.pairs, options.rule.false_alarm) == (40, 0.02)
    assert options.rule.metrics == ("tpot",)
    assert speed_options(GateSettings(metrics=("e2e",)), 0.3).rule.metrics == ("e2e",)


@pytest.mark.parametrize(
    ("wrong", "missing"),
    [
        ({"slower": 0, "watch": 9}, "slower over 0"),
        ({"strategy": "replace", "watch": 9}, "side by side"),
        ({"strategy": "blue-green"}, "a watch"),
        ({"strategy": "canary", "shares": [10, 49]}, "a watch"),
    ],
)
def test_a_proof_that_can_never_come_is_not_demanded(
    wrong: dict[str, object], missing: str
) -> None:
    """A release that nobody compares with anything counts as one that was shown to be fast."""
    with pytest.raises(ValidationError, match=f"speed_shown needs .*{missing}"):
        DeploySettings.model_validate({"speed_shown": True} | wrong)
    for right in ({"watch": 9}, {"strategy": "canary"}):
        assert DeploySettings.model_validate({"speed_shown": True} | right).speed_shown


def test_the_record_has_the_figures() -> None:
    """Nobody can see later how fast a release was when it went out."""
    figure = Figure(name="tpot, green / blue at 50 %", value=1.02, low=0.97, better="lower")
    check = Check(name="deploy", started=now(), seconds=1, phases=(), cases=(), figures=(figure,))
    assert predicate_of("test", check, {})["figures"] == {figure.name: {"value": 1.02, "low": 0.97}}


class Slow(Stand):
    """A stand on which green is slower by a half."""

    async def watch(self, slot: str, share: int, seconds: float) -> Judged:
        """Judge green as a deployment does."""
        there = {self.target.slots[name].address: name for name in self.target.slots}

        async def block(url: str, seed: int) -> BlockResult:
            return await Servers({"green": 0.5})(there[url.removeprefix("http://")], seed)

        speed = Speed(repeatable(0.2), partial(of, block))
        losses = Losses(self.router, LossRule(), lambda _: None, speed=speed)
        return await losses.watch(slot, share, seconds)


def test_a_slow_candidate_is_taken_back_traffic_first() -> None:
    """A slow candidate keeps its share, or its server ends while it has some."""
    stand = Slow()
    outcome = stand.run()
    assert (outcome.verdict, outcome.went_back, outcome.rested) == (FAILED, True, True)
    assert "speed of green at 10 %" in outcome.cause
    assert "slower by more than 20 %" in outcome.cause
    lines = [taken.step.line for taken in outcome.steps]
    back = lines.index("shift new requests: blue 100 %, green 0 %")
    assert back < lines.index("stop green and take away what it had")
    assert stand.router.routes["green"].share == 0


SETTINGS = Settings.model_validate({"bench": {"input": "16", "output": "8"}})
QUICK, USUAL = Timing(ttft=0.01, itl=0.002), Timing(ttft=0.03, itl=0.006)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("slower", "allowed", "fast"),
    rare([(2.0, 0.2, QUICK), (0.3, 0.1, USUAL), (0.0, 0.2, USUAL)]),
    ids=["3x", "+30", "equal"],
)
@pytest.mark.long
async def test_real_requests(slower: float, allowed: float, fast: Timing) -> None:
    """The load client and the watch don't fit together, or its own times hide a slow server."""
    late = Timing(ttft=fast.ttft * (1 + slower), itl=fast.itl * (1 + slower))
    speed, told = Speed(speed_options(SETTINGS.gate, allowed), probing(SETTINGS)), list[Case]()
    router = Users()
    with Timed(fast) as blue, Timed(late) as green, anyio.fail_after(HANG):
        for slot, server in (("blue", blue), ("green", green)):
            await router.point(slot, f"localhost:{server.port}")
        await router.shift({"blue": 50, "green": 50})
        judged = await Losses(router, LossRule(), told.append, poll=0.1, speed=speed).watch(
            "green", 50, 60 if slower else 20
        )
    assert (judged.verdict is FAILED) is bool(slower), speed.steps[0].told
    assert len(speed.steps[0].duel.pairs) >= (12 if slower else 1)
