"""Brings a model into an image's reach: baked, mounted, or fetched from a hub beforehand."""

import dagger
from dagger import dag

from ci.boot.model_files import FLAGS, flags_in
from ci.module.build import USER, with_package
from ci.module.inputs import Inputs
from ci.settings import ModelSettings

BAKED = "/opt/models/model"
MOUNTED = "/models/model"
HUB = "/models/hub"


def baked(container: dagger.Container, model: dagger.Directory) -> dagger.Container:
    """Return `container` with the model's files in it."""
    return container.with_directory(BAKED, model).with_env_variable("MODEL_PATH", BAKED)


async def mounted(
    container: dagger.Container, inputs: Inputs, settings: ModelSettings
) -> dagger.Container:
    """Return `container` with the user's model mounted; its own where the user names none."""
    if inputs.model is not None:
        return container.with_mounted_directory(MOUNTED, inputs.model).with_env_variable(
            "MODEL_PATH", MOUNTED
        )
    if not settings.name:
        return container
    return await _fetched(container, settings, inputs.hub_token)


async def path(container: dagger.Container, *, folder: bool) -> str:
    """Return where the model of an image lies; empty where none is known.

    Args:
        container: What `mounted` returned.
        folder: Whether the engine wants a folder, however few files are in it.
    """
    found = await container.env_variable("MODEL_PATH") or ""
    if folder or found not in {MOUNTED, BAKED}:
        return found
    files = await container.directory(found).entries()
    return f"{found}/{files[0]}" if len(files) == 1 else found


async def flags(container: dagger.Container, path: str) -> list[str]:
    """Return the launch flags that travel with the model that lies at `path` of an image."""
    file = f"{path}/{FLAGS}"
    if not path or not await container.exists(file):
        return []
    return list(flags_in(await container.file(file).contents()))


async def _fetched(
    container: dagger.Container, settings: ModelSettings, token: dagger.Secret | None
) -> dagger.Container:
    hub = dag.cache_volume("sglang-ci-hub")
    container = container.with_mounted_cache(HUB, hub, owner=USER).with_env_variable("HF_HOME", HUB)
    fetcher = with_package(container)
    if token is not None:
        fetcher = fetcher.with_secret_variable("HF_TOKEN", token)
    argv = ["python3", "-m", "ci.boot.fetch", settings.name, settings.revision]
    folder = await fetcher.with_exec(argv, use_entrypoint=False).stdout()
    return container.with_env_variable("MODEL_PATH", folder.strip().splitlines()[-1])
