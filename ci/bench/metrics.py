"""Every figure of a run, computed from its records alone. `docs/bench.md` defines them.

Only whole answers count for latencies and throughput; a request that failed is in the errors
and never in a latency. What wasn't measured is None, never 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

from ci.bench.percentiles import SampleDistribution, clustered, distribution
from ci.bench.records import ErrorKind, RequestRecord
from ci.errors import UsageError


@dataclass(frozen=True)
class Slo:
    """Service level objectives of one request, in seconds; None where there is none.

    Args:
        ttft: Most seconds to the first token.
        tpot: Most seconds a token after that.
        e2e: Most seconds to the last token.
    """

    ttft: float | None = None
    tpot: float | None = None
    e2e: float | None = None

    def __post_init__(self) -> None:
        """Refuse limits that nothing can meet."""
        for name, limit in self.limits.items():
            if not (limit > 0 and math.isfinite(limit)):
                raise UsageError(f"SLO {name}: {limit!r} is no time limit in seconds")

    @property
    def limits(self) -> dict[str, float]:
        """The limits that there are."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: limit for name, limit in told.items() if limit is not None}

    def met(self, record: RequestRecord) -> bool:
        """Return whether a request met every limit.

        One that failed meets none. One of a single token has no TPOT that could be too long.
        """
        found = {name: getattr(record, name) for name in self.limits}
        return record.complete and all(
            value is None or value <= self.limits[name] for name, value in found.items()
        )

    def __str__(self) -> str:
        """Return the limits in words."""
        told = (f"{name} <= {1e3 * limit:g} ms" for name, limit in self.limits.items())
        return ", ".join(told) or "none"


@dataclass(frozen=True)
class Goodput:
    """Requests that met their SLOs.

    Args:
        slo: The SLOs.
        met: How many requests met them all.
        share: Their share of all requests that were sent, failed ones included.
        rate: How many there were a second.
    """

    slo: Slo
    met: int
    share: float
    rate: float


@dataclass(frozen=True)
class Summary:
    """The figures of one run; times in seconds.

    Args:
        asked: Requests that the load was to send.
        sent: Requests that were sent.
        completed: Those that got a whole answer.
        errors: How many of the others there were, by kind.
        seconds: From the start of the first request to the end of the last one.
        prompt_tokens: Prompt tokens of whole answers, by the server's count.
        cached_tokens: Those of them from its prefix cache, where it says.
        output_tokens: Output tokens of whole answers, by the server's count.
        ttft: Time to first token.
        tpot: Time per output token after the first, one sample a request.
        itl: Inter-token latency, all gaps of all requests.
        e2e: Time to the last token.
        ttft_intended: TTFT from the intended start (open loop).
        e2e_intended: e2e from the intended start (open loop).
        delay: Start against the schedule (open loop).
        connecting: Time to open a connection, of requests that had to.
        goodput: Requests within their SLOs, where there are any.
    """

    asked: int
    sent: int
    completed: int
    errors: Mapping[ErrorKind, int]
    seconds: float | None
    prompt_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    ttft: SampleDistribution | None
    tpot: SampleDistribution | None
    itl: SampleDistribution | None
    e2e: SampleDistribution | None
    ttft_intended: SampleDistribution | None
    e2e_intended: SampleDistribution | None
    delay: SampleDistribution | None
    connecting: SampleDistribution | None
    goodput: Goodput | None

    @property
    def failures(self) -> str:
        """Which errors there were, in words; empty for none."""
        return ", ".join(f"{kind}: {count}" for kind, count in self.errors.items())

    @property
    def request_throughput(self) -> float | None:
        """Whole answers a second."""
        return self._rate(self.completed)

    @property
    def output_throughput(self) -> float | None:
        """Output tokens a second."""
        return self._rate(self.output_tokens)

    @property
    def input_throughput(self) -> float | None:
        """Prompt tokens a second."""
        return self._rate(self.prompt_tokens)

    @property
    def concurrency(self) -> float | None:
        """Requests under way on average: the sum of all e2e over the time (Little's law)."""
        return self._rate(self.e2e.mean * self.e2e.count) if self.e2e else None

    def _rate(self, amount: float | None) -> float | None:
        return amount / self.seconds if amount and self.seconds else None


def summarise(records: Sequence[RequestRecord], asked: int, slo: Slo | None = None) -> Summary:
    """Compute the figures of a run, in whatever order its records come.

    Args:
        records: One a request that was sent.
        asked: Requests that the load was to send.
        slo: What goodput is counted by.
    """
    whole = [record for record in records if record.complete]
    seconds = duration(records)
    return Summary(
        asked=asked,
        sent=len(records),
        completed=len(whole),
        errors=_errors(records),
        seconds=seconds,
        prompt_tokens=_sum(whole, lambda record: record.prompt_tokens),
        cached_tokens=_sum(whole, lambda record: record.cached_tokens),
        output_tokens=_sum(whole, lambda record: record.output_tokens),
        ttft=_of(whole, lambda record: record.ttft),
        tpot=_of(whole, lambda record: record.tpot),
        itl=clustered(record.itls for record in whole),
        e2e=_of(whole, lambda record: record.e2e),
        ttft_intended=_of(whole, lambda record: _late(record, record.ttft)),
        e2e_intended=_of(whole, lambda record: _late(record, record.e2e)),
        delay=_of(records, lambda record: record.delay),
        connecting=_of(records, lambda record: record.connecting),
        goodput=_goodput(records, seconds, slo) if slo and slo.limits else None,
    )


def duration(records: Sequence[RequestRecord]) -> float | None:
    """Return the seconds from the first start to the last end; None without requests."""
    if not records:
        return None
    first = min(record.started for record in records)
    return max(record.ended for record in records) - first or None


def _errors(records: Sequence[RequestRecord]) -> Mapping[ErrorKind, int]:
    found = Counter(record.error for record in records if record.error)
    return {kind: found[kind] for kind in ErrorKind if found[kind]}


def _of(
    records: Sequence[RequestRecord], quantity: Callable[[RequestRecord], float | None]
) -> SampleDistribution | None:
    found = (quantity(record) for record in records)
    return distribution(value for value in found if value is not None)


def _sum(
    records: Sequence[RequestRecord], quantity: Callable[[RequestRecord], int | None]
) -> int | None:
    """Return a sum over all records; None where one of them doesn't know its part."""
    found = [quantity(record) for record in records]
    known = [value for value in found if value is not None]
    return sum(known) if found and len(known) == len(found) else None


def _late(record: RequestRecord, seconds: float | None) -> float | None:
    if seconds is None or record.delay is None:
        return None
    return seconds + record.delay


def _goodput(records: Sequence[RequestRecord], seconds: float | None, slo: Slo) -> Goodput | None:
    if not seconds:
        return None
    met = sum(slo.met(record) for record in records)
    return Goodput(slo, met, met / len(records), met / seconds)
