"""Releases and the environments that they go to."""

from collections.abc import Sequence
from typing import Annotated

import dagger
from dagger import Doc, dag, field, function, object_type

from ci.module import build, prober, publisher
from ci.module.deployer import Deployer, Reach
from ci.module.inputs import Inputs
from ci.module.report import Report

TAR = "/release/image.tar"
INSTALLED = "/release/installed.json"
LOCKS = "/release/requirements"
PROVEN = "/release/report"


@object_type
class Release:
    """An image in a registry, with its evidence, approvals and promotions beside it."""

    reference: Annotated[str, Doc("The image, by digest")] = field()
    inputs: Inputs

    @function(cache="never")
    async def show(self) -> str:
        """Return one page, in Markdown, on everything that the registry knows of it."""
        return await self._told("show", self.reference)

    @function(cache="never")
    async def verify(
        self, environment: Annotated[str, Doc("Environment of sglang-ci.toml")]
    ) -> Report:
        """Judge whether it may go to an environment, naming each missing or stale piece."""
        container = await publisher.publisher(self.inputs)
        arguments = ("verify", self.reference, "--environment", environment)
        return await publisher.reported(container, *arguments)

    @function(cache="never")
    async def approve(
        self,
        environment: Annotated[str, Doc("Environment to approve it for")],
        by: Annotated[str, Doc("Name of the person who approves")],
    ) -> str:
        """Attach an approval of this digest for an environment, signed with the signing key."""
        return await self._told("approve", self.reference, "--environment", environment, "--by", by)

    @function(cache="never")
    async def promote(
        self,
        environment: Annotated[str, Doc("Environment to bring it to")],
        rollback: Annotated[bool, Doc("Bring back a digest that was there before")] = False,  # noqa: FBT002
        resume_after_rollback: Annotated[
            str, Doc("Why something new may go there after a roll-back; recorded")
        ] = "",
    ) -> str:
        """Move an environment's tag to this digest, where the environment's policy holds."""
        back = ["--rollback"] if rollback else []
        back += (
            [f"--resume-after-rollback={resume_after_rollback}"] if resume_after_rollback else []
        )
        return await self._told("promote", self.reference, "--environment", environment, *back)

    async def _told(self, *arguments: str) -> str:
        return await publisher.told(await publisher.publisher(self.inputs), *arguments)


@object_type
class Environment:
    """A named place to deploy to: what is there, what was, and since when."""

    name: Annotated[str, Doc("Its name, as in sglang-ci.toml")] = field()
    repository: Annotated[str, Doc("The repository whose releases go there")] = field()
    inputs: Inputs
    ssh_key: dagger.Secret | None = None
    known_hosts: dagger.File | None = None
    host_service: dagger.Service | None = None

    @function(cache="never")
    async def current(self) -> str:
        """Return the reference by digest that is there now: what a deployment needs."""
        return (await self._told("current")).strip()

    @function(cache="never")
    async def previous(self) -> str:
        """Return the reference by digest that was there before: what a roll-back needs."""
        return (await self._told("previous")).strip()

    @function(cache="never")
    async def history(self) -> str:
        """Return what was there and when, and who brought it, newest first."""
        return await self._told("history")

    @function(cache="never")
    async def deploy(
        self,
        wait: Annotated[int, Doc("Most seconds to wait for another deployment's end")] = 0,
        approved: Annotated[int, Doc("Open a canary's manual gates up to this share")] = 0,
    ) -> Report:
        """Bring what the environment's tag names to its host; repeat it to resume."""
        given = ("--wait", str(wait), "--approved", str(approved))
        return await self._deployer().reported("deploy", *given)

    @function(cache="never")
    async def rollback(
        self,
        wait: Annotated[int, Doc("Most seconds to wait for another deployment's end")] = 0,
    ) -> Report:
        """Promote what was there before, and bring that to the environment's host."""
        return await self._deployer().reported("rollback", "--wait", str(wait))

    @function(cache="never")
    async def plan(
        self,
    ) -> str:
        """Return every step that a deployment would take now, and change nothing."""
        where = ("--repository", self.repository)
        return await self._deployer().told("deploy", "plan", *where)

    @function(cache="never")
    async def status(
        self,
    ) -> str:
        """Return what runs on the environment's host, and which share of requests it gets."""
        return await self._deployer().told("deploy", "status")

    def _deployer(self) -> Deployer:
        reach = Reach(self.ssh_key, self.known_hosts, self.host_service)
        return Deployer(self.inputs, self.repository, self.name, reach)

    async def _told(self, question: str) -> str:
        container = await publisher.publisher(self.inputs)
        return await publisher.told(
            container, question, self.repository, "--environment", self.name
        )


async def published(
    image: dagger.Container,
    proven: Report | None,
    address: str,
    inputs: Inputs,
    locks: Sequence[str],
) -> Report:
    """Push `image` as it is, with zstd layers, and attach its evidence.

    Args:
        image: The container that was proven.
        proven: What was found; without it the image is published untested.
        address: Where to, with a tag or without; the settings make one then.
        inputs: Whose settings, credentials and keys.
        locks: Files of `requirements` that decided what is installed in it.

    Returns:
        What was found and what came of publishing, and the reference where that PASSED.
    """
    source = dag.current_module().source()
    container = (await _holding(image, inputs)).with_mounted_directory(
        LOCKS, source.directory("requirements")
    )
    named = [part for name in locks for part in ("--lock", f"{LOCKS}/{name}")]
    arguments = ["publish", TAR, address, "--installed", INSTALLED, *named]
    if proven is None:
        arguments.append("--untested")
    else:
        container = container.with_mounted_directory(PROVEN, proven.directory)
        arguments += ["--report", PROVEN]
    return await publisher.reported(container, *arguments)


async def sized(image: dagger.Container, baseline: str, inputs: Inputs) -> Report:
    """Compare an image's size with the budgets, and with `baseline` where one is named."""
    against = ["--baseline", baseline] if baseline else []
    container = await _holding(image, inputs, ("registry",) if baseline else ())
    asked = prober.ask(container, "size", TAR, "--installed", INSTALLED, *against)
    return await Report.of(await prober.answer(asked, "size"))


async def _holding(
    image: dagger.Container, inputs: Inputs, uses: Sequence[str] = publisher.RELEASING
) -> dagger.Container:
    """Return a container for releases that has `image` as it would be pushed, and its listing."""
    tar = image.as_tarball(forced_compression=dagger.ImageLayerCompression.Zstd)
    container = (await publisher.publisher(inputs, uses)).with_mounted_file(TAR, tar)
    return container.with_mounted_file(INSTALLED, build.listed(image))
