"""Checks that hurt a server by its fault agent, which starts it anew: `launch.sh` on a fake."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import anyio
import httpx
import psutil
import pytest

from ci.boot.launch import launch_script
from ci.errors import CheckBroken, ServerExited
from ci.health import agent as agents
from ci.health.anew import anew
from ci.health.stage import GivenServer, drain
from ci.health.targets import AgentTarget
from ci.report.model import Check
from ci.report.progress import progress_for
from ci.settings import ReadinessSettings, Settings
from ci.settings.health import DrainSettings
from ci.stages import Stages, checked
from ci.verdict import Outcome
from tests.fakes.launched import STUBBORN, Plan, install
from tests.unit.launching import free_port

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

HANG = 60.0
QUICK = DrainSettings(
    scenarios=("streams", "long streams"),
    grace=20,
    streams=2,
    tokens=2,
    long_tokens=2,
    interval=0.02,
    settle=0.02,
)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[tuple[GivenServer, subprocess.Popen[bytes]]]:
    """A fake server under a fault agent, with a child that doesn't end by itself."""
    with beside_agent(tmp_path) as running:
        yield running


@contextmanager
def beside_agent(
    tmp_path: Path, *options: str
) -> Iterator[tuple[GivenServer, subprocess.Popen[bytes]]]:
    """Yield such a server, and its agent's process."""
    model, server, asked = tmp_path / "model", free_port(), free_port()
    model.mkdir()
    (model / "config.json").write_text("{}")
    own = {"PORT": str(server), "MODEL_PATH": str(model), "PYTHON": sys.executable}
    environment = os.environ | install(tmp_path / "installed", Plan(child=True)) | own
    command = [sys.executable, "-IS", agents.__file__, "--port", str(asked), "--linger", "300"]
    argv = [*command, *options, "--", "bash", str(launch_script()), "--device", "cpu"]
    urls = (f"http://127.0.0.1:{port}" for port in (server, asked))
    with subprocess.Popen(argv, env=environment | {"DEVICE": "cpu"}) as process:
        try:
            yield GivenServer(next(urls), agent=next(urls)), process
            process.terminate()
            process.wait(HANG)
        finally:
            process.kill()


async def up(given: GivenServer) -> AgentTarget:
    """Wait until the server gives a token."""
    async with httpx.AsyncClient(trust_env=False) as client:
        with anyio.fail_after(HANG):
            while True:
                try:
                    if (await client.get(f"{given.url}/health")).status_code == httpx.codes.OK:
                        return AgentTarget(given.url, given.agent)
                except httpx.TransportError:
                    await anyio.sleep(0.05)


async def drained(given: GivenServer, folder: Path) -> Check:
    """Return what the check `drain` finds."""
    with anyio.fail_after(HANG):
        stages = Stages(progress_for(io.StringIO(), {}), folder)
        return await checked("drain", partial(drain, given, Settings(drain=QUICK), stages))


def stubborn(folder: Path) -> int:
    """Return how many of the servers' children live."""
    found = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            ours = str(folder) in process.environ().get("PYTHONPATH", "")
            found += ours and STUBBORN in process.cmdline()
    return found


@pytest.mark.long
async def test_each_scenario_has_a_fresh_server(
    agent: tuple[GivenServer, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """In a container all but the first scenario is left out, or hurts a server that is dead."""
    given, _ = agent
    await up(given)
    check = await drained(given, tmp_path)
    assert [phase.name for phase in check.phases] == ["streams", "long streams"]
    found = {case.name: case.outcome for case in check.cases}
    for scenario in ("streams", "long streams"):
        assert found[f"{scenario}: exit code 0"] is Outcome.PASSED
        assert found[f"{scenario}: leaves no process"] is Outcome.FAILED
    assert stubborn(tmp_path) == 1  # what the first one left was killed for the second


@pytest.mark.long
async def test_a_server_that_does_not_start_anew_is_told_at_once(
    agent: tuple[GivenServer, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """The check waits out the whole budget of a start that has failed already."""
    given, _ = agent
    await up(given)
    (tmp_path / "model/config.json").unlink()
    with pytest.raises(ServerExited, match=r"exited with 67 .* 'long streams'"):
        await drained(given, tmp_path)


async def test_an_idle_agent_starts_a_server_as_often_as_asked(tmp_path: Path) -> None:
    """A comparison's first start would be the engine's, in an order that nobody drew."""
    quiet = progress_for(io.StringIO(), {})
    with beside_agent(tmp_path, "--idle") as (given, _), anyio.fail_after(HANG):
        target = AgentTarget(given.url, given.agent)
        await answers(target)
        assert not (await target.state()).running
        for purpose in ("baseline", "baseline"):
            async with anew(target, ReadinessSettings(), quiet, purpose) as server:
                assert (await server.state()).running
        assert stubborn(tmp_path) == 1  # the first start's was killed


async def answers(target: AgentTarget) -> None:
    """Wait until the agent does."""
    while True:
        with suppress(CheckBroken):
            await target.state()
            return
        await anyio.sleep(0.05)


async def test_a_container_that_is_told_to_end_ends(
    agent: tuple[GivenServer, subprocess.Popen[bytes]],
) -> None:
    """An engine waits for its grace and kills what had nothing to do, at the end of each check."""
    given, process = agent
    target = await up(given)
    assert (await target.state()).running
    process.send_signal(signal.SIGTERM)
    assert await anyio.to_thread.run_sync(process.wait, HANG) == 0
