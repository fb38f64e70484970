"""Names that scraping, rules, alerts and boards share."""

from __future__ import annotations

from collections.abc import Sequence

from ci.errors import UsageError
from ci.server.flags import value_of
from ci.settings import Settings
from ci.settings.observe import ObserveSettings

TARGET_LABELS = ("environment", "slot", "release", "image_digest", "version")
"""Labels that a target has beside `job` and `instance`; they survive its server's restarts."""
SERVER = ("job", "instance", "environment", "slot", "release")
"""Labels that tell one server, and whose release it is."""
ENVIRONMENT = ("job", "environment")
"""Labels that tell all servers of an environment, for which a promise is made."""

ASKED = (
    "/generate", "/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/v1/responses",
    "/v1/messages", "/v1/rerank", "/v1/score", "/v1/classify", "/classify", "/encode",
    "/api/chat", "/api/generate", "/invocations", "/vertex_generate",
    "/v1/audio/transcriptions",
)  # fmt: skip
"""Routes of SGLang that users ask for an answer."""
KNOWN = (
    *ASKED, "/", "/health", "/health_generate", "/ready", "/ping", "/metrics", "/v1/models",
    "/model_info", "/get_model_info", "/server_info", "/get_server_info", "/abort_request",
    "/flush_cache", "/v1/tokenize", "/v1/detokenize", "/v1/messages/count_tokens",
)  # fmt: skip
"""Routes whose counts are stored; SGLang makes a label of every other path that is asked for."""

TTFT_BOUNDS = (
    0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0,
    10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 200.0, 400.0,
)  # fmt: skip
"""Upper bounds of the buckets of `time_to_first_token_seconds`, seconds."""
TPOT_BOUNDS = (
    0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.06,
    0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0,
)  # fmt: skip
"""Those of `request_time_per_output_token_seconds`."""
SLO_TTFT, SLO_TPOT = 2.0, 0.1
"""Seconds where the settings name none: how long people wait for a first word without a doubt that
anything happens, and ten tokens a second, which is somewhat faster than they read."""


def one_of(paths: Sequence[str]) -> str:
    """Return the regular expression of a few paths, none of which has a special character."""
    return "|".join(paths)


def slo(settings: Settings) -> tuple[float, float]:
    """Return the most seconds to a first token, and a token after it, that requests may take."""
    own, bench = settings.observe, settings.bench
    return (
        own.slo_ttft or bench.slo_ttft or SLO_TTFT,
        own.slo_tpot or bench.slo_tpot or SLO_TPOT,
    )


def bound(seconds: float, bounds: Sequence[float]) -> str:
    """Return the label `le` of the bucket by which an SLO is watched: the next one above it.

    Raises:
        UsageError: No bucket is so large.
    """
    found = next((one for one in bounds if one >= seconds), None)
    if found is None:
        raise UsageError(f"SGLang counts requests up to {bounds[-1]:g} s, below {seconds:g} s")
    return str(found)


def environments(settings: Settings) -> tuple[str, ...]:
    """Return the environments that have to be scraped: those of the settings and of its targets."""
    named = {target.environment for target in settings.observe.targets}
    return tuple(sorted((named | set(settings.environments)) - {""}))


def queue_limit(settings: Settings) -> int | None:
    """Return how many requests may wait; None where nothing says so."""
    if settings.observe.queue_limit is not None:
        return settings.observe.queue_limit
    given = value_of(settings.launch_flags(), "--max-queued-requests") or ""
    return int(given) if given.isdecimal() else None


def span(seconds: int) -> str:
    """Return a duration as PromQL writes it."""
    for size, unit in ((3600, "h"), (60, "m")):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def burn_windows(at: ObserveSettings) -> tuple[int, int, int, int]:
    """Return the windows, in seconds, over which an SLO is watched, the shortest first."""
    return at.window, 6 * at.window, 12 * at.window, 72 * at.window
