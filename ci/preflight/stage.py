"""Asks every question of the preflight at once, and tells all that is wrong in one answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

import anyio
from anyio import to_thread

from ci.errors import SglangCiError, UsageError
from ci.preflight import image, paths, release, server, workload
from ci.preflight.asked import Finding, Intent, NotAsked, PreflightQuestion
from ci.verdict import Outcome

NAME = "preflight"
PATIENCE = 90.0
"""Most seconds for one question."""


async def preflight(asked: Intent, tell: Callable[[Finding], None]) -> list[Finding]:
    """Return what is found of everything that a run needs, in the questions' order.

    Args:
        asked: What the run is to do.
        tell: Gets each finding as soon as it and those before it are known.
    """
    known = [*_settings(asked), *asked.seen]
    asking = list(_questions(asked))
    found: list[Finding | None] = [*known, *([None] * len(asking))]
    told = 0

    def add(place: int, finding: Finding) -> None:
        nonlocal told
        found[place] = finding
        while told < len(found) and (first := found[told]):
            tell(first)
            told += 1

    for place, finding in enumerate(known):
        add(place, finding)
    async with anyio.create_task_group() as tasks:
        for place, question in enumerate(asking, len(known)):
            tasks.start_soon(_ask, asked, question, partial(add, place))
    return [finding for finding in found if finding]


def refusals(findings: Iterable[Finding]) -> list[str]:
    """Return all that is wrong, in one line each, where the caller has to give something else."""
    bad = [one for one in findings if one.outcome is Outcome.ERROR]
    return [one.alone for one in bad] if any(one.usage for one in bad) else []


def _questions(asked: Intent) -> Iterator[PreflightQuestion]:
    for room in (paths, server, workload, image, release):
        yield from room.questions(asked)
    if asked.baseline and not asked.baseline.url:
        settings = asked.baseline.settings
        other = replace(asked, settings=settings, baseline=None, publish_to="", everything=False)
        for room in (paths, server):
            for question in room.questions(other):
                yield PreflightQuestion(f"baseline's {question.name}", question.ask)


def _settings(asked: Intent) -> Iterator[Finding]:
    """Yield a finding for each setting that is wrong, or one that all are right."""
    if not asked.wrong:
        yield Finding("settings")
    keys = Counter(error.key for error in asked.wrong)
    for number, error in enumerate(asked.wrong, 1):
        name = f"{error.key} ({number})" if keys[error.key] > 1 else error.key
        hint = f"; allowed: {error.allowed}" if error.allowed else ""
        yield Finding(
            name,
            Outcome.ERROR,
            asked.said(f"{error.source}: {error.problem}{hint}"),
            usage=True,
            line=asked.said(str(error)),
        )


async def _ask(asked: Intent, question: PreflightQuestion, add: Callable[[Finding], None]) -> None:
    """Ask one question in a thread, which is left behind where it takes too long."""
    finding = Finding(question.name, Outcome.ERROR, f"no answer within {PATIENCE:g} s")
    with anyio.move_on_after(PATIENCE):
        try:
            told = await to_thread.run_sync(question.ask, abandon_on_cancel=True)
            finding = Finding(question.name, message=asked.said(told))
        except NotAsked as error:
            finding = Finding(question.name, Outcome.SKIPPED, asked.said(str(error)))
        except SglangCiError as error:
            usage, told = isinstance(error, UsageError), asked.said(str(error))
            finding = Finding(question.name, Outcome.ERROR, told, usage=usage)
    add(finding)
