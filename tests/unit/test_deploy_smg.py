"""SGLang's gateway as a router: what is its own, beside the contract of all routers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import anyio
import httpx
import pytest
from pydantic import ValidationError

from ci.deploy.grounds import Grounds
from ci.deploy.identity import through
from ci.deploy.routers.smg import SmgRouter
from ci.deploy.routers.smg_api import FOR_EVER, counts_of
from ci.deploy.steps import Point, Rest, Shift
from ci.deploy.strategy import next_step
from ci.deploy.wanted import ALL_AT_ONCE, Wanted
from ci.deploy.watch import LossWatch
from ci.deploy.world import Life, Release, SlotSeen, Traffic, World
from ci.errors import RouterFault
from ci.server.key import API_KEY
from ci.settings import Settings
from ci.verdict import Outcome, Verdict
from tests.fakes.sglang import FakeSglang
from tests.rare import LONG
from tests.unit.router_waits import HANG
from tests.unit.smg_rigs import SMG_NEEDED, SmgRig, smg_rig

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

KEY = "sk-of-the-servers"
RELEASE = Release(f"sha256:{'a' * 64}", "", "0.5.23")


@pytest.fixture
async def rig() -> AsyncIterator[SmgRig]:
    """Yield an smg whose blue slot has all traffic, and whose green one points nowhere."""
    async with smg_rig() as one:
        await one.smg.point("blue", one.addresses[0])
        await one.smg.shift({"blue": 100})
        yield one


def settings(**how: object) -> Settings:
    """Return settings of an environment whose router is smg."""
    return Settings.model_validate({"environments": {"test": {"deploy": {"router": "smg", **how}}}})


@SMG_NEEDED
@pytest.mark.long
async def test_a_restarted_smg_is_furnished_by_the_next_look(rig: SmgRig) -> None:
    """Nobody is served any more, and a deployment sees all at rest."""
    await rig.restart()
    router = SmgRouter(rig.smg.url)
    seen = await router.seen()
    assert [(one.address, one.share, one.up) for one in seen.values()] == [("", 0, False)] * 2
    slots = {"green": SlotSeen("green"), "blue": slot_of(rig)}
    wanted = Wanted(RELEASE, stages=ALL_AT_ONCE)
    taken = []
    while not isinstance(step := next_step(World(slots, await router.seen()), wanted), Rest):
        taken.append(type(step))
        if isinstance(step, Point):
            await router.point(step.slot, step.address)
        elif isinstance(step, Shift):
            await router.shift(step.by_slot)
    assert taken == [Point, Shift]
    assert await rig.send(4) == {"blue": 4}


@SMG_NEEDED
async def test_a_slot_that_comes_back_keeps_its_streams_and_its_place(rig: SmgRig) -> None:
    """An abort gives a draining slot its traffic back, and smg takes it out later all the same."""
    await rig.smg.point("green", rig.addresses[1])
    async with rig.streams(2) as streams:
        await rig.smg.shift({"green": 100})
        await rig.smg.shift({"blue": 100})
        seen = (await rig.smg.seen())["blue"]
        assert (seen.share, seen.open, seen.up) == (100, 2, True)
        assert await rig.send(4) == {"blue": 4}
        assert await streams.finish() == 2
    async with httpx.AsyncClient() as client:
        told = (await client.get(f"{rig.smg.url}/workers")).json()["workers"]
    assert {one["health"]["drain_settle_secs"] for one in told} == {FOR_EVER}


@pytest.mark.long
@SMG_NEEDED
async def test_all_is_not_given_to_a_half_that_is_down(rig: SmgRig) -> None:
    """A canary that died at its half gets everything, and the server that answers is taken out."""
    await rig.smg.point("green", rig.addresses[1])
    await rig.smg.shift({"blue": 50, "green": 50})
    await rig.kill(rig.addresses[1])
    rig.smg._patience = 0.3
    with pytest.raises(RouterFault, match="green should get more and didn't get ready"):
        await rig.smg.shift({"green": 100})
    assert [one.share for one in (await rig.smg.seen()).values()] == [50, 50]
    assert await rig.send(4) == {"blue": 4}


@pytest.mark.long
@SMG_NEEDED
async def test_a_server_that_has_gone_is_forgotten_with_the_next_one(rig: SmgRig) -> None:
    """A gateway that runs for months lists each server that there ever was."""
    await rig.smg.point("green", rig.addresses[1])
    await rig.smg.shift({"green": 100})
    await rig.kill(rig.addresses[0])
    await rig.smg.point("blue", rig.addresses[2])
    async with httpx.AsyncClient() as client:
        with anyio.fail_after(HANG):
            while len((await client.get(f"{rig.smg.url}/workers")).json()["workers"]) != 1:
                await anyio.sleep(0.02)
    assert (await rig.smg.seen())["blue"].address == rig.addresses[2]


@pytest.mark.long
@SMG_NEEDED
async def test_a_worker_that_is_no_slots_is_told(rig: SmgRig) -> None:
    """A server that nobody proved has a share of the traffic, and no slot shows it."""
    async with httpx.AsyncClient() as client:
        url = f"http://{rig.addresses[2]}"
        await client.post(f"{rig.smg.url}/workers", json={"url": url})
        with anyio.fail_after(HANG):
            while len((await client.get(f"{rig.smg.url}/workers")).json()["workers"]) != 2:
                await anyio.sleep(0.02)
    with pytest.raises(RouterFault, match="which is no slot's"):
        await rig.smg.seen()


@SMG_NEEDED
@LONG
async def test_halves_need_the_policy_that_makes_them() -> None:
    """A canary at 50 is judged by a share that a hash of prompts decides."""
    async with smg_rig("--policy", "random") as one:
        for slot, address in zip(("blue", "green"), one.addresses, strict=False):
            await one.smg.point(slot, address)
        await one.smg.shift({"blue": 100})
        await one.send(1)
        with pytest.raises(RouterFault, match="start it with --policy round_robin"):
            await one.smg.shift({"blue": 50, "green": 50})
        assert await one.send(4) == {"blue": 4}


@SMG_NEEDED
@pytest.mark.parametrize("flags", [(), pytest.param(("--api-key", KEY), marks=LONG)])
async def test_a_servers_key_is_given_to_nobody_without_one(
    flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody who reaches smg is served by a server that wants a key: smg adds it to requests."""
    monkeypatch.setenv(API_KEY, KEY)
    async with smg_rig(*flags) as one:
        await one.smg.point("blue", one.addresses[0])
        if flags:
            await one.smg.shift({"blue": 100})
            assert await one.send(2) == {"": 2}
        else:
            with pytest.raises(RouterFault, match="start smg with the same --api-key"):
                await one.smg.shift({"blue": 100})
        shares = [slot.share for slot in (await one.smg.seen()).values()]
        assert shares == ([100, 0] if flags else [0, 0])


@SMG_NEEDED
async def test_who_answers_through_it_is_told(rig: SmgRig) -> None:
    """A deployment ends in an error, as smg doesn't pass on `/server_info`."""
    case = await through(rig.smg.url, slot_of(rig), RELEASE, named=False)
    assert case.outcome is Outcome.PASSED, case.message
    other = replace(slot_of(rig), address=rig.addresses[1])
    case = await through(rig.smg.url, other, RELEASE, named=False)
    assert case.outcome is Outcome.FAILED


@SMG_NEEDED
@pytest.mark.long
async def test_without_metrics_nothing_passes_a_watch(rig: SmgRig) -> None:
    """A candidate passes by requests that nobody counted."""
    router = SmgRouter(rig.smg.url)
    watch = LossWatch.begun(await router.seen(), "blue")
    await rig.send(200)
    assert (await router.seen())["blue"].traffic == Traffic()
    assert watch.looked(await router.seen()).verdict is Verdict.INCONCLUSIVE
    watch = LossWatch.begun(await rig.smg.seen(), "blue")
    await rig.send(200)
    assert watch.looked(await rig.smg.seen()).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("attempts", "successes", "failures", "requests"),
    [
        (20, 20, 0, 20),
        (20, 20, 2, 20),  # two streams began, and were cut
        (20, 0, 4, 4),  # four requests got 503 in each of five attempts
        (30, 20, 2, 22),  # twenty were well; then nobody listened, for two with five attempts
    ],
)
def test_losses_are_counted_by_requests(
    attempts: int, successes: int, failures: int, requests: int
) -> None:
    """A slot that answers 503 to everybody seems to lose a fifth, as smg asks five times."""
    outcome = 'smg_worker_cb_outcomes_total{worker="http://a:1",outcome='
    page = f"""# TYPE smg_worker_requests_total counter
smg_worker_requests_total{{worker="http://a:1",model="m"}} {attempts}
{outcome}"success"}} {successes}
{outcome}"failure"}} {failures}
smg_worker_selection_total{{worker_type="regular",policy="round_robin"}} 9
smg_worker_selection_total{{worker_type="decode",policy="random"}} 0
"""
    found = counts_of(page)
    assert found.traffic == {"http://a:1": Traffic(requests, failures)}
    assert found.policies == {"round_robin"}


async def test_what_is_no_smg_is_told() -> None:
    """A server at the gateway's address is taken for an empty gateway."""
    with FakeSglang() as server, pytest.raises(RouterFault, match="/workers: HTTP 404"):
        await SmgRouter(server.url).seen()


@pytest.mark.parametrize("shares", [[10, 50], [25], [10]])
def test_shares_that_it_cannot_make_are_refused_before_anything(shares: list[int]) -> None:
    """A canary of 10 % gets half of the traffic, or a deployment ends in its middle."""
    with pytest.raises(ValidationError, match=r"can make the shares 50 and 100.* shares = \[50\]"):
        settings(strategy="canary", shares=shares)


def test_settings_name_it() -> None:
    """Another router is asked than the user's."""
    found = Grounds.of(settings(strategy="canary", shares=[50], url="http://gw:80"), "test").router
    assert isinstance(found, SmgRouter)
    assert found.url == "http://gw:80"
    assert Grounds.of(settings(port=4000), "test").router.url == "http://127.0.0.1:4000"


def slot_of(rig: SmgRig) -> SlotSeen:
    """Return the blue slot, as its target sees it."""
    return SlotSeen("blue", Life.UP, RELEASE, rig.addresses[0], number=1, proven=True)
