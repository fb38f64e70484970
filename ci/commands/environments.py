"""Subcommands on what is in an environment, and what was."""

from __future__ import annotations

from typing import Annotated

import typer

from ci.commands.options import ConfigFile, Set
from ci.commands.registry import Environment, opened
from ci.errors import BrokenArtifact

Repository = Annotated[str, typer.Argument(help="The repository, registry included.")]


def history(
    repository: Repository,
    environment: Environment,
    config: ConfigFile = None,
    settings: Set = None,
) -> None:
    """List what was in an environment and when, the newest first; fails where it is broken."""
    from ci.release.chronicle import Chronicle

    with opened(repository, config, settings) as session:
        found = Chronicle.of(session.reader(environment))
    for line in found.texts():
        typer.echo(line)
    if found.problem:
        raise BrokenArtifact(
            f"{session.registry.reference}:{environment}", "history", found.problem
        )


def current(
    repository: Repository,
    environment: Environment,
    config: ConfigFile = None,
    settings: Set = None,
) -> None:
    """Print the reference, by digest, of what is in an environment."""
    with opened(repository, config, settings) as session:
        line = session.reader(environment).current()
    typer.echo(session.registry.reference.at(line.digest))


def previous(
    repository: Repository,
    environment: Environment,
    config: ConfigFile = None,
    settings: Set = None,
) -> None:
    """Print the reference, by digest, of what was in an environment before."""
    with opened(repository, config, settings) as session:
        line = session.reader(environment).previous()
    typer.echo(session.registry.reference.at(line.digest))
