"""How often the watch of a canary errs, and how many requests it needs, by simulation.

    python -m benchmarks.watch [--runs 2000] [--seed 1] [--json FILE]

Every simulated step goes through the very code that decides a live one
(`ci.deploy.sequential`). A look sees ten requests end, of which the candidate gets its share; a
step ends after `MOST` requests of the candidate, or with BAD. *good first* is the chance that a
test ends GOOD before anything else, *aborted* that of BAD before the step's end; *requests* are
those of the candidate until then, as median and 95th percentile. Beside it stands what a test
of the candidate alone would do, which is blind for what hits both slots.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ci.deploy.sequential import Count, Evidence, Finding
from ci.gate.power import interval

MOST = 1000
"""Requests of the candidate in a step."""
LATE = 500
"""Requests of the candidate after which a fault begins that wasn't there before."""
LOOK = 10
"""Requests of both slots between two looks."""
Rates = Callable[[int], tuple[float, float]]
"""Returns the candidate's and the stable slot's rate of losses after so many requests."""


@dataclass(frozen=True)
class Ended:
    """How one step ended: requests of the candidate until the first GOOD and until BAD."""

    good: int | None
    bad: int | None


@dataclass(frozen=True)
class Row:
    """One line of the table; rates are shares of runs, requests are the candidate's."""

    losses: str
    share: int
    compared: bool
    runs: int
    good_first: float
    aborted: float
    aborted_high: float
    good_p50: int | None
    good_p95: int | None
    bad_p50: int | None
    bad_p95: int | None


def constant(candidate: float, stable: float) -> Rates:
    """Return rates that stay."""
    return lambda _: (candidate, stable)


def later(begin: int, candidate: float) -> Rates:
    """Return a candidate that is good until `begin`, beside a stable slot that stays good."""
    return lambda ended: (0.0 if ended < begin else candidate, 0.0)


def outages(rate: float, candidate: float) -> Rates:
    """Return what hits both slots for 30 of each 500 requests of the candidate."""
    return lambda ended: (rate, rate) if ended % 500 < 30 else (candidate, 0.001)  # noqa: PLR2004


CASES: dict[str, Rates] = {
    "none": constant(0.0, 0.0),
    "0.1 %": constant(0.001, 0.001),
    "0.5 %, stable none": constant(0.005, 0.0),
    "1 %, stable none": constant(0.01, 0.0),
    "3 %, stable none": constant(0.03, 0.0),
    "3 %, stable 0.5 %": constant(0.03, 0.005),
    "10 %, stable none": constant(0.1, 0.0),
    "all, stable none": constant(1.0, 0.0),
    "3 % of both": constant(0.03, 0.03),
    "10 % of both": constant(0.1, 0.1),
    "all of both": constant(1.0, 1.0),
    "outages of both: 50 %": outages(0.5, 0.001),
    "outages of both: all": outages(1.0, 0.001),
    "outages of both, own 0.5 %": outages(0.5, 0.005),
    "3 % after 500 good": later(LATE, 0.03),
    "10 % after 500 good": later(LATE, 0.1),
    "all after 500 good": later(LATE, 1.0),
}


def step(rates: Rates, share: int, dice: random.Random, *, compared: bool) -> Ended:
    """Simulate one step of a canary."""
    evidence, ended, good = Evidence(compared=compared), 0, None
    owed = 0.0
    while ended < MOST:
        owed += LOOK * share / 100
        ours, owed = int(owed), owed % 1
        candidate, stable = rates(ended)
        losses = _drawn(dice, ours, candidate), _drawn(dice, LOOK - ours, stable)
        evidence = evidence.after(*losses)
        ended += ours
        if evidence.finding is Finding.BAD:
            return Ended(good, ended)
        if evidence.finding is Finding.GOOD and good is None:
            good = ended
    return Ended(good, None)


def row(name: str, share: int, runs: int, seed: int, *, compared: bool = True) -> Row:
    """Simulate one line of the table."""
    dice = random.Random(f"{seed}/{name}/{share}/{compared}")  # noqa: S311
    ends = [step(CASES[name], share, dice, compared=compared) for _ in range(runs)]
    goods = sorted(one.good for one in ends if one.good is not None)
    since = LATE if "after" in name else 0
    bads = sorted(one.bad - since for one in ends if one.bad is not None)
    return Row(
        name,
        share,
        compared,
        runs,
        len(goods) / runs,
        len(bads) / runs,
        interval(len(bads), runs)[1],
        *(_rank(found, level) for found in (goods, bads) for level in (50, 95)),
    )


def rows(runs: int, seed: int) -> Iterator[Row]:
    """Yield all lines."""
    for name in CASES:
        for share in (10, 50):
            yield row(name, share, runs, seed)
        yield row(name, 50, runs, seed, compared=False)


def _drawn(dice: random.Random, count: int, rate: float) -> Count:
    return Count(count, sum(dice.random() < rate for _ in range(count)))


def _rank(ordered: Sequence[int], level: int) -> int | None:
    return ordered[max(-(-len(ordered) * level // 100), 1) - 1] if ordered else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    found = list(rows(given.runs, given.seed))
    table = Table("losses", "share", "test", "good first", "requests", "aborted", "requests")
    for one in found:
        table.add_row(
            one.losses,
            f"{one.share} %",
            "both" if one.compared else "alone",
            f"{one.good_first:.2%}",
            f"{one.good_p50} / {one.good_p95}" if one.good_p50 is not None else "",
            f"{one.aborted:.2%} (≤ {one.aborted_high:.2%})",
            f"{one.bad_p50} / {one.bad_p95}" if one.bad_p50 is not None else "",
        )
    Console(width=120).print(table)
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
