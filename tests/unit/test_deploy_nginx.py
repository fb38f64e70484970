"""A real nginx, moved by the programs of the example: shares, drains, counters, and its end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from ci.deploy.routers.haproxy_config import HaproxyOptions
from ci.deploy.routers.hook import PROGRAMS, HookRouter
from ci.errors import RouterFault
from tests.fakes.timed import Timed, Timing
from tests.unit.launching import free_port
from tests.unit.router_rigs import ROOT, HaproxyRig
from tests.unit.router_waits import HANG, kill_all, until

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
EXAMPLE = ROOT / "examples/nginx"

pytestmark = [
    pytest.mark.unit,
    pytest.mark.anyio,
    pytest.mark.skipif(NGINX is None, reason="nginx isn't installed"),
]


class NginxRig(HaproxyRig):
    """A real nginx, moved by the programs of the example, with fake servers behind it."""

    @property
    def pid(self) -> int:
        """The process of nginx's master."""
        return int((self.folder / "nginx.pid").read_text())

    async def restart(self) -> None:
        """Kill nginx with its workers, and start it."""
        await self.vanish()
        await self.start()

    async def start(self) -> None:
        """Start nginx; it is a daemon."""
        await anyio.run_process(self._nginx, check=True)
        await until((self.folder / "nginx.pid").exists)

    @property
    def _nginx(self) -> list[str]:
        return [str(NGINX), "-p", str(self.folder), "-c", "nginx.conf"]


@asynccontextmanager
async def nginx_rig() -> AsyncIterator[NginxRig]:
    """Run nginx and three servers of known timing; all are gone at the end."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nginx-")))
        for file in (*PROGRAMS, "hook.py", "slots.conf"):
            shutil.copy(EXAMPLE / file, folder / file)
        options = HaproxyOptions(bind=f"127.0.0.1:{free_port()}")
        config = (EXAMPLE / "nginx.conf").read_text().replace("127.0.0.1:30000", options.bind)
        (folder / "nginx.conf").write_text(config)
        timing = Timing(ttft=0.001, itl=0.25)
        servers = [stack.enter_context(Timed(timing)) for _ in range(3)]
        rig = NginxRig(folder, options, {f"127.0.0.1:{one.port}": one for one in servers})
        rig.router = HookRouter(options.url, folder)
        try:
            await rig.start()
            yield rig
        finally:
            kill_all(str(folder))


@pytest.mark.long
async def test_nginx_is_moved_by_the_example() -> None:
    """Who follows the example loses streams, sees no fault, or gives a slot another share."""
    async with nginx_rig() as rig:
        await rig.router.point("blue", rig.addresses[0])
        await rig.router.shift({"blue": 100})
        async with rig.streams(2) as streams:
            assert streams.slots == ["blue", "blue"]
            await rig.router.point("green", rig.addresses[1])
            await rig.router.shift({"blue": 75, "green": 25})
            assert await rig.send(40) == {"blue": 30, "green": 10}
            await rig.router.shift({"green": 100})
            assert await rig.send(4) == {"green": 4}
            assert await streams.finish() == 2
        seen = await rig.router.seen()
        assert [(one.share, one.open, one.traffic.cut) for one in seen.values()] == [
            (0, 0, 0),
            (100, 0, 0),
        ]
        assert [one.traffic.requests for one in seen.values()] == [32, 14]
        async with rig.streams(2) as streams:
            await rig.kill(rig.addresses[1])
            assert await streams.finish() == 0
        with anyio.fail_after(HANG):
            while (seen := await rig.router.seen())["green"].up:
                await anyio.sleep(0.1)
        assert (seen["green"].traffic.requests, seen["green"].traffic.cut) == (16, 2)
        await rig.restart()
        assert (await rig.router.seen())["green"].share == 100
        await rig.vanish()
        with pytest.raises(RouterFault, match="nginx doesn't run; start it"):
            await rig.router.seen()
