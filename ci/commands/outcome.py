"""How a subcommand ends: the report that it leaves, and the exit code that says its verdict."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from ci import bench, contract, fuzz, gate, graph, health, startup, traffic, upgrade
from ci.errors import SglangCiError
from ci.settings import Settings
from ci.verdict import Verdict

if TYPE_CHECKING:
    from ci.report.model import Report
    from ci.report.progress import Progress
    from ci.stages import StageResult, Stages, Tell

_T = TypeVar("_T")


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


def interruptible() -> None:
    """Let Ctrl-C unwind what is begun from here on.

    Before, it ends the process at once (`ci.cli`): of an interrupt in the middle of an import
    Python makes another error, or none. Only the main thread can say so, and has where another
    one is at work.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def awaited(work: Callable[..., Awaitable[_T]], *arguments: object) -> _T:
    """Run asynchronous work to its end; Ctrl-C unwinds it."""
    import anyio

    interruptible()
    return anyio.run(work, *arguments)


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
    from ci.report.earlier import took
    from ci.report.progress import progress_for
    from ci.report.write import ReportFolder

    place, refused = report_dir or settings.report.directory, list[str]()
    progress = progress_for(sys.stdout, os.environ, took(place))
    interruptible()
    with progress, ReportFolder.open(place, LEAVES) as folder:
        try:
            found = awaited(prove, progress, folder.path)
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
    from ci.report.model import merge
    from ci.stages import Stages

    async def prove(progress: Progress, folder: Path) -> Report:
        stages = Stages(progress, folder)

        async def stage() -> None:
            await stages.run(name, partial(work, stages))

        found = await stages.report(stage)
        return merge([before, found]) if before else found

    reported(settings, report_dir, prove)
