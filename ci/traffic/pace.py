"""Starts streams on a schedule, with a bound on how many are under way.

The schedule is one of absolute times, so that a slow server doesn't slow down those who ask it.
A start for which there is no room is left out and counted: it isn't made up for later.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import anyio
import httpx
from anyio.abc import TaskGroup

from ci.concurrency import one_error
from ci.errors import BadAnswer
from ci.server.client import ServerClient
from ci.server.door import Door
from ci.traffic.options import TrafficOptions
from ci.traffic.records import StreamRecord
from ci.traffic.stream import Stream

TellEach = Callable[[StreamRecord], None]
"""Takes in what came of a stream as soon as it has ended."""
_WORDS = ("river", "seven", "stone", "under", "light", "paper", "green", "music")


@dataclass(frozen=True)
class Paced:
    """What was started.

    Args:
        started: Streams that were.
        left_out: Those for which there was no room, as others were still under way.
    """

    started: int
    left_out: int


async def streams(
    url: str, options: TrafficOptions, tell_each: TellEach, until: anyio.Event | None = None
) -> Paced:
    """Send streams until their number, their time or `until` ends it; open ones come to their end.

    The model's name is asked first, by `/v1/models`, unless the options have it: so a URL where
    nothing answers, or that wants another key, is told before anything is counted. Where the
    caller cancels this, open streams are given up and not told.

    Args:
        url: The base URL of a server or router.
        options: How many, of what kind, and how fast.
        tell_each: Is told of each stream.
        until: No further stream is started once it is set.

    Raises:
        UsageError: `url` is not the URL of a server.
        ServerFault: Nothing answers there, or without naming a model.
        InfrastructureFault: The host has no address, or another API key is wanted.
    """
    asked = options.asked
    model = asked.model or await _model(url, asked.patience)
    door = Door.to(url, asked.patience)
    async with door.streaming(reuse=False) as client:
        pacer = _Pacer(client, model, options, tell_each, until or anyio.Event())
        with one_error():
            async with anyio.create_task_group() as tasks:
                paced = await pacer.start(tasks)
        return paced


async def _model(url: str, seconds: float) -> str:
    async with ServerClient(url, timeout=seconds) as server:
        names = await server.served_models()
    if not names:
        raise BadAnswer(f"{url}/v1/models", "lists no model: name one (traffic.model)")
    return names[0]


class _Pacer:
    def __init__(
        self,
        client: httpx.AsyncClient,
        model: str,
        options: TrafficOptions,
        tell_each: TellEach,
        until: anyio.Event,
    ) -> None:
        self._client, self._model, self._options = client, model, options
        self._tell, self._until = tell_each, until
        self._origin, self._open = anyio.current_time(), 0
        self._dice = random.Random(options.seed)  # noqa: S311 - repeatable, no secret

    async def start(self, tasks: TaskGroup) -> Paced:
        """Start the streams in their time."""
        asked, started, left_out = self._options.asked, 0, 0
        for index in range(self._options.starts):
            wait = self._origin + index / asked.rate - anyio.current_time()
            with anyio.move_on_after(max(wait, 0.0)):
                await self._until.wait()
            if self._until.is_set():
                break
            if self._open >= asked.concurrency:
                left_out += 1
                continue
            started, self._open = started + 1, self._open + 1
            tasks.start_soon(self._one, index, self._api())
        return Paced(started, left_out)

    def _api(self) -> str:
        """Return what is asked next: by chance, since turns could go with a router's own."""
        return self._dice.choice(self._options.apis)

    async def _one(self, index: int, api: str) -> None:
        asked = self._options.asked
        words = self._dice.choices(_WORDS, k=max(asked.prompt_words - 1, 0))
        stream = Stream(index, api, asked, self._origin)
        prompt = " ".join([str(index), *words])
        self._tell(await stream.run(self._client, self._model, prompt))
        self._open -= 1
