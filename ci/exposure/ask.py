"""Finds out whether a route answers without a key, and never lets it act.

SGLang asks for the key before it looks at a request (`sglang/srt/utils/auth.py`, 0.5.23): a body
that can't be read is refused by 401 where the route is closed, and by 400 where it is open, before
any of the route's own code runs. Where a route needs no body, only another method than its own can
be sent: what refuses that by 401 refuses the right one as well; 405 leaves it open whether it
would, because `--admin-api-key` alone guards a route by its own method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from http import HTTPStatus

from ci.exposure.routes import ARGUED, Route
from ci.server.exchange import Exchange, Reply

UNREADABLE = b"{"
OTHER_METHOD = "PATCH"
"""A method that none of SGLang's routes has."""
NOWHERE = "/sglang-ci-asks-what-is-not-there"
CLOSED_BY = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
OPEN_BY = {
    *(HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    *(*range(200, 300), HTTPStatus.INTERNAL_SERVER_ERROR),
}
STATUS_ROUTE, REFUSED_WITHIN = "/hicache/storage-backend", "requires admin API key"
"""Reading this one changes nothing, and says that it and its writing are refused without a key."""


class RouteState(StrEnum):
    """Whether a route answers without a key."""

    OPEN = "open"
    CLOSED = "closed"
    ABSENT = "not there"
    UNSURE = "not known"


@dataclass(frozen=True)
class RouteSeen:
    """What was seen of a route.

    Args:
        route: The route.
        state: Whether it answers.
        told: How that is known.
        by_itself: Whether its own method was sent, with a body that can't be read.
    """

    route: Route
    state: RouteState
    told: str
    by_itself: bool = False


@dataclass(frozen=True)
class Front:
    """What a server, or whatever stands before it, says of requests to no route at all.

    Args:
        body: Whether a body that can't be read changes that; it then says nothing of a route.
        method: Whether the method changes it.
    """

    body: bool
    method: bool

    @classmethod
    async def of(cls, stranger: Exchange) -> Front:
        """Return what stands at the server's door."""
        plain = await stranger.ask("GET", NOWHERE)
        other = await stranger.ask(OTHER_METHOD, NOWHERE)
        read = await stranger.ask("POST", NOWHERE, b"{}")
        unread = await stranger.ask("POST", NOWHERE, UNREADABLE)
        return cls(body=read.status != unread.status, method=plain.status != other.status)


async def seen(stranger: Exchange, found: Sequence[Route]) -> list[RouteSeen]:
    """Return what each route says to somebody without a key.

    Args:
        stranger: The server, asked without a key.
        found: The routes.

    Raises:
        ServerFault: No whole answer came.
    """
    front = await Front.of(stranger)
    told = _inferred([await _ask(stranger, route, front) for route in found])
    return await _refused_within(stranger, told)


async def _ask(stranger: Exchange, route: Route, front: Front) -> RouteSeen:
    if _can_do_nothing(route) and not front.body:
        answer = await stranger.ask(route.method, route.target, UNREADABLE)
        told = f"HTTP {answer.status} to a body that can't be read"
        return RouteSeen(route, _by_body(answer), told, by_itself=True)
    if front.method:
        return RouteSeen(route, RouteState.UNSURE, "what stands before it judges by the method")
    answer = await stranger.ask(OTHER_METHOD, route.target)
    told = f"HTTP {answer.status} to {OTHER_METHOD}, its own method isn't sent"
    return RouteSeen(route, _by_method(answer), told)


def _can_do_nothing(route: Route) -> bool:
    """Return whether a route can do nothing where its body can't be read and its query is empty."""
    described = route.described or {}
    found = described.get("requestBody")
    body = found if isinstance(found, dict) else {}
    declared = "application/json" in (body.get("content") or {})
    queried = any(
        isinstance(one, dict) and one.get("in") == "query" and one.get("required")
        for one in described.get("parameters") or ()
    )
    if route.method == "GET":  # whatever drops such a body leaves a request that acts
        return route.path in ARGUED and (queried or (declared and bool(body.get("required"))))
    return declared or queried or route.path in ARGUED


def _by_body(answer: Reply) -> RouteState:
    if answer.status in CLOSED_BY:
        return RouteState.CLOSED
    if answer.status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
        return RouteState.ABSENT
    return RouteState.OPEN if answer.status in OPEN_BY else RouteState.UNSURE


def _by_method(answer: Reply) -> RouteState:
    if answer.status in CLOSED_BY:
        return RouteState.CLOSED
    return RouteState.ABSENT if answer.status == HTTPStatus.NOT_FOUND else RouteState.UNSURE


def _inferred(told: Sequence[RouteSeen]) -> list[RouteSeen]:
    """Take what could not be asked for open where everything that could be asked is."""
    asked = {one.state for one in told if one.by_itself and one.state is not RouteState.ABSENT}
    return [
        replace(one, state=RouteState.OPEN, told=f"{one.told}; all that could be asked is open")
        if one.state is RouteState.UNSURE and not one.by_itself and asked == {RouteState.OPEN}
        else one
        for one in told
    ]


async def _refused_within(stranger: Exchange, told: Sequence[RouteSeen]) -> list[RouteSeen]:
    """Take the routes for closed that let everybody in and refuse then."""
    answer = await stranger.ask("GET", STATUS_ROUTE)
    refused = answer.status >= HTTPStatus.BAD_REQUEST and REFUSED_WITHIN in answer.body
    return [
        replace(
            one, state=RouteState.CLOSED, told="refused by the route itself without an admin key"
        )
        if refused and one.route.path == STATUS_ROUTE and one.state is RouteState.OPEN
        else one
        for one in told
    ]
