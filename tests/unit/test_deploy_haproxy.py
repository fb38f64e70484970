"""What a real HAProxy counts, and what it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import httpx
import pytest

from ci.deploy.routers.haproxy import HaproxyRouter
from ci.deploy.routers.haproxy_seen import shares_of
from ci.deploy.routers.haproxy_socket import RuntimeSocket
from ci.errors import RouterFault, UsageError
from tests.rare import rare
from tests.unit.router_rigs import (
    NEEDED,
    HaproxyRig,
    opened,
    serving_rig,
)
from tests.unit.router_waits import HANG

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.fixture
async def rig() -> AsyncIterator[HaproxyRig]:
    """Yield a real HAProxy whose blue slot has all traffic, and green none."""
    async with serving_rig() as real:
        yield real


async def ask(rig: HaproxyRig, fault: str, tokens: int = 4) -> None:
    """Make one request that its server spoils, and take what comes."""
    body = {"text": "Hello", "stream": True, "sampling_params": {"max_new_tokens": tokens}}
    async with httpx.AsyncClient(timeout=HANG) as client:
        try:
            url = f"{rig.router.url}/generate"
            await client.post(url, json=body, headers={"x-fault": fault})
        except httpx.RemoteProtocolError:
            assert fault == "cut"


@NEEDED
@pytest.mark.parametrize(
    ("fault", "counted"),
    rare(
        [
            *(("status", (2, 2, 0)), ("cut", (2, 0, 2)), ("", (2, 0, 0)), ("garbage", (2, 2, 0))),
            ("reset", (6, 6, 0)),
        ],
    ),
)
async def test_what_is_failed_and_what_is_cut(
    rig: HaproxyRig, fault: str, counted: tuple[int, int, int]
) -> None:
    """The watch judges a slot by counts that are none; a request is tried three times at most."""
    for _ in range(2):
        await ask(rig, fault)
    traffic = (await rig.router.seen())["blue"].traffic
    assert (traffic.requests, traffic.failed, traffic.cut) == counted


@NEEDED
@pytest.mark.parametrize("fault", rare(["mute", ""]))
async def test_a_clients_own_abort_is_no_fault_of_the_slot(rig: HaproxyRig, fault: str) -> None:
    """Users who close their browser abort a deployment; or their requests stay open for ever."""
    sampling = {"max_new_tokens": 10_000 if not fault else 4}
    body = {"text": "Hello", "stream": True, "sampling_params": sampling}
    url, headers = f"{rig.router.url}/generate", {"x-fault": fault}
    async with httpx.AsyncClient(timeout=HANG) as client, anyio.create_task_group() as tasks:

        async def ask_and_wait() -> None:
            async with client.stream("POST", url, json=body, headers=headers) as answer:
                await answer.aread()

        tasks.start_soon(ask_and_wait)
        await opened(rig, 1)
        tasks.cancel_scope.cancel()
    await opened(rig, 0)
    traffic = (await rig.router.seen())["blue"].traffic
    assert (traffic.requests, traffic.failed, traffic.cut) == (1, 0, 0)


@NEEDED
async def test_a_request_that_a_dead_slot_did_not_take_is_given_to_the_other(
    rig: HaproxyRig,
) -> None:
    """Each request to a slot that just died is lost until a check finds it; or isn't counted."""
    await rig.router.point("green", rig.addresses[1])
    await rig.router.shift({"blue": 50, "green": 50})
    await rig.kill(rig.addresses[1])
    assert await rig.send(10) == {"blue": 10}
    green = (await rig.router.seen())["green"].traffic
    assert green.failed == green.requests
    assert green.cut == 0


@NEEDED
@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"backend": "other"}, "no backend other; it is another's socket"),
        ({"slots": ("blue", "pink")}, "no server pink (it has blue, green); declare"),
    ],
)
async def test_another_backend_and_unknown_servers_are_said(
    rig: HaproxyRig, wanted: dict[str, str], said: str
) -> None:
    """A deployment moves the traffic of somebody else's service."""
    router = HaproxyRouter("", rig.files.socket, **{"backend": "sglang", **wanted})  # type: ignore[arg-type]
    with pytest.raises(RouterFault) as raised:
        await router.seen()
    assert said in str(raised.value)


@NEEDED
async def test_what_haproxy_refuses_is_told_in_its_words(rig: HaproxyRig) -> None:
    """A command that did nothing is taken for done."""
    with pytest.raises(RouterFault, match="Absolute weight can only be between 0 and 256"):
        await RuntimeSocket(rig.files.socket).tell("set server sglang/blue weight 300")
    with pytest.raises(UsageError, match="slots take ip:port"):
        await rig.router.point("blue", "gpu-1:30000")
    rig.files.state.unlink()
    rig.files.state.with_name(".haproxy.state.new").mkdir()
    with pytest.raises(RouterFault, match="HAProxy forgets it on a reload"):
        await rig.router.shift({"blue": 100})


async def test_weights_of_others_are_read_as_shares_of_100() -> None:
    """Shares that somebody set by hand don't add up."""
    assert shares_of({"blue": 1, "green": 2}) == {"blue": 33, "green": 67}
    assert shares_of({"a": 1, "b": 1, "c": 1}) == {"a": 34, "b": 33, "c": 33}
    assert shares_of({"blue": 0, "green": 0}) == {"blue": 0, "green": 0}
