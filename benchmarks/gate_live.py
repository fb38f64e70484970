"""How the gate does on live servers: equal ones, and one that is slower by a known share.

    python -m benchmarks.gate_live [--rounds 8] [--slower 0.10] [--finer] [--out FOLDER]

Each round boots two real servers of the packaged tiny model on this machine. First they are
compared as they are, over all pairs without an early end, so that their pairs can be run
through `benchmarks.gate` later; the verdict is the one that the schedule would have ended
with. Then one is slowed by the proxy of the self-test, and the comparison is run as a user's
would be. With `--finer` the rule asks for 5 % (least effect 2.5 %, 48 pairs, no repeat), and
the proxy slows by that. Every comparison is one line of `rounds.jsonl`; the pairs of equal
servers lie beside it.
"""

from __future__ import annotations

import argparse
import json
import secrets
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import anyio

from ci.bench.configured import bench_options
from ci.gate.blocks import Block, columns, write_pairs
from ci.gate.compare import Comparison, Options, compare
from ci.gate.configured import block_load, block_options
from ci.gate.decide import Decision, decide
from ci.gate.loaded import loaded
from ci.gate.power import interval
from ci.gate.rule import Rule
from ci.gate.sequential import Schedule
from ci.gate.slowed import slowed
from ci.gate.stage import GateSide, up
from ci.settings import BenchSettings, GateSettings
from ci.stages import Stages
from ci.verdict import Verdict
from tests.live.quiet import Quiet

COARSE = Options()
FINER = Options(rule=Rule(slowdown=0.05, least=0.025), schedule=Schedule(48, repeat=False))
_SEEDS = 2**31


@dataclass(frozen=True)
class Row:
    """One comparison: how much slower the candidate was, and how it ended."""

    round: int
    slower: float
    verdict: str
    pairs: int
    seconds: float
    ratios: dict[str, float]
    cut: str


def replayed(found: Comparison, options: Options) -> Decision | None:
    """Return the decision with which `options` would have ended the pairs that were measured."""
    seen, decision = columns(found.pairs, options.rule.metrics), None
    for look in options.schedule.looks(options.rule):
        if look.pairs > len(found.pairs):
            break
        first = {metric: values[: look.pairs] for metric, values in seen.items()}
        decision = decide(first, options.rule, look)
        if decision.ends:
            break
    return decision


async def comparison(block: Block, names: tuple[str, str], options: Options) -> Comparison:
    """Compare two servers with prompts that none of them has seen."""
    return await compare(block, *names, replace(options, seed=secrets.randbelow(_SEEDS)))


async def one_round(number: int, asked: Options, slower: float, out: Path) -> list[Row]:
    """Boot two servers and compare them twice."""
    stages = Stages(Quiet(), out)
    at, load = block_options(bench_options(BenchSettings())), block_load(GateSettings())
    rows = []
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        one, two = [await enter(up(GateSide(name), stages)) for name in ("baseline", "candidate")]
        block = await enter(loaded(at, load))
        whole = replace(asked, schedule=replace(asked.schedule, interim=False, repeat=False))
        begin = time.monotonic()
        equal = await comparison(block, (one, two), whole)
        seconds = time.monotonic() - begin
        write_pairs(out / f"equal-{number}.jsonl", equal.pairs)
        decision = replayed(equal, asked)
        share = decision.look.pairs / len(equal.pairs) if decision else 1.0
        rows.append(_row(number, 0.0, equal, decision, seconds * share))
        via = [await enter(slowed(one, 0.0)), await enter(slowed(two, slower))]
        begin = time.monotonic()
        found = await comparison(block, (via[0], via[1]), asked)
        rows.append(_row(number, slower, found, found.decision, time.monotonic() - begin))
    return rows


def _row(
    number: int, slower: float, found: Comparison, decision: Decision | None, seconds: float
) -> Row:
    findings = decision.findings if decision else ()
    return Row(
        round=number,
        slower=slower,
        verdict=str(decision.verdict if decision and not found.cut else Verdict.INCONCLUSIVE),
        pairs=decision.look.pairs if decision else len(found.pairs),
        seconds=round(seconds, 1),
        ratios={one.metric: round(one.ratio, 4) for one in findings},
        cut=found.cut,
    )


async def run(rounds: int, asked: Options, slower: float, out: Path) -> list[Row]:
    """Do all rounds, and keep each as soon as it is over."""
    rows: list[Row] = []
    for number in range(rounds):
        for row in await one_round(number, asked, slower, out):
            rows.append(row)
            with (out / "rounds.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row)) + "\n")
            print(json.dumps(asdict(row)), flush=True)
    return rows


def table(rows: list[Row]) -> str:
    """Return verdicts with 95 % intervals, as Markdown."""
    lines = [
        "| candidate | runs | FAILED (95 % interval) | PASSED | INCONCLUSIVE | pairs | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for slower in sorted({row.slower for row in rows}):
        some = [row for row in rows if row.slower == slower]
        seen = Counter(row.verdict for row in some)
        low, high = interval(seen["FAILED"], len(some))
        pairs = sum(row.pairs for row in some) / len(some)
        seconds = sum(row.seconds for row in some) / len(some)
        lines.append(
            f"| {f'+{slower:.0%}' if slower else 'equal'} | {len(some)} "
            f"| {seen['FAILED']} ({low:.0%}-{high:.0%}) | {seen['PASSED']} "
            f"| {seen['INCONCLUSIVE']} | {pairs:.1f} | {seconds:.0f} |"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--slower", type=float)
    parser.add_argument("--finer", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("gate-live"))
    asked: Any = parser.parse_args(argv)
    options = FINER if asked.finer else COARSE
    slower = options.rule.slowdown if asked.slower is None else asked.slower
    asked.out.mkdir(parents=True, exist_ok=True)
    print(table(anyio.run(run, asked.rounds, options, slower, asked.out)))


if __name__ == "__main__":
    main()
