"""Bundles that are none, or half of one: each is a problem, and none a crash."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.release.envelope import Envelope
from ci.release.signing import KeySigner, NoSigner, Opened, Trust, new_key
from tests.rare import rare
from tests.unit.statements import approval

pytestmark = pytest.mark.unit

PRIVATE, PUBLIC = new_key()
TRUST = Trust({"alice": PUBLIC})
BUNDLE = KeySigner(PRIVATE).sign(approval())


def opened(change: Callable[[Any], object]) -> Opened:
    """Return what is thought of a good bundle after a change of its JSON."""
    document = json.loads(BUNDLE)
    change(document)
    return TRUST.open(json.dumps(document).encode())


GARBAGE: dict[str, bytes] = {
    "nothing": b"",
    "half": BUNDLE[: len(BUNDLE) // 2],
    "twice": BUNDLE * 2,
    "binary": bytes(range(256)),
    "null": b"null",
    "list": b"[" + BUNDLE + b"]",
    "deep": b"[" * 100_000,
    "number": b"9" * 10_000,
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_a_problem_and_no_crash(content: bytes) -> None:
    """One broken piece in the registry hides all others."""
    found = TRUST.open(content)
    assert (found.statement, found.signer) == (None, "")
    assert found.problem
    assert "\n" not in found.problem


PLACES = [
    ("mediaType",),
    ("verificationMaterial",),
    ("verificationMaterial", "publicKey"),
    ("verificationMaterial", "publicKey", "hint"),
    ("dsseEnvelope",),
    ("dsseEnvelope", "payload"),
    ("dsseEnvelope", "payloadType"),
    ("dsseEnvelope", "signatures"),
    ("dsseEnvelope", "signatures", 0),
    ("dsseEnvelope", "signatures", 0, "sig"),
]


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize(
    "value", rare([None, {"x": 1}, 7, "x", ["x"], True, 1e400, "\ud800"], 2), ids=str
)
def test_a_part_of_another_shape_is_refused(place: tuple[Any, ...], value: Any) -> None:
    """A bundle that no tool of ours made is half understood."""

    def change(bundle: Any) -> None:
        for key in place[:-1]:
            bundle = bundle[key]
        bundle[place[-1]] = value

    found = opened(change)
    assert found.signer == ""
    assert found.problem


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_part_that_is_missing_is_noticed(place: tuple[Any, ...]) -> None:
    """A bundle without a part of it is trusted as a whole."""

    def change(bundle: Any) -> None:
        for key in place[:-1]:
            bundle = bundle[key]
        del bundle[place[-1]]

    found = opened(change)
    assert found.signer == ""
    assert found.problem or place[-2:] == ("signatures", 0)


@given(st.binary() | st.text().map(str.encode))
def test_whatever_comes_is_opened_without_a_crash(content: bytes) -> None:
    """An attacker's bytes end the command."""
    assert TRUST.open(content).signer == ""


@given(st.binary())
def test_a_signed_payload_that_is_no_statement_is_a_problem(payload: bytes) -> None:
    """Somebody trusted signed something else, and it counts as evidence."""
    signed = TRUST.open(KeySigner(PRIVATE).sign(payload))
    assert (signed.statement, signed.signer) == (None, "alice")
    assert signed.problem.startswith("the statement")
    assert TRUST.open(NoSigner().sign(payload)).problem.startswith("the statement")


@given(st.text(), st.text(), st.text())
def test_a_problem_shows_nothing_that_a_terminal_obeys(hint: str, kind: str, place: str) -> None:
    """Whoever can write to a repository writes on the screens of those who read it."""
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": place, "digest": {"sha256": "0" * 64}}],
        "predicateType": kind,
        "predicate": {place: kind},
    }
    for payload in (json.dumps(statement).encode(), approval()):
        for found in (
            TRUST.open(KeySigner(PRIVATE).sign(payload)),
            TRUST.open(Envelope(payload, kind, b"x", hint).to_bundle()),
            TRUST.open(Envelope(payload, signature=b"x", hint=hint).to_bundle()),
        ):
            assert found.problem.isprintable()
