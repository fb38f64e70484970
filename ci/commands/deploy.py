"""Subcommands that bring a released digest to where it runs, and back.

Who asks the registry and who signs stands in variables alone, as for `sglang-ci release`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from anyio import to_thread

from ci.commands.options import ConfigFile, ReportDir, Set, effective
from ci.commands.outcome import reported
from ci.commands.registry import session as begin
from ci.commands.remote import deployment_of, grounds_of, there
from ci.report.model import Report
from ci.report.progress import Progress
from ci.stages import StageResult, Stages, Tell
from ci.verdict import Verdict

if TYPE_CHECKING:
    from ci.deploy.deployment import Deployment
    from ci.deploy.released import Released
    from ci.deploy.wanted import Wanted
    from ci.deploy.world import Release
    from ci.release.session import RepositorySession
    from ci.settings import Settings

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
    from ci.deploy.released import current

    at = _settings(config, settings, repository)
    _deployed(at, environment, config, report_dir, wait, approved, current)


def rollback(
    environment: Environment,
    repository: Repository = "",
    wait: Wait = 0,
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Promote what was in an environment before, and deploy it, all traffic at once."""
    from ci.deploy.released import promoted_back
    from ci.errors import UsageError

    at = _settings(config, settings, repository)
    if not at.registry.repository:
        raise UsageError("a roll-back reads the history in a registry: set registry.repository")
    _deployed(at, environment, config, report_dir, wait, 0, promoted_back, back=True)


@app.command()
def abort(
    environment: Environment,
    wait: Wait = 0,
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Keep what is proven and has most traffic, give it all, and take the other away."""
    at = effective(config, settings, {}).settings
    deployment = deployment_of(grounds_of(at, environment, config), wait=wait)
    _run(at, report_dir, deployment, deployment.wanted(None))


@app.command()
def status(environment: Environment, config: ConfigFile = None, settings: Set = None) -> None:
    """Print each slot: what runs there, whether it is proven, its share and open requests."""
    from ci.deploy.places import places

    grounds = grounds_of(effective(config, settings, {}).settings, environment, config)
    world = anyio.run(grounds.looked)
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
    """Print every step that a deployment would take now; change nothing."""
    from ci.deploy.plan import steps
    from ci.deploy.released import current, of_this_host

    at = _settings(config, settings, repository)
    grounds = grounds_of(at, environment, config)
    if at.registry.repository:
        with begin(at.registry.repository, at) as session:
            release = current(session, environment).release
    else:
        release = of_this_host(grounds.settings)
    world = anyio.run(grounds.looked)
    for number, step in enumerate(steps(world, deployment_of(grounds).wanted(release)), 1):
        typer.echo(f"{number}. {step.line}")


@app.command()
def demo(config: ConfigFile = None, settings: Set = None, report_dir: ReportDir = None) -> None:
    """Show it on this host: switch there and back, and take a bad release back, under streams."""
    from ci.deploy.demo import demonstrate

    at = effective(config, settings, {}).settings

    async def prove(progress: Progress, folder: Path) -> Report:
        stages = Stages(progress, folder)
        with TemporaryDirectory(prefix="sglang-ci-") as place:
            return await stages.report(partial(demonstrate, at, Path(place), stages))

    reported(at, report_dir, prove)


def _settings(config: Path | None, assignments: list[str] | None, repository: str) -> Settings:
    given = {"registry.repository": repository} if repository else {}
    return effective(config, assignments, given).settings


def _deployed(
    at: Settings,
    environment: str,
    config: Path | None,
    report_dir: Path | None,
    wait: float,
    approved: int,
    asked: Callable[..., Released],
    *,
    back: bool = False,
) -> None:
    """Find out what is to run, hold its evidence against the policy, and deploy it."""
    from ci.deploy.released import of_this_host, refused
    from ci.release.session import access_of

    if not at.registry.repository:
        grounds = grounds_of(at, environment, config)
        deployment = deployment_of(grounds, None, wait, approved)
        if problem := refused(at, environment):
            raise problem
        _run(
            at, report_dir, deployment, deployment.wanted(of_this_host(grounds.settings), back=back)
        )
        return
    with begin(at.registry.repository, at) as session:
        access = access_of(at, os.environ)
        grounds = grounds_of(at, environment, config, access)
        deployment = deployment_of(grounds, access, wait, approved)

        async def prove(progress: Progress, folder: Path) -> Report:
            stages = Stages(progress, folder)

            async def work() -> None:
                found = await to_thread.run_sync(partial(asked, session, environment))
                policy = await stages.run(found.policy.name, partial(_told, found))
                if policy.verdict is not Verdict.PASSED:
                    return
                await deployment.run(deployment.wanted(found.release, back=back), stages)
                await _recorded(stages, session, found.release, environment)

            return await stages.report(work)

        reported(at, report_dir, prove)


async def _recorded(
    stages: Stages, session: RepositorySession, release: Release, environment: str
) -> None:
    """Keep the deployment's record, where it did anything and somebody can sign that."""
    from ci.deploy import record

    check = stages.checks[-1]
    if not check.phases:
        return
    if not (os.environ.get("SIGNING_KEY") or os.environ.get("SIGSTORE_ID_TOKEN")):
        stages.left_out(record.NAME, record.NEEDS)
        return

    async def kept(tell: Tell) -> StageResult:
        return await to_thread.run_sync(
            partial(record.keep, session, release, environment, check, tell)
        )

    await stages.run(record.NAME, kept)


async def _told(found: Released, tell: Tell) -> StageResult:
    for case in found.policy.cases:
        tell(case)
    return StageResult(facts=found.policy.facts)


def _run(at: Settings, report_dir: Path | None, deployment: Deployment, wanted: Wanted) -> None:
    async def prove(progress: Progress, folder: Path) -> Report:
        stages = Stages(progress, folder)
        return await stages.report(partial(deployment.run, wanted, stages))

    reported(at, report_dir, prove)
