"""Whether the kernel killed something for lack of memory while a server ran.

The kernel says it by SIGKILL alone; its counters say why: those of the server's cgroup, of
version 1 or 2, and the machine's. They are read before and after.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")
COUNTERS = {"cgroup2": "memory.events", "cgroup": "memory.oom_control"}
"""The file that counts kills, by the kind of file system that cgroups are shown in."""
LIMITS = ("memory.max", "memory.limit_in_bytes")
NO_LIMIT = 1 << 60
_COUNT = re.compile(r"(?m)^oom_kill (\d+)$")


@dataclass
class Memory:
    """The kernel's counters of processes that it killed for memory, as they were at first."""

    _before: dict[Path, int] = field(default_factory=dict)

    def look(self, pid: int) -> None:
        """Take in where the kernel counts for a process, which may have been moved."""
        for place in (PROC / "vmstat", *_places(pid)):
            if place not in self._before and (count := _count(place)) is not None:
                self._before[place] = count

    def told(self) -> str | None:
        """Return that something was killed for memory since, and by which limit.

        Empty where nothing was, None where no counter can be read.
        """
        if not self._before:
            return None
        risen = [place for place, count in self._before.items() if (_count(place) or 0) > count]
        groups = [place for place in risen if place.name != "vmstat"]
        if groups:
            return f"killed for memory: {_limit(groups[0].parent)}"
        return "killed for memory: this machine ran out of it" if risen else ""


def _places(pid: int) -> list[Path]:
    """Return the files that count for a process; none where it, or cgroups, can't be seen."""
    try:
        lines = (PROC / str(pid) / "cgroup").read_text().splitlines()
        mounts = [line.split() for line in (PROC / "self/mountinfo").read_text().splitlines()]
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        for mount in mounts:
            kind, options = mount[mount.index("-") + 1], mount[-1].split(",")
            if kind == ("cgroup" if controllers else "cgroup2") and (
                not controllers or "memory" in options
            ):
                found.append(Path(mount[4]) / _below(path, mount[3]) / COUNTERS[kind])
    return found


def _below(path: str, root: str) -> str:
    """Return a cgroup's path below the one that is mounted: a container sees only its own."""
    return path.removeprefix(root).lstrip("/") if path.startswith(root) else ""


def _count(place: Path) -> int | None:
    try:
        found = _COUNT.search(place.read_text())
    except OSError:
        return None
    return int(found[1]) if found else None


def _limit(group: Path) -> str:
    """Return the least limit of a cgroup and those above it, in words."""
    limits = {}
    for each in (group, *group.parents):
        for name in LIMITS:
            try:
                text = (each / name).read_text().strip()
            except OSError:
                continue
            if text.isdecimal() and int(text) < NO_LIMIT:
                limits[int(text)] = each / name
    if not limits:
        return f"the kernel counts it in {group}"
    least = min(limits)
    return f"the limit of {least / 2**20:.0f} MiB is {limits[least]}"
