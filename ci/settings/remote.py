"""Which host an environment is on, by its settings."""

from __future__ import annotations

from urllib.parse import urlsplit

from ci.errors import UsageError
from ci.settings.model import Settings


def host_of(settings: Settings, environment: str) -> str:
    """Return the name of the host that an environment is on.

    Raises:
        UsageError: There is no such environment, or it is on no other host.
    """
    found = settings.environments.get(environment)
    if found is None:
        names = ", ".join(settings.environments) or "none"
        raise UsageError(f"no environment {environment} in the settings; there are: {names}")
    if not found.deploy.host:
        raise UsageError(
            f"a container can't deploy to the machine that it runs on: name it by host in "
            f"[environments.{environment}.deploy], such as ssh://deploy@gpu-01.example"
        )
    return urlsplit(found.deploy.host).hostname or ""
