"""The one way to start what outlives its starter, and to find it again later.

It is in a session of its own, below the system's first process, writes to a file, and holds no
pipe of ours. GitLab's shell runner ends a process group, which it isn't in. A runner that systemd
stops takes all of its control group along, unless its unit says `KillMode=process`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, STDOUT, CalledProcessError

import anyio
import psutil

from ci.boot.belongings import MARK, PROC, marked
from ci.boot.log import BOOT

_BORN_SECONDS = 5.0
_POLL = 0.05
_MISSED = 5
"""Looks in a row without a trace of a process after which it has ended."""


@dataclass(frozen=True)
class Birth:
    """A process, so that no later one is taken for it: not by its id, nor by a clock set back.

    Args:
        pid: Its process id.
        ticks: When it started, in the kernel's ticks since `boot`.
        boot: Identifies this run of the kernel.
    """

    pid: int
    ticks: int
    boot: str

    @property
    def lives(self) -> bool:
        """Whether it runs; a zombie doesn't."""
        seen = _stat(self.pid)
        return seen is not None and seen.state not in "ZX" and _birth(self.pid, seen) == self

    @property
    def rebooted(self) -> bool:
        """Whether the machine was started anew since."""
        return self.boot != _boot()

    @property
    def group(self) -> int:
        """Its process group, where that can't be a stranger's by now; else -1, which none is."""
        ours = self.lives or (not self.rebooted and _stat(self.pid) is None)
        return self.pid if ours else -1


@dataclass(frozen=True)
class _Stat:
    state: str
    group: int
    ticks: int


def _stat(pid: int) -> _Stat | None:
    try:
        words = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return _Stat(words[0], int(words[2]), int(words[19]))


def _birth(pid: int, seen: _Stat) -> Birth:
    return Birth(pid, seen.ticks, _boot())


def _boot() -> str:
    return BOOT.read_text().strip()


def find(mark: str) -> Birth | None:
    """Return the process that was started with a mark, and leads its group."""
    leaders = (seen for seen in _alive(mark) if seen[1].group == seen[0])
    return min((_birth(*seen) for seen in leaders), key=lambda one: one.ticks, default=None)


def _alive(mark: str) -> Iterator[tuple[int, _Stat]]:
    for pid in psutil.pids():
        seen = _stat(pid) if marked(pid, mark) else None
        if seen is not None and seen.state not in "ZX":
            yield pid, seen


async def outlive(
    argv: Sequence[str],
    log: Path,
    mark: str,
    variables: Mapping[str, str],
    kept: tuple[int, ...] = (),
) -> Birth | None:
    """Start a program that nothing of ours holds; return its process, None if that ended at once.

    Args:
        argv: The program, by its path, and its arguments.
        log: File that gets its output: it is appended to, so that logrotate's `copytruncate` may
            shorten it. The program works in its folder.
        mark: Finds it again.
        variables: All that it is given beside its mark.
        kept: Descriptors that it inherits.

    Raises:
        OSError: Nothing can be started here.
    """
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        await anyio.run_process(
            ["setsid", "--fork", *argv],
            env={**variables, MARK: mark},
            stdin=DEVNULL,
            stdout=output,
            stderr=STDOUT,
            cwd=log.parent,
            pass_fds=kept,
        )
    except CalledProcessError as error:
        raise OSError(f"setsid, of util-linux: {error}") from error
    finally:
        os.close(output)
    missed = 0  # a process can't be read in the instant in which it becomes another program
    with anyio.move_on_after(_BORN_SECONDS):
        while missed < _MISSED:
            if (found := find(mark)) is not None:
                return found
            missed = 0 if any(_alive(mark)) else missed + 1
            await anyio.sleep(_POLL)
    return None
