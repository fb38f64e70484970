"""A router in memory that keeps a real one's contract: shares, drains, counters, and faults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ci.deploy.world import SLOTS, WHOLE, RouteSeen, Traffic
from ci.errors import RouterFault, UsageError


@dataclass
class _Slot:
    seen: RouteSeen
    credit: int = 0


class FakeRouter:
    """Gives requests to slots by their shares; a test makes them by `request` and `begin`.

    Attributes:
        dead: Addresses at which nothing answers.
        gone: Whether the router itself doesn't answer.
        changes: Calls that changed something.
    """

    url = "http://router.invalid"
    names_slots = True

    def __init__(self, slots: Sequence[str] = SLOTS) -> None:
        """Begin with slots that point nowhere."""
        self._slots = {slot: _Slot(RouteSeen()) for slot in slots}
        self.dead: set[str] = set()
        self.gone = False
        self.changes: list[str] = []

    async def seen(self) -> Mapping[str, RouteSeen]:
        """Return every slot."""
        self._answers()
        return {name: replace(slot.seen, up=self._up(slot)) for name, slot in self._slots.items()}

    async def point(self, slot: str, address: str) -> None:
        """Say where a slot listens; pointed elsewhere, it is drained."""
        at = self._of(slot)
        if at.seen.address != address:
            self.changes.append(f"point {slot} {address}")
            at.seen = replace(at.seen, address=address, share=0)

    async def shift(self, shares: Mapping[str, int]) -> None:
        """Give each slot its share."""
        wanted = dict.fromkeys(self._slots, 0) | dict(shares)
        if sum(wanted.values()) not in {0, WHOLE} or min(wanted.values()) < 0:
            raise UsageError(f"shares have to add up to {WHOLE} or 0, not {dict(shares)}")
        raised = [name for name, share in wanted.items() if share > self._of(name).seen.share]
        if down := [name for name in raised if not self._up(self._slots[name])]:
            raise RouterFault(f"{' and '.join(down)} doesn't answer; the others keep their share")
        if any(slot.seen.share != wanted[name] for name, slot in self._slots.items()):
            self.changes.append(f"shift {wanted}")
        for name, slot in self._slots.items():
            slot.seen, slot.credit = replace(slot.seen, share=wanted[name]), 0

    def begin(self) -> str | None:
        """Open a request; return the slot that has it, or None where none answers."""
        able = [slot for slot in self._slots.values() if slot.seen.share and self._up(slot)]
        if not able:
            return None
        for slot in able:
            slot.credit += slot.seen.share
        chosen = max(able, key=lambda slot: slot.credit)
        chosen.credit -= sum(slot.seen.share for slot in able)
        chosen.seen = replace(chosen.seen, open=chosen.seen.open + 1)
        _count(chosen, requests=1)
        return next(name for name, slot in self._slots.items() if slot is chosen)

    def end(self, slot: str, *, failed: bool = False, cut: bool = False) -> None:
        """Close a request of a slot."""
        at = self._of(slot)
        at.seen = replace(at.seen, open=at.seen.open - 1)
        _count(at, failed=int(failed), cut=int(cut))

    def request(self) -> str | None:
        """Make a whole request; return the slot that answered."""
        if slot := self.begin():
            self.end(slot)
        return slot

    def restart(self) -> None:
        """Count from 0 again; addresses and shares stay."""
        for slot in self._slots.values():
            slot.seen = replace(slot.seen, traffic=Traffic())

    def _of(self, slot: str) -> _Slot:
        self._answers()
        if slot not in self._slots:
            raise RouterFault(f"no slot {slot}; there are {', '.join(self._slots)}")
        return self._slots[slot]

    def _answers(self) -> None:
        if self.gone:
            raise RouterFault("the router doesn't answer; start it")

    def _up(self, slot: _Slot) -> bool:
        return bool(slot.seen.address) and slot.seen.address not in self.dead


def _count(slot: _Slot, requests: int = 0, failed: int = 0, cut: int = 0) -> None:
    had = slot.seen.traffic
    now = Traffic(had.requests + requests, had.failed + failed, had.cut + cut)
    slot.seen = replace(slot.seen, traffic=now)
