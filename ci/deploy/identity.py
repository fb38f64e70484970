"""Who answers through the router: the released server, and nobody else."""

from __future__ import annotations

from http import HTTPStatus

from ci.deploy.world import Release, SlotSeen
from ci.errors import SglangCiError
from ci.report.model import Case
from ci.server.exchange import Exchange, exchanging
from ci.server.identity import PATH, Identity, info
from ci.verdict import Outcome

NAME = "the release answers through the router"
SLOT_HEADER = "x-sglang-slot"
ASKED = 8
"""How often it is asked, each time on its own."""
_OLDER = "/get_server_info"
"""What SGLang called it before; smg passes on nothing else."""


async def through(url: str, slot: SlotSeen, release: Release, *, named: bool = True) -> Case:
    """Return whether what answers at the router is the very server that runs in a slot.

    Version, model, flags of its start and the slot's header are held against what the slot's
    own address says.

    Args:
        url: The router's.
        slot: The slot that has all traffic.
        release: What is to run there.
        named: Whether every answer has to name its slot; one that names another is wrong anyway.
    """
    try:
        problem = await _problem(url, slot, release, named=named)
    except SglangCiError as error:
        return Case(name=NAME, outcome=Outcome(error.verdict.value), message=str(error))
    told = f"{slot.name}, {release.digest[:19]}, asked {ASKED} times"
    return Case(
        name=NAME,
        outcome=Outcome.FAILED if problem else Outcome.PASSED,
        message=problem or told,
    )


async def _problem(url: str, slot: SlotSeen, release: Release, *, named: bool) -> str:
    if slot.release is None or slot.release.digest != release.digest:
        there = slot.release.digest if slot.release else "nothing"
        return f"{slot.name} runs {there}, not {release.digest}"
    async with exchanging(f"http://{slot.address}") as direct, exchanging(url) as routed:
        own, _ = await _who(direct)
        if release.version and own.version and own.version != release.version:
            return f"{slot.name} says that it is {own.version}, not {release.version}"
        for _ in range(ASKED):
            seen, header = await _who(routed)
            if header != slot.name and (header or named):
                return f"{url} answers from {header or 'a slot that it does not name'}"
            if change := own.change(seen):
                return f"{url}: {change}"
    return ""


async def _who(exchange: Exchange) -> tuple[Identity, str]:
    answer = await exchange.ask("GET", PATH)
    if answer.status == HTTPStatus.NOT_FOUND:
        answer = await exchange.ask("GET", _OLDER)
    answer = exchange.permitted(PATH, answer)
    found = Identity.of(info(f"{exchange.url}{PATH}", answer.body.encode()))
    return found, answer.headers.get(SLOT_HEADER, "")
