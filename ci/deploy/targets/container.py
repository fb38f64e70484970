"""The target `container`: images by digest, run by podman or docker on the machine it rules."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread

from ci.boot import log as logs
from ci.boot.model_files import Model, resolve
from ci.boot.port import reserved
from ci.deploy.targets import room
from ci.deploy.targets.arguments import ContainerOptions, ContainerStart
from ci.deploy.targets.inspected import PREFIX, PROVEN, Inspected, mark_of, read_mark
from ci.deploy.targets.kept import Kept, as_faults, shown
from ci.deploy.targets.login import logged_in
from ci.deploy.targets.program import TAKEN, Program
from ci.deploy.world import SLOTS, Life, Release, SlotSeen, next_number
from ci.errors import TargetFault
from ci.registry.access import Access
from ci.registry.reference import Reference
from ci.secrets import veil
from ci.settings import Settings

PULL_SECONDS = 3600.0
STOP_SECONDS = 60.0
"""Most seconds that a stop takes beside its grace."""
_NO_FILE = rb"no such|could not find|not be found"


@dataclass(frozen=True)
class ContainerTarget:
    """Runs releases as containers.

    A container is named `sglang-ci-ENVIRONMENT-SLOT`; what it was started with stands in its
    labels. That its server was proven is a file in the container itself, which `cp` writes and
    reads: labels can't be changed later, and a file elsewhere could outlive the server, or be
    missing on the next machine that deploys. It names the start of the process that it speaks
    of, so that it doesn't hold for one that somebody has started again.

    Args:
        program: podman or docker.
        environment: The environment that is deployed to.
        folder: Keeps the last logs, on this host.
        settings: How a server is started; where no model is named the image's own is served.
        access: How the registry is reached, and as whom.
        options: What the containers get of their machine.
    """

    program: Program
    environment: str
    folder: Path
    settings: Settings
    access: Access = field(default_factory=Access)
    options: ContainerOptions = field(default_factory=ContainerOptions)

    async def seen(self) -> Mapping[str, SlotSeen]:
        """Return every slot.

        Raises:
            TargetFault: The program doesn't answer.
        """
        there = await self._containers()
        return {
            slot: await self._seen(slot, there[slot]) if slot in there else SlotSeen(slot)
            for slot in SLOTS
        }

    async def fetch(self, release: Release) -> None:
        """Pull the image, by digest, where it isn't there yet.

        Raises:
            TargetFault: It can't be had, or there is no room for it or its server.
        """
        with as_faults():
            await self._model()
        running = [one for one in (await self._containers()).values() if one.runs]
        if self.options.beside and [one.release == release for one in running] == [False]:
            family = [member for one in running for member in room.family(one.pid)]
            await room.beside([member.pid for member in family], gpu=not self._apart())
        if (await self.program.ask(["image", "inspect", release.reference])).returncode == 0:
            return
        await self._room(release)
        reference = Reference.parse(release.reference)
        at = logged_in(self.program, reference, self.access, self._kept.folder)
        with self._kept.changing("images"), at as (flags, variables):
            words = ["pull", "--quiet", *flags, release.reference]
            await self.program.run(*words, seconds=PULL_SECONDS, variables=variables)

    async def start(self, slot: str, release: Release) -> None:
        """Start a release in a slot.

        Raises:
            TargetFault: It can't be started, or another release runs there.
        """
        with self._kept.changing(slot), as_faults():
            there = (await self._containers()).get(slot)
            if there and there.runs:
                if there.release != release:
                    raise TargetFault(f"slot {slot} runs {there.release.digest}: stop it first")
                return
            if there:
                await self._take_away(slot, there)
            at = self.settings.server
            with reserved(at.host, self.options.ports.get(slot, 0)) as port:
                await self._run(slot, release, port)

    async def mark(self, slot: str) -> None:
        """Keep with a slot that the server in it was proven.

        Raises:
            TargetFault: Nothing runs there.
        """
        there = (await self._containers()).get(slot)
        if there is None or not there.runs:
            raise TargetFault(f"slot {slot} runs nothing that could be proven: start it again")
        await self.program.run("cp", "-", f"{there.id}:/", given=mark_of(there.began))

    async def stop(self, slot: str, grace: float) -> str:
        """End a slot's server and remove its container; its last log is kept.

        Returns:
            How it ended, in one line; empty where nothing ran.

        Raises:
            TargetFault: It can't be ended.
        """
        with self._kept.changing(slot):
            there = (await self._containers()).get(slot)
            if there is None:
                return ""
            told = await self._ended_by(there, grace) if there.runs else ""
            await self._take_away(slot, there)
            return told

    async def log(self, slot: str) -> str:
        """Return the last lines of a slot's server, or of the one that was there last."""
        there = (await self._containers()).get(slot)
        if there is None:
            return self._kept.last_log(slot)
        return shown(veil.veiled(await self._log(there)))

    async def _ended_by(self, container: Inspected, grace: float) -> str:
        """Send SIGTERM, after `grace` seconds SIGKILL; return how it ended."""
        begin, whole = anyio.current_time(), math.ceil(grace)
        limit = whole + STOP_SECONDS
        await self.program.run("stop", "-t", str(whole), container.id, seconds=limit)
        seconds = anyio.current_time() - begin
        ended = await self._inspected([container.id])
        if ended and ended[0].killed:
            return f"killed: it did not end within {whole} s of SIGTERM"
        return f"ended {seconds:.1f} s after SIGTERM"

    async def _take_away(self, slot: str, container: Inspected) -> None:
        self._kept.keep_log(slot, await self._log(container))
        await self.program.run("rm", "--force", "--volumes", container.id)

    async def _containers(self) -> dict[str, Inspected]:
        """Return the containers of this environment, by slot."""
        chosen = f"label={PREFIX}environment={self.environment}"
        listed = await self.program.run("ps", "--all", "--quiet", "--no-trunc", "--filter", chosen)
        found = await self._inspected(listed.split())
        return {one.label("slot"): one for one in found}

    async def _inspected(self, ids: list[str]) -> list[Inspected]:
        """Return what is told of containers; those that have gone meanwhile are left out."""
        if not ids:
            return []
        done = await self.program.ask(["container", "inspect", *ids])
        if done.returncode and b"no such" not in done.stderr.lower():
            raise self.program.refused("inspect", done)
        return [Inspected.of(one) for one in json.loads(done.stdout or b"[]")]

    async def _seen(self, slot: str, container: Inspected) -> SlotSeen:
        return SlotSeen(
            slot,
            Life.UP if container.runs else Life.ENDED,
            container.release,
            container.label("address"),
            container.started,
            container.number,
            await self._is_proven(container),
            "" if container.runs else veil.veiled(container.cause(await self._log(container))),
        )

    async def _is_proven(self, container: Inspected) -> bool:
        """Return whether the mark is there, and speaks of the process that runs."""
        words = ["cp", f"{container.id}:/{PROVEN}", "-"]
        done = await self.program.ask(words)
        if done.returncode and not re.search(_NO_FILE, done.stderr.lower()):
            raise self.program.refused("cp", done)
        return done.returncode == 0 and read_mark(done.stdout) == container.began

    async def _log(self, container: Inspected) -> str:
        words = ["logs", "--tail", str(logs.KEPT_LINES), container.id]
        done = await self.program.ask(words, together=True)
        return done.stdout.decode("utf-8", "replace")

    async def _model(self) -> Model | None:
        """Return the model of the settings, a hub's fetched; None for the image's own."""
        at = self.settings.model
        return await resolve(at) if at.path or at.name else None

    async def _run(self, slot: str, release: Release, port: int) -> None:
        """Start a container, and take away what is left of one that couldn't be.

        Raises:
            TargetFault: It can't be started.
        """
        name = f"sglang-ci-{self.environment}-{slot}"
        place = (name, self.environment, slot)
        how = (self.program, self.settings, self.options)
        number = next_number((await self.seen()).values())
        start = ContainerStart(*how, *place, release, port, await self._model(), number)
        done = await self.program.ask(start.words(), variables=start.variables())
        if done.returncode:
            refused = self.program.refused("run", done)
            if not re.search(TAKEN, refused.details):
                await self.program.ask(["rm", name])
            raise refused

    async def _room(self, release: Release) -> None:
        """See that an image fits where images are kept, as far as both can be known.

        Raises:
            TargetFault: It doesn't.
        """
        key = {"podman": "{{.Store.GraphRoot}}", "docker": "{{.DockerRootDir}}"}[self.program.kind]
        place = Path((await self.program.run("info", "--format", key)).strip())
        reference = Reference.parse(release.reference)
        await anyio.to_thread.run_sync(room.image, place, reference, self.access)

    def _apart(self) -> bool:
        """Return whether each slot has GPUs of its own."""
        given = [self.options.gpus.get(slot, ()) for slot in SLOTS]
        named = [index for indices in given for index in indices]
        return all(given) and len(set(named)) == len(named)

    @property
    def _kept(self) -> Kept:
        return Kept(self.folder.resolve())
