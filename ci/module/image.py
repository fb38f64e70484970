"""A serving image."""

import uuid
from pathlib import Path
from typing import Annotated

import dagger
from dagger import Doc, field, function, object_type

from ci import engines
from ci.engines.command import command_of
from ci.engines.profile import Profile, Start
from ci.errors import UsageError
from ci.module import build, models
from ci.module.engine import explained
from ci.module.inputs import Inputs
from ci.module.preflight import Wish, examined
from ci.module.prober import PORT, exposed, logged
from ci.module.release import Release, published, sized
from ci.module.report import Report
from ci.module.server import Server
from ci.settings import Settings

DRAIN_SECONDS = "4"
"""Seconds that requests get at the end of a service, whose engine waits for ten.

A server that is to be hurt keeps the image's own: its agent's container waits for no request.
"""
EVERYWHERE = "0.0.0.0"  # noqa: S104 - of a container
SHARED = "/dev/shm"  # noqa: S108 - of a container
"""Where processes of several GPUs exchange data (NCCL). By itself the engine gives a service 64 MiB
there; a mount of our own may take half of the host's memory, as the kernel has it. No size is
said: the engine's interface has 32 bits for it, which is less than 2 GiB."""
BASELINE_GPU, CANDIDATE_GPU = "0", "1"
"""Devices of the two servers where each gets a GPU of its own."""
NO_BASELINE = (
    "no baseline: name an image by --baseline, or by its digest in sglang-ci.toml: "
    '[gate] baseline = "registry/name@sha256:…" (sglang-ci release current prints one)'
)
BOOTS = (
    'gate.servers = "boots" is for two settings files on a host: sglang-ci compare a.toml b.toml'
)


@object_type
class Image:
    """A serving image: the one that is proven is the one that is published."""

    container: Annotated[dagger.Container, Doc("The image's container")] = field()
    gpu: Annotated[bool, Doc("Whether servers of this image get all GPUs")] = field()
    inputs: Inputs
    locks: list[str]

    @function(cache="session")
    def with_baked_model(
        self, model: Annotated[dagger.Directory, Doc("Folder of a whole model")]
    ) -> "Image":
        """Return an image that holds `model` and serves it."""
        return Image(
            container=models.baked(self.container, model),
            gpu=self.gpu,
            inputs=self.inputs,
            locks=self.locks,
        )

    @function(cache="session")
    async def serve(
        self, flags: Annotated[list[str] | None, Doc("Further flags of the engine's own")] = None
    ) -> Server:
        """Run the image as a service, with all GPUs where it is a GPU image."""
        return await self.served(flags or [])

    @function(cache="session")
    async def compare(
        self,
        baseline: Annotated[str, Doc("The image to compare with; [gate] baseline if empty")] = "",
        baseline_config: Annotated[
            dagger.File | None, Doc("The baseline's sglang-ci.toml, where it is another one")
        ] = None,
    ) -> Report:
        """Run both images, and say whether this one is slower, with known rates of error."""
        against = await self.against(baseline, baseline_config)
        if against is None:
            raise UsageError(NO_BASELINE)
        return await (await self.served([], CANDIDATE_GPU)).compared(against)

    @function(cache="session")
    async def size(
        self,
        baseline: Annotated[str, Doc("The image to compare with; [gate] baseline if empty")] = "",
    ) -> Report:
        """Compare the image's layers and packages with budgets and with a baseline's."""
        return await sized(self.container, baseline, self.inputs)

    async def proven(self, against: Server | None) -> Report:
        """Serve the image and ask every question."""
        return await (await self.served([], CANDIDATE_GPU if against else "")).proven(against)

    async def pushed(self, proven: Report | None, address: str) -> Report:
        """Publish the image with what was found of it, if anything."""
        return await published(self.container, proven, address, self.inputs, self.locks)

    async def against(self, reference: str, config: dagger.File | None) -> Server | None:
        """Return the server to compare with; None where neither caller nor settings name one."""
        gate = (await self.inputs.settings()).gate
        reference = reference or gate.baseline
        if not reference:
            return None
        if gate.servers == "boots":
            raise UsageError(BOOTS)
        inputs = self.inputs if config is None else self.inputs.with_config(config)
        with explained(f"baseline {reference}"):
            container = await build.pulled(reference, self.inputs.credentials).sync()
        image = Image(container=container, gpu=self.gpu, inputs=inputs, locks=[])
        server = await image.served([], BASELINE_GPU)
        server.reference = await container.image_ref()
        return server

    async def served(self, flags: list[str], device: str = "") -> Server:
        """Run the image as a service, on one GPU where the settings give each server one.

        Another engine's image is started by its profile's command in place of its entrypoint.
        """
        settings, run = await self.inputs.settings(), uuid.uuid4().hex
        container = await models.mounted(self.container, self.inputs, settings.model)
        if self.gpu and device and settings.gate.servers == "gpus":
            container = container.experimental_with_gpu([device])
        elif self.gpu:
            container = container.experimental_with_all_gp_us()
        if self.gpu:
            container = container.with_mounted_temp(SHARED)
        engine = engines.profile(settings.engine.profile)
        path = await models.path(container, folder=engine.native)
        arguments = [*_arguments(engine, settings, path), *flags]
        if engine.native:
            proven = logged(
                container.with_env_variable("DRAIN_SECONDS", DRAIN_SECONDS), settings, run
            )
        else:
            proven = exposed(container, settings)
        return Server(
            service=proven.as_service(args=arguments, use_entrypoint=engine.native),
            mounted=container,
            arguments=arguments,
            model_flags=await models.flags(container, path) if engine.native else [],
            image=self.container,
            engine=engine.name,
            model_path=path,
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
        wish = Wish(publish_to=address, gpu=self.gpu, container=self.container)
        await (await examined(self.inputs, wish)).sync()
        proven = None
        if not untested:
            proven = await self.proven(await self.against("", None))
            await proven.sync()
        report = await self.pushed(proven, address)
        await report.sync()
        return Release(reference=report.published, inputs=self.inputs)


def _arguments(engine: Profile, settings: Settings, path: str) -> list[str]:
    """Return what the image's entrypoint is given, or of another engine the whole command."""
    if engine.native:
        return list(settings.launch_flags())
    start = Start(
        model=Path(path) if path else None,
        host=EVERYWHERE,
        port=PORT,
        served_name=settings.model.served_name,
        python=settings.engine.python or "python3",
    )
    return [*command_of(engine, settings.engine, start), *settings.server.flags]
