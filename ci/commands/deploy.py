"""Subcommands that bring a released digest to where it runs, and back.

Who asks the registry and who signs stands in variables alone, as for `sglang-ci release`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from ci.commands.options import ConfigFile, ReportDir, Set, effective
from ci.commands.outcome import USAGE, awaited, one_stage, reported
from ci.commands.remote import deployment_of, grounds_of, there
from ci.verdict import Verdict

if TYPE_CHECKING:
    from ci.report.model import Report
    from ci.report.progress import Progress
    from ci.settings import Settings
    from ci.stages import StageResult, Stages, Tell

app = typer.Typer(
    help="Deploy what an environment's tag names: start, prove, shift, watch, drain, stop.",
    invoke_without_command=True,
)
app.command(hidden=True)(there)
Environment = Annotated[
    str, typer.Option("--environment", "-e", help="An environment of the settings.")
]
Repository = Annotated[
    str, typer.Option(help="The repository of releases. [default: registry.repository]")
]
Wait = Annotated[
    float, typer.Option(help="Most seconds to wait for another deployment's end.", min=0)
]
Approved = Annotated[
    int, typer.Option(help="Open a canary's manual gates up to this share.", min=0, max=100)
]


@app.callback()
def deploy(
    context: typer.Context,
    environment: Environment = "",
    repository: Repository = "",
    wait: Wait = 0,
    approved: Approved = 0,
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Deploy what an environment's tag names; repeat it to resume one that was cut off."""
    if context.invoked_subcommand is not None:
        return
    if not environment:
        raise typer.BadParameter("missing; name one of the settings", param_hint="--environment")
    from ci.commands.deploying import deployed
    from ci.deploy.released import current

    at = _settings(config, settings, repository)
    deployed(at, environment, report_dir, current, config=config, wait=wait, approved=approved)


def rollback(
    environment: Environment,
    repository: Repository = "",
    wait: Wait = 0,
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Promote what was in an environment before, and deploy it, all traffic at once."""
    from ci.commands.deploying import deployed
    from ci.deploy.released import promoted_back
    from ci.errors import UsageError

    at = _settings(config, settings, repository)
    if not at.registry.repository:
        raise UsageError("a roll-back reads the history in a registry: set registry.repository")
    deployed(at, environment, report_dir, promoted_back, config=config, wait=wait, back=True)


@app.command()
def resume(
    environment: Environment,
    repository: Repository = "",
    wait: Wait = 0,
    approved: Approved = 0,
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Go on with what is on its way, at any time; begin nothing new."""
    from ci.commands.deploying import deployed
    from ci.deploy.released import current

    at = _settings(config, settings, repository)
    deployed(
        at,
        environment,
        report_dir,
        current,
        config=config,
        wait=wait,
        approved=approved,
        resumed=True,
    )


@app.command()
def wait(
    environment: Environment,
    seconds: Annotated[float, typer.Option(help="Most seconds to wait.", min=0)] = 600,
    repository: Repository = "",
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Wait until one release runs alone, is proven and has all traffic; change nothing.

    FAILED where that is another one than the tag names, INCONCLUSIVE where it isn't so in time.
    """
    from ci.commands.deploying import wanted_by
    from ci.deploy.resting import NAME, waited

    at = _settings(config, settings, repository)
    grounds, found = grounds_of(at, environment, config), wanted_by(at, environment)
    wanted = found.release if found else None

    async def work(_: Stages, tell: Tell) -> StageResult:
        return await waited(grounds, wanted, seconds, tell)

    one_stage(at, report_dir, NAME, work)


@app.command()
def abort(
    environment: Environment,
    wait: Wait = 0,
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Give all traffic back to the proven release that was there first; take the other away."""
    from ci.commands.deploying import aborted

    at = effective(config, settings, {}).settings
    aborted(at, environment, report_dir, config=config, wait=wait)


@app.command()
def status(environment: Environment, config: ConfigFile = None, settings: Set = None) -> None:
    """Print each slot: what runs there, whether it is proven, its share and open requests."""
    from ci.deploy.places import places

    grounds = grounds_of(effective(config, settings, {}).settings, environment, config)
    world = awaited(grounds.looked)
    typer.echo(f"{environment} at {grounds.router.url}")
    for place in places(world):
        slot, route = place.slot, place.route
        since = f" since {slot.started:%Y-%m-%d %H:%M:%S}Z" if slot.started else ""
        what = slot.release.called if slot.release else ""
        proven = ("proven" if slot.proven else "not proven") if slot.release else ""
        told = (slot.life.value + since, proven, slot.ended, what)
        typer.echo(f"{place.name}: {', '.join(filter(None, told))}")
        lost = route.traffic.failed + route.traffic.cut
        typer.echo(
            f"  share {route.share} of 100, {route.open} open, {route.traffic.requests} requests, "
            f"{lost} lost"
        )


@app.command()
def plan(
    environment: Environment,
    repository: Repository = "",
    config: ConfigFile = None,
    settings: Set = None,
) -> None:
    """Print every step that a deployment would take now, and what doesn't fit; change nothing.

    Exits with 2 where something doesn't fit: a budget, a grace, GPUs.
    """
    from ci.boot import gpus
    from ci.commands.deploying import wanted_by
    from ci.deploy.fit import misfits
    from ci.deploy.opening import shut
    from ci.deploy.plan import steps
    from ci.deploy.released import of_this_host
    from ci.report.model import now

    at = _settings(config, settings, repository)
    grounds, found = grounds_of(at, environment, config), wanted_by(at, environment)
    release = found.release if found else of_this_host(grounds.settings)
    world = awaited(grounds.looked)
    if not (found and found.rollback) and (why := awaited(shut, grounds, release, now())):
        typer.echo(f"not now: {why}")
    if found and found.policy.verdict is not Verdict.PASSED:
        typer.echo(f"not now: {found.policy.name}: {found.policy.cause}")
    for number, step in enumerate(steps(world, deployment_of(grounds).wanted(release)), 1):
        typer.echo(f"{number}. {step.line}")
    own = None if grounds.at.host else awaited(gpus.count)
    report = found.report if found else None
    unfit = [*misfits(grounds.settings, grounds.at, report, own)]
    for line in unfit:
        typer.echo(f"misfit: {line}")
    if unfit:
        raise typer.Exit(USAGE)


@app.command()
def demo(config: ConfigFile = None, settings: Set = None, report_dir: ReportDir = None) -> None:
    """Show it on this host: switch there and back, and take a bad release back, under streams."""
    from ci.deploy.demo import demonstrate
    from ci.stages import Stages

    at = effective(config, settings, {}).settings

    async def prove(progress: Progress, folder: Path) -> Report:
        stages = Stages(progress, folder)
        with TemporaryDirectory(prefix="sglang-ci-") as place:
            return await stages.report(partial(demonstrate, at, Path(place), stages))

    reported(at, report_dir, prove)


def _settings(config: Path | None, assignments: list[str] | None, repository: str) -> Settings:
    given = {"registry.repository": repository} if repository else {}
    return effective(config, assignments, given).settings
