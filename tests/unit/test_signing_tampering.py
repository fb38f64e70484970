"""Bundles that somebody changed: none of them is taken for what was signed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ci.release.envelope import Envelope, from_bundle
from ci.release.keys import private_key, sign
from ci.release.signing import KeySigner, Opened, Trust, new_key
from tests.unit.statements import DIGEST, approval

pytestmark = pytest.mark.unit

ALICE, BOB, STRANGER = new_key(), new_key(), new_key()
_ED25519 = ed25519.Ed25519PrivateKey.generate()
CAROL = (
    _ED25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    _ED25519.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
)
TRUST = Trust({"alice": ALICE[1], "bob": BOB[1], "carol": CAROL[1]})
BUNDLES = {
    name: KeySigner(key[0]).sign(approval())
    for name, key in {"alice": ALICE, "carol": CAROL}.items()
}
BUNDLE = BUNDLES["alice"]
HINT = from_bundle(KeySigner(BOB[0]).sign(approval())).hint

Change = Callable[[dict[str, Any]], object]


def opened(change: Change) -> Opened:
    """Return what is thought of Alice's bundle after a change of its JSON."""
    document = json.loads(BUNDLE)
    change(document)
    return TRUST.open(json.dumps(document).encode())


def envelope(document: dict[str, Any]) -> dict[str, Any]:
    """Return the envelope in a bundle's JSON."""
    found = document["dsseEnvelope"]
    assert isinstance(found, dict)
    return found


def text(content: bytes) -> str:
    """Return `content` as a bundle has it."""
    return base64.b64encode(content).decode()


def test_a_bundle_as_it_was_made_is_trusted() -> None:
    """The tests below hold because nothing is ever trusted."""
    for name, bundle in BUNDLES.items():
        assert (TRUST.open(bundle).signer, TRUST.open(bundle).problem) == (name, "")
    assert opened(lambda _: None) == TRUST.open(BUNDLE)


def test_a_changed_statement_is_found() -> None:
    """An approval for one environment or digest counts for another."""
    for other in (
        approval(environment="test"),
        approval().replace(DIGEST[7:].encode(), b"b2" * 32),
    ):
        found = opened(lambda bundle, other=other: envelope(bundle).update(payload=text(other)))  # type: ignore[misc]
        assert found.signer == ""
        assert found.problem == "tampered with: this is not what the key of alice signed"
        assert found.statement is not None


def test_the_same_statement_in_other_bytes_is_found() -> None:
    """What is signed is what was parsed, and not what stands there."""
    spaced = json.dumps(json.loads(approval()), indent=1).encode()
    assert opened(lambda bundle: envelope(bundle).update(payload=text(spaced))).problem


def test_another_signature_of_the_same_key_is_found() -> None:
    """A signature of one statement is good for all others."""
    other = from_bundle(KeySigner(ALICE[0]).sign(approval(environment="test"))).signature
    found = opened(lambda bundle: envelope(bundle)["signatures"][0].update(sig=text(other)))
    assert (found.signer, bool(found.problem)) == ("", True)


def test_a_hint_that_lies_is_found() -> None:
    """Who signed is read from the bundle, and not from the signature."""
    mallory = from_bundle(KeySigner(STRANGER[0]).sign(approval()))
    alice = from_bundle(BUNDLE)
    for lying, accused in (
        (replace(mallory, hint=alice.hint), "alice"),
        (replace(alice, hint=HINT), "bob"),
    ):
        found = TRUST.open(lying.to_bundle())
        assert found.signer == ""
        assert found.problem == f"tampered with: this is not what the key of {accused} signed"


@pytest.mark.parametrize(
    ("hint", "shown"),
    [
        ("", "unnamed"),
        ("alice", "alice"),
        (HINT.lower(), HINT.lower()),
        (f" {HINT}", "unnamed"),
        (STRANGER[1], "unnamed"),
        ("\x1b[2J", "unnamed"),
    ],
    ids=["none", "name", "lower case", "space", "stranger", "terminal"],
)
def test_a_hint_that_names_nobody_trusted_is_a_problem(hint: str, shown: str) -> None:
    """A key that isn't trusted is guessed, or its name plays tricks with a terminal."""
    found = opened(lambda bundle: bundle["verificationMaterial"]["publicKey"].update(hint=hint))
    assert found.signer == ""
    assert found.problem == f"signed with a key that isn't trusted: {shown}"


@pytest.mark.parametrize("kind", ["", "text/plain", "application/vnd.in-toto+json ", "x" * 9])
def test_another_type_of_payload_is_refused(kind: str) -> None:
    """Something that was signed as another thing counts as evidence."""
    assert opened(lambda bundle: envelope(bundle).update(payloadType=kind)).problem
    unsigned = Envelope(approval(), kind)
    signed = KeySigner(ALICE[0])
    genuine = replace(
        unsigned, hint=signed.key_id, signature=sign(private_key(ALICE[0]), unsigned.pae)
    )
    for made in (genuine, unsigned):
        found = TRUST.open(made.to_bundle())
        assert (found.signer, found.problem) == (
            "",
            "the payload is no application/vnd.in-toto+json",
        )


def test_several_signatures_are_refused() -> None:
    """One good signature hides a bad one, or the other way round."""
    bob = json.loads(KeySigner(BOB[0]).sign(approval()))
    more = envelope(bob)["signatures"]
    for change in (
        lambda bundle: envelope(bundle)["signatures"].extend(more),
        lambda bundle: envelope(bundle).update(signatures=[*more, *envelope(bundle)["signatures"]]),
        lambda bundle: envelope(bundle)["signatures"].append({}),
    ):
        found = opened(change)
        assert (found.statement, found.signer) == (None, "")
        assert found.problem == "the bundle has more than one signature"


def test_a_signature_that_was_taken_away_leaves_an_unsigned_bundle() -> None:
    """Evidence without a signature keeps the name of whoever had signed it."""
    found = opened(lambda bundle: envelope(bundle).update(signatures=[]))
    assert (found.signer, found.problem) == ("", "")


@pytest.mark.parametrize(
    "signature", ["", None, 7, [], {}, "AAA", "AAA=\n", "AA==AA==", "é", "AB=="]
)
def test_a_signature_that_is_none_is_refused(signature: Any) -> None:
    """A malformed signature crashes the command, or makes the bundle an unsigned one."""
    found = opened(lambda bundle: envelope(bundle)["signatures"][0].update(sig=signature))
    assert (found.statement, found.signer) == (None, "")
    assert found.problem.startswith("the bundle's signature")


@given(st.sampled_from(sorted(BUNDLES)), st.integers(min_value=0), st.integers(1, 255))
@settings(max_examples=1500, deadline=None)
@pytest.mark.long
def test_a_single_changed_byte_is_never_accepted(name: str, place: int, mask: int) -> None:
    """There is a byte of a bundle that nobody checks."""
    changed = bytearray(BUNDLES[name])
    changed[place % len(changed)] ^= mask
    found = TRUST.open(bytes(changed))
    assert found.signer == ""
    assert found.problem


@given(st.integers(min_value=0), st.binary(max_size=3))
@settings(max_examples=500, deadline=None)
def test_bytes_put_in_or_taken_out_are_never_accepted(place: int, more: bytes) -> None:
    """A longer or shorter bundle passes for the one that was signed, other than by white space."""
    at = place % len(BUNDLE)
    for changed in (BUNDLE[:at] + more + BUNDLE[at:], BUNDLE[:at] + BUNDLE[at + 1 :]):
        found = TRUST.open(changed)
        same = found == TRUST.open(BUNDLE) and json.loads(changed) == json.loads(BUNDLE)
        assert same or (not found.signer and found.problem)
