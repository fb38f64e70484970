"""Containers made from the module's own source: the serving image and the prober."""

import dagger
from dagger import dag

from ci.image.bases import bases, refuse_misspelt
from ci.module.engine import explained
from ci.module.inputs import Credentials
from ci.settings import Settings

PACKAGE = "/opt/sglang-ci"
LOCK = "requirements.lock"
"""What a container needs that only asks."""
LISTING = "ci/image/installed.py"
"""Prints what is installed where it runs."""
LOCKS = ("build.txt", "server.txt", "uv.txt")
"""Files of `requirements` that decide what is installed in an image."""
USER = "10001"
"""The user as which servers run."""


async def image(settings: Settings, labels: dict[str, str], *, gpu: bool) -> dagger.Container:
    """Build the Dockerfile's target `gpu` or `cpu`; `labels` are its arguments of that kind.

    Its base images are resolved to digests first, pinned or not: so a label of the image says
    what it is built on.

    Raises:
        ImageUnavailable: A base image can't be had, or a step of the build failed.
    """
    source, version = dag.current_module().source(), settings.image.sglang_version
    target = "gpu" if gpu else "cpu"
    named = bases(await source.file("Dockerfile").contents(), version)
    refuse_misspelt(version, named.values())
    wanted = named if gpu else {"PYTHON_IMAGE": named["PYTHON_IMAGE"]}
    resolved = {}
    for name, base in wanted.items():
        with explained(f"base image {base}"):
            resolved[name] = await dag.container().from_(base).image_ref()
    arguments = {"SGLANG_VERSION": version, "TORCH_INDEX": settings.image.torch_index}
    with explained(f"the image for a {target.upper()} can't be built"):
        return await _built(target, labels | resolved | arguments).sync()


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


def listed(image: dagger.Container) -> dagger.File:
    """Return what is installed in `image`, as its own interpreter finds it."""
    found = "/tmp/listed.json"  # noqa: S108
    return _ran(image, LISTING, redirect_stdout=found).file(found)


async def printed(image: dagger.Container, script: str) -> str:
    """Return the line that a script of this package's source prints in `image`."""
    return (await _ran(image, script).stdout()).strip()


def _ran(image: dagger.Container, script: str, redirect_stdout: str = "") -> dagger.Container:
    ran = "/tmp/ran.py"  # noqa: S108
    return image.with_mounted_file(ran, dag.current_module().source().file(script)).with_exec(
        ["python3", ran], redirect_stdout=redirect_stdout, use_entrypoint=False
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
