"""A deployment as a run: the runner's steps, what each found, and who answers in the end."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace

from ci.boot.model_files import Model
from ci.boot.serving import engine_of
from ci.deploy.downtime import Downtime
from ci.deploy.grounds import Grounds
from ci.deploy.identity import through
from ci.deploy.judged import Ask, nobody
from ci.deploy.outcome import DeployOutcome, described, taken_back
from ci.deploy.places import best, places
from ci.deploy.proof import proof_of
from ci.deploy.runner import Runner
from ci.deploy.sequential import LossRule
from ci.deploy.speed import Speed, probing, speed_options
from ci.deploy.taking import Budgets, Taking
from ci.deploy.wanted import StrategyName, Wanted
from ci.deploy.watching import Losses
from ci.deploy.world import Release
from ci.errors import SglangCiError
from ci.release.stay import AT_REST, SINCE
from ci.report.model import Case, Phase, now
from ci.server.key import ANYWHERE, api_key, wanted_at
from ci.settings.deploy import DeploySettings
from ci.settings.traffic import TrafficSettings
from ci.stages import StageResult, Stages, Tell
from ci.verdict import Outcome

NAME = "deploy"
RESTED = "what was wanted has all traffic and runs alone"


@dataclass
class _Found:
    """What a deployment found, by and by: proofs in between are checks of their own."""

    cases: list[Case] = field(default_factory=list)
    rest: StageResult = field(default_factory=StageResult)

    async def told(self, tell: Tell) -> StageResult:
        """Tell it as a stage."""
        for case in self.cases:
            tell(case)
        return self.rest


@dataclass(frozen=True)
class Deployment:
    """One environment, and how a command has it deployed to.

    Args:
        grounds: Its target and router.
        wait: Most seconds to wait for another deployment's end.
        approved: A manual gate at this share or a lower one is open.
        ask: Puts a question to a person.
    """

    grounds: Grounds
    wait: float = 0
    approved: int = 0
    ask: Ask = nobody

    def wanted(self, release: Release | None, *, back: bool = False) -> Wanted:
        """Return what is wanted of a release; None is an abort."""
        at = self.grounds.at
        return Wanted(
            release=release,
            strategy=StrategyName(at.strategy),
            stages=self.grounds.stages,
            back=back,
            approved=self.approved,
            grace=at.grace,
            stop_grace=self.grounds.settings.server.stop_grace,
        )

    async def run(self, wanted: Wanted, stages: Stages, previous: Release | None = None) -> None:
        """Bring about what is wanted; each proof is a check of the run, and so is all of it."""
        found = _Found()
        try:
            async with self.grounds.held(self.wait):
                with wanted_at(ANYWHERE, self._key() or None):
                    await self._brought_about(wanted, stages, previous, found)
        except SglangCiError as error:
            await stages.fail(NAME, error)
        else:
            await stages.run(NAME, found.told)

    async def _brought_about(
        self, wanted: Wanted, stages: Stages, previous: Release | None, found: _Found
    ) -> None:
        speed = self._speed(stages)
        outcome = await self._runner(stages, found.cases.append, speed).run(wanted, previous)
        found.cases.append(_rested(outcome))
        if outcome.rested and (case := await self._answers(outcome)):
            found.cases.append(case)
        rest = _result(outcome, self.grounds, await self._downtime(outcome, stages))
        found.rest = _with_speed(rest, self.grounds.at, speed)

    def _key(self) -> str:
        """Return the key that a server wants which these settings start; empty for none."""
        settings = self.grounds.settings
        path = settings.model.path
        flags = Model(path, "").flags if path else ()
        return api_key((*flags, *settings.launch_flags()), settings.server.environment)

    async def _downtime(self, outcome: DeployOutcome, stages: Stages) -> Downtime | None:
        """Return for how long nothing served; None where something always did."""
        there = places(outcome.world) if outcome.world else ()
        serving = best(place for place in there if place.good)
        log = ""
        if serving:
            with suppress(SglangCiError):
                log = await self.grounds.target.log(serving.name)
        routed = self.grounds.at.router != "none"
        return Downtime.of(outcome.steps, stages.checks, log, routed=routed)

    def _speed(self, stages: Stages) -> Speed | None:
        """Return what judges a candidate's speed; None where the settings want none."""
        settings, at = self.grounds.settings, self.grounds.at
        if not at.slower:
            return None
        options, note = speed_options(settings.gate, at.slower), stages.progress.note
        return Speed(options, probing(settings), demanded=at.speed_shown, note=note)

    def _runner(self, stages: Stages, tell: Tell, speed: Speed | None = None) -> Runner:
        at, router = self.grounds.at, self.grounds.router
        settings = self.grounds.settings
        rule = LossRule(allowed=at.allowed_loss, bad=at.bad_loss)
        taking = Taking(
            target=self.grounds.target,
            router=router,
            prove=proof_of(settings, stages),
            watch=Losses(router, rule, tell, self._own_streams(), speed=speed).watch,
            budgets=Budgets(
                prove=settings.readiness.whole() + settings.smoke.budget, watch=at.budget
            ),
        )
        asks = at.little_traffic == "ask"
        return Runner(taking, stages.progress.note, ask=self.ask, asks_when_unsure=asks)

    def _own_streams(self) -> TrafficSettings | None:
        settings, rate = self.grounds.settings, self.grounds.at.streams
        api = settings.traffic.api if engine_of(settings).native else "chat"
        changes = {"rate": rate, "api": api}
        return settings.traffic.model_copy(update=changes) if rate else None

    async def _answers(self, outcome: DeployOutcome) -> Case | None:
        """Return who answers through the router, where anybody has all traffic."""
        if outcome.world is None:
            return None
        kept = best(place for place in places(outcome.world) if place.good)
        if kept is None or kept.slot.release is None:
            return None
        router = self.grounds.router
        return await through(router.url, kept.slot, kept.slot.release, named=router.names_slots)


def _rested(outcome: DeployOutcome) -> Case:
    back = "; traffic is back where it was" if outcome.went_back and outcome.rested else ""
    return Case(
        name=RESTED,
        outcome=Outcome(outcome.verdict.value),
        message=f"{outcome.cause}{back}",
        details=outcome.log,
    )


def _result(outcome: DeployOutcome, grounds: Grounds, downtime: Downtime | None) -> StageResult:
    begin = outcome.steps[0].at if outcome.steps else 0.0
    phases = [
        Phase(
            name=f"{number}. {one.step.line}",
            start=one.at - begin,
            seconds=one.seconds,
        )
        for number, one in enumerate(outcome.steps, 1)
    ]
    lines = [
        f"{one.begun:%H:%M:%S}Z {one.step.line}{f': {one.said}' if one.said else ''}"
        for one in outcome.steps
    ]
    facts = {
        "environment": grounds.environment,
        "router": grounds.router.url,
        "at the end": described(outcome.world),
        "outcome": outcome.ended,
    }
    if outcome.ended == AT_REST:
        facts[SINCE] = now().isoformat()
    if outcome.went_back and (told := taken_back(outcome.steps)):
        facts["the candidate was"] = told
    if downtime:
        facts["downtime"] = downtime.told
    figures = downtime.figures if downtime else ()
    return StageResult(phases=tuple(phases), facts=facts, figures=figures, log="\n".join(lines))


def _with_speed(result: StageResult, at: DeploySettings, speed: Speed | None) -> StageResult:
    """Return what a deployment found, with the speed of its candidate at each step, or why not."""
    steps = speed.steps if speed else ()
    facts = {step.name: step.told for step in steps} or {"speed": _unmeasured(at)}
    figures = tuple(figure for step in steps for figure in step.figures())
    return replace(result, facts=result.facts | facts, figures=(*result.figures, *figures))


def _unmeasured(at: DeploySettings) -> str:
    """Return why the speed of a candidate was not compared with anything."""
    if not at.slower:
        return "not judged: slower = 0"
    if StrategyName(at.strategy) is StrategyName.REPLACE:
        return "not compared: one copy at a time leaves nothing to compare it with"
    return "not compared: no slot was watched while the other one ran"
