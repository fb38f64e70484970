"""The metrics of a server as each of those who ask for them gets them.

What a metric is called depends on the Accept header: SGLang's `sglang:` becomes `sglang_` for
a Prometheus 2.42. And some exist only once something has happened. So they are asked for with
three real headers, before and after a request, an aborted stream and a refused request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import anyio

from ci.contract.exposition import Family, families
from ci.contract.model import ContractPart, Items
from ci.errors import BadAnswer
from ci.server.exchange import Exchange
from ci.server.faults import status_line

ASKERS = {
    "curl": "*/*",
    "Prometheus 2.42": "application/openmetrics-text;version=1.0.0,"
    "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Prometheus 3": "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
}
"""Who asks, and the Accept header that it sends. Source: Prometheus 2.42 and 3.0, scrape.go."""
SETTLE = 10.0
"""Most seconds until the events are waited for in the metrics."""
ABORTED = "num_aborted_requests"
"""Part of the name of the metric that an aborted stream brings to life."""
OK, NOT_FOUND = 200, 404

Scrape = dict[str, dict[str, Family]]


@dataclass(frozen=True)
class Before:
    """The metrics as they were before anything was asked of the server.

    Args:
        scrape: Asker to families; empty where there are none.
        absent: Why there are none.
    """

    scrape: Scrape
    absent: str = ""


async def before(exchange: Exchange) -> Before:
    """Ask for the metrics of a server that hasn't been asked anything else yet.

    Raises:
        AnswerFault: An answer that is neither metrics nor 404.
        KeyRefused: The server wants another API key.
    """
    answer = exchange.permitted("/metrics", await exchange.ask("GET", "/metrics"))
    if answer.status == NOT_FOUND:
        return Before({}, "the server has no /metrics: was it started with --enable-metrics?")
    return Before(await _scrape(exchange))


async def metrics_part(exchange: Exchange, begin: Before) -> ContractPart:
    """Make what brings metrics to life happen, and return them all."""
    if begin.absent:
        return ContractPart(absent=begin.absent)
    await _events(exchange)
    after = await _scrape(exchange)
    with anyio.move_on_after(SETTLE):
        while not any(ABORTED in name for name in after["curl"]):
            await anyio.sleep(0.5)
            after = await _scrape(exchange)
    return part_of(begin.scrape, after)


def part_of(begin: Scrape, after: Scrape) -> ContractPart:
    """Return the metrics of two scrapes.

    A server that has served others before shows no metric that is new after the events: there
    nothing can be said of when a metric begins to exist, and its state is `seen`.
    """
    fresh = bool(after["curl"].keys() - begin["curl"].keys())
    items: Items = {}
    for name, family in (begin["curl"] | after["curl"]).items():
        at_once = "at once" if fresh else "seen"
        items[name] = {
            "type": family.type,
            "labels": sorted(family.labels or ()),
            "state": at_once if name in begin["curl"] else "after an event",
        } | _names(name, begin, after)
    return ContractPart(items=items)


def _names(name: str, begin: Scrape, after: Scrape) -> dict[str, str]:
    """Return what each asker but curl has to call a metric."""
    found = {}
    for asker in ASKERS:
        if asker != "curl":
            others = begin[asker] | after[asker]
            found[f"name for {asker}"] = _same(name, others)
    return found


def _same(name: str, others: Mapping[str, Family]) -> str:
    if name in others:
        return name
    plain = name.replace(":", "_")
    return next((other for other in others if other.replace(":", "_") == plain), "none")


async def _events(exchange: Exchange) -> None:
    parameters = {"max_new_tokens": 64, "temperature": 0, "ignore_eos": True}
    request = {"text": "The same prompt twice", "sampling_params": parameters}
    for _ in range(2):
        await exchange.ask("POST", "/generate", request)
    endless = {**parameters, "max_new_tokens": 2000}
    await exchange.cut("/generate", {**request, "sampling_params": endless, "stream": True})
    await exchange.ask("POST", "/generate", {**request, "sampling_params": {"temperature": -1}})


async def _scrape(exchange: Exchange) -> Scrape:
    found: Scrape = {}
    for asker, accept in ASKERS.items():
        answer = await exchange.ask("GET", "/metrics", headers={"Accept": accept})
        if answer.status != OK:
            told = status_line(answer.status, answer.target)
            problem = f"{told} to {asker}'s Accept header"
            raise BadAnswer(f"{exchange.url}/metrics", problem, status=answer.status)
        found[asker] = families(answer.body)
    return found
