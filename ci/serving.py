"""How the settings start a server on this host."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from ci.checks.readiness import Readiness
from ci.errors import CheckBroken, ServerFault
from ci.report.model import Case, Check
from ci.report.progress import Progress
from ci.server.launch import Launch, launch_script
from ci.server.model_files import Model, resolve
from ci.server.port import reserved
from ci.server.process import ServerProcess, running
from ci.settings import Settings
from ci.verdict import Verdict


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
    at = settings.server
    return Launch(
        model=model.path,
        host=at.host,
        port=port,
        device=at.device,
        log_level=at.log_level,
        flags=settings.launch_flags(),
        expected_version=settings.image.sglang_version,
        environment=at.environment,
    )


async def serve(settings: Settings) -> None:
    """Replace this process by a server as the settings say; returns only by an error."""
    at = settings.server
    model = await resolve(settings.model)
    with reserved(at.host, at.port) as port:
        launch = launch_of(settings, model, port)
        os.execvpe("bash", ["bash", str(launch_script()), *launch.flags], launch.environ())  # noqa: S606


def _untold(case: Case) -> None:
    """Take in a case of a server's readiness, which is none of what it is started for."""


async def readiness(
    server: ServerProcess,
    settings: Settings,
    progress: Progress,
    tell: Callable[[Case], None] = _untold,
) -> Check:
    """Wait for the first token of a server of this host, phase by phase.

    Args:
        server: The server.
        settings: They hold the budget of each phase.
        progress: Is told of the phases.
        tell: Is told of each case as soon as it is known.
    """
    budgets = settings.readiness
    return await Readiness(server.url, budgets, progress, tell, server, server.log).check()


@asynccontextmanager
async def ready(
    settings: Settings, output: Path, progress: Progress
) -> AsyncIterator[ServerProcess]:
    """Serve the model of the settings on this host, from its first token on.

    Raises:
        ServerFault: It doesn't become ready, and that is its own fault.
        CheckBroken: It can't be started here.
    """
    async with served(settings, output) as server:
        check = await readiness(server, settings, progress)
        if check.verdict is Verdict.FAILED:
            raise ServerFault(check.cause, details=check.log)
        if check.verdict is not Verdict.PASSED:
            raise CheckBroken(check.cause, details=check.log)
        yield server
