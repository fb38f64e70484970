"""The graph on this host: a server is started here, asked every question, and stopped."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ci.boot.device import device
from ci.boot.process import ServerProcess
from ci.boot.serving import installed, served
from ci.errors import SglangCiError
from ci.gate.sides import GateSide
from ci.gate.stage import NAME as COMPARE
from ci.graph.prove import UNWELL, prove
from ci.graph.seen import RunOptions, Seen
from ci.graph.subject import model_of, project
from ci.report.model import NotRun, Report
from ci.report.progress import Progress
from ci.settings import Settings
from ci.stages import Stages

NOT_HERE = (
    NotRun(stage="image", needs="a Dagger engine: dagger call ci"),
    NotRun(
        stage="publish", needs="a Dagger engine and a registry: dagger call ci --publish-to REF"
    ),
)
PACKAGED = "the packaged tiny model"
SERVER_LOG = "server.log"


async def prove_here(
    settings: Settings, baseline: GateSide | None, progress: Progress, folder: Path
) -> Report:
    """Start a server on this host, ask it every question, stop it, and report.

    Args:
        settings: The effective settings.
        baseline: What it is compared with; nothing where None.
        progress: Who is told.
        folder: Folder that gets the server's output as `server.log`.

    Raises:
        UsageError: The settings ask for a load or a comparison that can't be.
    """
    run = _Run(RunOptions.of(settings, baseline), Stages(progress, folder))
    run.stages.facts |= {"engine": "host processes", "project": await project(os.environ)}
    return await run.stages.report(run.work, not_run=NOT_HERE)


@dataclass(frozen=True)
class _Run:
    asked: RunOptions
    stages: Stages

    async def work(self) -> None:
        """Ask the server while it is up, and compare afterwards where that needs the machine."""
        settings = self.asked.settings
        try:
            async with served(settings, self.stages.folder / SERVER_LOG) as server:
                self.stages.progress.note(f"serving {server.launch.model.name} at {server.url}")
                good = await prove(self._seen(server), self.stages)
            await self._compare_alone(good=good)
        except SglangCiError as error:
            await self.stages.fail("launch", error)

    def _seen(self, server: ServerProcess) -> Seen:
        asked = self.asked
        return Seen(
            url=server.url,
            asked=asked,
            process=server,
            log=server.log,
            installed=partial(installed, asked.settings),
            model_path=str(server.launch.model) if asked.engine.tells_model else "",
            facts={"device": device(), "model": model_of(asked.settings.model) or PACKAGED},
        )

    async def _compare_alone(self, *, good: bool) -> None:
        """Compare where the gate starts both sides itself: no other server is up."""
        gate = self.asked.gate
        if gate is None or not gate.alone:
            return
        if not good:
            self.stages.left_out(COMPARE, UNWELL)
            return
        candidate = GateSide("candidate", settings=self.asked.settings)
        await self.stages.run(COMPARE, partial(gate.run, candidate, self.stages))
