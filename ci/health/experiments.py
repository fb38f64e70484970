"""What is done to a server, fault by fault, and what was seen while it was."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from ci.errors import CheckBroken
from ci.health.loads import loading, traffic
from ci.health.probes import KINDS, Answers, watching
from ci.health.targets import FaultTarget

if TYPE_CHECKING:
    from ci.settings.health import HealthSettings

HARMLESS = ("long prefill", "saturation", "disconnects")
HUNG = {
    "scheduler stopped": "scheduler",
    "detokenizer stopped": "detokenizer",
    "detokenizer stopped under traffic": "detokenizer",
}
DEADLY = {"scheduler killed": "scheduler", "detokenizer killed": "detokenizer"}
FAULTS = (*HARMLESS, *HUNG, *DEADLY)
"""In this order: what a server survives comes first."""
LOAD_LIMIT = 6.0
"""How many times its seconds a load is watched at most, until a request of it has ended."""
ORPHAN_SECONDS = 5.0
"""Seconds that what a server leaves behind has to end by itself."""


@dataclass(frozen=True)
class Exit:
    """How a server ended.

    Args:
        seconds: From the fault until its process was gone.
        code: Its exit code; None where that can't be known.
        orphans: Titles of the processes that it left.
    """

    seconds: float
    code: int | None
    orphans: tuple[str, ...]


@dataclass
class Observation:
    """One fault and everything that was seen around it; times are the event loop's.

    Args:
        fault: Its name.
        answers: Every probe's.
        begun: When watching began, before the fault.
        hurt: When the fault began.
        healed: When it ended; None where it can't.
        ended: When watching ended.
        exit: How the server ended; None where it didn't.
        done: Requests of a load that were served.
        problem: What kept a load from being one.
    """

    fault: str
    answers: Answers = field(default_factory=Answers)
    begun: float = 0.0
    hurt: float = 0.0
    healed: float | None = None
    ended: float = 0.0
    exit: Exit | None = None
    done: int = 0
    problem: str = ""

    @property
    def until(self) -> float:
        """When the fault ended, or the watching."""
        return self.healed if self.healed is not None else self.ended


async def observe(
    fault: str, url: str, target: FaultTarget | None, settings: HealthSettings
) -> Observation:
    """Watch the server at `url`, hurt it by `fault`, and watch what it says.

    Args:
        fault: One of `FAULTS`.
        url: The server's base URL.
        target: Its processes; may be None where the fault is harmless.
        settings: How long, and how often.

    Raises:
        CheckBroken: The fault could not be brought about.
    """
    async with watching(url, settings) as answers:
        seen = Observation(fault, answers, begun=anyio.current_time())
        await _calm(answers, settings)
        seen.hurt = anyio.current_time()
        if fault in HARMLESS:
            await _load(seen, url, settings)
        elif target is None:
            raise CheckBroken(f"{fault}: the server's processes can't be reached")
        elif fault in HUNG:
            await _stop(seen, target, settings)
        else:
            await _kill(seen, target, settings)
        seen.ended = anyio.current_time()
    return seen


async def _calm(answers: Answers, settings: HealthSettings) -> None:
    """Watch the unhurt server until each probe has answered, and no shorter than is asked."""
    await anyio.sleep(settings.calm)
    with anyio.move_on_after(settings.patience):
        while not {answer.kind for answer in answers.all} >= set(KINDS):
            await anyio.sleep(settings.interval / 4)


async def _load(seen: Observation, url: str, settings: HealthSettings) -> None:
    async with loading(seen.fault, url, settings) as load:
        await anyio.sleep(settings.load)
        with anyio.move_on_after(settings.load * (LOAD_LIMIT - 1)):
            while not load.done and not load.problem:
                await anyio.sleep(settings.interval)
        seen.healed = anyio.current_time()
    seen.done, seen.problem = load.done, load.problem


async def _stop(seen: Observation, target: FaultTarget, settings: HealthSettings) -> None:
    role = HUNG[seen.fault]
    async with anyio.create_task_group() as tasks:
        if seen.fault.endswith("traffic"):
            tasks.start_soon(_others, target.url)
            await anyio.sleep(settings.calm)
        seen.hurt = anyio.current_time()
        try:
            await target.send(role, signal.SIGSTOP)
            await anyio.sleep(settings.observe)
        finally:
            with anyio.CancelScope(shield=True):
                await target.send(role, signal.SIGCONT)
        seen.healed = anyio.current_time()
        tasks.cancel_scope.cancel()
    with anyio.move_on_after(settings.recover + settings.patience):
        while not _recovered(seen, settings):
            await anyio.sleep(settings.interval / 4)


async def _others(url: str) -> None:
    async with traffic(url):
        await anyio.sleep_forever()


def _recovered(seen: Observation, settings: HealthSettings) -> bool:
    since = seen.until
    return seen.answers.content(settings.probe, settings.timeout, since) is not None


async def _kill(seen: Observation, target: FaultTarget, settings: HealthSettings) -> None:
    seen.hurt = anyio.current_time()
    await target.send(DEADLY[seen.fault], signal.SIGKILL)
    longest = max(settings.observe, settings.exit)
    if not await gone(target, longest):
        return
    seconds = anyio.current_time() - seen.hurt
    await anyio.sleep(2 * settings.interval)  # probes have to see it too
    with anyio.move_on_after(settings.detect):
        while seen.answers.alarm(settings.probe, settings.timeout, seen.hurt, float("inf")) is None:
            await anyio.sleep(settings.interval / 4)
    seen.exit = await exit_of(target, seconds)


async def gone(target: FaultTarget, seconds: float) -> bool:
    """Return whether the server ends within so many seconds."""
    with anyio.move_on_after(seconds):
        while (await target.state()).running:
            await anyio.sleep(0.05)
        return True
    return False


async def exit_of(target: FaultTarget, seconds: float) -> Exit:
    """Return how a server ended that is gone; what it left behind has a moment to end too."""
    state = await target.state()
    with anyio.move_on_after(ORPHAN_SECONDS):
        while state.processes:
            await anyio.sleep(0.1)
            state = await target.state()
    return Exit(seconds, state.exit_code, tuple(title for _, title in state.processes))
