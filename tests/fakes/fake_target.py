"""A target in memory, for whoever deploys to one: it keeps the contract, and fails on demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ci.deploy.world import SLOTS, Life, Release, SlotSeen, next_number
from ci.errors import TargetFault


@dataclass
class FakeTarget:
    """A target whose servers are up at once.

    Attributes:
        slots: Every slot; may be changed as the world may.
        deaf: Whether servers ignore SIGTERM.
        last_words: With what servers die as soon as they are started; they live where empty.
        before: Methods that fail and change nothing, as `start`, or `start green`.
        after: Methods that fail once they have had their effect.
        calls: What was asked for so far.
    """

    slots: dict[str, SlotSeen] = field(default_factory=lambda: {s: SlotSeen(s) for s in SLOTS})
    deaf: bool = False
    last_words: str = ""
    before: set[str] = field(default_factory=set)
    after: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)

    async def seen(self) -> Mapping[str, SlotSeen]:
        """Return every slot."""
        self._fail(self.before, "seen")
        return dict(self.slots)

    async def fetch(self, release: Release) -> None:
        """Have everything there."""
        self._called("fetch", release.digest)
        self._fail(self.after, "fetch")

    async def start(self, slot: str, release: Release) -> None:
        """Start a release in a slot."""
        self._called("start", slot)
        there = self.slots[slot]
        if there.life is Life.UP and there.release != release:
            raise TargetFault(f"slot {slot} runs another release: stop it first")
        if there.life is not Life.UP:
            port = 30_000 + SLOTS.index(slot)
            now, number = datetime.now(UTC), next_number(self.slots.values())
            self.slots[slot] = SlotSeen(slot, Life.UP, release, f"127.0.0.1:{port}", now, number)
            self.logs[slot] = "The server is fired up and ready to roll!"
            if self.last_words:
                self.die(slot, self.last_words)
        self._fail(self.after, "start", slot)

    async def mark(self, slot: str) -> None:
        """Keep with a slot that the server in it was proven."""
        self._called("mark", slot)
        if self.slots[slot].life is not Life.UP:
            raise TargetFault(f"slot {slot} runs nothing")
        self.slots[slot] = replace(self.slots[slot], proven=True)
        self._fail(self.after, "mark", slot)

    async def stop(self, slot: str, grace: float) -> str:
        """End a slot's server."""
        self._called("stop", slot)
        there, self.slots[slot] = self.slots[slot], SlotSeen(slot)
        self._fail(self.after, "stop", slot)
        if there.life is not Life.UP:
            return ""
        return f"killed after {grace:g} s" if self.deaf else "ended 0.0 s after SIGTERM"

    async def log(self, slot: str) -> str:
        """Return the last lines of a slot's server."""
        return self.logs.get(slot, "")

    def die(self, slot: str, words: str) -> None:
        """Let a slot's server end by itself."""
        self.slots[slot] = replace(self.slots[slot], life=Life.ENDED, ended=words)
        self.logs[slot] = f"{self.logs.get(slot, '')}\n{words}"

    def _called(self, method: str, about: str) -> None:
        self.calls.append(f"{method} {about}")
        self._fail(self.before, method, about)

    def _fail(self, faults: set[str], method: str, about: str = "") -> None:
        if faults & {method, f"{method} {about}"}:
            raise TargetFault(f"{method} {about}: failed on demand")
