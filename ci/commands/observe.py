"""Subcommands of observability: whether boards have data, and what watches servers."""

from __future__ import annotations

import typer

from ci.commands import observe_render
from ci.commands.observe_check import check

app = typer.Typer(
    help="Metrics, boards, rules and alerts: whether they have data, and what they are made of.",
    no_args_is_help=True,
)
for command in (
    *(check, observe_render.render, observe_render.targets, observe_render.exporter),
    observe_render.up,
):
    app.command()(command)
