"""The slowing proxy: its delay is exactly the share that it is told, and it is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import sys

import anyio
import pytest

from ci.errors import CheckBroken
from ci.gate import slow_proxy
from ci.gate.slow_proxy import SlowProxy
from ci.gate.slowed import slowed
from tests.unit.proxied import Streams, connect, cutting, large, silent, speaking, through
from tests.unit.virtual_time import run

pytestmark = pytest.mark.unit

HANG = 30.0
EXACT = 1e-6


async def arrivals(streams: Streams, parts: int) -> list[float]:
    """Ask for one answer, and return when each of its parts came, from the question on."""
    reader, writer = streams
    begin = asyncio.get_running_loop().time()
    writer.write(b"please\n")
    found = []
    for _ in range(parts):
        await reader.readexactly(1)
        found.append(asyncio.get_running_loop().time() - begin)
    return found


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 1.0])
def test_every_part_comes_later_by_exactly_the_share(share: float) -> None:
    """The self-test's truth is not what it says: of the first request or of a later one."""

    async def work() -> list[list[float]]:
        async with through(speaking, share) as proxy:
            streams = await connect(proxy.url)
            found = [await arrivals(streams, 4) for _ in range(2)]
            streams[1].close()
            return found

    for times in run(work()):
        truth = [(1 + share) * at for at in (1.0, 1.25, 1.5, 1.75)]
        assert times == pytest.approx(truth, abs=EXACT)


def test_connections_dont_delay_each_other() -> None:
    """Under load the share grows with the number of streams."""

    async def work() -> list[list[float]]:
        async with through(speaking, 0.5) as proxy:
            streams = [await connect(proxy.url) for _ in range(20)]
            found = await asyncio.gather(*(arrivals(each, 4) for each in streams))
            for _, writer in streams:
                writer.close()
            return list(found)

    for times in run(work()):
        assert times == pytest.approx([1.5, 1.875, 2.25, 2.625], abs=EXACT)


def test_a_cut_answer_is_cut_as_late_as_its_bytes() -> None:
    """What a server does wrong looks like another fault behind the proxy."""

    async def work() -> tuple[bytes, float]:
        async with through(cutting, 0.5) as proxy:
            reader, writer = await connect(proxy.url)
            writer.write(b"please\n")
            answer = await reader.read()
            writer.close()
            return answer, asyncio.get_running_loop().time()

    answer, ended = run(work())
    assert answer == b"half"
    assert ended == pytest.approx(1.5, abs=EXACT)


@pytest.mark.parametrize("waiting", [1, 1024])
def test_large_questions_and_answers_come_whole(
    waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes are lost or mixed up where there are many, or more than may wait."""
    monkeypatch.setattr(slow_proxy, "CHUNKS", waiting)

    async def work() -> bytes:
        async with through(large, 0.1) as proxy:
            reader, writer = await connect(proxy.url)
            writer.write(b"q" * 50_000 + b"\n")
            answer = await reader.read()
            writer.close()
            return answer

    count, _, rest = run(work()).partition(b"\n")
    assert int(count) == 50_001
    assert rest == b"x" * 2**20


def test_a_client_that_goes_away_is_told_to_the_server() -> None:
    """The server generates for nobody, and is slower than it would be without the proxy."""

    async def work() -> None:
        gone = asyncio.Event()

        async def watching(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            gone.set()

        async with through(watching, 0.1) as proxy:
            _, writer = await connect(proxy.url)
            writer.write(b"please\n")
            await asyncio.sleep(1)
            writer.close()
            await gone.wait()

    run(work())


def test_a_connection_on_which_nothing_moves_ends() -> None:
    """A silent server holds a connection of the proxy for ever."""

    async def work() -> float:
        async with through(silent, 0.1) as proxy:
            reader, writer = await connect(proxy.url)
            writer.write(b"please\n")
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
            return asyncio.get_running_loop().time()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slow_proxy, "IDLE", 60.0)
        assert run(work()) == pytest.approx(60, abs=EXACT)


def test_too_many_connections_are_cut() -> None:
    """The proxy takes all files of a machine."""

    async def work() -> list[bytes]:
        async with through(speaking, 0.0) as proxy:
            streams = [await connect(proxy.url) for _ in range(3)]
            for _, writer in streams:
                writer.write(b"please\n")
            found = []
            for reader, writer in streams:
                with contextlib.suppress(ConnectionError):
                    found.append(await reader.read(1))
                writer.close()
            return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slow_proxy, "MOST_CONNECTIONS", 2)
        assert [part for part in run(work()) if part] == [b"a", b"a"]


def test_a_server_that_isnt_there_cuts_the_client() -> None:
    """A client waits for ever for a server that is gone."""

    async def work() -> bytes:
        async with through(silent, 0.0) as gone:
            pass
        async with SlowProxy(gone.url, 0.1) as proxy:
            reader, writer = await connect(proxy.url)
            answer = b""
            with contextlib.suppress(ConnectionError):
                answer = await reader.read()
            writer.close()
            return answer

    assert run(work()) == b""


@pytest.mark.parametrize("share", [-0.1, 11.0, float("nan")])
def test_a_share_without_a_meaning_is_refused(share: float) -> None:
    """A server is made faster, or slow for ever."""
    with pytest.raises(ValueError, match="between 0 and 10"):
        SlowProxy("http://127.0.0.1:1", share)


@pytest.mark.anyio
async def test_a_process_of_its_own_serves_and_ends() -> None:
    """The proxy doesn't start, loses the URL's path, or stays behind."""
    server = await asyncio.start_server(large, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with anyio.fail_after(HANG):
        async with slowed(f"http://127.0.0.1:{port}/base/", 0.0) as url:
            assert url.endswith("/base")
            reader, writer = await connect(url.removesuffix("/base"))
            writer.write(b"please\n")
            assert (await reader.readline()) == b"7\n"
            writer.close()
    with pytest.raises(OSError, match="onnect"):
        await connect(url.removesuffix("/base"))
    server.close()


@pytest.mark.anyio
async def test_a_proxy_that_doesnt_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A self-test hangs where its proxy ends at once."""
    with anyio.fail_after(HANG):
        with pytest.raises(CheckBroken, match="the slowing proxy ended"):
            async with slowed("http://127.0.0.1:1", -1.0):
                pass
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(CheckBroken, match="the slowing proxy doesn't start"):
            async with slowed("http://127.0.0.1:1", 0.0):
                pass
