"""`sglang-ci release …`, run in a container that reaches the registry."""

import uuid
from collections.abc import Sequence

import dagger
from dagger import ReturnType

from ci.module import build, prober
from ci.module.engine import cause
from ci.module.inputs import Inputs
from ci.module.report import Report

TRUST = "/prober/trust"
"""Where the settings' `trust/NAME.pub` lies, beside them."""
LOCK = "requirements/release.txt"
"""What a container needs that handles releases."""
RELEASING = ("registry", "trust")
CA = "/prober/registry-ca.pem"
REGISTRY = "registry"
"""Name, inside the container, of a registry that the caller brings as a service."""


class ReleaseError(Exception):
    """A command about a release failed; the message is its own line on why."""


async def publisher(inputs: Inputs, uses: Sequence[str] = RELEASING) -> dagger.Container:
    """Return a container with the user's settings, credentials and keys for releases.

    Args:
        inputs: What the user gave.
        uses: For what paths in the settings are needed, as `HostPath` has it.

    Raises:
        WrongSettingsError: One of them can't be seen there.
    """
    await inputs.settings(uses)
    return await reaching(inputs)


async def reaching(inputs: Inputs, lock: str = LOCK) -> dagger.Container:
    """Return the same whatever the settings name, with the packages of `lock` in it."""
    at = inputs.credentials
    container = prober.with_settings(build.prober(lock), inputs)
    container = container.with_env_variable("RUN_ID", uuid.uuid4().hex)
    if at.trust is not None:
        container = container.with_mounted_directory(TRUST, at.trust)
    if at.ca is not None:
        container = container.with_mounted_file(CA, at.ca)
    for name, value in _variables(inputs).items():
        container = container.with_env_variable(name, value)
    for name, secret in _secrets(inputs).items():
        container = container.with_secret_variable(name, secret)
    return container if at.registry is None else await _reaching(container, at.registry)


def _variables(inputs: Inputs) -> dict[str, str]:
    """Return the variables that say who asks: empty ones are left out."""
    origin = inputs.origin
    named = {
        "REGISTRY_USERNAME": inputs.credentials.username,
        "SGLANG_CI_REGISTRY__CA_FILE": CA if inputs.credentials.ca is not None else "",
        "SGLANG_CI_ACTOR": origin.actor,
        "SGLANG_CI_BUILD_URL": origin.build_url,
    }
    return {name: value for name, value in named.items() if value}


def _secrets(inputs: Inputs) -> dict[str, dagger.Secret]:
    at = inputs.credentials
    named = {
        "REGISTRY_PASSWORD": at.password,
        "SIGNING_KEY": at.signing_key,
        "SIGNING_KEY_PASSWORD": at.signing_key_password,
        "SIGSTORE_ID_TOKEN": at.identity_token,
    }
    return {name: secret for name, secret in named.items() if secret is not None}


async def _reaching(container: dagger.Container, service: dagger.Service) -> dagger.Container:
    """Return `container` with `service` answering for whatever registry a reference names."""
    port = await (await service.ports())[0].port()
    return container.with_service_binding(REGISTRY, service).with_env_variable(
        "SGLANG_CI_REGISTRY__ENDPOINT", f"{REGISTRY}:{port}"
    )


async def told(container: dagger.Container, *arguments: str) -> str:
    """Return what `sglang-ci release ARGUMENTS` prints in `container`; as `said`."""
    return await said(container, "release", *arguments)


async def said(container: dagger.Container, *arguments: str) -> str:
    """Return what `sglang-ci ARGUMENTS` prints in `container`.

    Raises:
        ReleaseError: It failed.
    """
    argv = ["python3", "-m", "ci", *arguments]
    asked = container.with_exec(argv, expect=ReturnType.ANY)
    try:
        if await asked.exit_code():
            why = (await asked.stderr()).strip() or (await asked.stdout()).strip() or "no output"
            raise ReleaseError(why.splitlines()[-1])
        return await asked.stdout()
    except dagger.QueryError as error:
        raise ReleaseError(cause(error)) from None


async def reported(container: dagger.Container, *arguments: str) -> Report:
    """Return the report that `sglang-ci release ARGUMENTS` leaves in `container`."""
    asked = prober.ask(container, "release", *arguments)
    return await Report.of(await prober.answer(asked, "release"))
