"""The subcommand that shows the figures of past reports over time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ci.errors import ReportUnwritable
from ci.secrets import files


def trend(
    reports: Annotated[
        list[Path], typer.Argument(help="Reports, or folders that hold them at any depth.")
    ],
    out: Annotated[Path, typer.Option(help="The page.")] = Path("trend.html"),
) -> None:
    """Draw the figures of past reports over time, with their change points. It never judges."""
    from ci.trend import changes, page
    from ci.trend.history import read

    history, marked = read(reports), changes.available()
    drawn = [page.told(line, changes.changes(line) if marked else ()) for line in history.lines]
    try:
        files.write(out, page.render(history, drawn, marked=marked))
    except OSError as error:
        raise ReportUnwritable(f"{out}: can't be written: {error.strerror}") from error
    for line in page.lines(history, drawn, marked=marked):
        typer.echo(line)
    typer.echo(f"page: {out}")
