"""The subcommand that sends a server unusual and invalid requests."""

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
    from ci.stages import StageResult, Stages, Tell

Operation = Annotated[
    list[str] | None,
    typer.Option("--operation", help="Regular expression of operations to ask; may be repeated."),
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
    from ci.fuzz.stage import NAME, Fuzzing

    if find_spec("schemathesis") is None:
        raise UsageError(f"schemathesis isn't installed: {install('fuzz')}")
    at = effective(config, settings, listed("fuzz.include", operation)).settings
    engines.only_sglang(at.engine.profile, "fuzz")

    async def work(stages: Stages, tell: Tell) -> StageResult:
        return await Fuzzing(url, at.fuzz, tell, stages.progress.note).run(stages.folder)

    one_stage(at, report_dir, NAME, work)
