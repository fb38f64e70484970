"""The server's own view: its `/metrics` page, before, during and after a load.

What the figures are called is the engine's; of SGLang both `sglang:` and `sglang_` are read,
which depend on who asks. A page costs a real server about 15 ms in the process that also
streams, so during a load it is asked for rarely, and read only afterwards.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic
from types import MappingProxyType

from ci.bench.client import Client
from ci.engines.metrics import SGLANG_METRICS, MetricNames
from ci.errors import AnswerFault, BadAnswer
from ci.server.exposition import Sample, samples

PATH = "/metrics"
FIRST_POLL = 1.0
"""Seconds into a load before its first page, unless pages are asked for more often."""

_STREAMS = "is_streaming"


@dataclass(frozen=True)
class Metrics:
    """One page.

    Args:
        families: Samples by name, without the engine's prefix.
        absent: Why there are none; empty where there are.
    """

    families: Mapping[str, tuple[Sample, ...]]
    absent: str = ""

    def total(self, name: str) -> float | None:
        """Return the sum of a family over its labels, only over streams where it tells them.

        None where there is no such family.
        """
        return math.fsum(found) if (found := self._values(name)) else None

    def mean(self, name: str) -> float | None:
        """Return the mean of a family over its labels: of shares, which don't add up."""
        return math.fsum(found) / len(found) if (found := self._values(name)) else None

    def _values(self, name: str) -> list[float]:
        samples = self.families.get(name, ())
        streams = (one for one in samples if one.labels.get(_STREAMS, "true").lower() == "true")
        return [one.value for one in streams if math.isfinite(one.value)]


@dataclass(frozen=True)
class Gauges:
    """What a server says of itself at one moment of a load; None where it doesn't.

    Args:
        at: Seconds from the start of the polling.
        running: Requests that it works on.
        queued: Requests that wait.
        cache_hit_rate: Share of prompt tokens from the prefix cache, of its last batches.
        token_usage: Share of the KV cache in use.
    """

    at: float
    running: float | None
    queued: float | None
    cache_hit_rate: float | None
    token_usage: float | None


def parse(page: bytes, names: MetricNames = SGLANG_METRICS) -> Metrics:
    """Return what a page in Prometheus' text format says of the engine."""
    found: dict[str, list[Sample]] = {}
    for sample in samples(page.decode("utf-8", "replace")):
        if name := names.own(sample.name):
            found.setdefault(name, []).append(sample)
    families = MappingProxyType({name: tuple(several) for name, several in found.items()})
    return Metrics(families, "" if families else names.hint)


async def scrape(client: Client, names: MetricNames = SGLANG_METRICS) -> Metrics:
    """Return the server's metrics, or why there are none."""
    try:
        return parse(await client.page(PATH), names)
    except BadAnswer as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return Metrics({}, names.hint)
        return Metrics({}, f"the server's metrics can't be read: {error}")
    except AnswerFault as error:
        return Metrics({}, f"the server's metrics can't be read: {error}")


async def poll(client: Client, every: float, pages: list[tuple[float, bytes]]) -> None:
    """Put a page with its time into `pages` every so many seconds, until cancelled."""
    begun = monotonic()
    await asyncio.sleep(min(FIRST_POLL, every))
    while True:
        try:
            pages.append((monotonic() - begun, await client.page(PATH)))
        except AnswerFault:
            return
        await asyncio.sleep(every)


def gauges(
    pages: list[tuple[float, bytes]], names: MetricNames = SGLANG_METRICS
) -> tuple[Gauges, ...]:
    """Return what polled pages say of the server's load."""
    found = ((at, parse(page, names)) for at, page in pages)
    return tuple(
        Gauges(
            at=at,
            running=metrics.total(names.running),
            queued=metrics.total(names.queued),
            cache_hit_rate=metrics.mean(names.cache_hit_rate),
            token_usage=metrics.mean(names.token_usage),
        )
        for at, metrics in found
    )
