"""Readiness: process started → port open → serving → first token.

Each phase has a budget. Polls are light (a connection, or one small GET, every 50 ms), so
that a healthy server is noticed at once; a dead one is noticed by its process, by the end
of its output, or by its port, whichever can be seen.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

import anyio
import httpx

from ci.concurrency import unless
from ci.errors import (
    AnswerFault,
    BadAnswer,
    LaunchBlocked,
    NameUnresolved,
    NotReady,
    NotSglang,
    ServerExited,
    SglangCiError,
    Unreachable,
)
from ci.report.console import Progress
from ci.report.model import Case, Check, Phase, now
from ci.server.client import ServerClient
from ci.server.log import ServerLog
from ci.server.port import PORT_TAKEN
from ci.server.process import ServerProcess, fault_of_exit
from ci.settings import ReadinessSettings
from ci.verdict import Outcome

NAME = "readiness"
POLL = 0.05
POLL_TIMEOUT = 5.0
STRANGER_SECONDS = 3.0
"""How long something else than SGLang must answer before it is believed to stay."""
GONE_SECONDS = 0.7
"""How long a port that was open must refuse connections before the server counts as dead."""


@dataclass
class _Patience:
    """Passes an error over until it was seen for `seconds` without a break."""

    seconds: float
    since: float | None = None

    def spent(self) -> bool:
        if self.since is None:
            self.since = anyio.current_time()
        return anyio.current_time() - self.since >= self.seconds

    def restore(self) -> None:
        self.since = None


@dataclass
class Readiness:
    """One server's way from its start to its first token.

    Args:
        url: The server's base URL.
        budgets: Most seconds of each phase.
        progress: Is told when a phase starts and ends.
        on_case: Is told each case as soon as it is known.
        process: The server's process, where it runs on this host.
        log: Its log, where it can be read.
    """

    url: str
    budgets: ReadinessSettings
    progress: Progress
    on_case: Callable[[Case], None]
    process: ServerProcess | None = None
    log: ServerLog | None = None
    _last: str = field(default="nothing was seen", init=False)
    _generation: bool = field(default=True, init=False)

    async def check(self) -> Check:
        """Wait for each phase in turn, and return what was seen."""
        started, begin = now(), anyio.current_time()
        cases: list[Case] = []
        phases: list[Phase] = []
        for name, budget, probe in self._phases():
            at = anyio.current_time()
            self.progress.phase_started(name, budget)
            error = await self._run(name, budget, probe)
            seconds = anyio.current_time() - at
            self.progress.phase_ended(name, seconds)
            phases.append(Phase(name=name, start=at - begin, seconds=seconds, budget=budget))
            cases.append(_case(name, seconds, error))
            self.on_case(cases[-1])
            if error is not None:
                break
        inner = self.log.phases() if self.log is not None else ()
        return Check(
            name=NAME,
            started=started,
            seconds=anyio.current_time() - begin,
            cases=tuple(cases),
            phases=(*phases, *inner),
            facts={"url": self.url},
            log=self.log.tail() if self.log and cases[-1].outcome is not Outcome.PASSED else "",
        )

    def _phases(self) -> list[tuple[str, float, Callable[[], Awaitable[None]]]]:
        budgets = self.budgets
        started = [("process started", budgets.process_started, self._process_started)]
        return [
            *(started if self.process is not None else []),
            ("port open", budgets.port_open, self._port_open),
            ("serving", budgets.serving, self._serving),
            ("first token", budgets.first_token, self._first_token),
        ]

    async def _run(
        self, name: str, budget: float, probe: Callable[[], Awaitable[None]]
    ) -> SglangCiError | None:
        self._last = "nothing was seen"
        try:
            with anyio.fail_after(budget):
                await unless(probe, partial(self._death, name))
        except TimeoutError:
            last_line = f"; last log line: {self.log.last_line()}" if self.log else ""
            return NotReady(name, budget, f"{self._last}{last_line}")
        except SglangCiError as error:
            return error
        return None

    async def _death(self, phase: str) -> Exception:
        if self.process is not None:
            return await self.process.died(phase)
        if self.log is not None:
            await self.log.ended.wait()
            return fault_of_exit(None, phase, self.log)
        await anyio.sleep_forever()
        raise AssertionError  # pragma: no cover

    async def _process_started(self) -> None:
        assert self.process is not None  # noqa: S101
        self._last = "launch.sh has not handed over to SGLang"
        while not self.process.has_started():
            await anyio.sleep(POLL)

    async def _port_open(self) -> None:
        at = urlsplit(self.url)
        host, port = at.hostname or "", at.port or (443 if at.scheme == "https" else 80)
        while not await self._connects(host, port):
            await anyio.sleep(POLL)
        if self.process is not None and not self.process.owns_port():
            raise LaunchBlocked(
                f"port {port} was taken by another process while the server was starting: "
                "end that process, or choose another port",
                PORT_TAKEN,
            )

    async def _connects(self, host: str, port: int) -> bool:
        try:
            with anyio.fail_after(POLL_TIMEOUT):
                await (await anyio.connect_tcp(host, port)).aclose()
        except socket.gaierror as error:
            raise NameUnresolved(f"{self.url}: the host's name has no address here") from error
        except (OSError, TimeoutError) as error:
            self._last = f"nothing listens at {self.url} ({_reason(error)})"
            return False
        return True

    async def _serving(self) -> None:
        gone, stranger = _Patience(GONE_SECONDS), _Patience(STRANGER_SECONDS)
        async with ServerClient(self.url, timeout=POLL_TIMEOUT) as client:
            while True:
                try:
                    if await self._serves(client):
                        return
                except Unreachable as error:
                    self._unreachable("serving", error, gone)
                except NotSglang as error:
                    self._last = str(error)
                    if stranger.spent():
                        raise
                except AnswerFault as error:
                    self._last = str(error)
                    gone.restore()
                await anyio.sleep(POLL)

    async def _serves(self, client: ServerClient) -> bool:
        info = await client.model_info()
        self._generation = bool(info.get("is_generation", True))
        for path in ("/ready", "/health"):
            status = await client.status(path)
            if status != httpx.codes.NOT_FOUND:
                self._last = f"{self.url}{path} answers {status}"
                return status == httpx.codes.OK
        return True

    async def _first_token(self) -> None:
        gone = _Patience(GONE_SECONDS)
        async with ServerClient(self.url, timeout=self.budgets.first_token) as client:
            self._last = f"{self.url}: one token was asked for and none came"
            while True:
                try:
                    await client.first_token(generation=self._generation)
                except Unreachable as error:
                    self._unreachable("first token", error, gone)
                except BadAnswer as error:
                    self._last = str(error)
                    if error.status is None or error.status < httpx.codes.INTERNAL_SERVER_ERROR:
                        raise
                else:
                    return
                await anyio.sleep(POLL)

    def _unreachable(self, phase: str, error: Unreachable, gone: _Patience) -> None:
        """Pass a cut connection over, unless the port has been gone for too long."""
        self._last = str(error)
        if gone.spent():
            cause = f"its port was open, and now: {error.problem}"
            raise ServerExited(None, phase, cause) from error


def _reason(error: Exception) -> str:
    text = " ".join(str(leaf) for leaf in getattr(error, "exceptions", ()) or (error,)).lower()
    return "connection refused" if "refused" in text or "connect call failed" in text else text


def _case(name: str, seconds: float, error: SglangCiError | None) -> Case:
    if error is None:
        return Case(name=name, outcome=Outcome.PASSED, seconds=seconds)
    return Case(
        name=name,
        outcome=Outcome(error.verdict.value),
        seconds=seconds,
        message=str(error),
        details=error.details,
    )
