"""A server, and whatever else can be seen of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from ci.bench.configured import bench_options
from ci.bench.options import BenchOptions
from ci.boot.death import fault_of_exit
from ci.boot.log import ServerLog
from ci.boot.process import ServerProcess
from ci.boot.serving import engine_of
from ci.engines.profile import Profile
from ci.errors import SglangCiError
from ci.gate.sides import Contest, GateSide
from ci.gate.stage import Gate
from ci.image.listing import Installed
from ci.settings import Settings
from ci.stages import Death


@dataclass(frozen=True)
class RunOptions:
    """What a run wants to know, as far as that takes more than the settings.

    Args:
        settings: The settings in force.
        load: The load that is sent, believed tolerantly; none where None.
        gate: What the server is compared with; nothing where None.
    """

    settings: Settings
    load: BenchOptions | None = None
    gate: Gate | None = None

    @classmethod
    def of(cls, settings: Settings, baseline: GateSide | None = None) -> Self:
        """Return what the settings ask of a server.

        Args:
            settings: The settings in force.
            baseline: What the server is compared with; nothing where None.

        Raises:
            UsageError: They ask for a load or a comparison that can't be.
        """
        tolerant = settings.bench.model_copy(update={"tolerant": True})
        engine = engine_of(settings)
        load = bench_options(tolerant, engine) if settings.bench.in_ci else None
        if baseline is None:
            return cls(settings, load)
        return cls(settings, load, Gate(baseline, Contest.of(settings, baseline)))

    @property
    def engine(self) -> Profile:
        """The profile of the settings' engine."""
        return engine_of(self.settings)


@dataclass(frozen=True)
class Seen:
    """A server seen.

    Args:
        url: Its base URL.
        asked: What is asked of it.
        process: Its process, where this run started it.
        log: Its log, where it can be read.
        installed: Lists what is installed beside it; None where that isn't seen.
        label: The version that its image's label claims; empty where there is none.
        label_revision: The commit of SGLang that its image's label claims, likewise.
        model_path: The path of its model, as it knows it; any where empty.
        facts: Further facts for the report's head: the image, the device.
    """

    url: str
    asked: RunOptions
    process: ServerProcess | None = None
    log: ServerLog | None = None
    installed: Callable[[], Awaitable[Installed | None]] | None = None
    label: str = ""
    label_revision: str = ""
    model_path: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.asked.settings

    @property
    def ended(self) -> bool:
        """Whether the server is known to have ended."""
        if self.process is not None:
            return self.process.exit_code is not None
        return self.log is not None and self.log.ended.is_set()

    def death(self, question: str) -> Death | None:
        """Return what waits for the server's end while `question` is asked; None if unseen."""
        if self.process is not None:
            process = self.process
            return lambda: process.died(question)
        if self.log is None:
            return None
        log = self.log

        async def ended() -> SglangCiError:
            await log.ended.wait()
            return fault_of_exit(None, question, log)

        return ended
