"""The preflight before a run: what is wrong is told at once, and nothing else is begun."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import typer

from ci.commands.outcome import USAGE, Refused, awaited
from ci.preflight.asked import Finding, Intent
from ci.preflight.stage import NAME, preflight, refusals
from ci.report.model import Report, merge
from ci.report.progress import Progress
from ci.stages import StageResult, Stages, Tell
from ci.verdict import Verdict

Prove = Callable[[Progress, Path], Awaitable[Report]]


def refuse_settings(asked: Intent) -> None:
    """End the command where settings are wrong, with all else that is wrong too.

    There is no report then: where it goes is a setting as well.
    """
    if not asked.wrong:
        return
    for line in refusals(awaited(preflight, asked, lambda _: None)):
        typer.echo(f"sglang-ci: {line}", err=True)
    raise typer.Exit(USAGE)


def checked(asked: Intent, prove: Prove | None = None) -> Prove:
    """Return what asks the questions of the preflight, and then does `prove` where all is well.

    Both stand in one report. Where the caller has to give something otherwise it raises
    `Refused`, and where something is out of reach its report is the preflight's alone.
    """

    async def proven(progress: Progress, folder: Path) -> Report:
        report, found = await _examined(replace(asked, folder=folder), progress)
        if (lines := refusals(found)) and not report.interrupted:
            raise Refused(report, lines)
        if report.verdict is not Verdict.PASSED or prove is None:
            return report
        return merge([report, await prove(progress, folder)])

    return proven


async def _examined(asked: Intent, progress: Progress) -> tuple[Report, list[Finding]]:
    stages, found = Stages(progress, asked.folder), list[Finding]()

    async def work(tell_case: Tell) -> StageResult:
        def tell(finding: Finding) -> None:
            found.append(finding)
            tell_case(finding.case)

        await preflight(asked, tell)
        return StageResult()

    async def run() -> None:
        await stages.run(NAME, work)

    return await stages.report(run), found
