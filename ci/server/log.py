"""A server's log as it grows: its last lines, the phases it shows, and why it died.

Phrases: SGLang 0.5.23 at log level `info`. At `warning` the phases stay unknown.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import anyio

from ci.report.model import Phase

KEPT_LINES = 4000
ENDED = "launch.sh: server output ended"
"""What `launch.sh` writes to LOG_FILE after the last process of the server is gone."""


@dataclass(frozen=True)
class _Mark:
    """A phase of start-up, from the first line like `begin` (or the start) to one like `end`."""

    name: str
    within: str
    begin: str
    end: str


_MARKS = (
    _Mark("arguments", "port open", "", "server_args="),
    _Mark("scheduler", "port open", "server_args=", r"Init (parallel|torch distributed) begin"),
    _Mark("weights", "port open", "Load weight begin", "Load weight end"),
    _Mark("KV cache", "port open", "Load weight end", "KV Cache is allocated|Memory pool end"),
    _Mark("graph capture", "port open", "Capture .*graph.* begin", "Capture .*graph.* end"),
    _Mark("warm-up", "serving", "Uvicorn running on", "fired up and ready to roll"),
)
_PATTERNS = tuple({pattern for mark in _MARKS for pattern in (mark.begin, mark.end) if pattern})
_ERROR = re.compile(
    r"^(?:\[[^\]]*\]\s*)?"
    r"(?P<line>launch\.sh: .+|(?:[\w.]+(?:Error|Exception|Interrupt|Exit)\b).*|.*?: error: .+)$"
)
_CHILD_DIED = re.compile(r"Received sigquit from a child process")


class ServerLog:
    """The last lines of one server's output, and the times at which phrases first appeared.

    Args:
        start: `anyio.current_time()` at which the server was started, or was first looked at.
    """

    def __init__(self, start: float) -> None:
        self.start = start
        self.ended = anyio.Event()
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._seen: dict[str, float] = {}

    def add(self, line: str, at: float) -> None:
        """Take in one line that arrived `at` (`anyio.current_time()`)."""
        self._lines.append(line)
        for pattern in _PATTERNS:
            if pattern not in self._seen and re.search(pattern, line):
                self._seen[pattern] = at
        if line == ENDED:
            self.ended.set()

    def tail(self, count: int = 40) -> str:
        """Return the last `count` lines."""
        return "\n".join(list(self._lines)[-count:])

    def last_line(self) -> str:
        """Return the last line that says something, empty where there is none."""
        return next((line for line in reversed(self._lines) if line.strip()), "")

    def phases(self) -> tuple[Phase, ...]:
        """Return the start-up phases that the log shows, as parts of readiness's own."""
        found = []
        for mark in _MARKS:
            begin = self._seen.get(mark.begin) if mark.begin else self.start
            end = self._seen.get(mark.end)
            if begin is not None and end is not None and end >= begin:
                found.append(
                    Phase(
                        name=mark.name,
                        start=begin - self.start,
                        seconds=end - begin,
                        within=mark.within,
                    )
                )
        return tuple(found)

    def explain(self) -> str:
        """Return the line that says best why the server died.

        SGLang's own last lines only tell that a child was lost; the error of that child
        stands above them.
        """
        lines = [line for line in self._lines if line != ENDED]
        first = next((at for at, line in enumerate(lines) if _CHILD_DIED.search(line)), len(lines))
        for part in (lines[:first], lines[first:]):
            for line in reversed(part):
                if found := _ERROR.match(line.strip()):
                    return found["line"]
        return next((line.strip() for line in reversed(lines) if line.strip()), "no output")


class _Tail:
    """Reads what was added to a file since the last time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._rest = b""

    def lines(self) -> list[str]:
        """Return the lines completed since the last call; none where there is no file yet."""
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return []
        if size < self._position:
            self._position, self._rest = 0, b""
        if size == self._position:
            return []
        with self._path.open("rb") as file:
            file.seek(self._position)
            chunk = file.read()
        self._position += len(chunk)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [line.decode("utf-8", "replace").rstrip("\r") for line in lines]


async def follow(path: Path, log: ServerLog, interval: float = 0.05) -> None:
    """Feed a growing file to `log`, line by line, until it is cancelled.

    The file may not be there yet, and may be replaced by an emptied one.
    """
    tail = _Tail(path)
    while True:
        for line in tail.lines():
            log.add(line, anyio.current_time())
        await anyio.sleep(interval)
