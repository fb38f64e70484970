"""The graph on this host: model → server → readiness → versions → smoke → shutdown → report.

The same checks run in containers (`ci.module`); only the way a server is started differs.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from ci.checks.inventory import inventory
from ci.checks.readiness import Readiness
from ci.checks.shutdown import check_shutdown
from ci.checks.versions import Expected, canonical, check_versions, read_inventory
from ci.concurrency import one_error
from ci.errors import SglangCiError
from ci.report.model import Check, NotRun, Report
from ci.report.progress import Progress
from ci.server.client import ServerClient
from ci.server.launch import Launch, launch_script
from ci.server.log import ServerLog, follow
from ci.server.model_files import Model, fetch, resolve
from ci.server.port import reserved
from ci.server.process import ServerProcess, running
from ci.settings import Settings
from ci.smoke.run import SmokeOptions, run_smoke
from ci.stages import Stages
from ci.verdict import Verdict

__all__ = ["Facts", "fetch", "prove", "serve", "served", "smoke", "versions", "wait"]

NOT_HERE = (
    NotRun(stage="image", needs="a Dagger engine: dagger call ci"),
    NotRun(
        stage="publish", needs="a Dagger engine and a registry: dagger call ci --publish-to REF"
    ),
)


async def prove(settings: Settings, progress: Progress, folder: Path) -> Report:
    """Start a server on this host, ask it every question, stop it, and report.

    Args:
        settings: The effective settings.
        progress: Who is told.
        folder: Folder that gets the server's output as `server.log`.
    """
    stages = Stages(progress)
    facts = {"engine": "host processes"}
    return await stages.report(_Run(settings, stages, folder).work, not_run=NOT_HERE, facts=facts)


@asynccontextmanager
async def served(settings: Settings, output: Path | None) -> AsyncIterator[ServerProcess]:
    """Serve the model of the settings on this host for as long as the context lasts.

    Raises:
        InfrastructureFault: There is no model to serve, or no port to serve it on.
    """
    at = settings.server
    model = await resolve(settings.model)
    with reserved(at.host, at.port) as port:
        async with running(launch_of(settings, model, port), output) as server:
            yield server


def launch_of(settings: Settings, model: Model, port: int) -> Launch:
    """Return how the settings start a server of `model` on `port`."""
    at, name = settings.server, settings.model.served_name
    return Launch(
        model=model.path,
        host=at.host,
        port=port,
        device=at.device,
        log_level=at.log_level,
        flags=(*(("--served-model-name", name) if name else ()), *at.flags),
        expected_version=settings.image.sglang_version,
        environment=at.environment,
    )


def smoke_options(settings: Settings) -> SmokeOptions:
    """Return what the settings tell the smoke runner."""
    at = settings.smoke
    return SmokeOptions(
        directories=at.directories,
        select=at.select,
        timeout=at.timeout,
        budget=at.budget,
        builtin=at.builtin,
    )


async def serve(settings: Settings) -> None:
    """Replace this process by a server as the settings say; returns only by an error."""
    at = settings.server
    model = await resolve(settings.model)
    with reserved(at.host, at.port) as port:
        launch = launch_of(settings, model, port)
        os.execvpe("bash", ["bash", str(launch_script()), *launch.flags], launch.environ())  # noqa: S606


async def wait(url: str, settings: Settings, log_file: Path | None, stages: Stages) -> Check:
    """Wait for a server that runs somewhere; `log_file` is its growing log, if it can be read."""
    log = ServerLog(anyio.current_time()) if log_file else None
    ready = Readiness(url, settings.readiness, stages.progress, stages.case, log=log)
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
        inventory: File that `ci.checks.inventory` printed inside it.
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
    async with ServerClient(url) as client:
        return await check_versions(client, expected, stages.case)


async def smoke(url: str, settings: Settings, stages: Stages) -> Check:
    """Run the smoke suite against a server that runs somewhere."""
    return await run_smoke(url, smoke_options(settings), stages.case)


@dataclass(frozen=True)
class _Run:
    settings: Settings
    stages: Stages
    folder: Path

    async def work(self) -> None:
        """Run the stages, until one shows that the next ones make no sense."""
        try:
            async with served(self.settings, self.folder / "server.log") as server:
                self.stages.progress.note(f"serving {server.launch.model.name} at {server.url}")
                await self._prove(server)
        except SglangCiError as error:
            await self.stages.run("launch", partial(_raise, error))

    async def _prove(self, server: ServerProcess) -> None:
        stages, budgets = self.stages, self.settings.readiness
        ready = Readiness(server.url, budgets, stages.progress, stages.case, server, server.log)
        check = await self.stages.run("readiness", ready.check)
        if check.verdict is not Verdict.PASSED:
            return
        for name, work in (("versions", self._versions), ("smoke", self._smoke)):
            death = partial(server.died, name)
            await self.stages.run(name, partial(work, server), death=death)
            if server.exit_code is not None:
                return
        await self.stages.run("shutdown", partial(self._shutdown, server))

    async def _versions(self, server: ServerProcess) -> Check:
        expected = Expected(
            versions=self.settings.expected_versions(),
            inventory={canonical(name): version for name, version in inventory().items()},
            model_path=str(server.launch.model),
            served_name=self.settings.model.served_name,
        )
        async with ServerClient(server.url) as client:
            return await check_versions(client, expected, self.stages.case)

    async def _smoke(self, server: ServerProcess) -> Check:
        return await smoke(server.url, self.settings, self.stages)

    async def _shutdown(self, server: ServerProcess) -> Check:
        return await check_shutdown(server, self.settings.server.stop_grace, self.stages.case)


async def _raise(error: SglangCiError) -> Check:
    raise error
