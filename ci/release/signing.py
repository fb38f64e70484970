"""Signing evidence, and finding out who signed it.

A signer makes a bundle of a statement. `Trust` opens bundles: it knows the keys and identities
whose signatures count, by name, and says who signed, or what is wrong. A statement may be
believed only where it was opened with a signer and without a problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ci.errors import SigningFault, UsageError
from ci.release.envelope import PAYLOAD, Envelope, from_bundle
from ci.release.found import Statement
from ci.release.identity import CertificateIdentity, IdentitySigner, identify, public_verifier
from ci.release.keys import PEM, holds, key_id, new_key, private_key, public_key, sign
from ci.release.statement import read

if TYPE_CHECKING:
    from sigstore.verify import Verifier

    from ci.release.keys import PublicKey
    from ci.settings.release import TrustSettings

__all__ = [
    "CertificateIdentity",
    "IdentitySigner",
    "KeySigner",
    "NoSigner",
    "Opened",
    "Signer",
    "Trust",
    "new_key",
    "signer_from",
]


_NAME = re.compile(r"[\w+/=.:-]{1,128}", re.ASCII)
"""What the name of a key may be to be shown; anybody may have written it."""


class Signer(Protocol):
    """Whoever can put a statement into a bundle."""

    def sign(self, statement: bytes) -> bytes:
        """Return `statement` in a bundle; raises SigningFault where that can't be done."""


class NoSigner:
    """Puts statements into bundles that nobody signed."""

    def sign(self, statement: bytes) -> bytes:
        """Return `statement` in a bundle without a signature."""
        return Envelope(statement).to_bundle()


class KeySigner:
    """Signs with a private key: ECDSA on P-256, or Ed25519."""

    def __init__(self, private: str, password: str = "") -> None:
        """Read the key from its PEM.

        Raises:
            SigningFault: It is none that can sign, or the password doesn't open it.
        """
        self._key = private_key(private, password)
        self.key_id = key_id(self._key.public_key())

    def sign(self, statement: bytes) -> bytes:
        """Return `statement` in a bundle that names the key."""
        envelope = Envelope(statement, hint=self.key_id)
        return replace(envelope, signature=sign(self._key, envelope.pae)).to_bundle()


def signer_from(environ: Mapping[str, str]) -> Signer:
    """Return the signer that variables describe; nobody signs where they describe none.

    `SIGNING_KEY` is a PEM or the name of its file, `SIGNING_KEY_PASSWORD` opens it;
    `SIGSTORE_ID_TOKEN` is an OIDC token for Sigstore.

    Raises:
        UsageError: Both a key and a token are set.
        SigningFault: The key can't be read.
    """
    key, token = environ.get("SIGNING_KEY", ""), environ.get("SIGSTORE_ID_TOKEN", "")
    if key and token:
        raise UsageError("SIGNING_KEY and SIGSTORE_ID_TOKEN are both set: unset one of them")
    if key:
        return KeySigner(_pem(key), environ.get("SIGNING_KEY_PASSWORD", ""))
    return IdentitySigner(token) if token else NoSigner()


def _pem(key: str) -> str:
    if PEM in key:
        return key
    try:
        return Path(key).read_text(encoding="utf-8-sig")
    except (OSError, ValueError):  # what was given may be a secret: it is neither shown nor kept
        raise SigningFault("SIGNING_KEY is neither a PEM nor a file that can be read") from None


@dataclass(frozen=True)
class Opened:
    """What a bundle holds, and what is to be thought of it.

    Args:
        statement: What is said, to be believed only without a problem; None where nothing
            can be read.
        signer: Name of who signed, as trusted; empty where nobody did, or nobody trusted.
        problem: Why the bundle isn't what a trusted name signed, in one line; empty where it
            is, and where nobody signed.
    """

    statement: Statement | None
    signer: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Trust:
    """Whose signatures count.

    Args:
        keys: Name to public key, PEM.
        identities: Name to an identity of Sigstore.
        verifier: Makes what checks signatures of identities, when there is one to check.

    Raises:
        UsageError: A key is none that can verify, or stands there twice.
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    identities: Mapping[str, CertificateIdentity] = field(default_factory=dict)
    verifier: Callable[[], Verifier] = public_verifier

    def __post_init__(self) -> None:
        """Read the keys, so that a wrong one is found before anything is opened."""
        if len(self._named) < len(self.keys):
            raise UsageError(
                "two names in trust.keys have the same key: who signed could not be told"
            )

    @classmethod
    def of(cls, settings: TrustSettings) -> Trust:
        """Return the trust that settings describe, reading the files that they name.

        Raises:
            UsageError: A file can't be read, or holds no public key that can verify.
        """
        keys = {name: _public(name, value) for name, value in settings.keys.items()}
        identities = settings.identities.items()
        return cls(
            keys, {name: CertificateIdentity(one.subject, one.issuer) for name, one in identities}
        )

    def open(self, bundle: bytes) -> Opened:
        """Return what `bundle` says and who signed it; whatever is wrong with it is told there."""
        try:
            envelope = from_bundle(bundle)
        except ValueError as error:
            return Opened(None, problem=str(error))
        statement, unreadable = _read(envelope.payload)
        try:
            signer = self._signer(envelope, bundle)
        except ValueError as error:
            return Opened(statement, problem=str(error))
        return Opened(statement, signer, unreadable)

    @cached_property
    def _named(self) -> dict[str, tuple[str, PublicKey]]:
        """Each key and its trusted name, by the name that bundles use for it."""
        keys = {name: public_key(name, pem) for name, pem in self.keys.items()}
        return {key_id(key): (name, key) for name, key in keys.items()}

    def _signer(self, envelope: Envelope, bundle: bytes) -> str:
        """Return who signed, empty where nobody did; raises ValueError where that isn't sure."""
        if envelope.payload_type != PAYLOAD:
            raise ValueError(f"the payload is no {PAYLOAD}")
        if not envelope.signature:
            return ""
        if not envelope.certified:
            return self._key_holder(envelope)
        name, kind, payload = identify(bundle, self.identities, self.verifier)
        if (kind, payload) != (envelope.payload_type, envelope.payload):
            raise ValueError("what is signed is not what the bundle says")
        return name

    def _key_holder(self, envelope: Envelope) -> str:
        if envelope.hint not in self._named:
            named = _NAME.fullmatch(envelope.hint)
            raise ValueError(
                f"signed with a key that isn't trusted: {named[0] if named else 'unnamed'}"
            )
        name, key = self._named[envelope.hint]
        if not holds(key, envelope.signature, envelope.pae):
            raise ValueError(f"tampered with: this is not what the key of {name} signed")
        return name


def _read(payload: bytes) -> tuple[Statement | None, str]:
    try:
        return read(payload), ""
    except ValueError as error:
        return None, str(error)


def _public(name: str, value: str) -> str:
    if PEM in value:
        return value
    try:
        return Path(value).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UsageError(f"trust.keys.{name}: {value} can't be read: {error}") from error
