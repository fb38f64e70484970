"""Cases from what was seen, by the budgets of the settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ci.health.experiments import DEADLY, HARMLESS, HUNG, Observation
from ci.report.model import Case
from ci.verdict import Outcome

if TYPE_CHECKING:
    from ci.settings.health import HealthSettings

LEAST_PROBES = 2


def case(name: str, problem: str, seconds: float = 0.0) -> Case:
    """Return a case that failed with `problem`, or passed where that is empty."""
    outcome = Outcome.FAILED if problem else Outcome.PASSED
    return Case(name=name, outcome=outcome, message=problem, seconds=seconds)


def unsure(name: str, why: str) -> Case:
    """Return a case that can't be judged."""
    return Case(name=name, outcome=Outcome.INCONCLUSIVE, message=why)


def skipped(name: str, why: str) -> Case:
    """Return a case that was left out."""
    return Case(name=name, outcome=Outcome.SKIPPED, message=why)


def judge(seen: Observation, settings: HealthSettings) -> Iterator[Case]:
    """Yield the cases of one observation."""
    yield _calm(seen, settings)
    if seen.fault in HARMLESS:
        yield _false_alarm(seen, settings)
        return
    yield _shown(seen, settings)
    if seen.fault in HUNG:
        yield _recovers(seen, settings)
    if seen.fault in DEADLY:
        yield _exits(seen, settings)
        if seen.exit:
            left = "; ".join(seen.exit.orphans)
            name = f"{seen.fault}: leaves no process"
            yield case(name, f"it left {left}" if left else "")


def _calm(seen: Observation, settings: HealthSettings) -> Case:
    name = f"{seen.fault}: content before"
    good = seen.answers.content(settings.probe, settings.timeout, seen.begun)
    if good is None or good > seen.hurt:
        return unsure(name, f"{settings.probe} had no good answer before anything was done")
    alarm = seen.answers.alarm(settings.probe, settings.timeout, seen.begun, seen.hurt)
    early = alarm is not None and alarm < seen.hurt
    return case(name, f"{settings.probe} alarmed before anything was done" if early else "")


def _false_alarm(seen: Observation, settings: HealthSettings) -> Case:
    name, probe = f"{seen.fault}: no false alarm", settings.probe
    if not seen.done:
        return unsure(name, f"no request of the load was served: {seen.problem or 'none ended'}")
    asked = list(seen.answers.of(probe, seen.hurt, seen.until))
    alarm = seen.answers.alarm(probe, settings.timeout, seen.hurt, seen.until)
    if alarm is None and len(asked) < LEAST_PROBES:
        return unsure(name, f"{probe} was asked {len(asked)} times only")
    if alarm is None:
        return case(name, "")
    first = next(one for one in asked if one.alarm(settings.timeout) is not None)
    what = f"answered {first.status}" if first.status else first.problem
    if first.seconds > settings.timeout:
        what = f"took over {settings.timeout:g} s (health.timeout)"
    return case(name, f"{probe} {what}, {alarm - seen.hurt:.1f} s into a harmless load")


def _shown(seen: Observation, settings: HealthSettings) -> Case:
    name, probe = f"{seen.fault}: shown in time", settings.probe
    alarm = seen.answers.alarm(probe, settings.timeout, seen.hurt, seen.until)
    if alarm is None:
        watched = seen.until - seen.hurt
        return case(name, f"{probe} showed nothing in {watched:.0f} s, while nothing could finish")
    seconds = max(alarm - seen.hurt, 0.0)
    late = (
        f"{probe} showed it after {seconds:.1f} s; allowed: {settings.detect:g} s (health.detect)"
    )
    return case(name, late if seconds > settings.detect else "", seconds)


def _recovers(seen: Observation, settings: HealthSettings) -> Case:
    name, healed = f"{seen.fault}: recovers", seen.until
    good = seen.answers.content(settings.probe, settings.timeout, healed)
    if good is None:
        return case(name, f"{settings.probe} was not content again after the fault had ended")
    seconds = good - healed
    late = f"content again after {seconds:.1f} s; allowed: {settings.recover:g} s (health.recover)"
    return case(name, late if seconds > settings.recover else "", seconds)


def _exits(seen: Observation, settings: HealthSettings) -> Case:
    name, allowed = f"{seen.fault}: exits in time", f"allowed: {settings.exit:g} s (health.exit)"
    if seen.exit is None:
        return case(name, f"the server still ran after {seen.ended - seen.hurt:.0f} s; {allowed}")
    late = f"the server was gone after {seen.exit.seconds:.1f} s; {allowed}"
    problem = late if seen.exit.seconds > settings.exit else ""
    return case(name, problem, seen.exit.seconds)
