"""The questions of `ci.cli`, put to a service from a container bound to it."""

import dagger
from dagger import ReturnType

from ci.errors import CheckBroken
from ci.module.build import prober

HOST = "server"
PORT = 30_000
URL = f"http://{HOST}:{PORT}"
LOG_FOLDER = "/var/log/sglang"
LOG_FILE = f"{LOG_FOLDER}/server.log"


def bound(service: dagger.Service, logs: dagger.CacheVolume, run: str) -> dagger.Container:
    """Return a prober of `service`; `run` keeps its steps out of other runs' layer cache."""
    return (
        prober()
        .with_service_binding(HOST, service)
        .with_mounted_cache(LOG_FOLDER, logs)
        .with_env_variable("RUN_ID", run)
    )


def ask(container: dagger.Container, stage: str, *arguments: str) -> dagger.Container:
    """Return `container` after it ran `sglang-ci STAGE`, whatever that found."""
    argv = ["python3", "-m", "ci", stage, *arguments, "--report-dir", f"/report/{stage}"]
    return container.with_exec(argv, expect=ReturnType.ANY)


async def answer(container: dagger.Container, stage: str) -> dagger.Directory:
    """Return the report of `stage`, which `container` ran last.

    Raises:
        CheckBroken: The stage left none; the message is what it said instead.
    """
    if await container.exists(f"/report/{stage}/report.json"):
        return container.directory(f"/report/{stage}")
    said = (await container.stderr()).strip() or (await container.stdout()).strip()
    raise CheckBroken(f"{stage} left no report: {said.splitlines()[-1] if said else 'no output'}")
