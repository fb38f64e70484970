"""A deployment on another host, as the commands ask for it."""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from ci import __version__
from ci.deploy.deployment import NAME
from ci.deploy.grounds import Glance, deploy_settings
from ci.deploy.remote import luggage
from ci.deploy.remote.call import Call
from ci.deploy.remote.connection import SshAccess, check, connected
from ci.deploy.remote.order import Answer, Order
from ci.deploy.wanted import Wanted
from ci.errors import HostFault, SglangCiError, UsageError
from ci.registry.access import Access
from ci.report.console import PlainProgress
from ci.report.progress import Progress
from ci.settings import Settings
from ci.settings.deploy import DeploySettings
from ci.stages import Stages


@dataclass(frozen=True)
class Errand:
    """An environment on another host.

    Args:
        settings: Those in force, with paths as the host has them; see `luggage`.
        environment: The environment's name.
        access: How the host is reached.
        sent: The same settings as the host gets them.
        packed: What goes along.
    """

    settings: Settings
    environment: str
    access: SshAccess
    sent: Settings
    packed: bytes

    @classmethod
    def of(
        cls, settings: Settings, environment: str, bases: list[Path], environ: Mapping[str, str]
    ) -> Self:
        """Return one, after a look at all that is needed here.

        Args:
            settings: The settings in force.
            environment: The environment's name.
            bases: Folders from which relative paths in settings were resolved.
            environ: Variables: who connects.

        Raises:
            UsageError: A key, a file that has to go along, or a package is missing.
        """
        own = luggage.there(settings, bases)
        access = SshAccess.of(environ)
        check(deploy_settings(settings, environment).host, access)
        sent, packed = luggage.pack(_local(own, environment))
        return cls(own, environment, access, sent, packed)

    @property
    def at(self) -> DeploySettings:
        """How the environment is deployed to."""
        return deploy_settings(self.settings, self.environment)

    async def glance(self) -> Glance:
        """Return whether somebody deploys there, and what is there.

        Raises:
            SglangCiError: The host can't be asked, or can't see.
        """
        progress = PlainProgress(sys.stderr)
        with TemporaryDirectory(prefix="sglang-ci-") as folder:
            call = self._call(Order(does="look", **self._common()), progress)
            async with connected(self.at.host, self.access) as connection:
                await call.run(connection, Path(folder))
        answer = self._good(call.answer)
        if answer.world is None:
            raise HostFault(self.at.host, "did not look: repeat the command")
        return Glance(answer.busy, answer.world)

    async def deploy(self, stages: Stages, wanted: Wanted, pulls: Access, wait: float) -> None:
        """Have what is wanted brought about there; its checks are those of this run.

        Args:
            stages: This run.
            wanted: The release, or an abort; how it gets there stands in the settings.
            pulls: Who pulls its image from the registry.
            wait: Most seconds to wait for another deployment's end.
        """
        release, how = wanted.release, {"back": wanted.back, "approved": wanted.approved}
        who = self._pulling(pulls) if release else {}
        order = Order(does="deploy", release=release, wait=wait, **how, **who, **self._common())
        stages.facts["host"] = self.at.host
        call = self._call(order, stages.progress, stages)
        try:
            try:
                async with connected(self.at.host, self.access) as connection:
                    await call.run(connection, stages.folder)
            finally:
                found = call.answer.report if call.answer else None
                stages.adopt(found.checks if found else call.checks, found.not_run if found else ())
            self._good(call.answer)
        except SglangCiError as error:
            await stages.fail(NAME, error)

    def _common(self) -> dict[str, object]:
        return {
            "version": __version__,
            "environment": self.environment,
            "settings": self.sent.model_dump(mode="json"),
            "luggage": base64.b64encode(self.packed).decode(),
        }

    def _pulling(self, pulls: Access) -> dict[str, object]:
        """Return the registry's credentials, where containers are to be pulled."""
        if self.at.target != "container":
            return {}
        return {"username": pulls.username, "password": pulls.password}

    def _call(self, order: Order, progress: Progress, stages: Stages | None = None) -> Call:
        def signal() -> str:
            return stages.interrupted if stages else ""

        return Call(self.at.host, self.at.command, order, progress, signal)

    def _good(self, answer: Answer | None) -> Answer:
        if answer is None:
            raise HostFault(self.at.host, "gave no answer: repeat the command")
        if answer.usage:
            raise UsageError(f"{self.at.host}: {answer.fault}")
        if answer.fault:
            raise HostFault(self.at.host, answer.fault, details=answer.details)
        return answer


def _local(settings: Settings, environment: str) -> Settings:
    """Return settings as the host itself would have them."""
    at = settings.environments[environment]
    deploy = at.deploy.model_copy(update={"host": "", "command": "sglang-ci"})
    own = settings.environments | {environment: at.model_copy(update={"deploy": deploy})}
    return settings.model_copy(update={"environments": own})
