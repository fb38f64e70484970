"""Sifts candidates: what a server lacks, duplicates, what doesn't hold and what can't fail go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

from ci.cases.compose import key
from ci.cases.language import Tried
from ci.cases.model import GeneratedCase
from ci.cases.observed import ObservedRun
from ci.cases.vacuous import why_vacuous
from ci.engines.profile import Capability

ROUNDS = 4
"""How often new candidates are tried in place of dropped ones."""
TRIES = 40
"""Most candidates composed for each case that is asked for; a vocabulary has an end."""

Runner = Callable[[Sequence[GeneratedCase]], Awaitable[list[Tried]]]


class Why(StrEnum):
    """Why a candidate was dropped."""

    LACKING = "the server lacks it"
    DUPLICATE = "duplicate"
    VACUOUS = "vacuous"
    UNSTEADY = "does not hold here"
    BROKEN = "fails on this server"


@dataclass(frozen=True)
class Dropped:
    """A candidate that was dropped, and why; `told` is one line."""

    case: GeneratedCase
    why: Why
    told: str = ""


@dataclass
class Sifted:
    """What is kept, and what isn't."""

    kept: list[GeneratedCase] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)

    def drop(self, case: GeneratedCase, why: Why, told: str = "") -> None:
        """Drop a candidate."""
        self.dropped.append(Dropped(case, why, told))

    def count(self, why: Why, capability: str = "") -> int:
        """Return how many were dropped for a reason, of one capability or all."""
        return sum(
            one.why is why and capability in {"", one.case.capability} for one in self.dropped
        )


async def sift(
    candidates: Iterator[GeneratedCase],
    count: int,
    absent: Mapping[Capability, str],
    run: Runner,
    *,
    record: bool = False,
) -> Sifted:
    """Return `count` cases, or as many as there are.

    Args:
        candidates: Where cases come from.
        count: How many to keep.
        absent: What the server can't do, with reasons.
        run: Runs programs against the server.
        record: Whether answers become properties.
    """
    found = Sifted()
    fresh = _fresh(islice(candidates, TRIES * count), absent, found)
    for _ in range(ROUNDS):
        some = list(islice(fresh, count - len(found.kept)))
        if not some:
            break
        for case, tried in zip(some, await run(some), strict=True):
            _judge(case, tried, found, record=record)
    return found


def _fresh(
    candidates: Iterator[GeneratedCase], absent: Mapping[Capability, str], found: Sifted
) -> Iterator[GeneratedCase]:
    """Yield candidates that the server can try and that are new."""
    seen: set[str] = set()
    for case in candidates:
        lacking = next((need for need in case.needs if Capability(need) in absent), None)
        if lacking is not None:
            found.drop(case, Why.LACKING, absent[Capability(lacking)])
        elif key(case) in seen:
            found.drop(case, Why.DUPLICATE)
        else:
            seen.add(key(case))
            yield case


def _judge(case: GeneratedCase, tried: Tried, found: Sifted, *, record: bool) -> None:
    if not isinstance(tried, ObservedRun):
        return found.drop(case, Why.BROKEN, tried)
    problems = [(one, problem) for one in case.properties if (problem := one.problem(tried))]
    problems.sort(key=lambda pair: not pair[0].sure)
    if problems:
        first, problem = problems[0]
        return found.drop(case, Why.BROKEN if first.sure else Why.UNSTEADY, problem)
    if vacuous := why_vacuous(case, tried):
        return found.drop(case, Why.VACUOUS, vacuous)
    texts = {name: seen.text for name, seen in tried.answers.items() if not seen.scores}
    found.kept.append(case.with_answers(texts) if record else case)
    return None
