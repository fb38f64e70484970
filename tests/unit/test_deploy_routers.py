"""The contract of routers, held by the fake, a hook's programs, a real HAProxy and a real smg."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from ci.deploy.world import RouteSeen
from ci.errors import RouterFault, UsageError
from tests.rare import LONG, rare
from tests.unit.hook_rigs import hook_rig
from tests.unit.router_rigs import NEEDED, FakeRig, Rig, haproxy_rig
from tests.unit.router_waits import HANG
from tests.unit.smg_rigs import SMG_NEEDED, smg_rig

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

REAL = pytest.param("haproxy", marks=NEEDED)
GATEWAY = pytest.param("smg", marks=[SMG_NEEDED, LONG])
HOOK = pytest.param("hook", marks=LONG)


@pytest.fixture(params=["fake", REAL, HOOK, GATEWAY])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Yield a router whose blue slot has all traffic, and whose green one is drained."""
    if request.param == "fake":
        one: Rig = FakeRig()
        await furnish(one)
        yield one
    elif request.param == "hook":
        async with hook_rig() as hooked:
            await furnish(hooked)
            yield hooked
    elif request.param == "smg":
        async with smg_rig() as gateway:
            await furnish(gateway)
            yield gateway
    else:
        async with haproxy_rig() as real:
            await furnish(real)
            yield real


async def furnish(rig: Rig) -> None:
    """Point both slots, and give blue all."""
    await rig.router.point("blue", rig.addresses[0])
    await rig.router.point("green", rig.addresses[1])
    await rig.router.shift({"blue": 100, "green": 0})


async def is_seen(rig: Rig, slot: str, **wanted: object) -> RouteSeen:
    """Wait until a slot is seen as wanted; return it."""
    with anyio.fail_after(HANG):
        while True:
            seen = (await rig.router.seen())[slot]
            if all(getattr(seen, name) == value for name, value in wanted.items()):
                return seen
            await anyio.sleep(0.02)


@pytest.mark.parametrize("green", rare([10, 50, 100, 0], 1))
async def test_shares_are_exact(rig: Rig, green: int) -> None:
    """A canary's step gets more or less traffic than the watch judges it by."""
    if green % 50 and not rig.any_share:
        with pytest.raises(UsageError, match="can make the shares 0, 50, 100"):
            await rig.router.shift({"blue": 100 - green, "green": green})
        green = 0
    await rig.router.shift({"blue": 100 - green, "green": green})
    seen = await rig.router.seen()
    assert (seen["blue"].share, seen["green"].share) == (100 - green, green)
    sent = await rig.send(400)
    assert abs(sent["green"] - 4 * green) <= 1
    assert sent["blue"] + sent["green"] == 400
    seen = await rig.router.seen()
    assert {slot: seen[slot].traffic.requests for slot in seen} == {
        "blue": sent["blue"],
        "green": sent["green"],
    }
    assert not any(one.traffic.failed or one.traffic.cut for one in seen.values())


async def test_a_drained_slot_ends_its_streams_and_gets_no_new_request(rig: Rig) -> None:
    """Streams are cut by a switch, or a slot that is to be stopped never gets empty."""
    async with rig.streams(3) as streams:
        assert streams.slots == ["blue"] * 3
        assert (await rig.router.seen())["blue"].open == 3
        await rig.router.shift({"blue": 0, "green": 100})
        assert await rig.send(20) == {"green": 20}
        assert (await rig.router.seen())["blue"].open == 3
        assert await streams.finish() == 3
    seen = await is_seen(rig, "blue", open=0)
    assert (seen.share, seen.up, seen.traffic.failed, seen.traffic.cut) == (0, True, 0, 0)


async def test_a_slot_that_is_pointed_elsewhere_gets_nothing_yet(rig: Rig) -> None:
    """Clients reach a server that wasn't proven."""
    await rig.router.shift({"blue": 50, "green": 50})
    await rig.router.point("green", rig.addresses[2])
    seen = (await rig.router.seen())["green"]
    assert (seen.address, seen.share) == (rig.addresses[2], 0)
    assert await rig.send(20) == {"blue": 20}
    await rig.kill(rig.addresses[1])
    await rig.router.shift({"blue": 0, "green": 100})
    assert await rig.send(20) == {"green": 20}


async def test_what_is_repeated_changes_nothing(rig: Rig) -> None:
    """A deployment that is resumed drains a slot that serves."""
    green = 10 if rig.any_share else 50
    await rig.router.shift({"blue": 100 - green, "green": green})
    before = await rig.router.seen()
    await rig.router.point("blue", rig.addresses[0])
    await rig.router.point("green", rig.addresses[1])
    await rig.router.shift({"blue": 100 - green, "green": green})
    assert await rig.router.seen() == before


async def test_a_killed_server_is_seen_and_its_streams_are_counted(rig: Rig) -> None:
    """The watch sees no fault in a slot that loses its users' streams."""
    async with rig.streams(2) as streams:
        await rig.kill(rig.addresses[0])
        assert await streams.finish() == 0
    seen = await is_seen(rig, "blue", open=0, up=False)
    assert (seen.traffic.requests, seen.share) == (2, 100)
    lost = (seen.traffic.failed, seen.traffic.cut)
    assert lost == ((0, 2) if rig.tells_cuts else (2, 0))


async def test_no_share_is_taken_for_a_slot_that_is_down(rig: Rig) -> None:
    """A switch to a dead slot takes the traffic from the one that serves."""
    await is_seen(rig, "green", up=True)
    await rig.kill(rig.addresses[2])
    await rig.router.point("green", rig.addresses[2])
    assert not (await rig.router.seen())["green"].up
    if hasattr(rig.router, "_patience"):
        rig.router._patience = 0.3
    with pytest.raises(RouterFault, match="green"):
        await rig.router.shift({"blue": 0, "green": 100})
    seen = await rig.router.seen()
    assert (seen["blue"].share, seen["green"].share) == (100, 0)
    assert await rig.send(20) == {"blue": 20}


@pytest.mark.parametrize("how", rare(["reload", "restart"]))
async def test_addresses_and_shares_outlive_a_reload_and_a_restart(rig: Rig, how: str) -> None:
    """Somebody reloads the router, and a candidate gets all traffic or none."""
    if not rig.remembers:
        pytest.skip("it forgets all: test_deploy_smg.py has what is done then")
    await rig.router.shift({"blue": 75, "green": 25})
    await getattr(rig, how)()
    seen = await rig.router.seen()
    assert [(one.address, one.share) for one in seen.values()] == [
        (rig.addresses[0], 75),
        (rig.addresses[1], 25),
    ]
    assert (await rig.send(100))["green"] in {24, 25, 26}
    await rig.router.shift({"blue": 0, "green": 100})
    await getattr(rig, how)()
    assert await rig.send(20) == {"green": 20}


async def test_a_router_that_is_gone_is_said_at_once(rig: Rig) -> None:
    """A deployment waits for ever for a router that ended."""
    await rig.vanish()
    for asked in (rig.router.seen(), rig.router.shift({"blue": 100}), rig.router.point("blue", A)):
        with anyio.fail_after(HANG), pytest.raises(RouterFault) as raised:
            await asked
        assert "start" in str(raised.value)


A = "127.0.0.1:30009"


@pytest.mark.long
async def test_both_slots_out_is_seen(rig: Rig) -> None:
    """Nobody is served, and the world looks well."""
    for address in rig.addresses[:2]:
        await rig.kill(address)
    for slot in ("blue", "green"):
        await is_seen(rig, slot, up=False)
    assert await rig.send(2) == {"": 2}
    await rig.router.shift({"blue": 0, "green": 0})
    assert [one.share for one in (await rig.router.seen()).values()] == [0, 0]


@pytest.mark.long
@pytest.mark.parametrize("shares", rare([{"blue": 110, "green": -10}, {"blue": 90}]))
async def test_shares_that_make_no_whole_are_refused(rig: Rig, shares: dict[str, int]) -> None:
    """A mistake in a strategy's arithmetic moves traffic."""
    with pytest.raises(UsageError, match="add up to 100"):
        await rig.router.shift(shares)
    assert (await rig.router.seen())["blue"].share == 100


@pytest.mark.long
async def test_an_unknown_slot_is_refused(rig: Rig) -> None:
    """A misspelt slot is taken for success."""
    with pytest.raises(RouterFault, match="pink"):
        await rig.router.point("pink", rig.addresses[0])
    with pytest.raises(RouterFault, match="pink"):
        await rig.router.shift({"blue": 50, "pink": 50})
