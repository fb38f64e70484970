"""The questions as data: what each asks, what it needs, and their order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ci.bench import stage as bench
from ci.boot import readiness, shutdown
from ci.exposure import stage as exposure
from ci.gate import stage as gate
from ci.gate.sides import GateSide
from ci.graph.seen import Seen
from ci.health import stage as health
from ci.health.experiments import HARMLESS
from ci.health.stage import GivenServer
from ci.observe import stage as observe
from ci.smoke import run as smoke
from ci.smoke.stage import smoke as ask_smoke
from ci.stages import StageResult, Stages, Tell
from ci.versions import stage as versions

Ask = Callable[[Seen, Stages, Tell], Awaitable[StageResult]]
Needs = Callable[[Seen], str | None]


def _nothing(_: Seen) -> str:
    return ""


@dataclass(frozen=True)
class Question:
    """One question to a server.

    Args:
        name: The name of its check.
        asks: The question, in words.
        ask: Asks it.
        needs: Returns what a server lacks for it: empty where it can be asked, None where it is
            no part of this run, so that nobody has to be told that it wasn't asked.
        first: Whether no other question makes sense without a good answer to it.
        measures: Whether it measures: only a server that passed the others is measured.
        ends: Whether it ends the server, whose end says nothing against it then.
    """

    name: str
    asks: str
    ask: Ask
    needs: Needs = _nothing
    first: bool = False
    measures: bool = False
    ends: bool = False


async def _ready(seen: Seen, stages: Stages, tell: Tell) -> StageResult:
    budgets, engine = seen.settings.readiness, seen.asked.engine
    at = readiness.Readiness(seen.url, budgets, stages.progress, seen.process, seen.log, engine)
    return await at.wait(tell)


async def _versions(seen: Seen, _: Stages, tell: Tell) -> StageResult:
    engine = seen.asked.engine
    expected = versions.Expected(
        versions=seen.settings.expected_versions(),
        inventory=await seen.installed() if seen.installed else None,
        label=seen.label,
        revision=seen.label_revision,
        left_out=seen.settings.versions.left_out,
        model_path=seen.model_path,
        served_name=seen.settings.model.served_name,
    )
    async with engine.client(seen.url) as client:
        return await versions.check_versions(client, expected, tell, engine=engine)


async def _smoke(seen: Seen, _: Stages, tell: Tell) -> StageResult:
    return await ask_smoke(seen.url, seen.settings, tell)


async def _exposure(seen: Seen, _: Stages, tell: Tell) -> StageResult:
    return await exposure.expose(seen.url, seen.settings.exposure, tell)


def _exposure_needs(seen: Seen) -> str | None:
    return "" if seen.settings.exposure.in_ci and seen.asked.engine.native else None


async def _observe(seen: Seen, _: Stages, tell: Tell) -> StageResult:
    return await observe.observe(seen.url, seen.settings.observe, tell)


def _observe_needs(seen: Seen) -> str | None:
    return "" if seen.settings.observe.in_ci else None


async def _health(seen: Seen, stages: Stages, tell: Tell) -> StageResult:
    """Ask only what hurts nobody: the server has more questions before it."""
    harmless = seen.settings.health.model_copy(update={"faults": tuple(HARMLESS)})
    settings = seen.settings.model_copy(update={"health": harmless})
    return await health.health(GivenServer(seen.url), settings, stages, tell)


def _health_needs(seen: Seen) -> str | None:
    if not seen.settings.health.in_ci or not seen.asked.engine.native:
        return None
    return ""


async def _bench(seen: Seen, stages: Stages, tell: Tell) -> StageResult:
    assert seen.asked.load  # noqa: S101 - `_bench_needs` says so
    return await bench.measure(seen.url, seen.asked.load, stages, tell)


def _bench_needs(seen: Seen) -> str:
    return "" if seen.asked.load else "[bench] in_ci = true"


async def _compare(seen: Seen, stages: Stages, tell: Tell) -> StageResult:
    assert seen.asked.gate  # noqa: S101 - `_compare_needs` says so
    return await seen.asked.gate.run(GateSide("candidate", seen.url), stages, tell)


def _compare_needs(seen: Seen) -> str | None:
    if seen.asked.gate is None:
        return "a baseline: --baseline URL-or-settings-file, or [gate] baseline for images"
    gate = seen.asked.gate
    return None if gate.boots or (gate.alone and seen.process) else ""


async def _shutdown(seen: Seen, _: Stages, tell: Tell) -> StageResult:
    assert seen.process  # noqa: S101 - `_shutdown_needs` says so
    grace, engine = seen.settings.server.stop_grace, seen.asked.engine
    clean, leaves = engine.clean_exits, engine.leaves
    return await shutdown.check_shutdown(seen.process, grace, tell, clean=clean, leaves=leaves)


def _shutdown_needs(seen: Seen) -> str:
    return "" if seen.process else "a server that this run started on this host"


QUESTIONS = (
    Question(readiness.NAME, "Does it give a first token, in time?", _ready, first=True),
    Question(versions.NAME, "Is it what it should be?", _versions),
    Question(smoke.NAME, "Does it answer as SGLang does, whatever it is asked?", _smoke),
    Question(exposure.NAME, "Who may change it without a key?", _exposure, _exposure_needs),
    Question(observe.NAME, "Have its boards and rules data?", _observe, _observe_needs),
    Question(health.HEALTH, "Does it call itself well under load?", _health, _health_needs),
    Question(bench.NAME, "How fast is it?", _bench, _bench_needs, measures=True),
    Question(gate.NAME, "Is it slower than the baseline?", _compare, _compare_needs, measures=True),
    Question(
        shutdown.NAME, "Does it end when it is asked to?", _shutdown, _shutdown_needs, ends=True
    ),
)
"""All of them, in the order in which they are asked."""
