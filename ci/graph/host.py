"""The graph on this host: model → server → readiness → versions → smoke → shutdown → report.

The same checks run in containers (`ci.module`); only the way a server is started differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from ci.boot.log import ServerLog, follow
from ci.boot.model_files import fetch
from ci.boot.process import ServerProcess
from ci.boot.readiness import Readiness
from ci.boot.serving import engine_of, installed, readiness, served
from ci.boot.shutdown import check_shutdown
from ci.concurrency import one_error
from ci.errors import SglangCiError
from ci.report.model import Check, NotRun, Report
from ci.report.progress import Progress
from ci.settings import Settings
from ci.smoke.run import SmokeOptions, run_smoke
from ci.stages import Stages, Work
from ci.verdict import Verdict
from ci.versions.stage import Expected, check_versions, read_inventory

if TYPE_CHECKING:
    from ci.gate.stage import Measurements, Side

__all__ = ["Facts", "fetch", "prove", "served", "smoke", "versions", "wait"]

NOT_HERE = (
    NotRun(stage="image", needs="a Dagger engine: dagger call ci"),
    NotRun(
        stage="publish", needs="a Dagger engine and a registry: dagger call ci --publish-to REF"
    ),
)
NO_BASELINE = NotRun(
    stage="compare",
    needs="a baseline: sglang-ci ci --baseline URL-or-settings-file, or [gate] baseline for images",
)


async def prove(
    settings: Settings, baseline: Side | None, progress: Progress, folder: Path
) -> Report:
    """Start a server on this host, ask it every question, stop it, and report.

    Args:
        settings: The effective settings.
        baseline: What it is compared with; nothing where None.
        progress: Who is told.
        folder: Folder that gets the server's output as `server.log`.

    Raises:
        UsageError: The settings ask for a load or a comparison that can't be.
    """
    from ci.gate.stage import Measurements

    run = _Run(settings, Stages(progress, folder), Measurements.of(settings, baseline))
    not_run = NOT_HERE if baseline else (*NOT_HERE, NO_BASELINE)
    facts = {"engine": "host processes"}
    return await run.stages.report(run.work, not_run=not_run, facts=facts)


def smoke_options(settings: Settings) -> SmokeOptions:
    """Return what the settings tell the smoke runner."""
    at = settings.smoke
    return SmokeOptions(
        directories=at.directories,
        select=at.select,
        timeout=at.timeout,
        budget=at.budget,
        builtin=at.builtin,
        engine=settings.engine.profile,
    )


async def wait(url: str, settings: Settings, log_file: Path | None, stages: Stages) -> Check:
    """Wait for a server that runs somewhere; `log_file` is its growing log, if it can be read."""
    log = ServerLog(anyio.current_time()) if log_file else None
    engine = engine_of(settings)
    ready = Readiness(url, settings.readiness, stages.progress, stages.case, None, log, engine)
    if log is None or log_file is None:
        return await ready.check()
    with one_error():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow, log_file, log)
            check = await ready.check()
            tasks.cancel_scope.cancel()
    return check


@dataclass(frozen=True)
class Facts:
    """What is known of a server's image from outside the server.

    Args:
        inventory: File that `ci.image.inventory` printed inside it.
        label: The version that its label claims.
        model_path: The model's path inside it.
    """

    inventory: Path | None = None
    label: str = ""
    model_path: str = ""


async def versions(url: str, settings: Settings, facts: Facts, stages: Stages) -> Check:
    """Hold a server that runs somewhere against the expected versions."""
    expected = Expected(
        versions=settings.expected_versions(),
        inventory=read_inventory(facts.inventory) if facts.inventory else None,
        label=facts.label,
        model_path=facts.model_path,
        served_name=settings.model.served_name,
    )
    engine = engine_of(settings)
    async with engine.client(url) as client:
        return await check_versions(client, expected, stages.case, engine)


async def smoke(url: str, settings: Settings, stages: Stages) -> Check:
    """Run the smoke suite against a server that runs somewhere."""
    return await run_smoke(url, smoke_options(settings), stages.case)


@dataclass(frozen=True)
class _Run:
    settings: Settings
    stages: Stages
    measurements: Measurements

    async def work(self) -> None:
        """Run the stages, until one shows that the next ones make no sense."""
        try:
            async with served(self.settings, self.stages.folder / "server.log") as server:
                self.stages.progress.note(f"serving {server.launch.model.name} at {server.url}")
                healthy = await self._prove(server)
            if healthy:
                for name, work in self.measurements.alone(self.settings, self.stages):
                    await self.stages.run(name, work)
        except SglangCiError as error:
            await self.stages.fail("launch", error)

    async def _prove(self, server: ServerProcess) -> bool:
        """Put every question to a server; return whether all answers were good."""
        stages = self.stages
        ready = partial(readiness, server, self.settings, stages.progress, stages.case)
        check = await stages.run("readiness", ready)
        if check.verdict is not Verdict.PASSED:
            return False
        healthy = True
        for name, work, measures in self._questions(server):
            if measures and not healthy:
                stages.left_out(name, "a server that passes its other checks")
                continue
            check = await stages.run(name, work, death=partial(server.died, name))
            healthy = healthy and check.verdict is Verdict.PASSED
            if server.exit_code is not None:
                return False
        await stages.run("shutdown", partial(self._shutdown, server))
        return healthy

    def _questions(self, server: ServerProcess) -> Iterator[tuple[str, Work, bool]]:
        """Yield each stage, its work, and whether it measures: only a good server is measured."""
        yield "versions", partial(self._versions, server), False
        yield "smoke", partial(smoke, server.url, self.settings, self.stages), False
        for name, work in self.measurements.beside(server.url, self.stages):
            yield name, work, True

    async def _versions(self, server: ServerProcess) -> Check:
        engine = engine_of(self.settings)
        expected = Expected(
            versions=self.settings.expected_versions(),
            inventory=await installed(self.settings),
            model_path=str(server.launch.model) if engine.tells_model else "",
            served_name=self.settings.model.served_name,
        )
        async with engine.client(server.url) as client:
            return await check_versions(client, expected, self.stages.case, engine)

    async def _shutdown(self, server: ServerProcess) -> Check:
        clean = engine_of(self.settings).clean_exits
        grace = self.settings.server.stop_grace
        return await check_shutdown(server, grace, self.stages.case, clean)
