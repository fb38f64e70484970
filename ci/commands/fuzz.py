"""The subcommand that asks a server what nobody would ask."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from ci.commands.options import ConfigFile, ReportDir, Set, effective, listed
from ci.commands.outcome import one_stage
from ci.commands.server import Url
from ci.errors import UsageError
from ci.extras import install

if TYPE_CHECKING:
    from ci.report.model import Check
    from ci.stages import Stages

Operation = Annotated[
    list[str] | None,
    typer.Option("--operation", help="Which, as a regular expression; several; default all."),
]


def fuzz(
    url: Url,
    operation: Operation = None,
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Ask every operation with requests drawn from the server's own schema."""
    from ci import engines
    from ci.fuzz.check import NAME, Fuzzing

    if find_spec("schemathesis") is None:
        raise UsageError(f"schemathesis isn't installed: {install('fuzz')}")
    at = effective(config, settings, listed("fuzz.include", operation)).settings
    engines.only_sglang(at.engine.profile, "fuzz")

    async def work(stages: Stages) -> Check:
        run = Fuzzing(url, at.fuzz, stages.case, stages.progress.note)
        return await run.check(stages.folder)

    one_stage(at, report_dir, NAME, work)
