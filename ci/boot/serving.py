"""How the settings start a server on this host."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL

import anyio
from packaging.utils import canonicalize_name

from ci import engines
from ci.boot.launch import Launch
from ci.boot.model_files import Model, resolve
from ci.boot.port import reserved
from ci.boot.process import ServerProcess, command, running
from ci.boot.readiness import Readiness
from ci.engines.command import command_of
from ci.engines.profile import Profile, Start
from ci.errors import CheckBroken, InfrastructureFault, ServerFault
from ci.image import inventory
from ci.report.model import Case, Check
from ci.report.progress import Progress
from ci.server.key import api_key, wanted_at
from ci.settings import Settings
from ci.verdict import Verdict


@asynccontextmanager
async def served(settings: Settings, output: Path | None) -> AsyncIterator[ServerProcess]:
    """Serve the model of the settings on this host for as long as the context lasts.

    Raises:
        InfrastructureFault: There is no model to serve, or no port to serve it on.
    """
    at = settings.server
    model = await _model(settings)
    with reserved(at.host, at.port) as port:
        launch = launch_of(settings, model, port)
        key = api_key((*launch.argv, *launch.flags), launch.environment)
        with wanted_at(launch.url, key):
            async with running(launch, output) as server:
                yield server


async def _model(settings: Settings) -> Model:
    """Return the model to serve; the packaged one is SGLang's alone.

    Raises:
        InfrastructureFault: The engine isn't installed here, or the model can't be had.
    """
    at = settings.model
    await _present(settings)
    if not engine_of(settings).native and at.path is None and not at.name:
        return Model(Path(), "")
    return await resolve(at)


async def _present(settings: Settings) -> None:
    """Look for the engine's package, of an engine that isn't SGLang: `launch.sh` does it there."""
    engine, at = engine_of(settings), settings.engine
    if engine.native or at.command or not engine.package:
        return
    if canonicalize_name(engine.package) not in (await installed(settings) or {}):
        where = at.python or sys.executable
        raise InfrastructureFault(f"{engine.package} isn't installed in {where}: set engine.python")


def engine_of(settings: Settings) -> Profile:
    """Return the profile of the settings' engine."""
    return engines.profile(settings.engine.profile)


async def installed(settings: Settings) -> dict[str, str] | None:
    """Return name to version of what the engine's interpreter has; None where none is known."""
    at, engine = settings.engine, engine_of(settings)
    if not engine.native and (not engine.package or (at.command and not at.python)):
        return None
    if engine.native or not at.python:
        return {canonicalize_name(name): version for name, version in inventory.inventory().items()}
    done = await anyio.run_process([at.python, inventory.__file__], stdin=DEVNULL, check=False)
    if done.returncode:
        raise InfrastructureFault(f"{at.python}: can't list what it has installed")
    found = json.loads(done.stdout)
    return {canonicalize_name(name): version for name, version in found.items()}


def _argv(settings: Settings, model: Model, port: int) -> tuple[str, ...]:
    """Return the command of another engine than SGLang; nothing for SGLang.

    Raises:
        UsageError: It has none, or lacks a model.
        InfrastructureFault: It isn't installed here.
    """
    engine, at = engine_of(settings), settings.engine
    if engine.native:
        return ()
    python = at.python or sys.executable
    path = model.path if model.label else None
    start = Start(path, settings.server.host, port, settings.model.served_name, python)
    argv = command_of(engine, at, start)
    if not shutil.which(argv[0]):
        raise InfrastructureFault(
            f"{engine.title} can't be started: {argv[0]} isn't installed here"
        )
    return (*argv, *settings.server.flags)


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
        argv=_argv(settings, model, port),
    )


async def serve(settings: Settings) -> None:
    """Replace this process by a server as the settings say; returns only by an error."""
    at = settings.server
    model = await _model(settings)
    with reserved(at.host, at.port) as port:
        launch = launch_of(settings, model, port)
        argv = command(launch)
        os.execvpe(argv[0], argv, launch.environ())  # noqa: S606


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
    budgets, engine = settings.readiness, engine_of(settings)
    seen = Readiness(server.url, budgets, progress, tell, server, server.log, engine)
    return await seen.check()


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
