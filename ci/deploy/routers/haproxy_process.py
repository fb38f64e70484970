"""Our own HAProxy on this host: it outlives a CI job, and is found by its socket and its pid."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio

from ci.concurrency import lock_within
from ci.deploy.outliving import outlive
from ci.deploy.routers.haproxy import HaproxyRouter
from ci.deploy.routers.haproxy_check import program, syntax
from ci.deploy.routers.haproxy_config import Files, HaproxyOptions, rendered
from ci.deploy.routers.haproxy_pid import running_in, runs, send
from ci.deploy.routers.haproxy_socket import RuntimeSocket
from ci.deploy.routers.haproxy_workers import open_on
from ci.errors import RouterFault
from ci.secrets import files

SECONDS = 15.0
"""Most seconds until a start, a reload or another job's start has come to its end."""
TERM_SECONDS = 5.0
"""Seconds from SIGTERM to SIGKILL."""
_FLUSH = 0.5
"""Seconds for clients to take what their server is done with."""
_LOOK = 0.05


def router_of(folder: Path, options: HaproxyOptions) -> HaproxyRouter:
    """Return the adapter of the HAProxy in a folder, whether it runs or not."""
    at = _files(folder)
    return HaproxyRouter(
        options.url,
        at.socket,
        options.backend,
        slots=options.slots,
        state_file=at.state,
        master_path=at.master,
    )


async def start(folder: Path, options: HaproxyOptions) -> HaproxyRouter:
    """Start HAProxy in a folder, unless it runs there; reload it where its options changed.

    Raises:
        UsageError: The folder or an option can't be used.
        RouterFault: HAProxy isn't installed, refuses its configuration, or doesn't start.
    """
    at = _files(folder)
    text, router = rendered(options, at), router_of(folder, options)
    at.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with _alone(at.folder):
        running = await _answers(at)
        changed = not at.config.exists() or at.config.read_text("utf-8") != text
        if changed or not running:
            await _accepted(text)
            _write(at.config, text)
        if running and changed:
            await _reload(at)
        elif not running:
            await _start(at)
        await router.seen()
    return router


async def stop(folder: Path, grace: float = 30.0) -> str:
    """End the HAProxy of a folder: no new requests, `grace` seconds for open ones, then SIGTERM.

    Its configuration and state stay, so a later start has the same addresses and shares.

    Returns:
        How it ended, in one line; empty where none ran.
    """
    at = _files(folder)
    if (process := running_in(at)) is None:
        return ""
    send(process, signal.SIGUSR1)
    with anyio.move_on_after(grace) as waiting:
        while runs(process) and await _has_requests(at):
            await anyio.sleep(_LOOK)
        await anyio.sleep(_FLUSH)
    how = f"cut what was open after {grace:g} s" if waiting.cancelled_caught else "lost no request"
    for number in (signal.SIGTERM, signal.SIGKILL):
        send(process, number)
        with anyio.move_on_after(TERM_SECONDS):
            while runs(process):
                await anyio.sleep(_LOOK)
            for path in (at.socket, at.master, at.pid):
                path.unlink(missing_ok=True)
            return f"HAProxy {process.pid} ended by {number.name}, and {how}"
    raise RouterFault(f"HAProxy {process.pid} can't be ended; end it by hand")


def _files(folder: Path) -> Files:
    return Files(folder.absolute())


@asynccontextmanager
async def _alone(folder: Path) -> AsyncIterator[None]:
    """Keep other jobs from starting in a folder at the same time."""
    async with lock_within(folder / "start.lock", SECONDS, _LOOK) as held:
        if held is None:
            raise RouterFault(f"{folder}: another run is starting HAProxy here; try again later")
        yield


async def _answers(at: Files) -> bool:
    """Return whether HAProxy runs there.

    Raises:
        RouterFault: Its process is there and doesn't answer.
    """
    try:
        await RuntimeSocket(at.socket).ask("show info")
    except RouterFault:
        if running_in(at) is not None:
            raise
        return False
    return True


async def _accepted(text: str) -> None:
    if wrong := await syntax(text):
        raise RouterFault(
            f"HAProxy refuses its configuration: {wrong[0]}", details="\n".join(wrong)
        )


async def _start(at: Files) -> None:
    """Start it as nobody's child, with no variable of ours.

    Raises:
        RouterFault: It doesn't start.
    """
    logged = at.log.stat().st_size if at.log.exists() else 0
    argv = [program(), "-W", "-C", "/", "-S", f"{at.master},mode,600", "-p", str(at.pid)]
    variables = {"PATH": os.defpath}
    try:
        birth = await outlive([*argv, "-f", str(at.config)], at.log, str(at.folder), variables)
    except OSError as error:
        raise RouterFault(f"HAProxy can't be started: {error}") from error
    with anyio.move_on_after(SECONDS):
        while birth and birth.lives:
            with suppress(RouterFault):
                await RuntimeSocket(at.socket).ask("show info")
                await RuntimeSocket(at.master).ask("show proc")
                return
            await anyio.sleep(_LOOK)
    said = at.log.read_text("utf-8", "replace")[logged:]
    alerts = [line for line in said.splitlines() if line.startswith("[ALERT]")]
    raise RouterFault(
        f"HAProxy didn't start: {alerts[0] if alerts else f'see {at.log}'}", details=said
    )


async def _reload(at: Files) -> None:
    """Have the master start a worker with the new configuration; the old one ends its streams."""
    socket, process = RuntimeSocket(at.socket), running_in(at)
    if process is None:
        raise RouterFault(f"{at.pid}: no such process, but HAProxy answers; restart it by hand")
    before = await _worker(socket)
    _write(at.state, await socket.ask("show servers state"))
    process.send_signal(signal.SIGUSR2)
    with anyio.move_on_after(SECONDS):
        while True:
            with suppress(RouterFault):
                if await _worker(socket) != before:
                    await RuntimeSocket(at.master).ask("show proc")
                    return
            await anyio.sleep(_LOOK)
    raise RouterFault(f"HAProxy didn't reload; the old worker goes on: see {at.log}")


async def _worker(socket: RuntimeSocket) -> str:
    told = (await socket.ask("show info")).splitlines()
    return next((line for line in told if line.startswith("Pid:")), "")


def _write(path: Path, text: str) -> None:
    try:
        files.replace(path, text)
    except OSError as error:
        raise RouterFault(f"{path}: {error.strerror}; let this user write the folder") from error


async def _has_requests(at: Files) -> bool:
    """Return whether a worker has open requests; idle connections of clients are none.

    A master that doesn't answer may have some.
    """
    try:
        return (await open_on(RuntimeSocket(at.master))).total() > 0
    except RouterFault:
        return True
