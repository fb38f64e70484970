"""How the gate does on live servers: fresh twins, and images that are slower by a known share.

    python -m benchmarks.gate_live [--rounds 8] [--slower 0 0.05 0.1] [--by sleep] [--finer]
        [--seconds 1500] [--settings FILE] [--cores 0 1] [--disturb 1] [--note TEXT]
        [--out gate-live.jsonl]

Each comparison is that of two settings files: it starts both sides itself, and anew where it is
unclear. What makes a candidate slower is `--by`:

- `sleep`: SGLang's own `/slow_down`, which sleeps in the scheduler before each forward pass, by
  that share of the baseline's TPOT; TTFT grows by less. On a GPU the sleep is hidden behind the
  pass before it (the overlap scheduler), until it is longer than that.
- `proxy`: the self-test's proxy, before both sides, so that TTFT, TPOT and e2e are all longer by
  exactly that share.

With `--finer` the rule asks for 5 % (least effect 2.5 %, 48 pairs). `--disturb N` lets N processes
work for two seconds of every six beside it.

Every comparison is one line of the file as soon as it is over, its pairs included, so that several
sessions add up; no comparison begins after `--seconds`. At the end the whole file is shown, with
what other rules say of the same records (`benchmarks.gate_rivals`).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import secrets
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx

from benchmarks.gate_rivals import LIVE_RIVALS
from ci.boot.device import device
from ci.gate.blocks import Arm, Block, Pair, medians
from ci.gate.compare import Comparison, compare_rounds
from ci.gate.measured import Running
from ci.gate.power import interval
from ci.gate.sides import Contest, GateSide, fresh_round
from ci.gate.slowed import slowed
from ci.settings import Settings, load
from ci.stages import Stages
from ci.verdict import Verdict
from tests.live.quiet import Quiet

FINER = {"slowdown": 0.05, "least": 0.025, "pairs": 48}
SLEEP, PROXY = "sleep", "proxy"
"""What makes a candidate slower."""
CALIBRATION = 3
"""Blocks on the baseline by which a slow-down is set."""
ON, OFF = 2.0, 4.0
_SEEDS = 2**31


@dataclass(frozen=True)
class LiveLine:
    """One comparison: how much slower the candidate was, and how it ended.

    Args:
        where: The machine, the cores of either place, and what the caller says of it.
        slower: Share of the baseline's TPOT by which the candidate was slowed.
        verdict: How it ended.
        rounds: Starts of both sides that it took.
        seconds: How long it took, starts included.
        ratios: Candidate over baseline, by metric.
        disturbed: Pairs that were measured anew for other work.
        counted: Pairs that count in spite of it.
        waited: Seconds that were waited for a quiet machine.
        effect: What was believed of starts, by metric, and where that came from.
        cut: Why it ended without a decision.
        pairs: All pairs.
        by: What made the candidate slower.
        findings: Each metric's verdict and the bounds of its ratio.
    """

    where: str
    slower: float
    verdict: str
    rounds: int
    seconds: float
    ratios: dict[str, float]
    disturbed: int
    counted: int
    waited: float
    effect: dict[str, Any]
    cut: str
    pairs: tuple[Pair, ...]
    by: str = SLEEP
    findings: dict[str, tuple[str, float, float]] = field(default_factory=dict)

    def text(self) -> str:
        """Return the line of the file."""
        pairs = [pair.model_dump(mode="json") for pair in self.pairs]
        return json.dumps(asdict(replace(self, pairs=())) | {"pairs": pairs})


def read(path: Path) -> list[LiveLine]:
    """Return the comparisons of a file; none where there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = map(json.loads, lines)
    return [
        LiveLine(**one | {"pairs": tuple(map(Pair.model_validate, one["pairs"]))}) for one in kept
    ]


async def typical(block: Block, url: str) -> float:
    """Return a server's seconds per token under the load of a block."""
    found = [await block(url, secrets.randbelow(_SEEDS)) for _ in range(CALIBRATION)]
    return statistics.median(medians(one, ["tpot"])["tpot"] for one in found)


@asynccontextmanager
async def slow_round(
    contest: Contest, stages: Stages, side: GateSide, slower: float, number: int
) -> AsyncIterator[Running]:
    """Have two servers of one image run, the candidate slowed by itself."""
    sides = side, replace(side, name=Arm.CANDIDATE)
    async with fresh_round(contest, stages, sides, number) as at:
        if slower:
            seconds = slower * await typical(at.block, at.baseline)
            async with httpx.AsyncClient(timeout=30) as client:
                url, body = f"{at.candidate}/slow_down", {"forward_sleep_time": seconds}
                (await client.post(url, json=body)).raise_for_status()
        yield at


@asynccontextmanager
async def proxied_round(
    contest: Contest, stages: Stages, side: GateSide, slower: float, number: int
) -> AsyncIterator[Running]:
    """Have two servers of one image run, each behind a proxy, of which the candidate's slows."""
    sides = side, replace(side, name=Arm.CANDIDATE)
    async with (
        fresh_round(contest, stages, sides, number) as at,
        slowed(at.baseline, 0.0) as baseline,
        slowed(at.candidate, slower) as candidate,
    ):
        yield replace(at, baseline=baseline, candidate=candidate)


ROUNDS = {SLEEP: slow_round, PROXY: proxied_round}


async def comparison(settings: Settings, asked: Any, slower: float) -> LiveLine:
    """Compare twins, one of them slowed."""
    side = GateSide(Arm.BASELINE, settings=settings)
    contest = Contest.of(settings, side)
    stages, begin = Stages(Quiet(), asked.out.parent), time.monotonic()
    with disturbed(asked.disturb):
        fresh = partial(ROUNDS[asked.by], contest, stages, side, slower)
        found = await compare_rounds(fresh, contest.options)
    line = line_of(found, where(asked, settings), slower, time.monotonic() - begin)
    return replace(line, by=asked.by)


def where(asked: Any, settings: Settings) -> str:
    """Return the machine, the cores, and what works beside."""
    beside = f"{asked.disturb} beside" if asked.disturb else ""
    finer = "asked for 5 %" if asked.finer else ""
    cores = " | ".join(settings.gate.cores)
    return ", ".join(filter(None, (device(), cores, beside, finer, asked.note)))


def line_of(found: Comparison, where: str, slower: float, seconds: float) -> LiveLine:
    """Return what is kept of a comparison."""
    findings = found.decision.findings if found.decision else ()
    effect = found.options.effect
    return LiveLine(
        where=where,
        slower=slower,
        verdict=str(found.verdict),
        rounds=found.rounds,
        seconds=round(seconds, 1),
        ratios={one.metric: round(one.ratio, 4) for one in findings},
        disturbed=len(found.disturbed),
        counted=len(found.counted),
        waited=round(found.waited, 1),
        effect={**effect.spread, "source": effect.source} if effect else {},
        cut=found.cut,
        pairs=found.pairs,
        findings={
            one.metric: (str(one.verdict), round(one.low, 4), round(one.high, 4))
            for one in findings
        },
    )


@contextmanager
def disturbed(workers: int) -> Iterator[None]:
    """Let so many processes work for a third of the time."""
    context = multiprocessing.get_context("spawn")
    beside = [context.Process(target=work, daemon=True) for _ in range(workers)]
    for one in beside:
        one.start()
    try:
        yield
    finally:
        for one in beside:
            one.kill()
            one.join()


def work() -> None:
    """Take a core for two seconds of every six."""
    while True:
        until = time.monotonic() + ON
        while time.monotonic() < until:
            pass
        time.sleep(OFF)


async def run(settings: Settings, asked: Any) -> None:
    """Do all comparisons, and keep each as soon as it is over."""
    begin, dice = time.monotonic(), random.Random()  # noqa: S311
    for _ in range(asked.rounds):
        for slower in dice.sample(asked.slower, len(asked.slower)):
            if time.monotonic() - begin > asked.seconds:
                return
            line = await comparison(settings, asked, slower)
            with asked.out.open("a", encoding="utf-8") as file:
                file.write(f"{line.text()}\n")
            told = ", ".join(f"{metric} {ratio - 1:+.1%}" for metric, ratio in line.ratios.items())
            took = f"{line.rounds} starts, {line.seconds:.0f} s"
            print(f"+{slower:.0%}: {line.verdict}, {took}: {told} {line.cut}", flush=True)


def table(lines: Sequence[LiveLine]) -> Iterator[str]:
    """Yield verdicts with 95 % intervals, as Markdown, and what rivals say of the same pairs."""
    yield "| where | candidate | rule | runs | FAILED (95 %) | PASSED | starts | pairs | seconds |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for place, slower in sorted({(line.where, line.slower) for line in lines}):
        some = [line for line in lines if (line.where, line.slower) == (place, slower)]
        head = f"| {place.replace('|', '/')} | {f'+{slower:.0%}' if slower else 'equal'} "
        starts, pairs, seconds = (
            f"{statistics.fmean(values):.1f}"
            for values in zip(
                *((one.rounds, len(one.pairs), one.seconds) for one in some), strict=True
            )
        )
        seen = Counter(one.verdict for one in some)
        yield f"{head}| this gate | {_counted(seen, len(some))} | {starts} | {pairs} | {seconds} |"
        for name, rival in LIVE_RIVALS.items():
            others = [one.pairs for one in lines if one.where == place and not one.slower]
            said = Counter(
                str(rival(one.pairs, [other for other in others if other is not one.pairs]))
                for one in some
            )
            yield f"{head}| {name} | {_counted(said, len(some))} | 1 | | |"


def _counted(seen: Counter[str], runs: int) -> str:
    low, high = interval(seen[Verdict.FAILED], runs)
    return f"{runs} | {seen[Verdict.FAILED]} ({low:.0%}-{high:.0%}) | {seen[Verdict.PASSED]}"


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=8, help="0: only show the file")
    parser.add_argument("--slower", type=float, nargs="+", default=[0.0, 0.05, 0.10])
    parser.add_argument("--by", choices=ROUNDS, default=SLEEP, help="what makes it slower")
    parser.add_argument("--finer", action="store_true")
    parser.add_argument("--seconds", type=float, default=1500.0)
    parser.add_argument("--settings", type=Path, help="what starts a server: a settings file")
    parser.add_argument("--cores", nargs=2, help="the cores of either place")
    parser.add_argument("--disturb", type=int, default=0, help="processes that work beside it")
    parser.add_argument("--note", default="", help="what the machine does meanwhile")
    parser.add_argument("--out", type=Path, default=Path("gate-live.jsonl"))
    asked: Any = parser.parse_args(argv)
    settings = load(asked.settings, {}).settings if asked.settings else Settings()
    at: dict[str, Any] = FINER if asked.finer else {}
    at = at | {"cores": tuple(asked.cores or settings.gate.cores)}
    gate = settings.gate.model_copy(update=at)
    anyio.run(run, settings.model_copy(update={"gate": gate}), asked)
    print("\n".join(table(read(asked.out))))


if __name__ == "__main__":
    main()
