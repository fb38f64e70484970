"""Can a server be started here, of this model, on this port and device?"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil

from ci import engines
from ci.errors import InfrastructureFault, UsageError
from ci.preflight.asked import Intent, PreflightQuestion
from ci.settings import Settings

LEAST_FREE = {False: 100_000_000, True: 1_000_000_000}
"""Bytes without which nothing can be done: of a report, and of an engine that builds images."""
_BUILD = {False: 10, True: 30}
"""GB that a first build of an image takes, for CPUs and for GPUs."""


def questions(asked: Intent) -> Iterator[PreflightQuestion]:
    """Yield what a start needs: on a host what is there, in a container what can be known of it."""
    settings = asked.settings
    yield PreflightQuestion("engine", partial(engine, settings))
    if settings.model.path is not None and settings.model.path.exists():
        yield PreflightQuestion("model", partial(model, asked))
    if not asked.container:
        yield PreflightQuestion("port", partial(port, settings))
        yield PreflightQuestion("device", partial(device, settings))
    yield PreflightQuestion("disk", partial(disk, asked))
    if asked.baseline and asked.baseline.url:
        yield PreflightQuestion("baseline", partial(answers, asked.baseline.url))


def engine(settings: Settings) -> str:
    """Return the title of the engine that is proven.

    Raises:
        SettingsError: No profile is called so.
        UsageError: It starts nothing, and the settings don't say what does.
    """
    found = engines.profile(settings.engine.profile)
    python = settings.engine.python
    if "/" in python and not os.access(python, os.X_OK):
        raise UsageError(f"engine.python: {python} can't be run: name an interpreter")
    return found.title


def model(asked: Intent) -> str:
    """Look into the model's folder.

    Raises:
        UsageError: It has no valid config.json, which SGLang finds out late.
    """
    path = asked.settings.model.path
    assert path is not None  # noqa: S101
    if not engines.profile(asked.settings.engine.profile).native:
        return ""
    shown = "--model" if asked.container else str(path)
    if not path.is_dir():
        raise UsageError(f"{shown} is no folder: name the folder of a whole model")
    try:
        json.loads((path / "config.json").read_bytes())
    except FileNotFoundError:
        problem = f"{shown} has no config.json: name the folder of a whole model"
        raise UsageError(problem) from None
    except OSError as error:
        raise UsageError(f"{shown}/config.json can't be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{shown}/config.json is not JSON: get the model anew") from error
    return ""


def port(settings: Settings) -> str:
    """See that a port that is asked for is free.

    Raises:
        InfrastructureFault: It isn't, or can't be had here.
    """
    at = settings.server
    if not at.port:
        return "any free one"
    try:
        with socket.socket(socket.AF_INET6 if ":" in at.host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((at.host, at.port))
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        holder = f"is taken by {_holder(at.port)}: stop it, or"
        why = holder if taken else f"can't be had ({error.strerror}):"
        raise InfrastructureFault(
            f"{at.host}:{at.port} {why} set another server.port or server.host"
        ) from error
    return ""


def _holder(port: int) -> str:
    """Return who listens on a port; of its command the start alone, as the rest may be secret."""
    for process in psutil.process_iter():
        try:
            held = process.net_connections(kind="tcp")
            if any(at.laddr and at.laddr.port == port and not at.raddr for at in held):
                return f"pid {process.pid} ({' '.join(process.cmdline()[:3])})"
        except psutil.Error:
            continue
    return "a process that this user can't see"


def device(settings: Settings) -> str:
    """See that there is a GPU where one is asked for, by the signs that `launch.sh` goes by.

    Raises:
        InfrastructureFault: There is none.
    """
    if settings.server.device != "cuda":
        return settings.server.device
    environ = os.environ | settings.server.environment
    if environ.get("CUDA_VISIBLE_DEVICES", "all") not in {"", "-1"} and _has_gpu():
        return "cuda"
    raise InfrastructureFault(
        'server.device is "cuda", and no GPU is visible: give this machine one, or set "cpu"'
    )


def _has_gpu() -> bool:
    if any(Path("/dev").glob("nvidia[0-9]*")):
        return True
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return found.stdout.startswith(b"GPU")


def disk(asked: Intent) -> str:
    """Return how much is free where the report goes, or where an engine builds.

    Raises:
        InfrastructureFault: It is next to nothing.
    """
    places = (asked.folder.absolute(), *asked.folder.absolute().parents)
    place = Path("/") if asked.container else next(path for path in places if path.exists())
    free = shutil.disk_usage(place).free
    told = f"{free / 1e9:.1f} GB free"
    if free < LEAST_FREE[asked.container]:
        shown = "where the Dagger engine keeps its layers" if asked.container else f"in {place}"
        raise InfrastructureFault(f"{told} {shown}: make room")
    need = _BUILD[asked.gpu]
    small = asked.container and free < need * 1e9
    return f"{told}; the first build of an image takes about {need} GB" if small else told


def answers(url: str) -> str:
    """See that somebody accepts connections at a baseline's URL.

    Raises:
        InfrastructureFault: Nobody does.
    """
    import httpx

    at = httpx.URL(url)
    where = (at.host, at.port or {"https": 443}.get(at.scheme, 80))
    try:
        socket.create_connection(where, timeout=10).close()
    except OSError as error:
        why = error.strerror or "no answer"
        raise InfrastructureFault(f"{url} accepts no connection: {why}") from error
    return ""
