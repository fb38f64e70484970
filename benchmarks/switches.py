"""Streams lost over many switches and aborts, through a real HAProxy between two real SGLang.

    python -m benchmarks.switches [--switches 40] [--aborts 20] [--replacements 5] [--rate 6]
        [--json FILE]

What is installed here is deployed again and again while streams go on: first blue-green, each
release in the place of the one before, then canaries that are aborted at half of the traffic.
Each is the very deployment that `sglang-ci deploy` makes: started, proven, shifted, drained,
stopped. Printed are the streams by how they ended, the highest rate of losses that this leaves
possible (95 %), how long a switch and an abort took, and how long after its command the slot that
loses its traffic still got a new request, in seconds. Each takes about a minute. At the end one
copy replaces another, without streams: seconds without a server, and what took them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio

from ci.boot.port import reserved
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


@dataclass
class Run:
    """What is deployed to, and what was seen.

    Args:
        folder: Keeps slots and router.
        port: The router's.
    """

    folder: Path
    port: int
    records: list[StreamRecord] = field(default_factory=list)
    begun: float = 0.0
    number: int = 0

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
        settings = Settings.model_validate(
            {
                "server": {
                    "flags": [f"--random-seed={self.number}"],
                    "environment": {"OMP_NUM_THREADS": "1", **(environment or {})},
                },
                "smoke": {"select": "greedy"},
                "environments": {ENVIRONMENT: {"deploy": deploy}},
            }
        )
        return Deployment(Grounds.of(settings, ENVIRONMENT))

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
    with TemporaryDirectory(prefix="switch-") as folder, reserved("127.0.0.1", 0) as port:
        run = Run(Path(folder), port)
        grounds = run.deployment("blue-green").grounds
        try:
            await run.switch()
            async with streaming(run, grounds.router.url, told.rate):
                switches = [await run.switch() for _ in range(told.switches)]
                aborts = [await run.abort() for _ in range(told.aborts)]
            replaced = [await run.replace() for _ in range(told.replacements)]
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
        "seconds from a switch's command to the last request before it": spread(
            [last for _, last in switches]
        ),
        "seconds from abort to rest": spread([rested for rested, _ in aborts]),
        "seconds from abort to its last request": spread([last for _, last in aborts]),
        "seconds of a replacement": {
            name: spread([one[name] for one in replaced if name in one])
            for name in sorted({name for one in replaced for name in one})
        },
    }


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Return least, median and most."""
    if not seconds:
        return {}
    found = {"least": min(seconds), "median": statistics.median(seconds), "most": max(seconds)}
    return {name: round(value, 2) for name, value in found.items()}


def tell(found: dict[str, Any], file: Path | None) -> None:
    """Print what was found as one JSON object, and write it to a file where one is named."""
    text = json.dumps(found, indent=2)
    print(text)
    if file:
        file.write_text(f"{text}\n")


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--switches", type=int, default=40)
    parser.add_argument("--aborts", type=int, default=20)
    parser.add_argument("--replacements", type=int, default=5)
    parser.add_argument("--rate", type=float, default=6.0)
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    tell(anyio.run(measured, told), told.json)


if __name__ == "__main__":
    main()
