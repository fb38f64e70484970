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
    for line in drawn(reports, out):
        typer.echo(line)
    typer.echo(f"page: {out}")


def drawn(reports: list[Path], out: Path) -> list[str]:
    """Write the page of past reports, and return the same as lines.

    Raises:
        ReportUnwritable: It can't be written.
    """
    from ci.trend import changes, page
    from ci.trend.history import read

    history, marked = read(reports), changes.available()
    series = [page.told(line, changes.changes(line) if marked else ()) for line in history.lines]
    try:
        files.write(out, page.render(history, series, marked=marked))
    except OSError as error:
        raise ReportUnwritable(f"{out}: can't be written: {error.strerror}") from error
    return list(page.lines(history, series, marked=marked))
