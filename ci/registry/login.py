"""Who asks: credentials given or found, and the answer to a registry's challenge.

Registries ask for a user and password by themselves (Basic), or for a token that another
server gives for them (Bearer). Neither ever goes to a host or scheme that didn't ask.
"""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

import oras.auth  # type: ignore[import-untyped]
import oras.auth.utils  # type: ignore[import-untyped]
import oras.container  # type: ignore[import-untyped]
import requests

from ci.errors import RegistryRefused, UsageError
from ci.registry.access import DOCKERS_NAMES, Access
from ci.registry.exchange import RegistryRequest
from ci.registry.reference import Reference


class Login(requests.auth.AuthBase):
    """Credentials for one registry, and the header that they have led to."""

    def __init__(self, reference: Reference, access: Access, base: str) -> None:
        """Find the credentials; `base` is the URL below which they may be sent."""
        self._base, self._plain_http, self._user = base, access.plain_http, access.username
        self._basic = _credentials(reference, access)
        self._header = ""
        self._secrets = {access.password, self._basic} - {""}

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header to a request that goes to the registry itself."""
        if self._header and (request.url or "").startswith(self._base):
            request.headers.setdefault("Authorization", self._header)
        return request

    def basic(self) -> bool:
        """Log in by user and password; return whether there are any."""
        self._header = f"Basic {self._basic}" if self._basic else ""
        return bool(self._basic)

    def bearer(self, token: str) -> None:
        """Log in by a token."""
        self._header = f"Bearer {token}"
        self._secrets.add(token)

    def token_request(self, ask: RegistryRequest, challenge: str) -> RegistryRequest:
        """Return the request for the token that `challenge` demands of the sender of `ask`.

        Raises:
            RegistryRefused: It names no server that could be asked.
        """
        demand = oras.auth.utils.parse_auth_header(challenge)
        realm = demand.realm or ""
        allowed = {"https", "http"} if self._plain_http else {"https"}
        if urlsplit(realm).scheme not in allowed:
            problem = "it wants a token, and names no server for it that may be asked"
            raise RegistryRefused(str(ask.reference), ask.phase, problem)
        wanted = {"service": demand.service, "scope": demand.scope}
        query = urlencode({key: value for key, value in wanted.items() if value})
        headers = {"Authorization": f"Basic {self._basic}"} if self._basic else {}
        url = f"{realm}{'&' if '?' in realm else '?'}{query}"
        return RegistryRequest(ask.reference, f"{ask.phase}, log in", "GET", url, headers=headers)

    @property
    def who(self) -> str:
        """Who asked, for the line of a refusal."""
        if self._user:
            return f"the user is {self._user!r}"
        if self._basic:
            return "the user is the one in Docker's configuration"
        return "no user is given (REGISTRY_USERNAME and REGISTRY_PASSWORD, or docker login)"

    def without_secrets(self, text: str) -> str:
        """Return `text`, which a registry wrote, with any of our secrets blotted out."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _credentials(reference: Reference, access: Access) -> str:
    """Return `user:password` in base64; empty where there are none."""
    backend = oras.auth.TokenAuth()
    if access.username:
        backend.set_basic_auth(access.username, access.password)
    else:
        container = oras.container.Container(reference.name)
        container.registry = DOCKERS_NAMES.get(reference.registry, reference.registry)
        try:
            backend.load_configs(container)
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise UsageError(f"Docker's configuration can't be read: {error}") from error
    return str(getattr(backend, "_basic_auth", ""))
