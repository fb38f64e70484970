"""Routers with servers behind them, as the contract of routers needs them: fake and real."""

from __future__ import annotations

import json
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path

import anyio
import httpx
import psutil
import pytest

from ci.boot.port import reserved
from ci.deploy.routers.haproxy_check import program
from ci.deploy.routers.haproxy_config import Files, HaproxyOptions
from ci.deploy.routers.haproxy_process import start
from ci.deploy.seams import Router
from tests.fakes.fake_router import FakeRouter
from tests.fakes.timed import Timed, Timing
from tests.unit.router_waits import HANG, ended, kill_all, until

ROOT = Path(__file__).parents[2]
SLOT = "x-sglang-slot"
INSTALLED = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
NEEDED = pytest.mark.skipif(not INSTALLED, reason="HAProxy isn't installed")
TOKENS = 40


class Rig(ABC):
    """A router, and servers at addresses.

    Attributes:
        router: The router.
        addresses: Where the servers listen; blue is at the first, green at the others.
        any_share: Whether it can make every share, and not only halves.
        tells_cuts: Whether it tells what was cut from what failed.
        remembers: Whether addresses and shares outlive its restart.
    """

    router: Router
    addresses: list[str]
    any_share = True
    tells_cuts = True
    remembers = True

    @abstractmethod
    async def send(self, count: int) -> Counter[str]:
        """Make whole requests, one after the other; count them by slot, "" for a refusal."""

    @abstractmethod
    def streams(self, count: int) -> AbstractAsyncContextManager[Streams]:
        """Hold streams open."""

    @abstractmethod
    async def kill(self, address: str) -> None:
        """End the server at an address at once."""

    @abstractmethod
    async def reload(self) -> None:
        """Do as somebody who reloads the router."""

    @abstractmethod
    async def restart(self) -> None:
        """Do as somebody who kills the router and starts it."""

    @abstractmethod
    async def vanish(self) -> None:
        """End the router."""


class Streams(ABC):
    """Streams that are open.

    Attributes:
        slots: Who has them.
    """

    slots: list[str]

    @abstractmethod
    async def finish(self) -> int:
        """Let them run; return how many came whole to their end."""


class FakeRig(Rig):
    """The router in memory."""

    def __init__(self) -> None:
        """Begin with three servers."""
        self.router = self.fake = FakeRouter()
        self.addresses = ["127.0.0.1:30001", "127.0.0.1:30002", "127.0.0.1:30003"]

    async def send(self, count: int) -> Counter[str]:
        """Ask the fake."""
        return Counter(self.fake.request() or "" for _ in range(count))

    @asynccontextmanager
    async def streams(self, count: int) -> AsyncIterator[Streams]:
        """Open requests at the fake."""
        yield _FakeStreams(self.fake, [self.fake.begin() or "" for _ in range(count)])

    async def kill(self, address: str) -> None:
        """Have nothing answer there."""
        self.fake.dead.add(address)

    async def reload(self) -> None:
        """Forget what was counted."""
        self.fake.restart()

    async def restart(self) -> None:
        """Forget what was counted."""
        self.fake.restart()

    async def vanish(self) -> None:
        """Answer no more."""
        self.fake.gone = True


class _FakeStreams(Streams):
    def __init__(self, fake: FakeRouter, slots: list[str]) -> None:
        self._fake, self.slots = fake, slots

    async def finish(self) -> int:
        seen, cut = await self._fake.seen(), 0
        for slot in self.slots:
            dead = seen[slot].address in self._fake.dead
            self._fake.end(slot, cut=dead)
            cut += dead
        return len(self.slots) - cut


class ServedRig(Rig):
    """A real router, with fake servers in processes behind it."""

    def __init__(self, servers: dict[str, Timed]) -> None:
        """Take the servers by address."""
        self._servers = servers
        self.addresses = list(servers)

    def slot_of(self, answer: httpx.Response) -> str:
        """Return the slot that gave an answer; empty for the router's own."""
        return str(answer.headers.get(SLOT, ""))

    async def send(self, count: int) -> Counter[str]:
        """Ask over HTTP, by one client that keeps its connection."""
        body = {"text": "Hello", "sampling_params": {"max_new_tokens": 1}}
        async with httpx.AsyncClient(timeout=HANG) as client:
            url = f"{self.router.url}/generate"
            answers = [await client.post(url, json=body) for _ in range(count)]
        return Counter(map(self.slot_of, answers))

    @asynccontextmanager
    async def streams(self, count: int) -> AsyncIterator[Streams]:
        """Open streams over HTTP."""
        sampling = {"max_new_tokens": TOKENS, "ignore_eos": True}
        body = {"text": "Hello", "stream": True, "sampling_params": sampling}
        async with httpx.AsyncClient(timeout=HANG) as client:
            url = f"{self.router.url}/generate"
            asked = [client.build_request("POST", url, json=body) for _ in range(count)]
            answers = [await client.send(request, stream=True) for request in asked]
            yield _Streams(answers, [self.slot_of(answer) for answer in answers])
            for answer in answers:
                await answer.aclose()

    async def kill(self, address: str) -> None:
        """Kill the process."""
        self._servers[address].kill()


class HaproxyRig(ServedRig):
    """A real HAProxy of our own."""

    def __init__(self, folder: Path, options: HaproxyOptions, servers: dict[str, Timed]) -> None:
        """Take the folder of HAProxy and the servers by address."""
        super().__init__(servers)
        self.folder, self.options = folder, options
        self.files = Files(folder)

    @property
    def pid(self) -> int:
        """The process of HAProxy's master."""
        return int(self.files.pid.read_text())

    async def reload(self) -> None:
        """Start a second HAProxy that takes over, as `-sf` does; without the master."""
        argv = [program(), "-D", "-f", str(self.files.config), "-p", str(self.files.pid)]
        old = psutil.Process(self.pid)
        await anyio.run_process([*argv, "-sf", str(self.pid)], check=True)
        await until(lambda: ended(old))

    async def restart(self) -> None:
        """Kill HAProxy with all its workers, and start it."""
        await self.vanish()
        self.router = await start(self.folder, self.options)

    async def vanish(self) -> None:
        """Kill HAProxy with all its workers."""
        process = psutil.Process(self.pid)
        killed = [process, *process.children()]
        for one in killed:
            one.kill()
        await until(lambda: all(map(ended, killed)))


class _Streams(Streams):
    def __init__(self, answers: list[httpx.Response], slots: list[str]) -> None:
        self._answers, self.slots = answers, slots

    async def finish(self) -> int:
        whole = 0
        for answer in self._answers:
            try:
                text = (await answer.aread()).decode()
            except httpx.RemoteProtocolError:
                continue
            events = [line for line in text.splitlines() if line.startswith("data: {")]
            told = json.loads(events[-1][6:]).get("meta_info", {})
            whole += told.get("finish_reason") is not None
        return whole


def servers(stack: ExitStack) -> dict[str, Timed]:
    """Run three servers of known timing as long as a stack lasts; return them by address."""
    timing = Timing(ttft=0.001, itl=0.02)
    started = [stack.enter_context(Timed(timing)) for _ in range(3)]
    return {f"127.0.0.1:{one.port}": one for one in started}


@asynccontextmanager
async def haproxy_rig() -> AsyncIterator[HaproxyRig]:
    """Run HAProxy and three servers of known timing; all are gone at the end."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="router-")))
        port = stack.enter_context(reserved("127.0.0.1", 0))
        options = HaproxyOptions(bind=f"127.0.0.1:{port}", check_interval=0.05)
        rig = HaproxyRig(folder, options, servers(stack))
        try:
            rig.router = await start(folder, options)
            yield rig
        finally:
            kill_all(str(rig.files.config))


@asynccontextmanager
async def serving_rig() -> AsyncIterator[HaproxyRig]:
    """Run HAProxy, whose blue slot has all traffic, and whose green one points nowhere."""
    async with haproxy_rig() as rig:
        await rig.router.point("blue", rig.addresses[0])
        await rig.router.shift({"blue": 100})
        yield rig


async def opened(rig: HaproxyRig, count: int) -> None:
    """Wait until so many requests are open on blue."""
    with anyio.fail_after(HANG):
        while (await rig.router.seen())["blue"].open != count:
            await anyio.sleep(0.02)
