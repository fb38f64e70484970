"""The readiness check as tests run it: short patience, chosen budgets, and what always holds."""

from __future__ import annotations

from typing import Any

import anyio

from ci.boot.readiness import Readiness
from ci.report.model import Case, Check
from ci.settings import ReadinessSettings
from ci.stages import checked
from ci.verdict import Outcome
from tests.live.quiet import Quiet

HANG = 60.0
"""Most seconds before a check counts as hung."""

LONG, SHORT = 30.0, 0.4
PHASES = ["process started", "port open", "serving", "first token"]


def budgets(**short: float) -> ReadinessSettings:
    """Return long budgets, but for those that are named."""
    names = ("process_started", "port_open", "serving", "first_token")
    return ReadinessSettings(**(dict.fromkeys(names, LONG) | short))


async def check(url: str, at: ReadinessSettings | None = None, **known: Any) -> Check:
    """Wait for the server at `url`, and hold what every such check must show."""
    told: list[Case] = []
    with anyio.fail_after(HANG):
        way = Readiness(url, at or budgets(), Quiet(), **known)
        found = await checked("readiness", way.wait, told.append)
    assert tuple(told) == found.cases
    outer = [phase for phase in found.phases if not phase.within]
    assert [phase.name for phase in outer] == [case.name for case in found.cases]
    assert all(case.outcome is Outcome.PASSED for case in found.cases[:-1])
    assert len(found.cause.splitlines()) <= 1
    return found


def last(found: Check) -> str:
    """Return the name of the phase at which a check ended."""
    return found.cases[-1].name
