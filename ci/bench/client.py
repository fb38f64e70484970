"""Sends requests and returns records: a pool of connections, and limits in time.

The limits are held by one sweep over all streams, not by a timer each, so that a limit may
be exceeded by `SWEEP` seconds.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic
from types import TracebackType
from typing import Self

from ci.bench.answer import Dialect, ReceivedAnswer
from ci.bench.page import ReceivedPage
from ci.bench.records import ErrorKind, RequestRecord
from ci.bench.target import BenchTarget
from ci.bench.wire import Connection, Inbox, blame
from ci.errors import AnswerFault, BadAnswer
from ci.server.faults import status_line

SWEEP = 0.25
"""Seconds between two looks at the time limits."""

IDLE = 2.0
"""Seconds after which a free connection isn't used again; servers close them after five."""

_OPENING = 32


@dataclass(frozen=True)
class Timeouts:
    """Most seconds of each part of a request.

    Args:
        connect: Until a connection is open, TLS included.
        first_token: From the request to its first token, the server's queue included.
        stall: Between two pieces of an answer after that.
    """

    connect: float = 5.0
    first_token: float = 120.0
    stall: float = 60.0


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """One request, ready to be sent.

    Args:
        index: Its place in the workload.
        content: All its bytes.
        asked_tokens: The output length that it asks for.
    """

    index: int
    content: bytes
    asked_tokens: int


class Client:
    """Asks one server for streams; an async context manager.

    Args:
        target: The server.
        dialect: How its events are read.
        timeouts: Most seconds of each part of a request.
    """

    def __init__(
        self, target: BenchTarget, dialect: Dialect, timeouts: Timeouts | None = None
    ) -> None:
        self.target = target
        self._dialect, self._timeouts = dialect, timeouts or Timeouts()
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox(self._loop)
        self._free: list[Connection] = []
        self._active: dict[ReceivedAnswer, tuple[float, Connection]] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        """Start to hold the limits in time."""
        self._sweep()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection."""
        if self._sweeper:
            self._sweeper.cancel()
        self.abandon("the client was closed")
        while self._free:
            self._free.pop().close()

    @property
    def in_flight(self) -> int:
        """How many requests wait for the end of their answers."""
        return len(self._active)

    async def ask(
        self, request: LoadRequest, origin: float, intended: float | None = None
    ) -> RequestRecord:
        """Send a request and return what came of it, whatever that is.

        Args:
            request: What is sent.
            origin: The start of the run on the monotonic clock; the record's times count from it.
            intended: When the schedule wanted the request to start, from `origin`.
        """
        started, connecting = monotonic(), None
        answer = ReceivedAnswer(self._dialect, self._loop)
        try:
            if (connection := self._take()) is None:
                connection = await self._open()
                connecting = monotonic() - started
        except OSError as error:
            answer.give_up(monotonic(), *blame(error))
        else:
            await self._exchange(connection, request, started, answer)
        return _record(request, answer, origin, (started - origin, intended, connecting))

    async def page(self, path: str) -> bytes:
        """Return the body of `GET path`.

        Raises:
            BadAnswer: Its status isn't 200, or it is cut or late.
            AnswerFault: No connection is made.
        """
        url, page = f"{self.target.url}{path}", ReceivedPage(self._loop)
        try:
            async with asyncio.timeout(self._timeouts.stall):
                connection = self._take() or await self._open()
                try:
                    connection.ask(self.target.get(path), page)
                    await page.ended
                finally:
                    self._release(connection)
        except TimeoutError as error:
            raise BadAnswer(url, f"no page within {self._timeouts.stall:g} s") from error
        except OSError as error:
            raise AnswerFault(url, ": ".join(blame(error))) from error
        if page.problem or page.status != HTTPStatus.OK:
            told = page.problem or status_line(page.status, page.target)
            raise BadAnswer(url, told, status=page.status)
        return page.content

    async def warm(self, count: int) -> None:
        """Open connections until `count` are free; one that can't be opened is left to requests."""
        self._free = [connection for connection in self._free if _fresh(connection)]
        lacking = range(count - len(self._free))
        for at in range(0, len(lacking), _OPENING):
            opening = (self._open() for _ in lacking[at : at + _OPENING])
            for opened in await asyncio.gather(*opening, return_exceptions=True):
                if isinstance(opened, Connection):
                    opened.free_since = monotonic()
                    self._free.append(opened)

    def abandon(self, why: str) -> None:
        """Give up all that is under way."""
        for answer in tuple(self._active):
            self._give_up(answer, ErrorKind.ABANDONED, why)

    async def _exchange(
        self, connection: Connection, request: LoadRequest, started: float, answer: ReceivedAnswer
    ) -> None:
        self._active[answer] = (started, connection)
        try:
            connection.ask(request.content, answer)
            await answer.ended
        finally:
            del self._active[answer]
            self._release(connection)

    def _take(self) -> Connection | None:
        while self._free:
            connection = self._free.pop()
            if _fresh(connection):
                return connection
            connection.close()
        return None

    def _release(self, connection: Connection) -> None:
        if connection.usable and connection.receiver is None:
            self._free.append(connection)
        else:
            connection.close()

    async def _open(self) -> Connection:
        at = self.target
        async with asyncio.timeout(self._timeouts.connect):
            _, connection = await self._loop.create_connection(
                lambda: Connection(self._inbox),
                at.address,
                at.port,
                ssl=at.tls,
                server_hostname=at.host if at.tls else None,
            )
        return connection

    def _sweep(self) -> None:
        now, at = monotonic(), self._timeouts
        for answer, (started, _) in tuple(self._active.items()):
            if not answer.times:
                if now - started > at.first_token:
                    late = f"no token within {at.first_token:g} s"
                    self._give_up(answer, ErrorKind.LATE, late)
            elif now - (answer.heard or started) > at.stall:
                silent = f"silent for {at.stall:g} s after {len(answer.times)} chunks"
                self._give_up(answer, ErrorKind.STALLED, silent)
        self._sweeper = self._loop.call_later(SWEEP, self._sweep)

    def _give_up(self, answer: ReceivedAnswer, kind: ErrorKind, detail: str) -> None:
        self._active[answer][1].close()
        answer.give_up(monotonic(), kind, detail)


def _record(
    request: LoadRequest,
    answer: ReceivedAnswer,
    origin: float,
    start: tuple[float, float | None, float | None],
) -> RequestRecord:
    """Return what came of a request; its start is the real one, the intended one, connecting."""
    started, intended, connecting = start
    return RequestRecord(
        index=request.index,
        asked_tokens=request.asked_tokens,
        started=started,
        ended=answer.ended.result() - origin,
        intended=intended,
        connecting=connecting,
        times=tuple(time - origin for time in answer.times),
        counts=tuple(answer.counts),
        output_tokens=answer.output_tokens,
        prompt_tokens=answer.prompt_tokens,
        cached_tokens=answer.cached_tokens,
        finish=answer.finish,
        error=answer.error,
        detail=answer.detail,
        status=answer.status,
        output=answer.output,
        output_ids=answer.output_ids,
    )


def _fresh(connection: Connection) -> bool:
    return connection.usable and monotonic() - connection.free_since <= IDLE
