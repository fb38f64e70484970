"""Readiness: process started → port open → serving → first token.

Each phase has a budget. Polls are light (a connection, or one small GET, every 50 ms), so
that a healthy server is noticed at once; a dead one is noticed by its process, by the end
of its output, or by its port, whichever can be seen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import anyio
import httpx

from ci.boot import listening
from ci.boot.listening import POLL_TIMEOUT, Listener, Patience
from ci.boot.log import ServerLog
from ci.boot.port import PORT_TAKEN
from ci.boot.process import ServerProcess, fault_of_exit
from ci.concurrency import unless
from ci.engines.profile import OtherServer, Profile
from ci.engines.sglang import PROFILE as SGLANG
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
    Unresponsive,
)
from ci.report.model import Case, Figure, Phase
from ci.report.progress import Progress
from ci.server.client import ServerClient
from ci.settings import ReadinessSettings
from ci.stages import StageResult, Tell
from ci.verdict import Outcome

NAME = "readiness"
POLL = 0.05
GONE_SECONDS = 0.7
"""How long a port that was open must refuse connections before the server counts as dead."""


@dataclass
class Readiness:
    """One server's way from its start to its first token.

    Args:
        url: The server's base URL.
        budgets: Most seconds of each phase.
        progress: Is told when a phase starts and ends.
        process: The server's process, where it runs on this host.
        log: Its log, where it can be read.
        engine: What it is a server of.
    """

    url: str
    budgets: ReadinessSettings
    progress: Progress
    process: ServerProcess | None = None
    log: ServerLog | None = None
    engine: Profile = SGLANG
    _last: str = field(default="nothing was seen", init=False)
    _generation: bool = field(default=True, init=False)
    _answered: bool = field(default=False, init=False)

    async def wait(self, tell: Tell) -> StageResult:
        """Wait for each phase in turn; each is a case, and the first that fails is the last."""
        begin, error = anyio.current_time(), None
        phases: list[Phase] = []
        for name, budget, probe in self._phases():
            at = anyio.current_time()
            self.progress.phase_started(name, budget)
            error = await self._run(name, budget, probe)
            seconds = anyio.current_time() - at
            self.progress.phase_ended(name, seconds)
            phases.append(Phase(name=name, start=at - begin, seconds=seconds, budget=budget))
            tell(_case(name, seconds, error))
            if error is not None:
                break
        inner = self.log.phases() if self.log is not None else ()
        return StageResult(
            phases=(*phases, *inner),
            facts={"url": self.url},
            figures=() if error else tuple(map(_figure, (*phases, *inner))),
            log=self.log.tail() if self.log and error else "",
        )

    def _phases(self) -> list[tuple[str, float, Callable[[], Awaitable[None]]]]:
        budgets = self.budgets
        started = [("process started", budgets.process_started, self._process_started)]
        return [
            *(started if self.process is not None else []),
            ("port open", budgets.port_open, self._port_open),
            ("serving", budgets.serving, self._serving),
            ("first token", budgets.first_token, self._first_token),
            *(
                (_prompt_of(tokens), budgets.first_token, partial(self._prompt, tokens))
                for tokens in budgets.prompt_tokens
            ),
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
            return NotReady(name, budget, f"{self._last}{_more(name)}{last_line}")
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
        if not self.engine.native:
            self._last = "its command has not begun"
        while not self.process.has_started():
            await anyio.sleep(POLL)

    async def _port_open(self) -> None:
        listener = self._listener()
        self._last = f"{self.url}: nobody has answered yet"
        while problem := await listener.problem():
            self._last = f"nothing listens at {self.url} ({problem})"
            await anyio.sleep(POLL)
        if self.process is not None and not self.process.owns_port():
            raise LaunchBlocked(
                f"port {self.process.launch.port} was taken by another process while the server "
                "was starting: end that process, or choose another port",
                PORT_TAKEN,
            )

    def _listener(self) -> Listener:
        return Listener(self.url, self.engine, ours=self.process is not None)

    async def _serving(self) -> None:
        self._last = f"{self.url} accepts connections and says nothing"
        async with self.engine.client(self.url, POLL_TIMEOUT) as client:
            await self._poll("serving", partial(self._serves, client))

    async def _serves(self, client: ServerClient) -> bool:
        seen = await self.engine.serving(client)
        self._answered, self._generation = True, seen.generation
        self._last = seen.told or self._last
        return seen.ready

    async def _first_token(self) -> None:
        self._last = f"{self.url}: one token was asked for and none came"
        async with self.engine.client(self.url, self.budgets.first_token) as client:
            await self._poll("first token", partial(self._answers, client))

    async def _prompt(self, tokens: int) -> None:
        """Ask for the first token after a prompt of a length that the server hasn't seen yet."""
        self._last = f"{self.url}: no token came after a prompt of {tokens} tokens"
        async with self.engine.client(self.url, self.budgets.first_token) as client:
            await self._poll(_prompt_of(tokens), partial(self._takes, client, tokens))

    async def _takes(self, client: ServerClient, tokens: int) -> bool:
        await self.engine.prompt(client, tokens, generation=self._generation)
        return True

    async def _answers(self, client: ServerClient) -> bool:
        await self.engine.first_token(client, generation=self._generation)
        return True

    async def _poll(self, phase: str, ask: Callable[[], Awaitable[bool]]) -> None:
        """Ask until the answer is yes, and raise what stays too long to be passed over."""
        gone, stranger = Patience(GONE_SECONDS), Patience(listening.STRANGER_SECONDS)
        while True:
            error: AnswerFault | None = None
            begin = anyio.current_time()
            try:
                if await ask():
                    return
            except NameUnresolved as fault:
                error = Unreachable(self.url, "its host's name is gone", refused=True)
                self._last = str(fault)
            except AnswerFault as fault:
                error = await self._judged(fault, anyio.current_time() - begin)
                self._last = str(error)
            if gone.lasts(seen=await self._is_gone(error)):
                self._exited(phase)
            if stranger.lasts(seen=_is_final(error)) and error:
                raise error
            await anyio.sleep(POLL)

    async def _judged(self, error: AnswerFault, seconds: float) -> AnswerFault:
        """Tell what never spoke HTTP from a server that is gone, or isn't there yet."""
        self._answered |= not isinstance(error, Unreachable | Unresponsive)
        if not isinstance(error, Unreachable) or error.refused or self._answered:
            return error
        if await self._listener().is_tunnel(seconds):
            return error
        problem = f"{error.problem}; is it https://, or no HTTP server?"
        return self.engine.stranger(error.url, problem)

    async def _is_gone(self, error: AnswerFault | None) -> bool:
        """Return whether nobody listens any more; who cuts a connection is still there."""
        if not isinstance(error, Unreachable):
            return False
        return error.refused or await self._listener().is_closed()

    def _exited(self, phase: str) -> None:
        """Raise that the server is gone; of a process of ours `died` knows more, and says it."""
        if self.process is None:
            log = self.log.tail() if self.log else ""
            raise ServerExited(None, phase, f"its port was open, and now {self._last}", log)


def _is_final(error: AnswerFault | None) -> bool:
    """Return whether a server that is still starting doesn't answer like that."""
    if isinstance(error, BadAnswer):
        return error.status is None or error.status < httpx.codes.INTERNAL_SERVER_ERROR
    return isinstance(error, NotSglang | OtherServer)


def _prompt_of(tokens: int) -> str:
    return f"prompt of {tokens} tokens"


def _more(phase: str) -> str:
    """Return how a phase gets more time; those of prompts have that of the first token."""
    key = "first_token" if phase.startswith("prompt of") else phase.replace(" ", "_")
    return f"; for more time: --set readiness.{key}=SECONDS"


def _figure(phase: Phase) -> Figure:
    return Figure(name=phase.name, value=phase.seconds, unit="s", better="lower")


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
