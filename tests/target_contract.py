"""What every target keeps to, whatever runs its servers: one suite of tests for all adapters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

import anyio
import httpx
import pytest

from ci.deploy.seams import Target
from ci.deploy.world import SLOTS, Life, Release, SlotSeen
from ci.errors import TargetFault

HANG = 60.0
"""Most seconds that a test of the contract may take."""
BLUE, GREEN = SLOTS
WORDS = "RuntimeError: the tiny GPU is out of memory"


class Rig(ABC):
    """A machine with a target on it."""

    release: Release
    """What can be started there."""

    @abstractmethod
    def target(self, *, deaf: bool = False, last_words: str = "") -> Target:
        """Return the target, as another process may have it.

        Args:
            deaf: Whether servers that are started by it ignore SIGTERM.
            last_words: With what they end by themselves at once; they live where it is empty.
        """

    async def answers(self, address: str) -> bool:
        """Return whether a server answers at an address."""
        async with httpx.AsyncClient() as client:
            try:
                return (await client.get(f"http://{address}/health")).is_success
            except httpx.TransportError:
                return False


async def seen_as(target: Target, slot: str, life: Life) -> SlotSeen:
    """Wait until a slot is seen like that."""
    with anyio.fail_after(HANG / 2):
        while (seen := (await target.seen())[slot]).life is not life:
            await anyio.sleep(0.05)
    return seen


async def said(target: Target, slot: str, words: str) -> None:
    """Wait until a slot's log has these words."""
    with anyio.fail_after(HANG / 2):
        while words not in await target.log(slot):
            await anyio.sleep(0.05)


class TargetContract:
    """The suite; a class for each adapter has its `rig`."""

    async def test_a_slot_runs_is_proven_and_is_taken_away(self, rig: Rig) -> None:
        """A server isn't found, is another's, or stays behind."""
        target = rig.target()
        assert {seen.life for seen in (await target.seen()).values()} == {Life.ABSENT}
        await target.fetch(rig.release)
        await target.start(BLUE, rig.release)
        first = (await target.seen())[BLUE]
        assert (first.life, first.release, first.proven) == (Life.UP, rig.release, False)
        assert first.started is not None
        assert first.ended == ""
        with anyio.fail_after(HANG / 2):
            while not await rig.answers(first.address):
                await anyio.sleep(0.05)
        await target.mark(BLUE)
        await target.mark(BLUE)
        assert await rig.target().seen() == {
            BLUE: replace(first, proven=True),
            GREEN: SlotSeen(GREEN),
        }
        assert await target.stop(BLUE, 20) != ""
        assert (await target.seen())[BLUE] == SlotSeen(BLUE)
        assert await target.stop(BLUE, 20) == ""

    async def test_the_second_start_of_the_same_is_nothing(self, rig: Rig) -> None:
        """A repeated deploy starts a server twice, or loses its proof."""
        target = rig.target()
        await target.start(BLUE, rig.release)
        await target.mark(BLUE)
        before = await target.seen()
        await rig.target().start(BLUE, rig.release)
        assert await target.seen() == before

    async def test_another_release_does_not_take_a_slot(self, rig: Rig) -> None:
        """A server that has traffic is replaced without anybody having drained it."""
        target = rig.target()
        await target.start(BLUE, rig.release)
        before = await target.seen()
        for other in (
            replace(rig.release, deployment="another"),
            replace(rig.release, digest=f"sha256:{'0' * 64}"),
        ):
            with pytest.raises(TargetFault, match="stop it first"):
                await target.start(BLUE, other)
        assert await target.seen() == before

    async def test_two_slots_run_side_by_side(self, rig: Rig) -> None:
        """Blue and green meet on one port, or one is ended with the other."""
        target, other = rig.target(), replace(rig.release, deployment="another")
        await target.start(BLUE, rig.release)
        await target.start(GREEN, other)
        seen = await target.seen()
        assert seen[BLUE].address != seen[GREEN].address
        await target.stop(BLUE, 20)
        assert (await target.seen())[GREEN] == seen[GREEN]
        assert seen[GREEN].release == other

    async def test_a_death_is_seen_with_its_words(self, rig: Rig) -> None:
        """A server that died counts as up, or nobody learns why, or its slot is lost for ever."""
        await rig.target(last_words=WORDS).start(BLUE, rig.release)
        ended = await seen_as(rig.target(), BLUE, Life.ENDED)
        assert WORDS in ended.ended
        assert len(ended.ended.splitlines()) == 1
        assert ended.release == rig.release
        assert WORDS in await rig.target().log(BLUE)
        other = replace(rig.release, deployment="another")
        await rig.target().start(BLUE, other)
        anew = (await rig.target().seen())[BLUE]
        assert (anew.life, anew.release, anew.proven) == (Life.UP, other, False)

    async def test_what_ended_is_taken_away(self, rig: Rig) -> None:
        """The remains of a bad candidate stay in its slot, or its reason goes with them."""
        target = rig.target(last_words=WORDS)
        await target.start(BLUE, rig.release)
        await seen_as(target, BLUE, Life.ENDED)
        assert await target.stop(BLUE, 20) == ""
        assert (await target.seen())[BLUE] == SlotSeen(BLUE)
        assert WORDS in await target.log(BLUE)

    async def test_a_deaf_server_is_killed(self, rig: Rig) -> None:
        """A hung server blocks every further deploy."""
        target = rig.target(deaf=True)
        await target.start(BLUE, rig.release)
        await said(target, BLUE, "fired up")
        with anyio.fail_after(20):
            assert "killed" in await target.stop(BLUE, 1)
        assert (await target.seen())[BLUE] == SlotSeen(BLUE)

    async def test_the_mark_goes_with_its_server(self, rig: Rig) -> None:
        """A server that nobody has proven gets the proof of the one before it."""
        target = rig.target()
        await target.start(BLUE, rig.release)
        await said(target, BLUE, "fired up")
        await target.mark(BLUE)
        await target.stop(BLUE, 20)
        await target.start(BLUE, rig.release)
        assert not (await target.seen())[BLUE].proven

    async def test_nothing_has_no_mark(self, rig: Rig) -> None:
        """The next server of a slot is proven before it was started."""
        with pytest.raises(TargetFault):
            await rig.target().mark(BLUE)
        assert (await rig.target().seen())[BLUE] == SlotSeen(BLUE)

    async def test_a_log_is_read_while_it_grows_and_after_its_server(self, rig: Rig) -> None:
        """A report has no reason for the failure that it tells."""
        target = rig.target()
        assert await target.log(BLUE) == ""
        await target.start(BLUE, rig.release)
        await said(target, BLUE, "fired up")
        await target.stop(BLUE, 20)
        assert "fired up" in await rig.target().log(BLUE)
