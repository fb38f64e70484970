"""What else runs on this machine while a block is measured: CPU time of others, and who they are.

On GPUs it is `ci/gate/gpu.py` that looks.

Ours is this process with all below it, servers and proxies among them, and whoever listens at
the URL of a server that runs here already. Where a server's process isn't seen, as in another
container or on another host, nobody can tell it from others, and only what the hypervisor took
is known.

The kernel's times come in hundredths of a second: `/proc/stat` has those of all cores,
`/proc/PID/stat` a process's own (proc(5)), and `/proc/pressure/cpu` the time for which somebody
waited for a core (Linux 4.20 and later).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Self
from urllib.parse import urlsplit

import anyio
import psutil

from ci.gate.blocks import Block, BlockResult
from ci.gate.gpu import GpuWatch

SCARCE = 0.25
"""Share of all cores that has to be idle, so that other work takes nothing from a server."""
STOLEN = 0.05
"""Share of all cores that a hypervisor may take during a block."""
LOOK = 1.0
"""Seconds over which it is seen whether the machine is quiet again."""
_NAMED, _LEAST = 3, 0.05
_TICK = os.sysconf("SC_CLK_TCK")
_LOCAL = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104 - compared with, not bound to
_USER, _NICE, _SYSTEM, _IDLE, _IOWAIT, _STEAL = 0, 1, 2, 3, 4, 7
_PARENT, _SESSION, _OWN, _CHILDREN = 1, 3, slice(11, 13), slice(13, 15)

Settle = Callable[[float], Awaitable[float]]
"""Waits for a quiet machine, so many seconds at most; returns those that it took."""


@dataclass(frozen=True)
class Spent:
    """What one process has spent.

    Args:
        name: Its name.
        parent: Process id of its parent.
        session: Its session: a server that is started here leads one of its own.
        seconds: CPU time.
        below: CPU time of children that have ended.
    """

    name: str
    parent: int
    session: int
    seconds: float
    below: float


@dataclass(frozen=True)
class Glance:
    """The machine's clocks at one moment, in seconds.

    Args:
        at: The moment, on the monotonic clock.
        busy: CPU time of all processes since the machine started.
        idle: Time of cores that had nothing to do.
        stolen: Time that the hypervisor gave to others.
        waited: Time for which somebody waited for a core; 0 where the kernel doesn't say.
        processes: What each process has spent, by its id.
    """

    at: float
    busy: float = 0.0
    idle: float = 0.0
    stolen: float = 0.0
    waited: float = 0.0
    processes: Mapping[int, Spent] = field(default_factory=dict)

    @classmethod
    def now(cls, proc: Path = Path("/proc")) -> Self:
        """Look at the machine; what can't be read is 0."""
        first = _read(proc / "stat").partition("\n")[0]
        times = [int(part) / _TICK for part in first.split()[1:]]
        times += [0.0] * (_STEAL + 1 - len(times))
        _, _, total = _read(proc / "pressure/cpu").partition("\n")[0].partition("total=")
        return cls(
            at=monotonic(),
            busy=times[_USER] + times[_NICE] + times[_SYSTEM],
            idle=times[_IDLE] + times[_IOWAIT],
            stolen=times[_STEAL],
            waited=int(total or 0) / 1e6,
            processes=dict(_processes(proc)),
        )


@dataclass(frozen=True)
class OtherWork:
    """What others took between two glances, in cores: 0.5 is half a core all the time.

    Args:
        cores: How many the machine has.
        others: What others took; None where nobody can tell ours from theirs.
        idle: What was left.
        stolen: What the hypervisor took.
        waited: Share of the time for which somebody waited for a core.
        names: Who took most, with what they took.
    """

    cores: int
    others: float | None
    idle: float
    stolen: float
    waited: float
    names: tuple[tuple[str, float], ...] = ()

    def works(self, share: float) -> bool:
        """Return whether others took more than a share of the cores; never where it is 1."""
        taken = self.others is not None and self.others > share * self.cores
        return share < 1 and (taken or self.stolen > STOLEN * self.cores)

    def disturbs(self, share: float) -> bool:
        """Return whether they did, and left too few cores idle."""
        scarce = self.idle < SCARCE * self.cores or self.stolen > STOLEN * self.cores
        return scarce and self.works(share)

    def __str__(self) -> str:
        """Say who took how much."""
        who = ", ".join(f"{name} {cores:.1f}" for name, cores in self.names)
        told = [f"others took {self.others:.1f} of {self.cores} cores"] if self.others else []
        told += [f"({who})"] if who and told else []
        told += [f"the hypervisor took {self.stolen:.1f}"] if self.stolen >= _LEAST else []
        return " ".join(told) + f", somebody waited for a core {self.waited:.0%} of the time"


def between(before: Glance, after: Glance, ours: frozenset[int] | None, cores: int) -> OtherWork:
    """Return what others took between two glances.

    Args:
        before: The first.
        after: The second.
        ours: Processes whose families are ours; None where not all of these are known.
        cores: How many the machine has.
    """
    seconds = max(after.at - before.at, 1 / _TICK)
    took = {
        pid: max(0.0, now.seconds - _earlier(before, pid, now).seconds)
        for pid, now in after.processes.items()
    }
    family = _family(after.processes, ours or frozenset())
    others = max(0.0, after.busy - before.busy - sum(took[pid] for pid in family))
    names: dict[str, float] = {}
    for pid, now in after.processes.items():
        if pid not in family:  # a child that ended counts whole, be it older than `before`
            ended = max(0.0, now.below - _earlier(before, pid, now).below)
            names[now.name] = min(others, names.get(now.name, 0.0) + took[pid] + ended)
    most = sorted(names.items(), key=lambda item: -item[1])[:_NAMED]
    shown = [(name, spent / seconds) for name, spent in most]
    return OtherWork(
        cores=cores,
        others=None if ours is None else others / seconds,
        idle=(after.idle - before.idle) / seconds,
        stolen=(after.stolen - before.stolen) / seconds,
        waited=min(1.0, (after.waited - before.waited) / seconds),
        names=tuple((name, share) for name, share in shown if share >= _LEAST),
    )


class Machine:
    """This machine while servers are measured on it.

    Args:
        ours: Processes whose families are ours; None where not all of these are known.
        share: Share of the cores that others may take; 1: all of them.
        glance: Looks at the machine.
        gpus: Looks at its GPUs.
    """

    def __init__(
        self,
        ours: frozenset[int] | None,
        share: float,
        glance: Callable[[], Glance] = Glance.now,
        gpus: GpuWatch | None = None,
    ) -> None:
        self._ours, self._share, self._glance = ours, share, glance
        self._gpus = gpus or GpuWatch()
        self._cores = os.cpu_count() or 1

    @classmethod
    def of(cls, running: Iterable[str], share: float) -> Self:
        """Return the machine on which a comparison runs.

        Args:
            running: URLs of servers that somebody else started.
            share: Share of the cores that others may take.
        """
        listeners = [_listener(url) for url in running]
        if None in listeners:
            return cls(None, share)
        return cls(frozenset({os.getpid(), *(pid for pid in listeners if pid)}), share)

    def watched(self, block: Block) -> Block:
        """Return a block that tells what disturbed it."""

        async def measure(url: str, seed: int) -> BlockResult:
            before = self._glance()
            async with self._gpus.watched(self._family(before)) as seen:
                result = await block(url, seed)
            work = self._work(before)
            told = [str(work)] if work.disturbs(self._share) else []
            disturbance = ", ".join([*told, *seen])
            problem = f"{result.problem}; meanwhile {work}" if result.problem else ""
            return replace(result, disturbance=disturbance, problem=problem)

        return measure

    async def settle(self, limit: float) -> float:
        """Wait until others leave the machine alone; return the seconds that it took."""
        begin = monotonic()
        while (left := begin + limit - monotonic()) > 0:
            before = self._glance()
            await anyio.sleep(min(LOOK, left))
            quiet = not self._work(before).works(self._share)
            if quiet and not await self._gpus.look(self._family(before)):
                break
        return monotonic() - begin

    def _family(self, glance: Glance) -> set[int]:
        """Return our processes whose GPUs are to be watched; none where all is allowed."""
        ours = self._ours if self._share < 1 else None
        return _family(glance.processes, ours or frozenset())

    def _work(self, before: Glance) -> OtherWork:
        return between(before, self._glance(), self._ours, self._cores)


def _earlier(before: Glance, pid: int, now: Spent) -> Spent:
    """Return what a process had spent before; of one that came since, nothing."""
    return before.processes.get(pid, replace(now, seconds=0.0, below=0.0))


def _family(processes: Mapping[int, Spent], roots: frozenset[int]) -> set[int]:
    """Return these processes and all below them, those whose parent has ended too."""
    family = {pid for pid in roots if pid in processes}
    while True:
        led = family - roots
        more = {
            pid
            for pid, one in processes.items()
            if pid not in family and (one.parent in family or one.session in led)
        }
        if not more:
            return family
        family |= more


def _processes(proc: Path) -> Iterable[tuple[int, Spent]]:
    for folder in proc.iterdir():
        if folder.name.isdigit() and (text := _read(folder / "stat")):
            name, _, rest = text.partition("(")[2].rpartition(")")  # a name may hold brackets
            parts = rest.split()
            own, below = (sum(map(int, parts[at])) / _TICK for at in (_OWN, _CHILDREN))
            parent, session = int(parts[_PARENT]), int(parts[_SESSION])
            yield int(folder.name), Spent(name, parent, session, own, below)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _listener(url: str) -> int | None:
    """Return the process that listens at a URL of this host; None where that isn't seen."""
    parts = urlsplit(url)
    if parts.hostname not in _LOCAL:
        return None
    port = parts.port or {"https": 443}.get(parts.scheme, 80)
    try:
        connections = psutil.net_connections("tcp")
    except psutil.Error:
        return None
    listening = (one for one in connections if one.status == psutil.CONN_LISTEN)
    return next((one.pid for one in listening if one.laddr.port == port), None)
