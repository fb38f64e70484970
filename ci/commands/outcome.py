"""How a subcommand ends: the report that it leaves, and the exit code that says its verdict."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio
import typer

from ci import bench, contract, fuzz, gate, graph, health, startup, traffic, upgrade
from ci.errors import SglangCiError
from ci.report.model import Report, merge
from ci.report.progress import Progress, progress_for
from ci.report.write import ReportFolder
from ci.settings import Settings
from ci.stages import StageResult, Stages, Tell
from ci.verdict import Verdict


class Refused(Exception):
    """What the caller asked for can't be: the report says all of why, and so does each line."""

    def __init__(self, report: Report, lines: list[str]) -> None:
        """Keep the report, and the lines."""
        self.report, self.lines = report, lines
        super().__init__("; ".join(lines))


EXIT = {Verdict.PASSED: 0, Verdict.FAILED: 1, Verdict.INCONCLUSIVE: 3, Verdict.ERROR: 4}
USAGE = 2
LEAVES = tuple(
    pattern
    for room in (bench, contract, fuzz, gate, graph, health, startup, traffic, upgrade)
    for pattern in room.LEAVES
)
"""Patterns of the files that stages leave beside the report."""


def reported(
    settings: Settings,
    report_dir: Path | None,
    prove: Callable[[Progress, Path], Awaitable[Report]],
) -> None:
    """Open the report's folder, run `prove`, write and show the report, and exit by its verdict.

    Args:
        settings: The settings in force.
        report_dir: The report's folder; that of the settings where there is none.
        prove: Finds what is to be reported; it may raise `Refused`.
    """
    progress, refused = progress_for(sys.stdout, os.environ), list[str]()
    place = report_dir or settings.report.directory
    with progress, ReportFolder.open(place, LEAVES) as folder:
        try:
            found = anyio.run(prove, progress, folder.path)
        except Refused as refusal:
            found, refused = refusal.report, refusal.lines
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the report is written in an instant
        try:
            folder.write(found)
        except SglangCiError:
            progress.finished(found, None)
            raise
        progress.finished(found, folder.path)
    if found.interrupted:
        raise typer.Exit(128 + signal.Signals[found.interrupted])
    for line in refused:
        typer.echo(f"sglang-ci: {line}", err=True)
    raise typer.Exit(USAGE if refused else EXIT[found.verdict])


def one_stage(
    settings: Settings,
    report_dir: Path | None,
    name: str,
    work: Callable[[Stages, Tell], Awaitable[StageResult]],
    before: Report | None = None,
) -> None:
    """Run one stage, `work`, into a report, and exit as it says.

    Args:
        settings: The settings in force.
        report_dir: The report's folder; that of the settings where there is none.
        name: The stage's name.
        work: What asks its question.
        before: What was found before, which the report keeps.
    """

    async def prove(progress: Progress, folder: Path) -> Report:
        stages = Stages(progress, folder)

        async def stage() -> None:
            await stages.run(name, partial(work, stages))

        found = await stages.report(stage)
        return merge([before, found]) if before else found

    reported(settings, report_dir, prove)
