"""Asks a server's changing routes without a key, and judges what answers."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from ci.errors import NotSglang
from ci.exposure.ask import CLOSED_BY, RouteSeen, RouteState, seen
from ci.exposure.routes import Route, routes
from ci.report.model import Case
from ci.server.exchange import Exchange, exchanging
from ci.settings.exposure import ExposureSettings
from ci.stages import StageResult, Tell
from ci.verdict import Outcome

NAME = "exposure"
SCHEMA = "/openapi.json"
LIVING = ("/v1/models", "/model_info", "/health")
"""One of these is there wherever SGLang is, whoever may ask it."""


async def expose(url: str, settings: ExposureSettings, tell: Tell) -> StageResult:
    """Tell which routes that change a server answer without a key.

    Nothing is changed: no route's own code runs but that of routes that only read.

    Args:
        url: The server's base URL.
        settings: What is demanded.
        tell: Is told of each case as soon as it is known.

    Raises:
        ServerFault: It isn't an SGLang server, or no whole answer came.
    """
    async with (
        exchanging(url, seconds=settings.timeout) as known,
        exchanging(url, seconds=settings.timeout, keyed=False) as stranger,
    ):
        await _living(stranger)
        document = await _document(known)
        found = await seen(stranger, routes(document))
    for case in _cases(found, settings):
        tell(case)
    return StageResult(facts={"url": url, "demand": settings.demand} | _facts(found, document))


async def _living(stranger: Exchange) -> None:
    """Hold that an SGLang server is there at all, or somebody who guards it."""
    told = []
    for path in LIVING:
        status = (await stranger.ask("GET", path)).status
        if status in range(200, 300) or status in CLOSED_BY:
            return
        told.append(f"{path} {status}")
    raise NotSglang(stranger.url, f"not an SGLang server: HTTP {', '.join(told)}")


async def _document(known: Exchange) -> Mapping[str, Any] | None:
    """Return how the server describes itself; None where it doesn't."""
    answer = await known.ask("GET", SCHEMA)
    try:
        found = json.loads(answer.body) if answer.status == HTTPStatus.OK else None
    except (ValueError, RecursionError):
        found = None
    paths = found.get("paths") if isinstance(found, dict) else None
    return found if isinstance(paths, dict) else None


def _cases(found: Sequence[RouteSeen], settings: ExposureSettings) -> list[Case]:
    """Return a case for each kind of change."""
    names = dict.fromkeys(one.route.group for one in found)
    return [
        _case(name, [one for one in found if one.route.group == name], settings) for name in names
    ]


def _case(name: str, found: Sequence[RouteSeen], settings: ExposureSettings) -> Case:
    listed = {
        state: _listed(one.route for one in found if one.state is state) for state in RouteState
    }
    return Case(
        name=name,
        outcome=_outcome(found, settings),
        message="; ".join(f"{state}: {told}" for state, told in listed.items() if told),
        details="\n".join(f"{one.route.name}: {one.state}: {one.told}" for one in found),
    )


def _outcome(found: Sequence[RouteSeen], settings: ExposureSettings) -> Outcome:
    states = {
        one.state
        for one in found
        if not any(re.fullmatch(pattern, one.route.name) for pattern in settings.open)
    }
    if settings.demand == "listed":
        return Outcome.INCONCLUSIVE if states == {RouteState.UNSURE} else Outcome.PASSED
    if RouteState.OPEN in states:
        return Outcome.FAILED
    return Outcome.INCONCLUSIVE if RouteState.UNSURE in states else Outcome.PASSED


def _listed(found: Iterable[Route]) -> str:
    """Return routes in one line, the methods of a path together."""
    methods: dict[str, list[str]] = {}
    for one in found:
        methods.setdefault(one.path, []).append(one.method)
    return ", ".join(f"{'|'.join(methods)} {path}" for path, methods in methods.items())


def _facts(found: Sequence[RouteSeen], document: Mapping[str, Any] | None) -> dict[str, str]:
    counts = Counter(one.state for one in found)
    return {
        "routes": ", ".join(f"{counts[state]} {state}" for state in RouteState if counts[state]),
        "routes by": SCHEMA
        if document
        else f"SGLang 0.5.23's own list, as {SCHEMA} isn't answered",
    }
