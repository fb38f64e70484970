"""Requests that HAProxy's workers hold, those from before a reload too, by the master's socket."""

from __future__ import annotations

from collections import Counter

from ci.deploy.routers.haproxy_seen import open_requests
from ci.deploy.routers.haproxy_socket import RuntimeSocket

OLDER = "# old workers"
ALL = "# workers"
EVERY_BACKEND = "-1"


async def open_on(
    master: RuntimeSocket, workers: str = ALL, backend: str = EVERY_BACKEND
) -> Counter[str]:
    """Return the open requests of each server, added up over workers.

    Args:
        master: The master's socket.
        workers: `ALL`, or `OLDER`: those that end their streams after a reload.
        backend: Whose servers.

    Raises:
        RouterFault: The master doesn't answer, or a worker ended meanwhile.
    """
    found: Counter[str] = Counter()
    _, _, told = (await master.ask("show proc")).partition(workers)
    for pid in [line.split()[0] for line in told.splitlines() if " worker " in line]:
        found.update(open_requests(await master.ask(f"@!{pid} show stat {backend} 4 -1")))
    return found
