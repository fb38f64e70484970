"""The door to a server: no answer can hold it or flood it, and both kinds of client agree."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.errors import BadAnswer
from ci.fuzz.answers import wrong
from ci.report.write import load
from ci.server.client import ServerClient
from ci.server.door import MAX_BODY, Door
from ci.server.exchange import exchanging
from ci.server.unpack import PIECE, Unpacker
from ci.smoke.ask import Ask
from ci.smoke.transport import explain, open_client
from tests.fakes.described import described
from tests.fakes.faulty import (
    BEHAVIOURS,
    Behaviour,
    Connection,
    answering,
    listening,
    packed_flood,
    response,
    self_signed,
)
from tests.fakes.keyed import guarded
from tests.fakes.sglang import FakeSglang, Settings
from tests.rare import rare
from tests.unit.commands import Command
from tests.unit.contract_samples import openly

pytestmark = pytest.mark.unit

HANG = 20.0
"""Most seconds that a bounded request may take here; a hundred times its limit."""
BRIEF = (
    *("--fault", "disconnects", "--set", "health.calm=0.1", "--set", "health.load=0.3"),
    *("--set", "health.interval=0.1", "--set", "health.prompts=1"),
)
OBJECT = b'{"model_path": "/m"}'


def blocked(behave: Behaviour, limit: float = 5.0) -> str:
    """Return what a case of the smoke suite is told of a server."""
    begun = time.monotonic()
    with (
        listening(behave) as url,
        open_client(url, limit) as client,
        pytest.raises(httpx.HTTPError) as caught,
    ):
        client.get("/thing")
    assert time.monotonic() - begun < HANG
    return explain(caught.value)


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("slow header", "GET /thing: no answer within 0.4 s"),
        ("silent", "GET /thing: no answer within 0.4 s"),
        ("trickle", "GET /thing: the answer did not end within 0.4 s"),
    ],
)
def test_a_request_that_blocks_ends_at_its_deadline(behaviour: str, words: str) -> None:
    """A byte of a header a second uses up the budget of the whole suite."""
    assert blocked(BEHAVIOURS[behaviour], 0.4).startswith(words)


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("endless", f"the answer is over {MAX_BODY} bytes long"),
        ("packed flood", f"the answer is over {MAX_BODY} bytes long"),
        ("reset body", "the answer was cut after 2 bytes"),
        ("truncated", "the answer was cut after 19 bytes"),
        ("cut gzip", "the answer can't be decoded: its packed bytes were cut"),
        ("bad gzip", "the answer can't be decoded"),
        ("unasked coding", "it is packed as 'br', which wasn't asked for"),
        ("endless header line", "answers with headers that have no end"),
    ],
)
def test_a_request_that_blocks_is_told_alike(behaviour: str, words: str) -> None:
    """Smoke tells another fault than readiness does of the same server."""
    assert words in blocked(BEHAVIOURS[behaviour])


def echoing(connection: Connection) -> None:
    """Answer with the chunks of a request."""
    received = b""
    while not received.endswith(b"0\r\n\r\n"):
        received += connection.socket.recv(4096)
    body = received.partition(b"\r\n\r\n")[2]
    connection.send(response(200, body.removesuffix(b"0\r\n\r\n")))


def get(url: str) -> httpx.Response:
    """Return the answer to a request that blocks."""
    with open_client(url, HANG) as client:
        return client.get("/model_info")


async def model_info(url: str) -> object:
    """Return what the typed client makes of an answer."""
    async with ServerClient(url) as client:
        return await client.model_info()


@pytest.mark.parametrize("blocks", [True, False])
def test_few_packed_bytes_take_little_memory(*, blocks: bool) -> None:
    """4 MB of gzip, which are 4 GB of blanks, take all of a machine's memory."""
    packed_flood()
    with listening(BEHAVIOURS["packed flood"]) as url:
        tracemalloc.start()
        try:
            with pytest.raises((httpx.HTTPError, BadAnswer), match="is over 16777216 bytes long"):
                get(url) if blocks else anyio.run(model_info, url)
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert most < 6 * MAX_BODY


@pytest.mark.parametrize(
    "behave",
    [
        answering(200, OBJECT),
        answering(200, b"\xef\xbb\xbf" + OBJECT),
        answering(200, gzip.compress(OBJECT), content_encoding="gzip"),
        answering(200, gzip.compress(OBJECT), content_encoding="X-GZIP"),
        answering(200, zlib.compress(OBJECT), content_encoding="deflate"),
        answering(200, OBJECT, content_encoding="identity"),
    ],
    ids=["plain", "byte order mark", "gzip", "x-gzip", "deflate", "identity"],
)
def test_good_answers_are_read_alike(behave: Behaviour) -> None:
    """A packed answer, or one with a byte order mark, is good for one stage and bad for another."""
    with listening(behave) as url:
        assert anyio.run(model_info, url) == {"model_path": "/m"}
        assert get(url).json() == {"model_path": "/m"}
        with open_client(url, HANG) as client:
            assert Ask(client, "m").post("/model_info", {}) == {"model_path": "/m"}


@given(st.binary(max_size=3 * PIECE), st.lists(st.integers(1, 5000), max_size=20))
def test_what_was_packed_is_unpacked(content: bytes, cuts: list[int]) -> None:
    """A packed body loses a part where it is cut into packets, or is unpacked in one piece."""
    packed, unpacker, found = gzip.compress(content), Unpacker("gzip"), []
    for cut in [*cuts, len(packed)]:
        piece, packed = packed[:cut], packed[cut:]
        found += list(unpacker.feed(piece))
    unpacker.end()
    assert b"".join(found) == content
    assert max(map(len, found), default=0) <= PIECE


def test_a_blocking_client_is_shared_by_threads_and_sends_any_body() -> None:
    """A user's case that sends from several threads, or a file, hangs or sends nothing."""
    with (
        FakeSglang() as server,
        open_client(server.url, HANG) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        found = list(pool.map(lambda _: client.get("/ready").status_code, range(32)))
    assert found == [200] * 32
    with listening(echoing) as url, open_client(url, HANG) as client:
        assert client.post("/", content=iter([b"one", b"two"])).text == "6\r\nonetwo\r\n"


def test_a_stream_may_be_left() -> None:
    """A case that leaves a stream early waits for its end, or leaves the connection open."""
    body = {"text": "a", "sampling_params": {"max_new_tokens": 64}, "stream": True}
    with FakeSglang(Settings(token_seconds=0.2)) as server, open_client(server.url, HANG) as client:
        with client.stream("POST", "/generate", json=body) as response:
            assert next(response.iter_bytes()).startswith(b"data:")
        assert client.get("/ready").status_code == 200


REDIRECT = answering(307, "", location="https://elsewhere.example/")


@pytest.mark.parametrize(
    "argv",
    rare(
        [
            ["wait"],
            ["smoke", "-k", "completion"],
            ["bench", "--set", "bench.warm_up_requests=8", "--set", "bench.requests=8"],
            ["versions", "--expect", "sglang=1"],
            ["health", "--fault", "disconnects"],
            ["contract", "compare"],
            ["fuzz"],
        ],
        3,
    ),
    ids=lambda argv: argv[0],
)
def test_where_a_redirect_leads_is_told(command: Command, argv: list[str]) -> None:
    """A server that moved reads as one that is broken, and nobody knows where it went."""
    with listening(REDIRECT) as url:
        several = (url, url) if argv[0] == "contract" else (url,)
        at = 2 if argv[0] == "contract" else 1
        assert command(*argv[:at], *several, *argv[at:]) in {1, 3}
    said = "\n".join(
        f"{case.message}\n{case.details}" for case in load(Path("report")).checks[0].cases
    )
    assert "redirects to https://elsewhere.example/" in said
    assert "model_info" in said or url in said or argv[0] == "bench"
    assert f"{url}model_info" not in said


@pytest.mark.parametrize("stage", rare(["wait", "smoke", "health", "contract", "fuzz"]))
def test_an_authority_of_the_environment_is_believed_by_every_stage(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: str
) -> None:
    """A stage advises to set SSL_CERT_FILE, and doesn't read it."""
    tls = self_signed(tmp_path)
    argv = {
        "smoke": ("-k", "completion"),
        "health": BRIEF,
        "fuzz": ("--operation", "GET /ready", "--set", "fuzz.examples=2"),
    }.get(stage, ())
    with ExitStack() as stack:
        if stage == "contract":
            plain = stack.enter_context(openly())
        elif stage == "fuzz":
            plain = stack.enter_context(described()).url
        else:
            plain = stack.enter_context(FakeSglang()).url
        url = stack.enter_context(guarded(plain, "", paths="(?!)", tls=tls))
        words = ("contract", "compare", url, url) if stage == "contract" else (stage, url, *argv)
        assert command(*words) == 1
        assert "let SSL_CERT_FILE name its authority's" in load(Path("report")).cause
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        assert command(*words) == 0, load(Path("report")).cause


@pytest.mark.long
def test_the_slow_head_of_an_answer_fails_the_smoke_suite(command: Command) -> None:
    """A server that never ends its headers is an ERROR after ten minutes."""
    with listening(BEHAVIOURS["slow header"]) as url:
        assert command("smoke", url, "--set", "smoke.timeout=0.5") == 1
    cause = load(Path("report")).cause
    told = "smoke: generate::greedy is repeatable: GET /model_info: no answer within 0.5 s"
    assert cause.startswith(told)


@pytest.mark.long
def test_the_url_of_a_page_is_whole(command: Command) -> None:
    """`http://127.0.0.1:31207model_info` can't be opened."""
    with listening(answering(200, "<html>")) as url:
        assert command("smoke", url, "-k", "completion") == 1
        assert f": {url}/model_info: not an SGLang server" in load(Path("report")).cause
        assert command("smoke", f"{url}/base/", "-k", "completion") == 1
        assert f": {url}/base/model_info: not an SGLang server" in load(Path("report")).cause


def test_a_door_knows_its_server() -> None:
    """A URL with a slash at its end is another server."""
    assert Door.to("http://h:1/base/").url == "http://h:1/base"


def test_a_media_type_is_read_whatever_its_letters() -> None:
    """`Text/Event-Stream; charset=UTF-8` is no stream, and broken `Application/JSON` is good."""
    done = b'data: {"a": 1}\n\ndata: [DONE]\n\n'
    stream = answering(200, done, "Text/Event-Stream; charset=UTF-8")
    with listening(stream) as url, open_client(url, HANG) as client:
        assert Ask(client, "m").stream("/generate", {}) == ({"a": 1},)
    with listening(answering(200, b"{", "Application/JSON")) as url:

        async def told() -> str:
            async with exchanging(url) as exchange:
                return wrong(await exchange.ask("GET", "/"))

        assert "says that it is JSON, and isn't" in anyio.run(told)
