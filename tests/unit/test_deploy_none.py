"""A deployment without a router: one server at a time, on the port that clients know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute

from ci.deploy.routers.none import NoRouter
from ci.deploy.world import RouteSeen
from ci.errors import RouterFault, UsageError

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.fixture
async def address() -> AsyncIterator[str]:
    """Yield the address of a server."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - no Django
        yield f"127.0.0.1:{port}"


@pytest.fixture
def router(tmp_path: Path) -> NoRouter:
    """Return the router of a folder."""
    return NoRouter("http://127.0.0.1:30000", tmp_path / "router/none.json")


async def test_what_is_meant_is_kept_for_whoever_comes_next(
    router: NoRouter, address: str, tmp_path: Path
) -> None:
    """A deployment that is resumed doesn't know which slot serves, or what is repeated changes."""
    assert await router.seen() == {"blue": RouteSeen(), "green": RouteSeen()}
    await router.point("blue", address)
    await router.shift({"blue": 100, "green": 0})
    again = NoRouter(router.url, tmp_path / "router/none.json")
    before = await again.seen()
    assert before == {"blue": RouteSeen(address, 100, up=True), "green": RouteSeen()}
    await again.point("blue", address)
    await again.shift({"blue": 100})
    assert await again.seen() == before
    await again.point("blue", "127.0.0.1:9")
    assert (await router.seen())["blue"] == RouteSeen("127.0.0.1:9")
    await router.shift({})
    assert (await router.seen())["blue"].share == 0


async def test_no_share_is_taken_for_a_slot_that_is_down(router: NoRouter, address: str) -> None:
    """A switch to a dead slot counts as done."""
    await router.point("blue", address)
    await router.shift({"blue": 100})
    await router.point("green", "127.0.0.1:9")
    with pytest.raises(RouterFault, match="green should get everything"):
        await router.shift({"green": 100})
    assert (await router.seen())["blue"].share == 100


@pytest.mark.parametrize(
    "shares", [{"blue": 90}, {"blue": 110, "green": -10}, {"blue": 50, "green": 50}]
)
async def test_shares_that_nobody_can_part_are_refused(
    router: NoRouter, shares: dict[str, int]
) -> None:
    """A canary's share is taken for given."""
    with pytest.raises(UsageError, match="add up to 100"):
        await router.shift(shares)


async def test_an_unknown_slot_is_refused(router: NoRouter, address: str) -> None:
    """A misspelt slot is taken for success."""
    with pytest.raises(RouterFault, match="pink"):
        await router.point("pink", address)
    with pytest.raises(RouterFault, match="pink"):
        await router.shift({"pink": 100})


async def test_what_was_kept_and_is_spoilt_is_said(router: NoRouter, tmp_path: Path) -> None:
    """A half-written file ends in a traceback, or in traffic for nobody."""
    (tmp_path / "router").mkdir()
    (tmp_path / "router/none.json").write_text("{")
    with pytest.raises(RouterFault, match=r"none\.json can't be read: remove it"):
        await router.seen()
