"""The noise of a pair of blocks by the length of prompts: which load can show a small slow-down?

    python -m benchmarks.lengths [--lengths 128:32 1024:24] [--pairs 10] [--settings FILE]
        [--cores 0-7 8-15] [--note TEXT] [--out lengths.jsonl]

Two servers of one image and settings are started once, as the gate would, and stay up. With each
load, TOKENS:REQUESTS, so many pairs of blocks are measured, the loads in turn, so that what the
machine does meanwhile meets all of them. Every pair is one line of the file; a table comes last.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import secrets
import statistics
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio

from ci.boot.device import device
from ci.gate.blocks import Arm, Block, medians
from ci.gate.loaded import loaded
from ci.gate.places import on_cores
from ci.gate.rounds import RoundDifferences
from ci.gate.rule import METRICS
from ci.gate.sides import Contest, GateSide, up
from ci.settings import Settings, load
from ci.stages import Stages
from tests.live.quiet import Quiet

Row = dict[str, Any]
_SEEDS = 2**31


def contest(settings: Settings, length: str) -> Contest:
    """Return the comparison whose blocks have prompts of TOKENS, REQUESTS of them."""
    tokens, _, requests = length.partition(":")
    update: Row = {"requests": int(requests)} if requests else {}
    at = {
        "bench": settings.bench.model_copy(update={"input": tokens}),
        "gate": settings.gate.model_copy(update=update),
    }
    return Contest.of(settings.model_copy(update=at))


async def pair(block: Block, urls: tuple[str, str]) -> dict[str, dict[str, float]]:
    """Return the medians of one pair: the same prompts, in the order of a coin."""
    seed, arms = secrets.randbelow(_SEEDS), dict(zip(Arm, urls, strict=True))
    order = random.Random(seed).sample(list(arms), 2)  # noqa: S311
    found = {arm: await block(arms[arm], seed) for arm in order}
    return {arm.value: dict(medians(found[arm], METRICS)) for arm in order}


async def run(settings: Settings, asked: Any) -> None:
    """Start twins, and measure all pairs."""
    stages = Stages(Quiet(), asked.out.parent)
    async with AsyncExitStack() as stack:
        urls = []
        for place, name in enumerate(Arm):
            with on_cores(settings.gate.cores, place):
                side = GateSide(name, settings=settings)
                urls.append(await stack.enter_async_context(up(side, stages)))
        blocks = {}
        for length in asked.lengths:
            of = contest(settings, length)
            blocks[length] = await stack.enter_async_context(loaded(of.asked, of.load))
        where = ", ".join(filter(None, (device(), " | ".join(settings.gate.cores), asked.note)))
        for number in range(asked.pairs + 1):
            for length, block in blocks.items():
                found = await pair(block, (urls[0], urls[1]))
                row = {"where": where, "load": length, "warm_up": not number} | found
                with asked.out.open("a", encoding="utf-8") as file:
                    file.write(f"{json.dumps(row)}\n")


def table(rows: list[Row]) -> Iterator[str]:
    """Yield what the file shows, as Markdown: pairs that warmed up don't count."""
    yield "| where | load | metric | pairs | median, ms | sd of a pair, % | lag-1 | mean, % |"
    yield "|---|---|---|---|---|---|---|---|"
    counted = [row for row in rows if not row["warm_up"]]
    for where, load_of in sorted({(row["where"], row["load"]) for row in counted}):
        some = [row for row in counted if (row["where"], row["load"]) == (where, load_of)]
        for metric in METRICS:
            seen = [{arm: row[arm][metric] for arm in Arm} for row in some]
            logs = [math.log(one[Arm.CANDIDATE] / one[Arm.BASELINE]) for one in seen]
            level = statistics.median(value for one in seen for value in one.values())
            alike = RoundDifferences([logs], 0.0, 1.0).alike
            figures = (100 * statistics.stdev(logs), alike, 100 * statistics.fmean(logs))
            told = " | ".join(f"{figure:.2f}" for figure in figures)
            head = f"| {where.replace('|', '/')} | {load_of} | {metric}"
            yield f"{head} | {len(logs)} | {1000 * level:.2f} | {told} |"


def read(path: Path) -> list[Row]:
    """Return the pairs of a file; none where there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return list(map(json.loads, lines))


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lengths", nargs="+", default=["128:32", "1024:24", "2048:16"])
    parser.add_argument("--pairs", type=int, default=10, help="0: only show the file")
    parser.add_argument("--settings", type=Path, help="what starts a server: a settings file")
    parser.add_argument("--cores", nargs=2, help="the cores of either place")
    parser.add_argument("--note", default="", help="what the machine does meanwhile")
    parser.add_argument("--out", type=Path, default=Path("lengths.jsonl"))
    asked: Any = parser.parse_args(argv)
    settings = load(asked.settings, {}).settings if asked.settings else Settings()
    at: Row = {"cores": tuple(asked.cores or settings.gate.cores)}
    settings = settings.model_copy(update={"gate": settings.gate.model_copy(update=at)})
    if asked.pairs:
        anyio.run(run, settings, asked)
    print("\n".join(table(read(asked.out))))


if __name__ == "__main__":
    main()
