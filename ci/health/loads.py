"""Loads under which a server is well, and must say so: slow is not dead."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import httpx

from ci.concurrency import one_error
from ci.health.streams import End, Stream, cause, client_for, events, read, request, told
from ci.server.door import Door
from ci.server.first_token import PATH

if TYPE_CHECKING:
    from ci.settings.health import HealthSettings

WORD = " the"
"""A word that is about one token."""
LIMIT = 300.0
"""Most seconds of one request of a load, which may wait in a queue."""


@dataclass
class Load:
    """What a load has done so far.

    Args:
        done: Requests that ended as they should.
        problem: How the first one ended that didn't.
    """

    done: int = 0
    problem: str = ""

    def count(self, stream: Stream) -> None:
        """Take in a request that ended."""
        if stream.end is End.FINISHED:
            self.done += 1
        elif not self.problem:
            self.problem = f"{stream.end}: {stream.said}"


Loop = Callable[[httpx.AsyncClient, Load], Coroutine[None, None, None]]


@asynccontextmanager
async def loading(name: str, url: str, settings: HealthSettings) -> AsyncIterator[Load]:
    """Put the load `name` on the server at `url` for as long as the context lasts."""
    load = Load()
    loops = _loops(name, settings)
    async with client_for(url, LIMIT) as client:
        with one_error():
            async with anyio.create_task_group() as tasks:
                for loop in loops:
                    tasks.start_soon(loop, client, load)
                yield load
                tasks.cancel_scope.cancel()


def _loops(name: str, settings: HealthSettings) -> list[Loop]:
    numbers = itertools.count()
    if name == "long prefill":
        text = WORD * settings.prompt_tokens
        return [_reading(numbers, text, 1)] * settings.prompts
    if name == "disconnects":
        return [_leaving(numbers, settings.tokens)] * settings.prompts
    return [_reading(numbers, "Hello", settings.tokens)] * settings.streams


def _reading(numbers: itertools.count[int], text: str, tokens: int) -> Loop:
    async def loop(client: httpx.AsyncClient, load: Load) -> None:
        while not load.problem:
            stream = Stream()
            await read(client, request(f"{next(numbers)}{text}", tokens), stream)
            load.count(stream)

    return loop


def _leaving(numbers: itertools.count[int], tokens: int) -> Loop:
    async def loop(client: httpx.AsyncClient, load: Load) -> None:
        while not load.problem:
            body = request(f"{next(numbers)} Hello", tokens * 8)
            try:
                async with client.stream("POST", PATH, json=body) as response:
                    if response.status_code != httpx.codes.OK:
                        load.problem = told(response)
                        return
                    if await anext(events(response), None) is None:
                        load.problem = "a stream without an event"
                        return
            except (httpx.TransportError, ValueError) as error:
                load.problem = cause(error)
                return
            load.done += 1

    return loop


@asynccontextmanager
async def traffic(url: str) -> AsyncIterator[None]:
    """Keep other callers at the server: one that reads its state, and one that generates."""
    door = Door.to(url, LIMIT)
    async with door.client() as polling, door.streaming() as generating:
        with one_error():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_polling, polling)
                tasks.start_soon(_generating, generating)
                yield
                tasks.cancel_scope.cancel()


async def _polling(client: httpx.AsyncClient) -> None:
    while True:
        with anyio.move_on_after(5):
            try:
                await client.get("/server_info")
            except httpx.TransportError:
                await anyio.sleep(0.5)
        await anyio.sleep(0.5)


async def _generating(client: httpx.AsyncClient) -> None:
    for number in itertools.count():
        await read(client, request(f"{number} other", 4000), Stream())
        await anyio.sleep(0.5)
