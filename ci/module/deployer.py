"""`sglang-ci deploy …` and `rollback`, run in a container that reaches an environment's host."""

from dataclasses import dataclass

import dagger

from ci.module import prober, publisher
from ci.module.inputs import Inputs
from ci.module.report import Report
from ci.settings.fields import ALONG
from ci.settings.remote import host_of

CASES, PROMPTS = "/prober/cases", "/prober/prompts"
KNOWN_HOSTS = "/prober/known_hosts"


@dataclass(frozen=True)
class Reach:
    """How a container reaches an environment's host.

    Args:
        ssh_key: The private key that it connects with.
        known_hosts: Knows the host's own key.
        service: The host, where only the caller reaches it; its port is the one that the
            settings name.
    """

    ssh_key: dagger.Secret | None
    known_hosts: dagger.File | None
    service: dagger.Service | None


@dataclass(frozen=True)
class Deployer:
    """An environment, and how its host is reached from a container.

    Args:
        inputs: What the user gave.
        repository: The repository whose releases go there.
        name: The environment's name.
        reach: How its host is reached.
    """

    inputs: Inputs
    repository: str
    name: str
    reach: Reach

    async def reported(self, *command: str) -> Report:
        """Return the report that a deployment leaves."""
        named = ("--environment", self.name, "--repository", self.repository)
        asked = prober.ask(await self._container(), *command, *named)
        return await Report.of(await prober.answer(asked, command[0]))

    async def told(self, *command: str) -> str:
        """Return what a plan or a status says."""
        return await publisher.said(await self._container(), *command, "--environment", self.name)

    async def _container(self) -> dagger.Container:
        inputs, reach = self.inputs, self.reach
        settings = await inputs.settings((*publisher.RELEASING, ALONG))
        host = host_of(settings, self.name)
        container = await publisher.reaching(inputs)
        if inputs.smoke_cases is not None:
            container = container.with_mounted_directory(CASES, inputs.smoke_cases)
            container = container.with_env_variable("SGLANG_CI_SMOKE__DIRECTORIES", f'["{CASES}"]')
        if inputs.prompts is not None:
            container = container.with_mounted_file(PROMPTS, inputs.prompts)
            container = container.with_env_variable("SGLANG_CI_BENCH__PROMPTS", PROMPTS)
        if reach.ssh_key is not None:
            container = container.with_secret_variable("DEPLOY_SSH_KEY", reach.ssh_key)
        if reach.known_hosts is not None:
            container = container.with_mounted_file(KNOWN_HOSTS, reach.known_hosts)
            container = container.with_env_variable("DEPLOY_KNOWN_HOSTS", KNOWN_HOSTS)
        if reach.service is not None:
            container = container.with_service_binding(host, reach.service)
        return container
