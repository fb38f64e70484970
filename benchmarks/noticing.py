"""How soon a server is noticed to be ready, or dead, against one of known timing.

    python -m benchmarks.noticing [--trials 40] [--json FILE]

The server is a process of its own behind the real `launch.sh`, in an installation in which
SGLang is this file. At random times it opens its port, and then becomes ready, ends, or does
neither; it writes down when, on the clock that all processes of a machine share
(CLOCK_MONOTONIC). Each trial is one whole readiness check; its figure is how much later than
the truth the check knew. A server is watched in the three ways that there are: as our own
process, by its URL and log, by its URL alone. Goals at p95: ready 0.1 s, dead 1 s.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
from rich.console import Console
from rich.table import Table

from ci.boot.launch import Launch
from ci.boot.log import ServerLog, follow
from ci.boot.port import reserved
from ci.boot.process import ServerProcess, running
from ci.boot.readiness import Readiness
from ci.platform import TINY_MODEL
from ci.report.console import PlainProgress
from ci.report.model import Check
from ci.settings import ReadinessSettings
from ci.settings.model import SGLANG_VERSION
from ci.stages import checked
from ci.verdict import Verdict

ROOT = Path(__file__).parents[1]
PLAN, TRUTH = "NOTICING_PLAN", "NOTICING_TRUTH"
DICE = random.Random()  # noqa: S311
BUDGET = 0.5
"""Seconds of the phase `serving` where the server never gets ready."""
GOALS = {"ready": 0.1, "dead": 1.0, "hung": 1.0}
WAYS = {"ready": ("process", "log", "url"), "dead": ("process", "log", "url"), "hung": ("url",)}
ANSWERS = {
    "/model_info": {"model_path": "truth"},
    "/generate": {"meta_info": {"completion_tokens": 1}},
}


class _Handler(BaseHTTPRequestHandler):
    """Says 503 at `/ready` until it is ready, and has one token for everybody."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet, as real servers send them
    ready = threading.Event()

    def do_GET(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.dumps(ANSWERS.get(self.path, {})).encode()
        self.send_response(200 if self.ready.is_set() or self.path != "/ready" else 503)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


def serve() -> None:
    """Be the server of known timing; the plan and the place for the truth are variables."""
    plan, truth = json.loads(os.environ[PLAN]), Path(os.environ[TRUTH])
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--port", type=int)
    port = parser.parse_known_args()[0].port
    time.sleep(plan["open_after"])
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    time.sleep(plan["act_after"])
    now = time.monotonic()
    if plan["what"] == "ready":
        _Handler.ready.set()
    part = truth.with_suffix(".part")
    part.write_text(repr(now))
    part.replace(truth)
    if plan["what"] == "dead":
        os._exit(7)
    threading.Event().wait()


def install(folder: Path) -> str:
    """Make an installation of this file as SGLang, and return the PYTHONPATH to it."""
    package, about = folder / "sglang", folder / f"sglang-{SGLANG_VERSION}.dist-info"
    package.mkdir()
    about.mkdir()
    (package / "__init__.py").touch()
    (package / "launch_server.py").write_text("from benchmarks.noticing import serve\nserve()\n")
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: sglang\nVersion: {SGLANG_VERSION}\n"
    )
    return os.pathsep.join([str(folder), str(ROOT)])


@asynccontextmanager
async def watched(way: str, server: ServerProcess, log_file: Path) -> AsyncIterator[dict[str, Any]]:
    """Yield what the readiness check is told of the server, watched in one of the ways."""
    if way == "process":
        yield {"process": server, "log": server.log}
    elif way == "url":
        yield {}
    else:
        log = ServerLog(anyio.current_time())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow, log_file, log)
            yield {"log": log}
            tasks.cancel_scope.cancel()


async def trial(path: str, what: str, way: str) -> float:
    """Return how many seconds after the truth one check knew it."""
    plan = {"what": what, "open_after": DICE.uniform(0, 0.3), "act_after": DICE.uniform(0.2, 0.8)}
    kept = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # its last log may come late
    with kept as folder, reserved("127.0.0.1", 0) as port:
        truth, log_file = Path(folder, "truth"), Path(folder, "server.log")
        variables = {"PYTHONPATH": path, PLAN: json.dumps(plan), TRUTH: str(truth)}
        variables |= {"LOG_FILE": str(log_file)} if way == "log" else {}
        launch = Launch(TINY_MODEL, "127.0.0.1", port, "cpu", environment=variables)
        budgets = ReadinessSettings(serving=BUDGET) if what == "hung" else ReadinessSettings()
        async with running(launch) as server, watched(way, server, log_file) as known:
            check = await _check(server.url, budgets, known)
            knew = anyio.current_time()
            right = Verdict.PASSED if what == "ready" else Verdict.FAILED
            assert check.verdict is right, check.cause
            if what == "hung":
                return check.phases[-1].seconds - BUDGET
            return knew - float(await _written(anyio.Path(truth)))


async def _written(truth: anyio.Path) -> str:
    """Return the truth; the server may still be writing it down."""
    with anyio.fail_after(10):
        while not await truth.exists():
            await anyio.sleep(0.005)
    return await truth.read_text()


async def _check(url: str, budgets: ReadinessSettings, known: dict[str, Any]) -> Check:
    with open(os.devnull, "w", encoding="utf-8") as nobody:  # noqa: PTH123, ASYNC230
        way = Readiness(url, budgets, PlainProgress(nobody), **known)
        return await checked("readiness", way.wait)


def figures(seconds: list[float]) -> dict[str, float]:
    """Return the median, the 95th percentile (nearest rank) and the maximum."""
    ranked = sorted(seconds)

    def rank(share: float) -> float:
        return round(ranked[math.ceil(share * len(ranked)) - 1], 4)

    return {"p50": rank(0.5), "p95": rank(0.95), "max": rank(1.0)}


def measure(trials: int, tell: Callable[[str], None]) -> dict[str, dict[str, float]]:
    """Return the figures of each outcome and way, all trials in random order."""
    kinds = [(what, way) for what, ways in WAYS.items() for way in ways]
    found: dict[tuple[str, str], list[float]] = {kind: [] for kind in kinds}
    order = kinds * trials
    DICE.shuffle(order)
    with tempfile.TemporaryDirectory() as folder:
        path = install(Path(folder))
        for at, kind in enumerate(order, start=1):
            found[kind].append(anyio.run(partial(trial, path, *kind)))
            tell(f"{at}/{len(order)} {kind[0]} by {kind[1]}: {found[kind][-1]:.3f} s")
    return {f"{what} by {way}": figures(found[what, way]) for what, way in kinds}


def main() -> None:
    """Measure, print a table, and exit with 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = measure(given.trials, lambda line: print(line, file=sys.stderr))
    table = Table("noticed after, s", "p50", "p95", "max", "goal at p95", "met")
    met = {name: at["p95"] <= GOALS[name.partition(" ")[0]] for name, at in found.items()}
    for name, at in found.items():
        shown = [f"{value:.3f}" for value in at.values()]
        table.add_row(
            name, *shown, str(GOALS[name.partition(" ")[0]]), "yes" if met[name] else "no"
        )
    Console().print(table)
    if given.json:
        given.json.write_text(
            json.dumps({"trials": given.trials, "seconds": found}, indent=1) + "\n"
        )
    sys.exit(0 if all(met.values()) else 1)


if __name__ == "__main__":
    main()
