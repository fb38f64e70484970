"""The server's own view: its `/metrics` page, before, during and after a load.

What the figures are called is the engine's; of SGLang both `sglang:` and `sglang_` are read,
which depend on who asks. A page costs a real server about 15 ms in the process that also
streams, so during a load it is asked for rarely, and read only afterwards.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from types import MappingProxyType

from ci.bench.client import Client
from ci.engines.metrics import SGLANG_METRICS, MetricNames
from ci.errors import AnswerFault

PATH = "/metrics"
FIRST_POLL = 1.0
"""Seconds into a load before its first page, unless pages are asked for more often."""

_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_STREAMS = "is_streaming"


@dataclass(frozen=True)
class Sample:
    """One line of a page."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Metrics:
    """One page: samples by name, without the engine's prefix."""

    families: Mapping[str, tuple[Sample, ...]]

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
    for name, sample in _samples(page.decode("utf-8", "replace"), names.line):
        found.setdefault(name, []).append(sample)
    return Metrics(MappingProxyType({name: tuple(samples) for name, samples in found.items()}))


def _samples(page: str, shape: re.Pattern[str]) -> Iterator[tuple[str, Sample]]:
    for line in page.splitlines():
        if line.startswith("#") or not (matched := shape.match(line)):
            continue
        try:
            value = float(matched[3])
        except ValueError:
            continue
        yield matched[1], Sample(MappingProxyType(dict(_LABEL.findall(matched[2] or ""))), value)


async def scrape(client: Client, names: MetricNames = SGLANG_METRICS) -> Metrics | None:
    """Return the server's metrics; None where it shows none."""
    try:
        found = parse(await client.page(PATH), names)
    except AnswerFault:
        return None
    return found if found.families else None


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
