"""Promotion: the environment's tag moves once, with one line of history, whoever comes between."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from ci.errors import BrokenArtifact, ConflictingWrite, RegistryFault, UsageError
from ci.release.promotion import PromotionState, plan
from tests.fakes.registry import failing
from tests.unit.releases import NOW, Release, digests, released, settings, there

pytestmark = pytest.mark.unit

LATER = NOW + timedelta(hours=1)


@pytest.fixture
def release() -> Iterator[Release]:
    """Yield an image that was never promoted."""
    with released() as made:
        yield made


def test_the_tag_moves_and_the_history_says_so(release: Release) -> None:
    """The tag is not moved, or nobody can tell who moved it."""
    line = release.promote()
    digest = release.image.descriptor.digest
    assert there(release) == digest
    assert (line.digest, line.number, line.previous) == (digest, 1, "")
    assert (line.actor, line.rollback, line.created) == ("ci-bot", False, NOW)
    assert line.found.signer == "ci"
    other = release.other("second")
    second = other.promote(now=LATER)
    assert there(release) == other.image.descriptor.digest
    assert (second.number, second.previous) == (2, line.manifest)
    assert second.found.predicate["replaces"] == digest
    assert digests(release) == [other.image.descriptor.digest, digest]


def test_what_is_there_already_stays_as_it_is(release: Release) -> None:
    """A repeated pipeline writes a second line, or fails."""
    first = release.promote()
    requests = len(release.fake.requests)
    assert release.promote(now=LATER).manifest == first.manifest
    assert not [each for each in release.fake.requests[requests:] if each.startswith("P")]
    assert len(digests(release)) == 1


def test_a_promotion_that_was_cut_off_is_finished_by_repeating_it(release: Release) -> None:
    """A lost connection leaves an environment that nobody can promote to."""
    release.fake.fault("PUT .*/manifests/prod$", failing(500), times=3)
    with pytest.raises(RegistryFault):
        release.promote()
    assert "prod" not in release.fake.tags
    assert plan(release.reader(), release.image).state is PromotionState.UNFINISHED
    assert release.promote(now=LATER).created == NOW
    assert there(release) == release.image.descriptor.digest
    assert len(digests(release)) == 1


def test_a_cut_before_the_history_leaves_nothing(release: Release) -> None:
    """A statement that was attached and never became history blocks the next promotion."""
    release.fake.fault("PUT .*/manifests/prod.history$", failing(500), times=3)
    with pytest.raises(RegistryFault):
        release.promote()
    assert not {"prod", "prod.history"} & set(release.fake.tags)
    assert release.promote(now=LATER).number == 1


def test_a_tag_that_was_moved_by_hand_stops_everything(release: Release) -> None:
    """Somebody pushes to the environment's tag, and the next promotion covers it up."""
    release.promote()
    other, third = release.other("second"), release.other("third")
    release.fake.tags["prod"] = other.image.descriptor.digest
    with pytest.raises(ConflictingWrite, match="it was set by hand, or that promotion") as caught:
        third.promote()
    assert other.image.descriptor.digest in str(caught.value)
    release.promote(now=LATER)
    assert there(release) == release.image.descriptor.digest
    third.promote(now=LATER)
    assert there(release) == third.image.descriptor.digest


def test_a_tag_from_before_the_first_promotion_is_taken_over(release: Release) -> None:
    """A repository that has such a tag already can't start with promotions."""
    release.fake.tags["prod"] = release.other("old").image.descriptor.digest
    line = release.promote()
    assert line.found.predicate["replaces"] == release.other("old").image.descriptor.digest
    assert there(release) == release.image.descriptor.digest


def test_a_forged_newest_promotion_stops_everything(release: Release) -> None:
    """Whoever can push writes the history."""
    release.promote()
    other = release.other("second")
    other.promote(by="ci", now=LATER)
    assert isinstance(forged(release, "eve"), str)
    with pytest.raises(BrokenArtifact, match="isn't to be believed: signed with a key that isn't"):
        other.promote()


def forged(release: Release, by: str) -> str:
    """Put a promotion that `by` signed on top of the history, as whoever can push could."""
    said = {"created": NOW.isoformat(), "environment": "prod", "number": 3, "previous": ""}
    bundle = release.attest("promotion", said, by)
    stored = release.fake.manifests.items()
    (digest,) = (digest for digest, (_, content) in stored if bundle.encode() in content)
    release.fake.tags["prod.history"] = digest
    return digest


@pytest.mark.parametrize(
    ("by", "words"),
    [
        ("ada", "signed by 'ada'; allowed: ci"),
        ("eve", "isn't trusted"),
        ("", "nobody signed it"),
    ],
)
def test_only_the_environments_signers_promote(release: Release, by: str, words: str) -> None:
    """Somebody promotes, and everybody after that finds a history that isn't believed."""
    with pytest.raises(UsageError, match="your promotions don't count in prod") as caught:
        release.promote(by=by)
    assert words in str(caught.value)
    assert not {"prod", "prod.history"} & set(release.fake.tags)


def test_an_unsigned_environment_takes_anybodys(release: Release) -> None:
    """A laptop can't promote to its own environment."""
    release.settings = settings(test={"signed": False, "signers": []})
    assert release.promote("test", by="").found.signer == ""
    assert there(release, "test") == release.image.descriptor.digest


def test_a_rollback_goes_only_to_what_was_there(release: Release) -> None:
    """`--rollback` is a way past the policy for anything at all."""
    release.promote()
    other, third = release.other("second"), release.other("third")
    other.promote(now=LATER)
    with pytest.raises(UsageError, match="never was in prod: no roll-back"):
        third.promote(rollback=True)
    line = release.promote(now=LATER, rollback=True)
    assert (line.rollback, line.number) == (True, 3)
    assert there(release) == release.image.descriptor.digest
