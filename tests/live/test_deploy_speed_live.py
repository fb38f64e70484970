"""A slow release behind a real router: SGLang's own `/slow_down` on the candidate."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest

from ci.boot.port import reserved
from ci.deploy.demo import clear
from ci.deploy.deployment import Deployment
from ci.deploy.grounds import Grounds
from ci.settings import Settings
from ci.traffic.records import Ending
from ci.verdict import Verdict
from tests.live.deploying import deployed, users
from tests.unit.router_rigs import INSTALLED

pytestmark = [
    pytest.mark.live,
    pytest.mark.long,
    pytest.mark.anyio,
    pytest.mark.skipif(not INSTALLED, reason="haproxy isn't installed"),
]

HANG = 1500.0
SLEEP = 0.03
"""Seconds that the slowed scheduler sleeps before each forward pass; one takes about 10 ms."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder whose path is short enough for sockets."""
    made = Path(tempfile.mkdtemp(prefix="speed-"))
    yield made
    shutil.rmtree(made)


def deployment(folder: Path, port: int, *flags: str) -> Deployment:
    """Return the deployment of a release behind a router on `port`."""
    deploy = {
        "folder": str(folder),
        "strategy": "canary",
        "shares": [50],
        "hold": 150,
        "budget": 150,
        "port": port,
    }
    server = {"flags": list(flags), "environment": {"OMP_NUM_THREADS": "1"}}
    settings = {
        "server": server,
        "smoke": {"select": "greedy"},
        "environments": {"test": {"deploy": deploy}},
    }
    return Deployment(Grounds.of(Settings.model_validate(settings), "test"))


async def slow_down(grounds: Grounds) -> None:
    """Slow the server in green as soon as it has a share."""
    while True:
        route = (await grounds.router.seen())["green"]
        if route.share:
            async with httpx.AsyncClient() as client:
                body = {"forward_sleep_time": SLEEP}
                url = f"http://{route.address}/slow_down"
                (await client.post(url, json=body)).raise_for_status()
            return
        await anyio.sleep(0.5)


async def test_a_slow_release_is_taken_back_and_an_equal_one_is_not(folder: Path) -> None:
    """Users wait for a slow release, or a good one never gets out on a small machine."""
    with reserved("127.0.0.1", 0) as port, anyio.fail_after(HANG):
        first = deployment(folder, port)
        second = deployment(folder, port, "--random-seed=2")
        try:
            assert (await deployed(first, folder)).verdict is Verdict.PASSED
            async with (
                users(first.grounds.router.url, HANG) as seen,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(slow_down, first.grounds)
                slow = await deployed(second, folder)
                good = await deployed(second, folder)
        finally:
            with anyio.CancelScope(shield=True):
                await clear(first.grounds)
    name = "speed of green at 50 %"
    assert slow.verdict is Verdict.FAILED, slow.facts
    assert "slower by more than 20 %" in slow.cause
    assert name in slow.facts
    assert slow.facts["outcome"] == "taken back"
    assert good.verdict is Verdict.PASSED, (good.cause, good.facts)
    assert name in good.facts
    assert {one.ending for one in seen} == {Ending.GOOD}
