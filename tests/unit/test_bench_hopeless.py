"""Servers that answer no request: known within seconds, FAILED, and blamed for what they did."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from ci.bench.client import Timeouts
from ci.bench.hopeless import hopeless, server_fault
from ci.bench.options import BenchOptions
from ci.bench.records import ErrorKind, RequestRecord
from ci.bench.run import bench
from ci.errors import KeyRefused, ServerFault, SglangCiError, Unresponsive
from ci.verdict import Verdict
from tests.fakes.faulty import BEHAVIOURS, listening, self_signed
from tests.fakes.timed import Timed, Timing

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

HANG = 60.0
SHORT = 0.5


@pytest.fixture(scope="module")
def server() -> Iterator[Timed]:
    """Serve quickly, but for what a request's header asks for."""
    with Timed(Timing(ttft=0.01, itl=0.002)) as server:
        yield server


async def end_of(url: str, fault: str = "", **values: object) -> SglangCiError:
    """Return the error that ends a bench with all its defaults."""
    headers = {"x-fault": fault} if fault else {}
    options = BenchOptions(**({"headers": headers, "probe": SHORT} | values))  # type: ignore[arg-type]
    with anyio.fail_after(HANG), pytest.raises(SglangCiError) as raised:
        await bench(url, options)
    return raised.value


FAULTS = {
    "cut": "stream cut",
    "unfinished": "stream cut",
    "no_done": "stream cut",
    "error": "error inside the stream: the prompt is too long",
    "abort": "aborted by the server",
    "status": "HTTP error status: HTTP 503: no worker",
    "page": "malformed answer: HTTP 200 without a stream",
    "garbage": "malformed answer: the answer isn't HTTP",
    "reset": "connection lost before an answer",
    "mute": "no first token in time",
    "silent": "no first token in time",
    "stall": "stream stalled",
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_server_that_answers_nothing_fails_at_once(server: Timed, fault: str) -> None:
    """A server that fails every request is INCONCLUSIVE, after all loads were sent."""
    server.reset()
    found = await end_of(server.url, fault)
    assert found.verdict is Verdict.FAILED
    assert f"a first request, sent alone, failed: {FAULTS[fault]}" in str(found)
    assert len(server.truth()) <= 3


@pytest.mark.parametrize("name", ["web page", "web page, not found", "redirect", "closing"])
async def test_something_else_than_a_server_fails(name: str) -> None:
    """A page for people is a run of failed requests."""
    with listening(BEHAVIOURS[name]) as url:
        found = await end_of(url)
    assert isinstance(found, ServerFault)


async def test_a_wrong_key_is_an_error() -> None:
    """A server is called bad because it wasn't given its key."""
    with listening(BEHAVIOURS["key wanted"]) as url:
        found = await end_of(url)
    assert isinstance(found, KeyRefused)
    assert "the server wants an API key: set SGLANG_API_KEY" in str(found)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_tls_on_one_side_only_fails(tmp_path: Path, scheme: str) -> None:
    """A scheme that is wrong costs a whole load."""
    tls = self_signed(tmp_path) if scheme == "http" else None
    with listening(BEHAVIOURS["web page"], tls=tls) as url:
        found = await end_of(url.replace("http", scheme))
    assert isinstance(found, ServerFault)


async def test_silence_costs_what_the_settings_say(server: Timed) -> None:
    """A hung server is waited for by each limit of a load, for minutes."""
    begun = time.monotonic()
    found = await end_of(server.url, "mute", timeouts=Timeouts(first_token=600, stall=600))
    assert isinstance(found, Unresponsive)
    assert "no token within 0.5 s" in str(found)
    assert time.monotonic() - begun < HANG / 2


def record(error: ErrorKind | None = None, status: int | None = None) -> RequestRecord:
    """Return what came of a request."""
    return RequestRecord(0, 1, 0.0, 1.0, error=error, status=status, detail="why")


CUT, TOO_LONG = record(ErrorKind.CUT, 200), record(ErrorKind.HTTP, 400)


@pytest.mark.parametrize(
    ("records", "fault"),
    [
        ([], ""),
        ([CUT, CUT, record(ErrorKind.RESET)], "none of 3 requests was answered: stream cut: why"),
        ([CUT, record()], ""),
        ([TOO_LONG, record(ErrorKind.STREAM, 200)], ""),
        ([TOO_LONG, CUT, CUT], "none of 3 requests was answered: stream cut: why"),
        ([CUT, record(ErrorKind.CLIENT)], ""),
        ([CUT, record(ErrorKind.ABANDONED)], ""),
    ],
)
def test_who_is_to_blame(records: list[RequestRecord], fault: str) -> None:
    """A load that is too long for a model, or this machine's limit, is a server's fault."""
    assert server_fault(records) == fault


def test_a_few_failures_are_not_the_end() -> None:
    """A load ends at its first failure, or never."""
    assert hopeless([CUT] * 8)
    assert not hopeless([CUT] * 7)
    assert not hopeless([record(), *[CUT] * 100])
