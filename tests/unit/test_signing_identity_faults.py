"""Sigstore refusing, out of reach or silent: each ends in one line, and shows no token."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sigstore.errors import TUFError
from sigstore.sign import SigningContext
from sigstore.verify import Verifier

from ci.errors import SigningFault
from ci.release import identity as identities
from ci.release.signing import CertificateIdentity, IdentitySigner
from tests.fakes.faulty import BEHAVIOURS, closed_port, listening
from tests.fakes.sigstore import ISSUER, SECRET, SUBJECT, FakeSigstore, fake_sigstore, token
from tests.unit.statements import approval

pytestmark = pytest.mark.unit

CI = {"ci": CertificateIdentity(SUBJECT, ISSUER)}
HANG = 60


@pytest.fixture(scope="module")
def sigstore() -> Iterator[FakeSigstore]:
    """A Sigstore for all tests of this file."""
    with fake_sigstore() as running:
        yield running


def signer(sigstore: FakeSigstore, bearer: str = "", patience: float = HANG) -> IdentitySigner:
    """Return a signer for a token of the CI's workflow, or for another one."""
    context = SigningContext.from_trust_config
    return IdentitySigner(
        bearer or token(), lambda: context(sigstore.trust_config()), patience=patience
    )


@pytest.mark.parametrize(
    ("bearer", "problem"),
    [
        (token(seconds=-100), "Identity token is malformed or missing claims"),
        (token(secret=SECRET[::-1]), "401 Client Error: Unauthorized for url"),
    ],
    ids=["ended", "of another issuer"],
)
def test_a_token_that_is_not_accepted_ends_in_one_line(
    sigstore: FakeSigstore, bearer: str, problem: str
) -> None:
    """A wrong token ends in a traceback, or is shown."""
    with pytest.raises(SigningFault, match=f"Sigstore did not sign: {problem}") as caught:
        signer(sigstore, bearer).sign(approval())
    assert bearer not in str(caught.value)
    assert bearer not in caught.value.details


@pytest.mark.parametrize("bearer", ["x", "x.y.z", "é", "\n"])
def test_a_token_that_is_none_is_not_shown(sigstore: FakeSigstore, bearer: str) -> None:
    """A mistyped secret lands in a log."""
    with pytest.raises(SigningFault) as caught:
        signer(sigstore, bearer).sign(approval())
    assert str(caught.value) == (
        "Sigstore did not sign: Identity token is malformed or missing claims"
    )


def test_a_log_that_refuses_is_a_fault() -> None:
    """Evidence goes out that no log knows, or the command ends in a traceback."""
    with fake_sigstore() as broken:
        broken.refuse_entries = True
        with pytest.raises(SigningFault, match="Rekor returned an unknown error with HTTP 503"):
            signer(broken).sign(approval())


def test_a_sigstore_out_of_reach_is_a_fault() -> None:
    """A machine without network ends in a traceback."""
    away = FakeSigstore(url=f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(SigningFault, match=r"Sigstore did not sign: .*Connection refused"):
        signer(away).sign(approval())


def test_a_sigstore_that_never_answers_is_not_waited_for() -> None:
    """A CI's job hangs until somebody ends it."""
    with listening(BEHAVIOURS["silent"]) as url:
        begin = time.monotonic()
        with pytest.raises(SigningFault, match=r"Sigstore gave no answer in 0\.2 s"):
            signer(FakeSigstore(url=url), patience=0.2).sign(approval())
    assert time.monotonic() - begin < HANG


def test_roots_that_never_come_are_not_waited_for(sigstore: FakeSigstore) -> None:
    """Verifying hangs where a network swallows packets."""

    def late() -> Verifier:
        time.sleep(1)
        raise TUFError("too late")

    with pytest.raises(ValueError, match=r"Sigstore's roots did not come in 0\.1 s"):
        identities.identify(signer(sigstore).sign(approval()), CI, late, patience=0.1)


def test_roots_at_hand_are_enough(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Without network no signature of an identity can be verified."""

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sigstore._internal.tuf.Updater.refresh", unreachable)
    identities.public_verifier.cache_clear()
    with caplog.at_level(logging.WARNING):
        verifier = identities.public_verifier()
    identities.public_verifier.cache_clear()
    assert "offline" in caplog.text
    certificates = verifier._fulcio_certificate_chain
    assert any("sigstore" in each.subject.rfc4514_string() for each in certificates)
