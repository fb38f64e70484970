"""The whole bench: warm-ups and loads against one server."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ci.bench.cases import load_cases, ramp_case, warm_up_case
from ci.bench.drawn import figures_of, plots_of
from ci.bench.live import Watch
from ci.bench.options import BenchOptions
from ci.bench.ramp import Ramp, RampResult, Step, search
from ci.bench.records import ErrorKind
from ci.bench.schedule import Load, Open
from ci.bench.session import LoadSession, Measured, Warmed, open_session
from ci.bench.words import facts_of
from ci.report.model import Case, Phase
from ci.stages import StageResult, Tell, untold


@dataclass(frozen=True)
class Bench:
    """What a bench found.

    Args:
        result: What the report tells of it.
        cases: The cases that were told: whether its figures may be believed.
        url: The server.
        options: What was asked.
        warmed: How each warm-up ended.
        loads: The loads that were asked for.
        steps: The loads of the ramp, in the order in which they ran.
        found: What the ramp found.
    """

    result: StageResult
    cases: tuple[Case, ...]
    url: str
    options: BenchOptions
    warmed: tuple[Warmed, ...]
    loads: tuple[Measured, ...]
    steps: tuple[Measured, ...] = ()
    found: RampResult | None = None


async def bench(
    url: str,
    options: BenchOptions,
    tell: Tell = untold,
    watch: Watch | None = None,
) -> Bench:
    """Put the server at `url` under load, and say what that showed and whether to believe it.

    Args:
        url: The server's base URL.
        options: What is asked.
        tell: Told of every case as soon as it is known.
        watch: Shown snapshots while loads run.

    Raises:
        UsageError: The options can't be met: too few prompts, prompts of another API.
        ServerFault: Nothing answers at `url`, or no request is answered there.
        NameUnresolved: Its host has no address here.
    """
    work = _Work(url, options, tell)
    async with open_session(url, options, watch) as session:
        for load in options.loads:
            await work.load(session, load)
        if options.ramp:
            await work.ramp(session, options.ramp)
        work.who(session)
    return work.result()


@dataclass
class _Work:
    """A bench while it goes on."""

    url: str
    options: BenchOptions
    tell: Tell
    begun: float = field(default_factory=time.monotonic)
    cases: list[Case] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    warmed: list[Warmed] = field(default_factory=list)
    loads: list[Measured] = field(default_factory=list)
    steps: list[Measured] = field(default_factory=list)
    found: RampResult | None = None

    async def load(self, session: LoadSession, load: Load) -> None:
        """Warm up and measure one load."""
        await self._warm_up(session, load)
        begin = time.monotonic()
        measured = await session.measure(load, f"load {len(self.loads)}")
        self._phase(load.label, begin)
        self.loads.append(measured)
        for case in load_cases(measured, self.options.tolerance):
            self._case(load.label, case)

    async def ramp(self, session: LoadSession, ramp: Ramp) -> None:
        """Search for the highest rate that meets the SLOs."""
        await self._warm_up(session, Open(ramp.start, ramp.least))

        async def measure(rate: float) -> Step:
            begin, load = time.monotonic(), Open(rate, ramp.requests(rate))
            measured = await session.measure(load, f"step {len(self.steps)}")
            self._phase(load.label, begin)
            self.steps.append(measured)
            return _step(rate, measured, ramp)

        self.found = await search(ramp, measure)
        self._case("", ramp_case(self.found))

    def who(self, session: LoadSession) -> None:
        """Say whether it was one server that answered."""
        self._case("", session.watched.case())

    async def _warm_up(self, session: LoadSession, load: Load) -> None:
        name, warmed = f"warm-up, {load.label}", None
        if self.options.warm_up.requests:
            begin = time.monotonic()
            warmed = await session.warm_up(load, f"warm-up {len(self.warmed)}")
            self._phase(name, begin)
            self.warmed.append(warmed)
        self._case(load.label, warm_up_case(warmed, self.options.warm_up))

    def _case(self, label: str, case: Case) -> None:
        """Keep a case, under the load's name where there are several."""
        several = len(self.options.loads) > 1 or (self.options.loads and self.options.ramp)
        if several and label:
            case = case.model_copy(update={"name": f"{label}: {case.name}"})
        self.cases.append(case)
        self.tell(case)

    def _phase(self, name: str, begin: float) -> None:
        start, seconds = begin - self.begun, time.monotonic() - begin
        self.phases.append(Phase(name=name, start=start, seconds=seconds))

    def result(self) -> Bench:
        """Return what was found."""
        result = StageResult(
            phases=tuple(self.phases),
            facts=self._facts(),
            figures=tuple(figures_of(self.loads)),
            plots=tuple(plots_of(self.loads, self.steps)),
        )
        return Bench(
            result,
            tuple(self.cases),
            self.url,
            self.options,
            tuple(self.warmed),
            tuple(self.loads),
            tuple(self.steps),
            self.found,
        )

    def _facts(self) -> dict[str, str]:
        told = {"url": self.url, "api": self.options.api, **self.options.prompts.facts()}
        for measured in self.loads:
            label = measured.run.load.label
            prefix = f"{label}: " if len(self.loads) > 1 else ""
            told |= {} if prefix else {"load": f"{label}, {measured.run.asked} requests"}
            told |= {f"{prefix}{name}": value for name, value in facts_of(measured)}
        for step in self.found.steps if self.found else ():
            share = "not measured" if step.share is None else f"{step.share:.1%} meet the SLOs"
            told[f"{step.rate:g} requests/s"] = f"{share} {step.why}".strip()
        return told


def _step(rate: float, measured: Measured, ramp: Ramp) -> Step:
    """Judge one step; a request that failed misses its SLOs, unless that was our own doing."""
    summary, records = measured.summary, measured.run.records
    share = sum(map(ramp.slo.met, records)) / summary.sent if summary.sent else None
    problem = "; ".join(measured.saturated)
    if not summary.completed or ErrorKind.CLIENT in summary.errors:
        problem = summary.failures or "no request was sent"
    if share is None or problem:
        return Step(rate, share, None, problem)
    return Step(rate, share, share >= ramp.share, summary.failures)
