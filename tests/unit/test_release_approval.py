"""Approvals: N different people, for this digest and this environment, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from ci.errors import UsageError
from ci.release.approval import approve, statement_of
from tests.unit.releases import (
    NOW,
    WHERE,
    Release,
    image,
    problems,
    released,
    settings,
    signer,
    skipped,
)

pytestmark = pytest.mark.unit


@pytest.fixture
def release() -> Iterator[Release]:
    """Yield an image that lacks approvals alone."""
    with released() as made:
        made.prove()
        yield made


def missing(release: Release) -> str:
    """Return what is said about the approvals; empty where there are enough."""
    return problems(release.verify()).get("approvals", "")


def test_two_different_people_have_to_approve(release: Release) -> None:
    """One person alone puts something into production."""
    release.approve("ada")
    assert missing(release) == "1 of 2 given, by ada; still to be asked: bob, carol"
    release.approve("ada", created=NOW + timedelta(seconds=1))
    assert missing(release).startswith("1 of 2 given, by ada")
    release.approve("bob")
    assert not missing(release)


@pytest.mark.parametrize(
    ("by", "signed_by", "words"),
    [
        ("bob", "ada", "bob has to sign it, and ada did"),
        ("bob", "ci", "bob has to sign it, and ci did"),
        ("bob", "", "nobody signed it"),
        ("bob", "eve", "signed with a key that isn't trusted"),
        ("eve", "eve", "signed with a key that isn't trusted"),
        ("ci", "ci", "'ci' is no approver; allowed: ada, bob, carol"),
        ("carol", "ada", "ada, who approves for themselves, can't vouch for carol"),
        ("carol", "", "nobody signed it"),
        ("Bob", "bob", "'Bob' is no approver"),
    ],
)
def test_nobody_speaks_for_somebody_else(
    release: Release, by: str, signed_by: str, words: str
) -> None:
    """One key approves in two names."""
    release.approve("ada")
    signed = statement_of("prod", by, WHERE, NOW)
    release.attest("approval", signed, signed_by)
    assert missing(release).startswith("1 of 2 given, by ada")
    assert any(words in message for message in skipped(release.verify())), skipped(release.verify())


def test_a_signer_vouches_for_who_has_no_key(release: Release) -> None:
    """A CI's own protected step can't be an approval, or it isn't said that it was one."""
    release.approve("ada")
    release.approve("carol", signed_by="ci")
    check = release.verify()
    assert not problems(check)
    assert "carol (vouched for by ci)" in check.facts["approved by"]


def test_an_approval_is_for_one_environment(release: Release) -> None:
    """An approval for the test environment opens production."""
    release.approve("ada")
    release.approve("bob", environment="test")
    assert missing(release).startswith("1 of 2 given, by ada")
    assert not skipped(release.verify())


def test_an_approval_is_for_one_digest(release: Release) -> None:
    """An approval of a good image is moved to a bad one."""
    release.approve("ada")
    release.approve("bob", about=image("good"))
    assert missing(release).startswith("1 of 2 given, by ada")
    assert any("it is about another digest" in message for message in skipped(release.verify()))


def test_approvals_get_old_too(release: Release) -> None:
    """An approval of last year opens production today."""
    release.approve("ada", created=NOW - timedelta(days=8))
    release.approve("bob", created=NOW + timedelta(minutes=6))
    check = release.verify()
    assert missing(release).startswith("0 of 2 given")
    assert sorted(skipped(check)) == [
        "it is from the future: 2026-11-22 12:06:00 UTC",
        "stale: 8.0 days old, and 7 are allowed",
    ]


def test_an_approval_that_counts_is_attached_once(release: Release) -> None:
    """Approving does nothing, or something else than what is then read, or piles up."""
    said = statement_of("prod", "ada", WHERE, NOW, "looks good")
    assert approve(release.judge(), "prod", signer("ada"), said)
    assert not approve(release.judge(), "prod", signer("ada"), said)
    assert len(release.evidence().of("approval")) == 1
    found = release.policy().approvals(release.evidence(), NOW)
    assert list(found) == ["ada"]
    assert found["ada"].predicate == {
        "created": NOW.isoformat(),
        "environment": "prod",
        "by": "ada",
        "comment": "looks good",
        "where": WHERE,
    }


@pytest.mark.parametrize(
    ("by", "signed_by", "words"),
    [
        ("ada", "bob", "ada has to sign it, and bob did"),
        ("dan", "ci", "'dan' is no approver; allowed: ada, bob, carol"),
        ("ada", "", "nobody signed it"),
        ("ada", "eve", "signed with a key that isn't trusted"),
    ],
)
def test_an_approval_that_would_not_count_is_refused(
    release: Release, by: str, signed_by: str, words: str
) -> None:
    """Somebody approves, believes that it helped, and finds out at the release."""
    said = statement_of("prod", by, WHERE, NOW)
    before = len(release.fake.manifests)
    with pytest.raises(UsageError, match="this approval would not count in prod") as caught:
        approve(release.judge(), "prod", signer(signed_by), said)
    assert words in str(caught.value)
    assert len(release.fake.manifests) == before


def test_an_environment_may_need_no_approval(release: Release) -> None:
    """An automatic environment waits for people."""
    release.settings = settings(prod={"approvals": 0, "approvers": []})
    assert "approvals" not in {case.name for case in release.verify().cases}
