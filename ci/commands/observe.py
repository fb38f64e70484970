"""The subcommands of `sglang-ci observe`, put together."""

from __future__ import annotations

import typer

from ci.commands import observe_render

app = typer.Typer(help="Watch servers in production: rules, alerts and boards.")
for command in (observe_render.render, observe_render.targets, observe_render.exporter):
    app.command()(command)
app.command()(observe_render.up)
