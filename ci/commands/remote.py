"""Where a deployment's commands do their work: on this host, or on another over SSH."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import typer

from ci.report.console import PlainProgress

if TYPE_CHECKING:
    from ci.deploy.remote.errand import Errand
    from ci.deploy.remote.order import Errands
    from ci.deploy.world import Release
    from ci.registry.access import Access
    from ci.settings import Settings
    from ci.stages import Stages

Bring = Callable[["Stages", "Release | None"], Awaitable[None]]
"""Brings a release out, or, where it is None, aborts."""


@dataclass(frozen=True)
class Site:
    """Where an environment is.

    Args:
        settings: The settings in force; on another host, with paths as that has them.
        environment: The environment's name.
        errand: What goes to another host; None where everything is done here.
    """

    settings: Settings
    environment: str
    errand: Errand | None

    def bringing(
        self, access: Access | None, wait: float, approved: int = 0, *, back: bool = False
    ) -> Bring:
        """Return what brings a release out there.

        Args:
            access: How containers' images are had from their registry.
            wait: Most seconds to wait for another deployment's end.
            approved: Manual gates up to this share are open.
            back: Whether this is a roll-back.

        Raises:
            UsageError: There is no such environment, or its folder can't be used.
        """
        from ci.registry.access import Access

        if (errand := self.errand) is not None:
            pulls = access or Access()

            async def sent(stages: Stages, release: Release | None) -> None:
                how = {"back": back and release is not None}
                await errand.deploy(stages, release, pulls, **how, wait=wait, approved=approved)

            return sent

        from ci.deploy.deployment import Deployment
        from ci.deploy.grounds import Grounds

        deployment = Deployment(Grounds.of(self.settings, self.environment, access), wait, approved)

        async def brought(stages: Stages, release: Release | None) -> None:
            await deployment.run(deployment.wanted(release, back=back), stages)

        return brought

    def tell(self, does: Errands, release: Callable[[], Release | None] = lambda: None) -> None:
        """Print a status or a plan.

        Args:
            does: Which of them.
            release: Finds what a plan is for.
        """
        from ci.deploy.grounds import Grounds
        from ci.deploy.told import planned, status

        if self.errand is not None:
            notes = PlainProgress(sys.stderr)
            lines = anyio.run(self.errand.told, does, release(), notes)
        else:
            grounds = Grounds.of(self.settings, self.environment)
            ask = (status, grounds) if does == "status" else (planned, grounds, release())
            lines = anyio.run(*ask)
        for line in lines:
            typer.echo(line)


def site_of(settings: Settings, environment: str, config: Path | None) -> Site:
    """Return where an environment is.

    Args:
        settings: The settings in force.
        environment: The environment's name.
        config: Their file, where one is named.

    Raises:
        UsageError: There is no such environment, or what another host needs is missing here.
    """
    from ci.deploy.grounds import deploy_settings

    if not deploy_settings(settings, environment).host:
        return Site(settings, environment, None)
    from ci.deploy.remote.errand import Errand

    bases = [*([config.parent] if config else []), Path.cwd()]
    errand = Errand.of(settings, environment, bases, os.environ)
    return Site(errand.settings, environment, errand)


def there() -> None:
    """Carry out an order that another host's sglang-ci gives on standard input."""
    from ci.deploy.remote.there import serve

    serve()
