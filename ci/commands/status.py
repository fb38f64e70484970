"""The subcommand that draws a repository as a folder of pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ci.commands.environments import Repository
from ci.commands.options import ConfigFile, Set
from ci.commands.registry import opened
from ci.commands.trend import drawn
from ci.errors import UsageError

TREND = "trend.html"


def status(
    repository: Repository,
    out: Annotated[Path, typer.Option(help="The folder of the pages.")] = Path("site"),
    reports: Annotated[
        list[Path] | None,
        typer.Option(help="Kept reports, or folders of them, whose figures are drawn over time."),
    ] = None,
    config: ConfigFile = None,
    settings: Set = None,
) -> None:
    """Draw what is in each environment, what was, and every release, as pages that need no server.

    All of it comes from the registry, and is judged while it is drawn.
    """
    from ci.release.page import write_html
    from ci.release.site import FOLDER, INDEX, Site

    made(out / FOLDER)
    if reports:
        drawn(reports, out / TREND)
    further = {"Figures over time": TREND} if reports else {}
    with opened(repository, config, settings) as session:
        if session.reference.tag or session.reference.digest:
            raise UsageError(f"{repository}: name the repository alone, without tag or digest")
        pages = dict(Site(session).pages(further))
    for path, page in pages.items():
        write_html(page, out / path)
    for old in (out / FOLDER).glob("sha256-*.html"):
        if f"{FOLDER}/{old.name}" not in pages:
            old.unlink()
    typer.echo(f"page: {out / INDEX}")


def made(folder: Path) -> None:
    """Make a folder, and those above it.

    Raises:
        UsageError: It can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} can't be made: {error.strerror}") from error
