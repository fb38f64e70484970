"""The subcommand that asks what answers without a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ci.commands.options import ConfigFile, ReportDir, Set, effective
from ci.commands.outcome import one_stage
from ci.commands.server import Url

if TYPE_CHECKING:
    from ci.stages import StageResult, Stages, Tell


def exposure(
    url: Url, config: ConfigFile = None, settings: Set = None, report_dir: ReportDir = None
) -> None:
    """List the routes that change a server and answer without a key; change nothing."""
    from ci import engines
    from ci.exposure.stage import NAME, expose

    at = effective(config, settings, {}).settings
    engines.only_sglang(at.engine.profile, NAME)

    async def work(_: Stages, tell: Tell) -> StageResult:
        return await expose(url, at.exposure, tell)

    one_stage(at, report_dir, NAME, work)
