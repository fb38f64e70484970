"""The client against a server of known timing: true stamps, and every fault by its name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from time import monotonic

import pytest

from ci.bench.client import IDLE, Client, LoadRequest, Timeouts
from ci.bench.dialects import Chat, Generate, Sampling
from ci.bench.lengths import Lengths
from ci.bench.prompts import SyntheticPrompts
from ci.bench.records import ErrorKind, RequestRecord
from ci.bench.target import BenchTarget, resolve
from ci.errors import BadAnswer
from tests.fakes.timed import Timed, Timing

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

TOKENS = 6
SHORT = Timeouts(connect=5.0, first_token=0.5, stall=0.4)
HANG = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[Timed]:
    """Serve quickly."""
    with Timed(Timing(ttft=0.02, itl=0.01)) as server:
        yield server


@asynccontextmanager
async def client_of(
    url: str, fault: str = "", api: str = "generate", timeouts: Timeouts = SHORT
) -> AsyncIterator[Client]:
    """Open a client that asks for a fault."""
    dialect = Generate(Sampling()) if api == "generate" else Chat(Sampling(), "timed")
    async with asyncio.timeout(HANG):
        target = await resolve(url, {"x-fault": fault} if fault else None)
        async with Client(target, dialect, timeouts) as client:
            yield client


def requests(target: BenchTarget, api: str, count: int = 1) -> list[LoadRequest]:
    """Return requests of `TOKENS` tokens each."""
    prompts = SyntheticPrompts(output=Lengths("fixed", TOKENS), as_text=api == "chat").take("test")
    dialect = Generate(Sampling()) if api == "generate" else Chat(Sampling(), "timed")
    return [
        LoadRequest(index, target.post(dialect.path, dialect.body(prompt)), TOKENS)
        for index, prompt in enumerate(islice(prompts, count))
    ]


async def ask(url: str, fault: str = "", api: str = "generate") -> RequestRecord:
    """Return the record of one request."""
    async with client_of(url, fault, api) as client:
        return await client.ask(requests(client.target, api)[0], monotonic())


@pytest.mark.parametrize("api", ["generate", "chat"])
async def test_a_whole_answer_is_recorded(server: Timed, api: str) -> None:
    """A token, a count or a time of a good answer is missing."""
    found = await ask(server.url, api=api)
    assert found.error is None, found.detail
    assert found.counts == tuple(range(1, TOKENS + 1))
    assert (found.output_tokens, found.prompt_tokens) == (TOKENS, 128)
    assert (found.finish, found.status) == ("length", 200)
    assert found.connecting
    assert found.started <= found.times[0] <= found.times[-1] <= found.ended


async def test_no_token_is_stamped_before_it_was_written(server: Timed) -> None:
    """A token has another one's time stamp."""
    server.reset()
    async with client_of(server.url) as client:
        asked = requests(client.target, "generate", 16)
        found = await asyncio.gather(*(client.ask(one, 0.0) for one in asked))
    truth = {note.prompt: note for note in server.truth()}
    prompts = SyntheticPrompts(output=Lengths("fixed", TOKENS)).take("test")
    for record, prompt in zip(found, prompts, strict=False):
        note = truth[json.dumps(prompt.input_ids[:8])]
        assert record.started < note.received
        assert all(a <= b for a, b in zip(note.writes, record.times, strict=True))


async def test_the_server_of_known_timing_writes_nothing_early(server: Timed) -> None:
    """The oracle itself isn't what it says, and clients are held against a wish."""
    server.reset()
    await ask(server.url)
    (note,) = server.truth()
    due = [note.received + 0.02 + 0.01 * at for at in range(TOKENS)]
    assert all(time >= plan for time, plan in zip(note.writes, due, strict=True))


FAULTS = {
    "cut": (ErrorKind.CUT, "lost after 3 tokens"),
    "unfinished": (ErrorKind.CUT, "without a finish reason after 3 tokens"),
    "no_done": (ErrorKind.CUT, "without [DONE]"),
    "error": (ErrorKind.STREAM, "the prompt is too long"),
    "stall": (ErrorKind.STALLED, "silent for 0.4 s after 3 chunks"),
    "silent": (ErrorKind.LATE, "no token within 0.5 s"),
    "mute": (ErrorKind.LATE, "no token within 0.5 s"),
    "reset": (ErrorKind.RESET, "lost before an answer"),
    "status": (ErrorKind.HTTP, "HTTP 503: no worker"),
    "page": (ErrorKind.MALFORMED, "HTTP 200 without a stream"),
    "garbage": (ErrorKind.MALFORMED, "isn't HTTP"),
    "nonsense": (ErrorKind.MALFORMED, "an event makes no sense"),
    "abort": (ErrorKind.ABORTED, "abort"),
}


@pytest.mark.parametrize("api", ["generate", "chat"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_every_fault_has_its_kind(server: Timed, fault: str, api: str) -> None:
    """A fault counts as an answer, hangs the client, or has another's name."""
    kind, words = FAULTS[fault]
    found = await ask(server.url, fault, api)
    assert (found.error, found.e2e) == (kind, None)
    assert words in found.detail
    assert found.ended >= found.started


async def test_a_200_that_ends_at_once_is_no_answer(server: Timed) -> None:
    """An empty stream is a very fast answer."""
    assert (await ask(server.url, "empty")).error is ErrorKind.CUT


@pytest.mark.parametrize("fault", ["split", "together", "skipping", "late_counts"])
async def test_odd_but_whole_streams_are_whole(server: Timed, fault: str) -> None:
    """Line ends, joined events or left-out chunks break the reading of a stream."""
    found = await ask(
        server.url, fault, "chat" if fault in {"skipping", "late_counts"} else "generate"
    )
    assert found.error is None, found.detail
    assert found.output_tokens == TOKENS
    assert len(found.itls) == TOKENS - 1


async def test_connections_are_used_again(server: Timed) -> None:
    """Every request pays for a connection of its own."""
    async with client_of(server.url) as client:
        found = [await client.ask(one, 0.0) for one in requests(client.target, "generate", 3)]
    assert [one.connecting is None for one in found] == [False, True, True]


@pytest.mark.parametrize("fault", ["garbage", "stall", "cut"])
async def test_a_connection_on_which_something_failed_is_not_used_again(
    server: Timed, fault: str
) -> None:
    """What is left of a failed answer is read as the next one's."""
    async with client_of(server.url, fault) as client:
        found = [await client.ask(one, 0.0) for one in requests(client.target, "generate", 2)]
    assert all(one.connecting is not None for one in found)


async def test_an_old_connection_is_not_used_again(
    server: Timed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request runs into the server's closing of an idle connection."""
    monkeypatch.setattr("ci.bench.client.IDLE", 0.0)
    async with client_of(server.url) as client:
        found = [await client.ask(one, 0.0) for one in requests(client.target, "generate", 2)]
    assert found[1].connecting is not None
    assert IDLE < 5, "servers close idle connections after five seconds"


async def test_connections_can_be_opened_beforehand(server: Timed) -> None:
    """The first requests of a load pay for their connections."""
    async with client_of(server.url) as client:
        await client.warm(3)
        asked = requests(client.target, "generate", 4)
        found = await asyncio.gather(*(client.ask(one, 0.0) for one in asked))
    assert sum(one.connecting is None for one in found) == 3


async def test_what_is_under_way_can_be_given_up(server: Timed) -> None:
    """A run at its time limit waits for its last answer."""
    async with client_of(server.url, "mute", timeouts=Timeouts()) as client:
        asked = requests(client.target, "generate", 2)
        waiting = [asyncio.create_task(client.ask(one, 0.0)) for one in asked]
        while client.in_flight < 2:
            await asyncio.sleep(0.01)
        client.abandon("the run is over")
        found = [await one for one in waiting]
    assert {one.error for one in found} == {ErrorKind.ABANDONED}
    assert client.in_flight == 0


async def test_a_cancelled_request_leaves_nothing(server: Timed) -> None:
    """An interrupted run waits for the server, or sends on a connection in use."""
    async with client_of(server.url, "mute") as client:
        task = asyncio.create_task(client.ask(requests(client.target, "generate")[0], 0.0))
        while not client.in_flight:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.in_flight == 0
        assert not client._free


async def test_a_server_that_has_gone_refuses() -> None:
    """A dead server is one of this machine's limits, or a crash."""
    with Timed() as server:
        async with client_of(server.url) as client:
            server.__exit__(None, None, None)
            found = await client.ask(requests(client.target, "generate")[0], 0.0)
    assert found.error is ErrorKind.REFUSED


async def test_a_machine_without_sockets_is_not_the_server_s_fault(
    server: Timed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit on open files looks like a server that refuses."""

    async def none_left(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    async with client_of(server.url) as client:
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", none_left)
        found = await client.ask(requests(client.target, "generate")[0], 0.0)
    assert (found.error, found.detail) == (ErrorKind.CLIENT, "Too many open files")


async def test_pages_are_read_beside_streams(server: Timed) -> None:
    """The server's own metrics can't be asked for."""
    async with client_of(server.url) as client:
        assert b"sglang:num_running_reqs" in await client.page("/metrics")
        with pytest.raises(BadAnswer, match="/nothing: HTTP 404"):
            await client.page("/nothing")
