"""Signatures of Sigstore identities: somebody known to an issuer of OIDC tokens.

The work is sigstore's own: a certificate of Fulcio that holds for minutes, an entry in the
Rekor log, and the checks of both. Signing needs the network. Verifying asks for newer roots
of trust where it can, and goes by those that sigstore ships or has cached where it can't.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache, cached_property
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from ci.errors import SigningFault
from ci.secrets.veil import beginning

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from sigstore.sign import Signer, SigningContext
    from sigstore.verify import Verifier

PATIENCE = 120.0
"""Most seconds for one exchange with Sigstore; its own client waits for ever."""

_LONGEST = 300
"""Most characters of an error of sigstore's that are shown."""

T = TypeVar("T")


@dataclass(frozen=True)
class CertificateIdentity:
    """Whom a certificate has to name: its subject, and the issuer that vouches for it."""

    subject: str
    issuer: str


def public_context() -> SigningContext:
    """Return the way to the public Sigstore's certificates and log."""
    from sigstore.models import ClientTrustConfig
    from sigstore.sign import SigningContext

    return SigningContext.from_trust_config(ClientTrustConfig.production())


@cache
def public_verifier() -> Verifier:
    """Return a verifier with the public Sigstore's roots: new ones, or else those at hand."""
    from sigstore.errors import TUFError
    from sigstore.verify import Verifier

    try:
        return Verifier.production()
    except TUFError:
        return Verifier.production(offline=True)


class IdentitySigner:
    """Signs as the identity that an OIDC token names."""

    def __init__(
        self,
        token: str,
        context: Callable[[], SigningContext] = public_context,
        patience: float = PATIENCE,
    ) -> None:
        """Keep the token; it is used with the first signature."""
        self._token, self._context, self._patience = token, context, patience

    def sign(self, statement: bytes) -> bytes:
        """Return `statement` signed, as a bundle.

        Raises:
            SigningFault: The token isn't accepted, or Sigstore is out of reach.
        """
        signed = _started(lambda: self._sign(statement))
        try:
            error = signed.exception(self._patience)
        except TimeoutError as late:
            raise SigningFault(f"Sigstore gave no answer in {self._patience:g} s") from late
        if error is not None:
            raise SigningFault(f"Sigstore did not sign: {_told(error)}") from error
        return signed.result()

    def _sign(self, statement: bytes) -> bytes:
        from sigstore.dsse import Statement

        return self._signer.sign_dsse(Statement(statement)).to_json().encode()

    @cached_property
    def _signer(self) -> Signer:
        """One certificate for all statements: a token lives for minutes only."""
        from sigstore.oidc import IdentityToken
        from sigstore.sign import Signer

        return Signer(IdentityToken(self._token), self._context())


class _Known:
    """Sigstore's policy that a certificate names one of `identities`; keeps which one."""

    def __init__(self, identities: Mapping[str, CertificateIdentity]) -> None:
        self.identities, self.name = identities, ""

    def verify(self, cert: Certificate) -> None:
        from sigstore.errors import VerificationError
        from sigstore.verify.policy import Identity as Demanded

        for name, identity in self.identities.items():
            try:
                Demanded(identity=identity.subject, issuer=identity.issuer).verify(cert)
            except VerificationError:
                continue
            self.name = name
            return
        raise VerificationError("the certificate names nobody who is trusted")


def identify(
    bundle: bytes,
    identities: Mapping[str, CertificateIdentity],
    verifier: Callable[[], Verifier] = public_verifier,
    patience: float = PATIENCE,
) -> tuple[str, str, bytes]:
    """Return who signed `bundle`, the type of its payload, and the payload.

    Raises:
        ValueError: It isn't signed by any of `identities`, or that can't be found out; the
            message is one line.
    """
    if not identities:
        raise ValueError("signed by a Sigstore identity, and none is trusted")
    known = _Known(identities)

    def verified() -> tuple[str, bytes]:
        from sigstore.models import Bundle

        return verifier().verify_dsse(Bundle.from_json(bundle), known)

    opened = _started(verified)
    try:
        error = opened.exception(patience)
    except TimeoutError as late:
        raise ValueError(f"Sigstore's roots did not come in {patience:g} s") from late
    if error is not None:
        raise ValueError(f"no valid signature of an identity: {_told(error)}") from error
    return (known.name, *opened.result())


def _started(work: Callable[[], T]) -> Future[T]:
    """Return what will come of `work`, in a thread that keeps no process from ending."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits, whatever it is
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


def _told(error: BaseException) -> str:
    """Return the first line of what an error says, or else its cause, or else its name.

    Parts of it may be whatever somebody wrote into a bundle.
    """
    said = str(error).strip() or str(error.__cause__ or "").strip() or type(error).__name__
    line = beginning(said.splitlines()[0], _LONGEST)
    return "".join(each if each.isprintable() else "?" for each in line)
