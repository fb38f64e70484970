"""The HTTP API of a Prometheus, or of what speaks its language: does a query find anything?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from ci.boards.query import FUNCTION, LABEL
from ci.errors import BadAnswer, CheckBroken, SglangCiError
from ci.observe.scrapers import VICTORIAMETRICS
from ci.server.documents import document
from ci.server.exchange import Exchange, exchanging

JSON_ERRORS = (400, 422)
"""HTTP statuses of a query that can't be evaluated; the answer says why."""
OK = 200
PRETENDED = {"version": "2.24.0"}


@dataclass(frozen=True)
class Scraped:
    """What a Prometheus says of a server that it scrapes.

    Args:
        health: up, down or unknown.
        error: Why its last scrape failed; empty where it didn't.
        interval: Seconds between two scrapes.
    """

    health: str
    error: str
    interval: float


@dataclass(frozen=True)
class QueryResult:
    """What a query found.

    Args:
        series: How many series, or values of a variable.
        numbers: Whether one of them is a number, and not NaN.
        refused: Why it can't be evaluated; empty where it can.
    """

    series: int = 0
    numbers: bool = True
    refused: str = ""


class Prometheus:
    """One Prometheus, asked over HTTP.

    Args:
        exchange: The connections to it.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange, self.url = exchange, exchange.url

    @classmethod
    def at(cls, url: str, seconds: float) -> Self:
        """Return the one at `url`; use it as an async context manager.

        A server's API key isn't sent to it.
        """
        return cls(exchanging(url, seconds=seconds, keyed=False))

    async def __aenter__(self) -> Self:
        """Open the connections."""
        await self._exchange.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        """Close the connections."""
        await self._exchange.__aexit__(*error)

    async def ready(self) -> bool:
        """Return whether it answers queries."""
        try:
            return (await self._exchange.ask("GET", "/-/ready")).status == OK
        except SglangCiError:
            return False

    async def version(self) -> str:
        """Return its version; empty where it tells none.

        A VictoriaMetrics calls itself a Prometheus 2.24.0, and says nothing else of its build.
        """
        try:
            data = await self._data("/api/v1/status/buildinfo", {})
        except SglangCiError:
            return ""
        found = data if isinstance(data, dict) else {}
        return VICTORIAMETRICS if found == PRETENDED else str(found.get("version", ""))

    async def scraped(self, server: str) -> Scraped | None:
        """Return what it says of the server at a base URL; None where it scrapes none such."""
        data = await self._data("/api/v1/targets", {"state": "active"})
        found = data.get("activeTargets", ()) if isinstance(data, dict) else ()
        for one in found:
            url = str(one.get("scrapeUrl", ""))
            if urlsplit(url).netloc == urlsplit(server).netloc:
                known = one.get("discoveredLabels") or {}
                told = one.get("scrapeInterval") or known.get("__scrape_interval__", "")
                interval = _seconds(str(told))
                return Scraped(str(one.get("health")), str(one.get("lastError", "")), interval)
        return None

    async def asked(self, text: str, *, variable: bool = False) -> QueryResult:
        """Return what a query finds now.

        Args:
            text: PromQL; of a variable also Grafana's own functions.
            variable: Whether it makes the values of a Grafana variable.

        Raises:
            CheckBroken: The Prometheus is gone, or answers something else.
        """
        native = FUNCTION.fullmatch(text) if variable else None
        name, inside = native.groups() if native else ("query_result", text)
        if name == "label_values" and (given := LABEL.fullmatch(inside)):
            match = {"match[]": given[1]} if given[1] else {}
            return await self._listed(f"/api/v1/label/{given[2]}/values", match)
        if name == "label_names":
            return await self._listed("/api/v1/labels", {})
        if name == "metrics":
            return await self._listed(
                "/api/v1/label/__name__/values", {"match[]": f'{{__name__=~".*(?:{inside}).*"}}'}
            )
        return await self._listed("/api/v1/query", {"query": inside})

    async def skew(self, clock: float) -> float | None:
        """Return the seconds by which its clock is before `clock`, in Unix time; None if unsaid."""
        return _skew((await self._exchange.ask("GET", "/-/ready")).headers, clock)

    async def _listed(self, path: str, asked: Mapping[str, str]) -> QueryResult:
        try:
            data = await self._data(path, asked)
        except BadAnswer as error:
            if error.status in JSON_ERRORS:
                return QueryResult(refused=error.problem)
            raise CheckBroken(f"the Prometheus can't be asked: {error}") from error
        except SglangCiError as error:
            raise CheckBroken(f"the Prometheus can't be asked: {error}") from error
        if not isinstance(data, dict):
            return QueryResult(len(data) if isinstance(data, list) else 0)
        found = data.get("result")
        if data.get("resultType") in {"scalar", "string"} or not isinstance(found, list):
            return QueryResult(1)
        return QueryResult(len(found), numbers=any(map(_is_number, found)))

    async def _data(self, path: str, asked: Mapping[str, str]) -> Any:
        """Return the `data` of an answer.

        Raises:
            SglangCiError: No whole answer came, or it is none of a Prometheus.
        """
        target = f"{path}?{urlencode(asked)}" if asked else path
        answer = await self._exchange.ask("GET", target)
        try:
            found = document(answer.body)
        except ValueError:
            found = None
        url = f"{self.url}{path}"
        if not isinstance(found, dict) or "status" not in found:
            problem = f"HTTP {answer.status} without a Prometheus' JSON"
            raise BadAnswer(url, problem, status=None)
        if found["status"] != "success":
            raise BadAnswer(url, str(found.get("error", "error")), status=answer.status)
        return found.get("data")


def _is_number(series: Any) -> bool:
    """Return whether the last value of a series is a number; a range of values counts as one."""
    value = series.get("value") if isinstance(series, dict) else None
    return not (isinstance(value, list) and len(value) > 1 and value[1] == "NaN")


def _seconds(text: str) -> float:
    """Return a duration such as 1m30s in seconds; 0 where it is none."""
    units = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    found = re.findall(r"(\d+)(ms|[smhd])", text)
    return sum(float(number) * units[unit] for number, unit in found)


def _skew(headers: Mapping[str, str], clock: float) -> float | None:
    try:
        return clock - parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError):
        return None
