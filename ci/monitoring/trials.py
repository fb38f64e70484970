"""The trial of each alert: a fault as its series show it, what came before, and what came after."""

from __future__ import annotations

from collections.abc import Iterator

from ci.monitoring.names import (
    SERVER,
    TPOT_BOUNDS,
    TTFT_BOUNDS,
    bound,
    environments,
    queue_limit,
    slo,
)
from ci.monitoring.trial import TARGET, Piece, Trial
from ci.settings import Settings

LONG = 100_000
"""Longer than any trial, and more than any series counts in one."""
STALE = 300
"""Seconds for which Prometheus goes on with the last value of a series that ended unannounced."""


class _Series:
    """Spells series of the server in the trials."""

    def __init__(self, job: str) -> None:
        self.labels = {"job": job, **TARGET}
        self.server = {name: self.labels[name] for name in SERVER}
        self.environment = {name: self.labels[name] for name in ("job", "environment")}

    def of(self, name: str, instance: str = "", **more: str) -> str:
        """Return a series of the server, or of another instance."""
        other = {"instance": instance} if instance else {}
        labels = self.labels | other | more
        return name + "{" + ", ".join(f'{key}="{text}"' for key, text in labels.items()) + "}"


def trials(settings: Settings) -> Iterator[Trial]:
    """Yield a trial of every alert of the settings."""
    series = _Series(settings.observe.job)
    yield from _processes(settings, series)
    yield from _work(settings, series)
    yield from _promises(settings, series)
    yield from _losses(settings, series)
    yield from _seeing(settings, series)
    yield from _labels(settings, series)


def _processes(settings: Settings, series: _Series) -> Iterator[Trial]:
    at = settings.observe
    good, bad = 2 * at.stall, 4 * at.stall + 2 * at.hold
    up, beat = series.of("up"), series.of("sglang:scheduler_stage_seconds_total", tp_rank="0")
    end = good + bad
    fires = good + 2 * at.stall + at.hold + 2 * at.interval
    after = Piece(4 * at.stall, 1)
    yield Trial(
        "SglangServerGone", {up: (Piece(good, 1), Piece(bad, 0), after)},
        good - at.interval, good + at.hold + at.interval, end + at.interval, series.labels,
    )  # fmt: skip
    beats = (Piece(good, 0, at.interval), Piece(bad, good), Piece(4 * at.stall, good, at.interval))
    yield Trial(
        "SglangSchedulerHung", {up: (Piece(end + 4 * at.stall, 1),), beat: beats},
        good, fires, end + at.stall, {**series.labels, "tp_rank": "0"},
    )  # fmt: skip
    opened = series.of("sglang:http_requests_active", endpoint="/generate", method="POST")
    tokens = series.of("sglang:inter_token_latency_seconds_count")
    idle = series.of("sglang:scheduler_idle_seconds_total")
    yield Trial(
        "SglangDetokenizerHung",
        {
            opened: (Piece(end, 2), Piece(4 * at.stall, 0)),
            tokens: (Piece(good, 0, 50), Piece(bad + 4 * at.stall, 50 * good)),
            idle: (Piece(good, 0), Piece(bad + 4 * at.stall, 0, at.interval)),
        },
        good, fires, end + at.stall, series.server,
    )  # fmt: skip
    cpu = series.of("sglang:process_cpu_seconds_total", component="tokenizer")
    yield Trial(
        "SglangRestarted",
        {cpu: (Piece(good, 10, 1), Piece(at.stall, None), Piece(14 * at.window, 1, 1))},
        good, good + at.stall + 2 * at.interval, good + at.stall + 13 * at.window, series.server,
    )  # fmt: skip


def _work(settings: Settings, series: _Series) -> Iterator[Trial]:
    at, limit = settings.observe, queue_limit(settings)
    look = at.window if limit is None else at.stall
    good, bad = 2 * look, 3 * look + 2 * at.hold
    fires = good + look + at.hold + 2 * at.interval
    after = Piece(3 * max(at.window, at.stall), 0)
    queue = (Piece(good, 0), Piece(bad, limit or 4), after)
    yield Trial(
        "SglangQueueFull", {series.of("sglang:num_queue_reqs"): queue},
        good - at.interval, fires, good + bad + look + at.interval, series.server,
    )  # fmt: skip
    full = (at.kv_full + 1) / 2
    good, bad = 2 * at.stall, 3 * at.stall + 2 * at.hold
    yield Trial(
        "SglangKvCacheFull",
        {series.of("sglang:token_usage"): (Piece(good, 0.2), Piece(bad, full), after)},
        good, good + at.stall + at.hold + 2 * at.interval, good + bad + at.interval, series.server,
    )  # fmt: skip


def _promises(settings: Settings, series: _Series) -> Iterator[Trial]:
    at = settings.observe
    ttft, tpot = slo(settings)
    families = (
        ("Ttft", "time_to_first_token_seconds", bound(ttft, TTFT_BOUNDS)),
        ("Tpot", "request_time_per_output_token_seconds", bound(tpot, TPOT_BOUNDS)),
    )
    for what, family, le in families:
        for speed, windows in (("Fast", 12), ("Slowly", 72)):
            good, bad = 2 * at.window, windows * at.window + at.hold
            after = windows * at.window
            every = Piece(good + bad + after, 0, 10)
            within = (
                Piece(good, 0, 10),
                Piece(bad, 10 * good // at.interval),
                Piece(after, 10 * good // at.interval, 10),
            )
            count = series.of(f"sglang:{family}_count")
            bucket = series.of(f"sglang:{family}_bucket", le=le)
            yield Trial(
                f"Sglang{what}Burns{speed}", {count: (every,), bucket: within},
                good, good + bad, good + bad + 8 * at.window, series.environment,
            )  # fmt: skip


def _losses(settings: Settings, series: _Series) -> Iterator[Trial]:
    at = settings.observe
    good, bad = 2 * at.window, 2 * at.window + at.hold
    asked = series.of("sglang:http_requests_total", endpoint="/generate", method="POST")
    every = {asked: (Piece(good + bad + 4 * at.window, 100, 1),)}
    lost = {
        "SglangServerErrors": ("http_responses_total", "503"),
        "SglangRequestsRefused": ("http_responses_total", "400"),
        "SglangRequestsAborted": ("num_aborted_requests_total", ""),
    }
    for name, (family, status) in lost.items():
        labels = {"endpoint": "/generate", "status_code": status} if status else {}
        first = (Piece(good, None), Piece(bad + 4 * at.window, 5 + at.window))
        yield Trial(
            name, {**every, series.of(f"sglang:{family}", **labels): first},
            good - at.interval, good + at.hold + 2 * at.interval,
            good + 2 * at.window + 2 * at.interval, series.server,
        )  # fmt: skip
    hour = 12 * at.window
    hit = series.of("sglang:prefill_effective_tokens_total", mode="device_hit")
    computed = series.of("sglang:prefill_effective_tokens_total", mode="input")
    warm = hour + at.window
    yield Trial(
        "SglangCacheHitsFallen",
        {
            hit: (Piece(warm, 0, 80), Piece(2 * hour, 80 * warm)),
            computed: (Piece(warm, 0, 20), Piece(2 * hour, 20 * warm, 100)),
        },
        warm, warm + 2 * at.window + at.hold, warm + hour + 4 * at.window, series.server,
    )  # fmt: skip


def _seeing(settings: Settings, series: _Series) -> Iterator[Trial]:
    at = settings.observe
    good, bad = 2 * at.stall, 2 * at.stall + 2 * at.hold
    up = series.of("up")
    answers = f'sglang_ci_server_answers{{instance="{TARGET["instance"]}"}}'
    end = good + bad
    fires = good + at.hold + at.interval
    after = 2 * at.stall
    yield Trial(
        "SglangScrapeRefused",
        {up: (Piece(good, 1), Piece(bad, 0), Piece(after, 1)), answers: (Piece(end + after, 1),)},
        good - at.interval, fires, end + at.interval, series.labels,
    )  # fmt: skip
    yield Trial(
        "SglangMetricsMissing",
        {
            up: (Piece(good + STALE + after + at.hold, 1),),
            series.of("sglang:num_queue_reqs"): (Piece(good, 0),),
        },
        good, good + STALE + at.hold + 2 * at.interval, None, series.labels,
    )  # fmt: skip
    name, *others = environments(settings) or ("",)
    seen = {series.of("up", environment=other): (Piece(4 * fires, 1),) for other in others}
    yield Trial(
        "SglangNoTargets", seen, 0, at.hold + at.interval, None,
        {"job": at.job} | ({"environment": name} if name else {}),
    )  # fmt: skip


def _labels(settings: Settings, series: _Series) -> Iterator[Trial]:
    at = settings.observe
    good, bad = 2 * at.window, 2 * at.window + 2 * at.hold
    many = 4 * at.unknown_paths
    scraped = (Piece(good, 600), Piece(bad, 600, many), Piece(4 * at.window, LONG))
    yield Trial(
        "SglangLabelExplosion",
        {
            series.of("scrape_samples_scraped"): scraped,
            series.of("scrape_samples_post_metric_relabeling"): (Piece(LONG, 600),),
        },
        good, good + at.hold + 4 * at.interval, good + bad + 2 * at.window, series.server,
    )  # fmt: skip
    told = f'sglang_ci_server_info{{instance="{TARGET["instance"]}", version="0.5.22"}}'
    yield Trial(
        "SglangWrongVersion",
        {series.of("up"): (Piece(good + bad, 1),), told: (Piece(good, None), Piece(bad, 1))},
        good - at.interval, good + at.hold + at.interval, None,
        {"instance": TARGET["instance"], "version": "0.5.22"},
    )  # fmt: skip
    asked = "sglang:http_requests_total"
    path = {"endpoint": "/generate", "method": "POST"}
    yield Trial(
        "SglangSlotWithoutTraffic",
        {
            series.of("up"): (Piece(8 * at.window, 1),),
            series.of(asked, **path): (Piece(good, 0, 1), Piece(6 * at.window, good)),
            series.of(asked, "two:30000", slot="green", **path): (Piece(8 * at.window, 0, 1),),
        },
        good, good + 2 * at.window + 4 * at.interval, None, series.labels,
    )  # fmt: skip
