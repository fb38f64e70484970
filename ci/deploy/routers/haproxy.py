"""HAProxy as a router: slots are servers of one backend, moved by its runtime socket.

The backend declares both slots beforehand, disabled and pointed at port 1, because servers that
are added at run time are lost on a reload. Shares are weights under `balance roundrobin`, which
is exact. After each change the state is written to HAProxy's state file, so that a reload or a
restart by anybody comes back with the same addresses and shares.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import anyio

from ci.deploy.routers.haproxy_seen import Server, servers, shares_of
from ci.deploy.routers.haproxy_socket import RuntimeSocket
from ci.deploy.routers.haproxy_workers import OLDER, open_on
from ci.deploy.world import SLOTS, WHOLE, RouteSeen
from ci.errors import RouterFault, UsageError
from ci.secrets import files

PATIENCE = 15.0
"""Most seconds until a slot that gets a share passes HAProxy's check."""
_LOOK = 0.1
_REFUSES = 1.0


class HaproxyRouter:
    """Moves the traffic of one HAProxy's backend.

    Args:
        url: Where clients send their requests.
        socket_path: The runtime socket, with admin rights.
        backend: The backend whose servers are the slots.
        slots: The servers' names.
        state_file: The file that HAProxy loads its servers' state from; None where it has none,
            and a reload forgets the shares.
        master_path: The master's socket (`haproxy -W -S`): requests that an older worker still
            holds after a reload are open ones too. None where it has none, and they aren't seen.
        patience: Most seconds until a slot that gets a share passes HAProxy's check.
    """

    names_slots = True

    def __init__(
        self,
        url: str,
        socket_path: Path,
        backend: str = "sglang",
        *,
        slots: Sequence[str] = SLOTS,
        state_file: Path | None = None,
        master_path: Path | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._url, self._backend, self._slots = url, backend, tuple(slots)
        self._socket, self._state_file = RuntimeSocket(socket_path), state_file
        self._master = RuntimeSocket(master_path) if master_path else None
        self._patience = patience

    @property
    def url(self) -> str:
        """Where clients send their requests."""
        return self._url

    async def seen(self) -> Mapping[str, RouteSeen]:
        """Return every slot; counters are since HAProxy's worker started.

        Raises:
            RouterFault: HAProxy doesn't answer, or lacks the backend or a slot.
        """
        there = await self._servers()
        share = shares_of({name: server.weight for name, server in there.items()})
        older = await self._open_on_older_workers()
        return {
            slot: RouteSeen(
                address=there[slot].address,
                share=share[slot],
                open=there[slot].open + older.get(slot, 0),
                up=there[slot].up,
                traffic=there[slot].traffic,
            )
            for slot in self._slots
        }

    async def point(self, slot: str, address: str) -> None:
        """Say where a slot listens; a slot that is pointed elsewhere is drained, and not yet up.

        Raises:
            UsageError: The address isn't `ip:port`.
            RouterFault: HAProxy doesn't answer, or refuses.
        """
        host, port = _split(address)
        there = self._of(await self._servers(), slot)
        if there.address != address or there.maintained:
            await self._set(slot, "state drain")
            told = f"set server {self._name(slot)} addr {host} port {port}"
            answer = await self._socket.ask(told)
            if there.checked:
                await self._set(slot, "health down")
            now = self._of(await self._servers(), slot)
            if now.address != address:
                raise RouterFault(f"HAProxy didn't point {slot} at {address}: {answer.strip()}")
        await self._keep()

    async def shift(self, shares: Mapping[str, int]) -> None:
        """Give each slot its share of new requests, of 100; one that isn't named gets none.

        Slots whose share grows are raised first, and have to pass HAProxy's check before any
        other is lowered: at no moment is there none to take a request.

        Raises:
            UsageError: The shares are none of 100.
            RouterFault: HAProxy doesn't answer or refuses; or a slot doesn't pass its check, and
                all have what they had.
        """
        there = await self._servers()
        share = self._checked(shares, there)
        raised = [slot for slot in self._slots if share[slot] > there[slot].weight]
        lowered = [slot for slot in self._slots if share[slot] < there[slot].weight]
        for slot in raised:
            await self._weigh(slot, share[slot])
        try:
            await self._passes(raised)
        except RouterFault:
            for slot in raised:
                await self._weigh(slot, there[slot].weight)
            raise
        for slot in lowered:
            await self._weigh(slot, share[slot])
        now = await self._servers()
        if wrong := [slot for slot in self._slots if now[slot].weight != share[slot]]:
            raise RouterFault(f"HAProxy took the shares, and shows others for {', '.join(wrong)}")
        await self._keep()

    def _checked(self, wanted: Mapping[str, int], there: Mapping[str, Server]) -> dict[str, int]:
        for slot in wanted:
            self._of(there, slot)
        if sum(wanted.values()) not in {0, WHOLE} or any(share < 0 for share in wanted.values()):
            raise UsageError(f"shares have to add up to {WHOLE} or 0, not {dict(wanted)}")
        if lost := [slot for slot in wanted if wanted[slot] and not there[slot].address]:
            raise RouterFault(f"{lost[0]} is to get traffic and was never pointed anywhere")
        return {slot: wanted.get(slot, 0) for slot in self._slots}

    async def _weigh(self, slot: str, share: int) -> None:
        if share:
            await self._set(slot, f"weight {share}")
        await self._set(slot, "state ready" if share else "state drain")

    async def _passes(self, slots: Sequence[str]) -> None:
        with anyio.move_on_after(self._patience):
            while await self._down(slots):
                await anyio.sleep(_LOOK)
            return
        raise RouterFault(
            f"{' and '.join(slots)} should get more and didn't pass HAProxy's check within"
            f" {self._patience:g} s; all keep what they had: look at the slot's log"
        )

    async def _down(self, slots: Sequence[str]) -> list[str]:
        there = await self._servers()
        return [slot for slot in slots if not there[slot].up]

    async def _servers(self) -> dict[str, Server]:
        stat = await self._socket.ask(f"show stat {self._backend} 4 -1")
        if stat.startswith("No such proxy"):
            raise RouterFault(
                f"{self._socket.path}: this HAProxy has no backend {self._backend};"
                " it is another's socket, or name the backend that has the slots"
            )
        state = await self._socket.ask(f"show servers state {self._backend}")
        there = servers(stat, state, self._backend)
        for slot in self._slots:
            self._of(there, slot)
        return there

    def _of(self, there: Mapping[str, Server], slot: str) -> Server:
        if slot not in there or slot not in self._slots:
            raise RouterFault(
                f"backend {self._backend} has no server {slot} (it has {', '.join(there)});"
                f" declare `server {slot} 127.0.0.1:1 check disabled` there"
            )
        return there[slot]

    async def _open_on_older_workers(self) -> Mapping[str, int]:
        """Return the open requests that workers from before a reload hold.

        A master that reloads refuses connections for some milliseconds; one that refuses for
        longer is gone, as after a reload past it by `haproxy -sf`.
        """
        with anyio.move_on_after(_REFUSES):
            while self._master is not None:
                with suppress(RouterFault):
                    return await open_on(self._master, OLDER, self._backend)
                await anyio.sleep(_LOOK)
        return {}

    async def _set(self, slot: str, what: str) -> None:
        await self._socket.tell(f"set server {self._name(slot)} {what}")

    def _name(self, slot: str) -> str:
        return f"{self._backend}/{slot}"

    async def _keep(self) -> None:
        """Write the state of all servers to HAProxy's state file, whole or not at all."""
        if self._state_file is None:
            return
        state = await self._socket.ask("show servers state")
        try:
            files.replace(self._state_file, state)
        except OSError as error:
            raise RouterFault(
                f"{self._state_file}: {error.strerror}; the traffic has moved, and HAProxy"
                " forgets it on a reload: let this user write its state file"
            ) from error


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    try:
        return str(ipaddress.ip_address(host.strip("[]"))), int(port)
    except ValueError as error:
        raise UsageError(
            f"{address}: HAProxy's slots take ip:port, as names would change under it"
        ) from error
