"""Keys that sign evidence: ECDSA on P-256 and Ed25519, kept as PEM.

These are the two that cosign makes and that every Sigstore client verifies.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from ci.errors import SigningFault, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

    PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey
    PublicKey = EllipticCurvePublicKey | Ed25519PublicKey

PEM = "-----BEGIN "
"""How a key begins that is given itself, and not by the name of a file."""
_FIT = "an ECDSA P-256 or Ed25519 key as PEM"


def new_key(password: str = "") -> tuple[str, str]:
    """Return a new key on P-256: private PEM, encrypted where there is a password, and public."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    lock: form.KeySerializationEncryption = form.NoEncryption()
    if password:
        lock = form.BestAvailableEncryption(password.encode())
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, lock)
    public = key.public_key().public_bytes(
        form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


def private_key(pem: str, password: str = "") -> PrivateKey:
    """Return the private key in `pem`; what is wrong with it is said without showing it.

    Raises:
        SigningFault: It is none that can sign, or the password doesn't open it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem.encode(), password.encode() or None)
    except TypeError as error:
        how = "isn't encrypted, and a password was given" if password else "needs a password"
        raise SigningFault(f"the signing key {how}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        problem = f"the signing key is not {_FIT}, or the password is wrong"
        raise SigningFault(problem) from error
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    raise SigningFault(f"the signing key is not {_FIT}")


def public_key(name: str, pem: str) -> PublicKey:
    """Return the public key in `pem`, which is trusted under `name`.

    Raises:
        UsageError: It is none that can verify.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    problem = f"the trusted key {name} is not {_FIT}, public"
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(problem) from error
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise UsageError(problem)


def key_id(key: PublicKey) -> str:
    """Return the name of a key as Sigstore's clients make it: of its SPKI, SHA-256, base64."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


def sign(key: PrivateKey, message: bytes) -> bytes:
    """Return the key's signature of `message`; with SHA-256 where it is one on P-256."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(hashes.SHA256()))
    return key.sign(message)


def holds(key: PublicKey, signature: bytes, message: bytes) -> bool:
    """Return whether `signature` is the key's, of `message`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        else:
            key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
