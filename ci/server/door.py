"""The one door to a server: key, certificates, time, size, redirects and proxies of all requests.

Every client of control traffic is made here. Certificates are verified by the system's
authorities, or by those in SSL_CERT_FILE and SSL_CERT_DIR; proxies of the environment are left
alone, since they would answer in place of a server on this host; no redirect is followed. The
load client has a wire of its own, and takes key and certificates from here.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Self

import httpx

from ci.server.blocking import Blocking
from ci.server.bounded import Bounded, Bounds
from ci.server.key import authorization, key_of
from ci.server.reach import base_url
from ci.server.unpack import ASKED

MAX_BODY = 16 * 1024 * 1024
"""Most bytes of an answer, unpacked; `/server_info` of a large server has about 100 kB."""


@dataclass(frozen=True)
class Door:
    """How one server is asked.

    Args:
        url: Its base URL, without a trailing slash.
        seconds: Most seconds of a request, from connecting to the last byte of its answer.
        key: Its API key; empty for none.
    """

    url: str
    seconds: float = 30.0
    key: str = field(default="", repr=False)

    @classmethod
    def to(cls, url: str, seconds: float = 30.0) -> Self:
        """Return the door to the server at `url`, with the key that it is to get.

        Raises:
            UsageError: `url` is not the URL of a server, or its key can't be sent.
        """
        at = base_url(url)
        return cls(at, seconds, key_of(at))

    @property
    def headers(self) -> dict[str, str]:
        """The headers that every request has."""
        return authorization(self.key)

    @property
    def tls(self) -> ssl.SSLContext:
        """How certificates are verified; for http, where there are none, at no cost."""
        if self.url.startswith("https"):
            return ssl.create_default_context()
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def client(
        self, *, reuse: bool = True, transport: httpx.AsyncBaseTransport | None = None
    ) -> httpx.AsyncClient:
        """Return a client for requests with an end.

        Args:
            reuse: Whether a connection may be used again. A server closes it after some faults,
                and the next request must not be the one that shows it.
            transport: Another transport, for tests.
        """
        inner = transport or self._transport(reuse=reuse)
        bounds = Bounds(self.seconds, MAX_BODY)
        return self._asynchronous(Bounded(inner, bounds), httpx.Timeout(self.seconds))

    def streaming(self, *, reuse: bool = True) -> httpx.AsyncClient:
        """Return a client for any number of streams of any length.

        No part of a stream may keep it waiting for more than the seconds of a request.
        """
        inner = Bounded(self._transport(reuse=reuse, connections=None), Bounds())
        return self._asynchronous(inner, httpx.Timeout(self.seconds))

    def blocking(self, connect: float) -> httpx.Client:
        """Return a client for callers that block, such as a user's smoke cases.

        Args:
            connect: Most seconds until a connection is made.
        """
        return httpx.Client(
            base_url=self.url,
            headers=self.headers | {"Accept-Encoding": ASKED},
            timeout=httpx.Timeout(self.seconds, connect=min(self.seconds, connect)),
            transport=Blocking(self.tls, Bounds(self.seconds, MAX_BODY)),
            trust_env=False,
        )

    def _asynchronous(
        self, transport: httpx.AsyncBaseTransport, timeout: httpx.Timeout
    ) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url,
            headers=self.headers | {"Accept-Encoding": ASKED},
            timeout=timeout,
            transport=transport,
            trust_env=False,
        )

    def _transport(self, *, reuse: bool, connections: int | None = 100) -> httpx.AsyncHTTPTransport:
        kept = connections if reuse else 0
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=kept)
        return httpx.AsyncHTTPTransport(verify=self.tls, limits=limits)
