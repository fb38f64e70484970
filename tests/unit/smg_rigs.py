"""A real smg, with fake servers behind it, as the contract of routers needs it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from ci.boot.port import reserved
from ci.deploy.routers.smg import SmgRouter
from ci.errors import RouterFault
from tests.fakes.timed import Timed
from tests.unit.router_rigs import ServedRig, servers
from tests.unit.router_waits import HANG

PROGRAM = Path(sys.executable).with_name("smg")
SMG_NEEDED = pytest.mark.skipif(not PROGRAM.exists(), reason="smg isn't installed")
ROUTED = "x-smg-routed-worker-id"
POLICY = "round_robin"


class SmgRig(ServedRig):
    """A real smg, which the test runs as a user does."""

    any_share = False
    tells_cuts = False
    remembers = False

    def __init__(self, folder: Path, ports: tuple[int, int], servers: dict[str, Timed]) -> None:
        """Take a folder for its log, its port and that of its metrics, and the servers."""
        super().__init__(servers)
        self._log, self._ports = folder / "smg.log", ports
        self._process: subprocess.Popen[bytes] | None = None
        self.smg = self.router = SmgRouter(*(f"http://127.0.0.1:{port}" for port in ports))

    def slot_of(self, answer: httpx.Response) -> str:
        """Return the slot of the server that it names."""
        address = answer.headers.get(ROUTED, "").removeprefix("http://")
        if address not in self.addresses:
            return ""
        return "green" if self.addresses.index(address) else "blue"

    async def begin(self, policy: str = POLICY) -> None:
        """Start it, and wait until it answers."""
        port, metrics = map(str, self._ports)
        argv = [str(PROGRAM), "launch", "--host", "127.0.0.1", "--port", port]
        argv += ["--prometheus-host", "127.0.0.1", "--prometheus-port", metrics]
        self._process = self._started([*argv, "--policy", policy])
        with anyio.fail_after(HANG):
            while True:
                try:
                    await self.router.seen()
                except RouterFault:
                    assert self._process.poll() is None, self._log.read_text()
                    await anyio.sleep(0.05)
                else:
                    return

    def _started(self, argv: list[str]) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)

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
async def smg_rig(policy: str = POLICY) -> AsyncIterator[SmgRig]:
    """Run smg and three servers of known timing; all are gone at the end."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smg-")))
        port, metrics = (stack.enter_context(reserved("127.0.0.1", 0)) for _ in range(2))
        rig = SmgRig(folder, (port, metrics), servers(stack))
        try:
            await rig.begin(policy)
            yield rig
        finally:
            await rig.vanish()
