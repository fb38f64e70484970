"""How truly load clients measure: all of them against a server whose timing is known.

    python -m benchmarks.truth [--streams 1 8 64 256] [--rounds 3] [--sglang PYTHON]
                               [--out FILE.jsonl]

Each round asks the server of known timing (`tests/fakes/timed.py`: its own process and core,
never sleeping) the same load by every client in random order, each a process of its own on
one other core: ours, aiohttp, httpx, and with `--sglang`, a Python that SGLang is installed
in, `sglang.bench_serving` and SGLang's Rust client. What a client says is held against what
the server noted in the same run:

- TTFT error: the client's p50, p95, p99 and mean less those of the server's truth, in ms.
- ITL error: the same of inter-token latencies, in percent of the truth.
- Throughput: whole requests a second, and in percent of what the server's timing allows.
- CPU: milliseconds of the client's CPU time a request.
- Stamp lag, where the client's clock is known: token by token, how long after the server
  wrote it a client says that it came, in ms.

The goals are TTFT within 1 ms and ITL within 1 % at 64 streams, and less CPU a request than
any Python peer. Nothing else may run on the machine. Every run is one line of the file.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.truth_peers import CLIENTS, body, prompts
from ci.bench.percentiles import rank_value
from ci.platform import TINY_MODEL
from tests.fakes.timed import Timed, Timing, Truth

SGLANG = {"bench_serving": "serving", "sglang rust": "rust"}
LEVELS = (50, 95, 99)
LIMIT = 600
"""Most seconds of one client's run."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """One load: streams, requests, tokens a request, and the server's timing."""

    streams: int
    requests: int
    tokens: int
    timing: Timing

    @property
    def ideal(self) -> float:
        """Requests a second if nothing but the server's timing took time."""
        return self.streams / (self.timing.ttft + (self.tokens - 1) * self.timing.itl)


def plan_of(streams: int, told: argparse.Namespace) -> Plan:
    """Return the load for a number of streams; slower tokens where there are very many."""
    itl = told.itl * max(1, streams // 64)
    timing = Timing(ttft=told.ttft, itl=itl, step=told.step, spin=told.cores[0] >= 0)
    return Plan(streams, max(32, told.each * streams), told.tokens, timing)


def argv_of(client: str, url: str, plan: Plan, told: argparse.Namespace) -> list[str]:
    """Return how a client is run."""
    load = [url, str(plan.streams), str(plan.requests), str(plan.tokens), str(told.cores[1])]
    if client in CLIENTS:
        return [sys.executable, "-m", "benchmarks.truth_peers", client, *load]
    script = str(Path(__file__).with_name("truth_sglang.py"))
    return [told.sglang, script, SGLANG[client], *load, str(TINY_MODEL)]


def measure(client: str, server: Timed, plan: Plan, told: argparse.Namespace) -> Row:
    """Run one client, and return its figures beside the truth."""
    warm(server.url, plan)
    server.reset()
    ran = subprocess.run(
        argv_of(client, server.url, plan, told), capture_output=True, timeout=LIMIT, check=False
    )
    about = {"client": client, "streams": plan.streams, "requests": plan.requests}
    if ran.returncode:
        return about | {"failed": ran.stderr.decode().strip()[-500:]}
    said = json.loads(ran.stdout.splitlines()[-1])
    truth = sorted(server.truth(), key=lambda note: note.received)[-plan.requests :]
    return about | figures(said, truth, plan)


def warm(url: str, plan: Plan) -> None:
    """Ask for one stream, so that the server has made all that it will say."""
    (prompt,) = prompts(1, plan.tokens)
    httpx.post(f"{url}/generate", json=body(prompt), timeout=LIMIT).raise_for_status()


def figures(said: Mapping[str, Any], truth: Sequence[Truth], plan: Plan) -> Row:
    """Return what a client got wrong, and what it spent."""
    rate = len(said["ttfts"]) / said["seconds"]
    true_itls = [gap for note in truth for gap in note.itls]
    ttft = differences(said["ttfts"], [note.ttft for note in truth])
    itl = differences(said["itls"], true_itls, relative=True)
    return {
        "ttft_error_ms": {name: 1e3 * value for name, value in ttft.items()},
        "itl_error_percent": {name: 100 * value for name, value in itl.items()},
        "true_ttft_ms": 1e3 * statistics.median(note.ttft for note in truth),
        "true_itl_ms": 1e3 * statistics.median(true_itls),
        "requests_per_second": rate,
        "share_of_ideal_percent": 100 * rate / plan.ideal,
        "cpu_ms_per_request": 1e3 * said["cpu"] / len(said["ttfts"]),
        "stamp_lag_ms": lags(said.get("stamps"), truth),
    }


def differences(
    said: Sequence[float], true: Sequence[float], *, relative: bool = False
) -> dict[str, float]:
    """Return by how much figures of a client differ from the truth, by their names."""
    ours, theirs = sorted(said), sorted(true)
    pairs = {f"p{level}": (rank_value(ours, level), rank_value(theirs, level)) for level in LEVELS}
    pairs["mean"] = (statistics.fmean(said), statistics.fmean(true))
    return {name: (one - two) / (two if relative else 1.0) for name, (one, two) in pairs.items()}


def lags(
    stamps: Mapping[str, Sequence[float]] | None, truth: Sequence[Truth]
) -> dict[str, float] | None:
    """Return how late tokens were stamped; None where the client's clock isn't known."""
    if stamps is None:
        return None
    found = sorted(_lags(stamps, truth))
    return {f"p{level}": 1e3 * rank_value(found, level) for level in LEVELS}


def _lags(stamps: Mapping[str, Sequence[float]], truth: Sequence[Truth]) -> Iterator[float]:
    for note in truth:
        pairs = zip(stamps[note.prompt], note.writes, strict=True)
        yield from (came - written for came, written in pairs)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a Markdown table: the median over the rounds of each figure."""
    heads = [
        "streams",
        "client",
        "TTFT error p50 / p99 ms",
        "ITL error p50 / p99 %",
        "requests/s (of ideal)",
        "CPU ms/request",
        "stamp lag p50 / p99 ms",
        "runs",
    ]
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for streams, client in dict.fromkeys((row["streams"], row["client"]) for row in rows):
        yield line([row for row in rows if (row["streams"], row["client"]) == (streams, client)])


def line(rows: Sequence[Row]) -> str:
    """Return one line of the table, from the runs of one client at one number of streams."""
    good = [row for row in rows if "failed" not in row]
    about = [str(rows[0]["streams"]), rows[0]["client"]]
    if not good:
        return f"| {' | '.join([*about, 'failed', *[''] * 4, str(len(rows))])} |"

    def of(name: str, key: str = "") -> float:
        values = (float(row[name][key] if key else row[name]) for row in good)
        return statistics.median(values)

    def both(name: str) -> str:
        return f"{of(name, 'p50'):+.2f} / {of(name, 'p99'):+.2f}"

    rate = f"{of('requests_per_second'):.1f} ({of('share_of_ideal_percent'):.0f} %)"
    lag = both("stamp_lag_ms") if good[0]["stamp_lag_ms"] else ""
    errors = [both("ttft_error_ms"), both("itl_error_percent")]
    cpu = f"{of('cpu_ms_per_request'):.2f}"
    return f"| {' | '.join([*about, *errors, rate, cpu, lag, f'{len(good)}/{len(rows)}'])} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all, a line a run on standard output, and the table at the end."""
    told = parse(arguments)
    clients = [*CLIENTS, *(SGLANG if told.sglang else ())]
    clients = [client for client in clients if not told.clients or client in told.clients]
    rows: list[Row] = []
    for _ in range(told.rounds):
        for streams in told.streams:
            plan = plan_of(streams, told)
            core = told.cores[0] if told.cores[0] >= 0 else None
            with Timed(plan.timing, core=core) as server:
                for client in random.sample(clients, len(clients)):
                    rows.append(measure(client, server, plan, told))
                    print(json.dumps(rows[-1]), flush=True)
    if told.out:
        told.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    order = [*dict.fromkeys(clients)]
    rows.sort(key=lambda row: (row["streams"], order.index(row["client"])))
    print("\n".join(table(rows)))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--each", type=int, default=6, help="requests a stream")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--ttft", type=float, default=0.02)
    parser.add_argument("--itl", type=float, default=0.005, help="up to 64 streams")
    parser.add_argument("--step", type=float, default=0.0, help="tick on which all streams write")
    parser.add_argument("--clients", nargs="*", default=[], help="only these")
    parser.add_argument("--sglang", help="a Python that SGLang is installed in")
    parser.add_argument(
        "--cores", type=int, nargs=2, default=[0, 1], help="of server and client; -1 for any"
    )
    parser.add_argument("--out", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
