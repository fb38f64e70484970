"""A router of the user's own, moved by three programs in a folder: `look`, `point` and `shift`.

`look`
    Prints every slot as JSON: `{"blue": {"address": "10.0.0.5:30001", "share": 100, "open": 3,
    "up": true, "requests": 912, "failed": 0, "cut": 0}, "green": {…}}`. What is left out is
    nothing. Counters may begin anew at a restart.
`point SLOT ADDRESS`
    Says where a slot listens. The slot gets no new request until the next `shift`.
`shift SLOT=SHARE SLOT=SHARE`
    Gives each slot its share of new requests, of 100; open ones stay where they are. A share of 0
    drains: open requests come to their end.

Each one may be repeated, ends within its time, and says by its exit code whether it did what was
asked; why not, in its last line on standard error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import anyio
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ci.deploy.routers.haproxy import PATIENCE
from ci.deploy.targets.detached import apart
from ci.deploy.world import SLOTS, WHOLE, RouteSeen, Traffic
from ci.errors import RouterFault, UsageError
from ci.secrets import veil

PROGRAMS = ("look", "point", "shift")
SECONDS = 30.0
"""Most seconds that one of them takes."""
_LOOK = 0.2


class _Slot(BaseModel):
    """What `look` tells of a slot."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    address: str = ""
    share: int = Field(0, ge=0, le=WHOLE)
    open: int = Field(0, ge=0)
    up: bool = False
    requests: int = Field(0, ge=0)
    failed: int = Field(0, ge=0)
    cut: int = Field(0, ge=0)

    def route(self) -> RouteSeen:
        """Return it as routers tell it."""
        traffic = Traffic(self.requests, self.failed, self.cut)
        return RouteSeen(self.address, self.share, self.open, self.up, traffic)


_TOLD = TypeAdapter(dict[str, _Slot])


class HookRouter:
    """Moves traffic by the user's own programs.

    Args:
        url: Where clients send their requests.
        folder: Holds the programs.
        patience: Most seconds until a slot that is to get more is seen to answer.
        seconds: Most seconds that a program takes.
    """

    names_slots = False

    def __init__(
        self, url: str, folder: Path, *, patience: float = PATIENCE, seconds: float = SECONDS
    ) -> None:
        self._url, self._folder = url, folder
        self._patience, self._seconds = patience, seconds

    @property
    def url(self) -> str:
        """Where clients send their requests."""
        return self._url

    async def seen(self) -> Mapping[str, RouteSeen]:
        """Return every slot.

        Raises:
            RouterFault: `look` failed, or what it prints isn't understood.
        """
        said = await self._run("look")
        try:
            told = _TOLD.validate_json(said)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "its output"
            raise RouterFault(f"{self._folder / 'look'}: {where}: {first['msg']}") from error
        if missing := [slot for slot in SLOTS if slot not in told]:
            raise RouterFault(f"{self._folder / 'look'} tells nothing of {' and '.join(missing)}")
        return {slot: told[slot].route() for slot in SLOTS}

    async def point(self, slot: str, address: str) -> None:
        """Say where a slot listens; a slot that is pointed elsewhere gets no traffic yet.

        Raises:
            RouterFault: `point` failed, or the slot is seen elsewhere, or with a share.
        """
        _known(slot)
        if (await self.seen())[slot].address == address:
            return
        await self._run("point", slot, address)
        now = (await self.seen())[slot]
        if now.address != address or now.share:
            there = f"at {now.address or 'no address'} with a share of {now.share}"
            raise RouterFault(
                f"{self._folder / 'point'} said nothing, and `look` sees {slot} {there}, not at "
                f"{address} without one"
            )

    async def shift(self, shares: Mapping[str, int]) -> None:
        """Give each slot its share of new requests, of 100; one that isn't named gets none.

        Raises:
            UsageError: The shares are none of 100.
            RouterFault: A slot that is to get more doesn't answer, and all keep what they had; or
                `shift` failed, or other shares are seen.
        """
        for slot in shares:
            _known(slot)
        if sum(shares.values()) not in {0, WHOLE} or any(share < 0 for share in shares.values()):
            raise UsageError(f"shares have to add up to {WHOLE} or 0, not {dict(shares)}")
        wanted = {slot: shares.get(slot, 0) for slot in SLOTS}
        there = await self.seen()
        if all(there[slot].share == share for slot, share in wanted.items()):
            return
        await self._answer([slot for slot in SLOTS if wanted[slot] > there[slot].share])
        await self._run("shift", *(f"{slot}={share}" for slot, share in wanted.items()))
        now = await self.seen()
        if wrong := [slot for slot in SLOTS if now[slot].share != wanted[slot]]:
            seen = ", ".join(f"{slot} {now[slot].share}" for slot in wrong)
            problem = f"said nothing, and `look` sees other shares: {seen}"
            raise RouterFault(f"{self._folder / 'shift'} {problem}")

    async def _answer(self, slots: list[str]) -> None:
        """Wait until slots are seen to answer."""
        with anyio.move_on_after(self._patience):
            while True:
                there = await self.seen()
                if all(there[slot].up for slot in slots):
                    return
                await anyio.sleep(_LOOK)
        raise RouterFault(
            f"{' and '.join(slots)} should get more, and `look` didn't see it up within "
            f"{self._patience:g} s; all keep what they had"
        )

    async def _run(self, name: str, *arguments: str) -> str:
        """Run one of the programs, and return what it prints."""
        path = self._folder / name
        done: tuple[int, str, str] | None = None
        with anyio.move_on_after(self._seconds):
            done = await _ran([str(path), *arguments])
        if done is None:
            raise RouterFault(f"{path}: no end after {self._seconds:g} s")
        code, out, err = done
        if code:
            lines = [line.strip() for line in veil.veiled(err).splitlines() if line.strip()]
            raise RouterFault(f"{path}: {lines[-1] if lines else f'exit code {code}'}")
        return out


def programs(folder: Path) -> None:
    """See that a folder holds the three programs.

    Raises:
        UsageError: One is missing, or can't be run.
    """
    for path in (folder / name for name in PROGRAMS):
        if not (path.is_file() and os.access(path, os.X_OK)):
            raise UsageError(f"{path} has to be a program: docs/deploy.md says what it does")


def _known(slot: str) -> None:
    if slot not in SLOTS:
        raise RouterFault(f"no slot {slot}; there are {', '.join(SLOTS)}")


async def _ran(argv: list[str]) -> tuple[int, str, str]:
    """Run a program; return its exit code, output and errors."""
    try:
        done = await anyio.run_process(argv, check=False, env=apart(os.environ))
    except OSError as error:
        raise RouterFault(f"{argv[0]} can't be run: {error.strerror}") from error
    out, err = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    return done.returncode, out, err
