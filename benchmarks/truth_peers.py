"""One load client against the server of known timing, in a process of its own.

    python -m benchmarks.truth_peers CLIENT URL STREAMS REQUESTS TOKENS CORE

Prints one JSON object: TTFT of each request and ITL of each token as the client measured
them, the time it took, the CPU time it spent, and where the client's own clock is known the
time stamps of all tokens by prompt. The peers are written as their documentation has it: one
shared session without a limit on connections, and every event parsed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any

from ci.bench.lengths import Lengths
from ci.bench.options import BenchOptions
from ci.bench.prompts import Prompt, SyntheticPrompts
from ci.bench.schedule import Closed
from ci.bench.session import open_session


@dataclass
class Seen:
    """What a client measured; times on the system's monotonic clock."""

    started: list[float] = field(default_factory=list)
    stamps: dict[str, list[float]] = field(default_factory=dict)
    ttfts: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu: float = 0.0

    def add(self, prompt: Prompt, started: float, stamps: list[float]) -> None:
        """Take in one stream."""
        self.stamps[key(prompt)] = stamps
        self.ttfts.append(stamps[0] - started)


def key(prompt: Prompt) -> str:
    """Return how the server names a prompt in its notes."""
    return json.dumps(list(prompt.input_ids[:8]))


def prompts(count: int, tokens: int) -> list[Prompt]:
    """Return the prompts that all clients send."""
    return list(islice(SyntheticPrompts(output=Lengths("fixed", tokens)).take("load 0"), count))


def body(prompt: Prompt) -> dict[str, Any]:
    """Return the request for a prompt."""
    parameters = {"max_new_tokens": prompt.output_tokens, "temperature": 0, "ignore_eos": True}
    return {"input_ids": prompt.input_ids, "sampling_params": parameters, "stream": True}


async def ours(url: str, streams: int, asked: list[Prompt], seen: Seen) -> None:
    """Measure with this package's client."""
    options = BenchOptions(
        prompts=SyntheticPrompts(output=Lengths("fixed", asked[0].output_tokens)), poll=0
    )
    async with open_session(url, options) as session:
        run = (await session.measure(Closed(streams, len(asked)), "load 0")).run
    for record in run.records:
        stamps = [time + run.origin for time in record.times]
        seen.add(asked[record.index], record.started + run.origin, stamps)
    seen.seconds, seen.cpu = run.effort.seconds, run.effort.cpu_seconds


Ask = Callable[[Prompt], Awaitable[tuple[float, list[float]]]]


async def drive(streams: int, asked: list[Prompt], seen: Seen, ask: Ask) -> None:
    """Keep `streams` requests under way until all are answered."""
    waiting = iter(asked)

    async def work() -> None:
        for prompt in waiting:
            seen.add(prompt, *await ask(prompt))

    wall, cpu = time.monotonic(), time.process_time()
    await asyncio.gather(*(work() for _ in range(streams)))
    seen.seconds, seen.cpu = time.monotonic() - wall, time.process_time() - cpu


def tokens_of(line: bytes | str) -> int:
    """Return the output tokens that an event tells; 0 for none."""
    data = line[len("data: ") :].strip()
    if len(data) <= len("[DONE]"):
        return 0
    return int(json.loads(data)["meta_info"]["completion_tokens"])


async def by_aiohttp(url: str, streams: int, asked: list[Prompt], seen: Seen) -> None:
    """Measure with aiohttp."""
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(prompt: Prompt) -> tuple[float, list[float]]:
            started, stamps = time.monotonic(), []
            async with session.post(f"{url}/generate", json=body(prompt)) as response:
                async for line in response.content:
                    now = time.monotonic()
                    if tokens_of(line):
                        stamps.append(now)
            return started, stamps

        await drive(streams, asked, seen, ask)


async def by_httpx(url: str, streams: int, asked: list[Prompt], seen: Seen) -> None:
    """Measure with httpx."""
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=300, trust_env=False) as client:

        async def ask(prompt: Prompt) -> tuple[float, list[float]]:
            started, stamps = time.monotonic(), []
            async with client.stream("POST", f"{url}/generate", json=body(prompt)) as response:
                async for line in response.aiter_lines():
                    now = time.monotonic()
                    if tokens_of(line):
                        stamps.append(now)
            return started, stamps

        await drive(streams, asked, seen, ask)


CLIENTS = {"ours": ours, "aiohttp": by_aiohttp, "httpx": by_httpx}


def itls(seen: Seen) -> Iterator[float]:
    """Yield the gaps between the tokens of every stream."""
    for stamps in seen.stamps.values():
        yield from (later - earlier for earlier, later in pairwise(stamps))


def main(client: str, url: str, streams: int, requests: int, tokens: int, core: int) -> None:
    """Measure, and print."""
    if core >= 0:
        os.sched_setaffinity(0, {core})
    seen, asked = Seen(), prompts(requests, tokens)
    gc.collect()
    asyncio.run(CLIENTS[client](url, streams, asked, seen))
    told = {"ttfts": seen.ttfts, "itls": list(itls(seen)), "stamps": seen.stamps}
    print(json.dumps(told | {"seconds": seen.seconds, "cpu": seen.cpu}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:7]))
