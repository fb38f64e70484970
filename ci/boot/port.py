"""Ports on this host: a free one for a new server, and whose a listening one is."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from ci.concurrency import lock
from ci.errors import LaunchBlocked

FIRST, LAST = 30_000, 30_999
LEAST, MOST = 1024, 65_535
"""Ports that every user may open."""
RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""First and last port that the kernel gives to connections, which then can meet themselves."""
PORT_TAKEN = 68
"""`launch.sh`'s exit code for a port in use."""


@contextmanager
def reserved(host: str, port: int) -> Iterator[int]:
    """Yield `port`, or where it is 0 the first one of `candidates` that is free.

    SGLang binds its port only after loading the model, so a free port may be taken by then;
    a lock, held until the context ends, keeps other runs of this package away from it.

    Raises:
        LaunchBlocked: No port of the range is free.
    """
    with locked(host, port) as (chosen, _):
        yield chosen


@contextmanager
def locked(host: str, port: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield a port as `reserved` does, and the descriptor of its lock where it has one.

    A server that inherits the descriptor keeps the port locked for as long as it lives.

    Raises:
        LaunchBlocked: No port of the range is free.
    """
    if port:
        yield port, ()
        return
    some = candidates()
    for candidate in some:
        with lock(_lock_file(candidate)) as held:
            if held is not None and _is_free(host, candidate):
                yield candidate, (held,)
                return
    raise LaunchBlocked(f"no port from {some[0]} to {some[-1]} is free on {host}", PORT_TAKEN)


def candidates() -> Sequence[int]:
    """Return the ports that a server may get: 30000 to 30999, unless connections get those too.

    Then it is as many just below those that connections get, or else just above them.
    """
    low, high = _given_to_connections()
    usual = range(FIRST, LAST + 1)
    outside = [port for port in usual if not low <= port <= high]
    below = range(max(LEAST, low - len(usual)), low)
    above = range(high + 1, min(MOST, high + len(usual)) + 1)
    return outside or below or above or usual


def _given_to_connections() -> tuple[int, int]:
    try:
        low, high = map(int, RANGE.read_text().split())
    except (OSError, ValueError):
        return 0, 0
    return low, high


def _lock_file(port: int) -> Path:
    folder = Path(tempfile.gettempdir()) / f"sglang-ci-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"port-{port}.lock"


def _is_free(host: str, port: int) -> bool:
    """Return whether nothing holds the port; a host that is wrong is for `launch.sh` to say."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def listens(group: int, port: int) -> bool:
    """Return whether a process of the process group `group` listens on `port`."""
    for process in members(group):
        try:
            connections = process.net_connections(kind="tcp")
        except psutil.Error:
            continue
        if any(at.status == psutil.CONN_LISTEN and at.laddr.port == port for at in connections):
            return True
    return False


def members(group: int) -> list[psutil.Process]:
    """Return the living processes of a process group, zombies left out."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, ProcessLookupError):
            continue
    return found
