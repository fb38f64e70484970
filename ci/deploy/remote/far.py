"""An environment on another host, in the place of one that is here: commands see no difference."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self, cast

from ci.deploy.deployment import Deployment
from ci.deploy.grounds import Glance, Grounds, url_of
from ci.deploy.remote.errand import Errand
from ci.deploy.seams import Router, Target
from ci.deploy.wanted import Wanted
from ci.deploy.world import Release, World
from ci.registry.access import Access
from ci.stages import Stages


@dataclass(frozen=True)
class _There:
    """Target and router of another host, which that host alone can ask.

    Args:
        url: Where clients send their requests, as seen from there.
    """

    url: str


@dataclass(frozen=True)
class FarGrounds(Grounds):
    """An environment that is looked at on its host; target and router are that host's alone."""

    errand: Errand | None = None

    @classmethod
    def by(cls, errand: Errand) -> Self:
        """Return those to which an errand goes."""
        there = _There(url_of(errand.at, errand.settings))
        seams = cast("Target", there), cast("Router", there)
        return cls(errand.environment, errand.settings, *seams, errand)

    async def glance(self) -> Glance:
        """Return whether somebody deploys there, and what is there.

        Raises:
            HostFault: The host can't be asked, or can't see.
        """
        assert self.errand  # noqa: S101 - `by` gives one
        return await self.errand.glance()

    async def look(self) -> World:
        """Return what is there; raises as `glance`."""
        return (await self.glance()).world


@dataclass(frozen=True)
class FarDeployment(Deployment):
    """A deployment that is carried out on its host.

    Args:
        errand: Goes there.
        pulls: Who pulls images there.
    """

    errand: Errand | None = None
    pulls: Access = field(default_factory=Access)

    async def run(
        self,
        wanted: Wanted,
        stages: Stages,
        previous: Release | None = None,  # noqa: ARG002 - the host sees that itself
    ) -> None:
        """Have it brought about there; what was found is in this run."""
        assert self.errand  # noqa: S101 - its maker gives one
        await self.errand.deploy(stages, wanted, self.pulls, self.wait)
