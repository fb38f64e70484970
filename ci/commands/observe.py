"""Subcommands of observability: whether it has data, and what it is made of."""

from __future__ import annotations

import typer

from ci.commands.observe_check import check

app = typer.Typer(
    help="Metrics, boards, rules and alerts: whether they have data.", no_args_is_help=True
)
app.command()(check)
