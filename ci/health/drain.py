"""SIGTERM comes while a server works, and nothing that it accepted may be lost."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from ci.errors import CheckBroken
from ci.health.experiments import Exit, exit_of, gone
from ci.health.judge import case, skipped, unsure
from ci.health.servers import Servers
from ci.health.streams import End, Stream, client_for, read, request
from ci.report.model import Case, Phase
from ci.server.client import ServerClient
from ci.server.drains import drain_seconds, promise
from ci.stages import StageResult, Tell

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from ci.health.targets import FaultTarget
    from ci.settings.health import DrainSettings

SCENARIOS = ("streams", "long streams", "hung scheduler")
ACCEPTED_SECONDS = 30.0
"""Most seconds until every stream is accepted."""
HUNG_SECONDS = 1.0
SPENT = "the server that was given has ended in an earlier scenario"
UNREACHABLE = "needs the server's process: run it without a URL, or with --pid on its host"


@dataclass
class Drain:
    """What was seen of one drain; times are the event loop's.

    Args:
        scenario: What the server was doing.
        streams: Those that were open when SIGTERM came.
        late: What was asked for after it.
        begun: When the streams were asked for.
        asked: When SIGTERM came.
        ended: When watching ended.
        exit: How the server ended; None where it didn't.
        promised: What running requests get, as the server says; None where it says nothing.
    """

    scenario: str
    streams: list[Stream] = field(default_factory=list)
    late: list[Stream] = field(default_factory=list)
    begun: float = 0.0
    asked: float = 0.0
    ended: float = 0.0
    exit: Exit | None = None
    promised: float | None = None


async def watch(scenario: str, target: FaultTarget, settings: DrainSettings) -> Drain:
    """Open streams at a server, send it SIGTERM, ask for more, and watch until it has ended."""
    seen = Drain(scenario, begun=anyio.current_time())
    async with ServerClient(target.url) as asked:
        seen.promised = await drain_seconds(asked)
    tokens = settings.tokens if scenario == "streams" else settings.long_tokens
    patience = settings.grace + ACCEPTED_SECONDS
    async with client_for(target.url, patience) as client, anyio.create_task_group() as tasks:
        for number in range(settings.streams):
            seen.streams.append(Stream())
            body = request(f"{number} Hello", tokens)
            tasks.start_soon(read, client, body, seen.streams[-1])
        await _accepted(seen.streams)
        await _terminate(seen, target, settings, tasks)
        tasks.cancel_scope.cancel()
    seen.ended = anyio.current_time()
    return seen


async def _accepted(streams: list[Stream]) -> None:
    """Wait until all are accepted and one has begun."""
    with anyio.move_on_after(ACCEPTED_SECONDS):
        while not all(one.accepted or one.end for one in streams) or not any(
            one.events for one in streams
        ):
            await anyio.sleep(0.02)


async def _terminate(
    seen: Drain, target: FaultTarget, settings: DrainSettings, tasks: TaskGroup
) -> None:
    hung = seen.scenario == "hung scheduler"
    if hung:
        await target.send("scheduler", signal.SIGSTOP)
        await anyio.sleep(HUNG_SECONDS)
    seen.asked = anyio.current_time()
    await target.send("parent", signal.SIGTERM)
    tasks.start_soon(_ask_on, seen, target.url, settings)
    if await gone(target, settings.grace):
        seen.exit = await exit_of(target, anyio.current_time() - seen.asked)
    elif hung:
        with suppress(CheckBroken):  # a server that is on its way out has none any more
            await target.send("scheduler", signal.SIGCONT)


async def _ask_on(seen: Drain, url: str, settings: DrainSettings) -> None:
    """Ask for one token, again and again, each time on a new connection."""
    async with anyio.create_task_group() as tasks:
        while True:
            seen.late.append(Stream())
            tasks.start_soon(_ask, url, seen.late[-1])
            await anyio.sleep(settings.interval)


async def _ask(url: str, stream: Stream) -> None:
    async with client_for(url, ACCEPTED_SECONDS) as client:
        await read(client, request("late", 1), stream)


def judge(seen: Drain, settings: DrainSettings) -> Iterator[Case]:
    """Yield the cases of one drain."""
    if seen.promised is None:
        yield skipped(f"{seen.scenario}: is to drain", promise(None))
    yield _whole(seen)
    yield _refused(seen, settings)
    name = f"{seen.scenario}: exits in time"
    if seen.exit is None:
        yield case(
            name,
            f"still running {settings.grace:g} s (drain.grace) after SIGTERM: it would be killed",
        )
        return
    yield case(name, "", seen.exit.seconds)
    name = f"{seen.scenario}: exit code 0"
    if seen.exit.code is None:
        yield skipped(name, "the exit code of a process that somebody else started is not known")
    else:
        yield case(name, f"it ended with {seen.exit.code}" if seen.exit.code else "")
    left = "; ".join(seen.exit.orphans)
    yield case(f"{seen.scenario}: leaves no process", f"it left {left}" if left else "")


def _whole(seen: Drain) -> Case:
    name = f"{seen.scenario}: every accepted stream has its final event"
    running = [one for one in seen.streams if _was_open(one, seen.asked)]
    if not running:
        return unsure(name, "no stream was open when SIGTERM came")
    lost = [one for one in running if one.end not in {End.FINISHED, End.ABORTED}]
    if not lost:
        return case(name, "")
    said = lost[0].said or "no more events"
    return case(name, f"{len(lost)} of {len(running)} streams were cut: {said}")


def _was_open(stream: Stream, at: float) -> bool:
    if stream.accepted is None or stream.accepted > at:
        return False
    return stream.end is None or stream.ended > at


def _refused(seen: Drain, settings: DrainSettings) -> Case:
    name = f"{seen.scenario}: new requests are refused"
    late = [one for one in seen.late if one.begun > seen.asked + settings.settle]
    ended = [one for one in late if one.end or one.accepted]
    if not ended:
        return unsure(name, "no request was answered or refused after SIGTERM")
    bad = [one for one in ended if one.end is not End.REFUSED]
    if not bad:
        return case(name, "")
    what = f"{bad[0].end or 'accepted'} {bad[0].said}".strip()
    after = bad[0].begun - seen.asked
    return case(
        name, f"{len(bad)} of {len(ended)} were not; the first, {after:.1f} s after SIGTERM: {what}"
    )


def facts(seen: Drain) -> dict[str, str]:
    """Return what became of the streams, of later requests and of the process."""
    ends = Counter(str(one.end or "open") for one in seen.streams)
    late = Counter(str(one.end or "open") for one in seen.late)
    last = max((one.ended - seen.asked for one in seen.streams if one.end), default=0.0)
    how = "still running" if seen.exit is None else f"exit code {seen.exit.code}"
    when = "" if seen.exit is None else f", {seen.exit.seconds:.1f} s after SIGTERM"
    return {
        f"{seen.scenario}: promise": promise(seen.promised),
        f"{seen.scenario}: streams": f"{_counted(ends)}; the last {last:.1f} s after SIGTERM",
        f"{seen.scenario}: new requests": _counted(late),
        f"{seen.scenario}: process": how + when,
    }


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {what}" for what, number in counts.most_common()) or "none"


@dataclass
class Drains:
    """What was seen of all scenarios.

    Args:
        settings: The budgets.
        tell: Is told each case as soon as it is known.
        note: Is told what is done next.
    """

    settings: DrainSettings
    tell: Tell
    note: Callable[[str], None]
    seen: list[Drain] = field(default_factory=list)

    async def work(self, servers: Servers) -> None:
        """Run each scenario that can be, on a server of its own."""
        for scenario in SCENARIOS:
            if scenario not in (self.settings.scenarios or SCENARIOS):
                continue
            self.note(scenario)
            target = await servers.get(scenario)
            if target is None:
                self.tell(skipped(scenario, SPENT if self.seen else UNREACHABLE))
                continue
            self.seen.append(await watch(scenario, target, self.settings))
            for one in judge(self.seen[-1], self.settings):
                self.tell(one)
            await servers.spend()


async def check_drain(found: Drains, servers: Servers) -> StageResult:
    """End servers that work, and judge whether anything was lost."""
    begin = anyio.current_time()
    await found.work(servers)
    return StageResult(
        phases=tuple(
            Phase(name=one.scenario, start=one.begun - begin, seconds=one.ended - one.begun)
            for one in found.seen
        ),
        facts={key: text for one in found.seen for key, text in facts(one).items()},
    )
