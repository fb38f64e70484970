"""Containers made from the module's own source: the serving image and the prober."""

import dagger
from dagger import dag

from ci.settings import Settings

PROBER_BASE = "python:3.11-slim"
PACKAGE = "/opt/sglang-ci"
USER = "10001"
"""The user as which servers run."""


def image(settings: Settings, labels: dict[str, str], *, gpu: bool) -> dagger.Container:
    """Build the Dockerfile's target `gpu` or `cpu`; `labels` are its arguments of that kind."""
    arguments = labels | {
        "SGLANG_VERSION": settings.image.sglang_version,
        "TORCH_INDEX": settings.image.torch_index,
    }
    return (
        dag.current_module()
        .source()
        .docker_build(
            target="gpu" if gpu else "cpu",
            build_args=[dagger.BuildArg(name=k, value=v) for k, v in arguments.items() if v],
        )
    )


def with_package(container: dagger.Container) -> dagger.Container:
    """Return `container` with this package importable, and nothing else changed."""
    source = dag.current_module().source().directory("ci")
    return container.with_mounted_directory(f"{PACKAGE}/ci", source).with_env_variable(
        "PYTHONPATH", PACKAGE
    )


def prober() -> dagger.Container:
    """Return a container that can run this package's checks, and has nothing of SGLang."""
    lock = dag.current_module().source().file("requirements.lock")
    install = ["python3", "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps"]
    installed = (
        dag.container()
        .from_(PROBER_BASE)
        .with_mounted_cache("/root/.cache/pip", dag.cache_volume("sglang-ci-pip"))
        .with_mounted_file("/opt/requirements.lock", lock)
        .with_exec([*install, "--requirement", "/opt/requirements.lock"])
    )
    return with_package(installed).with_workdir("/prober")
