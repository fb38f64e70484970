"""Whether boards, rules and alerts find on a server what they ask for, as a stage of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import time

import anyio
from anyio import to_thread

from ci.boards.model import Board
from ci.boards.read import read as read_board
from ci.errors import CheckBroken, SglangCiError, UsageError
from ci.observe import live, program
from ci.observe.ask import Prometheus
from ci.observe.catalogue import Catalogue, read
from ci.observe.contract import Place, cases, places
from ci.observe.scrape_config import ScrapeConfig, scrape_config
from ci.observe.scrapers import LEGACY, SCRAPERS, of_version
from ci.observe.stored import StoredNames
from ci.observe.traffic import ABORTED, GENERATED, NOWHERE, OK, SETTLES, STEPS, served
from ci.report.model import Case, Figure
from ci.server.exchange import Exchange, exchanging
from ci.settings.observe import ObserveSettings
from ci.stages import StageResult, Tell
from ci.verdict import Outcome

NAME = "observe"
LIVE = "a real Prometheus"
"""The case that says why none was asked."""
SKEWED = 5.0
"""Seconds by which clocks may differ before it is told."""


@dataclass(frozen=True)
class ObserveAsked:
    """What is asked beside the settings.

    Args:
        boards: Boards that were named beside those of the settings.
        rules: Files of rules, likewise.
        prometheus: Base URL of a Prometheus that scrapes the server; empty: one is started here.
    """

    boards: tuple[Path, ...] = ()
    rules: tuple[Path, ...] = ()
    prometheus: str = ""


async def observe(
    url: str, settings: ObserveSettings, tell: Tell, asked: ObserveAsked | None = None
) -> StageResult:
    """Tell whether every query of boards and rules finds what it asks for.

    The server gets a known traffic of a few hundred tokens, twice where a Prometheus is asked.

    Args:
        url: The server's base URL.
        settings: Boards, rules, and who scrapes.
        tell: Is told of each case as soon as it is known.
        asked: What else is asked.

    Raises:
        UsageError: A file can't be read, or says nothing of how the server is scraped.
        ServerFault: The server has no metrics, or is gone.
    """
    scrape = await to_thread.run_sync(scrape_config, settings)
    run = _Run(url, settings, tell, asked or ObserveAsked(), scrape)
    async with exchanging(url, seconds=settings.timeout) as exchange:
        return await run.result(exchange)


@dataclass
class _Run:
    url: str
    settings: ObserveSettings
    tell: Tell
    asked: ObserveAsked
    scrape: ScrapeConfig
    facts: dict[str, str] = field(default_factory=dict)
    model: str = ""
    legacy: bool = False

    async def result(self, exchange: Exchange) -> StageResult:
        """Read the server, judge the boards, and ask a Prometheus."""
        own = program.found(self.settings.prometheus)
        name = await self._scraper(own)
        boards = self._boards()
        known = await self._catalogue(exchange, name)
        title = SCRAPERS[name].title
        added = {*self.settings.labels, *self.scrape.labels}
        stored = StoredNames.stored(known, boards, added, title)
        found = places(boards, stored)
        for board in boards:
            for case in cases(board, [one for one in found if one.board is board]):
                self.tell(case)
        await self._live(exchange, known, found, own)
        self.facts |= {"url": self.url, "scraped by": title} | _told(known)
        return StageResult(facts=self.facts, figures=_figures(known))

    @property
    def _job(self) -> str:
        return self.scrape.job or self.settings.job

    def _boards(self) -> list[Board]:
        """Return all boards; rules come first, so that boards may use what they record.

        Files that can't be read are told, and that there is none. Where several have one name
        each is called by its path.
        """
        rules, boards = self.settings.rules, self.settings.boards
        files = dict.fromkeys((*rules, *self.asked.rules, *boards, *self.asked.boards))
        shared = Counter(path.name for path in files)
        found = []
        for path in files:
            name = path.name if shared[path.name] == 1 else str(path)
            try:
                found.append(replace(read_board(path), name=name))
            except UsageError as error:
                self.tell(Case(name=name, outcome=Outcome.FAILED, message=str(error)))
        if not files:
            told = "none is named: --board FILE, --rules FILE, or [observe] boards, rules"
            self.tell(Case(name="boards", outcome=Outcome.SKIPPED, message=told))
        return found

    async def _scraper(self, own: str) -> str:
        """Return the name of who scrapes, by the settings or by the Prometheus that is asked."""
        version = ""
        if self.asked.prometheus:
            async with Prometheus.at(self.asked.prometheus, self.settings.timeout) as api:
                version = await api.version()
        elif own:
            version = await to_thread.run_sync(program.version_of, own)
        if version:
            self.facts["Prometheus"] = version
        name = of_version(version)
        can = name == "prometheus-3"
        if self.settings.scraper != "auto":
            name = self.settings.scraper
        elif can and self.scrape.legacy:
            name = LEGACY
        self.legacy = can and name == LEGACY
        return name

    async def _catalogue(self, exchange: Exchange, name: str) -> Catalogue:
        """Return what the server exposes after a known traffic, and what of it is wrong."""
        look = partial(read, exchange, SCRAPERS[name], self.scrape.rules, self._job)
        known = await look()
        answered = dict[str, int]()
        self.model = await served(exchange)
        for step in STEPS:
            answered[step.event] = await step.take(exchange, self.model)
            known = (await look()).since(known, step.event)
        with anyio.move_on_after(SETTLES):
            while not any(ABORTED in one for one in known.metrics):
                await anyio.sleep(SETTLES / 10)
                known = (await look()).since(known, STEPS[-1].event)
        self._tell_page(known, answered)
        if grows := known.growing(NOWHERE):
            self.facts["grows without end"] = "; ".join(grows)
        return known

    def _tell_page(self, known: Catalogue, answered: Mapping[str, int]) -> None:
        page = Case(name="page", outcome=Outcome.PASSED)
        if known.twice:
            told = f"these series stand there twice: {', '.join(known.twice)}"
            page = Case(name="page", outcome=Outcome.FAILED, message=told)
        self.tell(page)
        traffic = Case(name="known traffic", outcome=Outcome.PASSED)
        if OK not in (answered[event] for event in GENERATED):
            statuses = " and ".join(f"HTTP {answered[event]} to {event}" for event in GENERATED)
            told = f"{statuses}: what begins with one can't be seen"
            traffic = Case(name="known traffic", outcome=Outcome.INCONCLUSIVE, message=told)
        self.tell(traffic)

    async def _live(
        self, exchange: Exchange, known: Catalogue, found: Sequence[Place], own: str
    ) -> None:
        """Ask a Prometheus each query that isn't wrong already."""
        theirs = self.asked.prometheus
        good = [one for one in found if one.outcome is not Outcome.FAILED and (theirs or one.ours)]
        if not good:
            self._not_asked("no query is left that could find something" if found else "no query")
            return
        if not (theirs or own):
            named = self.settings.prometheus
            told = f"no program {named} here" if named else "[observe] prometheus is empty"
            self._not_asked(f"{told}: install one, or name a running one by --prometheus URL")
            return
        try:
            if theirs:
                async with Prometheus.at(theirs, self.settings.timeout) as api:
                    await self._ask(api, exchange, known, good, here=False)
                return
            rules = [query for one in good for query in one.queries if query.record]
            documents, budget = self.scrape.documents, self.settings.budget
            started = program.Program(
                own, self.url, rules, documents, budget, self._job, self.legacy
            )
            async with started.running(self.settings.timeout) as api:
                await self._ask(api, exchange, known, good, here=True)
        except CheckBroken as error:
            self.tell(Case(name=LIVE, outcome=Outcome.ERROR, message=str(error)))

    async def _ask(
        self,
        api: Prometheus,
        exchange: Exchange,
        known: Catalogue,
        good: Sequence[Place],
        *,
        here: bool,
    ) -> None:
        """Take the known traffic while it scrapes, and ask it.

        Raises:
            CheckBroken: It can't be asked.
            ServerFault: The server is gone.
        """
        with anyio.move_on_after(self.settings.budget) as scope:
            try:
                skew = await api.skew(time())
                target = await live.scraped(api, self.url, live.FIRST, here=here)
            except SglangCiError as error:
                raise CheckBroken(f"the Prometheus can't be asked: {error}") from error
            if skew is not None and abs(skew) > SKEWED:
                self.facts["clock of Prometheus"] = f"{skew:.0f} s behind this machine's"
            self.tell(live.scrape_case(target, self.url))
            if target and target.health != "up":
                return
            for step in STEPS:
                await step.take(exchange, self.model)
            for case in await live.asked(api, good, known, live.patience(target), here=here):
                self.tell(case)
        if scope.cancelled_caught:
            raise CheckBroken(f"not all was asked within {self.settings.budget:g} s")

    def _not_asked(self, why: str) -> None:
        self.tell(Case(name=LIVE, outcome=Outcome.SKIPPED, message=f"not asked: {why}"))


def _told(known: Catalogue) -> dict[str, str]:
    """Return what was read, in words."""
    later: dict[str, list[str]] = {}
    for name, one in known.metrics.items():
        if one.event:
            later.setdefault(one.event, []).append(name)
    conditional = "; ".join(f"{event}: {', '.join(names)}" for event, names in later.items())
    told = f"{len(known.metrics)} names, {known.series} series, {known.size} bytes"
    return {"metrics": f"{told}, {known.seconds:.3f} s"} | (
        {"begins with an event": conditional} if conditional else {}
    )


def _figures(known: Catalogue) -> tuple[Figure, ...]:
    return (
        Figure(name="series", value=known.series, better="lower"),
        Figure(name="page", value=known.size, unit="bytes", better="lower"),
        Figure(name="scrape", value=known.seconds, unit="s", better="lower"),
    )
