"""Promotions at the same time: one line of history each, or one conflict, and never both."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from ci.errors import BrokenArtifact, ConflictingWrite, RegistryFault
from ci.release.history import HistoryLine
from ci.release.promotion import PromotionState, carry_out, plan
from tests.fakes.registry import meanwhile
from tests.unit.releases import NOW, WHERE, Release, digests, released, signer, there

pytestmark = pytest.mark.unit

LATER = NOW + timedelta(hours=1)


@pytest.fixture
def release() -> Iterator[Release]:
    """Yield an image that was never promoted."""
    with released() as made:
        yield made


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


def at_once(work: list[Callable[[], HistoryLine]]) -> list[HistoryLine | Exception]:
    """Do it all at the same time, and return what came of each."""
    barrier = threading.Barrier(len(work))

    def one(each: Callable[[], HistoryLine]) -> HistoryLine | Exception:
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
    won = [line for line in outcomes if isinstance(line, HistoryLine)]
    lost = [error for error in outcomes if not isinstance(error, HistoryLine)]
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
    assert any(isinstance(line, HistoryLine) for line in outcomes)
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
    assert plan(third.reader(), third.image).state is PromotionState.THERE
