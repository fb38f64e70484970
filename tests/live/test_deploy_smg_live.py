"""Two real SGLang behind a real smg: switched there and back, and a canary that is aborted."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from ci.deploy.demo import clear
from ci.deploy.deployment import Deployment
from ci.deploy.grounds import Grounds
from ci.report.model import Check
from ci.settings import Settings
from ci.traffic.records import Ending
from ci.verdict import Verdict
from tests.live.deploying import deployed, users
from tests.unit.smg_rigs import SMG_NEEDED, running_smg

pytestmark = [pytest.mark.live, pytest.mark.long, pytest.mark.anyio, SMG_NEEDED]

HANG = 1200.0
HALF = 50
SEEN = 5.0
"""Seconds for which a canary has its half before it is aborted."""


@dataclass
class Place:
    """Where it is deployed to.

    Args:
        folder: Keeps slots and logs.
        url: The router's, for clients and for us.
        metrics: The router's own metrics.
    """

    folder: Path
    url: str
    metrics: str
    number: int = 0

    def deployment(self, strategy: str) -> Deployment:
        """Return the deployment of the next release, which differs from the last by its seed."""
        self.number += 1
        deploy = {
            "folder": str(self.folder),
            "router": "smg",
            "url": self.url,
            "metrics": self.metrics,
            "strategy": strategy,
            "shares": [HALF],
            "hold": HANG,
            "budget": HANG,
            "grace": 60,
            "slower": 0,
        }
        server = {
            "flags": [f"--random-seed={self.number}"],
            "environment": {"OMP_NUM_THREADS": "1"},
        }
        settings = {
            "server": server,
            "smoke": {"select": "greedy"},
            "environments": {"test": {"deploy": deploy}},
        }
        return Deployment(Grounds.of(Settings.model_validate(settings), "test"))


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """Run smg as its users do, and clear away what was deployed behind it."""
    with (
        tempfile.TemporaryDirectory(prefix="smg-live-") as folder,
        running_smg(Path(folder)) as (url, metrics),
    ):
        made = Place(Path(folder), url, metrics)
        try:
            yield made
        finally:
            with anyio.CancelScope(shield=True):
                await clear(made.deployment("blue-green").grounds)


async def aborted(place: Place) -> Check:
    """Have a canary begin, be cut off at half of the traffic, and be aborted."""
    canary = place.deployment("canary")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(deployed, canary, place.folder)
        while [one.share for one in (await canary.grounds.looked()).routes.values()] != [HALF] * 2:
            await anyio.sleep(0.3)
        await anyio.sleep(SEEN)
        tasks.cancel_scope.cancel()
    return await deployed(canary, place.folder, abort=True)


async def test_switches_and_an_abort_lose_no_stream(place: Place) -> None:
    """What was seen with servers of known timing doesn't hold with real ones."""
    with anyio.fail_after(HANG):
        found = [await deployed(place.deployment("blue-green"), place.folder)]
        async with users(place.url, HANG, output_tokens=100) as seen:
            found += [
                await deployed(place.deployment("blue-green"), place.folder) for _ in range(2)
            ]
            found.append(await aborted(place))
    for check in found:
        assert check.verdict is Verdict.PASSED, (check.cause, check.facts)
    assert len(seen) > 100
    assert {one.ending for one in seen} == {Ending.GOOD}, {one.why for one in seen}
    assert len({one.slot for one in seen}) > 1
