"""One server under load: warm-ups and loads, each with the server's own view beside it.

A bench is one session; a comparison holds two open and gives each its blocks in turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from time import monotonic

from ci.bench.agreement import View, view
from ci.bench.client import Client, LoadRequest
from ci.bench.dialects import Api, Chat, Completions, Generate
from ci.bench.hopeless import hopeless, server_fault
from ci.bench.live import LiveBoard, Watch
from ci.bench.load import LoadRun, run_load
from ci.bench.metrics import Summary, summarise
from ci.bench.options import BenchOptions
from ci.bench.probe import probe
from ci.bench.prompts import Prompt, digest
from ci.bench.records import RequestRecord
from ci.bench.saturation import saturation
from ci.bench.schedule import Load
from ci.bench.scrape import Gauges, Metrics, gauges, poll, scrape
from ci.bench.steady import Drift, drifts, steady
from ci.bench.target import resolve
from ci.engines.metrics import SGLANG_METRICS, MetricNames
from ci.errors import BadAnswer, UsageError
from ci.server import identity
from ci.server.client import ServerClient
from ci.server.faults import REFUSALS, refusal
from ci.server.identity import Info, Watched

SETTLE = 2.0
"""Most seconds until a server has counted what it has answered."""

_LOOK = 8
"""Answers between two looks at whether a warm-up is over."""


@dataclass(frozen=True)
class Warmed:
    """How a warm-up ended.

    Args:
        run: What was sent.
        drifts: Drift of TTFT and TPOT over its last half.
        steady: Whether a steady state is shown.
    """

    run: LoadRun
    drifts: dict[str, Drift]
    steady: bool


@dataclass(frozen=True)
class Measured:
    """One load, measured.

    Args:
        run: What was sent and what came.
        summary: The figures.
        saturated: In which ways the client was the bottleneck; none where it wasn't.
        view: What the server counted meanwhile; None where its metrics weren't seen.
        unseen: Why they weren't; empty where they were before the load.
        gauges: What it said of itself during the load.
        workload: SHA-256 of the prompts in their order.
        lengths_asked: Whether every answer was to have the length asked for.
        metrics: What the server's metrics are called.
        uncounted: Why the server counts no tokens of streams; empty where it does.
    """

    run: LoadRun
    summary: Summary
    saturated: tuple[str, ...]
    view: View | None
    gauges: tuple[Gauges, ...]
    workload: str
    lengths_asked: bool
    metrics: MetricNames = SGLANG_METRICS
    uncounted: str = ""
    unseen: str = ""


class LoadSession:
    """One server, and how it is asked; see `open_session`."""

    def __init__(
        self, client: Client, api: Api, options: BenchOptions, watch: Watch | None
    ) -> None:
        """Keep what is needed to ask."""
        self._client, self._api, self._options, self._watch = client, api, options, watch
        self.watched = Watched(self._info)

    async def warm_up(self, load: Load, stream: str) -> Warmed:
        """Put the server under `load` until it is steady, or a limit of the options is met.

        What is under way by then is waited for, so that the next load meets an idle server.

        Args:
            load: The shape; its number of requests doesn't matter.
            stream: Name of the prompts' stream.

        Raises:
            BadAnswer: No request was answered, and that is the server's doing.
        """
        at, records, found = self._options.warm_up, list[RequestRecord](), dict[str, Drift]()
        shape = replace(load, requests=at.most(load))
        requests, _ = self._requests(stream, shape.requests, short=True)
        board = LiveBoard(f"warm-up, {load.label}", 0, self._watch)
        until = monotonic() + at.seconds

        def seen(record: RequestRecord) -> bool:
            board.take(record)
            records.append(record)
            if _locked_out(records):
                return True
            if len(records) % _LOOK == 0 and not steady(found, at.drift):
                found.update(drifts(records))
            return steady(found, at.drift) or hopeless(records) or monotonic() > until

        run = await run_load(self._client, shape, requests, self._options.limit, seen)
        board.end()
        self._permitted(run.records)
        if problem := server_fault(run.records):
            raise BadAnswer(self._client.target.url, f"warm-up: {problem}")
        return Warmed(run, found, steady(found, at.drift))

    async def measure(self, load: Load, stream: str) -> Measured:
        """Put the server under `load`, and return what that showed.

        Args:
            load: The shape.
            stream: Name of the prompts' stream: the same name gives the same prompts.

        Raises:
            UsageError: There are too few prompts.
            KeyRefused: The server wants another API key.
        """
        options = self._options
        requests, prompts = self._requests(stream, load.requests)
        board, records = LiveBoard(load.label, load.requests, self._watch), list[RequestRecord]()
        before = await scrape(self._client, options.metrics)

        def seen(record: RequestRecord) -> bool:
            board.take(record)
            records.append(record)
            return hopeless(records)

        async with self._polled() as pages:
            run = await run_load(self._client, load, requests, options.limit, seen)
        board.end()
        self._permitted(run.records)
        await self.watched.look(f"the end of {load.label}")
        return Measured(
            run=run,
            summary=summarise(run.records, run.asked, options.slo),
            saturated=saturation(run.effort, run.records, options.bounds),
            view=await self._view(before, run) if before.families else None,
            unseen=before.absent,
            gauges=gauges(pages, options.metrics),
            workload=digest(prompts),
            lengths_asked=options.sampling.ignore_eos,
            metrics=options.metrics,
            uncounted=options.uncounted,
        )

    def _permitted(self, records: Sequence[RequestRecord]) -> None:
        """Look for a server that answered nothing but that it wants another API key.

        Raises:
            KeyRefused: It is one.
        """
        if refused := _locked_out(records):
            target, (_, _, said) = self._client.target, refused.detail.partition(": ")
            url = f"{target.url}{self._api.path}"
            if error := refusal(url, refused.status or 0, said, target.key):
                raise error

    async def _info(self) -> Info:
        """Return what the server says of itself."""
        url = f"{self._client.target.url}{identity.PATH}"
        return identity.info(url, await self._client.page(identity.PATH))

    def _requests(
        self, stream: str, count: int, *, short: bool = False
    ) -> tuple[list[LoadRequest], list[Prompt]]:
        prompts = list(islice(self._options.prompts.take(stream), count))
        if len(prompts) < count and not short:
            has = f"there are {len(prompts)} prompts and {count} requests"
            raise UsageError(f"{has}: send fewer, or allow prompts to be repeated")
        post, api = self._client.target.post, self._api
        requests = [
            LoadRequest(index, post(api.path, api.body(prompt)), prompt.output_tokens)
            for index, prompt in enumerate(prompts)
        ]
        return requests, prompts

    @asynccontextmanager
    async def _polled(self) -> AsyncIterator[list[tuple[float, bytes]]]:
        pages: list[tuple[float, bytes]] = []
        if not self._options.poll:
            yield pages
            return
        polling = asyncio.create_task(poll(self._client, self._options.poll, pages))
        try:
            yield pages
        finally:
            polling.cancel()
            with suppress(asyncio.CancelledError):
                await polling

    async def _view(self, before: Metrics, run: LoadRun) -> View | None:
        """Return what the server counted, as soon as it has counted all, or after `SETTLE`."""
        completed, until = sum(record.complete for record in run.records), monotonic() + SETTLE
        names = self._options.metrics
        while (after := await scrape(self._client, names)).families:
            found = view(before, after, names)
            if (found.counts["requests"] or 0) >= completed or monotonic() > until:
                return found
            await asyncio.sleep(SETTLE / 10)
        return None


def _locked_out(records: Sequence[RequestRecord]) -> RequestRecord | None:
    """Return a request that wanted another API key, where no other one was answered."""
    if any(record.complete for record in records):
        return None
    return next((record for record in records if record.status in REFUSALS), None)


@asynccontextmanager
async def open_session(
    url: str, options: BenchOptions, watch: Watch | None = None
) -> AsyncIterator[LoadSession]:
    """Open a session with the server at `url`.

    Args:
        url: Its base URL.
        options: What it is asked, and how.
        watch: Who is shown snapshots.

    Raises:
        UsageError: `url` is no server's URL.
        ServerFault: Nothing answers there, or not even one request.
        NameUnresolved: Its host has no address here.
        CheckBroken: It wants another API key.
    """
    target = await resolve(url, options.headers, within=options.timeouts.connect)
    api = await _api(url, options)
    if options.probe:
        await probe(target, api, options.timeouts, options.probe)
    async with Client(target, api, options.timeouts) as client:
        session = LoadSession(client, api, options, watch)
        await session.watched.look("the start")
        yield session


async def _api(url: str, options: BenchOptions) -> Api:
    if options.api == "generate":
        return Generate(options.sampling)
    kind = Chat if options.api == "chat" else Completions
    if options.model:
        return kind(options.sampling, options.model)
    async with ServerClient(url) as server:
        names = await server.served_models()
    if not names:
        raise UsageError(f"{url} lists no model: name one")
    return kind(options.sampling, names[0])
