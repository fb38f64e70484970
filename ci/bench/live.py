"""A run while it goes on: snapshots for whoever draws them."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from ci.bench.percentiles import rank_value
from ci.bench.records import RequestRecord

EVERY = 0.5
"""Least seconds between two snapshots."""

Watch = Callable[["Snapshot"], None]
"""Who is shown snapshots; must return at once, for the load waits meanwhile."""


@dataclass(frozen=True)
class Snapshot:
    """What is known so far of one load; latencies in seconds, of whole answers.

    Args:
        label: The load, or the warm-up.
        seconds: Since its start.
        asked: Requests that it is to send; 0 where that isn't known.
        completed: Whole answers.
        failed: Requests that failed.
        ttft_p50: Median TTFT; None before the first answer.
        ttft_p99: p99 of TTFT.
        tpot_p50: Median TPOT.
        tpot_p99: p99 of TPOT.
        output_throughput: Output tokens a second.
    """

    label: str
    seconds: float
    asked: int
    completed: int = 0
    failed: int = 0
    ttft_p50: float | None = None
    ttft_p99: float | None = None
    tpot_p50: float | None = None
    tpot_p99: float | None = None
    output_throughput: float | None = None


class LiveBoard:
    """Keeps what snapshots show, and shows one at most every `EVERY` seconds.

    Args:
        label: What is going on.
        asked: Requests that are to be sent.
        watch: Who is shown snapshots.
    """

    def __init__(self, label: str, asked: int, watch: Watch | None) -> None:
        self._label, self._asked, self._watch = label, asked, watch
        self._begun = self._shown = monotonic()
        self._ttfts: list[float] = []
        self._tpots: list[float] = []
        self._completed = self._failed = self._tokens = 0

    def take(self, record: RequestRecord) -> None:
        """Take in a record, and show where it is time."""
        if self._watch is None:
            return
        if record.complete:
            self._completed += 1
            self._tokens += record.output_tokens or 0
            for kept, value in ((self._ttfts, record.ttft), (self._tpots, record.tpot)):
                if value is not None:
                    insort(kept, value)
        else:
            self._failed += 1
        if (now := monotonic()) - self._shown >= EVERY:
            self._shown = now
            self._watch(self.snapshot())

    def end(self) -> None:
        """Show how it ended."""
        if self._watch:
            self._watch(self.snapshot())

    def snapshot(self) -> Snapshot:
        """Return what is known so far."""
        seconds = monotonic() - self._begun
        return Snapshot(
            label=self._label,
            seconds=seconds,
            asked=self._asked,
            completed=self._completed,
            failed=self._failed,
            ttft_p50=_at(self._ttfts, 50),
            ttft_p99=_at(self._ttfts, 99),
            tpot_p50=_at(self._tpots, 50),
            tpot_p99=_at(self._tpots, 99),
            output_throughput=self._tokens / seconds if self._tokens and seconds else None,
        )


def _at(ordered: list[float], level: int) -> float | None:
    return rank_value(ordered, level) if ordered else None
