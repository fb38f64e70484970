"""Probes of each kind, asked again and again, and every answer kept.

A kind's probes follow one another, so that one that hangs shows how long; the kinds don't
wait for each other. A probe's own time limit is long (`patience`), to see what a server says
in the end; how a platform with a shorter one would have judged is worked out afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import httpx

from ci.concurrency import one_error
from ci.server import first_token
from ci.server.bounded import BodyFault
from ci.server.documents import document
from ci.server.door import Door

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ci.settings.health import HealthSettings

PATHS = {"health": "/health", "health_generate": "/health_generate", "models": "/v1/models"}
REQUEST = "request"
KINDS = (*PATHS, REQUEST)


@dataclass(frozen=True)
class ProbeAnswer:
    """What one probe got.

    Args:
        kind: Which probe.
        start: When it was asked, on the event loop's clock.
        seconds: How long the answer, or giving it up, took.
        status: The HTTP status; 0 where none came.
        problem: Why none came, or why a 200 is no proof; empty where it is good.
        pending: Whether it was still waited for when the observation ended.
    """

    kind: str
    start: float
    seconds: float
    status: int
    problem: str = ""
    pending: bool = False

    @property
    def good(self) -> bool:
        """Whether it says that the server is well."""
        return self.status == httpx.codes.OK and not self.problem

    def alarm(self, timeout: float) -> float | None:
        """Return when a platform that waits `timeout` seconds is alarmed; None where it isn't."""
        if self.seconds > timeout:
            return self.start + timeout
        return None if self.good or self.pending else self.start + self.seconds


@dataclass
class Answers:
    """All answers of one observation, in the order in which they ended."""

    all: list[ProbeAnswer] = field(default_factory=list)

    def of(
        self, kind: str, since: float = 0.0, until: float = float("inf")
    ) -> Iterator[ProbeAnswer]:
        """Yield those of a kind that were asked from `since` to `until`."""
        return (one for one in self.all if one.kind == kind and since <= one.start < until)

    def alarm(self, kind: str, timeout: float, since: float, until: float) -> float | None:
        """Return when in that time the first alarm came; None without one."""
        alarms = [one.alarm(timeout) for one in self.of(kind, since, until)]
        return min((at for at in alarms if at is not None and at <= until), default=None)

    def content(self, kind: str, timeout: float, since: float) -> float | None:
        """Return when the first good answer ended of what was asked since; None without one."""
        ends = [
            one.start + one.seconds
            for one in self.of(kind, since)
            if one.good and one.seconds <= timeout
        ]
        return min(ends, default=None)


async def ask(client: httpx.AsyncClient, kind: str, patience: float) -> ProbeAnswer:
    """Ask one probe, and wait at most `patience` seconds for its whole answer."""
    start = anyio.current_time()
    status, problem = 0, f"no answer in {patience:g} s"
    with anyio.move_on_after(patience):
        try:
            if kind == REQUEST:
                response = await client.post(first_token.PATH, json=first_token.REQUEST)
                problem = _doubt(response)
            else:
                response, problem = await client.get(PATHS[kind]), ""
            status = response.status_code
        except httpx.ConnectError:
            problem = "no connection"
        except BodyFault as error:
            problem = str(error)
        except httpx.TransportError as error:
            problem = f"cut: {type(error).__name__}"
    return ProbeAnswer(kind, start, anyio.current_time() - start, status, problem)


def _doubt(response: httpx.Response) -> str:
    """Return why an answer to the real request is no proof of a token."""
    if response.status_code != httpx.codes.OK:
        return ""
    try:
        return first_token.problem_of(document(response.content))
    except ValueError:
        return "the answer is none of /generate's"


@asynccontextmanager
async def watching(url: str, settings: HealthSettings) -> AsyncIterator[Answers]:
    """Probe the server at `url` by every kind for as long as the context lasts."""
    answers = Answers()
    with one_error():
        async with anyio.create_task_group() as tasks:
            for kind in KINDS:
                tasks.start_soon(_watch, url, kind, settings, answers)
            yield answers
            tasks.cancel_scope.cancel()


async def _watch(url: str, kind: str, settings: HealthSettings, answers: Answers) -> None:
    async with Door.to(url, settings.patience + 5).client(reuse=False) as client:
        while True:
            start = anyio.current_time()
            try:
                answer = await ask(client, kind, settings.patience)
            except anyio.get_cancelled_exc_class():
                waited = anyio.current_time() - start
                answers.all.append(ProbeAnswer(kind, start, waited, 0, "not yet", pending=True))
                raise
            answers.all.append(answer)
            await anyio.sleep(max(settings.interval - answer.seconds, 0.05))
