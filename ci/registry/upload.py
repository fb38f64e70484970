"""One blob's way into a registry."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from ci.registry.exchange import DONE, PERHAPS, Content, RegistryRequest

if TYPE_CHECKING:
    from ci.registry.transport import Transport

PHASE = "upload blob"
_BINARY = {"Content-Type": "application/octet-stream"}


def upload(transport: Transport, content: Content) -> bool:
    """Upload content, whose reference is its digest's, unless it is there.

    An upload is begun anew at each attempt: what became of one that was cut is unknown.

    Returns:
        Whether it was uploaded.
    """
    at = content.reference

    def attempt() -> bool:
        head = RegistryRequest(at, PHASE, "HEAD", f"blobs/{at.digest}", PERHAPS)
        if transport.once(head).status == HTTPStatus.OK:
            return False
        begun = transport.once(RegistryRequest(at, PHASE, "POST", "blobs/uploads/", DONE))
        location = urljoin(begun.url, begun.headers.get("Location", ""))
        url = f"{location}{'&' if '?' in location else '?'}digest={at.digest}"
        transport.once(RegistryRequest(at, PHASE, "PUT", url, DONE, _BINARY, content))
        return True

    return transport.retrying(attempt, content.cancelled)
