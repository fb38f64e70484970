"""The module's entrance."""

from typing import Annotated

import dagger
from dagger import Doc, check, function, object_type, up

from ci.module import build
from ci.module.image import Image
from ci.module.inputs import Inputs
from ci.module.report import Report


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
    hub_token: Annotated[dagger.Secret | None, Doc("Token of the model hub")] = None
    revision: Annotated[str, Doc("Commit of your project, for the image's label")] = ""
    source_url: Annotated[str, Doc("URL of your project, for the image's label")] = ""
    created: Annotated[str, Doc("Time of the build, RFC 3339, for the image's label")] = ""

    @function(cache="session")
    async def ci(
        self,
        gpu: Annotated[bool, Doc("Take the GPU image and give the server all GPUs")] = False,  # noqa: FBT002
        publish_to: Annotated[str, Doc("Reference to publish to if every check passed")] = "",
        username: Annotated[str, Doc("User of that registry")] = "",
        password: Annotated[dagger.Secret | None, Doc("Password or token of that user")] = None,
    ) -> Report:
        """Build the image, serve it, prove it, and publish that very image if it passed.

        Called last it fails where the verdict isn't PASSED; `ci directory` keeps the report
        in any case.
        """
        image = await self.image(gpu=gpu)
        report = await (await image.serve()).prove()
        if not publish_to or not report.passed:
            return report
        reference = await image.publish(publish_to, username, password, untested=True)
        return report.as_published(reference)

    @function(cache="session")
    async def image(
        self,
        gpu: Annotated[bool, Doc("Build on SGLang's official CUDA image")] = False,  # noqa: FBT002
    ) -> Image:
        """Build the serving image from the module's Dockerfile."""
        inputs = Inputs(
            config=self.config,
            model=self.model,
            smoke_cases=self.smoke_cases,
            hub_token=self.hub_token,
        )
        labels = {"REVISION": self.revision, "SOURCE": self.source_url, "CREATED": self.created}
        container = build.image(await inputs.settings(), labels, gpu=gpu)
        return Image(container=container, gpu=gpu, inputs=inputs)

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
