"""How often a watch errs about a candidate's speed, by simulation.

    python -m benchmarks.watch_speed [PAIRS.jsonl ...] [--runs 2000] [--seed 1] [--json FILE]

Every simulated step goes through the very code that decides a live one, with all its looks. The
noise is invented (`benchmarks.noise`, its sizes in the output), or that of recorded pairs of equal
servers, which then have no effect of their starts. *really* is how much slower the candidate is,
*starts* the standard deviation of what tells two starts of one image apart. *load* is how much the
users' requests slow the stable slot more than the candidate, as at a share below 50. *aborted* is
FAILED, *shown* is PASSED, which counts at shares from 50 on; 95 % intervals.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.noise import SyntheticNoise
from ci.deploy.speed import speed_options
from ci.gate.blocks import columns, read_pairs
from ci.gate.noise import Noise, recorded
from ci.gate.power import Rates, interval, rates
from ci.settings import GateSettings

METRICS = ("ttft", "tpot")
NOISES = {
    "blocks of 6 and 4 %": SyntheticNoise(spread={"ttft": 0.06, "tpot": 0.04}),
    "blocks of 12 and 8 %": SyntheticNoise(spread={"ttft": 0.12, "tpot": 0.08}),
}
"""Noise of a block's median TTFT and TPOT: the gate's usual one, and twice that."""
ALLOWED = (0.2, 0.1, 0.05)
STARTS = (0.0, 0.01, 0.05, 0.07, 0.1)
REALLY = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
LOADS = (0.1, 0.3)


@dataclass(frozen=True)
class SpeedRow:
    """One line of the table; all but the rates are shares, 0.1 for 10 %."""

    noise: str
    allowed: float
    starts: float
    load: float
    really: float
    ended: Rates


def rows(noises: dict[str, Noise], runs: int, seed: int) -> Iterator[SpeedRow]:
    """Yield all lines."""
    for name, noise in noises.items():
        for allowed in ALLOWED:
            for starts in STARTS if isinstance(noise, SyntheticNoise) else (0.0,):
                for load in (0.0, *(LOADS if not starts else ())):
                    for really in REALLY:
                        apart = noise
                        if isinstance(noise, SyntheticNoise):
                            apart = replace(noise, instance=starts)
                        ended = _ended(apart, allowed, (1 + really) / (1 + load) - 1, runs, seed)
                        yield SpeedRow(name, allowed, starts, load, really, ended)


def _ended(noise: Noise, allowed: float, slower: float, runs: int, seed: int) -> Rates:
    options = speed_options(GateSettings(), allowed)
    looks = options.schedule.looks(options.rule)
    return rates(noise, options.rule, looks, slower=slower, runs=runs, seed=seed)


def _of(hits: int, runs: int) -> str:
    low, high = interval(hits, runs)
    return f"{hits / runs:.1%} ({low:.1%} to {high:.1%})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="*", type=Path, help="pairs.jsonl of equal servers")
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    noises: dict[str, Noise] = {
        path.name: recorded(columns(read_pairs(path), METRICS)) for path in given.pairs
    } or dict(NOISES)
    found = list(rows(noises, given.runs, given.seed))
    table = Table("noise", "allowed", "starts", "load", "really", "aborted", "shown", "pairs")
    for one in found:
        shares = (f"{share:.0%}" for share in (one.allowed, one.starts, one.load, one.really))
        ended = one.ended
        rated = (_of(hits, ended.runs) for hits in (ended.failed, ended.passed))
        table.add_row(one.noise, *shares, *rated, f"{ended.pairs:.1f}")
    Console(width=140).print(table)
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
