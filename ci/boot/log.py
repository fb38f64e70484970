"""A server's log as it grows: its last lines, the phases it shows, and why it died.

Phrases: SGLang 0.5.23 at log level `info`. At `warning` the phases stay unknown.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import anyio

from ci.errors import SglangCiError, UsageError
from ci.platform.fork import FORKED
from ci.report.model import Phase
from ci.secrets import files
from ci.secrets.veil import MARGIN, beginning

KEPT_LINES = 4000
LONGEST_LINE = 10_000
"""Most characters that are kept of a line."""
LAST_BYTES = 1_000_000
_LISTED = 4
BEGAN, ENDED = "launch.sh began on ", "launch.sh: server output ended"
"""What `launch.sh` writes to LOG_FILE: with the lock, and after the server's last process."""
BOOT = Path("/proc/sys/kernel/random/boot_id")
"""Names the kernel that runs: a lock is seen by who runs on the same."""
STALE_SECONDS = 1.0
"""How long a server that is just being started has to empty the log of an earlier one."""
_REFUSED = "launch.sh: "
_RECORD = '{"time": "'
"""How a line begins where the server has LOG_FORMAT=json (`ci/platform/records.py`)."""


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
        self.began = False
        self.ended = anyio.Event()
        self.fault: SglangCiError | None = None
        self.forked = False
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._seen: dict[str, float] = {}

    def add(self, line: str, at: float) -> None:
        """Take in one line that arrived `at` (`anyio.current_time()`): a text, or a record."""
        for text in _texts(line):
            self._add(beginning(text, LONGEST_LINE), at)
        self.began |= line.startswith(BEGAN) and line.removeprefix(BEGAN) == _kernel()
        if line == ENDED or line.startswith(_REFUSED):
            self.ended.set()

    def _add(self, line: str, at: float) -> None:
        self._lines.append(line)
        self.forked |= line.endswith(FORKED)
        for pattern in _PATTERNS:
            if pattern not in self._seen and re.search(pattern, line):
                self._seen[pattern] = at

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
        """Return the line that says best why the server died."""
        lines = [line.strip() for line in self._lines if not _is_ours(line)]
        last = next((_TIME.sub("", line) for line in reversed(lines) if line), "no output")
        return self.reason() or last

    def reason(self) -> str:
        """Return the error that ended the server; empty where the log has none.

        SGLang's own last lines only tell that a child was lost; the error of that child
        stands above them, or else is the first below.
        """
        lines = [_TIME.sub("", line.strip()) for line in self._lines if line != ENDED]
        first = next((at for at, line in enumerate(lines) if _AFTERMATH.match(line)), len(lines))
        for at in (*reversed(range(first)), *range(first, len(lines))):
            if _ERROR.fullmatch(lines[at]):
                return _sentence(lines[at:])
        return ""


def _texts(line: str) -> list[str]:
    """Return the lines of a text log that a line is: several, where it is a record of JSON."""
    if not line.startswith(_RECORD):
        return [line]
    try:
        record = json.loads(line)
        message, trace = record["message"], record.get("exception.stacktrace", "")
        return [*f"[{record['time']}] {message}".splitlines(), *trace.splitlines()]
    except (ValueError, KeyError, TypeError, AttributeError):
        return [line]


def _is_ours(line: str) -> bool:
    """Return whether `launch.sh` said it of itself, and not of the server."""
    return line == ENDED or line.startswith(BEGAN)


def _kernel() -> str | None:
    try:
        return BOOT.read_text().strip() or None
    except OSError:
        return None


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

    def feed(self, log: ServerLog) -> None:
        """Add what is new to `log`."""
        for line in self.lines():
            log.add(line, anyio.current_time())

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
        self._rest = rest[
            : LAST_BYTES if rest.startswith(_RECORD.encode()) else LONGEST_LINE + MARGIN
        ]
        return [line.decode("utf-8", "replace").rstrip("\r") for line in lines]


def last(path: Path, most: int = LAST_BYTES) -> ServerLog:
    """Return the log that the last `most` bytes of a file are; empty where there is no file.

    Raises:
        UsageError: It is there and can't be read.
    """
    log = ServerLog(0.0)
    try:
        with path.open("rb") as file:
            content = files.end_of(file, most)
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise UsageError(f"{path}: the log can't be read: {error.strerror}") from error
    text = content.decode("utf-8", "replace").removesuffix("\n")
    for line in text.split("\n") if text else ():
        log.add(line.rstrip("\r"), 0.0)
    return log


async def follow(path: Path, log: ServerLog, interval: float = 0.05) -> None:
    """Feed a growing file to `log`, line by line, until it is cancelled.

    The file may not be there yet, and may be replaced by an emptied one. `launch.sh` locks it
    for as long as the server lives. So a lock that is free is the server's end where it was
    held before, or where the log shows that its server had begun on this kernel: also one that
    ended before anybody looked, or in a container that cut off the log's last line.

    Raises:
        UsageError: It is there and can't be read.
    """
    tail, held = _Tail(path), False
    try:
        await _current(path, interval)
        while True:
            tail.feed(log)
            locked = _is_locked(path)
            if not locked and (held or log.began):
                tail.feed(log)
                log.ended.set()
            held = locked
            await anyio.sleep(interval)
    except OSError as error:
        raise UsageError(f"{path}: the log can't be read: {error.strerror}") from error


async def _current(path: Path, interval: float) -> None:
    """Wait a moment where the file is an earlier server's: it may be about to be emptied."""
    with anyio.move_on_after(STALE_SECONDS):
        while _is_left(path):
            await anyio.sleep(interval)


def _is_left(path: Path) -> bool:
    """Return whether there is a log that no living server holds."""
    return path.exists() and path.stat().st_size > 0 and not _is_locked(path)


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
