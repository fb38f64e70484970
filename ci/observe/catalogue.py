"""What a server exposes, as a scraper stores it: names, types, labels, and since when."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from time import monotonic
from types import MappingProxyType
from urllib.parse import urlsplit

from ci.contract.exposition import PARTS, Family, families
from ci.errors import BadAnswer
from ci.observe.relabel import NAME, Relabel, relabelled
from ci.observe.scrapers import Scraper
from ci.server.exchange import Exchange
from ci.server.exposition import Sample, samples
from ci.server.faults import status_line

PATH = "/metrics"
OFF = "the server has no metrics, so every board of it is empty: start SGLang with --enable-metrics"
OK, NOT_FOUND = 200, 404
BOUND = re.compile(r'(?<=[{,]le=")[0-9][0-9.e+-]*(?=")')
"""A bound of a histogram; not that of infinity, which everybody writes alike."""
GROWS = ("pid",)
"""Labels that have another value after each start."""


@dataclass(frozen=True)
class StoredMetric:
    """The series that have one name.

    Args:
        name: As it is stored.
        type: gauge, counter, histogram, …; of a histogram's parts the histogram's.
        series: The labels of each series, with their values.
        event: What brought it about; empty where it was there from the beginning.
        numbers: Whether one of them has a value that is a number, and not NaN.
    """

    name: str
    type: str
    series: tuple[Mapping[str, str], ...]
    event: str = ""
    numbers: bool = True

    @property
    def labels(self) -> frozenset[str]:
        """Names of all labels that one of the series has."""
        return frozenset(label for one in self.series for label in one)


@dataclass(frozen=True)
class Catalogue:
    """All that a server exposes.

    Args:
        metrics: Name to what is stored under it.
        size: Bytes of the page, unpacked.
        seconds: How long the page took.
        twice: Names of series that stand on the page more than once.
    """

    metrics: Mapping[str, StoredMetric]
    size: int = 0
    seconds: float = 0.0
    twice: tuple[str, ...] = field(default=())

    @property
    def series(self) -> int:
        """How many series there are."""
        return sum(len(one.series) for one in self.metrics.values())

    def since(self, before: Catalogue, event: str) -> Catalogue:
        """Return this, where what `before` lacks was brought about by an event.

        What was there then and isn't any more is kept.
        """
        metrics = dict(before.metrics)
        for name, found in self.metrics.items():
            known = before.metrics.get(name)
            metrics[name] = replace(found, event=known.event if known else event)
        return replace(self, metrics=MappingProxyType(metrics))

    def growing(self, strange: str) -> list[str]:
        """Return, in words, the labels that make new series without end.

        Args:
            strange: An unknown path that was asked for.
        """
        told = []
        for name, found in self.metrics.items():
            for label in sorted(found.labels):
                values = {one.get(label, "") for one in found.series}
                if any(strange in value for value in values):
                    told.append(f"{label} of {name} (any path that somebody asks for)")
                elif label in GROWS:
                    told.append(f"{label} of {name} (another one after each start)")
        return told


async def read(
    exchange: Exchange, scraper: Scraper, rules: Sequence[Relabel] = (), job: str = ""
) -> Catalogue:
    """Return what a server exposes to a scraper.

    Args:
        exchange: The server.
        scraper: Who asks.
        rules: What the scrape makes of each series.
        job: The scrape's name, which these rules may ask for.

    Raises:
        KeyRefused: The page wants another API key.
        AnswerFault: There is no such page, it is no page of metrics, or it doesn't end in bounds.
    """
    begun = monotonic()
    answer = exchange.permitted(
        PATH, await exchange.ask("GET", PATH, headers={"Accept": scraper.accept})
    )
    seconds, url = monotonic() - begun, f"{exchange.url}{PATH}"
    if answer.status == NOT_FOUND:
        raise BadAnswer(url, OFF, status=answer.status)
    if answer.status != OK:
        told = status_line(answer.status, answer.target)
        raise BadAnswer(url, f"{told} to {scraper.title}", status=answer.status)
    added = {"job": job, "instance": urlsplit(exchange.url).netloc} if rules else {}
    page = BOUND.sub(_plain, answer.body) if scraper.plain else answer.body
    found = catalogue(page, rules, added)
    if not found.metrics:
        raise BadAnswer(url, f"no metrics stand on the page that {scraper.title} gets")
    return replace(found, size=len(answer.body.encode()), seconds=seconds)


def catalogue(
    page: str, rules: Sequence[Relabel] = (), added: Mapping[str, str] = MappingProxyType({})
) -> Catalogue:
    """Return what is stored of a page.

    Args:
        page: The page.
        rules: What the scrape makes of each series.
        added: Labels that the scrape adds before it follows these rules.
    """
    kinds = families(page)
    found, types = list[Sample](), dict[str, str]()
    for one in samples(page):
        labels = relabelled(rules, {**added, **one.labels, NAME: one.name})
        if labels is not None:
            name = labels[NAME]
            own = {key: text for key, text in labels.items() if key not in {NAME, *added}}
            found.append(Sample(name, own, one.value))
            types.setdefault(name, _type(one.name, kinds))
    grouped: dict[str, list[Mapping[str, str]]] = {}
    for one in found:
        grouped.setdefault(one.name, []).append(one.labels)
    numbers = {one.name for one in found if not math.isnan(one.value)}
    metrics = {
        name: StoredMetric(name, types[name], tuple(series), numbers=name in numbers)
        for name, series in grouped.items()
    }
    return Catalogue(MappingProxyType(metrics), twice=tuple(_twice(found)))


def _plain(bound: re.Match[str]) -> str:
    """Return a bound as a plain number: 1 for 1.0, and 1000000 for 1e+06."""
    return f"{Decimal(bound[0]).normalize():f}"


def _type(name: str, kinds: Mapping[str, Family]) -> str:
    stems = (name.removesuffix(ending) for ending in PARTS["histogram"])
    family = next((kinds[one] for one in (name, *stems) if one in kinds), None)
    return family.type if family else "untyped"


def _twice(found: Iterable[Sample]) -> list[str]:
    counts = Counter((one.name, frozenset(one.labels.items())) for one in found)
    return list(dict.fromkeys(name for (name, _), count in counts.items() if count > 1))
