"""What the subcommands that deploy have in common: one run, its policy, its record."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import to_thread

from ci.commands.outcome import awaited, reported
from ci.commands.registry import session as begin
from ci.commands.remote import deployment_of, grounds_of
from ci.errors import SglangCiError
from ci.report.model import Report, now
from ci.report.progress import Progress
from ci.stages import StageResult, Stages, Tell
from ci.verdict import Verdict

if TYPE_CHECKING:
    from ci.deploy.grounds import Grounds
    from ci.deploy.released import Released
    from ci.deploy.world import Release
    from ci.release.session import RepositorySession
    from ci.settings import Settings


def deployed(
    at: Settings,
    environment: str,
    report_dir: Path | None,
    asked: Callable[..., Released],
    *,
    config: Path | None = None,
    wait: float = 0,
    approved: int = 0,
    back: bool = False,
    resumed: bool = False,
) -> None:
    """Find out what is to run, hold its evidence against the policy, and deploy it.

    Args:
        at: The settings in force.
        environment: Where to.
        report_dir: The report's folder; that of the settings where there is none.
        asked: Returns what is to run, of a session with the registry and the environment.
        config: The file of the settings, where one is named.
        wait: Most seconds to wait for another deployment's end.
        approved: A manual gate at this share or a lower one is open.
        back: Whether it is a roll-back.
        resumed: Whether only what is on its way is gone on with.

    Raises:
        EnvironmentClosed: The environment takes nothing new now.
        UsageError: There is nothing to resume.
    """
    from ci.deploy.released import of_this_host, refused
    from ci.release.session import access_of

    if not at.registry.repository:
        grounds = grounds_of(at, environment, config)
        deployment = deployment_of(grounds, None, wait, approved)
        if problem := refused(at, environment):
            raise problem
        release = of_this_host(grounds.settings)
        awaited(_may_go, grounds, release, resumed)

        async def here(stages: Stages) -> None:
            await deployment.run(deployment.wanted(release, back=back), stages)

        _reported(at, report_dir, here)
        return
    with begin(at.registry.repository, at) as session:
        access = access_of(at, os.environ)
        grounds = grounds_of(at, environment, config, access)
        deployment = deployment_of(grounds, access, wait, approved)

        async def work(stages: Stages) -> None:
            found = await to_thread.run_sync(partial(asked, session, environment))
            policy = await stages.run(found.policy.name, partial(_told, found))
            if policy.verdict is not Verdict.PASSED:
                return
            if resumed or not (back or found.rollback):
                await _may_go(grounds, found.release, resumed)
            await deployment.run(deployment.wanted(found.release, back=back), stages)
            await _recorded(stages, session, found.release, environment)

        _reported(at, report_dir, work)


def aborted(
    at: Settings, environment: str, report_dir: Path | None, *, config: Path | None, wait: float
) -> None:
    """Bring traffic back to what was there first, and record that on what is taken away.

    The registry is asked only afterwards: without it an abort does the same.

    Args:
        at: The settings in force.
        environment: Where.
        report_dir: The report's folder; that of the settings where there is none.
        config: The file of the settings, where one is named.
        wait: Most seconds to wait for another deployment's end.
    """
    from ci.deploy.world import references
    from ci.release.stay import ABORTED

    deployment = deployment_of(grounds_of(at, environment, config), wait=wait)

    async def work(stages: Stages) -> None:
        before = await deployment.grounds.looked()
        await deployment.run(deployment.wanted(None), stages)
        after = references(await deployment.grounds.looked())
        gone = [one for name, one in references(before).items() if name not in after]
        if not gone or not at.registry.repository:
            return
        try:
            with begin(at.registry.repository, at) as session:
                for release in gone:
                    await _recorded(stages, session, release, environment, ABORTED)
        except SglangCiError as error:
            await stages.fail("record", error)

    _reported(at, report_dir, work)


async def _recorded(
    stages: Stages,
    session: RepositorySession,
    release: Release,
    environment: str,
    outcome: str = "",
) -> None:
    """Keep the deployment's record, where it did anything and somebody can sign that."""
    from ci.deploy import record
    from ci.deploy.deployment import NAME

    check = next(one for one in reversed(stages.checks) if one.name == NAME)
    if not check.phases:
        return
    if not (os.environ.get("SIGNING_KEY") or os.environ.get("SIGSTORE_ID_TOKEN")):
        stages.left_out(record.NAME, record.NEEDS)
        return

    async def kept(tell: Tell) -> StageResult:
        return await to_thread.run_sync(
            partial(record.keep, session, release, environment, check, tell, outcome)
        )

    await stages.run(record.NAME, kept)


async def _told(found: Released, tell: Tell) -> StageResult:
    for case in found.policy.cases:
        tell(case)
    return StageResult(facts=found.policy.facts)


async def _may_go(grounds: Grounds, release: Release, resumed: bool) -> None:  # noqa: FBT001
    from ci.deploy.opening import let_in, resumable

    if resumed:
        await resumable(grounds, release)
    else:
        await let_in(grounds, release, now())


def wanted_by(at: Settings, environment: str) -> Released | None:
    """Return what an environment's tag names; None without a registry."""
    from ci.deploy.released import current

    if not at.registry.repository:
        return None
    with begin(at.registry.repository, at) as session:
        return current(session, environment)


def _reported(
    at: Settings, report_dir: Path | None, work: Callable[[Stages], Awaitable[None]]
) -> None:
    async def prove(progress: Progress, folder: Path) -> Report:
        stages = Stages(progress, folder)
        return await stages.report(partial(work, stages))

    reported(at, report_dir, prove)
