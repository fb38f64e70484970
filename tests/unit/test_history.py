"""History: what was where and when, and what somebody did to it behind its back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from ci.errors import BrokenArtifact, MissingArtifact
from ci.release.history import PREVIOUS, was_there
from ci.release.store import attach, sign
from tests.rare import rare
from tests.unit.releases import NOW, WHERE, Release, released, settings, signer

pytestmark = pytest.mark.unit


@pytest.fixture
def release() -> Iterator[Release]:
    """Yield the first of three images that were promoted one after the other."""
    with released() as made:
        for number, each in enumerate((made, made.other("second"), made.other("third"))):
            each.promote(now=NOW + timedelta(hours=number))
        yield made


def digest(release: Release, name: str = "image") -> str:
    """Return the digest of an image."""
    return release.other(name).image.descriptor.digest


def problems(release: Release) -> list[str]:
    """Return what is wrong with each line, the newest first."""
    return [line.problem for line in release.reader().lines()]


def promotion(release: Release, by: str, **said: Any) -> str:
    """Attach a promotion that says so, and return its manifest's digest."""
    usual = {
        "created": NOW.isoformat(),
        "environment": "prod",
        "number": 4,
        "previous": release.fake.tags["prod.history"],
        "replaces": "",
        "rollback": False,
        "where": WHERE,
    }
    name = release.registry.reference.at(release.image.descriptor.digest)
    signed = sign(name, "promotion", usual | said, signer(by))
    previous = {PREVIOUS: str((usual | said)["previous"])}
    return attach(release.registry, release.image.descriptor, signed, previous).digest


def test_lines_go_back_to_the_first(release: Release) -> None:
    """What was in production last month can't be found."""
    lines = list(release.reader().lines())
    assert [line.number for line in lines] == [3, 2, 1]
    names = ("third", "second", "image")
    assert [line.digest for line in lines] == [digest(release, name) for name in names]
    assert [(line.created - NOW).total_seconds() for line in lines] == [7200, 3600, 0]
    assert problems(release) == ["", "", ""]
    assert not release.reader().forks(lines)


def test_nothing_promoted_is_no_history(release: Release) -> None:
    """An environment without a history ends in a traceback."""
    assert list(release.reader("test").lines()) == []
    with pytest.raises(MissingArtifact, match="nothing was ever promoted there"):
        release.reader("test").current()


def test_current_and_previous(release: Release) -> None:
    """A deploy or a roll-back gets the wrong digest."""
    assert release.reader().current().digest == digest(release, "third")
    assert release.reader().previous().digest == digest(release, "second")
    release.other("second").promote(rollback=True)
    assert release.reader().current().digest == digest(release, "second")
    assert release.reader().previous().digest == digest(release, "third")


def test_the_first_has_none_before_it() -> None:
    """A roll-back of the first promotion goes nowhere, and doesn't say so."""
    with released() as made:
        made.promote()
        with pytest.raises(MissingArtifact, match="was the first there"):
            made.reader().previous()


@pytest.mark.parametrize("there", ["second", None])
def test_a_tag_that_was_moved_by_hand_is_an_error(release: Release, there: str | None) -> None:
    """Something is deployed that nobody promoted."""
    release.fake.tags.pop("prod")
    if there:
        release.fake.tags["prod"] = digest(release, there)
    with pytest.raises(BrokenArtifact, match="it was set by hand, or that promotion isn't") as told:
        release.reader().current()
    assert f"the tag names {digest(release, there) if there else 'nothing'}" in str(told.value)


def test_a_tag_without_any_promotion_is_an_error(release: Release) -> None:
    """A tag that somebody pushed counts as promoted."""
    release.fake.tags["test"] = digest(release)
    with pytest.raises(BrokenArtifact, match="nobody ever promoted anything: it was set by hand"):
        release.reader("test").current()


@pytest.mark.parametrize(
    ("by", "said", "words"),
    rare(
        [
            ("eve", {}, "signed with a key that isn't trusted"),
            ("", {}, "nobody signed it"),
            ("ada", {}, "signed by 'ada'; allowed: ci"),
            ("ci", {"environment": "test"}, "it is a promotion to 'test'"),
            ("ci", {"number": 1}, "it calls itself number 1, and names sha256:"),
            ("ci", {"previous": ""}, "it calls itself number 4, and names none before"),
            ("ci", {"previous": "prod"}, "it calls itself number 4, and names prod before"),
            ("ci", {"number": True}, "it calls itself number"),
        ],
        4,
    ),
)
def test_a_line_that_should_not_be_there_is_named(
    release: Release, by: str, said: dict[str, Any], words: str
) -> None:
    """Whoever can push writes the history."""
    release.fake.tags["prod.history"] = promotion(release, by, **said)
    assert words in problems(release)[0]
    with pytest.raises(BrokenArtifact, match="isn't to be believed"):
        release.reader().current()


def test_a_promotion_that_was_left_out_is_named(release: Release) -> None:
    """A line is cut out of the history."""
    (_, second, first) = release.reader().lines()
    cut = promotion(release, "ci", number=3, previous=first.manifest)
    release.fake.tags["prod.history"] = cut
    assert problems(release)[1] == "it calls itself number 1, and stands before number 3"
    release.fake.tags["prod.history"] = promotion(release, "ci", number=2, previous=second.manifest)
    assert "it calls itself number 2, and stands before number 2" in problems(release)[1]


def test_something_else_under_the_historys_tag_is_named(release: Release) -> None:
    """An image under the history's tag ends in a traceback, or as an empty history."""
    release.fake.tags["prod.history"] = digest(release)
    assert problems(release) == ["malformed: it holds 0 bundles, and one is expected"]
    release.fake.tags["prod.history"] = promotion(release, "ci")
    release.attest("report", {"finished": NOW.isoformat()})
    report = next(
        each.artifact.digest for each in release.evidence().found if each.kind == "report"
    )
    release.fake.tags["prod.history"] = report
    assert problems(release)[0] == "it is no promotion but a report"


def test_a_promotion_of_another_digest_than_it_is_attached_to(release: Release) -> None:
    """A signed promotion is attached to a digest that nobody promoted."""
    named = release.registry.reference.at(digest(release, "fourth"))
    said = {"created": NOW.isoformat(), "environment": "prod", "number": 1, "previous": ""}
    signed = sign(named, "promotion", said, signer("ci"))
    moved = attach(release.registry, release.image.descriptor, signed)
    release.fake.tags["prod.history"] = moved.digest
    assert problems(release) == [f"it is about another digest, {named.digest}"]


def test_a_line_that_is_gone_is_named(release: Release) -> None:
    """A deleted promotion ends the history early, as if there had been none before."""
    lines = list(release.reader().lines())
    del release.fake.manifests[lines[1].manifest]
    assert problems(release)[0] == ""
    assert problems(release)[1].startswith("gone or replaced in the registry")
    assert len(problems(release)) == 2
    with pytest.raises(BrokenArtifact, match="isn't to be believed: gone or replaced"):
        release.reader().previous()


def test_a_line_whose_bundle_was_replaced_is_named(release: Release) -> None:
    """A promotion's content is exchanged on the registry's disk."""
    line = list(release.reader().lines())[1]
    release.fake.blobs[line.found.bundle] = b"{}"
    assert problems(release)[1].startswith("gone or replaced in the registry")
    assert problems(release)[2] == ""


def test_a_history_that_was_set_back_leaves_a_fork(release: Release) -> None:
    """Somebody with access to the tags undoes a promotion, and it was never there."""
    lines = list(release.reader().lines())
    release.fake.tags["prod.history"] = lines[1].manifest
    forks = release.reader().forks(release.reader().lines())
    assert [line.manifest for line in forks] == [lines[0].manifest]
    with pytest.raises(BrokenArtifact):
        release.reader().current()


def test_forged_promotions_beside_the_history_are_no_forks(release: Release) -> None:
    """Whoever can push can make every history look broken."""
    promotion(release, "eve")
    promotion(release, "ci", environment="test")
    assert not release.reader().forks(release.reader().lines())


def test_old_signers_stay_believed_while_they_are_named(release: Release) -> None:
    """A new key makes the whole history worthless, whatever the settings say."""
    release.settings = settings(prod={"signers": ["ci", "ada"]})
    release.other("fourth").promote(by="ada")
    assert problems(release) == ["", "", "", ""]
    release.settings = settings(prod={"signers": ["ada"]})
    assert problems(release) == ["", *["signed by 'ci'; allowed: ada"] * 3]


def test_what_was_there_is_found(release: Release) -> None:
    """A digest that came through the test environment is refused, or any other taken."""
    assert was_there(digest(release), release.reader().lines())
    assert not was_there(digest(release, "fourth"), release.reader().lines())
    assert not was_there(digest(release), release.reader("test").lines())
