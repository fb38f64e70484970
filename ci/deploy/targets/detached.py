"""A server that outlives who started it, and is found again by whoever comes later.

It is in a session of its own, below the system's first process, writes to a file, and holds no
pipe of ours. CI systems end what a job leaves behind by its environment: Jenkins by `BUILD_ID`
and `JENKINS_NODE_COOKIE`, GitHub's runner by `RUNNER_TRACKING_ID`. These are taken away. GitLab's
shell runner ends a process group, which the server isn't in. A runner that systemd stops takes
all of its control group along, unless its unit says `KillMode=process`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, STDOUT, CalledProcessError

import anyio
import psutil

from ci.boot.belongings import MARK, PROC, Belongings, marked, title
from ci.boot.launch import Launch
from ci.boot.log import BOOT
from ci.boot.process import KILL_GRACE, command
from ci.errors import TargetFault
from ci.preflight.asked import ARGUMENTS

_SPARED = {"JENKINS_NODE_COOKIE": "dontKillMe", "RUNNER_TRACKING_ID": ""}
_LEFT = {"BUILD_ID", "JENKINS_SERVER_COOKIE", *ARGUMENTS}
"""Variables that the server doesn't inherit: what CI kills by, and secrets of a release."""
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


async def spawn(launch: Launch, log: Path, mark: str, kept: tuple[int, ...]) -> Birth | None:
    """Start a server that nothing of ours holds; return its process, None if that ended at once.

    Args:
        launch: What to start.
        log: File that gets its output: it is appended to, so that logrotate's `copytruncate` may
            shorten it. The server works in its folder, so files in flags need whole paths.
        mark: Finds it again.
        kept: Descriptors that it inherits.

    Raises:
        TargetFault: Nothing can be started here.
    """
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        await anyio.run_process(
            ["setsid", "--fork", *command(launch)],
            env=environ(launch) | {MARK: mark},
            stdin=DEVNULL,
            stdout=output,
            stderr=STDOUT,
            cwd=log.parent,
            pass_fds=kept,
        )
    except (OSError, CalledProcessError) as error:
        problem = f"no server can be started ({error}): is setsid, of util-linux, installed here?"
        raise TargetFault(problem) from error
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


def environ(launch: Launch) -> dict[str, str]:
    """Return the environment of a server; what the settings give it wins."""
    return apart(launch.environ()) | dict(launch.environment)


def apart(variables: Mapping[str, str]) -> dict[str, str]:
    """Return variables for what outlives a job of CI, and is to know none of its secrets."""
    return {name: text for name, text in variables.items() if name not in _LEFT} | _SPARED


async def end(birth: Birth | None, mark: str, grace: float) -> str:
    """End a server and all that belongs to it: SIGTERM, after `grace` seconds SIGKILL.

    Returns:
        How it ended, in one line; empty where it didn't run.

    Raises:
        TargetFault: Not even SIGKILL ends it.
    """
    belongings = Belongings(birth.group if birth else -1, mark, frozenset())
    belongings.look()
    told = ""
    if birth is not None and birth.lives:
        told = await _terminated(birth, grace)
        await _gone(belongings, KILL_GRACE if not birth.lives else 0)
    orphans = [title(one) for one in belongings.living() if birth is None or one.pid != birth.pid]
    belongings.kill()
    await _gone(belongings, KILL_GRACE)
    if left := belongings.living():
        raise TargetFault(f"pid {left[0].pid} survives SIGKILL: the system has to be looked at")
    belongings.remove()
    return f"{told}; killed after it: {'; '.join(orphans)}" if told and orphans else told


async def _gone(belongings: Belongings, most: float) -> None:
    """Wait until none of the processes lives any more, `most` seconds at the most."""
    with anyio.move_on_after(most):
        while belongings.living():
            await anyio.sleep(_POLL)


async def _terminated(birth: Birth, grace: float) -> str:
    begin = anyio.current_time()
    with suppress(ProcessLookupError):
        os.kill(birth.pid, signal.SIGTERM)
    with anyio.move_on_after(grace):
        while birth.lives:
            await anyio.sleep(_POLL)
    seconds = anyio.current_time() - begin
    if birth.lives:
        return f"killed: it did not end within {grace:g} s of SIGTERM"
    return f"ended {seconds:.1f} s after SIGTERM"
