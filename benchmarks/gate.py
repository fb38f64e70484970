"""How often the gate errs: false alarms, power and length, by simulation.

    python -m benchmarks.gate [PAIRS.jsonl ...] [--runs 2000] [--seed 1] [--json FILE]
    python -m benchmarks.gate --only-starts [--starts STARTS.jsonl] [--runs 1000]

The noise is that of recorded pairs of equal servers (`pairs.jsonl` of a comparison of an image
with itself, all its pairs), each file by itself. Without a file it is invented
(`ci.gate.noise.SyntheticNoise`, its sizes in the output): good for telling methods apart, and
no promise for any machine. Every simulated comparison goes through the very code that
decides a live one. `--only-starts` shows comparisons that start both sides anew: on invented
starts, or on those of `benchmarks.starts`, by machine. Each rate has the number of runs behind
it and Wilson's 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table

from benchmarks.gate_rivals import RIVALS
from benchmarks.noise import StartNoise, SyntheticNoise, TwoModes
from benchmarks.starts import read
from ci.gate.blocks import columns, read_pairs
from ci.gate.decide import Columns
from ci.gate.noise import Noise, Started, recorded, recorded_starts
from ci.gate.power import Rates, interval, rates, round_rates, slowed
from ci.gate.rule import METRICS, Rule
from ci.gate.sequential import LEAST_PAIRS, Schedule
from ci.gate.signed_rank import Differences
from ci.gate.starts import StartEffect, assumed, measured
from ci.verdict import Verdict

RULE = Rule()
FINER = Rule(slowdown=0.05, least=0.025)
ONE = {METRICS[0]: RULE.slowdown}
SLOWER: dict[str, float | dict[str, float]] = {
    "equal": 0.0,
    "+5 %": 0.05,
    "+10 %": 0.10,
    f"+10 % in {METRICS[0]} alone": ONE,
    "+20 %": 0.20,
    "-10 %": -0.10,
}
HEADINGS = ("case", "slower", "FAILED %", "95 % interval", "PASSED %", "pairs", "starts", "runs")
MOST = 8
"""Rounds of a comparison, as `[gate] rounds` has them."""
INSTANCES = (0.01, 0.02, 0.04)
"""Standard deviations of what tells two starts of one image apart, as logarithms."""


@dataclass(frozen=True)
class Row:
    """One line of a table: what was asked, and how its simulated comparisons ended."""

    table: str
    case: str
    slower: str
    rates: Rates


TRUTHS = (0.005, 0.01, 0.02, 0.033, 0.05)
"""Standard deviations of what one start adds, as logarithms."""
WORTH, BATCH = 8, 20
"""Twins by which a start's effect was measured, and comparisons that believe the same ones."""


def start_rows(
    noise: Noise, name: str, truths: Sequence[float], runs: int, seed: int
) -> Iterator[Row]:
    """Yield how comparisons end that start both sides anew where it is unclear.

    The effect of a start is believed to be what `WORTH` twins happened to show of it, other ones
    for every few comparisons, or what is assumed where nobody measured it.
    """
    title = f"fresh starts, {name}: a start adds"
    for truth, tails in ((truth, tails) for truth in truths for tails in (0.0, 4.0)):
        noisy = StartNoise(noise, dict.fromkeys(METRICS, truth), tails=tails)
        case = f"{truth:.1%}{', heavy tails' if tails else ''}"
        twins = partial(_believed, noisy)
        yield from rounds_rows(title, f"{case}, measured", noisy.starts, twins, runs, seed)
        guess = partial(_guessed, assumed(METRICS))
        yield from rounds_rows(title, f"{case}, assumed 2 %", noisy.starts, guess, runs, seed)


def _believed(noise: StartNoise, dice: random.Random) -> StartEffect:
    twins = [noise.starts(dice)(Schedule().pairs // 2) for _ in range(WORTH)]
    return measured(twins, METRICS, "measured")


def _guessed(effect: StartEffect, _: random.Random) -> StartEffect:
    return effect


def rounds_rows(
    table: str,
    case: str,
    starts: Callable[[random.Random, float | Mapping[str, float]], Started],
    believed: Callable[[random.Random], StartEffect],
    runs: int,
    seed: int,
) -> Iterator[Row]:
    """Yield a line for equal images, and for such as are slower by 5 % and 10 %."""
    for slower in ("equal", "+5 %", "+10 %"):
        dice, parts = random.Random(seed), list[Rates]()  # noqa: S311
        for number in range(runs // BATCH):
            effect = believed(dice)
            looks = Schedule(rounds=MOST).looks(RULE, effect)
            begun = partial(_called, starts, SLOWER[slower])
            parts.append(
                round_rates(begun, RULE, looks, effect, runs=BATCH, seed=seed + 1000 * number)
            )
        yield Row(table, case, slower, _together(parts))


def _together(parts: Sequence[Rates]) -> Rates:
    """Return the rates of equally many comparisons each, as one."""
    return Rates(
        runs=sum(one.runs for one in parts),
        failed=sum(one.failed for one in parts),
        passed=sum(one.passed for one in parts),
        pairs=fmean(one.pairs for one in parts),
        rounds=fmean(one.rounds for one in parts),
    )


def _called(
    starts: Callable[[random.Random, float | Mapping[str, float]], Started],
    slower: float | Mapping[str, float],
    dice: random.Random,
) -> Started:
    return starts(dice, slower)


def rival_rows(noise: Noise, runs: int, seed: int) -> Iterator[Row]:
    """Yield how other rules judge the first start alone, which is all that they know."""
    for truth in (0.0, 0.02, 0.033):
        starts = StartNoise(noise, dict.fromkeys(METRICS, truth)).starts
        for name, rival in RIVALS.items():
            for slower in ("equal", "+10 %"):
                dice, by = random.Random(seed), SLOWER[slower]  # noqa: S311
                pairs = Schedule().pairs
                ends = [rival(starts(dice, by)(pairs), RULE, pairs) for _ in range(runs)]
                counts = Counter(end for end, _ in ends)
                mean = sum(count for _, count in ends) / runs
                rates_ = Rates(runs, counts[Verdict.FAILED], counts[Verdict.PASSED], mean)
                yield Row("one start alone", f"{truth:.1%}, {name}", slower, rates_)


def recorded_rows(path: Path, runs: int, seed: int) -> Iterator[Row]:
    """Yield how comparisons end on recorded starts, each machine's by itself."""
    lines = [line for line in read(path) if len(line.pairs) >= LEAST_PAIRS]
    for where in dict.fromkeys(line.where for line in lines):
        twins = [columns(line.pairs, METRICS) for line in lines if line.where == where]

        def starts(
            dice: random.Random,
            slower: float | Mapping[str, float],
            twins: Sequence[Columns] = twins,
        ) -> Started:
            return recorded_starts(twins, slower)(dice)

        case = f"{len(twins)} starts"
        guess = partial(_guessed, measured(twins, METRICS, "measured"))
        yield from rounds_rows(f"recorded starts: {where}", case, starts, guess, runs, seed)


class Study:
    """All tables on one noise.

    Args:
        noise: Differences of equal servers.
        runs: Simulated comparisons behind each rate.
        seed: Of all of them.
    """

    def __init__(self, noise: Noise, runs: int, seed: int) -> None:
        self.noise, self.runs, self.seed = noise, runs, seed

    def rows(self) -> Iterator[Row]:
        """Yield the lines of all tables."""
        for pairs in (10, 16, 24, 40):
            schedule = Schedule(pairs, interim=False, repeat=False)
            yield from self.gate("one look", f"{pairs} pairs", schedule)
        yield from self.gate("as it runs", "24 pairs, one run", Schedule(repeat=False))
        yield from self.gate("as it runs", "24 pairs, repeated once", Schedule())
        for pairs in (24, 48, 96):
            schedule = Schedule(pairs, repeat=False)
            yield from self.gate("asked for 5 %", f"{pairs} pairs", schedule, FINER)
        for name, rival in RIVALS.items():
            for slower in ("equal", "+10 %"):
                ended = self._rival(rival, SLOWER[slower])
                yield Row("rivals on the same 24 pairs", name, slower, ended)
        if isinstance(self.noise, SyntheticNoise):
            yield from self._instances(self.noise)

    def gate(self, table: str, case: str, schedule: Schedule, rule: Rule = RULE) -> Iterator[Row]:
        """Yield a line for each slow-down, with the gate's own looks."""
        looks = schedule.looks(rule)
        for name, slower in SLOWER.items():
            at = {"slower": slower, "runs": self.runs, "seed": self.seed}
            yield Row(table, case, name, rates(self.noise, rule, looks, **at))  # type: ignore[arg-type]

    def _rival(
        self,
        rival: Callable[[Columns, Rule, int], tuple[Verdict, int]],
        slower: float | dict[str, float],
    ) -> Rates:
        dice, pairs = random.Random(self.seed), Schedule().pairs  # noqa: S311
        drawn = (slowed(self.noise(dice, pairs), RULE, slower) for _ in range(self.runs))
        ends = [rival(each, RULE, pairs) for each in drawn]
        counts = Counter(end for end, _ in ends)
        mean = sum(count for _, count in ends) / self.runs
        return Rates(self.runs, counts[Verdict.FAILED], counts[Verdict.PASSED], mean)

    def _instances(self, noise: SyntheticNoise) -> Iterator[Row]:
        """Two starts of one image that differ: for a whole run, or anew in each pair."""
        for size in INSTANCES:
            fixed = replace(noise, instance=size)
            anew = _booted(noise, size)
            for case, source in (("both stay up", fixed), ("booted for each pair", anew)):
                rows = Study(source, self.runs, self.seed).gate(
                    "starts that differ", case, Schedule()
                )
                for row in rows:
                    if row.slower in {"equal", "+10 %"}:
                        yield replace(row, case=f"{case}, by {size:.0%}")


def _booted(noise: SyntheticNoise, size: float) -> Noise:
    def draw(dice: random.Random, pairs: int) -> Columns:
        apart = [size * dice.gauss() for _ in range(pairs)]
        return {
            metric: [value + more for value, more in zip(values, apart, strict=True)]
            for metric, values in noise(dice, pairs).items()
        }

    return draw


def shown(rows: Sequence[Row], console: Console) -> None:
    """Print the tables."""
    for title in dict.fromkeys(row.table for row in rows):
        table = Table(title=title, title_justify="left")
        for heading in HEADINGS:
            table.add_column(heading)
        for row in (row for row in rows if row.table == title):
            ended = row.rates
            low, high = interval(ended.failed, ended.runs)
            table.add_row(
                row.case,
                row.slower,
                f"{100 * ended.failed / ended.runs:.1f}",
                f"{100 * low:.1f} to {100 * high:.1f}",
                f"{100 * ended.passed / ended.runs:.1f}",
                f"{ended.pairs:.1f}",
                f"{ended.rounds:.1f}",
                str(ended.runs),
            )
        console.print(table)


def noises(paths: Sequence[Path]) -> Iterator[tuple[str, Noise]]:
    """Yield each noise with what it is."""
    for path in paths:
        seen = columns(read_pairs(path), METRICS)
        estimates = {metric: Differences(values) for metric, values in seen.items()}
        apart = ", ".join(
            f"{metric} {100 * each.estimate:+.2f} % ({100 * each.bounds(0.025)[0]:+.2f} to "
            f"{100 * each.bounds(0.025)[1]:+.2f})"
            for metric, each in estimates.items()
        )
        pairs = len(next(iter(seen.values())))
        yield f"{path.name}: {pairs} pairs; candidate against baseline: {apart}", recorded(seen)
    if not paths:
        yield f"invented: {SyntheticNoise()}", SyntheticNoise()


def _starts(asked: argparse.Namespace) -> Iterator[Row]:
    """Yield the tables of fresh starts."""
    if asked.starts:
        yield from recorded_rows(asked.starts, asked.runs, asked.seed)
        return
    kinds: dict[str, Noise] = {
        "invented noise": SyntheticNoise(),
        "drifting": SyntheticNoise(drift=0.3, memory=0.98),
        "two modes": TwoModes(),
    }
    for name in asked.noise or kinds:
        noise = kinds[name]
        yield from start_rows(noise, name, asked.effect, asked.runs, asked.seed)
    if not asked.noise:
        yield from rival_rows(SyntheticNoise(), asked.runs, asked.seed)


def main() -> None:
    """Simulate, print the tables, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pairs", nargs="*", type=Path, help="pairs.jsonl of equal servers")
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only-starts", action="store_true", help="fresh starts alone")
    parser.add_argument("--effect", type=float, nargs="+", default=TRUTHS, help="of a start")
    parser.add_argument("--noise", nargs="*", help="invented noise, drifting, two modes")
    parser.add_argument("--starts", type=Path, help="what benchmarks.starts kept")
    asked = parser.parse_args()
    console = Console(width=120, soft_wrap=True)
    if asked.only_starts or asked.starts:
        shown(list(_starts(asked)), console)
        return
    found = []
    for name, noise in noises(asked.pairs):
        begin = time.monotonic()
        rows = list(Study(noise, asked.runs, asked.seed).rows())
        console.print(f"\n{name}", highlight=False)
        shown(rows, console)
        console.print(f"{time.monotonic() - begin:.0f} s, seed {asked.seed}")
        found.append({"noise": name, "seed": asked.seed, "rows": [asdict(row) for row in rows]})
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
