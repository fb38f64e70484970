"""Alerts on seeing itself: a server that isn't scraped, or only in part, raises no other alert."""

from __future__ import annotations

from ci.monitoring.alert import WHO, Alert
from ci.monitoring.names import environments, span
from ci.settings import Settings

PER_PATH = 3
"""Series that a path without a route makes: asked for, answered, under way."""
NEARLY = 0.8
"""Share of the most series at which there is still time to act."""


def alerts(settings: Settings) -> tuple[Alert, ...]:
    """Return them."""
    return (_unseen(settings), *_half_seen(settings), _exploding(settings))


def _unseen(settings: Settings) -> Alert:
    at = settings.observe
    places = [f',environment="{name}"' for name in environments(settings)] or [""]
    return Alert(
        name="SglangNoTargets",
        expr=" or ".join(f'absent(up{{job="{at.job}"{place}}})' for place in places),
        hold=at.hold,
        severity="page",
        summary="nothing is scraped of {{ $labels.environment }}",
        threshold="no series up, be it that there never was one",
        runbook="`sglang-ci observe targets` writes the targets; does Prometheus read its "
        "folder targets?",
    )


def _half_seen(settings: Settings) -> tuple[Alert, Alert]:
    at = settings.observe
    job = f'up{{job="{at.job}"}}'
    return (
        Alert(
            name="SglangScrapeRefused",
            expr=f"{job} == 0 and on (instance) sglang_ci_server_answers == 1",
            hold=at.hold,
            severity="ticket",
            summary=f"{WHO} serves, and can't be scraped",
            threshold="no scrape succeeds, while the exporter reaches the server",
            runbook="Prometheus' page Targets has the reason: a wrong key (credentials_file), "
            "metrics switched off (--enable-metrics), a page cut or too large.",
        ),
        Alert(
            name="SglangMetricsMissing",
            expr=f"{job} == 1 unless on (job, instance) sglang:num_queue_reqs",
            hold=at.hold,
            severity="ticket",
            summary=f"{WHO} is scraped, and has none of SGLang's metrics",
            threshold="a scrape succeeds without sglang:num_queue_reqs",
            runbook="Another program listens there, metrics are switched off, or they come as "
            "sglang_ and the rule that gives the names back is gone (prometheus.yml).",
        ),
    )


def _exploding(settings: Settings) -> Alert:
    at = settings.observe
    window, most = span(at.window), PER_PATH * at.unknown_paths
    dropped = "server:sglang_dropped:sum"
    kept = f'scrape_samples_post_metric_relabeling{{job="{at.job}"}}'
    return Alert(
        name="SglangLabelExplosion",
        expr=f"({dropped} - min_over_time({dropped}[{window}]) > {most}) "
        f"or ({kept} > {NEARLY * at.series:g})",
        hold=at.hold,
        severity="ticket",
        summary=f"the labels of {WHO} explode",
        threshold=f"{at.unknown_paths} new paths without a route in {window} (unknown_paths), or "
        f"over {NEARLY:.0%} of the {at.series} series that are stored (series)",
        runbook="Somebody asks for paths that no route has (see its access log): shut them out "
        "before the server. They are dropped here, and stay in its memory until a restart.",
    )
