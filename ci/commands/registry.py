"""What subcommands that speak to a registry share: options, and the session with it."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ci.commands.options import effective
from ci.commands.outcome import interruptible
from ci.errors import UsageError
from ci.extras import install

if TYPE_CHECKING:
    from ci.release.session import RepositorySession
    from ci.settings import Settings

Environment = Annotated[str, typer.Option(help="An environment of the settings.")]


def opened(
    reference: str, config: Path | None, settings: list[str] | None
) -> AbstractContextManager[RepositorySession]:
    """Return a session with the repository of `reference`, by the settings in force."""
    return session(reference, effective(config, settings, {}).settings)


def session(reference: str, settings: Settings) -> AbstractContextManager[RepositorySession]:
    """Return a session with the repository of `reference`, as whoever the variables name."""
    needs_extra()
    from ci.release.session import session as begin
    from ci.report.model import now

    interruptible()
    return begin(settings, reference, os.environ, now(), note)


def note(text: str) -> None:
    """Tell something beside a command's own output."""
    typer.echo(text, err=True)


def needs_extra() -> None:
    """See that what releases need is installed: the prober's packages don't include it.

    Raises:
        UsageError: It isn't; the message says what to install.
    """
    missing = [name for name in ("oras", "cryptography") if find_spec(name) is None]
    if missing:
        raise UsageError(f"{', '.join(missing)} not installed: {install('release')}")
