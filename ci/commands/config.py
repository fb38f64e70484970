"""Subcommands that show the settings."""

from __future__ import annotations

import json

import typer

from ci.commands.options import ConfigFile, Set, effective
from ci.settings import Settings

app = typer.Typer(help="Show the settings.", no_args_is_help=True)


@app.command("show")
def show(config: ConfigFile = None, settings: Set = None) -> None:
    """Print every setting in force, and where it came from."""
    for name, value, source in effective(config, settings, {}).rows():
        typer.echo(f"{name} = {value}  ({source})")


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of sglang-ci.toml, for editors."""
    typer.echo(json.dumps(Settings.model_json_schema(), indent=2))
