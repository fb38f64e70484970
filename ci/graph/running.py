"""The graph over a URL: a server that runs already, wherever that is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from ci.boot.log import ServerLog, follow
from ci.concurrency import one_error
from ci.errors import UsageError
from ci.graph.host import SERVER_LOG
from ci.graph.prove import prove
from ci.graph.questions import QUESTIONS, Question
from ci.graph.seen import RunOptions, Seen
from ci.image.listing import Installed
from ci.report.model import Report
from ci.report.progress import Progress
from ci.secrets import files
from ci.stages import Stages
from ci.versions.stage import read_inventory


@dataclass(frozen=True)
class Running:
    """A server that runs already, and what its caller knows of it.

    Args:
        url: Its base URL.
        asked: What is asked of it.
        log: Its growing log, where it can be read.
        inventory: File that `ci/image/installed.py` printed beside it.
        label: The version that its image's label claims.
        label_revision: The commit of SGLang that its image's label claims.
        model_path: The model's path, as it knows it; any where empty.
        facts: Further facts for the report's head.
    """

    url: str
    asked: RunOptions
    log: Path | None = None
    inventory: Path | None = None
    label: str = ""
    label_revision: str = ""
    model_path: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    async def prove(
        self, progress: Progress, folder: Path, *, questions: Sequence[Question] = QUESTIONS
    ) -> Report:
        """Ask it, and report; a log that could be read is kept in `folder`.

        Args:
            progress: Who is told.
            folder: Folder of the report.
            questions: What is asked, in this order.

        Raises:
            UsageError: A file that is named can't be read.
        """
        installed = read_inventory(self.inventory) if self.inventory else None

        async def listed() -> Installed | None:
            return installed

        stages = Stages(progress, folder)

        async def work() -> None:
            async with self._log() as log:
                seen = Seen(
                    url=self.url,
                    asked=self.asked,
                    log=log,
                    installed=listed if self.inventory else None,
                    label=self.label,
                    label_revision=self.label_revision,
                    model_path=self.model_path,
                    facts=self.facts,
                )
                await prove(seen, stages, questions)

        try:
            return await stages.report(work)
        finally:
            if self.log is not None:
                with suppress(OSError):
                    files.copy(self.log, folder / SERVER_LOG)

    @asynccontextmanager
    async def _log(self) -> AsyncIterator[ServerLog | None]:
        """Follow the log for as long as the context lasts; None where there is none."""
        if self.log is None:
            yield None
            return
        log = ServerLog(anyio.current_time())
        with one_error():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_follow, self.log, log)
                yield log
                tasks.cancel_scope.cancel()


async def _follow(path: Path, log: ServerLog) -> None:
    """Feed the log; where it can't be read the question that is asked then says so."""
    try:
        await follow(path, log)
    except UsageError as error:
        log.fault = error
        log.ended.set()
