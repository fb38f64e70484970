"""A bench's figures and plots, for the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from ci.bench.percentiles import SampleDistribution
from ci.bench.plots import LoadPoint, curves, load_point, timeline
from ci.bench.session import Measured
from ci.report.model import Figure, Plot, Series

_LATENCIES = ("ttft", "tpot", "itl", "e2e")
_LABELS = {"ttft": "TTFT", "tpot": "TPOT", "itl": "ITL", "e2e": "e2e"}
_WHOLE, _BETWEEN = ("TTFT", "e2e"), ("TPOT", "ITL")
"""Latencies of one scale each: of whole requests, and between two tokens."""


def figures_of(loads: Sequence[Measured]) -> Iterator[Figure]:
    """Yield every figure of the loads; under the load's name where there are several."""
    for measured in loads:
        prefix = f"{measured.run.load.label}: " if len(loads) > 1 else ""
        for figure in _figures(measured):
            yield figure.model_copy(update={"name": f"{prefix}{figure.name}"})


def _figures(measured: Measured) -> Iterator[Figure]:
    summary = measured.summary
    for name, rate in (
        ("request throughput", summary.request_throughput),
        ("output throughput", summary.output_throughput),
        ("goodput", summary.goodput.rate if summary.goodput else None),
    ):
        if rate is not None:
            unit = "tokens/s" if name == "output throughput" else "requests/s"
            yield Figure(name=name, value=rate, unit=unit, better="higher")
    for field in _LATENCIES:
        yield from _percentiles(_LABELS[field], getattr(summary, field))


def _percentiles(name: str, found: SampleDistribution | None) -> Iterator[Figure]:
    for one in found.percentiles if found else ():
        yield Figure(
            name=f"{name} p{one.level}",
            value=one.value,
            unit="s",
            better="lower",
            low=one.low,
            high=one.high,
        )


def plots_of(loads: Sequence[Measured], steps: Sequence[Measured]) -> Iterator[Plot]:
    """Yield the distributions and timeline of each load, and throughput against latency.

    Args:
        loads: The loads that were asked for.
        steps: Those of a ramp, which are only drawn against each other.
    """
    for measured in loads:
        yield from _distributions(measured)
        yield from _timeline(measured)
    points = [load_point(one.run.load.label, one.summary) for one in (*loads, *steps)]
    yield from _against([point for point in points if point])


def _distributions(measured: Measured) -> Iterator[Plot]:
    found = {curve.name: curve for curve in curves(measured.run.records)}
    for names, unit in ((_WHOLE, "of requests"), (_BETWEEN, "of requests or gaps")):
        series = tuple(
            Series(name=name, points=_steps(found[name].seconds, found[name].shares))
            for name in names
            if name in found
        )
        if series:
            title = f"{' and '.join(one.name for one in series)}, {measured.run.load.label}"
            yield Plot(title=title, x="ms", y=f"share {unit}", kind="step", series=series)


def _steps(seconds: Sequence[float], shares: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Return a cumulative distribution in ms, from its share 0 at the first sample."""
    return ((1e3 * seconds[0], 0.0), *((1e3 * x, y) for x, y in zip(seconds, shares, strict=True)))


def _timeline(measured: Measured) -> Iterator[Plot]:
    moments = timeline(measured.run.records)
    if len(moments) < 2:  # noqa: PLR2004 - one point is no line
        return
    label = measured.run.load.label
    tokens = tuple((one.start, one.tokens / one.seconds) for one in moments)
    running = tuple((one.start, one.running) for one in moments)
    for title, y, points in (
        ("Output over time", "tokens/s", tokens),
        ("Requests under way", "requests", running),
    ):
        series = (Series(name=label, points=points),)
        yield Plot(title=f"{title}, {label}", x="s", y=y, series=series)


def _against(points: Sequence[LoadPoint]) -> Iterator[Plot]:
    ordered = sorted(points, key=lambda point: point.request_throughput)
    if not any(one.request_throughput < two.request_throughput for one, two in pairwise(ordered)):
        return
    series = tuple(
        Series(
            name=name,
            points=tuple((one.request_throughput, 1e3 * getattr(one, field)) for one in ordered),
        )
        for name, field in (
            ("TTFT p50", "ttft_p50"),
            ("TTFT p99", "ttft_p99"),
            ("e2e p50", "e2e_p50"),
        )
    )
    yield Plot(title="Latency against throughput", x="requests/s", y="ms", series=series)
