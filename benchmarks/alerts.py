"""Every alert seen firing and clearing: faults put into a real server under a real Prometheus.

    python -m benchmarks.alerts [--interval SECONDS] [--only NAME …] [--json FILE]

An SGLang of the packaged tiny model, Debian's Prometheus and Alertmanager, and our exporter, all on
loopback and with what `observe render` writes. It is scraped every second, or less often on a busy
machine, so that windows are seconds where a default is minutes. A second slot is the first one's
page at second hand. A figure is the time from a fault until its alert fires in Prometheus, until
Alertmanager has it, and from the fault's end until it no longer fires.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.alert_faults import FAULTS, Fault, Rig
from ci.boot.port import reserved
from ci.monitoring import exporter, programs
from ci.monitoring.write import configuration, write
from ci.settings import Settings

TIMES = {"interval": 1, "window": 10, "stall": 5, "hold": 2}
"""Of a scrape each second, in seconds; the defaults are 15, 300, 60 and 60."""
LIMITS = {"slo_ttft": 1.0, "slo_tpot": 0.2, "kv_full": 0.3, "unknown_paths": 20}
"""A request's whole length is reserved, so that one at a time fills 2048 tokens, slowly."""
FLAGS = (
    "--max-running-requests=4", "--max-queued-requests=8", "--max-total-tokens=2048",
    "--random-seed=1",
)  # fmt: skip
CALM, PAUSE = 300.0, 2.0
"""Most seconds until a fault's alerts are gone from before, and seconds from then to the fault."""
FIRES, CLEARS, LOOK = 120.0, 240.0, 0.1
"""Most seconds until an alert fires and until it is gone, and between two looks."""


@dataclass(frozen=True)
class Row:
    """What became of one alert under its fault; seconds, None where it wasn't seen in time."""

    fault: str
    alert: str
    fired: float | None
    received: float | None
    cleared: float | None
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Watchers:
    """Where Prometheus and Alertmanager are asked."""

    prometheus: str
    alertmanager: str

    async def firing(self) -> set[tuple[str, str]]:
        """Return name and instance of all that fires in Prometheus."""
        found = (await _asked(f"{self.prometheus}/api/v1/alerts"))["data"]["alerts"]
        firing = (one["labels"] for one in found if one["state"] == "firing")
        return {(labels["alertname"], labels.get("instance", "")) for labels in firing}

    async def received(self) -> set[str]:
        """Return the names of all that Alertmanager has."""
        found = await _asked(f"{self.alertmanager}/api/v2/alerts")
        return {one["labels"]["alertname"] for one in found}


async def _asked(url: str) -> Any:
    """Return what a busy Prometheus or Alertmanager answers at last."""
    while True:
        with suppress(httpx.HTTPError):
            async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
                return (await client.get(url)).json()
        await anyio.sleep(LOOK)


async def settled(fault: Fault, watchers: Watchers) -> None:
    """Wait until none of a fault's alerts fires any more from what was before."""
    with anyio.move_on_after(CALM):
        while {name for name, _ in await watchers.firing()} & set(fault.alerts):
            await anyio.sleep(LOOK)
        await anyio.sleep(PAUSE)


async def row(fault: Fault, rig: Rig, watchers: Watchers) -> list[Row]:
    """Put one fault in, wait for its alerts, take it away, and wait for their end."""
    before = await watchers.firing()
    begun = anyio.current_time()
    fired: dict[str, float] = {}
    received: dict[str, float] = {}
    cleared: dict[str, float] = {}
    async with fault.inject(rig) as undone:
        with anyio.move_on_after(fault.patience or FIRES):
            while not set(fault.alerts) <= set(received) & set(fired):
                now = anyio.current_time() - begun
                for name in {name for name, _ in await watchers.firing()}:
                    fired.setdefault(name, now)
                for name in await watchers.received():
                    received.setdefault(name, anyio.current_time() - begun)
                await anyio.sleep(LOOK)
        await undone()
        ended = anyio.current_time()
        with anyio.move_on_after(fault.clears or CLEARS):
            while set(fault.alerts) - set(cleared):
                firing = {name for name, _ in await watchers.firing()}
                for name in set(fault.alerts) - firing:
                    cleared.setdefault(name, anyio.current_time() - ended)
                await anyio.sleep(LOOK)
    others = tuple(sorted(set(fired) - set(fault.alerts) - {name for name, _ in before}))
    return [
        Row(fault.name, name, fired.get(name), received.get(name),
            cleared.get(name) if name in fired else None, others)
        for name in fault.alerts
    ]  # fmt: skip


@asynccontextmanager
async def watched(rig: Rig, folder: Path, interval: int) -> AsyncIterator[Watchers]:
    """Run exporter, Alertmanager and Prometheus over the rig's targets."""
    async with AsyncExitStack() as stack:
        ports = [stack.enter_context(reserved("127.0.0.1", 0)) for _ in range(3)]
        addresses = [f"127.0.0.1:{port}" for port in ports]
        times = {name: interval * seconds for name, seconds in TIMES.items()}
        at = {**times, **LIMITS, "exporter": addresses[0], "alertmanager": addresses[1]}
        at |= {"targets": [{"url": "http://unused:1", "environment": "prod"}]}
        settings = Settings.model_validate({"observe": at, "server": {"flags": FLAGS}})
        write(folder, configuration(settings))
        rig.targets = folder / "targets" / "settings.json"
        rig.label()
        stack.enter_context(programs.answering(exporter.serving(folder / "targets", addresses[0])))
        urls = [f"http://{address}" for address in addresses]
        started = (
            (programs.alertmanager(folder, addresses[1], folder / "am"), urls[1]),
            (programs.prometheus(folder, ports[2], folder / "data"), urls[2]),
        )
        for argv, url in started:
            log = folder / f"{Path(argv[0]).name}.log"
            await stack.enter_async_context(programs.running(argv, url, log))
        yield Watchers(urls[2], urls[1])


async def measured(
    only: Sequence[str], interval: int, console: Console, kept: Path | None = None
) -> list[Row]:
    """Run all faults, or some of them, and return what was seen; keep it as it comes."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        async with Rig.started(folder, FLAGS) as rig:
            with programs.answering(rig.relay.server):
                async with (
                    watched(rig, folder / "observability", interval) as watchers,
                    rig.traffic(),
                ):
                    for fault in FAULTS:
                        if only and fault.name not in only:
                            continue
                        await settled(fault, watchers)
                        found = await row(fault, rig, watchers)
                        rows += found
                        console.print(*found, sep="\n")
                        _keep(rows, kept)
    return rows


def _keep(rows: Sequence[Row], path: Path | None) -> None:
    if path:
        path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def main() -> None:
    """Run it, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--interval", type=int, default=1)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    console = Console(width=140)
    rows = anyio.run(measured, asked.only, asked.interval, console, asked.json)
    table = Table("fault", "alert", "fired after", "Alertmanager", "cleared after", "also fired")
    for one in rows:
        times = (one.fired, one.received, one.cleared)
        told = ("not seen" if time is None else f"{time:.1f} s" for time in times)
        table.add_row(one.fault, one.alert, *told, ", ".join(one.others))
    console.print(table)


if __name__ == "__main__":
    main()
