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

from ci.boot.death import fault_of_exit
from ci.boot.listening import POLL_TIMEOUT, Listener
from ci.boot.log import ServerLog
from ci.boot.polling import POLL, Polling
from ci.boot.port import PORT_TAKEN
from ci.boot.process import ServerProcess
from ci.concurrency import unless
from ci.engines.profile import Profile
from ci.engines.sglang import PROFILE as SGLANG
from ci.errors import (
    LaunchBlocked,
    NotReady,
    SglangCiError,
)
from ci.report.model import Case, Figure, Phase
from ci.report.progress import Progress
from ci.server.client import ServerClient
from ci.server.key import key_of
from ci.settings import ReadinessSettings
from ci.stages import StageResult, Tell
from ci.verdict import Outcome

NAME = "readiness"


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
    _generation: bool = field(default=True, init=False)
    _polls: Polling = field(init=False)

    def __post_init__(self) -> None:
        """See nothing yet."""
        listener = Listener(self.url, self.engine, ours=self.process is not None)
        self._polls = Polling(listener, self.log)

    async def wait(self, tell: Tell) -> StageResult:
        """Wait for each phase in turn; each is a case, and the first that fails is the last.

        Raises:
            UsageError: The server's key can't be sent.
        """
        key_of(self.url)
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
        if self.process is not None:
            self.process.belongings.look()  # of what is killed later nothing can be seen any more
        inner = self.log.phases() if self.log is not None else ()
        forked = self.log is not None and self.log.forked
        return StageResult(
            phases=(*phases, *inner),
            facts={"url": self.url} | ({"processes": "forked"} if forked else {}),
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
        self._polls.last = "nothing was seen"
        try:
            with anyio.fail_after(budget):
                await unless(probe, partial(self._death, name))
        except TimeoutError:
            last_line = f"; last log line: {self.log.last_line()}" if self.log else ""
            return NotReady(name, budget, f"{self._polls.last}{_more(name)}{last_line}")
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
        self._polls.last = "launch.sh has not handed over to SGLang"
        if not self.engine.native:
            self._polls.last = "its command has not begun"
        while not self.process.has_started():
            await anyio.sleep(POLL)

    async def _port_open(self) -> None:
        self._polls.last = f"{self.url}: nobody has answered yet"
        while problem := await self._polls.listener.problem():
            self._polls.last = f"nothing listens at {self.url} ({problem})"
            await anyio.sleep(POLL)
        if self.process is not None and not self.process.owns_port():
            raise LaunchBlocked(
                f"port {self.process.launch.port} was taken by another process while the server "
                "was starting: end that process, or choose another port",
                PORT_TAKEN,
            )

    async def _serving(self) -> None:
        self._polls.last = f"{self.url} accepts connections and says nothing"
        async with self.engine.client(self.url, POLL_TIMEOUT) as client:
            await self._polls.until("serving", partial(self._serves, client))

    async def _serves(self, client: ServerClient) -> bool:
        seen = await self.engine.serving(client)
        self._polls.answered, self._generation = True, seen.generation
        self._polls.last = seen.told or self._polls.last
        return seen.ready

    async def _first_token(self) -> None:
        self._polls.last = f"{self.url}: one token was asked for and none came"
        async with self.engine.client(self.url, self.budgets.first_token) as client:
            await self._polls.until("first token", partial(self._answers, client))

    async def _prompt(self, tokens: int) -> None:
        """Ask for the first token after a prompt of a length that the server hasn't seen yet."""
        self._polls.last = f"{self.url}: no token came after a prompt of {tokens} tokens"
        async with self.engine.client(self.url, self.budgets.first_token) as client:
            await self._polls.until(_prompt_of(tokens), partial(self._takes, client, tokens))

    async def _takes(self, client: ServerClient, tokens: int) -> bool:
        await self.engine.prompt(client, tokens, generation=self._generation)
        return True

    async def _answers(self, client: ServerClient) -> bool:
        await self.engine.first_token(client, generation=self._generation)
        return True


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
