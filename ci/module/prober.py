"""The questions of `ci.cli`, put to a service from a container beside it."""

import dagger
from dagger import ReturnType, dag

from ci.errors import CheckBroken
from ci.module.build import LOCK, USER, prober
from ci.module.engine import cause
from ci.module.inputs import Inputs
from ci.server.key import API_KEY
from ci.settings import Settings

CONFIG, BOARDS = "/prober/sglang-ci.toml", "/prober/boards"
PORT = 30_000
LOG_FOLDER = "/var/log/sglang"
LOG_FILE = f"{LOG_FOLDER}/server.log"


async def url(service: dagger.Service) -> str:
    """Return the base URL under which the whole session reaches `service`, bound or not.

    A host name of our own choice would be known to containers of this module alone.
    """
    return f"http://{await service.hostname()}:{PORT}"


def with_logs(container: dagger.Container, run: str) -> dagger.Container:
    """Return `container` with the folder that the server of `run` and its prober share.

    For Dagger a cache volume that is mounted with another owner is a different volume.
    """
    logs = dag.cache_volume(f"sglang-ci-log-{run}")
    return container.with_mounted_cache(LOG_FOLDER, logs, owner=USER).with_env_variable(
        "RUN_ID", run
    )


def logged(container: dagger.Container, settings: Settings, run: str) -> dagger.Container:
    """Return `container` with the settings' environment, and its output where a prober sees it."""
    container = with_logs(container, run).with_env_variable("LOG_FILE", LOG_FILE)
    at = settings.server
    container = container.with_env_variable("LOG_FORMAT", at.log_format)
    container = container.with_env_variable("START_METHOD", at.start_method)
    return exposed(container.with_env_variable("LOG_LEVEL", at.log_level), settings)


def exposed(container: dagger.Container, settings: Settings) -> dagger.Container:
    """Return `container` with the settings' environment, and its port for other containers."""
    for name, value in settings.server.environment.items():
        container = container.with_env_variable(name, value)
    return container.with_exposed_port(PORT, experimental_skip_healthcheck=True)


def beside(run: str, lock: str = LOCK) -> dagger.Container:
    """Return a prober of the server of `run`, with what `lock` names.

    It is not bound to the service: the engine ends a container whose bound service ends, and
    the end of a server is what a prober must live to tell.
    """
    return with_logs(prober(lock), run)


def with_settings(container: dagger.Container, inputs: Inputs) -> dagger.Container:
    """Return `container` with the user's settings where the command looks for them, and boards."""
    if inputs.config is not None:
        container = container.with_mounted_file(CONFIG, inputs.config)
    if inputs.boards is not None:
        container = container.with_mounted_directory(BOARDS, inputs.boards)
    return container


def with_key(
    container: dagger.Container, key: str, run: str, variable: str = API_KEY
) -> dagger.Container:
    """Return `container` with the API key of the server of `run` in a variable, empty for none."""
    if not key:
        return container.with_env_variable(variable, "")
    return container.with_secret_variable(variable, dag.set_secret(f"api-key-{run}", key))


def ask(container: dagger.Container, stage: str, *arguments: str) -> dagger.Container:
    """Return `container` after it ran `sglang-ci STAGE`, whatever that found."""
    argv = ["python3", "-m", "ci", stage, *arguments, "--report-dir", f"/report/{stage}"]
    return container.with_exec(argv, expect=ReturnType.ANY)


async def answer(container: dagger.Container, stage: str) -> dagger.Directory:
    """Return the report of `stage`, which `container` ran last.

    Raises:
        CheckBroken: The stage left none; the message is what it said instead.
    """
    try:
        if await container.exists(f"/report/{stage}/report.json"):
            return container.directory(f"/report/{stage}")
        said = (await container.stderr()).strip() or (await container.stdout()).strip()
    except dagger.QueryError as error:
        said = cause(error)
    raise CheckBroken(f"{stage} left no report: {said.splitlines()[-1] if said else 'no output'}")
