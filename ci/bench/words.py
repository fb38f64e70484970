"""A load's figures in words, for the facts of a report."""

from __future__ import annotations

from collections.abc import Iterator

from ci.bench.agreement import View, ours
from ci.bench.metrics import Summary
from ci.bench.percentiles import Percentile, SampleDistribution
from ci.bench.scrape import Gauges
from ci.bench.session import Measured

_LATENCIES = {
    "TTFT": "ttft",
    "TPOT": "tpot",
    "ITL": "itl",
    "e2e": "e2e",
    "TTFT from the intended start": "ttft_intended",
    "e2e from the intended start": "e2e_intended",
    "delay against the schedule": "delay",
    "opening of connections": "connecting",
}


def facts_of(measured: Measured) -> Iterator[tuple[str, str]]:
    """Yield name and value of what a load showed; what wasn't measured is left out."""
    summary, effort = measured.summary, measured.run.effort
    yield "requests", f"{summary.completed} of {summary.asked} complete"
    for name, rate in _throughputs(summary):
        yield name, rate
    if at := summary.goodput:
        yield "goodput", f"{at.rate:.2f} requests/s, {at.share:.1%} within {at.slo}"
    for name, field in _LATENCIES.items():
        if found := getattr(summary, field):
            yield name, latency(found)
    if measured.view:
        yield "counted by the server", _both(measured.view, summary)
    if measured.gauges:
        yield "server under load", _gauges(measured.gauges)
    lag = f", its event loop {ms(effort.lags[-1])} ms late at most" if effort.lags else ""
    yield "client", f"{effort.cpu_share:.0%} of a core{lag}"
    yield "workload", f"sha256:{measured.workload[:12]}"


def latency(found: SampleDistribution) -> str:
    """Return a latency's percentiles with their intervals, in milliseconds."""
    told = (percentile(one) for one in found.percentiles)
    return f"{', '.join(told)} ms (n = {found.count}, mean {ms(found.mean)}, max {ms(found.most)})"


def percentile(at: Percentile) -> str:
    """Return one percentile; an end that too few samples leave open is a question mark."""
    low = "?" if at.low is None else ms(at.low)
    high = "?" if at.high is None else ms(at.high)
    return f"p{at.level} {ms(at.value)} [{low}, {high}]"


def ms(seconds: float) -> str:
    """Return a time in milliseconds, to a hundredth below 100."""
    value = 1e3 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"  # noqa: PLR2004


def _throughputs(summary: Summary) -> Iterator[tuple[str, str]]:
    found = {
        "request throughput": (summary.request_throughput, "requests/s"),
        "output throughput": (summary.output_throughput, "tokens/s"),
        "input throughput": (summary.input_throughput, "tokens/s"),
        "average concurrency": (summary.concurrency, "requests"),
    }
    for name, (rate, unit) in found.items():
        if rate is not None:
            yield name, f"{rate:.2f} {unit}"


def _both(seen: View, summary: Summary) -> str:
    """Return the server's counts and means, with the client's where those differ."""
    told, mine = [], ours(summary)
    for name, theirs in seen.counts.items():
        if theirs is not None:
            other = "" if mine[name] in {None, theirs} else f" (client: {mine[name]})"
            told.append(f"{theirs:g} {name}{other}")
    told += [f"mean {name} {ms(mean)} ms" for name, mean in seen.means.items() if mean is not None]
    return ", ".join(told)


def _gauges(seen: tuple[Gauges, ...]) -> str:
    """Return the largest values of gauges."""
    told = []
    for name in ("running", "queued", "cache_hit_rate", "token_usage"):
        values = [value for one in seen if (value := getattr(one, name)) is not None]
        if values:
            told.append(f"{name.replace('_', ' ')} at most {max(values):g}")
    return f"{', '.join(told)} (looked at {len(seen)} times)" if told else "no gauges"
