"""Identities: sigstore's own client against an authority and a log that sign for real.

What no test here sees: the public Sigstore, whose services and roots need the network.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sigstore.sign import SigningContext
from sigstore.verify import Verifier

from ci.release.signing import CertificateIdentity, IdentitySigner, KeySigner, Trust, new_key
from ci.release.statement import read
from tests.fakes.sigstore import ISSUER, SUBJECT, FakeSigstore, fake_sigstore, token
from tests.unit.statements import approval

pytestmark = pytest.mark.unit

CI = CertificateIdentity(SUBJECT, ISSUER)


@pytest.fixture(scope="module")
def sigstore() -> Iterator[FakeSigstore]:
    """A Sigstore for all tests of this file."""
    with fake_sigstore() as running:
        yield running


@pytest.fixture(scope="module")
def signed(sigstore: FakeSigstore) -> bytes:
    """An approval that the CI's identity signed."""
    return signer(sigstore).sign(approval())


def signer(sigstore: FakeSigstore, subject: str = SUBJECT) -> IdentitySigner:
    """Return a signer for a token of the CI's workflow, or of somebody else."""
    context = SigningContext.from_trust_config
    return IdentitySigner(token(subject), lambda: context(sigstore.trust_config()))


def trust(sigstore: FakeSigstore, **more: CertificateIdentity) -> Trust:
    """Return the trust in the CI's identity, and in more."""
    root = sigstore.trust_config().trusted_root
    return Trust({}, {"ci": CI} | more, lambda: Verifier(trusted_root=root))


def test_an_identity_signs_and_is_recognised(sigstore: FakeSigstore, signed: bytes) -> None:
    """Evidence of a CI without a key can't be signed, or is never trusted."""
    person = CertificateIdentity("dev@example.com", ISSUER)
    opened = trust(sigstore, dev=person).open(signed)
    assert (opened.signer, opened.problem) == ("ci", "")
    assert opened.statement == read(approval())
    other = signer(sigstore, "dev@example.com").sign(approval())
    assert trust(sigstore, dev=person).open(other).signer == "dev"


def test_one_certificate_is_enough_for_all_statements(sigstore: FakeSigstore) -> None:
    """The token of a CI, which lives for minutes, ends before all evidence is signed."""
    before, entries = sigstore.certificates, sigstore.entries
    ci = signer(sigstore)
    for environment in ("dev", "test", "prod"):
        ci.sign(approval(environment=environment))
    assert (sigstore.certificates - before, sigstore.entries - entries) == (1, 3)


def test_verifying_needs_no_service() -> None:
    """A release can't be verified where Sigstore is out of reach."""
    with fake_sigstore() as ended:
        bundle = signer(ended).sign(approval())
    assert trust(ended).open(bundle).signer == "ci"


@pytest.mark.parametrize(
    "demanded",
    [
        CertificateIdentity(f"{SUBJECT}x", ISSUER),
        CertificateIdentity("https://ci.example/team/project", ISSUER),
        CertificateIdentity(SUBJECT, "https://other.example"),
        CertificateIdentity(ISSUER, SUBJECT),
    ],
)
def test_another_identity_is_nobody(
    sigstore: FakeSigstore, signed: bytes, demanded: CertificateIdentity
) -> None:
    """Another branch's workflow, or another issuer's user of that name, is trusted."""
    root = sigstore.trust_config().trusted_root
    opened = Trust({}, {"ci": demanded}, lambda: Verifier(trusted_root=root)).open(signed)
    assert opened.signer == ""
    assert opened.problem == (
        "no valid signature of an identity: the certificate names nobody who is trusted"
    )


def test_without_identities_nobody_asks_sigstore(signed: bytes) -> None:
    """Those who trust keys alone wait for a service that they don't use."""

    def never() -> Verifier:
        raise AssertionError

    opened = Trust({"alice": new_key()[1]}, {}, never).open(signed)
    assert opened.problem == "signed by a Sigstore identity, and none is trusted"
    private, public = new_key()
    keyed = KeySigner(private).sign(approval())
    assert Trust({"alice": public}, {"ci": CI}, never).open(keyed).signer == "alice"


def test_another_sigstore_is_not_trusted(signed: bytes) -> None:
    """Anybody who runs an authority can be whoever they like."""
    with fake_sigstore() as other:
        opened = trust(other).open(signed)
    assert opened.signer == ""
    assert opened.problem.startswith("no valid signature of an identity: ")


Change = Callable[[dict[str, Any], dict[str, Any]], object]

CHANGES: dict[str, Change] = {
    "statement": lambda one, other: one["dsseEnvelope"].update(
        payload=other["dsseEnvelope"]["payload"]
    ),
    "signature": lambda one, other: one["dsseEnvelope"].update(
        signatures=other["dsseEnvelope"]["signatures"]
    ),
    "whole envelope": lambda one, other: one.update(dsseEnvelope=other["dsseEnvelope"]),
    "certificate": lambda one, other: one["verificationMaterial"].update(
        certificate=other["verificationMaterial"]["certificate"]
    ),
    "log entry": lambda one, other: one["verificationMaterial"].update(
        tlogEntries=other["verificationMaterial"]["tlogEntries"]
    ),
    "no log entry": lambda one, _: one["verificationMaterial"].update(tlogEntries=[]),
    "no certificate": lambda one, _: one["verificationMaterial"].pop("certificate"),
    "no certificate's bytes": lambda one, _: one["verificationMaterial"]["certificate"].clear(),
    "certificate of nothing": lambda one, _: one["verificationMaterial"]["certificate"].update(
        rawBytes="AAAA"
    ),
    "a key beside it": lambda one, _: one["verificationMaterial"].update(publicKey={"hint": "x"}),
    "type of payload": lambda one, _: one["dsseEnvelope"].update(payloadType="text/plain"),
    "no promise": lambda one, _: one["verificationMaterial"]["tlogEntries"][0].pop(
        "inclusionPromise"
    ),
    "another time": lambda one, _: one["verificationMaterial"]["tlogEntries"][0].update(
        integratedTime="1"
    ),
    "words for a terminal": lambda one, _: one["verificationMaterial"]["tlogEntries"][0][
        "kindVersion"
    ].update(version="\x1b[2J" * 1000),
    "deep": lambda one, _: one.update(verificationMaterial={"certificate": [[[[[]]]]]}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_bundle_is_a_problem_and_no_crash(
    sigstore: FakeSigstore, signed: bytes, change: Change
) -> None:
    """Parts of two bundles, each good by itself, pass for a third."""
    one = json.loads(signed)
    change(one, json.loads(signer(sigstore).sign(approval(environment="test"))))
    opened = trust(sigstore).open(json.dumps(one).encode())
    assert opened.signer == ""
    assert opened.problem.isprintable()
    assert 0 < len(opened.problem) < 400


@given(place=st.integers(min_value=0), mask=st.integers(1, 255))
@settings(max_examples=150, deadline=None)
def test_a_changed_byte_changes_nothing_that_is_believed(
    sigstore: FakeSigstore, signed: bytes, place: int, mask: int
) -> None:
    """There is a byte that changes who signed or what was said, and nobody checks it."""
    changed = bytearray(signed)
    changed[place % len(changed)] ^= mask
    opened = trust(sigstore).open(bytes(changed))
    believed = opened.signer == "ci" and not opened.problem
    assert opened.problem or (believed and opened.statement == read(approval()))


def test_a_bundle_that_reads_in_two_ways_is_refused(signed: bytes) -> None:
    """What sigstore verified is one statement, and what is believed another one."""

    class Other:
        def verify_dsse(self, _: object, policy: Any) -> tuple[str, bytes]:
            policy.name = "ci"
            return "application/vnd.in-toto+json", approval(environment="test")

    opened = Trust({}, {"ci": CI}, lambda: cast("Verifier", Other())).open(signed)
    assert (opened.signer, opened.problem) == ("", "what is signed is not what the bundle says")


def test_a_payload_is_taken_as_it_was_signed(signed: bytes) -> None:
    """A bundle of sigstore's holds the statement in other bytes than were signed."""
    payload = json.loads(signed)["dsseEnvelope"]["payload"]
    assert base64.b64decode(payload) == approval()
