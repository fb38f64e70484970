"""What a server has on this host: its processes, shared memory, semaphores and GPU memory.

A server's parts know each other for as long as they live: so they are looked at while it runs,
and what still is there after its end was left by it, and by nobody else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

MARK = "SGLANG_CI_SERVER"
"""Variable by which a server's processes are known, also those that left its process group."""
SHARED = Path("/dev/shm")  # noqa: S108 - where shared memory and POSIX semaphores are
PROC = Path("/proc")
_MAPPED = re.compile(r"(?m) (/\S.*)$")
_GONE = " (deleted)"


@dataclass
class Belongings:
    """What a server has, as far as it was seen.

    Args:
        group: Its process group.
        mark: Its value of `MARK`.
        before: Names of the shared memory that there was before it was started.
    """

    group: int
    mark: str
    before: frozenset[str]
    _seen: dict[int, psutil.Process] = field(default_factory=dict)
    _files: set[str] = field(default_factory=set)

    @property
    def pids(self) -> set[int]:
        """Return the ids of all its processes that were seen."""
        return set(self._seen)

    def look(self) -> None:
        """Take in its processes as they are now, and the shared memory that they hold."""
        for process in self._family():
            self._seen.setdefault(process.pid, process)
            self._files |= _held(process.pid) - self.before

    def living(self) -> list[psutil.Process]:
        """Return its processes that live, zombies left out, in its process group or not."""
        found = {process.pid: process for process in self._family()}
        return [one for one in (self._seen | found).values() if lives(one)]

    def kill(self) -> None:
        """Kill those of its processes that live."""
        for process in self.living():
            with suppress(psutil.Error):
                process.kill()

    def remove(self) -> list[str]:
        """Remove its shared memory and semaphores that nobody holds; return their names."""
        there = shared() - self.before
        pids = {str(pid) for pid in self._seen}
        named = {name for name in there if pids & set(re.split(r"[^0-9A-Za-z]", name))}
        ours = (there & self._files) | named
        left = sorted(ours - _held_by_any(ours))
        for name in left:
            with suppress(OSError):
                (SHARED / name).unlink()
        return left

    def _family(self) -> Iterator[psutil.Process]:
        """Yield who is in its group, or has its mark, and their children."""
        known: set[int] = set()
        for process in psutil.process_iter():  # by pid: parents mostly come first
            try:
                group, parent = os.getpgid(process.pid), process.ppid()
            except (ProcessLookupError, psutil.Error):
                continue
            if group == self.group or parent in known or marked(process.pid, self.mark):
                known.add(process.pid)
                if lives(process):
                    yield process


def marked(pid: int, mark: str) -> bool:
    """Return whether a process was given `mark` in its environment."""
    try:
        words = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{MARK}={mark}".encode() in words


def lives(process: psutil.Process) -> bool:
    """Return whether a process is there, and no zombie."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def title(process: psutil.Process) -> str:
    """Return a process's command line, or what else it is called."""
    try:
        return " ".join(process.cmdline()).strip() or str(process.name())
    except psutil.Error:
        return str(process.pid)


def shared() -> frozenset[str]:
    """Return the names of the shared memory that there is on this host."""
    try:
        return frozenset(entry.name for entry in os.scandir(SHARED))
    except OSError:
        return frozenset()


def _held(pid: int) -> set[str]:
    """Return the names of the shared memory that a process has mapped or open."""
    folder, targets = PROC / str(pid), list[str]()
    with suppress(OSError):
        targets += _MAPPED.findall((folder / "maps").read_text(errors="replace"))
    with suppress(OSError):
        for link in (folder / "fd").iterdir():
            with suppress(FileNotFoundError):
                targets.append(str(link.readlink()))
    paths = {Path(target) for target in targets if not target.endswith(_GONE)}
    return {path.name for path in paths if path.parent == SHARED}


def _held_by_any(names: Iterable[str]) -> set[str]:
    """Return those of the names that a living process holds."""
    wanted = set(names)
    if not wanted:
        return set()
    return wanted & set[str]().union(*(_held(pid) for pid in psutil.pids()))
