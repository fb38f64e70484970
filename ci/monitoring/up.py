"""Everything on this host: a real server, what watches it, and a page to look at it."""

from __future__ import annotations

import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.abc

from ci.boot.serving import ready
from ci.concurrency import one_error
from ci.errors import UsageError
from ci.monitoring import exporter, page, programs
from ci.monitoring.scraping import TARGETS
from ci.monitoring.write import configuration, write
from ci.report.progress import Progress
from ci.settings import Settings
from ci.settings.observe import ObserveTarget
from ci.traffic.options import TrafficOptions
from ci.traffic.pace import streams

QUICK = 2
"""Most seconds between two scrapes here, where somebody waits to see something."""
HERE = {"environment": "here", "slot": "only"}
LONGEST = 86_400.0


@dataclass(frozen=True)
class UpOptions:
    """What is started.

    Args:
        url: A server that runs already; empty to start one.
        port: Port of the page.
        prometheus: Port of Prometheus.
        seconds: For how long; None until it is interrupted.
        rate: Streams a second that are sent to the server; 0 for none.
        folder: Keeps what is rendered and measured; None for one that goes with the run.
    """

    url: str = ""
    port: int = 9466
    prometheus: int = 9090
    seconds: float | None = None
    rate: float = 1.0
    folder: Path | None = None


async def up(settings: Settings, options: UpOptions, progress: Progress) -> None:
    """Run everything until SIGINT, SIGTERM or the end of its time, and end it.

    Raises:
        UsageError: Prometheus isn't installed, or a port is in use.
        ServerFault: The server doesn't become ready.
        InfrastructureFault: Prometheus or Alertmanager doesn't start.
    """
    programs.program("prometheus")
    _free(_ports(settings, options))
    with one_error():
        async with anyio.create_task_group() as tasks:
            await tasks.start(_until_signal, tasks.cancel_scope)
            async with _all(settings, options, progress):
                with anyio.move_on_after(options.seconds):
                    await anyio.sleep_forever()
                progress.note("its time is over: everything is ended")
            tasks.cancel_scope.cancel()


async def _until_signal(
    scope: anyio.CancelScope,
    *,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        task_status.started()
        async for _ in received:
            scope.cancel()
            return


@asynccontextmanager
async def _all(settings: Settings, options: UpOptions, progress: Progress) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        folder = options.folder
        if folder is None:
            made = tempfile.TemporaryDirectory(prefix="sglang-ci-observe-")
            folder = Path(stack.enter_context(made))
        url = options.url
        if not url:
            progress.note("a server is started; --url watches one that runs already")
            server = ready(settings, folder / "server.log", progress)
            url = (await stack.enter_async_context(server)).url
        at = _watching(settings, url)
        write(folder, configuration(at))
        await _watchers(stack, at, options, folder, progress)
        progress.note(f"page:         http://127.0.0.1:{options.port}/")
        if options.rate:
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tasks.cancel_scope.cancel)
            tasks.start_soon(_streams, url, at, options, progress)
        yield


def _watching(settings: Settings, url: str) -> Settings:
    """Return the settings with this one server as target, scraped often."""
    target = ObserveTarget(url=url, version=settings.image.sglang_version, **HERE)
    quick = min(QUICK, settings.observe.interval)
    observe = settings.observe.model_copy(update={"targets": (target,), "interval": quick})
    return settings.model_copy(update={"observe": observe, "environments": {}})


async def _watchers(
    stack: AsyncExitStack, at: Settings, options: UpOptions, folder: Path, progress: Progress
) -> None:
    """Start exporter, Alertmanager where it is installed, Prometheus, and the page."""
    asked = exporter.serving(folder / TARGETS, at.observe.exporter)
    stack.enter_context(programs.answering(asked))
    address = at.observe.alertmanager
    try:
        argv = programs.alertmanager(folder, address, folder / "alertmanager")
    except UsageError as missing:
        progress.note(f"without Alertmanager: {missing}")
    else:
        log = folder / "alertmanager.log"
        await stack.enter_async_context(programs.running(argv, f"http://{address}", log))
        progress.note(f"Alertmanager: http://{address}")
    prometheus = f"http://127.0.0.1:{options.prometheus}"
    argv = programs.prometheus(folder, options.prometheus, folder / "data")
    log = folder / "prometheus.log"
    await stack.enter_async_context(programs.running(argv, prometheus, log))
    progress.note(f"Prometheus:   {prometheus}")
    shown = page.serving(page.page(at), prometheus, options.port)
    stack.enter_context(programs.answering(shown))


async def _streams(url: str, at: Settings, options: UpOptions, progress: Progress) -> None:
    """Send streams for the boards to have something to show."""
    progress.note(f"streams:      {options.rate:g} a second to {url}")
    asked = at.traffic.model_copy(update={"rate": options.rate})
    await streams(url, TrafficOptions(asked, options.seconds or LONGEST), _ignored)


def _ignored(_: object) -> None:
    """Take a stream's record."""


def _ports(settings: Settings, options: UpOptions) -> Mapping[str, str]:
    """Return address to the option or setting that changes it."""
    return {
        f"127.0.0.1:{options.port}": "--port",
        f"127.0.0.1:{options.prometheus}": "--prometheus-port",
        settings.observe.exporter: "--set observe.exporter=HOST:PORT",
        settings.observe.alertmanager: "--set observe.alertmanager=HOST:PORT",
    }


def _free(addresses: Mapping[str, str]) -> None:
    """Raise where one of these can't be listened at.

    Raises:
        UsageError: One is in use.
    """
    for address, cure in addresses.items():
        host, _, port = address.rpartition(":")
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((host, int(port)))
            except OSError as error:
                problem = f"{address} can't be used ({error.strerror}): choose another by {cure}"
                raise UsageError(problem) from error
