"""What our own HAProxy adds to the time to first token.

    python -m benchmarks.router_overhead [--streams 1 8 32] [--each 200] [--ttft 0.02]

A server of known timing (`tests/fakes/timed.py`, a process of its own) is asked for short
streams, closed loop, by as many clients as there are streams. Each asks both ways within a
pair, directly and through HAProxy as this package renders it, the order of a pair random, on
a connection of its own for each way. TTFT is from sending the request to the first event's
arrival. Printed are p50 and p99 of both and the median of the differences within pairs, in ms.
Every request is bounded, and one that isn't a whole stream ends the run.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import anyio
from anyio.abc import SocketStream

from ci.bench.percentiles import rank_value
from ci.boot.port import reserved
from ci.deploy.routers.haproxy_config import HaproxyOptions
from ci.deploy.routers.haproxy_process import start, stop
from tests.fakes.timed import Timed, Timing

LIMIT = 30.0
"""Most seconds of one request."""
TOKENS = 8
DIRECT, ROUTED = "direct", "routed"
END = b"0\r\n\r\n"

Pair = dict[str, float]


def request() -> bytes:
    """Return one request as it is sent, in one packet."""
    sampling = {"max_new_tokens": TOKENS}
    body = json.dumps({"text": "Hello", "stream": True, "sampling_params": sampling})
    head = f"POST /generate HTTP/1.1\r\nhost: bench\r\ncontent-length: {len(body)}\r\n\r\n"
    return (head + body).encode()


async def ttft(stream: SocketStream) -> float:
    """Ask for one stream, and return its TTFT in seconds."""
    received = b""
    first = 0.0
    with anyio.fail_after(LIMIT):
        begin = time.monotonic()
        await stream.send(request())
        while not received.endswith(END):
            received += await stream.receive()
            if not first and b"data: " in received:
                first = time.monotonic() - begin
    assert received.startswith(b"HTTP/1.1 200"), received[:200]
    assert received.count(b"data: {") == TOKENS
    return first


async def client(ports: dict[str, int], pairs: int, found: list[Pair]) -> None:
    """Ask pair after pair, each in random order."""
    streams = {way: await anyio.connect_tcp("127.0.0.1", port) for way, port in ports.items()}
    for _ in range(pairs):
        ways = random.sample([DIRECT, ROUTED], 2)
        found.append({way: await ttft(streams[way]) for way in ways})
    for stream in streams.values():
        await stream.aclose()


async def measured(ports: dict[str, int], streams: int, each: int) -> list[Pair]:
    """Return the TTFTs of all pairs; each client's first pair is for warming up."""
    await client(ports, 1, [])
    found: list[Pair] = []
    async with anyio.create_task_group() as tasks:
        for _ in range(streams):
            tasks.start_soon(client, ports, each, found)
    return found


def figures(found: list[Pair]) -> dict[str, float]:
    """Return percentiles in ms."""
    ways = {way: sorted(1e3 * pair[way] for pair in found) for way in (DIRECT, ROUTED)}
    table = {
        f"{way} p{level}": rank_value(values, level)
        for way, values in ways.items()
        for level in (50, 99)
    }
    differences = [1e3 * (pair[ROUTED] - pair[DIRECT]) for pair in found]
    table["median of differences"] = statistics.median(differences)
    return {name: round(value, 2) for name, value in table.items()}


async def run(told: argparse.Namespace) -> None:
    """Run server and router, measure, and print a line for each number of streams."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="router-")))
        port = stack.enter_context(reserved("127.0.0.1", 0))
        server = stack.enter_context(Timed(Timing(ttft=told.ttft, itl=0.005)))
        try:
            router = await start(folder, HaproxyOptions(bind=f"127.0.0.1:{port}"))
            await router.point("blue", f"127.0.0.1:{server.port}")
            await router.shift({"blue": 100})
            ports = {DIRECT: server.port, ROUTED: urlsplit(router.url).port or port}
            for streams in told.streams:
                found = await measured(ports, streams, told.each)
                print(json.dumps({"streams": streams, "pairs": len(found)} | figures(found)))
        finally:
            with anyio.CancelScope(shield=True):
                await stop(folder, grace=0.0)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--each", type=int, default=200, help="pairs of each client")
    parser.add_argument("--ttft", type=float, default=0.02)
    anyio.run(partial(run, parser.parse_args()))


if __name__ == "__main__":
    main()
