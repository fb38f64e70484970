"""A whole answer that is no stream, such as a page of metrics."""

from __future__ import annotations

import asyncio

from ci.bench.records import ErrorKind
from ci.server.door import MAX_BODY


class ReceivedPage:
    """What has come of one page; `ended` is done as soon as it is whole or has failed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the first byte."""
        self.ended: asyncio.Future[float] = loop.create_future()
        self.heard: float | None = None
        self.status = 0
        self.target = self.problem = ""
        self._content = bytearray()

    @property
    def content(self) -> bytes:
        """The body so far."""
        return bytes(self._content)

    def head(self, status: int, target: str = "") -> None:
        """Take the status, and where the answer redirects to."""
        self.status, self.target = status, target

    def body(self, stamp: float, data: bytes) -> None:
        """Take a piece of the body."""
        self._content += data
        if len(self._content) > MAX_BODY:
            self.give_up(stamp, ErrorKind.MALFORMED, f"it is over {MAX_BODY} bytes long")

    def end(self, stamp: float) -> None:
        """Take in that the page is complete."""
        if not self.ended.done():
            self.ended.set_result(stamp)

    def lose(self, stamp: float, error: BaseException | None) -> None:
        """Take in that the connection is gone."""
        self.give_up(stamp, ErrorKind.CUT, f"the connection was lost ({error})")

    def give_up(self, stamp: float, kind: ErrorKind, detail: str) -> None:
        """Fail now."""
        self.problem = self.problem or f"{kind}: {detail}"
        self.end(stamp)
