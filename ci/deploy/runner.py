"""Runs a deployment: looks, takes one step, and looks again, until nothing is left to do.

A bad candidate is taken back, traffic first; where target or router can't be seen, nothing is
touched. A run that is cut off leaves the world as it is, and repeating the command resumes it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import anyio

from ci.deploy.judged import Ask, Judged, Reply, nobody
from ci.deploy.outcome import DeployOutcome, TakenStep, described
from ci.deploy.places import places
from ci.deploy.progress import Ending, Progress
from ci.deploy.steps import Prove, Rest, Start, Step, Watch
from ci.deploy.strategy import Done, next_step
from ci.deploy.taking import Changed, Taking
from ci.deploy.wanted import Wanted
from ci.deploy.world import Release, World
from ci.errors import SglangCiError
from ci.report.model import now
from ci.verdict import Verdict

Strategy = Callable[[World, Wanted, Done], Step]
"""Decides the next step."""
_CANDIDATE = (Start, Prove, Watch)
"""Steps that say of a candidate that it is bad, when they can't be done however often."""


@dataclass(frozen=True)
class Turn:
    """One look, and the step that followed it.

    Args:
        progress: The run afterwards.
        world: What was seen; None where nothing could be.
        step: The step; None where none was taken.
    """

    progress: Progress
    world: World | None = None
    step: Step | None = None


@dataclass(frozen=True)
class Runner:
    """Brings about what is wanted.

    Args:
        taking: Carries out the steps.
        tell: Is told each step, and what came of it, one line at a time.
        ask: Puts a question to a person.
        asks_when_unsure: Whether a watch that saw too little traffic in its whole budget is a
            question for a person; where not, the candidate is taken back.
        attempts: How many turns in a row may get nowhere.
        pause: Seconds before the second attempt; twice as many before each further one.
        most_turns: A run that isn't at rest after so many turns ends.
        strategy: Decides the next step.
    """

    taking: Taking
    tell: Callable[[str], None]
    ask: Ask = nobody
    asks_when_unsure: bool = False
    attempts: int = 4
    pause: float = 1
    most_turns: int = 100
    strategy: Strategy = field(default=next_step)

    async def run(self, wanted: Wanted, previous: Release | None = None) -> DeployOutcome:
        """Bring about what is wanted, or go back where it turns out bad.

        Args:
            wanted: What is wanted.
            previous: What was there before by the environment's history, for a resumed
                `replace` that has ended it already.
        """
        progress, world = Progress(wanted, previous), None
        steps: list[TakenStep] = []
        for _ in range(self.most_turns):
            begun, at = now(), anyio.current_time()
            turn = await self.turn(progress)
            progress, world = turn.progress, turn.world or world
            if turn.step:
                seconds = anyio.current_time() - at
                done = progress.last is turn.step
                steps.append(TakenStep(turn.step, begun, seconds, progress.said, done, at))
            if progress.said:
                self.tell(progress.said)
            if progress.end:
                break
            if progress.faults:
                await anyio.sleep(self.pause * 2 ** (progress.faults - 1))
        else:
            cause = f"not at rest after {self.most_turns} turns: {described(world)}"
            progress = progress.ending(Verdict.ERROR, cause)
        return _outcome(progress, world, tuple(steps))

    async def turn(self, progress: Progress) -> Turn:
        """Look, and take one step."""
        try:
            world = await self.taking.look()
        except SglangCiError as error:
            cause = f"nothing is touched while what is there can't be seen: {error}"
            return Turn(self._again(progress, cause))
        progress = progress.seeing(world)
        lost = progress.lost(world)
        if lost and lost.verdict is Verdict.ERROR:
            return Turn(progress.ending(lost.verdict, lost.cause), world)
        if lost:
            return Turn(await self._judged(progress, world, lost), world)
        step = self.strategy(world, progress.wanted, progress.done)
        if isinstance(step, Rest):
            self.tell(step.line)
            return Turn(progress.at_rest(step.slot), world)
        if step == progress.last and progress.faults + 1 >= self.attempts:
            cause = f"{step.line}: without effect, {self.attempts} times: {described(world)}"
            return Turn(progress.ending(Verdict.ERROR, cause), world)
        self.tell(step.line)
        return Turn(await self._take(progress, step, world), world, step)

    async def _take(self, progress: Progress, step: Step, world: World) -> Progress:
        try:
            judged = await self.taking.take(step, world)
        except Changed:
            return replace(progress, last=None, said="something has changed: looking again")
        except SglangCiError as error:
            judged = Judged(error.verdict, str(error))
        if isinstance(step, Watch):
            agreed = step.share <= progress.wanted.approved
            if agreed and judged.verdict is Verdict.INCONCLUSIVE:
                judged = Judged(cause=f"approved at {step.share} %: {judged.cause}")
            if not agreed and self._is_question(step, judged):
                return await self._asked(progress, step, world, judged)
        if judged.verdict is Verdict.PASSED:
            return progress.went(step, judged)
        last_try = progress.faults + 1 >= self.attempts
        if judged.verdict is Verdict.ERROR and not (last_try and isinstance(step, _CANDIDATE)):
            return self._again(progress, judged.cause)
        return await self._judged(progress, world, judged)

    def _is_question(self, step: Watch, judged: Judged) -> bool:
        unsure = judged.verdict is Verdict.INCONCLUSIVE and self.asks_when_unsure
        return unsure or (step.gate and judged.verdict is Verdict.PASSED)

    async def _asked(
        self, progress: Progress, step: Watch, world: World, judged: Judged
    ) -> Progress:
        """Do what a person says; pause where none is there."""
        reason = f" ({judged.cause})" if judged.cause else ""
        match await self.ask(f"{step.slot} has {step.share} %{reason}: go on?"):
            case Reply.GO_ON:
                return progress.went(step, Judged(cause=f"approved at {step.share} %"))
            case Reply.GO_BACK:
                refused = Judged(Verdict.FAILED, f"refused at {step.share} %{reason}")
                return await self._judged(progress, world, refused)
            case Reply.LATER:
                cause = f"waits for approval at {step.share} %{reason}: resume it, or abort it"
                return progress.ending(Verdict.INCONCLUSIVE, cause)

    def _again(self, progress: Progress, cause: str) -> Progress:
        """Return the run before another attempt, or at its end where there were enough."""
        stuck = progress.stuck(cause)
        if stuck.faults < self.attempts:
            return stuck
        return stuck.ending(Verdict.ERROR, f"{cause} ({self.attempts} attempts)")

    async def _judged(self, progress: Progress, world: World, judged: Judged) -> Progress:
        """Keep the bad candidate's log, and take it back."""
        release, log = progress.wanted.release, progress.log
        there = [place for place in places(world) if place.holds(release)]
        if there and not log:
            with suppress(SglangCiError):
                log = await self.taking.target.log(there[0].name)
        return replace(progress, log=log).failed(world, judged)


def _outcome(
    progress: Progress, world: World | None, steps: tuple[TakenStep, ...]
) -> DeployOutcome:
    end = progress.end or Ending(Verdict.ERROR, "the run was not ended")
    went_back = progress.failure is not None
    return DeployOutcome(end.verdict, end.cause, went_back, end.rested, world, steps, progress.log)
