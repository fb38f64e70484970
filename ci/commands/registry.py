"""What subcommands that speak to a registry share: options, and the session with it."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ci.commands.options import effective
from ci.report.model import now

if TYPE_CHECKING:
    from ci.release.session import Session
    from ci.settings import Settings

Environment = Annotated[str, typer.Option(help="An environment of the settings.")]


def opened(
    reference: str, config: Path | None, settings: list[str] | None
) -> AbstractContextManager[Session]:
    """Return a session with the repository of `reference`, by the settings in force."""
    return session(reference, effective(config, settings, {}).settings)


def session(reference: str, settings: Settings) -> AbstractContextManager[Session]:
    """Return a session with the repository of `reference`, as whoever the variables name."""
    from ci.release.session import session as begin

    return begin(settings, reference, os.environ, now())
