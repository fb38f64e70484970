"""The server's figures beside the client's, and whether the two agree.

Counts have to be equal: a difference means that somebody else used the server, or that one
of the two counts wrongly. Means of latencies may differ by a tolerance, for the server's
clock starts when it has read a request and stops before the answer is sent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ci.bench.metrics import Summary
from ci.bench.records import RequestRecord
from ci.bench.scrape import Metrics
from ci.engines.metrics import SGLANG_METRICS, MetricNames
from ci.report.model import Case
from ci.verdict import Outcome

COUNTERS = ("requests", "prompt tokens", "output tokens", "cached tokens")
HISTOGRAMS = ("TTFT", "e2e")


@dataclass(frozen=True)
class Tolerance:
    """By how much a mean latency may differ from the server's.

    Args:
        seconds: Seconds that are always allowed.
        share: Share of the server's figure that is allowed where that is more.
    """

    seconds: float = 0.005
    share: float = 0.1

    def most(self, theirs: float) -> float:
        """Return the largest difference from `theirs` that is allowed."""
        return max(self.seconds, self.share * theirs)


@dataclass(frozen=True)
class View:
    """What the server counted during a load; None where it doesn't count that.

    Args:
        counts: Differences of counters, by the names of `COUNTERS`.
        means: Means of latencies in seconds, by the names of `HISTOGRAMS`.
    """

    counts: dict[str, float | None]
    means: dict[str, float | None]


def view(before: Metrics, after: Metrics, names: MetricNames = SGLANG_METRICS) -> View:
    """Return what a server counted between two looks at its metrics."""
    means: dict[str, float | None] = {}
    for name in HISTOGRAMS:
        family = names.histograms.get(name, "")
        seconds, count = (_grown(before, after, f"{family}_{part}") for part in ("sum", "count"))
        means[name] = seconds / count if seconds is not None and count else None
    counts = {name: _grown(before, after, names.counters.get(name, "")) for name in COUNTERS}
    return View(counts, means)


def _grown(before: Metrics, after: Metrics, name: str) -> float | None:
    """Return by how much a counter grew; some appear only with their first event."""
    now = after.total(name)
    return None if now is None else now - (before.total(name) or 0.0)


def agreement(
    seen: View | None,
    records: Sequence[RequestRecord],
    summary: Summary,
    tolerance: Tolerance,
    names: MetricNames = SGLANG_METRICS,
    unseen: str = SGLANG_METRICS.hint,
) -> Iterator[Case]:
    """Yield a case for each figure that both sides know.

    Args:
        seen: The server's view; None where it has no metrics.
        records: The load's records.
        summary: The client's own figures.
        tolerance: For means of latencies.
        names: What the server's metrics are called.
        unseen: Why there is no view of the server's, where there is none.
    """
    name = "server counts the same requests and tokens"
    if seen is None:
        yield Case(name=name, outcome=Outcome.SKIPPED, message=unseen)
        return
    if summary.completed != summary.sent:
        hint = "requests failed, and what a server counts of those differs"
        yield Case(name=name, outcome=Outcome.SKIPPED, message=hint)
        return
    yield _counts(name, seen, summary, names)
    for quantity, ours in _means(records).items():
        family = names.histograms.get(quantity, f"histogram of {quantity}")
        yield _mean(quantity, ours, seen.means[quantity], tolerance, family)


def ours(summary: Summary) -> dict[str, int | None]:
    """Return the client's counts, by the names of `COUNTERS`."""
    return {
        "requests": summary.completed,
        "prompt tokens": summary.prompt_tokens,
        "output tokens": summary.output_tokens,
        "cached tokens": summary.cached_tokens,
    }


def _counts(name: str, seen: View, summary: Summary, names: MetricNames) -> Case:
    pairs = {
        what: (mine, theirs)
        for what, mine in ours(summary).items()
        if mine is not None and (theirs := seen.counts[what]) is not None
    }
    if not pairs:
        hint = "its metrics have none of " + ", ".join(names.counters.values())
        return Case(name=name, outcome=Outcome.SKIPPED, message=hint)
    wrong = [
        f"{what}: the server {theirs:g}, the client {mine}"
        for what, (mine, theirs) in pairs.items()
        if theirs != mine
    ]
    if not wrong:
        return Case(name=name, outcome=Outcome.PASSED, message=f"{', '.join(pairs)}: equal")
    hint = "; does anybody else use it?" if (seen.counts["requests"] or 0) > summary.sent else ""
    return Case(name=name, outcome=Outcome.INCONCLUSIVE, message="; ".join(wrong) + hint)


def _means(records: Sequence[RequestRecord]) -> dict[str, float | None]:
    """Return the client's mean latencies, the opening of connections left out."""
    found = {"TTFT": [record.ttft for record in records], "e2e": [one.e2e for one in records]}
    opening = [record.connecting or 0.0 for record in records]
    means: dict[str, float | None] = {}
    for name, values in found.items():
        pairs = zip(values, opening, strict=True)
        known = [value - extra for value, extra in pairs if value is not None]
        means[name] = math.fsum(known) / len(known) if known else None
    return means


def _mean(
    quantity: str, mine: float | None, theirs: float | None, tolerance: Tolerance, family: str
) -> Case:
    name = f"server measures the same {quantity}"
    if mine is None or theirs is None:
        hint = f"its metrics have no {family} of these requests"
        return Case(name=name, outcome=Outcome.SKIPPED, message=hint)
    most = tolerance.most(theirs)
    told = f"mean {1e3 * mine:.1f} ms, the server's {1e3 * theirs:.1f} ms"
    outcome = Outcome.PASSED if abs(mine - theirs) <= most else Outcome.INCONCLUSIVE
    return Case(name=name, outcome=outcome, message=f"{told} (tolerance {1e3 * most:.1f} ms)")
