"""Start-up as a stage of a run: a server is started again and again, and each phase is timed.

Alone, the median start is held against budgets and against an earlier report. Beside a
baseline, both are started in pairs of random order, and the gate decides phase by phase
(`ci.startup.pairs`).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

from ci.boot.readiness import NAME as READINESS
from ci.boot.serving import readiness, served
from ci.errors import CheckBroken, ServerFault
from ci.gate.blocks import Arm, plans
from ci.report.model import Case, Check, Figure, Phase
from ci.secrets import files
from ci.settings import GateSettings, Settings
from ci.settings.budgets import BudgetSettings
from ci.stages import StageResult, Stages, Tell, checked
from ci.startup import phases as alone
from ci.startup.pairs import Slack, Starts, compared, least_pairs, paired_cases
from ci.verdict import Outcome, Verdict

STARTS = "starts.jsonl"
"""Every start that was timed, beside the report."""
NO_BASELINE = (
    "no baseline: --baseline FILE.toml or --baseline-flag starts one here, "
    "--baseline REPORT names an earlier report"
)
_SEEDS = 2**31

Start = tuple[Phase, ...]
"""The phases of one start."""


@dataclass(frozen=True)
class Timed:
    """The starts that were timed.

    Args:
        candidate: Those of the server that is asked about.
        baseline: Those of the other side, each beside the candidate's of the same place.
        before: Seconds of each phase that an earlier report tells of; None without one.
    """

    candidate: tuple[Start, ...]
    baseline: tuple[Start, ...] = ()
    before: alone.Seconds | None = None

    @property
    def seen(self) -> dict[str, float]:
        """Median seconds of each phase of the candidate."""
        return alone.medians([alone.seconds_of(start) for start in self.candidate])

    @property
    def pairs(self) -> tuple[Starts, ...]:
        """The seconds of both sides' starts, pair by pair."""
        both = zip(self.baseline, self.candidate, strict=True) if self.baseline else ()
        return tuple(Starts(alone.seconds_of(old), alone.seconds_of(new)) for old, new in both)


@dataclass(frozen=True)
class StartupQuestion:
    """What is to be found out.

    Args:
        candidate: The settings that start the server.
        starts: How often; beside a baseline, in how many pairs.
        baseline: The settings that start the other side; None without one.
        before: Seconds of each phase that an earlier report tells of; None without one.
        seed: Of the order within each pair.
    """

    candidate: Settings
    starts: int
    baseline: Settings | None = None
    before: alone.Seconds | None = None
    seed: int = field(default_factory=lambda: secrets.randbelow(_SEEDS))


async def startup(question: StartupQuestion, stages: Stages, tell: Tell) -> StageResult:
    """Time starts of a server on this host, and judge them.

    Raises:
        ServerFault: The candidate doesn't start.
        CheckBroken: The baseline doesn't, or this host can't start either.
    """
    timed = await _Timing(question, stages).measure()
    result = result_of(timed, question.candidate.budgets, question.candidate.gate, tell)
    seed = {"seed": str(question.seed)} if question.baseline else {}
    return replace(result, facts=result.facts | seed)


def result_of(timed: Timed, budgets: BudgetSettings, gate: GateSettings, tell: Tell) -> StageResult:
    """Compare timed starts with budgets and a baseline.

    Args:
        timed: The starts.
        budgets: What each phase may take, and by how much it may have grown.
        gate: How often the answer may be wrong.
        tell: Is told each case.
    """
    seen, slack = timed.seen, _slack(budgets, gate)
    for case in (
        _starts(timed),
        *alone.budget_cases(seen, len(timed.candidate), budgets),
        *_beside(timed, seen, budgets, slack),
    ):
        tell(case)
    return StageResult(
        phases=alone.timeline(timed.candidate, budgets),
        facts=_facts(timed, slack),
        figures=tuple(_figure(name, median) for name, median in seen.items()),
    )


def _figure(phase: str, median: float) -> Figure:
    return Figure(name=phase, value=median, unit="s", better="lower")


def _starts(timed: Timed) -> Case:
    count = len(timed.candidate)
    beside = f", and {len(timed.baseline)} of the baseline" if timed.baseline else ""
    return Case(
        name="starts",
        outcome=Outcome.PASSED if count else Outcome.INCONCLUSIVE,
        message=f"{count} timed{beside}",
        details="\n".join(f"{name}: {seconds:.2f} s" for name, seconds in timed.seen.items()),
    )


def _slack(budgets: BudgetSettings, gate: GateSettings) -> Slack:
    return Slack(budgets.startup_growth, budgets.startup_floor, gate.false_alarm, gate.power)


def _beside(
    timed: Timed, seen: alone.Seconds, budgets: BudgetSettings, slack: Slack
) -> Sequence[Case]:
    if timed.baseline:
        return paired_cases(timed.pairs, slack)
    if timed.before is not None:
        return tuple(alone.earlier_cases(seen, timed.before, budgets))
    return (Case(name="baseline", outcome=Outcome.SKIPPED, message=NO_BASELINE),)


def _facts(timed: Timed, slack: Slack) -> dict[str, str]:
    facts = {"starts": str(len(timed.candidate))}
    if not timed.baseline:
        return facts
    sides = [alone.seconds_of(start) for start in (*timed.candidate, *timed.baseline)]
    held = compared(timed.pairs, slack)
    left = [name for name in dict.fromkeys(chain(*sides)) if name not in held]
    told = {
        "must not pass": f"growth by {100 * slack.growth:g} % and {2 * slack.floor:g} s",
        f"not compared: within {slack.floor:g} s, or not in every start": ", ".join(left),
    }
    return facts | {name: text for name, text in told.items() if text}


class _Timing:
    """Starts servers one after the other; what was timed is kept beside the report."""

    def __init__(self, question: StartupQuestion, stages: Stages) -> None:
        self._question, self._stages = question, stages
        self._starts: dict[Arm, list[Start]] = {Arm.BASELINE: [], Arm.CANDIDATE: []}
        self._lines: list[str] = []

    async def measure(self) -> Timed:
        """Time all starts."""
        for plan in islice(plans(self._question.seed), self._question.starts):
            for arm in plan.order if self._question.baseline else (Arm.CANDIDATE,):
                await self._time(arm)
            self._warn()
        return self._timed()

    def _timed(self) -> Timed:
        return Timed(
            candidate=tuple(self._starts[Arm.CANDIDATE]),
            baseline=tuple(self._starts[Arm.BASELINE]),
            before=self._question.before,
        )

    async def _time(self, arm: Arm) -> None:
        """Start one side, wait for its first token, and stop it."""
        asked = self._question
        settings = asked.candidate if arm is Arm.CANDIDATE else asked.baseline
        assert settings is not None  # noqa: S101
        progress, name = self._stages.progress, f"{arm} {len(self._starts[arm]) + 1}/{asked.starts}"
        progress.note(f"start of {name}")
        async with served(settings, self._stages.folder / f"{arm}.log") as server:
            found = await checked(READINESS, readiness(server, settings, progress).wait)
        if found.verdict is not Verdict.PASSED:
            raise _fault(arm, f"start of {name}: {found.cause}", found)
        self._starts[arm].append(found.phases)
        self._keep(arm, found.phases)

    def _keep(self, arm: Arm, phases: Start) -> None:
        self._lines.append(json.dumps({"side": arm, "seconds": alone.seconds_of(phases)}))
        files.write(self._stages.folder / STARTS, "".join(f"{line}\n" for line in self._lines))

    def _warn(self) -> None:
        """Say after the first pair whether as many as are asked for can show anything."""
        pairs, at = self._timed().pairs, self._question.candidate
        slack = _slack(at.budgets, at.gate)
        phases = compared(pairs, slack)
        if len(pairs) != 1 or not phases:
            return
        few, asked = least_pairs(slack.rule(phases)), self._question.starts
        if asked < few:
            told = f"{asked} pairs are too few for every answer to be possible: {few} are needed"
            self._stages.progress.note(told)


def _fault(arm: Arm, cause: str, found: Check) -> ServerFault | CheckBroken:
    bad = arm is Arm.CANDIDATE and found.verdict is Verdict.FAILED
    return (ServerFault if bad else CheckBroken)(cause, details=found.log)
