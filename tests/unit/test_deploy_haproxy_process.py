"""How our own HAProxy starts, is reloaded, outlives its starter, and ends."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import psutil
import pytest

from ci.deploy.routers.haproxy_config import Files, HaproxyOptions
from ci.deploy.routers.haproxy_process import router_of, start, stop
from ci.errors import RouterFault, UsageError
from tests.unit.router_rigs import (
    NEEDED,
    ROOT,
    SLOT,
    HaproxyRig,
    opened,
    serving_rig,
)
from tests.unit.router_waits import HANG, kill_all, words

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.fixture
async def rig() -> AsyncIterator[HaproxyRig]:
    """Yield a real HAProxy whose blue slot has all traffic, and green none."""
    async with serving_rig() as real:
        yield real


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="router-") as name:
        yield Path(name)
        kill_all(f"{name}/haproxy.cfg")


@NEEDED
async def test_streams_on_the_old_worker_stay_open_after_a_reload(rig: HaproxyRig) -> None:
    """Options change, the old worker's streams aren't seen, and their server is stopped."""
    before = psutil.Process(rig.pid)
    async with rig.streams(2) as streams:
        rig.router = await start(rig.folder, replace(rig.options, ttft=400.0))
        seen = (await rig.router.seen())["blue"]
        assert (seen.open, seen.share, seen.address) == (2, 100, rig.addresses[0])
        assert await streams.finish() == 2
    assert "timeout server 800s" in rig.files.config.read_text()
    assert psutil.Process(rig.pid) == before
    await opened(rig, 0)


@NEEDED
async def test_a_second_start_finds_the_first_and_two_at_once_are_one(rig: HaproxyRig) -> None:
    """Two jobs have a HAProxy each on one port, and half of the requests go to either."""
    before = rig.pid
    await start(rig.folder, rig.options)
    assert rig.pid == before
    await stop(rig.folder)
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(start, rig.folder, rig.options)
    mine = [one for one in psutil.process_iter() if str(rig.files.config) in words(one)]
    assert len([one for one in mine if one.parent() not in mine]) == 1


@pytest.mark.long
@NEEDED
async def test_another_haproxy_on_the_port_is_said(rig: HaproxyRig, folder: Path) -> None:
    """Two HAProxys share a port, and each gets some of the connections."""
    with pytest.raises(RouterFault, match="Address already in use"):
        await start(folder, rig.options)
    assert await rig.send(2) == {"blue": 2}


@NEEDED
async def test_stop_waits_for_streams_and_keeps_the_shares(rig: HaproxyRig) -> None:
    """A stopped router cuts streams that would have ended, or begins anew without traffic."""
    async with rig.streams(1) as streams, anyio.create_task_group() as tasks:

        async def end() -> None:
            assert "lost no request" in await stop(rig.folder, HANG)

        tasks.start_soon(end)
        assert await streams.finish() == 1
    assert await stop(rig.folder) == ""
    await start(rig.folder, rig.options)
    assert (await rig.router.seen())["blue"].share == 100
    async with rig.streams(1) as streams:
        assert "cut what was open after 0 s" in await stop(rig.folder, grace=0.0)
        assert await streams.finish() == 0


STARTS = """
import anyio, sys
from pathlib import Path
from ci.deploy.routers.haproxy_config import HaproxyOptions
from ci.deploy.routers.haproxy_process import start
anyio.run(start, Path(sys.argv[1]), HaproxyOptions(bind=sys.argv[2]))
"""


@NEEDED
async def test_it_outlives_the_job_that_started_it(rig: HaproxyRig) -> None:
    """The job ends and takes the router with it, or waits for its pipes for ever."""
    await stop(rig.folder)
    argv = [sys.executable, "-c", STARTS, str(rig.folder), rig.options.bind]
    variables = os.environ | {"RUNNER_TRACKING_ID": "job", "SECRET": "token"}
    with anyio.fail_after(HANG):
        job = await anyio.run_process(
            argv, cwd=ROOT, env=variables, start_new_session=True, stderr=subprocess.STDOUT
        )
    assert job.stdout == b""
    process = psutil.Process(rig.pid)
    own = {name for name in process.environ() if not name.startswith("HAPROXY_")}
    assert own == {"PATH", "SGLANG_CI_SERVER"}
    assert os.getsid(process.pid) == process.pid
    assert await rig.send(2) == {"blue": 2}


@NEEDED
async def test_a_port_that_is_taken_and_an_option_that_is_wrong_are_said(folder: Path) -> None:
    """A router that never came up is looked for in its log."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RouterFault, match="Address already in use"):
            await start(folder, HaproxyOptions(bind=bind))
    with pytest.raises(RouterFault, match=r"refuses its configuration: .*missing port"):
        await start(folder, HaproxyOptions(bind="nowhere"))
    with pytest.raises(UsageError, match="for this host"):
        await start(folder, HaproxyOptions(exporter="0.0.0.0:9101"))
    with pytest.raises(UsageError, match="name another folder"):
        await start(folder / ("long" * 30), HaproxyOptions())
    assert await stop(folder) == ""


async def test_a_missing_program_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody without HAProxy gets a traceback."""
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(RouterFault, match="apt-get install haproxy"):
        await start(folder, HaproxyOptions())


async def test_the_url_of_a_router_for_everybody_is_one_of_this_host(folder: Path) -> None:
    """Checks ask 0.0.0.0."""
    assert router_of(folder, HaproxyOptions(bind="*:8080")).url == "http://127.0.0.1:8080"
    assert router_of(folder, HaproxyOptions(bind="10.0.0.1:80")).url == "http://10.0.0.1:80"
    assert Files(folder).master.parent == folder
    assert SLOT == "x-sglang-slot"
