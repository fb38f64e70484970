"""How far one run of a deployment has come: only what can't be seen in the world."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ci.deploy.judged import Judged
from ci.deploy.places import best, places
from ci.deploy.steps import Start, Step
from ci.deploy.strategy import NOTHING, Done, way_back
from ci.deploy.wanted import Wanted
from ci.deploy.world import Life, Release, World
from ci.verdict import Verdict


@dataclass(frozen=True)
class Ending:
    """What ends a run.

    Args:
        verdict: The run's verdict.
        cause: Why it isn't PASSED.
        rested: Whether nothing is left to do.
    """

    verdict: Verdict
    cause: str = ""
    rested: bool = False


@dataclass(frozen=True)
class Progress:
    """One run between two steps.

    Args:
        wanted: What is wanted now; another thing than at the run's begin once that has failed.
        previous: What was proven and had traffic before; None where nothing was.
        done: What was done that can't be seen.
        ran: Whether this run has started the wanted release, or has seen it run.
        failure: Why the run goes back; None while it doesn't.
        last: The step that went well last; None where it didn't.
        faults: How many turns in a row got nowhere.
        end: What ended the run; None while it goes on.
        said: What came of the last turn, in one line.
        log: The last lines of the bad candidate's server.
    """

    wanted: Wanted
    previous: Release | None = None
    done: Done = NOTHING
    ran: bool = False
    failure: Judged | None = None
    last: Step | None = None
    faults: int = 0
    end: Ending | None = None
    said: str = field(default="", compare=False)
    log: str = field(default="", compare=False)

    def seeing(self, world: World) -> Progress:
        """Return the run with what a look at the world adds to it."""
        release = self.wanted.release
        seen = places(world)
        runs = any(place.runs and place.holds(release) for place in seen)
        kept = best(place for place in seen if place.good and not place.holds(release))
        stable = kept.slot.release if kept and self.failure is None else None
        return replace(self, ran=self.ran or runs, previous=self.previous or stable)

    def lost(self, world: World) -> Judged | None:
        """Return what became of a wanted server that this run saw running; None while it does.

        FAILED: it has ended. ERROR: somebody took it away.
        """
        release = self.wanted.release
        there = [place for place in places(world) if place.holds(release)]
        if not self.ran or release is None or any(place.runs for place in there):
            return None
        ended = [place for place in there if place.slot.life is Life.ENDED]
        if ended:
            how = ended[0].slot.ended or "how isn't known"
            return Judged(Verdict.FAILED, f"the server in {ended[0].name} has ended: {how}")
        cause = "the server that was started is gone: another deployment or a person took it away"
        return Judged(Verdict.ERROR, f"{cause}; look at the status, and repeat where it is wanted")

    def went(self, step: Step, judged: Judged) -> Progress:
        """Return the run after a step that went well; the same step again got nowhere."""
        faults = self.faults + 1 if step == self.last else 0
        ran, done = self.ran or isinstance(step, Start), self.done.after(step)
        return replace(self, ran=ran, done=done, last=step, faults=faults, said=judged.cause)

    def stuck(self, cause: str) -> Progress:
        """Return the run after a turn that got nowhere."""
        return replace(self, last=None, faults=self.faults + 1, said=cause)

    def failed(self, world: World, judged: Judged) -> Progress:
        """Return the run after its candidate turned out bad: it goes back, or ends."""
        first = self.failure or judged
        back = way_back(world, self.wanted, self.previous)
        if back is None:
            cause = judged.cause
            if self.failure:
                cause = f"{first.cause}; and the way back failed: {judged.cause}"
            return self.ending(first.verdict, cause)
        fresh = Progress(back, self.previous, failure=first, log=self.log)
        return replace(fresh, said=f"going back: {judged.cause}")

    def ending(self, verdict: Verdict, cause: str, *, rested: bool = False) -> Progress:
        """Return the run at its end."""
        return replace(self, end=Ending(verdict, cause, rested), said=cause)

    def at_rest(self, slot: str) -> Progress:
        """Return the run at its end, with nothing left to do.

        Args:
            slot: What has all traffic; empty where nothing is proven.
        """
        verdict, causes = Verdict.PASSED, []
        if self.failure:
            verdict, causes = self.failure.verdict, [self.failure.cause]
        if not slot:
            verdict = verdict if self.failure else Verdict.FAILED
            causes.append("no proven server is left, so nothing serves: deploy a release")
        return self.ending(verdict, "; ".join(causes), rested=True)
