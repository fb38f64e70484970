"""The API key: where it comes from, to whom it is sent, and where it never stands."""

from __future__ import annotations

import os
import pickle

import pytest

from ci.bench.target import resolve
from ci.errors import KeyRefused, UsageError
from ci.gate.slowed import slowed
from ci.server.door import Door
from ci.server.faults import refusal
from ci.server.key import (
    API_KEY,
    BASELINE_API_KEY,
    api_key,
    key_of,
    variables,
    wanted_at,
)
from tests.fakes.sglang import FakeSglang

pytestmark = pytest.mark.unit

URL, OTHER, KEY = "http://127.0.0.1:31000", "http://127.0.0.1:31001", "sk-door-7f3a"


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(API_KEY, raising=False)


@pytest.mark.parametrize(
    ("flags", "key"),
    [
        ([], ""),
        (["--tp", "2"], ""),
        (["--api-key=K"], "K"),
        (["--api-key", "K"], "K"),
        (["--api-key=K=L"], "K=L"),
        (["--api-key=K", "--tp", "2", "--api-key", "L"], "L"),
        (["--admin-api-key=K"], ""),
        (["--api-key"], ""),
    ],
)
def test_the_key_of_a_servers_flags(flags: list[str], key: str) -> None:
    """A server that we start ourselves is asked without its key, or with another flag's."""
    assert api_key(flags, {}) == key


def test_flags_outweigh_the_variable_of_a_servers_own_environment() -> None:
    """Another engine's server, whose key is no flag, can't be given one."""
    assert api_key([], {API_KEY: "E"}) == "E"
    assert api_key(["--api-key=K"], {API_KEY: "E"}) == "K"


def test_each_server_gets_its_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two servers that are compared get one key, or a stranger gets that of ours."""
    monkeypatch.setenv(API_KEY, "of others")
    with wanted_at(URL, KEY), wanted_at(OTHER, None):
        assert (key_of(URL), key_of(OTHER)) == (KEY, "of others")
        assert Door.to(f"{URL}/").headers == {"Authorization": f"Bearer {KEY}"}
        assert variables(URL) == {API_KEY: KEY}
    assert key_of(URL) == "of others"
    assert os.environ[API_KEY] == "of others"
    monkeypatch.delenv(API_KEY)
    assert Door.to(URL).headers == variables(URL) == {}


def test_a_server_that_has_no_key_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A baseline without a key is sent the candidate's, and so is a process that asks it."""
    monkeypatch.setenv(API_KEY, "of others")
    with wanted_at(URL, ""):
        assert key_of(URL) == ""
        assert Door.to(URL).headers == {}
        assert variables(URL) == {API_KEY: ""}
        with wanted_at(URL, KEY):
            assert key_of(URL) == KEY
        assert key_of(URL) == ""
    assert key_of(URL) == "of others"


def test_a_refusal_names_the_variable_of_its_server() -> None:
    """A baseline's missing key sends the reader to the candidate's variable."""
    with wanted_at(f"{URL}/base", KEY, BASELINE_API_KEY):
        told = str(refusal(f"{URL}/base/generate", 401, "", KEY))
        other = str(refusal(f"{URL}/generate", 401, "", ""))
    assert "refuses this API key: set SGLANG_BASELINE_API_KEY to another one" in told
    assert f"wants an API key: set {API_KEY}" in other


@pytest.mark.anyio
async def test_the_slowing_proxy_passes_its_servers_key_on() -> None:
    """The gate's self-test of a server with a key of its own is refused."""
    with FakeSglang() as server, wanted_at(server.url, KEY):
        async with slowed(server.url, 0.0) as url:
            assert key_of(url) == KEY
        assert key_of(url) == ""


@pytest.mark.parametrize("key", ["sk-1\n", "sk-1\r\nx: y", "schlüssel"])
def test_a_key_that_cannot_be_sent_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """A key with a line end becomes a header of its own, or stands in the error."""
    monkeypatch.setenv(API_KEY, key)
    with pytest.raises(UsageError, match="SGLANG_API_KEY can't be sent") as caught:
        Door.to(URL)
    assert key.strip() not in str(caught.value)


@pytest.mark.anyio
async def test_a_key_is_never_shown() -> None:
    """A traceback or a log line shows the key."""
    with FakeSglang() as server, wanted_at(server.url, KEY):
        door, target = Door.to(server.url), await resolve(server.url)
        client = door.client()
        assert f"Bearer {KEY}".encode() in target.get("/")
        assert KEY not in f"{door!r} {target!r} {client!r} {client.headers!r}"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_says_what_to_do_and_hides_the_key(status: int) -> None:
    """A server that repeats the key in its answer puts it into the report."""
    wanted = refusal("http://h/x", status, "", "")
    assert str(wanted) == f"http://h/x: HTTP {status}: the server wants an API key: set {API_KEY}"
    again = refusal("http://h/x", status, f"no such key: {KEY}", KEY)
    assert isinstance(again, KeyRefused)
    assert f"the server refuses this API key: set {API_KEY} to another one" in str(again)
    assert "it says: no such key: …" in str(again)
    assert KEY not in str(again) + again.details + repr(pickle.dumps(again.args))


@pytest.mark.parametrize("status", [200, 400, 404, 429, 500])
def test_other_statuses_are_no_question_of_keys(status: int) -> None:
    """A server that refuses a request for another reason is excused."""
    assert refusal("http://h/x", status, "", "") is None
