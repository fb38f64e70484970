"""Who scrapes a server, with which Accept header, and what its metrics are called there.

SGLang's `prometheus_client` answers by that header: it writes `sglang:` as `sglang_` where
OpenMetrics is asked for without `escaping=allow-utf-8`. So a page that is read as curl reads it
says nothing of what a Prometheus stores.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_MODERN = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.7,"
    "application/openmetrics-text;version=0.0.1;q=0.6,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "text/plain;version=0.0.4;q=0.4,*/*;q=0.3"
)
"""Source: `acceptHeader` in prometheus/prometheus v0.316.0 (3.16), scrape/scrape.go, with its
default protocols. Those of 3.0 to 3.15 differ in weights alone."""
UNDERSCORES = "underscores"
"""How a Prometheus 3 asks for names where `metric_name_validation_scheme` is legacy."""
LEGACY = "prometheus-3-legacy"
VICTORIAMETRICS = "VictoriaMetrics"
"""What stands for its version: it tells that of a Prometheus 2, to please who asks."""


@dataclass(frozen=True)
class Scraper:
    """Somebody who scrapes.

    Args:
        title: What it is called.
        accept: The Accept header that it sends.
        plain: Whether it stores a histogram's bounds as plain numbers, without `.0` or exponents.
    """

    title: str
    accept: str
    plain: bool = False


SCRAPERS: Mapping[str, Scraper] = {
    "prometheus-2": Scraper(
        "Prometheus 2",
        "application/openmetrics-text;version=1.0.0,"
        "application/openmetrics-text;version=0.0.1;q=0.75,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    ),
    "prometheus-3": Scraper("Prometheus 3", _MODERN),
    LEGACY: Scraper("Prometheus 3 with legacy names", _MODERN.replace("allow-utf-8", UNDERSCORES)),
    "opentelemetry": Scraper("the OpenTelemetry collector", _MODERN, plain=True),
    "victoriametrics": Scraper("VictoriaMetrics' agent", "text/plain;version=0.0.4;q=1,*/*;q=0.1"),
}
"""Sources: `scrapeAcceptHeader` in prometheus/prometheus v0.42.0, scrape/scrape.go; the collector's
prometheusreceiver v0.165.0 scrapes by prometheus/prometheus v0.315.1 with that one's defaults, and
prometheus/otlptranslator v1.0.0 leaves colons as they are; lib/promscrape/client.go in
VictoriaMetrics v1.154.1."""


def of_version(version: str) -> str:
    """Return the scraper that a Prometheus of this version is; that of 3 where it tells none."""
    if version == VICTORIAMETRICS:
        return "victoriametrics"
    return "prometheus-2" if re.match(r"v?2\.", version) else "prometheus-3"
