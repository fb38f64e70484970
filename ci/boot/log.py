"""A server's log as it grows: its last lines, the phases it shows, and why it died.

Phrases: SGLang 0.5.23 at log level `info`. At `warning` the phases stay unknown.
"""

from __future__ import annotations

import fcntl
import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import anyio

from ci.errors import SglangCiError, UsageError
from ci.report.model import Phase

KEPT_LINES = 4000
LONGEST_LINE = 10_000
"""Most characters that are kept of a line."""
_LISTED = 4
ENDED = "launch.sh: server output ended"
"""What `launch.sh` writes to LOG_FILE after the last process of the server is gone."""
_REFUSED = "launch.sh: "


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
_TIME = re.compile(r"^\[[^\]]*\]\s*")
_KILLED = r"Subprocess \S+ .*crashed with exit code -\d+"
_ERROR = re.compile(
    r"launch\.sh: .+|[\w.]+(?:Error|Exception|Interrupt|Exit)\b.*"
    rf"|.*?: error: .+|Fatal Python error: .+|ERROR:\s+\[Errno .+|{_KILLED}.*"
)
_AFTERMATH = re.compile(r"Received sigquit from|SIGQUIT received|kill_process_tree called")
"""What SGLang's parent says when it has lost a child."""


class ServerLog:
    """The last lines of one server's output, and the times at which phrases first appeared.

    Args:
        start: `anyio.current_time()` at which the server was started, or was first looked at.
    """

    def __init__(self, start: float) -> None:
        self.start = start
        self.ended = anyio.Event()
        self.fault: SglangCiError | None = None
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._seen: dict[str, float] = {}

    def add(self, line: str, at: float) -> None:
        """Take in one line that arrived `at` (`anyio.current_time()`)."""
        line = line[:LONGEST_LINE]
        self._lines.append(line)
        for pattern in _PATTERNS:
            if pattern not in self._seen and re.search(pattern, line):
                self._seen[pattern] = at
        if line == ENDED or line.startswith(_REFUSED):
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
        lines = [_TIME.sub("", line.strip()) for line in self._lines if line != ENDED]
        first = next((at for at, line in enumerate(lines) if _AFTERMATH.match(line)), len(lines))
        for at in (*reversed(range(first)), *reversed(range(first, len(lines)))):
            if _ERROR.fullmatch(lines[at]):
                return _sentence(lines[at:])
        return next((line for line in reversed(lines) if line), "no output")


def _sentence(lines: list[str]) -> str:
    """Return the first line, with the list that it announces where it ends in a colon."""
    count = _LISTED if lines[0].endswith(":") else 1
    return " ".join(lines[:count])


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
        *lines, rest = (self._rest + chunk).split(b"\n")
        self._rest = rest[:LONGEST_LINE]
        return [line.decode("utf-8", "replace").rstrip("\r") for line in lines]


async def follow(path: Path, log: ServerLog, interval: float = 0.05) -> None:
    """Feed a growing file to `log`, line by line, until it is cancelled.

    The file may not be there yet, and may be replaced by an emptied one. `launch.sh` locks it
    for as long as the server lives, so a lock that was held and is free again is the server's
    end, also where a container ended before the log's last line was written.

    Raises:
        UsageError: It is there and can't be read.
    """
    tail, held = _Tail(path), False
    while True:
        try:
            locked = _is_locked(path)
            lines = tail.lines()
        except OSError as error:
            raise UsageError(f"{path}: the log can't be read: {error.strerror}") from error
        for line in lines:
            log.add(line, anyio.current_time())
        if held and not locked:
            log.ended.set()
        held = locked
        await anyio.sleep(interval)


def _is_locked(path: Path) -> bool:
    """Return whether another process holds the file's lock; False where there is no file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
