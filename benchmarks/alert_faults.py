"""The faults that alerts are for, put into real servers, and the servers that have them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.abc
import httpx
import psutil

from benchmarks.alert_relay import Relay
from ci.boot.port import reserved
from ci.monitoring.write import listed
from ci.settings.observe import ObserveTarget

BOOT, OK = 600.0, 200
"""Most seconds of a start, and the status of an answer."""
DICE = random.Random(1)  # noqa: S311
Undo = Callable[[], Awaitable[None]]


class Server:
    """A server of the packaged tiny model, in a process group of its own, on one port for ever.

    Args:
        port: The port.
        flags: Flags of SGLang's.
        log: Gets its output.
    """

    def __init__(self, port: int, flags: Sequence[str], log: Path) -> None:
        self.url, self._flags, self._log = f"http://127.0.0.1:{port}", flags, log
        self._argv = [sys.executable, "-m", "ci", "serve", "--set", f"server.port={port}", "--"]
        self.pid = 0

    async def start(self) -> None:
        """Start it, and return when it has answered."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(  # noqa: ASYNC220 - it outlives what starts it
                [*self._argv, *self._flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=os.environ | {"OMP_NUM_THREADS": "1"}, start_new_session=True,
            )  # fmt: skip
        self.pid, self._process = process.pid, process
        with anyio.fail_after(BOOT):
            while await asked(self.url, 1, "one") != OK:
                await anyio.sleep(1)

    def kill(self) -> None:
        """End all of its processes at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


async def asked(url: str, tokens: int, text: object, **more: object) -> int:
    """Send one request, and return its status; 0 where none came."""
    sampling = {"max_new_tokens": tokens, "ignore_eos": True}
    body = {"text": text, "sampling_params": sampling, **more}
    with suppress(httpx.HTTPError):
        async with httpx.AsyncClient(trust_env=False, timeout=120) as client:
            return (await client.post(f"{url}/generate", json=body)).status_code
    return 0


@dataclass
class Rig:
    """A server that gets the faults, and a relay of its metrics, which is another slot."""

    one: Server
    relay: Relay
    targets: Path | None = None
    words: str = "the same beginning of every prompt, long enough to be kept, and then some more"

    @classmethod
    @asynccontextmanager
    async def started(cls, folder: Path, flags: Sequence[str]) -> AsyncIterator[Rig]:
        """Start the server, and end it at the end."""
        with reserved("127.0.0.1", 0) as port:
            server = Server(port, flags, folder / "server.log")
            try:
                await server.start()
                yield cls(server, Relay(server.url))
            finally:
                server.kill()

    def part(self, name: str) -> psutil.Process:
        """Return a process of the first server by its name."""
        parts = psutil.Process(self.one.pid).children(recursive=True)
        return next(part for part in parts if name in " ".join([part.name(), *part.cmdline()]))

    def label(self, version: str = "0.5.23", *, empty: bool = False) -> None:
        """Write the targets."""
        blue = {"environment": "prod", "slot": "blue", "release": "r1", "version": version}
        green = {"environment": "prod", "slot": "green", "release": "r2"}
        of = ((self.one.url, blue), (f"http://{self.relay.address}", green))
        found = [] if empty else [ObserveTarget(url=url, **labels) for url, labels in of]
        assert self.targets
        new = self.targets.with_suffix(".new")
        new.write_text(listed(found))
        new.replace(self.targets)

    async def ask(self, tokens: int = 8, text: object = None, **more: object) -> int:
        """Send the first server one request, and return its status; 0 where none came."""
        return await asked(self.one.url, tokens, self.words if text is None else text, **more)

    @asynccontextmanager
    async def traffic(self) -> AsyncIterator[None]:
        """Send ordinary requests, one after the other."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._send)
            yield
            tasks.cancel_scope.cancel()

    async def _send(self) -> None:
        while True:
            await anyio.sleep(0.7)
            with anyio.move_on_after(30):
                await self.ask()


@dataclass(frozen=True)
class Fault:
    """A fault, and the alerts that it has to bring about.

    Args:
        name: What it is called.
        alerts: Names of alerts.
        inject: Puts it in while the context lasts; what it yields takes it away again.
        patience: Most seconds until its alerts fire; 0 as usual.
        clears: Most seconds until they are gone; 0 as usual.
    """

    name: str
    alerts: tuple[str, ...]
    inject: Callable[[Rig], AbstractAsyncContextManager[Undo]]
    patience: float = 0
    clears: float = 0


def _stopped(part: str) -> Callable[[Rig], AbstractAsyncContextManager[Undo]]:
    @asynccontextmanager
    async def inject(rig: Rig) -> AsyncIterator[Undo]:
        process = rig.part(part)
        process.send_signal(signal.SIGSTOP)

        async def undo() -> None:
            process.send_signal(signal.SIGCONT)

        yield undo

    return inject


def _repeated(
    send: Callable[[Rig], Awaitable[object]], at_once: int = 1, pause: float = 0.05
) -> Callable[[Rig], AbstractAsyncContextManager[Undo]]:
    """Return a fault that is something sent again and again, by several at once."""

    @asynccontextmanager
    async def inject(rig: Rig) -> AsyncIterator[Undo]:
        async def loop() -> None:
            while True:
                await send(rig)
                await anyio.sleep(pause)

        async with anyio.create_task_group() as tasks:
            inner = anyio.CancelScope()

            async def all_of_them() -> None:
                with inner:
                    async with anyio.create_task_group() as senders:
                        for _ in range(at_once):
                            senders.start_soon(loop)

            tasks.start_soon(all_of_them)

            async def undo() -> None:
                inner.cancel()

            yield undo

    return inject


@asynccontextmanager
async def _killed(rig: Rig) -> AsyncIterator[Undo]:
    rig.one.kill()
    yield rig.one.start


@asynccontextmanager
async def _restarted(rig: Rig) -> AsyncIterator[Undo]:
    rig.one.kill()
    await rig.one.start()

    async def undo() -> None:
        """Do nothing: it passes with time."""

    yield undo


@asynccontextmanager
async def _slowed(rig: Rig) -> AsyncIterator[Undo]:
    url = f"{rig.one.url}/slow_down"
    async with AsyncExitStack() as stack:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            await client.post(url, json={"forward_sleep_time": 1.2})
        send = _repeated(lambda rig: rig.ask(tokens=3), 8)
        end = await stack.enter_async_context(send(rig))

        async def undo() -> None:
            await end()
            async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
                await client.post(url, json={"forward_sleep_time": None})

        yield undo


async def _leave(rig: Rig) -> None:
    with anyio.move_on_after(0.3):
        await rig.ask(tokens=1500, stream=True)


async def _unknown(rig: Rig) -> None:
    with suppress(httpx.HTTPError):
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            await client.get(f"{rig.one.url}/nothing/{DICE.random()}")


async def _other_prompt(rig: Rig) -> None:
    words = " ".join(str(DICE.random()) for _ in range(12))
    await rig.ask(tokens=2, text=words)


def _labelled(**labels: object) -> Callable[[Rig], AbstractAsyncContextManager[Undo]]:
    @asynccontextmanager
    async def inject(rig: Rig) -> AsyncIterator[Undo]:
        rig.label(**labels)  # type: ignore[arg-type]

        async def undo() -> None:
            rig.label()

        yield undo

    return inject


def _relayed(mode: str) -> Callable[[Rig], AbstractAsyncContextManager[Undo]]:
    @asynccontextmanager
    async def inject(rig: Rig) -> AsyncIterator[Undo]:
        relay = rig.relay
        relay.mode = mode

        async def undo() -> None:
            relay.mode = "whole"

        yield undo

    return inject


REFUSED = ("SglangScrapeRefused",)
BURNS = tuple(
    f"Sglang{what}Burns{speed}" for what in ("Ttft", "Tpot") for speed in ("Fast", "Slowly")
)
FAULTS = (
    Fault("wrong key at scrape", REFUSED, _relayed("key")),
    Fault("page cut off", REFUSED, _relayed("cut")),
    Fault("page too large", REFUSED, _relayed("large")),
    Fault("another program's page", ("SglangMetricsMissing",), _relayed("other")),
    Fault("scheduler stopped", ("SglangSchedulerHung",), _stopped("scheduler")),
    Fault("detokenizer stopped", ("SglangDetokenizerHung",), _stopped("detokenizer")),
    Fault("requests answered 400", ("SglangRequestsRefused",),
          _repeated(lambda rig: rig.ask(text=5))),
    Fault("streams left", ("SglangRequestsAborted",), _repeated(_leave)),
    Fault("20 requests over 4 slots, 8 may wait", ("SglangQueueFull", "SglangServerErrors"),
          _repeated(lambda rig: rig.ask(tokens=300), 20)),
    Fault("4 long streams in 2048 tokens", ("SglangKvCacheFull",),
          _repeated(lambda rig: rig.ask(tokens=1900), 4)),
    Fault("100 unknown paths", ("SglangLabelExplosion",), _repeated(_unknown, 2)),
    Fault("version 0.5.22 as label", ("SglangWrongVersion",), _labelled(version="0.5.22")),
    Fault("a slot whose counters stand still", ("SglangSlotWithoutTraffic",), _relayed("frozen")),
    Fault("new prompts each time", ("SglangCacheHitsFallen",), _repeated(_other_prompt)),
    Fault("every step 1.2 s longer", BURNS, _slowed, 240, 400),
    Fault("no target left", ("SglangNoTargets",), _labelled(empty=True)),
    Fault("killed", ("SglangServerGone",), _killed),
    Fault("killed, and started again", ("SglangRestarted",), _restarted, 0, 300),
)  # fmt: skip
"""In this order: what fires long afterwards comes last."""
