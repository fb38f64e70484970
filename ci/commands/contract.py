"""Subcommands of contracts: what users and dashboards rely on, recorded and compared."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ci.commands.options import ConfigFile, ReportDir, Set, effective, listed
from ci.commands.outcome import awaited, one_stage, reported
from ci.commands.server import Flags, Url
from ci.server.key import BASELINE_API_KEY

if TYPE_CHECKING:
    from ci.settings import Settings
    from ci.stages import StageResult, Stages, Tell
    from ci.upgrade.environments import Installer

app = typer.Typer(
    help="Contracts: flags, routes, errors, metrics and defaults that others rely on.",
    no_args_is_help=True,
)

Installed = Annotated[
    str,
    typer.Option(
        metavar="PYTHON|FILE",
        help="The server's interpreter, or what ci/contract/interface.py printed in its image: "
        "for launch flags and the engine's defaults.",
    ),
]


def _side(text: str) -> str:
    from ci.contract.stage import side_named

    return side_named(text)


Side = Annotated[
    str, typer.Argument(help="A recorded file, or the URL of a running server.", parser=_side)
]


@app.command()
def record(
    url: Url,
    out: Annotated[Path, typer.Option(help="File that the recording goes to.")],
    installed: Installed = "",
    config: ConfigFile = None,
    settings: Set = None,
) -> None:
    """Record what users and dashboards rely on of a running server."""
    from ci import engines
    from ci.contract import stage
    from ci.contract.model import save

    at = effective(config, settings, {}).settings
    engines.only_sglang(at.engine.profile, "contract")
    found = awaited(stage.ContractSide(url, installed).contract, at.contract.timeout)
    save(found, out)
    for name, part in found.parts.items():
        typer.echo(f"{name}: {part.unknown or part.absent or f'{len(part.items)} items'}")


@app.command()
def compare(
    baseline: Side,
    candidate: Side,
    installed: Installed = "",
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Compare a candidate's contract with a baseline's; --installed is the candidate's."""
    from ci import engines
    from ci.contract import stage

    at = effective(config, settings, {}).settings
    engines.only_sglang(at.engine.profile, "contract")
    own = os.environ.get(BASELINE_API_KEY)
    sides = (stage.ContractSide(baseline, key=own), stage.ContractSide(candidate, installed))

    async def compared(stages: Stages, tell: Tell) -> StageResult:
        return await stage.check_contract(sides, at.contract, stages.folder, tell)

    one_stage(at, report_dir, stage.NAME, compared)


def upgrade(
    old: Annotated[str, typer.Option("--from", metavar="VERSION", help="The SGLang in use.")],
    new: Annotated[str, typer.Option("--to", metavar="VERSION", help="The SGLang to go to.")],
    flags: Flags = None,
    dashboard: Annotated[
        list[Path] | None,
        typer.Option(
            help="A Grafana dashboard (.json), rules of Prometheus (.yaml), or PromQL expressions, "
            "one a line; beside those of [observe]. May be repeated."
        ),
    ] = None,
    keep: Annotated[bool, typer.Option(help="Keep both environments for the next time.")] = True,  # noqa: FBT002
    performance: Annotated[
        bool | None,
        typer.Option(
            "--performance/--no-performance",
            help="Compare their speed, as [gate] says. [default: upgrade.performance]",
        ),
    ] = None,
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Try another SGLang version with your flags and dashboards, and say what breaks."""
    from ci import engines
    from ci.boards.read import read
    from ci.upgrade import speed
    from ci.upgrade.run import Upgrade

    given = listed("server.flags", flags)
    given |= {} if performance is None else {"upgrade.performance": str(performance).lower()}
    at = effective(config, settings, given).settings
    engines.only_sglang(at.engine.profile, "upgrade")
    files = dict.fromkeys((*at.observe.rules, *at.observe.boards, *(dashboard or ())))
    boards = tuple(read(path) for path in files)
    contest, installer = speed.contest(at), _installer(at)
    try:
        asked = Upgrade((old, new), at, boards, installer, contest)
        reported(at, report_dir, asked.advise)
    finally:
        for version in () if keep else (old, new):
            installer.discard(version)


def _installer(at: Settings) -> Installer:
    from ci.upgrade.environments import Installer

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = at.upgrade.environments or cache / "sglang-ci" / "environments"
    return Installer(folder.absolute(), at.upgrade.uv, at.upgrade.overrides)
