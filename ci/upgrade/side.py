"""One version on this machine: installed, booted with the user's flags, and asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ci.boot.process import ServerProcess
from ci.boot.serving import readiness, served
from ci.contract.introspect import Interface, introspect
from ci.contract.model import Contract, save
from ci.contract.record import installed, record
from ci.errors import SglangCiError
from ci.report.model import Case
from ci.server.exchange import exchanging
from ci.settings import Settings
from ci.smoke.stage import smoke
from ci.stages import StageResult, Stages, Tell, Work
from ci.upgrade import greedy
from ci.upgrade.environments import InstalledEnvironment, Installer
from ci.verdict import Outcome, Verdict

DEPRECATED = "deprecat"
PYTHON_WARNING = re.compile(r"\.py:\d+: \w*Warning")
"""What a library tells SGLang's developers, and no user can change."""


class Unbootable(SglangCiError):
    """The old version doesn't run here, so there is nothing to compare the new one with."""

    verdict = Verdict.INCONCLUSIVE


@dataclass
class UpgradeSide:
    """One version, and what was found out about it.

    Attributes:
        version: The SGLang version.
        baseline: Whether it is the old one: its faults are no fault of the upgrade.
        contract: What it gives others to rely on; None where not even that could be had.
        settings: What starts a server of it; None before a server of it came up.
        outputs: Its greedy outputs, twice.
        warnings: Lines of its log that speak of deprecation.
    """

    version: str
    baseline: bool
    contract: Contract | None = None
    settings: Settings | None = None
    outputs: list[greedy.Outputs] = field(default_factory=list)
    warnings: tuple[str, ...] = ()

    async def explore(self, settings: Settings, installer: Installer, stages: Stages) -> None:
        """Install the version, boot it, and ask it; each is a stage of the run."""
        made: list[tuple[InstalledEnvironment, Interface]] = []

        async def install(tell: Tell) -> StageResult:
            environment = await installer.make(self.version)
            made.append((environment, await introspect(environment.python)))
            flags = len(made[0][1].get("flags", ()))
            return self._done("install", f"{flags} launch flags", tell)

        await stages.run(self._stage("install"), install)
        if not made:
            return
        environment, interface = made[0]
        self.contract = installed(interface, self.version)
        log = stages.folder / f"server-{self.version}.log"
        own = _by(environment, settings)
        try:
            async with served(own, log) as server:
                await self._ask(server, own, interface, stages)
        except SglangCiError as error:
            await stages.fail(self._stage("boot"), self._own(error))
        self.warnings = tuple(_warnings(log))
        save(self.contract, stages.folder / f"contract-{self.version}.json")

    async def _ask(
        self, server: ServerProcess, settings: Settings, interface: Interface, stages: Stages
    ) -> None:
        ready = readiness(server, settings, stages.progress)
        check = await stages.run(self._stage("boot"), partial(self._mild, ready.wait))
        if any(case.outcome is not Outcome.PASSED for case in check.cases):
            return
        self.settings = settings
        died = partial(server.died, "asked")
        work = partial(self._record, server.url, settings, interface)
        await stages.run(self._stage("record"), work, death=died)
        suite = partial(smoke, server.url, settings)
        await stages.run(self._stage("smoke"), partial(self._mild, suite), death=died)

    async def _record(
        self, url: str, settings: Settings, interface: Interface, tell: Tell
    ) -> StageResult:
        seconds = settings.contract.timeout
        found = await record(url, interface, seconds=seconds)
        self.contract = found.model_copy(update={"source": self.version})
        async with exchanging(url, seconds=seconds) as exchange:
            self.outputs = [await greedy.outputs(exchange) for _ in range(2)]
        items = sum(len(part.items) for part in found.parts.values())
        return self._done("record", f"{items} items", tell)

    async def _mild(self, work: Work, tell: Tell) -> StageResult:
        """Do a stage; what fails in the old version already is INCONCLUSIVE for the upgrade."""

        def tell_mildly(case: Case) -> None:
            if self.baseline and case.outcome is Outcome.FAILED:
                told = f"old version: {case.message}"
                case = case.model_copy(update={"outcome": Outcome.INCONCLUSIVE, "message": told})
            tell(case)

        return await work(tell_mildly)

    def _done(self, name: str, message: str, tell: Tell) -> StageResult:
        tell(Case(name=self._stage(name), outcome=Outcome.PASSED, message=message))
        return StageResult()

    def _own(self, error: SglangCiError) -> SglangCiError:
        return Unbootable(str(error), details=error.details) if self.baseline else error

    def _stage(self, name: str) -> str:
        return f"{name} {self.version}"


def _by(environment: InstalledEnvironment, settings: Settings) -> Settings:
    """Return the settings that start the same server by another environment's SGLang."""
    own = {"PYTHON": environment.python, "PYTHONPATH": environment.plugin}
    server = settings.server.model_copy(update={"environment": own | settings.server.environment})
    image = settings.image.model_copy(update={"sglang_version": environment.version})
    return settings.model_copy(update={"server": server, "image": image})


def _warnings(log: Path) -> Iterator[str]:
    """Yield the lines of a log that speak of deprecation, each once and without its time."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    lines = (line.partition("] ")[2] or line for line in text.splitlines())
    found = (line.strip() for line in lines if DEPRECATED in line.lower())
    yield from dict.fromkeys(line for line in found if not PYTHON_WARNING.search(line))
