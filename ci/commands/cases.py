"""The subcommand that generates smoke cases against a running server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ci.commands.options import ConfigFile, ReportDir, Set, effective
from ci.commands.outcome import one_stage
from ci.commands.server import Url

if TYPE_CHECKING:
    from ci.stages import StageResult, Stages, Tell

Topics = Annotated[
    list[str] | None, typer.Option("--topic", help="A topic of prompts; may be repeated.")
]
Capabilities = Annotated[
    list[str] | None, typer.Option("--capability", help="A capability to test; may be repeated.")
]


def generate_cases(
    url: Url,
    out: Annotated[Path, typer.Option(help="Folder that the cases are written to.")],
    seed: Annotated[int, typer.Option(help="Where the random choices start.")] = 0,
    count: Annotated[int, typer.Option(min=1, max=5000, help="How many cases to write.")] = 63,
    topic: Topics = None,
    capability: Capabilities = None,
    record: Annotated[  # noqa: FBT002
        bool, typer.Option("--record", help="Expect this server's answers from later ones too.")
    ] = False,
    python: Annotated[str, typer.Option(help="An interpreter that has SGLang.")] = sys.executable,
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Write smoke cases with SGLang's frontend language, tried on a running server."""
    from ci import engines
    from ci.cases import stage
    from ci.cases.language import Language

    at = effective(config, settings, {}).settings
    engines.only_sglang(at.engine.profile, "generate-cases")
    asked = stage.CasesWanted(out, seed, count, tuple(topic or ()), tuple(capability or ()), record)
    language = Language(url, python, at.smoke.timeout, at.smoke.budget)

    async def generated(_: Stages, tell: Tell) -> StageResult:
        return await stage.generate(language, asked, tell)

    one_stage(at, report_dir, stage.NAME, generated)
