"""A serving image."""

import uuid
from typing import Annotated

import dagger
from dagger import Doc, field, function, object_type

from ci.module import models
from ci.module.inputs import Inputs
from ci.module.prober import LOG_FILE, PORT, with_logs
from ci.module.release import Release, published
from ci.module.server import Server
from ci.settings import Settings


@object_type
class Image:
    """A serving image: the one that is proven is the one that is published."""

    container: Annotated[dagger.Container, Doc("The image's container")] = field()
    gpu: Annotated[bool, Doc("Whether servers of this image get all GPUs")] = field()
    inputs: Inputs

    @function(cache="session")
    def with_baked_model(
        self, model: Annotated[dagger.Directory, Doc("Folder of a whole model")]
    ) -> "Image":
        """Return an image that holds `model` and serves it."""
        return Image(
            container=models.baked(self.container, model), gpu=self.gpu, inputs=self.inputs
        )

    @function(cache="session")
    async def serve(
        self, flags: Annotated[list[str] | None, Doc("Further flags of SGLang's own")] = None
    ) -> Server:
        """Run the image as a service, with all GPUs where it is a GPU image."""
        settings, run = await self.inputs.settings(), uuid.uuid4().hex
        container = await models.mounted(self.container, self.inputs, settings.model)
        container = _logged(container, settings, run)
        if self.gpu:
            container = container.experimental_with_all_gp_us()
        service = container.as_service(args=_arguments(settings, flags or []), use_entrypoint=True)
        return Server(
            service=service,
            image=self.container,
            model_path=await container.env_variable("MODEL_PATH") or "",
            run=run,
            inputs=self.inputs,
        )

    @function(cache="session")
    async def publish(
        self,
        address: Annotated[str, Doc("Where to: registry/repository, with a tag or without")],
        untested: Annotated[bool, Doc("Publish without proving the image first")] = False,  # noqa: FBT002
    ) -> Release:
        """Prove the image, publish that very image, and attach its evidence."""
        proven = None
        if not untested:
            proven = await (await self.serve()).prove()
            await proven.sync()
        report = await published(self.container, proven, address, self.inputs)
        await report.sync()
        return Release(reference=report.published, inputs=self.inputs)


def _logged(container: dagger.Container, settings: Settings, run: str) -> dagger.Container:
    """Return `container` with the settings' environment, and its output where a prober sees it."""
    container = (
        with_logs(container, run)
        .with_env_variable("LOG_FILE", LOG_FILE)
        .with_env_variable("LOG_LEVEL", settings.server.log_level)
        .with_exposed_port(PORT, experimental_skip_healthcheck=True)
    )
    for name, value in settings.server.environment.items():
        container = container.with_env_variable(name, value)
    return container


def _arguments(settings: Settings, flags: list[str]) -> list[str]:
    name = settings.model.served_name
    return [*(["--served-model-name", name] if name else []), *settings.server.flags, *flags]
