"""Promotion: the environment's tag moves once, with one line of history, whoever comes between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from ci.errors import BrokenArtifact, ConflictingWrite, RegistryFault, UsageError
from ci.release import promotion
from ci.release.history import Line
from ci.release.promotion import State, carry_out, plan
from tests.fakes.registry import failing, meanwhile
from tests.unit.releases import NOW, WHERE, Release, released, settings, signer

pytestmark = pytest.mark.unit

LATER = NOW + timedelta(hours=1)


@pytest.fixture
def release() -> Iterator[Release]:
    """Yield an image that was never promoted."""
    with released() as made:
        yield made


def there(release: Release, environment: str = "prod") -> str:
    """Return the digest under an environment's tag."""
    return release.fake.tags[environment]


def digests(release: Release) -> list[str]:
    """Return the digests of the history of production, the newest first."""
    lines = list(release.reader().lines())
    assert not [line.problem for line in lines if line.problem]
    return [line.digest for line in lines]


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
    assert plan(release.reader(), release.image).state is State.UNFINISHED
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


def test_whoever_comes_between_reading_and_writing_the_history_wins(release: Release) -> None:
    """Two promotions both believe that they are the newest."""
    release.promote()
    second, third = release.other("second"), release.other("third")
    release.fake.fault("PUT .*/manifests/prod.history$", meanwhile(third.promote), times=1)
    with pytest.raises(ConflictingWrite, match="somebody else promoted at the same time"):
        second.promote()
    assert there(release) == third.image.descriptor.digest
    assert digests(release) == [third.image.descriptor.digest, release.image.descriptor.digest]


def test_whoever_comes_between_history_and_tag_goes_no_further(release: Release) -> None:
    """A second promotion overtakes one that has written its line, and tag and history differ."""
    second, third = release.other("second"), release.other("third")
    refused: list[Exception] = []

    def come_between() -> None:
        try:
            third.promote()
        except ConflictingWrite as error:
            refused.append(error)

    release.fake.fault("PUT .*/manifests/prod$", meanwhile(come_between), times=1)
    second.promote()
    assert len(refused) == 1
    assert there(release) == second.image.descriptor.digest
    assert digests(release) == [second.image.descriptor.digest]


def test_without_compare_and_swap_whoever_is_overwritten_is_found(release: Release) -> None:
    """The registry lets the later write win, and nobody ever hears of the earlier one."""
    release.promote()
    release.fake.swaps = False
    second, third = release.other("second"), release.other("third")
    release.fake.fault("PUT .*/manifests/prod.history$", meanwhile(third.promote), times=1)
    with pytest.raises(ConflictingWrite, match="somebody else promoted at the same time"):
        second.promote()
    with pytest.raises(BrokenArtifact, match="promoting that digest again puts it right"):
        release.reader().current()
    (fork,) = release.reader().forks(release.reader().lines())
    assert fork.digest == third.image.descriptor.digest
    second.promote()
    assert release.reader().current().digest == second.image.descriptor.digest


def at_once(work: list[Callable[[], Line]]) -> list[Line | Exception]:
    """Do it all at the same time, and return what came of each."""
    barrier = threading.Barrier(len(work))

    def one(each: Callable[[], Line]) -> Line | Exception:
        barrier.wait(30)
        try:
            return each()
        except RegistryFault as error:
            return error

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(one, work))


@pytest.mark.parametrize("round_", range(5))
def test_many_at_once_leave_one_line_each_or_one_conflict(release: Release, round_: int) -> None:
    """Promotions at the same time lose each other's lines, or leave tag and history apart."""
    release.promote()
    others = [release.other(f"{round_}-{number}") for number in range(4)]
    outcomes = at_once([other.promote for other in others])
    won = [line for line in outcomes if isinstance(line, Line)]
    lost = [error for error in outcomes if not isinstance(error, Line)]
    assert {type(error) for error in lost} <= {ConflictingWrite}
    history = digests(release)
    assert len(history) == 1 + len(won)
    assert {line.digest for line in won} | {release.image.descriptor.digest} == set(history)
    assert won
    assert there(release) == history[0]
    assert release.reader().current().digest == history[0]


def test_the_same_digest_twice_at_once_is_one_line(release: Release) -> None:
    """A pipeline that was started twice writes two lines."""
    outcomes = at_once([release.promote, release.promote])
    assert any(isinstance(line, Line) for line in outcomes)
    assert digests(release) == [release.image.descriptor.digest]
    assert there(release) == release.image.descriptor.digest


def test_the_plan_is_what_was_read(release: Release) -> None:
    """The policy is judged on one state, and another one is overwritten."""
    release.promote()
    second, third = release.other("second"), release.other("third")
    read = plan(second.reader(), second.image)
    third.promote(now=LATER)
    with pytest.raises(ConflictingWrite):
        carry_out(read, signer("ci"), WHERE, LATER)
    assert there(release) == third.image.descriptor.digest
    assert promotion.plan(third.reader(), third.image).state is State.THERE
