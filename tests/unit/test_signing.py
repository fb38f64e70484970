"""Keys that sign, bundles as other clients of Sigstore have them, and who is trusted."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)
from hypothesis import given
from hypothesis import strategies as st
from sigstore.dsse import Statement as OtherStatement

from ci.errors import SigningFault, UsageError
from ci.release.envelope import Envelope, from_bundle
from ci.release.signing import (
    IdentitySigner,
    KeySigner,
    NoSigner,
    Trust,
    new_key,
    signer_from,
)
from ci.release.statement import read
from ci.settings.release import IdentitySettings, TrustSettings
from tests.unit.statements import approval

pytestmark = pytest.mark.unit

PRIVATE, PUBLIC = new_key()
TRUST = Trust({"alice": PUBLIC})


def pem(key: Any, password: bytes = b"") -> tuple[str, str]:
    """Return a private key and its public one as PEM."""
    lock = BestAvailableEncryption(password) if password else NoEncryption()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


@pytest.mark.parametrize("password", ["", "päss wörd"])
def test_a_new_key_signs_and_is_recognised(password: str) -> None:
    """Keys that the command makes are of no use."""
    private, public = new_key(password)
    assert ("ENCRYPTED" in private) is bool(password)
    opened = Trust({"alice": public}).open(KeySigner(private, password).sign(approval()))
    assert (opened.signer, opened.problem) == ("alice", "")
    assert opened.statement == read(approval())


def test_an_ed25519_key_signs_and_is_recognised() -> None:
    """One of the two kinds of keys that other tools make is refused or never verified."""
    private, public = pem(ed25519.Ed25519PrivateKey.generate())
    opened = Trust({"alice": PUBLIC, "bob": public}).open(KeySigner(private).sign(approval()))
    assert (opened.signer, opened.problem) == ("bob", "")


def test_a_bundle_is_as_cosign_writes_it() -> None:
    """`cosign verify-attestation --key` can't verify what was signed here."""
    bundle = json.loads(KeySigner(PRIVATE).sign(approval()))
    spki = load_pem_public_key(PUBLIC.encode()).public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    hint = base64.b64encode(hashlib.sha256(spki).digest()).decode()
    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert bundle["verificationMaterial"] == {"publicKey": {"hint": hint}}
    assert bundle["dsseEnvelope"]["payloadType"] == "application/vnd.in-toto+json"
    assert base64.b64decode(bundle["dsseEnvelope"]["payload"]) == approval()
    assert [*bundle["dsseEnvelope"]["signatures"][0]] == ["sig"]


def test_what_is_signed_is_what_sigstore_signs() -> None:
    """The signature is over other bytes than every other client verifies."""
    other = OtherStatement(approval())._pae()
    assert Envelope(approval()).pae == other
    signature = from_bundle(KeySigner(PRIVATE).sign(approval())).signature
    key = load_pem_public_key(PUBLIC.encode())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(signature, other, ec.ECDSA(hashes.SHA256()))


@given(st.binary(), st.text())
def test_the_encoding_before_signing_can_be_read_in_one_way_only(body: bytes, kind: str) -> None:
    """Two different contents have the same signature."""
    head, _, rest = Envelope(body, kind).pae.partition(b" ")
    length, _, rest = rest.partition(b" ")
    said, rest = rest[: int(length)], rest[int(length) + 1 :]
    size, _, content = rest.partition(b" ")
    assert (head, said.decode(), int(size), content) == (b"DSSEv1", kind, len(body), body)


@given(st.binary(min_size=1), st.text(), st.binary(min_size=1), st.text())
def test_an_envelope_survives_its_bundle(
    payload: bytes, kind: str, signature: bytes, hint: str
) -> None:
    """A bundle holds something else than was put into it."""
    envelope = Envelope(payload, kind, signature, hint)
    assert from_bundle(envelope.to_bundle()) == envelope


def test_nobody_signs_where_there_is_no_key() -> None:
    """Unsigned evidence is taken for somebody's, or can't be read at all."""
    opened = TRUST.open(NoSigner().sign(approval()))
    assert (opened.signer, opened.problem) == ("", "")
    assert opened.statement == read(approval())


def test_what_somebody_unknown_signed_is_a_problem() -> None:
    """Anybody's signature counts."""
    private, _ = new_key()
    opened = TRUST.open(KeySigner(private).sign(approval()))
    assert opened.signer == ""
    assert opened.problem.startswith("signed with a key that isn't trusted: ")


def test_one_key_can_not_stand_for_two_people() -> None:
    """One person approves twice, by two names."""
    with pytest.raises(UsageError, match="two names"):
        Trust({"alice": PUBLIC, "bob": PUBLIC})


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
    ],
    ids=["RSA", "P-384", "secp256k1"],
)
def test_a_key_of_another_kind_is_refused_at_once(key: Any) -> None:
    """A key is taken whose signatures nobody verifies, or which is weak."""
    private, public = pem(key)
    with pytest.raises(SigningFault, match="ECDSA P-256 or Ed25519"):
        KeySigner(private)
    with pytest.raises(UsageError, match="trusted key alice is not an ECDSA P-256 or Ed25519"):
        Trust({"alice": public})


@pytest.mark.parametrize(
    "text",
    ["", "x", PUBLIC, PRIVATE[:100], "-----BEGIN PRIVATE KEY-----"],
    ids=["empty", "text", "public", "cut", "first line"],
)
def test_what_is_no_private_key_is_refused(text: str) -> None:
    """A wrong secret ends the command in a traceback, which shows it."""
    with pytest.raises(SigningFault) as caught:
        KeySigner(text)
    assert str(caught.value) == (
        "the signing key is not an ECDSA P-256 or Ed25519 key as PEM, or the password is wrong"
    )


@pytest.mark.parametrize(
    "text", ["", "x", PRIVATE, PUBLIC[:90]], ids=["empty", "text", "private", "cut"]
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    """A wrong file is found only when a signature has to be verified."""
    with pytest.raises(UsageError, match="trusted key alice"):
        Trust({"alice": text})


@pytest.mark.parametrize(
    ("locked", "password", "problem"),
    [
        ("s3cret", "0ther", "the password is wrong"),
        ("s3cret", "", "needs a password"),
        ("", "s3cret", "isn't encrypted, and a password was given"),
    ],
)
def test_a_password_that_does_not_fit_is_told(locked: str, password: str, problem: str) -> None:
    """Nobody learns whether the key or its password is missing."""
    private, _ = new_key(locked)
    with pytest.raises(SigningFault, match=problem) as caught:
        KeySigner(private, password)
    assert "s3cret" not in str(caught.value)
    assert "0ther" not in str(caught.value)


def test_the_environment_names_the_signer(tmp_path: Path) -> None:
    """A CI's secret isn't used, or the wrong one is."""
    private, public = new_key("secret")
    file = tmp_path / "key.pem"
    file.write_text(private)
    for key in (private, str(file)):
        signer = signer_from({"SIGNING_KEY": key, "SIGNING_KEY_PASSWORD": "secret"})
        assert Trust({"ci": public}).open(signer.sign(approval())).signer == "ci"
    assert isinstance(signer_from({"SIGSTORE_ID_TOKEN": "x.y.z"}), IdentitySigner)
    assert isinstance(signer_from({}), NoSigner)
    assert isinstance(signer_from({"SIGNING_KEY": "", "SIGSTORE_ID_TOKEN": ""}), NoSigner)


def test_two_ways_to_sign_are_one_too_many() -> None:
    """Evidence is signed by somebody else than was meant."""
    with pytest.raises(UsageError, match="both set"):
        signer_from({"SIGNING_KEY": PRIVATE, "SIGSTORE_ID_TOKEN": "x.y.z"})


@pytest.mark.parametrize("value", ["s3cret-key-material", "\0", "x" * 5000, "/"])
def test_a_key_that_is_neither_pem_nor_file_is_not_shown(value: str) -> None:
    """A mistyped secret lands in a log."""
    with pytest.raises(SigningFault) as caught:
        signer_from({"SIGNING_KEY": value})
    assert str(caught.value) == "SIGNING_KEY is neither a PEM nor a file that can be read"
    assert caught.value.__suppress_context__


def test_settings_name_whom_to_trust(tmp_path: Path) -> None:
    """Keys in files, or in the settings themselves, aren't found."""
    other, public = new_key()
    (tmp_path / "bob.pem").write_text(public)
    trust = Trust.of(
        TrustSettings(
            keys={"alice": PUBLIC, "bob": str(tmp_path / "bob.pem")},
            identities={"ci": IdentitySettings(subject="a@b.c", issuer="https://i.example")},
        )
    )
    assert trust.open(KeySigner(PRIVATE).sign(approval())).signer == "alice"
    assert trust.open(KeySigner(other).sign(approval())).signer == "bob"
    assert trust.identities["ci"].subject == "a@b.c"


def test_a_key_file_that_is_missing_is_told_by_its_setting(tmp_path: Path) -> None:
    """Nobody learns which setting to correct."""
    settings = TrustSettings(keys={"bob": str(tmp_path / "bob.pem")})
    with pytest.raises(UsageError, match=r"trust\.keys\.bob: .*bob\.pem can't be read"):
        Trust.of(settings)
