"""Prometheus and Alertmanager as processes of this host, ended with whoever started them."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from http.server import ThreadingHTTPServer
from pathlib import Path

import anyio
import httpx

from ci.concurrency import ended
from ci.errors import InfrastructureFault, UsageError

PACKAGES = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}
"""Program to the package of Debian's that has it."""
START, GRACE, AGAIN = 30.0, 10.0, 0.1
"""Seconds until one answers, until it has ended, and between two looks."""


def program(name: str) -> str:
    """Return the path of Prometheus or Alertmanager.

    Raises:
        UsageError: It isn't installed.
    """
    path = shutil.which(name) or shutil.which(PACKAGES[name])
    if path is None:
        package = PACKAGES[name]
        raise UsageError(f"{name} isn't installed: apt-get install {package}")
    return path


def prometheus(folder: Path, port: int, data: Path) -> list[str]:
    """Return the command of a Prometheus with the configuration of a folder, on loopback."""
    return [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=1d",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]


def alertmanager(folder: Path, address: str, data: Path) -> list[str]:
    """Return the command of an Alertmanager with the configuration of a folder."""
    return [
        program("alertmanager"),
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={data}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]


@asynccontextmanager
async def running(argv: Sequence[str], url: str, log: Path) -> AsyncIterator[None]:
    """Run one of them for as long as the context lasts, from when it is ready.

    Args:
        argv: Its command.
        url: Its base URL.
        log: Gets its output.

    Raises:
        InfrastructureFault: It ends by itself, or isn't ready in time.
    """
    with log.open("wb") as output:
        process = await anyio.open_process(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        await _ready(process, url, log)
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await ended(process, GRACE)


@contextmanager
def answering(server: ThreadingHTTPServer) -> Iterator[None]:
    """Let a server of ours answer in a thread for as long as the context lasts."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


async def _ready(process: anyio.abc.Process, url: str, log: Path) -> None:
    name = Path(url).name
    async with httpx.AsyncClient(trust_env=False) as client:
        with anyio.move_on_after(START):
            while process.returncode is None:
                with suppress(httpx.HTTPError):
                    if (await client.get(f"{url}/-/ready")).is_success:
                        return
                await anyio.sleep(AGAIN)
    raise InfrastructureFault(f"what has to listen at {name} doesn't: {_last(log)}")


def _last(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1] if lines else "it says nothing"
