"""The module's entrance."""

from typing import Annotated

import dagger
from dagger import Doc, check, function, object_type, up

from ci import SGLANG
from ci.errors import ImageUnavailable, UsageError
from ci.module import build
from ci.module.demo import demonstrated
from ci.module.engine import explained
from ci.module.image import Image
from ci.module.inputs import Credentials, Inputs, Origin
from ci.module.preflight import Wish, examined, merged
from ci.module.release import Environment, Release
from ci.module.report import Report

ELSEWHERE = "An image that was built elsewhere, in place of the Dockerfile's"
NO_CONTAINER = "the Dockerfile is SGLang's: bring an image of engine.profile {!r} by --container"

UNPROVEN, NOWHERE = "an image that passes every check", "a registry: --publish-to REF"
"""What publishing needs where it isn't done."""


@object_type
class SglangCi:
    """Prove and publish SGLang serving images.

    Without arguments everything runs on a CPU with a tiny packaged model: no GPU, registry
    or secret is needed.
    """

    config: Annotated[dagger.File | None, Doc("Your sglang-ci.toml")] = None
    model: Annotated[dagger.Directory | None, Doc("Folder of the model to serve")] = None
    smoke_cases: Annotated[
        dagger.Directory | None, Doc("Folder of your own smoke cases, ordinary pytest")
    ] = None
    prompts: Annotated[
        dagger.File | None, Doc("File of prompts for the load, JSONL or ShareGPT")
    ] = None
    boards: Annotated[
        dagger.Directory | None,
        Doc("Folder of your dashboards and rules: `boards` in sglang-ci.toml"),
    ] = None
    hub_token: Annotated[dagger.Secret | None, Doc("Token of the model hub")] = None
    revision: Annotated[str, Doc("Commit of your project, for label, tag and record")] = ""
    source_url: Annotated[str, Doc("URL of your project, for label and record")] = ""
    created: Annotated[str, Doc("Time of the build, RFC 3339, for the image's label")] = ""
    actor: Annotated[str, Doc("Who builds, as your CI names them, for the record")] = ""
    build_url: Annotated[str, Doc("Where your CI's run can be seen, for the record")] = ""
    username: Annotated[str, Doc("User of the registry")] = ""
    password: Annotated[dagger.Secret | None, Doc("Password or token of that user")] = None
    registry: Annotated[
        dagger.Service | None,
        Doc("A registry that only your host reaches, such as tcp://localhost:5000"),
    ] = None
    registry_ca: Annotated[
        dagger.File | None, Doc("Certificates (PEM) to trust for the registry")
    ] = None
    signing_key: Annotated[dagger.Secret | None, Doc("Private key (PEM) that signs evidence")] = (
        None
    )
    signing_key_password: Annotated[dagger.Secret | None, Doc("Password of that key")] = None
    identity_token: Annotated[
        dagger.Secret | None, Doc("OIDC token that signs evidence by Sigstore, without a key")
    ] = None
    trust: Annotated[
        dagger.Directory | None, Doc("Folder of public keys: `trust` in sglang-ci.toml")
    ] = None

    @function(cache="session")
    async def ci(
        self,
        gpu: Annotated[bool, Doc("Take the GPU image and give the server all GPUs")] = False,  # noqa: FBT002
        publish_to: Annotated[str, Doc("Where to publish if every check passed")] = "",
        baseline: Annotated[
            str, Doc("An image that this one must not be slower than; [gate] baseline if empty")
        ] = "",
        baseline_config: Annotated[
            dagger.File | None, Doc("The baseline's sglang-ci.toml, where it is another one")
        ] = None,
        container: Annotated[dagger.Container | None, Doc(ELSEWHERE)] = None,
    ) -> Report:
        """Build the image, serve it, prove it, and publish that very image if it passed.

        Called last it fails where the verdict isn't PASSED; `ci directory` keeps the report
        in any case.
        """
        wish = Wish(publish_to, self.revision, baseline, gpu, container)
        report, image = await self._proven(wish, baseline_config)
        if image is None or not report.passed or not publish_to:
            return await report.without("publish", UNPROVEN if publish_to else NOWHERE)
        return await image.pushed(report, publish_to)

    async def _proven(
        self, wish: Wish, baseline_config: dagger.File | None
    ) -> tuple[Report, Image | None]:
        """Return what was found, and the image it was found of, where it came to that."""
        first = await examined(self._inputs(), wish)
        if not first.passed:
            return first, None
        try:
            image = await self.image(gpu=wish.gpu, container=wish.container)
            with explained("the image can't be had"):
                await image.container.sync()
        except ImageUnavailable as error:
            return await merged(first, await Report.failed("image", error)), None
        against = await image.against(wish.baseline, baseline_config)
        return await merged(first, await image.proven(against)), image

    @function(cache="never")
    async def preflight(
        self,
        gpu: Annotated[bool, Doc("Whether the GPU image is to be taken")] = False,  # noqa: FBT002
        publish_to: Annotated[str, Doc("Where it is to be published")] = "",
        baseline: Annotated[str, Doc("An image that it is to be compared with")] = "",
        container: Annotated[dagger.Container | None, Doc(ELSEWHERE)] = None,
    ) -> Report:
        """Ask what can be known in seconds, before anything is built, and tell all at once."""
        wish = Wish(publish_to, self.revision, baseline, gpu, container, whole=True)
        return await examined(self._inputs(), wish)

    @function(cache="session")
    async def image(
        self,
        gpu: Annotated[bool, Doc("Build on SGLang's official CUDA image")] = False,  # noqa: FBT002
        container: Annotated[dagger.Container | None, Doc(ELSEWHERE)] = None,
    ) -> Image:
        """Build the serving image from the module's Dockerfile, or take one as it is."""
        inputs = self._inputs()
        if container is not None:
            with explained("the image of --container"):
                given = await container.sync()
            return Image(container=given, gpu=gpu, inputs=inputs, locks=[])
        settings = await inputs.settings()
        if settings.engine.profile != SGLANG:
            raise UsageError(NO_CONTAINER.format(settings.engine.profile))
        labels = {"REVISION": self.revision, "SOURCE": self.source_url, "CREATED": self.created}
        built = await build.image(settings, labels, gpu=gpu)
        return Image(container=built, gpu=gpu, inputs=inputs, locks=[*build.LOCKS])

    @function(cache="never")
    @check
    async def proves(self) -> None:
        """Build and prove the image on a CPU."""
        await (await self.ci()).sync()

    @function(cache="never")
    @up
    async def server(self) -> dagger.Service:
        """Serve the image on a CPU: `dagger up` brings it to a port of this host."""
        return (await (await self.image()).serve()).service

    @function(cache="never")
    async def deploy_demo(self) -> Report:
        """Switch between two real servers behind a real HAProxy, under streams.

        All of it runs in one container of the CPU image with the packaged model, and takes a few
        minutes. `directory` keeps the report with its plots.
        """
        return await demonstrated((await self.image()).container)

    @function(cache="session")
    async def release(
        self, reference: Annotated[str, Doc("A published image, by digest or by tag")]
    ) -> Release:
        """Return a release, to be read, judged, approved or promoted."""
        return Release(reference=reference, inputs=self._inputs())

    @function(cache="session")
    async def environment(
        self,
        name: Annotated[str, Doc("Its name, as in sglang-ci.toml")],
        repository: Annotated[str, Doc("The repository whose releases go there")],
        ssh_key: Annotated[
            dagger.Secret | None, Doc("Private key that the environment's host lets in")
        ] = None,
        known_hosts: Annotated[
            dagger.File | None, Doc("A known_hosts file that has that host's own key")
        ] = None,
        host_service: Annotated[
            dagger.Service | None,
            Doc("That host where only yours reaches it, such as tcp://localhost:22; same port"),
        ] = None,
    ) -> Environment:
        """Return an environment: what is there, what was, since when, and what deploys to it."""
        return Environment(
            name=name,
            repository=repository,
            inputs=self._inputs(),
            ssh_key=ssh_key,
            known_hosts=known_hosts,
            host_service=host_service,
        )

    @function(cache="never")
    async def verdict(
        self, report: Annotated[dagger.Directory, Doc("A report that was kept")]
    ) -> str:
        """Return the verdict of a kept report, or fail where it isn't PASSED."""
        found = await Report.of(report)
        await found.sync()
        return found.verdict

    def _inputs(self) -> Inputs:
        return Inputs(
            config=self.config,
            model=self.model,
            smoke_cases=self.smoke_cases,
            prompts=self.prompts,
            boards=self.boards,
            hub_token=self.hub_token,
            revision=self.revision,
            origin=Origin(actor=self.actor, build_url=self.build_url),
            credentials=Credentials(
                username=self.username,
                password=self.password,
                registry=self.registry,
                signing_key=self.signing_key,
                signing_key_password=self.signing_key_password,
                identity_token=self.identity_token,
                trust=self.trust,
                ca=self.registry_ca,
            ),
        )
