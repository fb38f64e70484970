"""What Prometheus scrapes, how, and where its alerts go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ci.monitoring.names import KNOWN, TARGET_LABELS, one_of
from ci.settings import Settings
from ci.settings.observe import ObserveTarget

TARGETS = "targets"
"""Folder of target lists beside `prometheus.yml`, which Prometheus reads anew when one changes."""
FROM_SETTINGS = "settings.json"
"""The list of those that the settings name; of an environment it is `NAME.json`."""
LABELS, LABEL_LENGTH = 40, 512
"""Most labels of a series, and the longest text of one: a scrape with more is refused."""
_KEPT = "path_is_known"
_BODY = 1_000_000

Document = dict[str, Any]


def prometheus(settings: Settings) -> Document:
    """Return `prometheus.yml`."""
    at = settings.observe
    every = f"{at.interval}s"
    scrape: Document = {
        "job_name": at.job,
        "metrics_path": "/metrics",
        "file_sd_configs": [{"files": [f"{TARGETS}/*.json"], "refresh_interval": "30s"}],
        "sample_limit": at.series,
        "label_limit": LABELS,
        "label_value_length_limit": LABEL_LENGTH,
        "body_size_limit": f"{at.body_mb * _BODY}B",
        "metric_relabel_configs": relabelling(at.drop),
    }
    if at.credentials_file:
        scrape["authorization"] = {"credentials_file": str(at.credentials_file.absolute())}
    exporter = {
        "job_name": "sglang-ci",
        "honor_labels": True,
        "static_configs": [{"targets": [at.exporter]}],
    }
    timeout = f"{min(at.interval, 10)}s"
    return {
        "global": {
            "scrape_interval": every,
            "scrape_timeout": timeout,
            "evaluation_interval": every,
        },
        "rule_files": ["rules.yml", "alerts.yml"],
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [at.alertmanager]}]}],
        },
        "scrape_configs": [scrape, exporter],
    }


def relabelling(drop: Iterable[str]) -> list[Document]:
    """Return what is done to each series before it is stored.

    SGLang names its metrics `sglang:…`, which a Prometheus before 3 stores as `sglang_…`: they
    get their name back. A process id would make new series with each restart. Paths without a
    route and the families of `drop` aren't stored.
    """
    families = [{"source_labels": ["__name__"], "regex": f"sglang:({'|'.join(drop)})"}]
    return [
        {
            "source_labels": ["__name__"],
            "regex": "sglang_(.+)",
            "target_label": "__name__",
            "replacement": "sglang:$1",
        },
        *(one | {"action": "drop"} for one in families if drop),
        {"source_labels": ["endpoint"], "regex": f"({one_of(KNOWN)})?", "target_label": _KEPT,
         "replacement": "yes"},
        {"source_labels": [_KEPT], "regex": "yes", "action": "keep"},
        {"regex": f"{_KEPT}|pid", "action": "labeldrop"},
    ]  # fmt: skip


def targets(of: Iterable[ObserveTarget]) -> list[Document]:
    """Return a list of targets, as `file_sd_configs` reads one."""
    return [{"targets": [urlsplit(one.url).netloc], "labels": _labels(one)} for one in of]


def _labels(target: ObserveTarget) -> Mapping[str, str]:
    values = {name: getattr(target, name) for name in TARGET_LABELS}
    scheme = urlsplit(target.url).scheme
    secure = {"__scheme__": scheme} if scheme != "http" else {}
    return {name: value for name, value in values.items() if value} | secure


def own_targets(settings: Settings) -> tuple[ObserveTarget, ...]:
    """Return the targets that the settings name, or the server that they would start here."""
    if settings.observe.targets or settings.environments:
        return settings.observe.targets
    port = settings.server.port or 30000
    expected = settings.image.sglang_version
    return (ObserveTarget(url=f"http://{settings.server.host}:{port}", version=expected),)


def alertmanager(settings: Settings) -> Document:
    """Return `alertmanager.yml`: one receiver, to be replaced by who is really told."""
    return {
        "route": {
            "receiver": "everybody",
            "group_by": ["alertname", "environment"],
            "group_wait": f"{min(settings.observe.hold, 10)}s",
            "group_interval": f"{max(settings.observe.hold, 1)}s",
            "repeat_interval": "4h",
        },
        "inhibit_rules": [
            {
                "source_matchers": ['alertname="SglangServerGone"'],
                "target_matchers": ['alertname=~"Sglang.+"', 'alertname!="SglangServerGone"'],
                "equal": ["instance"],
            }
        ],
        "receivers": [
            {
                "name": "everybody",
                "webhook_configs": [{"url": settings.observe.webhook, "send_resolved": True}],
            }
        ],
    }


def in_folder(name: str) -> Path:
    """Return the path of a list of targets below the folder of `prometheus.yml`."""
    return Path(TARGETS) / name
