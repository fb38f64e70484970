"""HTTP to one registry: time limits, trust, logging in, and bounded retries.

A time limit holds for each thing that moves, never for the whole: a layer of many GB may
take as long as it takes while its blocks get through.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from threading import Event
from typing import Any, TypeVar

import requests
import tenacity
from requests.adapters import BaseAdapter, HTTPAdapter

from ci.errors import RegistryRefused, UsageError
from ci.registry.access import Access
from ci.registry.exchange import BLOCK, RegistryReply, RegistryRequest
from ci.registry.failures import Again, failure, refusal, said
from ci.registry.login import Login
from ci.registry.reference import Reference

LONGEST_WAIT = 60.0
"""Most seconds between two attempts, also where a registry asks for more."""
SETTLE_RATE = 20_000_000
"""Bytes that a registry is trusted to check and store in a second, once it has them all."""
MOST_PAGES = 1000
"""Most pages of one list."""

_HOSTS = {"docker.io": "registry-1.docker.io"}
_SECURE = "https://"
_LONGEST_REASON = 64 * 1024
_T = TypeVar("_T")


class Transport:
    """A client's connections to one repository of a registry."""

    def __init__(self, reference: Reference, access: Access) -> None:
        """Make a client; nothing is asked yet."""
        scheme = "http" if access.plain_http else "https"
        host = access.endpoint or _HOSTS.get(reference.registry, reference.registry)
        self._base = f"{scheme}://{host}/v2/"
        self._below = f"{self._base}{reference.repository}/"
        self._access = access
        self._login = Login(reference, access, self._base)
        self._session = _session(access, self._login)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def ask(self, ask: RegistryRequest) -> RegistryReply:
        """Return the answer to a request, which is sent again where that can help."""
        return self.retrying(lambda: self.once(ask))

    def pages(self, ask: RegistryRequest) -> Iterator[RegistryReply]:
        """Yield the answer to a request, and the pages that follow it.

        Raises:
            BrokenArtifact: There is no end to them.
        """
        for _ in range(MOST_PAGES):
            answer = self.ask(ask)
            yield answer
            if not answer.following:
                return
            ask = replace(ask, url=answer.following)
        raise ask.broken(f"a list of over {MOST_PAGES} pages")

    def retrying(self, work: Callable[[], _T], cancelled: Event | None = None) -> _T:
        """Return what `work` returns, which is called again where that can help.

        Once `cancelled` is set it isn't any more, and a wait ends.
        """
        over = cancelled or Event()
        attempts = tenacity.stop_after_attempt(self._access.attempts)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Again),
            stop=attempts | tenacity.stop_when_event_set(over),
            wait=partial(_wait, pause=self._access.pause),
            sleep=tenacity.sleep_using_event(over),
            reraise=True,
        )
        try:
            return retrying(work)
        except Again as again:
            raise again.fault(self._access.attempts) from again.__cause__

    def once(self, ask: RegistryRequest) -> RegistryReply:
        """Return the answer to a request, logged in where the registry demands that.

        Raises:
            Again: It went wrong, and may not at the next attempt.
            RegistryFault: It went wrong for good.
        """
        answer = self._exchange(ask)
        if answer.status == HTTPStatus.UNAUTHORIZED and self._logged_in(answer):
            answer = self._exchange(ask)
        return self._accepted(answer)

    def _accepted(self, answer: RegistryReply) -> RegistryReply:
        if answer.status in answer.ask.statuses:
            return answer
        text = said(self._login.without_secrets(answer.content.decode(errors="replace")))
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            text = "; ".join(part for part in (text, self._login.who) if part)
        raise refusal(answer.ask, answer, text)

    def _logged_in(self, answer: RegistryReply) -> bool:
        """Meet the challenge in a 401; return whether to ask once more."""
        challenge = answer.headers.get("WWW-Authenticate", "")
        scheme = challenge.partition(" ")[0].lower()
        if scheme == "basic":
            return self._login.basic()
        if scheme != "bearer":
            return False
        request = self._login.token_request(answer.ask, challenge)
        given = self._accepted(self._exchange(request)).document()
        token = given.get("token") or given.get("access_token")
        if not isinstance(token, str):
            raise RegistryRefused(str(request.reference), request.phase, "no token was given")
        self._login.bearer(token)
        return True

    def _exchange(self, ask: RegistryRequest) -> RegistryReply:
        url = ask.url if "://" in ask.url else self._below + ask.url
        size = len(ask.content or b"")
        timeout = (self._access.timeout, self._access.timeout + size / SETTLE_RATE)
        try:
            with self._session.request(
                ask.method,
                url,
                headers=dict(ask.headers),
                data=ask.content if size else None,
                timeout=timeout,
                stream=True,
            ) as response:
                content = _read(ask, response)
                return RegistryReply(
                    ask,
                    response.status_code,
                    response.headers,
                    content,
                    response.url,
                    response.links,
                )
        except requests.RequestException as error:
            raise failure(ask, error, self._access.timeout) from error


def _read(ask: RegistryRequest, response: requests.Response) -> bytes:
    """Return an answer's content; of what says why it went wrong, only the start."""
    wanted, content = response.status_code in ask.statuses, bytearray()
    limit = ask.limit if wanted else _LONGEST_REASON
    for block in response.iter_content(BLOCK):
        content += block
        if len(content) > limit and wanted:
            raise ask.broken(f"answered with over {limit} bytes")
        if len(content) > limit:
            break
    return bytes(content)


def _wait(state: tenacity.RetryCallState, pause: float) -> float:
    """Return the seconds before the next attempt: what the registry asks for, or a back-off."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Again) and error.wait is not None:
        return min(error.wait, LONGEST_WAIT)
    backoff = tenacity.wait_exponential(pause, LONGEST_WAIT)
    return backoff(state) + tenacity.wait_random(0, pause)(state)


def _session(access: Access, login: Login) -> requests.Session:
    session = _Session(access)
    session.auth = login
    session.headers["Accept-Encoding"] = "identity"  # digests are of the content as it is stored
    session.headers["User-Agent"] = "sglang-ci"
    return session


class _Session(requests.Session):
    """A session that reads the system's certificates, which takes a while, once it needs them."""

    def __init__(self, access: Access) -> None:
        super().__init__()
        self._access = access
        del self.adapters[_SECURE]
        if access.ca_file or not access.plain_http:
            self.get_adapter(_SECURE)

    def get_adapter(self, url: str) -> BaseAdapter:
        if _SECURE not in self.adapters and url.lower().startswith(_SECURE):
            self.mount(_SECURE, _Trusting(_trust(self._access)))
        return super().get_adapter(url)


def _trust(access: Access) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.hostname_checks_common_name = False  # as nobody else who pulls does
    if access.ca_file:
        try:
            context.load_verify_locations(access.ca_file)
        except OSError as error:
            why = "no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
            raise UsageError(f"registry.ca_file: {access.ca_file}: {why}") from error
    return context


class _Trusting(HTTPAdapter):
    """HTTPS with further certificates to trust: `requests` itself can only replace them."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        super().init_poolmanager(*arguments, ssl_context=self._context, **more)

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._context, **more)
