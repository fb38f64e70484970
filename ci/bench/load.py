"""Drives a client through a load shape, and watches this machine while it does.

Nothing but sending and receiving is done meanwhile: requests are made before, figures are
computed after, and Python's garbage collector, whose pauses would be in every latency, rests.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic

from ci.bench.client import Client, LoadRequest
from ci.bench.records import RequestRecord
from ci.bench.saturation import Effort, LagMeter
from ci.bench.schedule import Closed, Load, Open

PATIENCE = 0.25
"""Most seconds until a load that is to end notices it."""

Seen = Callable[[RequestRecord], bool]
"""Told of every record as it comes; returns whether no further request shall be sent."""


@dataclass(frozen=True)
class LoadRun:
    """What one load brought.

    Args:
        load: The load's shape.
        asked: Requests that it was to send.
        records: One a request that was sent, in the order of their ends.
        seconds: From the start of the load to the end of the last answer.
        effort: What the client itself spent.
        origin: The start of the load on the system's monotonic clock.
        limited: Whether the run's time limit ended it.
    """

    load: Load
    asked: int
    records: tuple[RequestRecord, ...]
    seconds: float
    effort: Effort
    origin: float
    limited: bool = False


async def run_load(
    client: Client,
    load: Load,
    requests: Sequence[LoadRequest],
    limit: float,
    seen: Seen | None = None,
) -> LoadRun:
    """Send `requests` in the shape of `load`.

    Args:
        client: Who sends.
        load: The shape; its own number of requests is the most that are sent.
        requests: What is sent, in order.
        limit: Seconds after which what is under way is given up.
        seen: Told of every record; may end the load.
    """
    await client.warm(load.concurrency if isinstance(load, Closed) else 1)
    with _quiet(), LagMeter() as meter:
        driver = _Driver(client, requests[: load.requests], seen or (lambda _: False))
        limited = await driver.drive(load, limit)
        effort = meter.effort()
    return LoadRun(
        load=load,
        asked=load.requests,
        records=tuple(driver.records),
        seconds=max((record.ended for record in driver.records), default=0.0),
        effort=effort,
        origin=driver.origin,
        limited=limited,
    )


class _Driver:
    def __init__(self, client: Client, requests: Sequence[LoadRequest], seen: Seen) -> None:
        self._client, self._requests, self._seen = client, requests, seen
        self.origin, self._stopped = monotonic(), False
        self.records: list[RequestRecord] = []

    async def drive(self, load: Load, limit: float) -> bool:
        """Send until all is answered; return whether the limit ended that."""
        drive = self._open(load) if isinstance(load, Open) else self._closed(load)
        task = asyncio.ensure_future(drive)
        try:
            done, _ = await asyncio.wait({task}, timeout=limit)
            if not done:
                self._stopped = True
                self._client.abandon(f"the run took over {limit:g} s (bench.limit)")
            await task
            return not done
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _closed(self, load: Closed) -> None:
        waiting = iter(self._requests)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(load.concurrency):
                tasks.create_task(self._worker(waiting))

    async def _worker(self, waiting: Iterator[LoadRequest]) -> None:
        for request in waiting:
            if self._stopped:
                return
            await self._ask(request, None)

    async def _open(self, load: Open) -> None:
        async with asyncio.TaskGroup() as tasks:
            for request, offset in zip(self._requests, load.offsets, strict=False):
                await self._until(self.origin + offset)
                if self._stopped:
                    return
                tasks.create_task(self._ask(request, offset))

    async def _until(self, time: float) -> None:
        while not self._stopped and (wait := time - monotonic()) > 0:
            await asyncio.sleep(min(wait, PATIENCE))

    async def _ask(self, request: LoadRequest, intended: float | None) -> None:
        record = await self._client.ask(request, self.origin, intended)
        self.records.append(record)
        self._stopped = self._seen(record) or self._stopped


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the garbage collector away; it has looked at what exists by now."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
