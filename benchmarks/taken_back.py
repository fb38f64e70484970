"""How long a candidate that turns bad keeps its traffic, between two real SGLang behind HAProxy.

    python -m benchmarks.taken_back [--fault killed] [--each 5] [--rate 6]
        [--config FILE] [--seconds 540] [--json FILE]

Streams go on while a canary is deployed again and again. Once it has half of the traffic, it turns
bad: its processes are killed, or stopped so that it hangs, or every 33rd of its requests is
answered by 500. Printed are, for each fault, the seconds until its last new request, and until
what was there before is alone and at rest, and how many streams were lost. Each takes about a
minute.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import psutil

from benchmarks.switches import (
    Run,
    at_half,
    conclude,
    deployed,
    parser_of,
    settings_of,
    spread,
    streaming,
)
from ci.boot.port import reserved
from ci.deploy.demo import clear
from ci.deploy.world import SlotSeen
from ci.traffic.records import Ending
from ci.verdict import Verdict

CALM = 10.0
"""Seconds at half of the traffic before a candidate turns bad."""
LOOK = 0.1
"""Seconds between two looks at the router's count of a candidate's requests."""
ONE_OF = 33
TURNED = "SITE_TURNED_BAD"
SITE = f"""
import os

from fastapi import FastAPI

asked, answers = 0, FastAPI.__call__

async def answered(app, scope, receive, send):
    global asked
    if scope.get("path") != "/generate" or not os.path.exists(os.environ["{TURNED}"]):
        return await answers(app, scope, receive, send)
    asked += 1
    if asked % {ONE_OF}:
        return await answers(app, scope, receive, send)
    await send({{"type": "http.response.start", "status": 500, "headers": []}})
    await send({{"type": "http.response.body", "body": b"it turned bad"}})

FastAPI.__call__ = answered
"""
"""Read by the server's Python as it starts."""
Fault = Callable[[SlotSeen, Path], None]


def _signalled(number: signal.Signals) -> Fault:
    def act(slot: SlotSeen, _: Path) -> None:
        port = int(slot.address.rpartition(":")[2])
        (first,) = {
            one.pid
            for one in psutil.net_connections("tcp")
            if one.laddr.port == port and one.status == psutil.CONN_LISTEN and one.pid
        }
        server = psutil.Process(first)
        for process in (server, *server.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    return act


def _answers(_: SlotSeen, turned: Path) -> None:
    turned.touch()


FAULTS: dict[str, Fault] = {
    "killed": _signalled(signal.SIGKILL),
    "hung": _signalled(signal.SIGSTOP),
    "one of 33 answers is 500": _answers,
}


async def taken_back(run: Run, fault: Fault) -> tuple[float, float, Counter[Ending]] | None:
    """Let a candidate turn bad at half of the traffic.

    Returns:
        Seconds from then to its last new request, and to rest; and how streams ended since. None
        where it was taken back before, for another reason, which is told.
    """
    site = run.folder / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(SITE)
    (turned := run.folder / "turned").unlink(missing_ok=True)
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    deployment = run.deployment("canary", {"PYTHONPATH": path, TURNED: str(turned)})
    begin, last, before = 0.0, 0.0, 0

    async def turns_bad() -> None:
        nonlocal begin, last, before
        candidate = await at_half(deployment.grounds)
        await anyio.sleep(CALM)
        seen = await deployment.grounds.looked()
        begin, before = time.monotonic(), len(run.records)
        fault(seen.slots[candidate], turned)
        given = 0
        while True:
            routes = await deployment.grounds.router.seen()
            if (requests := routes[candidate].traffic.requests) > given:
                given, last = requests, time.monotonic()
            await anyio.sleep(LOOK)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turns_bad)
        check = await deployed(deployment, abort=False)
        tasks.cancel_scope.cancel()
    if not begin:
        print(f"not counted: {check.cause}", file=sys.stderr)
        return None
    if check.verdict is not Verdict.FAILED:
        sys.exit(f"a candidate that was to turn bad ended {check.verdict}: {check.cause}")
    print(check.cause, file=sys.stderr)
    rested = time.monotonic() - begin
    return last - begin, rested, Counter(one.ending for one in run.records[before:])


async def measured(told: argparse.Namespace) -> dict[str, Any]:
    """Let candidates turn bad, and return what was seen."""
    found: dict[str, Any] = {}
    with TemporaryDirectory(prefix="taken-back-") as folder, reserved("127.0.0.1", 0) as port:
        run = Run(Path(folder), port, settings_of(told), told.seconds)
        grounds = run.deployment("blue-green").grounds
        try:
            await run.switch()
            async with streaming(run, grounds.router.url, told.rate):
                for name in told.fault or FAULTS:
                    tried = [await taken_back(run, FAULTS[name]) for _ in run.left(told.each)]
                    each = [one for one in tried if one]
                    endings = sum((ends for *_, ends in each), Counter[Ending]())
                    found[name] = {
                        "seconds to its last request": spread([last for last, *_ in each]),
                        "seconds to rest": spread([rested for _, rested, _ in each]),
                        "streams": {str(end): count for end, count in endings.items()},
                    }
        finally:
            with anyio.CancelScope(shield=True):
                await clear(grounds)
    return found


def main() -> None:
    """Measure, and print one JSON object."""
    parser = parser_of(__doc__)
    parser.add_argument("--fault", action="append", choices=FAULTS)
    parser.add_argument("--each", type=int, default=5)
    told = parser.parse_args()
    conclude(measured, told)


if __name__ == "__main__":
    main()
