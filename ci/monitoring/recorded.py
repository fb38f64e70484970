"""Recording rules: what alerts and boards ask for in common, made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ci.monitoring.names import (
    ASKED,
    ENVIRONMENT,
    SERVER,
    TPOT_BOUNDS,
    TTFT_BOUNDS,
    bound,
    burn_windows,
    one_of,
    slo,
    span,
)
from ci.settings import Settings

ASKED_ONLY = f'endpoint=~"{one_of(ASKED)}"'


@dataclass(frozen=True)
class Recorded:
    """A recording rule.

    Args:
        name: What it is stored as: what it is summed to, whose it is, what was done.
        expr: The expression.
    """

    name: str
    expr: str


def rules(settings: Settings) -> tuple[Recorded, ...]:
    """Return all rules, in the order in which Prometheus has to work them out."""
    return (*_counts(settings), *_states(settings), *_late(settings))


def late(what: str, seconds: int) -> str:
    """Return the name of the share of requests that were late, over a window of so many seconds."""
    return f"environment:sglang_{what}_late:ratio_{span(seconds)}"


def events(series: str, window: str) -> str:
    """Return by how much a counter grew in a window, its very first event counted in.

    A counter that begins to exist with its first event has no value before, so that `increase`
    misses it: where there was none a window ago, all that it counted is new.
    """
    return f"(({series} unless {series} offset {window}) or increase({series}[{window}]))"


def summed(expr: str, by: Sequence[str] = SERVER, how: str = "sum") -> str:
    """Return the sum of an expression by some labels, or another aggregate of it."""
    return f"{how} by ({', '.join(by)}) ({expr})"


def _counts(settings: Settings) -> tuple[Recorded, ...]:
    window = span(settings.observe.window)

    def responses(status: str) -> str:
        codes = f'status_code=~"{status}"'
        return summed(events(f"sglang:http_responses_total{{{ASKED_ONLY},{codes}}}", window))

    asked = events(f"sglang:http_requests_total{{{ASKED_ONLY}}}", window)
    aborted = events("sglang:num_aborted_requests_total", window)
    hits = f'sglang:prefill_effective_tokens_total{{mode=~".+_hit"}}[{window}]'
    prefilled = f"sglang:prefill_effective_tokens_total[{window}]"
    return (
        Recorded("server:sglang_requests:increase", summed(asked)),
        Recorded("server:sglang_errors:increase", responses("5..")),
        Recorded("server:sglang_refused:increase", responses("4..")),
        Recorded("server:sglang_aborted:increase", summed(aborted)),
        Recorded(
            "server:sglang_cache_hits:ratio",
            f"{summed(f'increase({hits})')} / ({summed(f'increase({prefilled})')} > 0)",
        ),
    )


def _states(settings: Settings) -> tuple[Recorded, ...]:
    job = f'job="{settings.observe.job}"'
    scraped = f"scrape_samples_scraped{{{job}}} > 0"  # a scrape that failed has dropped nothing
    dropped = f"({scraped}) - scrape_samples_post_metric_relabeling{{{job}}}"
    return (
        Recorded("server:sglang_open:sum", summed(f"sglang:http_requests_active{{{ASKED_ONLY}}}")),
        Recorded("server:sglang_queue:sum", summed("sglang:num_queue_reqs")),
        Recorded("server:sglang_kv_usage:max", summed("sglang:token_usage", how="max")),
        Recorded("server:sglang_dropped:sum", summed(dropped)),
    )


def _late(settings: Settings) -> tuple[Recorded, ...]:
    ttft, tpot = slo(settings)
    watched = (
        ("ttft", "time_to_first_token_seconds", bound(ttft, TTFT_BOUNDS)),
        ("tpot", "request_time_per_output_token_seconds", bound(tpot, TPOT_BOUNDS)),
    )
    return tuple(
        Recorded(late(what, seconds), _late_share(family, le, span(seconds)))
        for what, family, le in watched
        for seconds in burn_windows(settings.observe)
    )


def _late_share(family: str, le: str, window: str) -> str:
    good = summed(f'rate(sglang:{family}_bucket{{le="{le}"}}[{window}])', ENVIRONMENT)
    every = summed(f"rate(sglang:{family}_count[{window}])", ENVIRONMENT)
    return f"1 - {good} / ({every} > 0)"
