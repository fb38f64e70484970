"""What a start adds to a server's times (τ), beside the noise of a pair of blocks.

    python -m benchmarks.starts [--starts 10] [--pairs 12] [--seconds 1500] [--settings FILE]
        [--cores 0 1] [--note TEXT] [--out starts.jsonl]

Each start boots two servers of one image and settings, one after the other and in turn the other
way round, measures pairs of blocks, and stops both. Every start is one line of the file as soon as
it is over, so that several sessions add up; what the whole file shows is printed at the end, by
machine, cores and note. No start begins after `--seconds`. `python -m benchmarks.gate --starts
starts.jsonl` runs the gate on what was measured.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import secrets
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio

from ci.boot.device import device
from ci.gate.blocks import Arm, Pair, columns
from ci.gate.compare import compare_rounds
from ci.gate.decide import Columns
from ci.gate.places import swapped
from ci.gate.rounds import RoundDifferences
from ci.gate.rule import METRICS
from ci.gate.sides import Contest, GateSide, fresh_round
from ci.gate.signed_rank import Differences
from ci.gate.starts import SMALLEST
from ci.gate.twins import TwinSchedule
from ci.settings import Settings, load
from ci.stages import Stages
from tests.live.quiet import Quiet

DRAWS = 1000
_SEEDS = 2**31


@dataclass(frozen=True)
class StartLine:
    """One start of both sides.

    Args:
        device: What it ran on.
        cores: The cores of either place; none where all.
        note: What the caller says of the machine: quiet, busy.
        first: Which side was started first, and had the first place.
        seconds: How long start and pairs took.
        disturbed: Pairs that were measured anew for other work.
        waited: Seconds that were waited for a quiet machine.
        pairs: The pairs.
    """

    device: str
    cores: tuple[str, ...]
    note: str
    first: str
    seconds: float
    disturbed: int
    waited: float
    pairs: tuple[Pair, ...]

    @property
    def where(self) -> str:
        """What is told apart in the summary."""
        return ", ".join(filter(None, (self.device, " | ".join(self.cores), self.note)))

    def text(self) -> str:
        """Return the line of the file."""
        pairs = [pair.model_dump(mode="json") for pair in self.pairs]
        return json.dumps(asdict(replace(self, pairs=())) | {"pairs": pairs})


def read(path: Path) -> list[StartLine]:
    """Return the starts of a file; none where there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = []
    for line in lines:
        kept = json.loads(line)
        pairs = tuple(map(Pair.model_validate, kept.pop("pairs")))
        found.append(StartLine(**kept | {"cores": tuple(kept["cores"])}, pairs=pairs))
    return found


async def one_start(settings: Settings, asked: Any, number: int) -> StartLine:
    """Start two servers, and measure pairs."""
    begin, side = time.monotonic(), GateSide(Arm.BASELINE, settings=settings)
    contest = Contest.of(settings, side)
    seed = 2 * secrets.randbelow(_SEEDS) + number % 2
    schedule = TwinSchedule(2 * asked.pairs, rounds=1)
    contest = replace(contest, options=replace(contest.options, schedule=schedule, seed=seed))
    stages = Stages(Quiet(), asked.out.parent)
    sides = side, replace(side, name=Arm.CANDIDATE)
    found = await compare_rounds(partial(fresh_round, contest, stages, sides), contest.options)
    return StartLine(
        device=device(),
        cores=contest.at.cores,
        note=asked.note,
        first=str(Arm.CANDIDATE if swapped(seed, 1) else Arm.BASELINE),
        seconds=round(time.monotonic() - begin, 1),
        disturbed=len(found.disturbed),
        waited=round(found.waited, 1),
        pairs=found.pairs,
    )


@dataclass(frozen=True)
class StartSummary:
    """What starts show of one metric; all sizes are of logarithms.

    Args:
        effect: τ: standard deviation of what one start adds.
        pair: Standard deviation of a pair's difference within a start.
        alike: Correlation of a pair with the next one, the mean of the starts.
        place: How much slower the side is that was started second.
    """

    effect: float
    pair: float
    alike: float
    place: float


def summary(starts: Sequence[tuple[Columns, int]], metric: str) -> StartSummary:
    """Return what starts show.

    Args:
        starts: Each one's differences, and 1 where the candidate was started second, else -1.
        metric: Of which metric.
    """
    values = [list(one[metric]) for one, _ in starts]
    estimates = [Differences(one).estimate for one in values]
    noise = statistics.fmean(RoundDifferences([one], 0.0, 1.0).error ** 2 for one in values)
    seen = statistics.fmean(each**2 for each in estimates)
    return StartSummary(
        effect=math.sqrt(max(SMALLEST**2, (seen - noise) / 2)),
        pair=math.sqrt(statistics.fmean(map(_spread, values))),
        alike=statistics.fmean(map(_alike, values)),
        place=statistics.fmean(
            turn * each for each, (_, turn) in zip(estimates, starts, strict=True)
        ),
    )


def _spread(values: Sequence[float]) -> float:
    """Return a variance that a stall doesn't blow up: by the median distance of neighbours."""
    apart = sorted(abs(one - other) for at, one in enumerate(values) for other in values[at + 1 :])
    return (statistics.median(apart) / 0.9539) ** 2 if apart else 0.0


def _alike(values: Sequence[float]) -> float:
    off = [value - statistics.fmean(values) for value in values]
    below = sum(one * one for one in off)
    return sum(one * other for one, other in pairwise(off)) / below if below else 0.0


def interval(
    starts: Sequence[tuple[Columns, int]], of: Callable[[StartSummary], float], metric: str
) -> tuple[float, float]:
    """Return the 95 % interval of a figure, by drawing the starts anew (bootstrap)."""
    dice = random.Random(1)  # noqa: S311
    drawn = sorted(of(summary(dice.choices(starts, k=len(starts)), metric)) for _ in range(DRAWS))
    return drawn[DRAWS // 40], drawn[-1 - DRAWS // 40]


def table(lines: Sequence[StartLine]) -> Iterator[str]:
    """Yield the summary of a file, as Markdown."""
    yield "| where | starts | metric | τ (95 %) | noise of a pair | alike | second start |"
    yield "|---|---|---|---|---|---|---|"
    by: dict[str, list[tuple[Columns, int]]] = defaultdict(list)
    for line in lines:
        turn = 1 if line.first == Arm.BASELINE else -1
        if len(line.pairs) > 1:
            by[line.where].append((columns(line.pairs, METRICS), turn))
    for where, starts in by.items():
        for metric in METRICS:
            found = summary(starts, metric)
            low, high = interval(starts, lambda each: each.effect, metric)
            less, more = interval(starts, lambda each: each.place, metric)
            yield (
                f"| {where} | {len(starts)} | {metric} | {found.effect:.2%} "
                f"({low:.2%}-{high:.2%}) | {found.pair:.2%} | {found.alike:+.2f} "
                f"| {found.place:+.2%} ({less:+.2%} to {more:+.2%}) |"
            )


async def run(settings: Settings, asked: Any) -> None:
    """Start again and again, and keep each start."""
    begin = time.monotonic()
    for _ in range(asked.starts):
        if time.monotonic() - begin > asked.seconds:
            break
        line = await one_start(settings, asked, len(read(asked.out)))
        with asked.out.open("a", encoding="utf-8") as file:
            file.write(f"{line.text()}\n")
        kept = columns(line.pairs, METRICS)
        told = {metric: Differences(values).estimate for metric, values in kept.items()}
        shown = ", ".join(f"{metric} {value:+.1%}" for metric, value in told.items())
        print(f"{line.first} first, {line.seconds:.0f} s: {shown}", flush=True)


def main(argv: list[str] | None = None) -> None:
    """Measure, and print what the file shows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--starts", type=int, default=10, help="0: only show the file")
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=1500.0)
    parser.add_argument("--settings", type=Path, help="what starts a server: a settings file")
    parser.add_argument("--cores", nargs=2, help="the cores of either place")
    parser.add_argument("--note", default="", help="what the machine does meanwhile")
    parser.add_argument("--out", type=Path, default=Path("starts.jsonl"))
    asked: Any = parser.parse_args(argv)
    settings = load(asked.settings, {}).settings if asked.settings else Settings()
    gate = settings.gate.model_copy(update={"cores": tuple(asked.cores or settings.gate.cores)})
    anyio.run(run, settings.model_copy(update={"gate": gate}), asked)
    print("\n".join(table(read(asked.out))))


if __name__ == "__main__":
    main()
