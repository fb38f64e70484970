"""The target `process`: servers on this host, started by `launch.sh`, that outlive who did it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import anyio
from packaging.utils import canonicalize_name

from ci.boot import log as logs
from ci.boot.death import exited
from ci.boot.launch import Launch
from ci.boot.port import locked
from ci.boot.serving import engine_of, installed, launch_of, model_of
from ci.deploy.outliving import Birth, find
from ci.deploy.targets import room
from ci.deploy.targets.detached import end, spawn
from ci.deploy.targets.kept import Kept, as_faults, shown
from ci.deploy.targets.record import SlotRecord
from ci.deploy.world import SLOTS, Life, Release, SlotSeen, next_number
from ci.errors import TargetFault
from ci.platform.records import labelled
from ci.secrets import veil
from ci.settings import Settings
from ci.versions.same import same

LOG = "server.log"


@dataclass(frozen=True)
class ProcessTarget:
    """Runs releases as processes of this host.

    There is no image: a release is what is installed here, in the version that it claims. Each
    slot has a folder with its record and its log, both for their owner alone. A server writes
    its log as it comes; what is returned of it, or kept of it, shows no secret.

    Args:
        folder: Keeps the slots.
        settings: How a server is started; their `server.port` belongs to no slot.
        ports: The port of a slot; one that isn't named gets a free one.
        beside: Whether a release is started beside another, and not in its place.
        environment: The environment that is deployed to, for the servers' logs.
    """

    folder: Path
    settings: Settings
    ports: Mapping[str, int] = field(default_factory=dict)
    beside: bool = True
    environment: str = ""

    async def seen(self) -> Mapping[str, SlotSeen]:
        """Return every slot.

        Raises:
            TargetFault: A slot's record can't be read.
        """
        return {slot: self._seen(slot, self._record(slot)) for slot in SLOTS}

    async def fetch(self, release: Release) -> None:
        """See that the release is installed here, that its model is there, and that it fits.

        Raises:
            TargetFault: It isn't, or doesn't; nothing has changed.
        """
        with as_faults():
            await self._installed(release)
            await model_of(self.settings)
        room.disk(self.folder.absolute())
        running = [one for one in map(self._record, SLOTS) if one and one.runs]
        if self.beside and [one.release == release for one in running] == [False]:
            births = [one.birth for one in running if one.birth]
            await room.beside([one.pid for birth in births for one in room.family(birth.pid)])

    async def start(self, slot: str, release: Release) -> None:
        """Start a release in a slot.

        Raises:
            TargetFault: It can't be started, or another release runs there.
        """
        with self._kept.changing(slot), as_faults():
            record = self._record(slot)
            if record and record.runs:
                if record.release != release:
                    raise TargetFault(f"slot {slot} runs {record.release.digest}: stop it first")
                return
            with anyio.CancelScope(shield=True):
                await self._take_away(slot, record, 0)
            model = await model_of(self.settings)
            with locked(self.settings.server.host, self.ports.get(slot, 0)) as (port, lock):
                launch = launch_of(self.settings, model, port)
                labels = release.labels(self.environment, slot)
                launch = replace(launch, environment=labelled(launch.environment, labels))
                await self._begin(slot, release, launch, lock)

    async def mark(self, slot: str) -> None:
        """Keep with a slot that the server in it was proven.

        Raises:
            TargetFault: Nothing runs there.
        """
        with self._kept.changing(slot):
            record = self._record(slot)
            if not (record and record.runs):
                raise TargetFault(f"slot {slot} runs nothing that could be proven: start it again")
            replace(record, proven=True).write(self._kept.slot(slot))

    async def stop(self, slot: str, grace: float) -> str:
        """End a slot's server and all of its processes; its last log is kept.

        Returns:
            How it ended, in one line; empty where nothing ran.

        Raises:
            TargetFault: It can't be ended.
        """
        with self._kept.changing(slot):
            return await self._take_away(slot, self._record(slot), grace)

    async def log(self, slot: str) -> str:
        """Return the last lines of a slot's server, or of the one that was there last."""
        path = self._log(slot)
        if not path.exists():
            return self._kept.last_log(slot)
        return shown(veil.veiled(logs.last(path).tail(logs.KEPT_LINES)))

    async def _installed(self, release: Release) -> None:
        """Compare what is installed with what a release claims.

        Raises:
            TargetFault: It is another version.
        """
        engine = engine_of(self.settings)
        listing = await installed(self.settings) if engine.package else None
        if not release.version or listing is None:
            return
        found = listing.versions.get(str(canonicalize_name(engine.package)), "")
        if not found or not same(found, release.version):
            own = "[server] environment PYTHON" if engine.native else "[engine] python"
            raise TargetFault(
                f"the release is {engine.package} {release.version}, and this host has "
                f"{found or 'none'}: install it in an environment and name its interpreter by {own}"
            )

    async def _begin(
        self, slot: str, release: Release, launch: Launch, lock: tuple[int, ...]
    ) -> None:
        """Write what is intended, start it, and write its process."""
        folder = self._kept.slot(slot)
        folder.mkdir(mode=0o700, exist_ok=True)
        version = release.version or launch.expected_version
        launch = replace(launch, model=launch.model.absolute(), expected_version=version)
        number = next_number((await self.seen()).values())
        record = SlotRecord(release, urlsplit(launch.url).netloc, datetime.now(UTC), number)
        record.write(folder)
        with anyio.CancelScope(shield=True):
            birth = await spawn(launch, self._log(slot), self._mark(slot), lock)
        if birth is not None:
            replace(record, birth=birth).write(folder)

    async def _take_away(self, slot: str, record: SlotRecord | None, grace: float) -> str:
        """End what runs in a slot, keep its log, and remove its folder."""
        birth = record.birth if record else None
        told = await end(birth, self._mark(slot), grace)
        path = self._log(slot)
        if path.exists():
            self._kept.keep_log(slot, logs.last(path).tail(logs.KEPT_LINES))
        self._kept.remove(slot)
        return told

    def _record(self, slot: str) -> SlotRecord | None:
        """Return what is known of a slot; a start that was cut off is looked for by its mark."""
        record = SlotRecord.read(self._kept.slot(slot))
        if record is None or record.birth is not None:
            return record
        return replace(record, birth=find(self._mark(slot)))

    def _seen(self, slot: str, record: SlotRecord | None) -> SlotSeen:
        if record is None:
            return SlotSeen(slot)
        up = record.runs
        return SlotSeen(
            slot,
            Life.UP if up else Life.ENDED,
            record.release,
            record.address,
            record.started,
            record.number,
            record.proven,
            "" if up else self._ended(slot, record.birth),
        )

    def _ended(self, slot: str, birth: Birth | None) -> str:
        path = self._log(slot)
        if birth is not None and birth.rebooted:
            return "this machine was started anew"
        if birth is None and not path.exists():
            return "its start was cut off before anything ran"
        return veil.veiled(exited(None, "", logs.last(path), None).cause)

    @property
    def _kept(self) -> Kept:
        return Kept(self.folder.resolve())

    def _log(self, slot: str) -> Path:
        return self._kept.slot(slot) / LOG

    def _mark(self, slot: str) -> str:
        return os.fspath(self._kept.slot(slot))
