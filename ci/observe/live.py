"""Asks a real Prometheus each query of the boards: does it find anything?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from ci.boards.model import Query
from ci.observe.ask import Prometheus, QueryResult, Scraped
from ci.observe.catalogue import Catalogue
from ci.observe.contract import Place, shortened
from ci.observe.trying import excuse, text_of
from ci.report.model import Case
from ci.verdict import Outcome

SCRAPE = "scrape"
SETTLES = 5.0
"""Seconds beyond two scrapes in which a query that finds nothing is asked again."""
SLOWEST = 60.0
"""Most seconds between two scrapes that are waited for."""
FIRST = 15.0
"""Most seconds until a scrape was good."""
AGAIN = 1.0
"""Seconds until a query is asked again."""


@dataclass
class Tried:
    """One query, as a Prometheus is asked it.

    Args:
        place: Its place.
        query: The query.
        text: What is asked; empty where nothing makes it PromQL.
        excuse: Why it may find nothing although all is well; empty where it may not.
        result: What it found last.
    """

    place: Place
    query: Query
    text: str
    excuse: str
    result: QueryResult = field(default_factory=QueryResult)

    @property
    def found(self) -> bool:
        """Whether it found a number."""
        return bool(self.result.series) and self.result.numbers

    @property
    def waits(self) -> bool:
        """Whether it must find something and hasn't yet."""
        return not (self.found or self.result.refused or self.excuse or self.place.alert)

    @property
    def wrong(self) -> str:
        """What is wrong, in words; empty where nothing is."""
        if self.result.refused:
            return f"Prometheus refuses it: {self.result.refused}, in {self._line}"
        return f"no data, in {self._line}" if self.waits and not self.result.series else ""

    @property
    def empty(self) -> str:
        """Why it found nothing and that is no fault, in words; empty where there is no such."""
        if self.found or self.wrong or self.place.alert:
            return ""
        why = self.excuse or "only NaN came, as nothing of it was counted"
        return f"no data, which is no fault: {why}, in {self._line}"

    @property
    def _line(self) -> str:
        return shortened(self.text or self.query.text)


async def asked(
    api: Prometheus, places: Sequence[Place], known: Catalogue, seconds: float, *, here: bool
) -> list[Case]:
    """Return a case for each place: whether its queries find something.

    Args:
        api: The Prometheus.
        places: The places that are asked for.
        known: What the server exposes.
        seconds: For how long a query that finds nothing is asked again.
        here: Whether it is a Prometheus of our own, which knows this server alone.

    Raises:
        CheckBroken: It can't be asked, or can't be asked any more.
    """
    tried = [_tried(place, query, known, here=here) for place in places for query in place.queries]
    end = anyio.current_time() + seconds
    while True:
        for one in tried:
            if one.text and not one.found and not one.result.refused:
                one.result = await api.asked(one.text, variable=one.query.variable)
        if anyio.current_time() >= end or not any(one.waits for one in tried):
            return [_case(place, [one for one in tried if one.place is place]) for place in places]
        await anyio.sleep(AGAIN)


def _tried(place: Place, query: Query, known: Catalogue, *, here: bool) -> Tried:
    text = text_of(query, place.board, here=here)
    return Tried(place, query, text, excuse(place, query, text, known))


def _case(place: Place, tried: Sequence[Tried]) -> Case:
    wrong = [one.wrong for one in tried if one.wrong]
    told = [*wrong, *(one.empty for one in tried if one.empty)]
    fine = place.alert or any(one.found for one in tried)
    more = f"; and {len(told) - 1} more" if len(told) > 1 else ""
    return Case(
        name=f"{place.name}, asked",
        outcome=Outcome.FAILED if wrong else Outcome.PASSED if fine else Outcome.SKIPPED,
        message=told[0] + more if told else "",
        details="\n".join(told) if more else "",
    )


async def scraped(api: Prometheus, server: str, seconds: float, *, here: bool) -> Scraped | None:
    """Return what a Prometheus says of a server once it has scraped it; None where it doesn't.

    Args:
        api: The Prometheus.
        server: The server's base URL.
        seconds: Most seconds to wait for a good scrape; one that was late is no verdict yet.
        here: Whether it is one of our own, which takes five seconds to know its targets.
    """
    found = await api.scraped(server)
    with anyio.move_on_after(seconds):
        while (here and found is None) or (found and found.health != "up"):
            await anyio.sleep(AGAIN / 5)
            found = await api.scraped(server)
    return found


def scrape_case(found: Scraped | None, server: str) -> Case:
    """Return the case on whether a Prometheus can read a server's page at all."""
    if found is None:
        told = f"this Prometheus has no target {server}; it may know it by another address"
        return Case(name=SCRAPE, outcome=Outcome.SKIPPED, message=told)
    if found.health == "up":
        return Case(name=SCRAPE, outcome=Outcome.PASSED)
    told = found.error or "no scrape has come to its end"
    return Case(name=SCRAPE, outcome=Outcome.FAILED, message=f"Prometheus can't read it: {told}")


def patience(found: Scraped | None) -> float:
    """Return the seconds in which new data are to be seen."""
    return 2 * min(found.interval if found else SETTLES, SLOWEST) + SETTLES
