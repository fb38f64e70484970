"""One stream from its request to its end, whatever that is."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio
import httpx

from ci.errors import AnswerFault
from ci.server.bounded import BodyFault, LateBody
from ci.server.events import Events
from ci.server.exchange import media_type
from ci.server.faults import brief, fault_of, status_line
from ci.settings.traffic import TrafficSettings
from ci.traffic.apis import PATHS, Progressed, request
from ci.traffic.records import Ending, StreamRecord

STREAM = "text/event-stream"
_LONGEST = 64
"""Most characters of a slot's name."""


class Stream:
    """One stream while it runs.

    Args:
        index: Its place in the schedule.
        api: What is asked.
        asked: Within what limits.
        origin: The start of the traffic on the event loop's clock.
    """

    def __init__(self, index: int, api: str, asked: TrafficSettings, origin: float) -> None:
        self._index, self._api, self._asked, self._origin = index, api, asked, origin
        self._so_far, self._events = Progressed(), Events()
        self._begun, self._at = 0.0, ""
        self._status, self._slot, self._retried = 0, "", False
        self._ttft: float | None = None
        self._began = False

    async def run(self, client: httpx.AsyncClient, model: str, prompt: str) -> StreamRecord:
        """Ask for the stream, read it to its end, and return what came of it."""
        self._begun, self._at = anyio.current_time(), datetime.now(UTC).isoformat()
        body = request(self._api, model, prompt, self._asked.output_tokens)
        limit = self._asked.limit
        with anyio.move_on_after(limit) as scope:
            why = await self._read(client, body)
        if scope.cancelled_caught:
            why = f"it did not end within {limit:g} s"
        return self._record(why)

    async def _read(self, client: httpx.AsyncClient, body: object) -> str:
        """Read the stream; return what is wrong with it, empty where nothing is."""
        path = PATHS[self._api]
        try:
            async with client.stream("POST", path, json=body) as response:
                if problem := self._head(response):
                    return problem
                async for piece in response.aiter_bytes():
                    self._take(piece)
        except (httpx.TransportError, ValueError) as error:
            return self._so_far.error or self._cause(error)
        return "it ended inside an event" if self._events.cut else self._so_far.lacking(self._api)

    def _head(self, response: httpx.Response) -> str:
        """Take in status and headers; return why no stream begins, empty where one does."""
        self._status = response.status_code
        named = (response.headers.get(name, "").strip() for name in self._asked.slot_headers)
        slot = next((name for name in named if name), "")
        self._slot = brief(slot, _LONGEST) if slot else ""
        retries = response.headers.get(self._asked.retry_header, "").strip().lstrip("+")
        self._retried = retries not in {"", "0"}
        if self._status != httpx.codes.OK:
            return status_line(self._status, response.headers.get("location", ""))
        kind = media_type(response)
        self._began = kind == STREAM
        return "" if self._began else f"HTTP 200, and {kind or 'nothing'} in place of a stream"

    def _take(self, piece: bytes) -> None:
        for event in self._events.feed(piece):
            self._so_far.take(event)
            if self._so_far.token and self._ttft is None:
                self._ttft = anyio.current_time() - self._begun

    def _cause(self, error: Exception) -> str:
        """Return what ended a stream; empty where it was whole by then."""
        if not self._so_far.lacking(self._api):
            return ""
        if isinstance(error, LateBody):
            return f"it stalled for {self._asked.patience:g} s"
        if isinstance(error, BodyFault | ValueError):
            return str(error).partition(" after ")[0]  # how many bytes came is another each time
        if isinstance(error, httpx.TimeoutException):
            return f"no answer within {self._asked.patience:g} s"
        fault = fault_of("", error)
        return fault.problem if isinstance(fault, AnswerFault) else str(fault).lstrip(": ")

    def _record(self, why: str) -> StreamRecord:
        ending = Ending.GOOD
        if why:
            ending = Ending.CUT if self._began else Ending.FAILED
        slow, ttft = self._asked.slow, self._ttft
        return StreamRecord(
            index=self._index,
            api=self._api,
            at=self._at,
            started=self._begun - self._origin,
            seconds=anyio.current_time() - self._begun,
            ending=ending,
            why=brief(why) if why else "",
            slot=self._slot,
            status=self._status,
            ttft=ttft,
            events=self._so_far.events,
            retried=self._retried,
            slow=slow is not None and ttft is not None and ttft > slow,
        )
