"""Everything that is rendered, put into a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ci.errors import ReportUnwritable
from ci.monitoring import scraping, shipping
from ci.monitoring.alerts import alerts
from ci.monitoring.grafana import dashboards
from ci.monitoring.recorded import rules
from ci.monitoring.scraping import own_targets
from ci.monitoring.trials import trials
from ci.secrets import files
from ci.settings import Settings
from ci.settings.observe import ObserveTarget

HEAD = "# Rendered by `sglang-ci observe render`: what is changed here is lost with the next run.\n"
GROUP = "sglang"


def documents(settings: Settings) -> dict[str, Any]:
    """Return file name to what stands in it: all of Prometheus' and Alertmanager's YAML."""
    found = alerts(settings)
    named = {alert.name: alert for alert in found}
    tests = [trial.document(named, settings.observe) for trial in trials(settings)]
    return {
        "prometheus.yml": scraping.prometheus(settings),
        "alertmanager.yml": scraping.alertmanager(settings),
        "rules.yml": _group([{"record": one.name, "expr": one.expr} for one in rules(settings)]),
        "alerts.yml": _group(
            [
                {
                    "alert": alert.name,
                    "expr": alert.expr,
                    "for": f"{alert.hold}s",
                    "labels": {"severity": alert.severity},
                    "annotations": {
                        "summary": alert.summary,
                        "threshold": alert.threshold,
                        "runbook": alert.runbook,
                    },
                }
                for alert in found
            ]
        ),
        "tests.yml": {
            "rule_files": ["rules.yml", "alerts.yml"],
            "evaluation_interval": f"{settings.observe.interval}s",
            "tests": tests,
        },
    }


def _group(entries: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {"groups": [{"name": GROUP, "rules": entries}]}


def configuration(settings: Settings) -> dict[Path, str]:
    """Return path below the folder to content: what all programs read but Grafana."""
    texts = {Path(name): _yaml(content) for name, content in documents(settings).items()}
    if settings.observe.logs:
        texts[Path("otel-collector.yml")] = _yaml(shipping.collector(settings))
    return texts | {scraping.in_folder(scraping.FROM_SETTINGS): listed(own_targets(settings))}


def _yaml(content: Any) -> str:
    text: str = yaml.safe_dump(content, sort_keys=False, width=100, allow_unicode=True)
    return HEAD + text


def rendered(settings: Settings) -> dict[Path, str]:
    """Return the same with Grafana's boards.

    Raises:
        UsageError: The extra `observe` isn't installed.
    """
    boards = {Path("boards") / name: text for name, text in dashboards(settings).items()}
    return configuration(settings) | boards


def listed(of: Iterable[ObserveTarget]) -> str:
    """Return a list of targets as the text of its file."""
    return json.dumps(scraping.targets(of), indent=1) + "\n"


def write(folder: Path, texts: Mapping[Path, str]) -> None:
    """Write files below a folder, each whole or not at all, as Prometheus may read them meanwhile.

    Raises:
        ReportUnwritable: The folder can't be written.
    """
    for name, text in texts.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.replace(path, text)
        except OSError as error:
            raise ReportUnwritable(f"{path}: can't be written: {error.strerror}") from error
