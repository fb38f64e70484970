r"""One answer while it comes in: server-sent events, and the tokens they bring.

A stream that was cut has HTTP status 200 and may even end cleanly, and a 200 may hold an
error: an answer is whole only with a finish reason *and* `[DONE]`.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from ci.bench.records import ErrorKind
from ci.secrets.veil import beginning
from ci.server.documents import document
from ci.server.events import Events, is_done

_SHOWN = 300
_KEPT = 64 * 1024
_SHORT = 16
"""An event that is longer needs no look at whether it is the last one."""
_OK = 200


class Dialect(Protocol):
    """How an API's events are read."""

    def read(self, event: bytes, answer: ReceivedAnswer) -> None:
        """Tell `answer` what one event holds; ValueError where it makes no sense."""
        ...


class ReceivedAnswer:
    """What has come of one answer; `ended` is done as soon as it is whole or has failed.

    Attributes:
        times: Arrival of each chunk that brought tokens.
        counts: Output tokens so far at each of them; may stay empty.
        heard: When the last byte came; None before the first.
        finish: The finish reason.
        output: Text, as the API gives it.
    """

    __slots__ = (
        "_dialect",
        "_done",
        "_events",
        "_rest",
        "_stamp",
        "_target",
        "cached_tokens",
        "counts",
        "detail",
        "ended",
        "error",
        "finish",
        "heard",
        "output",
        "output_ids",
        "output_tokens",
        "prompt_tokens",
        "status",
        "times",
    )

    def __init__(self, dialect: Dialect, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the first byte."""
        self._dialect, self._events, self._rest = dialect, Events(), b""
        self._done, self._stamp, self._target = False, 0.0, ""
        self.ended: asyncio.Future[float] = loop.create_future()
        self.times: list[float] = []
        self.counts: list[int] = []
        self.heard: float | None = None
        self.status: int | None = None
        self.error: ErrorKind | None = None
        self.output_tokens: int | None = None
        self.prompt_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.output_ids: tuple[int, ...] = ()
        self.detail = self.finish = self.output = ""

    def head(self, status: int, target: str = "") -> None:
        """Take the answer's status, and where it redirects to."""
        self.status, self._target = status, target

    def body(self, stamp: float, data: bytes) -> None:
        """Take a piece of the body that came at `stamp`."""
        self._stamp = stamp
        if self.status != _OK:
            self._rest = (self._rest + data)[:_KEPT]
            return
        try:
            for event in self._events.feed(data):
                self._event(event)
        except ValueError as error:
            self.fault(ErrorKind.MALFORMED, str(error))

    def _event(self, event: bytes) -> None:
        if len(event) <= _SHORT and is_done(event):
            self._done = True
        elif self._done:
            self.fault(ErrorKind.MALFORMED, "events follow [DONE]")
        else:
            try:
                self._dialect.read(event, self)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                shown = event.decode("utf-8", "replace")
                self.fault(ErrorKind.MALFORMED, f"an event makes no sense ({error}): {shown}")

    def tokens(self, count: int) -> None:
        """Take in that there are `count` output tokens by now."""
        before = self.counts[-1] if self.counts else 0
        if count < before:
            raise ValueError(f"{count} output tokens after {before}")
        self.output_tokens = count
        if count > before:
            self.times.append(self._stamp)
            self.counts.append(count)

    def chunk(self) -> None:
        """Take in that some tokens came, without knowing how many."""
        self.times.append(self._stamp)

    def total(self, count: int) -> None:
        """Take in the output tokens of a stream whose chunks came without a count."""
        self.output_tokens = count
        if count == len(self.times):
            self.counts = list(range(1, count + 1))

    def fault(self, kind: ErrorKind, detail: str) -> None:
        """Take in what is wrong; the first fault counts."""
        if self.error is None:
            self.error, self.detail = kind, beginning(" ".join(detail.split()), _SHOWN)

    def end(self, stamp: float) -> None:
        """Take in that the message is complete."""
        self._judge()
        self._finish(stamp)

    def lose(self, stamp: float, error: BaseException | None) -> None:
        """Take in that the connection is gone; a stream that was whole by then counts."""
        why = f": {error}" if error else ""
        if self.status is None:
            self.fault(ErrorKind.RESET, f"the connection was lost before an answer{why}")
        elif self.status == _OK and not (self._done and self.finish):
            self.fault(ErrorKind.CUT, f"the connection was lost after {self._so_far}{why}")
        self.end(stamp)

    def give_up(self, stamp: float, kind: ErrorKind, detail: str) -> None:
        """Fail now."""
        self.fault(kind, detail)
        self._finish(stamp)

    def _finish(self, stamp: float) -> None:
        if not self.ended.done():
            self.ended.set_result(stamp)

    def _judge(self) -> None:
        if self.status != _OK:
            target = f"redirects to {self._target}: " if self._target else ""
            self.fault(ErrorKind.HTTP, f"HTTP {self.status}: {target}{self._said()}")
        elif not self.times and not self._done:
            self.fault(ErrorKind.MALFORMED, f"HTTP 200 without a stream: {self._said()}")
        elif not self.finish or not self._done:
            lacking = "[DONE]" if self.finish else "a finish reason"
            self.fault(ErrorKind.CUT, f"the stream ended without {lacking} after {self._so_far}")
        elif self.finish == "abort":
            self.fault(ErrorKind.ABORTED, "finish reason 'abort'")
        elif not self.times:
            self.fault(ErrorKind.EMPTY, f"no token, finish reason {self.finish!r}")

    @property
    def _so_far(self) -> str:
        return f"{self.output_tokens or len(self.times)} tokens"

    def _said(self) -> str:
        rest = self._rest if self.status != _OK else self._events.rest
        text = rest.decode("utf-8", "replace").strip()
        try:
            return message_of(document(text)) or text
        except ValueError:
            return text or "no body"


def message_of(told: Any) -> str:
    """Return the message of an error in any of the shapes that SGLang gives it; empty for none."""
    if not isinstance(told, dict):
        return ""
    error = told.get("error")
    if isinstance(error, dict):
        return str(error.get("message") or error)
    if told.get("object") == "error":
        return str(told.get("message") or told)
    return str(error) if error else ""
