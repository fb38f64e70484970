"""The settings of boards, rules and alerts that must have data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ci.settings.fields import Budget, Filled, HostPath, Section
from ci.settings.fuzz import Pattern

QueryFile = Annotated[Path, HostPath("file", "server", travels=True)]


class ObserveSettings(Section):
    """[observe]: boards and rules whose every query must find what it asks for."""

    in_ci: bool = Field(default=False, description="Whether `ci` asks too, in about a minute.")
    boards: tuple[QueryFile, ...] = Field(
        (), description="Dashboards, scalers or files of PromQL; relative to this file."
    )
    rules: tuple[QueryFile, ...] = Field(
        (), description="Files of recording rules and alerts; relative to this file."
    )
    scraper: Literal["auto", "prometheus-2", "prometheus-3", "opentelemetry", "victoriametrics"] = (
        Field(
            "auto",
            description="Who scrapes the server, which decides what metrics are called; auto: "
            "the Prometheus that is asked or found, else prometheus-3.",
        )
    )
    rename: dict[Pattern, str] = Field(
        {},
        description="What the scrape's metric_relabel_configs rename: regular expression of a "
        'whole name to its replacement, such as "sglang_(.+)" = "sglang:$1".',
    )
    labels: tuple[Filled, ...] = Field(
        (), description="Labels that the scrape adds, beside instance, job and Kubernetes' own."
    )
    prometheus: Annotated[str, HostPath("program", "host")] = Field(
        "prometheus", description="The Prometheus that is started to try the queries; empty: none."
    )
    timeout: Budget = Field(30.0, description="Most seconds for one request.")
    budget: Budget = Field(120.0, description="Most seconds for trying the queries.")
