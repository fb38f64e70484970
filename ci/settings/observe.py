"""The settings of watching servers: what must have data, and what is rendered for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ci.settings.bench import Count, Share
from ci.settings.fields import Budget, Filled, HostPath, NoBool, Section, Unset
from ci.settings.fuzz import Pattern

FAST, SLOW = 14.4, 6.0
"""How many times faster than allowed a budget of late requests burns when an alert comes: at 14.4
a month's budget is gone in two days, at 6 in five."""
LABEL = r"^[^\s\"\\{}]*$"
"""What a label may be here: it stands in YAML, in PromQL and in a URL."""
QueryFile = Annotated[Path, HostPath("file", "server", "--boards", beside="boards", travels=True)]
Listens = Annotated[str, Field(pattern=r"^[^@/\s:]+:[0-9]{1,5}$")]


def _address(url: str) -> str:
    return url.rstrip("/")


class ObserveTarget(Section):
    """[[observe.targets]]: a server that isn't deployed by this project."""

    url: Annotated[
        str, Field(pattern=r"^https?://[^@/\s]+:[0-9]{1,5}/?$"), AfterValidator(_address)
    ] = Field(description="The server's base URL, port included.")
    environment: str = Field("", pattern=LABEL, description="Label environment.")
    slot: str = Field("", pattern=LABEL, description="Label slot.")
    release: str = Field("", pattern=LABEL, description="Label release: what a person calls it.")
    image_digest: str = Field("", pattern=LABEL, description="Label image_digest, sha256:…")
    version: str = Field(
        "",
        pattern=LABEL,
        description="Label version: the SGLang version that has to run there; empty: not compared.",
    )


class ObserveSettings(Section):
    """[observe]: boards and rules that must have data, and what is rendered to watch servers."""

    in_ci: bool = Field(default=False, description="Whether `ci` asks too, in about a minute.")
    boards: tuple[QueryFile, ...] = Field(
        (), description="Dashboards, scalers or files of PromQL; relative to this file."
    )
    rules: tuple[QueryFile, ...] = Field(
        (), description="Files of recording rules and alerts; relative to this file."
    )
    scraper: Literal[
        "auto",
        "prometheus-2",
        "prometheus-3",
        "prometheus-3-legacy",
        "opentelemetry",
        "victoriametrics",
    ] = Field(
        "auto",
        description="Who scrapes the server, which decides what metrics are called; auto: "
        "the Prometheus that is asked or found, else prometheus-3; prometheus-3-legacy is one "
        "whose metric_name_validation_scheme is legacy.",
    )
    rename: dict[Pattern, str] = Field(
        {},
        description="What the scrape's metric_relabel_configs rename: regular expression of a "
        'whole name to its replacement, such as "sglang_(.+)" = "sglang:$1".',
    )
    scrape: Annotated[QueryFile | None, Unset] = Field(
        None,
        description="A configuration of Prometheus whose scrape `job` says what is stored of a "
        "page and which labels targets have, in place of rename; relative to this file.",
    )
    labels: tuple[Filled, ...] = Field(
        (), description="Labels that the scrape adds, beside instance, job and Kubernetes' own."
    )
    prometheus: Annotated[str, HostPath("program", "host")] = Field(
        "prometheus", description="The Prometheus that is started to try the queries; empty: none."
    )
    timeout: Budget = Field(30.0, description="Most seconds for one request.")
    budget: Budget = Field(120.0, description="Most seconds for trying the queries.")
    job: Annotated[str, Field(pattern=r"^[A-Za-z][\w-]*$")] = Field(
        "sglang", description="Prometheus' job of all servers, in what is rendered and in scrape."
    )
    targets: tuple[ObserveTarget, ...] = Field(
        (), description="Servers to scrape, beside those of deployed environments."
    )
    interval: Annotated[int, Field(ge=1, le=300), NoBool] = Field(
        15, description="Seconds between two scrapes, and between two looks at the rules."
    )
    window: Annotated[int, Field(ge=4, le=3600), NoBool] = Field(
        300,
        description="Seconds that an alert looks back. SLOs are watched over 1 and 12 of them, and "
        "over 6 and 72.",
    )
    stall: Annotated[int, Field(ge=4, le=3600), NoBool] = Field(
        60, description="Seconds without a sign of work after which a process counts as hung."
    )
    hold: Annotated[int, Field(ge=0, le=3600), NoBool] = Field(
        60, description="Seconds for which something must be so before its alert fires."
    )
    slo_ttft: Budget | None = Field(
        None, description="Most seconds to the first token; unset: bench.slo_ttft, or else 2."
    )
    slo_tpot: Budget | None = Field(
        None, description="Most seconds a token after it; unset: bench.slo_tpot, or else 0.1."
    )
    objective: Annotated[float, Field(gt=0.931, lt=1), NoBool] = Field(
        0.95,
        description="Share of requests that have to meet the SLOs; below 0.931 no burn of "
        f"{FAST:g} times the rest could be seen.",
    )
    loss: Annotated[float, Field(gt=0, lt=1), NoBool] = Field(
        0.03,
        description="Share of requests that may end in an error, or aborted: what a deployment's "
        "watch calls bad (bad_loss).",
    )
    queue_limit: Annotated[Count | None, Unset] = Field(
        None,
        description="Waiting requests that are too many; unset: --max-queued-requests of "
        "server.flags, or else a queue that is never empty for a window.",
    )
    kv_full: Share = Field(
        0.9, description="Share of the KV cache in use above which it counts as full."
    )
    cache_fall: Share = Field(
        0.5,
        description="By how much the share of cached prompt tokens may fall.",
    )
    unknown_paths: Count = Field(
        20, description="Paths without a route, new within a window, that are too many."
    )
    series: Count = Field(
        2000, description="Most series of one server that are stored: a scrape of more is refused."
    )
    body_mb: Count = Field(16, description="Largest page of metrics, in MB: a larger is refused.")
    drop: tuple[Filled, ...] = Field(
        ("routing_key_.+", "dp_attention_.+", "swa_.+", "mamba_.+"),
        description="Families that aren't stored, as regular expressions of names behind sglang:.",
    )
    credentials_file: Annotated[Path | None, Unset, HostPath("file", "host")] = Field(
        None, description="File with the key that Prometheus sends, where metrics want one."
    )
    alertmanager: Listens = Field("127.0.0.1:9093", description="Where Alertmanager listens.")
    exporter: Listens = Field(
        "127.0.0.1:9464", description="Where `observe exporter` listens: what servers really are."
    )
    webhook: Annotated[str, Field(pattern=r"^https?://[^@\s]+$")] = Field(
        "http://127.0.0.1:9465/alerts", description="Who gets the alerts: a URL that takes POSTs."
    )

    logs: tuple[Annotated[Path, HostPath("file", "host")], ...] = Field(
        (), description="Logs to be shipped, LOG_FILE of servers; a name may have * in it."
    )
    logs_to: Annotated[str, Field(pattern=r"^https?://[^@?\s]+$")] = Field(
        "http://127.0.0.1:9428/insert/opentelemetry/v1/logs",
        description="Who gets the logs, by OTLP over HTTP; VictoriaLogs has this path.",
    )

    @model_validator(mode="after")
    def _one_says_what_is_renamed(self) -> Self:
        if self.rename and self.scrape:
            raise ValueError("rename and scrape both say what the scrape renames: keep one")
        return self

    @model_validator(mode="after")
    def _windows_hold_scrapes(self) -> Self:
        if min(self.window, self.stall) < 4 * self.interval:
            raise ValueError(
                f"window and stall need four scrapes at least: {4 * self.interval} seconds"
            )
        return self
