"""Whether the client itself was the bottleneck.

A client that is short of CPU stamps late and sends late, and all of that looks like a slow
server. It watches itself: how late its own timers come, how much of a core it spends, and how
far it sends behind the schedule. Beyond a bound its figures are not the server's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ci.bench.percentiles import rank_value
from ci.bench.records import RequestRecord
from ci.concurrency import waited_for_core

TICK = 0.025
"""Seconds between two looks at the clock."""

_P99 = 99


@dataclass(frozen=True)
class Effort:
    """What a load cost the client.

    Args:
        seconds: Wall time.
        cpu_seconds: CPU time of this process.
        lags: Seconds by which each tick of the event loop came late, sorted.
        waited: Seconds that it was ready to run and had no core; None where nobody knows.
    """

    seconds: float
    cpu_seconds: float
    lags: tuple[float, ...]
    waited: float | None = None

    @property
    def cpu_share(self) -> float:
        """Share of one core."""
        return self.cpu_seconds / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class SaturationBounds:
    """Beyond what a client counts as saturated.

    Args:
        cpu_share: Share of one core; a client has only one.
        lag: Seconds that the p99 of the event loop's lag may have, or `lag_share` of the
            median TTFT where that is more.
        lag_share: See `lag`.
        delay: Seconds that the p99 of the delay against the schedule may have.
    """

    cpu_share: float = 0.85
    lag: float = 0.005
    lag_share: float = 0.1
    delay: float = 0.01


def saturation(
    effort: Effort, records: Sequence[RequestRecord], bounds: SaturationBounds
) -> tuple[str, ...]:
    """Return in which ways the client was saturated, a line each; none where it wasn't."""
    problems = []
    if effort.cpu_share > bounds.cpu_share:
        problems.append(f"{effort.cpu_share:.0%} of a core, over {bounds.cpu_share:.0%}")
    ttfts = sorted(record.ttft for record in records if record.ttft is not None)
    most = max(bounds.lag, bounds.lag_share * rank_value(ttfts, 50)) if ttfts else bounds.lag
    if effort.lags and (lag := rank_value(effort.lags, _P99)) > most:
        problems.append(
            f"its event loop was {1e3 * lag:.1f} ms late at p99, over {1e3 * most:.1f} ms"
        )
    delays = sorted(record.delay for record in records if record.delay is not None)
    if delays and (delay := rank_value(delays, _P99)) > bounds.delay:
        told = f"it sent {1e3 * delay:.1f} ms behind its schedule at p99"
        problems.append(f"{told}, over {1e3 * bounds.delay:.1f} ms")
    return tuple(problems)


class LagMeter:
    """Measures what the client spends, from its start until `effort` is asked."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._lags: list[float] = []
        self._loop = asyncio.get_running_loop()
        self._due = self._wall = self._cpu = 0.0
        self._waited: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        """Start."""
        self._wall, self._cpu = time.monotonic(), time.process_time()
        self._waited = waited_for_core()
        self._plan()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        if self._timer:
            self._timer.cancel()

    def effort(self) -> Effort:
        """Return what was spent so far."""
        wall, cpu = time.monotonic() - self._wall, time.process_time() - self._cpu
        before, now = self._waited, waited_for_core()
        waited = None if before is None or now is None else now - before
        return Effort(wall, cpu, tuple(sorted(self._lags)), waited)

    def _plan(self) -> None:
        self._due = self._loop.time() + TICK
        self._timer = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        self._lags.append(max(self._loop.time() - self._due, 0.0))
        self._plan()
