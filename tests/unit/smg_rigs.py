"""A real smg, with fake servers behind it, as the contract of routers needs it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from ci.boot.port import reserved
from ci.deploy.routers.smg import SmgRouter
from tests.fakes.timed import Timed
from tests.unit.router_rigs import ServedRig, servers
from tests.unit.router_waits import HANG

PROGRAM = Path(sys.executable).with_name("smg")
SMG_NEEDED = pytest.mark.skipif(not PROGRAM.exists(), reason="smg isn't installed")
ROUTED = "x-smg-routed-worker-id"


def launch(folder: Path, ports: tuple[int, int], *flags: str) -> subprocess.Popen[bytes]:
    """Start smg, with its port and that of its metrics; its log is in a folder."""
    argv = [str(PROGRAM), "launch", "--host", "127.0.0.1", "--port", str(ports[0])]
    argv += ["--prometheus-host", "127.0.0.1", "--prometheus-port", str(ports[1])]
    argv += ["--policy", "round_robin", *flags]
    with (folder / "smg.log").open("ab") as log:
        return subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)


def answers(process: subprocess.Popen[bytes], url: str) -> bool:
    """Return whether an smg answers by now; it must not have ended."""
    assert process.poll() is None, "smg has ended: see its log"
    try:
        httpx.get(f"{url}/workers", trust_env=False)
    except httpx.TransportError:
        return False
    return True


@contextmanager
def running_smg(folder: Path) -> Iterator[tuple[str, str]]:
    """Run smg; yield its URL and that of its metrics."""
    with ExitStack() as stack:
        port, metrics = (stack.enter_context(reserved("127.0.0.1", 0)) for _ in range(2))
        url, process = f"http://127.0.0.1:{port}", launch(folder, (port, metrics))
        try:
            while not answers(process, url):
                time.sleep(0.05)
            yield url, f"http://127.0.0.1:{metrics}"
        finally:
            process.kill()
            process.wait()


class SmgRig(ServedRig):
    """A real smg, which the test runs as a user does."""

    any_share = False
    tells_cuts = False
    remembers = False

    def __init__(self, folder: Path, ports: tuple[int, int], servers: dict[str, Timed]) -> None:
        """Take a folder for its log, its port and that of its metrics, and the servers."""
        super().__init__(servers)
        self._folder, self._ports = folder, ports
        self._process: subprocess.Popen[bytes] | None = None
        self.smg = self.router = SmgRouter(*(f"http://127.0.0.1:{port}" for port in ports))

    def slot_of(self, answer: httpx.Response) -> str:
        """Return the slot of the server that it names."""
        address = answer.headers.get(ROUTED, "").removeprefix("http://")
        if address not in self.addresses:
            return ""
        return "green" if self.addresses.index(address) else "blue"

    async def begin(self, *flags: str) -> None:
        """Start it, and wait until it answers."""
        self._process = launch(self._folder, self._ports, *flags)
        with anyio.fail_after(HANG):
            while not answers(self._process, self.smg.url):
                await anyio.sleep(0.05)

    async def reload(self) -> None:
        """Do as `restart`: it has no reload."""
        await self.restart()

    async def restart(self) -> None:
        """Kill it, and start it."""
        await self.vanish()
        await self.begin()

    async def vanish(self) -> None:
        """Kill it."""
        if self._process:
            self._process.kill()
            self._process.wait()


@asynccontextmanager
async def smg_rig(*flags: str) -> AsyncIterator[SmgRig]:
    """Run smg and three servers of known timing; all are gone at the end."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smg-")))
        port, metrics = (stack.enter_context(reserved("127.0.0.1", 0)) for _ in range(2))
        rig = SmgRig(folder, (port, metrics), servers(stack))
        try:
            await rig.begin(*flags)
            yield rig
        finally:
            await rig.vanish()
