"""What one request may take: one deadline, and a bound on unpacked bytes; and who holds it to that.

Neither a silent nor an endless nor a packed answer can hold a check or fill the memory. The same
watch stands over requests of both kinds, those of an event loop (`Bounded`) and those of callers
that block (`ci.server.blocking`), so that both end alike and are told alike.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

import anyio
import httpx

from ci.server.unpack import Unpacker


class BodyFault(httpx.TransportError):
    """An answer began and did not end as it should; `str()` says what was seen."""


class LateBody(BodyFault, httpx.ReadTimeout):
    """It did not end in time."""


@dataclass(frozen=True)
class Bounds:
    """What one request may take.

    Args:
        seconds: Most seconds from its start to the last byte of its answer; None for no limit.
        size: Most bytes of the body, packed or unpacked; None for no limit.
    """

    seconds: float | None = None
    size: int | None = None


class Watch:
    """Holds one request to its bounds, from now on."""

    def __init__(self, bounds: Bounds) -> None:
        """Start the clock."""
        self._bounds, self._begun = bounds, monotonic()
        self._packed = self._unpacked = 0
        self._unpacker = Unpacker("")

    def left(self) -> float | None:
        """Return the seconds that are left; None where there is no limit."""
        seconds = self._bounds.seconds
        return None if seconds is None else seconds - (monotonic() - self._begun)

    def head(self, headers: httpx.Headers) -> None:
        """Take the headers of the answer; its body will be unpacked here, and not by httpx.

        Raises:
            BodyFault: It is packed as nothing that is known here.
        """
        with self.told():
            self._unpacker = Unpacker(headers.get("content-encoding", ""))
        if self._unpacker.unpacks:
            del headers["content-encoding"]

    def unpacked(self, piece: bytes) -> Iterator[bytes]:
        """Yield what the next piece of the body holds."""
        self._count(packed=len(piece))
        for part in self._unpacker.feed(piece):
            self._count(unpacked=len(part))
            yield part

    def end(self) -> None:
        """Take in that the body has no further piece."""
        self._unpacker.end()

    @contextmanager
    def told(self) -> Iterator[None]:
        """Raise whatever goes wrong with a body as the `BodyFault` that says so."""
        try:
            yield
        except httpx.TimeoutException as error:
            raise self._late() from error
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            came, why = self._packed, str(error) or type(error).__name__
            raise BodyFault(f"the answer was cut after {came} bytes ({why})") from error
        except ValueError as error:
            raise BodyFault(f"the answer can't be decoded: {error}") from error

    def _count(self, *, packed: int = 0, unpacked: int = 0) -> None:
        self._packed, self._unpacked = self._packed + packed, self._unpacked + unpacked
        most = self._bounds.size
        if most is not None and max(self._packed, self._unpacked) > most:
            raise BodyFault(f"the answer is over {most} bytes long")

    def _late(self) -> LateBody:
        seconds = self._bounds.seconds
        told = "stalled" if seconds is None else f"did not end within {seconds:g} s"
        return LateBody(f"the answer {told} ({self._packed} bytes came)")


class Bounded(httpx.AsyncBaseTransport):
    """Passes requests on, and bounds the answers.

    Args:
        inner: The transport that does the work.
        bounds: What one request may take.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, bounds: Bounds) -> None:
        self._inner, self._bounds = inner, bounds

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`; reading the answer's body may raise `BodyFault`."""
        watch = Watch(self._bounds)
        with _in_time(watch):
            response = await self._inner.handle_async_request(request)
        try:
            watch.head(response.headers)
        except BodyFault:
            await response.aclose()
            raise
        response.stream = _Body(response.stream, watch)
        return response

    async def aclose(self) -> None:
        """Close the transport that does the work."""
        await self._inner.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.SyncByteStream | httpx.AsyncByteStream, watch: Watch) -> None:
        if not isinstance(inner, httpx.AsyncByteStream):
            raise TypeError("only asynchronous transports can be bounded")
        self._inner, self._watch = inner, watch

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = aiter(self._inner)
        with self._watch.told():
            while (piece := await self._next(pieces)) is not None:
                for part in self._watch.unpacked(piece):
                    yield part
            self._watch.end()

    async def _next(self, pieces: AsyncIterator[bytes]) -> bytes | None:
        """Return the next piece as it came; None at the end."""
        with _in_time(self._watch):
            return await anext(pieces, None)

    async def aclose(self) -> None:
        await self._inner.aclose()


@contextmanager
def _in_time(watch: Watch) -> Iterator[None]:
    """Raise `httpx.ReadTimeout` where the deadline comes while the context lasts."""
    try:
        with anyio.fail_after(watch.left()):
            yield
    except TimeoutError as error:
        raise httpx.ReadTimeout("") from error
