"""Streams lost over many switches and aborts, through a real HAProxy between two real SGLang.

    python -m benchmarks.switches [--switches 40] [--aborts 20] [--replacements 5] [--rate 6]
        [--config FILE] [--seconds 540] [--json FILE]

What is installed here is deployed again and again while streams go on: first blue-green, each
release in the place of the one before, then canaries that are aborted at half of the traffic.
Each is the very deployment that `sglang-ci deploy` makes: started, proven, shifted, drained,
stopped. Printed are the streams by how they ended, the highest rate of losses that this leaves
possible (95 %), how long a switch and an abort took, and how long after its command the slot that
loses its traffic still got a new request, in seconds. Each takes about a minute. At the end one
copy replaces another, without streams: seconds without a server, and what took them.

`--config` names settings for the servers: model, flags, environment, budgets of their start. After
`--seconds` no further switch, abort or replacement is begun. Where there are GPUs, the most memory
that was in use on each is told too.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio

from ci.boot import gpus
from ci.boot.port import reserved
from ci.commands.options import effective
from ci.deploy.demo import clear
from ci.deploy.deployment import NAME, Deployment
from ci.deploy.grounds import Grounds
from ci.deploy.released import of_this_host
from ci.report.console import PlainProgress
from ci.report.model import Check
from ci.settings import Settings
from ci.stages import Stages
from ci.traffic.binomial import at_most
from ci.traffic.options import TrafficOptions
from ci.traffic.pace import streams
from ci.traffic.records import Ending, StreamRecord
from ci.verdict import Verdict

ENVIRONMENT = "switches"
LONGEST = 6 * 3600.0
HALF = 50
SEEN = 5.0
"""Seconds for which a canary has its half before it is aborted."""
LOOK = 0.2
OUTPUT_TOKENS = 160
IN_USE = ("nvidia-smi", "--query-gpu=uuid,memory.used", "--format=csv,noheader,nounits")
USUAL = Settings.model_validate({"server": {"environment": {"OMP_NUM_THREADS": "1"}}})
"""Several servers on few cores stall for seconds with more threads."""


@dataclass
class Run:
    """What is deployed to, and what was seen.

    Args:
        folder: Keeps slots and router.
        port: The router's.
        settings: How servers are started and proven.
        seconds: After these nothing further is begun.
    """

    folder: Path
    port: int
    settings: Settings = field(default_factory=lambda: USUAL)
    seconds: float = LONGEST
    records: list[StreamRecord] = field(default_factory=list)
    begun: float = 0.0
    number: int = 0
    since: float = field(default_factory=time.monotonic)
    parts: list[dict[str, float]] = field(default_factory=list)

    def deployment(self, strategy: str, environment: Mapping[str, str] | None = None) -> Deployment:
        """Return the deployment of the next release, which differs from the last by its seed.

        Args:
            strategy: How it is brought there.
            environment: Variables of its server.
        """
        self.number += 1
        deploy = {
            "folder": str(self.folder),
            "port": self.port,
            "strategy": strategy,
            "shares": [HALF],
            "hold": LONGEST,
            "budget": LONGEST,
            "grace": 60,
        }
        server = self.settings.server
        changed = {
            "flags": (*server.flags, f"--random-seed={self.number}"),
            "environment": {**server.environment, **(environment or {})},
        }
        places = Settings.model_validate({"environments": {ENVIRONMENT: {"deploy": deploy}}})
        settings = self.settings.model_copy(
            update={
                "server": server.model_copy(update=changed),
                "environments": places.environments,
            }
        )
        return Deployment(Grounds.of(settings, ENVIRONMENT))

    def left(self, most: int) -> Iterator[int]:
        """Yield the numbers of what is to be done, up to `most`, while there is time."""
        for number in range(most):
            if time.monotonic() - self.since > self.seconds:
                return
            yield number

    async def switch(self) -> tuple[float, float]:
        """Put the next release in the place of what serves.

        Returns:
            Seconds from the command to rest, and to the last new request on what served.
        """
        deployment, begin = self.deployment("blue-green"), time.monotonic()
        routes = (await deployment.grounds.looked()).routes
        before = next((slot for slot, route in routes.items() if route.share), "")
        check = await deployed(deployment, abort=False)
        if check.verdict is not Verdict.PASSED:
            sys.exit(f"a switch ended {check.verdict}: {check.cause}")
        self.parts.append(parts(check))
        return time.monotonic() - begin, self.last(before, begin)

    async def replace(self) -> dict[str, float]:
        """Stop what serves and start the next release; return the downtime and its causes."""
        check = await deployed(self.deployment("replace"), abort=False)
        if check.verdict is not Verdict.PASSED:
            sys.exit(f"a replacement ended {check.verdict}: {check.cause}")
        return {one.name: one.value for one in check.figures if one.name.startswith("downtime")}

    def last(self, slot: str, since: float) -> float:
        """Return the seconds from a moment until a slot was given its last request."""
        asked = [one.started + self.begun for one in self.records if one.slot == slot]
        return max(0.0, max(asked, default=since) - since)

    async def abort(self) -> tuple[float, float]:
        """Abort the next release at half of the traffic.

        Returns:
            Seconds from the command to rest, and to the last new request on the candidate.
        """
        deployment = self.deployment("canary")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_quietly, deployment)
            candidate = await at_half(deployment.grounds)
            await anyio.sleep(SEEN)
            tasks.cancel_scope.cancel()
        begin = time.monotonic()
        check = await deployed(deployment, abort=True)
        if check.verdict is not Verdict.PASSED:
            sys.exit(f"an abort ended {check.verdict}: {check.cause}")
        return time.monotonic() - begin, self.last(candidate, begin)


async def _quietly(deployment: Deployment) -> None:
    release = of_this_host(deployment.grounds.settings)
    await deployment.run(deployment.wanted(release), _stages())


async def deployed(deployment: Deployment, *, abort: bool) -> Check:
    """Deploy, or abort; return the check of it."""
    release = None if abort else of_this_host(deployment.grounds.settings)
    stages = _stages()
    await deployment.run(deployment.wanted(release), stages)
    return next(check for check in stages.checks if check.name == NAME)


def parts(check: Check) -> dict[str, float]:
    """Return the seconds of a deployment by the kinds of its steps, such as `start`."""
    found: dict[str, float] = {}
    for phase in check.phases:
        kind = phase.name.split()[1].rstrip(":")
        found[kind] = found.get(kind, 0.0) + phase.seconds
    return found


async def used() -> dict[str, int]:
    """Return the MiB that are in use on each GPU; nothing where the driver tells of none."""
    rows = await gpus.answer(IN_USE) or []
    return {row[0]: int(row[1]) for row in rows if row[-1].isdecimal()}


@asynccontextmanager
async def watched(most: dict[str, int]) -> AsyncIterator[None]:
    """Keep the most MiB that are in use on each GPU while the context lasts."""

    async def look() -> None:
        while rows := await used():
            for name, size in rows.items():
                most[name] = max(size, most.get(name, 0))
            await anyio.sleep(1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        yield
        tasks.cancel_scope.cancel()


async def at_half(grounds: Grounds) -> str:
    """Wait until the younger slot has half of the traffic, and return its name."""
    while True:
        world = await grounds.looked()
        if all(route.share == HALF for route in world.routes.values()):
            started = {slot: seen.started for slot, seen in world.slots.items() if seen.started}
            return max(started, key=lambda slot: started[slot])
        await anyio.sleep(LOOK)


def _stages() -> Stages:
    return Stages(PlainProgress(sys.stderr))


@asynccontextmanager
async def streaming(run: Run, url: str, rate: float) -> AsyncIterator[None]:
    """Send streams for as long as the context lasts; each comes to its end."""
    asked = {"rate": rate, "api": "generate", "output_tokens": OUTPUT_TOKENS}
    options = TrafficOptions(Settings().traffic.model_copy(update=asked), LONGEST)
    until = anyio.Event()
    run.begun = time.monotonic()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(streams, url, options, run.records.append, until)
        yield
        until.set()


async def measured(told: argparse.Namespace) -> dict[str, Any]:
    """Switch, abort, and return what was seen."""
    most: dict[str, int] = {}
    with TemporaryDirectory(prefix="switch-") as folder, reserved("127.0.0.1", 0) as port:
        run = Run(Path(folder), port, settings_of(told), told.seconds)
        grounds = run.deployment("blue-green").grounds
        switches, aborts, replaced = [], [], []
        try:
            await run.switch()
            run.parts.clear()
            async with streaming(run, grounds.router.url, told.rate), watched(most):
                switches = [await run.switch() for _ in run.left(told.switches)]
                aborts = [await run.abort() for _ in run.left(told.aborts)]
            replaced = [await run.replace() for _ in run.left(told.replacements)]
        finally:
            with anyio.CancelScope(shield=True):
                await clear(grounds)
    lost = sum(one.ending is not Ending.GOOD for one in run.records)
    return {
        "switches": len(switches),
        "aborts": len(aborts),
        "streams": len(run.records),
        **Counter(str(one.ending) for one in run.records),
        "why": sorted({one.why for one in run.records if one.why}),
        "rate of losses, at most (95 %)": at_most(lost, len(run.records)),
        "seconds of a switch": spread([rested for rested, _ in switches]),
        "seconds of a switch by its steps": by_name(run.parts),
        "seconds from a switch's command to the last request before it": spread(
            [last for _, last in switches]
        ),
        "seconds from abort to rest": spread([rested for rested, _ in aborts]),
        "seconds from abort to its last request": spread([last for _, last in aborts]),
        "seconds of a replacement": by_name(replaced),
        "most MiB in use on each GPU": most,
    }


def settings_of(told: argparse.Namespace) -> Settings:
    """Return how servers are started and proven."""
    found = effective(told.config, [], {}).settings if told.config else USUAL
    return found.model_copy(update={"smoke": found.smoke.model_copy(update={"select": "greedy"})})


def by_name(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return the spread of each name's seconds."""
    names = sorted({name for row in rows for name in row})
    return {name: spread([row[name] for row in rows if name in row]) for name in names}


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Return least, median and most."""
    if not seconds:
        return {}
    found = {"least": min(seconds), "median": statistics.median(seconds), "most": max(seconds)}
    return {name: round(value, 2) for name, value in found.items()}


def conclude(
    measure: Callable[[argparse.Namespace], Awaitable[dict[str, Any]]], told: argparse.Namespace
) -> None:
    """Measure, print what was found as one JSON object, and write it to a file if one is named.

    SIGTERM ends it as Ctrl-C does: servers and router are taken away.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    text = json.dumps(anyio.run(measure, told), indent=2)
    print(text)
    if told.json:
        told.json.write_text(f"{text}\n")


def parser_of(about: str | None) -> argparse.ArgumentParser:
    """Return a parser with what every benchmark of deployments can be told."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=6.0)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--seconds", type=float, default=LONGEST)
    parser.add_argument("--json", type=Path)
    return parser


def main() -> None:
    """Measure, and print one JSON object."""
    parser = parser_of(__doc__)
    parser.add_argument("--switches", type=int, default=40)
    parser.add_argument("--aborts", type=int, default=20)
    parser.add_argument("--replacements", type=int, default=5)
    told = parser.parse_args()
    conclude(measured, told)


if __name__ == "__main__":
    main()
