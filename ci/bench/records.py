"""What one request showed: the raw record from which every figure is computed.

Times are seconds from the start of the run on a monotonic clock. What wasn't measured is
None or empty, never 0.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from ci.errors import UsageError
from ci.secrets import files


class ErrorKind(StrEnum):
    """Why a request gave no whole answer."""

    REFUSED = "connection refused"
    CONNECT = "no connection"
    CONNECT_TIMEOUT = "connect timeout"
    TLS = "TLS failed"
    RESET = "connection lost before an answer"
    HTTP = "HTTP error status"
    STREAM = "error inside the stream"
    ABORTED = "aborted by the server"
    CUT = "stream cut"
    LATE = "no first token in time"
    STALLED = "stream stalled"
    MALFORMED = "malformed answer"
    EMPTY = "answer without tokens"
    CLIENT = "this machine's limit"
    ABANDONED = "abandoned at the run's time limit"


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request and its stream.

    Args:
        index: Its place in the workload, from 0.
        asked_tokens: The output length asked for.
        started: When the client began: a connection is opened first where none is free.
        ended: When the stream was complete, or the request had failed.
        intended: When the schedule wanted it; None where there is none (closed loop).
        connecting: Seconds that opening a connection took; None where one was free.
        times: Arrival of each chunk that brought tokens.
        counts: Output tokens so far at each of `times`, by the server's count; empty where
            the server gave no count along the way.
        output_tokens: Output tokens in all, by the server's count.
        prompt_tokens: Prompt tokens, by the server's count.
        cached_tokens: Those of them that came from its prefix cache.
        finish: The server's finish reason.
        error: Why there is no whole answer; None where there is one.
        detail: One line about the error.
        status: HTTP status.
        output: The generated text, where outputs are kept.
        output_ids: The generated token ids, where outputs are kept and the server gives them.
    """

    index: int
    asked_tokens: int
    started: float
    ended: float
    intended: float | None = None
    connecting: float | None = None
    times: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    output_tokens: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    finish: str = ""
    error: ErrorKind | None = None
    detail: str = ""
    status: int | None = None
    output: str = ""
    output_ids: tuple[int, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the whole answer came."""
        return self.error is None

    @property
    def ttft(self) -> float | None:
        """Seconds from the start to the first token."""
        return self.times[0] - self.started if self.times else None

    @property
    def e2e(self) -> float | None:
        """Seconds from the start to the last token of a whole answer."""
        return self.times[-1] - self.started if self.complete and self.times else None

    @property
    def tpot(self) -> float | None:
        """Seconds a token after the first: (e2e - TTFT) / (n - 1); None for one token."""
        if not self.complete or self.output_tokens is None or self.output_tokens < 2:  # noqa: PLR2004
            return None
        return (self.times[-1] - self.times[0]) / (self.output_tokens - 1)

    @property
    def itls(self) -> tuple[float, ...]:
        """Seconds between tokens; a chunk of k tokens gives k equal parts of its gap."""
        gaps = ((later - earlier) for earlier, later in pairwise(self.times))
        steps = ((later - earlier) for earlier, later in pairwise(self.counts))
        return tuple(
            gap / step for gap, step in zip(gaps, steps, strict=False) for _ in range(step)
        )

    @property
    def delay(self) -> float | None:
        """Seconds by which the request started behind its schedule; None without one."""
        return None if self.intended is None else self.started - self.intended


_NAMES = tuple(field.name for field in fields(RequestRecord))
_TUPLES = ("times", "counts", "output_ids")


def write(records: Iterable[RequestRecord], path: Path) -> None:
    """Write one JSON object a line, gzipped where the name ends in `.gz`; times in whole µs."""
    with files.lines(path) as lines:
        for record in records:
            lines.write(_line(record) + "\n")


def read(path: Path) -> tuple[RequestRecord, ...]:
    """Read what `write` wrote.

    Raises:
        UsageError: A line is no record.
    """
    with _opened(path) as lines:
        return tuple(_record(line, f"{path}:{number}") for number, line in enumerate(lines, 1))


def _opened(path: Path) -> Any:
    packed = path.suffix == ".gz"
    return gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8")


def _line(record: RequestRecord) -> str:
    told = {name: _rounded(getattr(record, name)) for name in _NAMES}
    brief = {name: value for name, value in told.items() if value not in (None, "", [])}
    return json.dumps(brief, separators=(",", ":"))


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 6)
    return [_rounded(one) for one in value] if isinstance(value, tuple) else value


def _record(line: str, where: str) -> RequestRecord:
    try:
        told = cast("dict[str, Any]", json.loads(line))
        known = {key: value for key, value in told.items() if key in _NAMES}
        known |= {key: tuple(known[key]) for key in _TUPLES if key in known}
        if "error" in known:
            known["error"] = ErrorKind(known["error"])
        return RequestRecord(**known)
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{where}: no record of a request: {error}") from error
