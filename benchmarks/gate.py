"""How often the gate errs: false alarms, power and length, by simulation.

    python -m benchmarks.gate [PAIRS.jsonl ...] [--runs 2000] [--seed 1] [--json FILE]

The noise is that of recorded pairs of equal servers (`pairs.jsonl` of a comparison of an image
with itself, all its pairs), each file by itself. Without a file it is invented
(`ci.gate.noise.SyntheticNoise`, its sizes in the output): good for telling methods apart, and
no promise for any machine. Every simulated comparison goes through the very code that
decides a live one. Each rate has the number of runs behind it and Wilson's 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.gate_rivals import RIVALS
from benchmarks.noise import SyntheticNoise
from ci.gate.blocks import columns, read_pairs
from ci.gate.decide import Columns
from ci.gate.noise import Noise, recorded
from ci.gate.power import Rates, interval, rates, slowed
from ci.gate.rule import METRICS, Rule
from ci.gate.sequential import Schedule
from ci.gate.signed_rank import Differences
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
INSTANCES = (0.01, 0.02, 0.04)
"""Standard deviations of what tells two starts of one image apart, as logarithms."""


@dataclass(frozen=True)
class Row:
    """One line of a table: what was asked, and how its simulated comparisons ended."""

    table: str
    case: str
    slower: str
    rates: Rates


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
        for heading in ("case", "slower", "FAILED %", "95 % interval", "PASSED %", "pairs", "runs"):
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


def main() -> None:
    """Simulate, print the tables, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pairs", nargs="*", type=Path, help="pairs.jsonl of equal servers")
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    console = Console(width=120, soft_wrap=True)
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
