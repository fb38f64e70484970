"""Containers made from the module's own source: the serving image and the prober."""

import dagger
from dagger import dag

from ci.image.bases import bases, refuse_misspelt
from ci.module.inputs import Credentials
from ci.settings import Settings

PACKAGE = "/opt/sglang-ci"
LOCK = "requirements.lock"
"""What a container needs that only asks."""
LOCKS = ("build.txt", "server.txt", "uv.txt")
"""Files of `requirements` that decide what is installed in an image."""
USER = "10001"
"""The user as which servers run."""


async def image(settings: Settings, labels: dict[str, str], *, gpu: bool) -> dagger.Container:
    """Build the Dockerfile's target `gpu` or `cpu`; `labels` are its arguments of that kind.

    Its base images are resolved to digests first, pinned or not: so a label of the image says
    what it is built on.
    """
    source, version = dag.current_module().source(), settings.image.sglang_version
    named = bases(await source.file("Dockerfile").contents(), version)
    refuse_misspelt(version, named.values())
    wanted = named if gpu else {"PYTHON_IMAGE": named["PYTHON_IMAGE"]}
    resolved = {
        name: await dag.container().from_(base).image_ref() for name, base in wanted.items()
    }
    index = settings.image.torch_index
    return _built(
        "gpu" if gpu else "cpu",
        labels | resolved | {"SGLANG_VERSION": version, "TORCH_INDEX": index},
    )


def _built(target: str, arguments: dict[str, str]) -> dagger.Container:
    """Return a target of the Dockerfile; empty arguments are left to its defaults."""
    given = [dagger.BuildArg(name=name, value=value) for name, value in arguments.items() if value]
    return dag.current_module().source().docker_build(target=target, build_args=given)


def pulled(reference: str, at: Credentials) -> dagger.Container:
    """Return the published image that `reference` names, as the engine gets it."""
    container = dag.container()
    if at.password is not None:
        container = container.with_registry_auth(reference, at.username, at.password)
    return container.from_(reference)


def listed(image: dagger.Container, script: str) -> dagger.File:
    """Return what a script of this package's source prints in `image`, by its own interpreter."""
    ran, found = "/tmp/listed.py", "/tmp/listed.json"  # noqa: S108
    return (
        image.with_mounted_file(ran, dag.current_module().source().file(script))
        .with_exec(["python3", ran], redirect_stdout=found, use_entrypoint=False)
        .file(found)
    )


def with_package(container: dagger.Container) -> dagger.Container:
    """Return `container` with this package importable, and nothing else changed."""
    source = dag.current_module().source().directory("ci")
    return container.with_mounted_directory(f"{PACKAGE}/ci", source).with_env_variable(
        "PYTHONPATH", PACKAGE
    )


def prober(lock: str = LOCK) -> dagger.Container:
    """Return a container that can run this package's checks, and has nothing of SGLang.

    `requirements/release.txt` as its lock makes it one that handles releases, too, and
    `requirements/fuzz.txt` one that draws requests.
    """
    return with_package(_built("prober", {"LOCK": lock})).with_workdir("/prober")
