"""How a deployment's run ended, and what it did on its way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ci.deploy.places import places
from ci.deploy.steps import Drain, Shift, Step, Stop
from ci.deploy.world import Life, World
from ci.release.stay import AT_REST, TAKEN_BACK
from ci.verdict import Verdict


@dataclass(frozen=True)
class TakenStep:
    """One step that was taken.

    Args:
        step: The step.
        begun: When, UTC.
        seconds: How long it took.
        said: What came of it, in one line; empty where it simply went well.
        done: Whether it went well.
        at: When it began, in seconds of a clock that nobody sets.
    """

    step: Step
    begun: datetime
    seconds: float
    said: str = ""
    done: bool = True
    at: float = 0.0

    @property
    def over(self) -> datetime:
        """When it had ended, UTC."""
        return self.begun + timedelta(seconds=self.seconds)


@dataclass(frozen=True)
class DeployOutcome:
    """How a run ended.

    Args:
        verdict: PASSED: what was wanted has all traffic and runs alone. FAILED: the candidate is
            bad. INCONCLUSIVE: too little was seen, or a person is waited for. ERROR: target or
            router did not do what was asked, or another deployment took over.
        cause: Why it isn't PASSED, in one line.
        went_back: Whether traffic was brought back to what had it before.
        rested: Whether nothing is left to do; where not, repeating the command goes on.
        world: What was seen last; None where nothing ever was.
        steps: What was done, in order.
        log: The last lines of the bad candidate's server.
    """

    verdict: Verdict
    cause: str
    went_back: bool
    rested: bool
    world: World | None
    steps: tuple[TakenStep, ...] = ()
    log: str = ""

    @property
    def ended(self) -> str:
        """How it ended, in the words of its record."""
        if self.went_back:
            return TAKEN_BACK
        if self.rested and self.verdict is Verdict.PASSED:
            return AT_REST
        return "paused" if self.verdict is Verdict.INCONCLUSIVE else "not at rest"


def taken_back(steps: Sequence[TakenStep]) -> str:
    """Return how long a bad candidate's way back took, part by part; empty where none was taken.

    Seconds count from the end of the step that found it bad.
    """
    bad = [index for index, one in enumerate(steps) if not one.done]
    if not bad or not (back := steps[bad[-1] + 1 :]):
        return ""
    found = steps[bad[-1]].at + steps[bad[-1]].seconds
    words = {Shift: "without traffic", Drain: "drained", Stop: "stopped"}
    told = [
        f"{words[type(one.step)]} after {one.at + one.seconds - found:.1f} s"
        for one in back
        if type(one.step) in words
    ]
    return ", ".join(dict.fromkeys(told))


def described(world: World | None) -> str:
    """Return a world in one line."""
    if world is None:
        return "nothing was seen"
    told = []
    for place in places(world):
        life = place.slot.life
        proven = " proven" if place.slot.proven else " unproven"
        what = "" if place.slot.release is None else f" {place.slot.release.digest[:19]}"
        state = life.value + (proven if life is Life.UP else "") + what
        traffic = f"share {place.route.share} %, {place.route.open} open"
        told.append(f"{place.name}: {state}, {traffic}")
    return "; ".join(told)
