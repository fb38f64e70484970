"""SGLang's model gateway, smg, as a router: a slot is one of its workers, moved over HTTP.

smg has no weights, so a share is a number of workers under `round_robin`: with one a slot these
are 0, 50 and 100. A worker that is removed drains: it gets no new request, and stays listed with
its open ones for as long as it was told when it was added, which is for ever. Put again it serves
again; removed again it is forgotten.

An smg that was restarted has no workers: both slots are seen out, and the next look of a
deployment puts them back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import anyio

from ci.deploy.routers.smg_api import POLICY, SmgApi, SmgCounts, Worker
from ci.deploy.routers.taken import is_taken
from ci.deploy.world import SLOTS, WHOLE, RouteSeen, Traffic
from ci.errors import RouterFault, UsageError
from ci.settings.deploy import HALF

PATIENCE = 9.0
"""Most seconds until smg has done what it took: a shift waits three times, and has a budget."""
SHARES = (0, HALF, WHOLE)
"""All that a slot's one worker can be given."""
_LOOK = 0.05
Slots = Mapping[str, Sequence[Worker]]


class SmgRouter:
    """Moves the traffic of an smg that the user runs, with `--policy round_robin`.

    Args:
        url: Where clients send their requests, and where it is asked.
        metrics: Where its metrics are, without `/metrics`; empty: nothing is counted.
        patience: Most seconds until it has done what it took.
    """

    names_slots = False

    def __init__(self, url: str, metrics: str = "", *, patience: float = PATIENCE) -> None:
        self._url, self._api, self._patience = url, SmgApi(url, metrics), patience
        self._pointed: dict[str, str] = {}

    @property
    def url(self) -> str:
        """Where clients send their requests."""
        return self._url

    async def seen(self) -> Mapping[str, RouteSeen]:
        """Return every slot; counters are since its worker was added.

        A slot that was pointed and has no share yet is known to this object alone.

        Raises:
            RouterFault: smg or its metrics don't answer, or it has workers that no slot is.
        """
        slots, counts = await self._slots(), await self._api.counted()
        share = _shares(slots)
        return {slot: await self._route(slot, slots[slot], share[slot], counts) for slot in SLOTS}

    async def point(self, slot: str, address: str) -> None:
        """Say where a slot listens; it gets no traffic yet.

        Raises:
            RouterFault: smg doesn't answer, or doesn't take the slot's former server out.
        """
        _known(slot)
        for worker in (await self._slots())[slot]:
            if worker.address == address:
                continue
            if worker.serves or not worker.load:
                await self._api.remove(worker)
        self._pointed[slot] = address
        await self._until(
            lambda slots: all(one.address == address or not one.serves for one in slots[slot]),
            f"smg took that {slot} is at {address}, and goes on with its former server",
        )

    async def shift(self, shares: Mapping[str, int]) -> None:
        """Give each slot its share of new requests; one that isn't named gets none.

        What gets more is added first, and has to be ready before anything is taken out.

        Raises:
            UsageError: The shares are none of 100, or none that smg can make.
            RouterFault: smg doesn't answer; or a slot isn't ready, and all have what they had.
        """
        wanted = _checked(shares)
        slots = await self._slots()
        if HALF in wanted.values():
            await self._halves()
        share = _shares(slots)
        await self._raise([slot for slot in SLOTS if wanted[slot] > share[slot]], slots)
        for slot in SLOTS:
            one = _serving(slots[slot])
            if one and not wanted[slot]:
                self._pointed[slot] = one.address
                await self._api.remove(one)
        await self._until(
            lambda now: all(bool(_serving(now[slot])) is bool(wanted[slot]) for slot in SLOTS),
            "smg took the shares, and shows others",
        )

    async def _halves(self) -> None:
        """See that two workers get a half each."""
        if others := (await self._api.counted()).policies - {POLICY}:
            raise RouterFault(
                f"smg chooses workers by {' and '.join(sorted(others))}, so that each gets any "
                f"share: start it with --policy {POLICY}"
            )

    async def _raise(self, raised: Sequence[str], slots: Slots) -> None:
        """Have slots ready, those without a worker too; take these out again where one isn't."""
        at = {slot: self._address(slot, slots[slot]) for slot in raised}
        if lost := [slot for slot in raised if not at[slot]]:
            raise RouterFault(f"{lost[0]} is to get traffic and was never pointed anywhere")
        problem = (
            f"{' and '.join(raised)} should get more and didn't get ready within "
            f"{self._patience:g} s; all keep what they had: look at the slot's log"
        )
        with anyio.move_on_after(self._patience):
            while not all([await is_taken(address) for address in at.values()]):
                await anyio.sleep(_LOOK)
        if not all([await is_taken(address) for address in at.values()]):
            raise RouterFault(problem)
        added = [slot for slot in raised if not _serving(slots[slot])]
        for slot in added:
            known = (worker for worker in slots[slot] if worker.address == at[slot])
            await self._api.add(slot, at[slot], next(known, None))
        try:
            await self._until(lambda now: all(_is_up(now[slot]) for slot in raised), problem)
        except RouterFault:
            now = await self._slots()
            for worker in filter(None, (_serving(now[slot]) for slot in added)):
                await self._api.remove(worker)
            raise

    async def _until(self, holds: Callable[[Slots], bool], problem: str) -> None:
        """Wait until the slots are seen so."""
        with anyio.move_on_after(self._patience):
            while not holds(await self._slots()):
                await anyio.sleep(_LOOK)
            return
        raise RouterFault(problem)

    async def _slots(self) -> Slots:
        """Return the workers of each slot."""
        workers = await self._api.workers()
        strangers = [one for one in workers if one.slot not in SLOTS and one.serves]
        if strangers:
            raise RouterFault(
                f"smg at {self._url} has the worker {strangers[0].url}, which is no slot's and "
                "takes requests from them: start it without --worker-urls, or remove it by DELETE "
                f"/workers/{strangers[0].id}"
            )
        return {slot: [one for one in workers if one.slot == slot] for slot in SLOTS}

    def _address(self, slot: str, own: Sequence[Worker]) -> str:
        serving = _serving(own)
        if serving:
            return serving.address
        return self._pointed.get(slot) or (own[-1].address if own else "")

    async def _route(
        self, slot: str, own: Sequence[Worker], share: int, counts: SmgCounts
    ) -> RouteSeen:
        address = self._address(slot, own)
        counted = [counts.traffic.get(worker.url, Traffic()) for worker in own]
        return RouteSeen(
            address=address,
            share=share,
            open=sum(worker.load for worker in own),
            up=_is_up(own) if share else await is_taken(address),
            traffic=Traffic(
                sum(each.requests for each in counted), sum(each.failed for each in counted)
            ),
        )


def _serving(own: Sequence[Worker]) -> Worker | None:
    return next((worker for worker in own if worker.serves), None)


def _shares(slots: Slots) -> Mapping[str, int]:
    serving = [slot for slot in SLOTS if _serving(slots[slot])]
    return {slot: WHOLE // len(serving) if slot in serving else 0 for slot in SLOTS}


def _is_up(own: Sequence[Worker]) -> bool:
    one = _serving(own)
    return one is not None and one.status == "ready"


def _checked(shares: Mapping[str, int]) -> Mapping[str, int]:
    """Return the share of each slot."""
    for slot in shares:
        _known(slot)
    wanted = {slot: shares.get(slot, 0) for slot in SLOTS}
    if sum(wanted.values()) not in {0, WHOLE} or any(share < 0 for share in wanted.values()):
        raise UsageError(f"shares have to add up to {WHOLE} or 0, not {dict(shares)}")
    if not set(wanted.values()) <= set(SHARES):
        raise UsageError(
            "smg has no weights, and a slot is one worker: it can make the shares "
            f"{', '.join(map(str, SHARES))}, not {dict(shares)}"
        )
    return wanted


def _known(slot: str) -> None:
    if slot not in SLOTS:
        raise RouterFault(f"no slot {slot}; there are {', '.join(SLOTS)}")
