"""Envelopes: DSSE inside a Sigstore bundle v0.3, as bytes.

The form is the one that cosign and the other Sigstore clients read and write, down to the
hint that names a key. Nothing here decides whether a signature counts.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from ci.registry.oci import BUNDLE, canonical

PAYLOAD = "application/vnd.in-toto+json"
"""Type of the payload: evidence is always an in-toto statement."""


@dataclass(frozen=True)
class Envelope:
    """What a bundle holds, none of it verified.

    Args:
        payload: The statement's bytes.
        payload_type: The type that the payload is said to have; it is signed as well.
        signature: Empty where nobody signed.
        hint: Names the key that signed; empty where a certificate does.
        certified: Whether a certificate came along, in place of a hint.
    """

    payload: bytes
    payload_type: str = PAYLOAD
    signature: bytes = b""
    hint: str = ""
    certified: bool = False

    @property
    def pae(self) -> bytes:
        """What is signed: type and payload in DSSE's pre-authentication encoding."""
        kind, body = self.payload_type.encode(), self.payload
        return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)

    def to_bundle(self) -> bytes:
        """Return the bundle, which names the key by its hint, as canonical JSON."""
        signatures = [{"sig": _text(self.signature)}] if self.signature else []
        return canonical(
            {
                "mediaType": BUNDLE,
                "verificationMaterial": {"publicKey": {"hint": self.hint}} if signatures else {},
                "dsseEnvelope": {
                    "payload": _text(self.payload),
                    "payloadType": self.payload_type,
                    "signatures": signatures,
                },
            }
        )


def from_bundle(content: bytes) -> Envelope:
    """Return the envelope in a bundle.

    Raises:
        ValueError: It is no bundle v0.3 with one envelope and at most one signature; the
            message is one line.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError("the bundle is no JSON") from error
    if not isinstance(document, dict) or document.get("mediaType") != BUNDLE:
        raise ValueError(f"the bundle is no {BUNDLE}")
    envelope = _object(document, "dsseEnvelope")
    kind = envelope.get("payloadType")
    if not isinstance(kind, str):
        raise ValueError("the bundle's payload has no type")  # noqa: TRY004 - of a document
    signature = _signature(envelope.get("signatures"))
    material = _object(document, "verificationMaterial")
    hint = _object(material, "publicKey").get("hint") if "publicKey" in material else ""
    if not isinstance(hint, str):
        raise ValueError("the bundle names no key")  # noqa: TRY004 - of a document
    payload = _bytes(envelope.get("payload"), "payload")
    return Envelope(payload, kind, signature, hint, certified="publicKey" not in material)


def _signature(signatures: Any) -> bytes:
    if not isinstance(signatures, list) or len(signatures) > 1:
        raise ValueError("the bundle has more than one signature")
    if not signatures:
        return b""
    found = signatures[0].get("sig") if isinstance(signatures[0], dict) else None
    signature = _bytes(found, "signature")
    if not signature:
        raise ValueError("the bundle's signature is empty")
    return signature


def _object(document: dict[str, Any], key: str) -> dict[str, Any]:
    found = document.get(key)
    if not isinstance(found, dict):
        raise ValueError(f"the bundle has no {key}")  # noqa: TRY004 - of a document
    return found


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: Any, what: str) -> bytes:
    """Return what base64 stands for, in its one canonical spelling only."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise ValueError(f"the bundle's {what} is no base64") from error
    if _text(content) != text:
        raise ValueError(f"the bundle's {what} is no canonical base64")
    return content
