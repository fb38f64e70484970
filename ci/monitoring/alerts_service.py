"""Alerts on what users get: late, refused, aborted, or computed again."""

from __future__ import annotations

from ci.monitoring.alert import WHO, Alert
from ci.monitoring.names import burn_windows, slo, span
from ci.monitoring.recorded import late
from ci.settings import Settings
from ci.settings.observe import FAST, SLOW

HELPFUL = 0.1
"""Share of cached prompt tokens below which a cache was no help, so that its loss is no news."""


def alerts(settings: Settings) -> tuple[Alert, ...]:
    """Return them."""
    ttft, tpot = slo(settings)
    return (
        *_burning(settings, "ttft", f"the first token within {ttft:g} s"),
        *_burning(settings, "tpot", f"each further token within {tpot:g} s"),
        *_lost(settings),
        _cold(settings),
    )


def _burning(settings: Settings, what: str, promise: str) -> tuple[Alert, Alert]:
    at = settings.observe
    short, half, hour, day = burn_windows(at)
    return (
        _burn(settings, what, promise, (short, hour), fast=True),
        _burn(settings, what, promise, (half, day), fast=False),
    )


def _burn(
    settings: Settings, what: str, promise: str, windows: tuple[int, int], *, fast: bool
) -> Alert:
    at, factor = settings.observe, FAST if fast else SLOW
    share = round(factor * (1 - at.objective), 4)
    expr = " and ".join(f"{late(what, seconds)} > {share:g}" for seconds in windows)
    told = " and ".join(span(seconds) for seconds in windows)
    return Alert(
        name=f"Sglang{what.title()}Burns{'Fast' if fast else 'Slowly'}",
        expr=expr,
        hold=at.hold,
        severity="page" if fast else "ticket",
        summary="{{ $labels.environment }} breaks its promise: " + promise,
        threshold=f"{share:.0%} of requests late in {told}: {factor:g} times the "
        f"{1 - at.objective:.0%} that the SLO allows",
        runbook="Look at queue, load and KV cache on the board Engine; with a release on its way, "
        "at the board Release: `sglang-ci deploy abort`.",
    )


def _lost(settings: Settings) -> tuple[Alert, ...]:
    at = settings.observe
    window = span(at.window)
    found = (
        (
            "SglangServerErrors", "errors", "page", "answers requests with errors",
            "Read its log at that time; `sglang-ci smoke URL` says which requests fail.",
        ),
        (
            "SglangRequestsRefused", "refused", "ticket", "refuses requests as wrong (4xx)",
            "A client changed, or a release refuses what the one before took: "
            "`sglang-ci contract compare`.",
        ),
        (
            "SglangRequestsAborted", "aborted", "ticket", "aborts requests",
            "Clients that go away are slow answers, or a time limit before the server; else the "
            "queue is full, and load is shed by a 200 whose stream ends.",
        ),
    )  # fmt: skip
    return tuple(
        Alert(
            name=name,
            expr=f"server:sglang_{what}:increase > {at.loss:g} * server:sglang_requests:increase",
            hold=at.hold,
            severity="page" if severity == "page" else "ticket",
            summary=f"{WHO} {said}",
            threshold=f"over {at.loss:.0%} of the requests of {window} (observe.loss)",
            runbook=cure,
        )
        for name, what, severity, said, cure in found
    )


def _cold(settings: Settings) -> Alert:
    at = settings.observe
    hour, window = span(12 * at.window), span(at.window)
    before = f"avg_over_time(server:sglang_cache_hits:ratio[{hour}] offset {window})"
    return Alert(
        name="SglangCacheHitsFallen",
        expr=f"server:sglang_cache_hits:ratio < {1 - at.cache_fall:g} * {before} "
        f"and {before} > {HELPFUL:g}",
        hold=at.hold,
        severity="ticket",
        summary=f"{WHO} computes prompts that it used to have in its cache",
        threshold=f"its share of cached tokens fell by {at.cache_fall:.0%} of that of the {hour} "
        "before (observe.cache_fall)",
        runbook="A prompt's common beginning changed, a router no longer sends its users to the "
        "same server, or the cache is too small.",
    )
