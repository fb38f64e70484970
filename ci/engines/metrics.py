"""What engines call the metrics with which a load's figures are compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class MetricNames:
    """The names of one engine's metrics, without what they all begin with.

    Args:
        prefix: Regular expression of what they begin with; empty for an engine without any.
        running: Gauge of the requests that are worked on.
        queued: Gauge of the requests that wait.
        cache_hit_rate: Gauge, share of prompt tokens from the prefix cache.
        token_usage: Gauge, share of the KV cache in use.
        counters: Counters by what they count: requests, prompt tokens, output tokens, cached
            tokens. A histogram's `…_sum` is one as well.
        histograms: Histograms of seconds by latency: TTFT, e2e.
        hint: What is to be said where the page is missing.
    """

    prefix: str
    running: str = ""
    queued: str = ""
    cache_hit_rate: str = ""
    token_usage: str = ""
    counters: Mapping[str, str] = field(default_factory=dict)
    histograms: Mapping[str, str] = field(default_factory=dict)
    hint: str = "the server shows no metrics"

    def own(self, name: str) -> str:
        """Return a metric's name without what all begin with; empty for one of something else."""
        found = re.fullmatch(rf"(?:{self.prefix})(\w+)", name)
        return found[1] if found else ""


NO_METRICS = MetricNames("(?!)")
SGLANG_METRICS = MetricNames(
    prefix="sglang[:_]",
    running="num_running_reqs",
    queued="num_queue_reqs",
    cache_hit_rate="cache_hit_rate",
    token_usage="token_usage",  # noqa: S106 - a metric's name
    counters={
        "requests": "num_requests_total",
        "prompt tokens": "prompt_tokens_total",
        "output tokens": "generation_tokens_total",
        "cached tokens": "cached_tokens_total",
    },
    histograms={"TTFT": "time_to_first_token_seconds", "e2e": "e2e_request_latency_seconds"},
    hint="the server shows no metrics (--enable-metrics)",
)
"""Names of SGLang 0.5.23, which begin with `sglang:` or `sglang_`, depending on who asks."""
