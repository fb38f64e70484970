"""How long nothing served while one copy took another's place, and what took the time.

It begins when the old server loses its requests: by the router, or without one by its end. It is
over when the new one has them: by the router after its proof, or without one at its first token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from ci.deploy.outcome import TakenStep
from ci.deploy.steps import Shift, Stop
from ci.deploy.world import WHOLE
from ci.report.model import Check, Figure

READINESS = "readiness"
_WEIGHTS = re.compile(r"Load weight end\. elapsed=([\d.]+) s")
_LEAST = 0.05
"""Seconds below which a cause isn't told."""


@dataclass(frozen=True)
class Downtime:
    """Seconds without a server.

    Args:
        seconds: All of them.
        causes: The parts of them that are known, in order: stop, start, weights, warm-up, proof.
    """

    seconds: float
    causes: Mapping[str, float]

    @classmethod
    def of(
        cls, steps: Sequence[TakenStep], checks: Sequence[Check], log: str, *, routed: bool
    ) -> Self | None:
        """Return the downtime of a deployment; None where there was none, or it isn't over.

        Args:
            steps: What was done.
            checks: What was found, the proofs of slots among it.
            log: The log of the server that has all traffic.
            routed: Whether a router holds requests back until the new server is proven.
        """
        begin = next((one.begun for one in steps if _takes_all_away(one, routed=routed)), None)
        proofs = [check for check in checks if check.name == READINESS]
        token = _reached(proofs[-1], "first token") if proofs else None
        given = [one for one in steps if isinstance(one.step, Shift) and _whole(one.step)]
        end = given[-1].over if routed and given else token
        if begin is None or end is None or end <= begin:
            return None
        opened = _reached(proofs[-1], "port open") if proofs else None
        return cls(_between(begin, end), dict(_causes(steps, begin, opened, token, end, log)))

    @property
    def told(self) -> str:
        """All of it in one line."""
        parts = ", ".join(f"{cause} {seconds:.1f} s" for cause, seconds in self.causes.items())
        return f"{self.seconds:.1f} s: {parts}" if parts else f"{self.seconds:.1f} s"

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The same for a reader that compares reports."""
        named = {"downtime": self.seconds} | {
            f"downtime: {cause}": seconds for cause, seconds in self.causes.items()
        }
        return tuple(
            Figure(name=name, value=seconds, unit="s", better="lower")
            for name, seconds in named.items()
        )


def _takes_all_away(one: TakenStep, *, routed: bool) -> bool:
    if routed:
        return isinstance(one.step, Shift) and not sum(one.step.shares)
    return isinstance(one.step, Stop) and one.step.grace > 0


def _whole(step: Shift) -> bool:
    return sum(step.shares) == WHOLE


def _between(begin: datetime, end: datetime) -> float:
    return max(0.0, (end - begin).total_seconds())


def _reached(check: Check, phase: str) -> datetime | None:
    """Return when a phase of a start-up was over; None where it never was."""
    ends = [one.start + one.seconds for one in check.phases if one.name == phase]
    return check.started + timedelta(seconds=ends[-1]) if ends else None


def _causes(
    steps: Sequence[TakenStep],
    begin: datetime,
    opened: datetime | None,
    token: datetime | None,
    end: datetime,
    log: str,
) -> Iterator[tuple[str, float]]:
    """Yield each cause that is known with its seconds; all of them together are the whole."""
    stopped = [one.over for one in steps if isinstance(one.step, Stop) and one.step.grace > 0]
    stop = max((at for at in stopped if at <= (opened or end)), default=begin)
    loads = _WEIGHTS.findall(log)
    weights = float(loads[-1]) if loads else 0.0
    named = [("stop", _between(begin, stop))]
    if opened is not None and token is not None:
        start = _between(stop, opened)
        weights = min(weights, start)
        named += [("start", start - weights), ("weights", weights)]
        named += [("warm-up", _between(opened, token)), ("proof", _between(token, end))]
    yield from ((cause, seconds) for cause, seconds in named if seconds >= _LEAST)
