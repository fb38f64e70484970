"""The subcommand that asks whether boards, rules and alerts find what they ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ci.commands.options import ConfigFile, ReportDir, Set, effective
from ci.commands.outcome import one_stage
from ci.commands.server import Url
from ci.server.reach import base_url

if TYPE_CHECKING:
    from ci.stages import StageResult, Stages, Tell

Boards = Annotated[
    list[Path] | None,
    typer.Option("--board", help="A dashboard, a scaler or a file of PromQL; may be repeated."),
]
Rules = Annotated[
    list[Path] | None,
    typer.Option("--rules", help="A file of recording rules or alerts; may be repeated."),
]
PrometheusUrl = Annotated[
    str,
    typer.Option(
        metavar="URL",
        parser=lambda text: base_url(text) if text else "",
        help="A Prometheus that scrapes the server; without it one is started for a moment.",
    ),
]
Scrape = Annotated[
    Path | None,
    typer.Option(help="The Prometheus' own configuration: what it makes of the server's series."),
]


def check(
    url: Url,
    board: Boards = None,
    rules: Rules = None,
    prometheus: PrometheusUrl = "",
    scrape: Scrape = None,
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Hold boards, rules and alerts against a running server: has every query data?"""
    from ci.observe.stage import NAME, ObserveAsked, observe

    given = {"observe.scrape": str(scrape.absolute())} if scrape else {}
    at = effective(config, settings, given).settings
    asked = ObserveAsked(tuple(board or ()), tuple(rules or ()), prometheus)

    async def work(_: Stages, tell: Tell) -> StageResult:
        return await observe(url, at.observe, tell, asked)

    one_stage(at, report_dir, NAME, work)
