"""How the settings start a server on this host."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL, CalledProcessError

import anyio
from packaging.utils import canonicalize_name
from pydantic import ValidationError

from ci import engines
from ci.boot.launch import Launch
from ci.boot.model_files import Model, resolve
from ci.boot.port import reserved
from ci.boot.process import ServerProcess, command, running
from ci.boot.readiness import NAME, Readiness
from ci.engines.command import command_of
from ci.engines.profile import Profile, Start
from ci.errors import CheckBroken, InfrastructureFault, ServerFault
from ci.image import installed as listing
from ci.image.listing import Installed
from ci.report.progress import Progress
from ci.secrets.veil import learn_flags
from ci.server.key import api_key, wanted_at
from ci.settings import Settings
from ci.stages import checked
from ci.verdict import Verdict


@asynccontextmanager
async def served(settings: Settings, output: Path | None) -> AsyncIterator[ServerProcess]:
    """Serve the model of the settings on this host for as long as the context lasts.

    Raises:
        InfrastructureFault: There is no model to serve, or no port to serve it on.
    """
    at = settings.server
    model = await model_of(settings)
    with reserved(at.host, at.port) as port:
        launch = launch_of(settings, model, port)
        own = () if launch.argv else model.flags
        key = api_key((*launch.argv, *own, *launch.flags), launch.environment)
        with wanted_at(launch.url, key or None):
            async with running(launch, output) as server:
                yield server


async def model_of(settings: Settings) -> Model:
    """Return the model to serve; the packaged one is SGLang's alone. Its flags' secrets are veiled.

    Raises:
        InfrastructureFault: The engine isn't installed here, or the model can't be had.
    """
    at = settings.model
    await _present(settings)
    if not engine_of(settings).native and at.path is None and not at.name:
        return Model(Path(), "")
    model = await resolve(at)
    learn_flags(model.flags)
    return model


async def _present(settings: Settings) -> None:
    """Look for the engine's package, of an engine that isn't SGLang: `launch.sh` does it there."""
    engine, at = engine_of(settings), settings.engine
    if engine.native or at.command or not engine.package:
        return
    found = await installed(settings)
    if not found or canonicalize_name(engine.package) not in found.versions:
        where = at.python or sys.executable
        raise InfrastructureFault(f"{engine.package} isn't installed in {where}: set engine.python")


def engine_of(settings: Settings) -> Profile:
    """Return the profile of the settings' engine."""
    return engines.profile(settings.engine.profile)


async def installed(settings: Settings) -> Installed | None:
    """Return what the engine's interpreter has installed; None where none is known."""
    at, engine = settings.engine, engine_of(settings)
    if not engine.native and (not engine.package or (at.command and not at.python)):
        return None
    own = settings.server.environment
    python = own.get("PYTHON", "") if engine.native else at.python
    if not python:
        return Installed.model_validate(listing.installed(sizes=False))
    argv, variables = [python, listing.__file__], {**os.environ, **own}
    try:
        done = await anyio.run_process(argv, stdin=DEVNULL, env=variables)
        return Installed.model_validate_json(done.stdout)
    except (OSError, CalledProcessError, ValidationError) as error:
        raise InfrastructureFault(f"{python}: can't list what it has installed") from error


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
        log_format=at.log_format,
        start_method=at.start_method,
        flags=settings.launch_flags(),
        expected_version=settings.image.sglang_version,
        environment=at.environment,
        argv=_argv(settings, model, port),
    )


async def serve(settings: Settings) -> None:
    """Replace this process by a server as the settings say; returns only by an error."""
    at = settings.server
    model = await model_of(settings)
    with reserved(at.host, at.port) as port:
        launch = launch_of(settings, model, port)
        argv = command(launch)
        os.execvpe(argv[0], argv, launch.environ())  # noqa: S606


def readiness(server: ServerProcess, settings: Settings, progress: Progress) -> Readiness:
    """Return the way of a server of this host to its first token; `progress` is told of it."""
    budgets, engine = settings.readiness, engine_of(settings)
    return Readiness(server.url, budgets, progress, server, server.log, engine)


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
        check = await checked(NAME, readiness(server, settings, progress).wait)
        if check.verdict is Verdict.FAILED:
            raise ServerFault(check.cause, details=check.log)
        if check.verdict is not Verdict.PASSED:
            raise CheckBroken(check.cause, details=check.log)
        yield server
