"""No router: clients speak to the server itself, so one copy runs at a time.

A share is what is meant here: whoever knows the port reaches whatever listens there. What was
pointed and shifted is kept in a file, so that a deployment that was cut off goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ci.deploy.routers.taken import is_taken
from ci.deploy.world import SLOTS, WHOLE, RouteSeen
from ci.errors import RouterFault, UsageError
from ci.secrets import files


@dataclass(frozen=True)
class _Kept:
    address: str = ""
    share: int = 0


_KEPT = TypeAdapter(dict[str, _Kept])


class NoRouter:
    """Knows which slot is meant to have all requests; nothing is moved, counted or drained.

    Args:
        url: Where clients send their requests: the server's own address.
        file: Keeps what was pointed and shifted.
    """

    names_slots = False

    def __init__(self, url: str, file: Path) -> None:
        self._url, self._file = url, file

    @property
    def url(self) -> str:
        """Where clients send their requests."""
        return self._url

    async def seen(self) -> Mapping[str, RouteSeen]:
        """Return every slot; open requests and counters aren't seen.

        Raises:
            RouterFault: What was kept can't be read.
        """
        kept = self._read()
        return {
            slot: RouteSeen(one.address, one.share, up=await is_taken(one.address))
            for slot, one in kept.items()
        }

    async def point(self, slot: str, address: str) -> None:
        """Say where a slot listens.

        Raises:
            RouterFault: There is no such slot, or it can't be kept.
        """
        kept = self._read()
        _known(slot)
        if kept[slot].address != address:
            self._write({**kept, slot: _Kept(address)})

    async def shift(self, shares: Mapping[str, int]) -> None:
        """Say which slot is meant to have everything.

        Raises:
            UsageError: The shares aren't all or nothing.
            RouterFault: A slot that is to get everything doesn't answer, or it can't be kept.
        """
        kept = self._read()
        for slot in shares:
            _known(slot)
        wanted = {slot: shares.get(slot, 0) for slot in SLOTS}
        if sorted(wanted.values()) not in ([0, 0], [0, WHOLE]):
            raise UsageError(
                f"shares have to add up to {WHOLE} or 0, and without a router one slot has them "
                f"all: not {dict(shares)}"
            )
        for slot, share in wanted.items():
            if share > kept[slot].share and not await is_taken(kept[slot].address):
                raise RouterFault(f"{slot} should get everything, and nothing answers there")
        changed = {slot: _Kept(kept[slot].address, share) for slot, share in wanted.items()}
        if changed != kept:
            self._write(changed)

    def _read(self) -> dict[str, _Kept]:
        nothing = {slot: _Kept() for slot in SLOTS}
        try:
            return nothing | _KEPT.validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return nothing
        except (OSError, ValidationError) as error:
            raise RouterFault(f"{self._file} can't be read: remove it, and repeat") from error

    def _write(self, kept: Mapping[str, _Kept]) -> None:
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.replace(self._file, json.dumps({slot: asdict(one) for slot, one in kept.items()}))
        except OSError as error:
            raise RouterFault(f"{self._file}: {error.strerror}; let this user write it") from error


def _known(slot: str) -> None:
    if slot not in SLOTS:
        raise RouterFault(f"no slot {slot}; there are {', '.join(SLOTS)}")
