"""Whatever listens at the URL: one verdict, one line that a person can act on, in time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import anyio
import pytest

from ci.boot.readiness import Readiness
from ci.report.model import Check
from ci.server.client import ServerClient
from ci.settings import ReadinessSettings
from ci.stages import checked
from ci.verdict import Verdict
from ci.versions.stage import Expected, check_versions
from tests.fakes.faulty import BEHAVIOURS, closed_port, listening, self_signed
from tests.live.quiet import Quiet

pytestmark = [pytest.mark.unit, pytest.mark.anyio, pytest.mark.usefixtures("impatient")]

HANG = 30.0
"""Most seconds before a check counts as hung."""
BUDGETS = ReadinessSettings(port_open=0.5, serving=0.5, first_token=0.5)
PATIENT = ReadinessSettings(port_open=HANG)
STRANGERS = {
    "web page": "not an SGLang server: HTTP 200 without JSON: <!doctype html>",
    "web page, not found": "not an SGLang server: HTTP 404: <!doctype html>",
    "other API": "not an SGLang server: the answer has no model_path",
    "number for a path": "not an SGLang server: the answer has no model_path",
    "list": "not an SGLang server: JSON, but no object: []",
    "empty": "not an SGLang server: HTTP 200 without JSON: empty",
    "malformed": "not an SGLang server: HTTP 200 without JSON: {",
    "deep": "not an SGLang server: HTTP 200 without JSON: [",
    "binary": "not an SGLang server: HTTP 200 without JSON",
    "bad gzip": "the answer can't be decoded",
    "cut gzip": "the answer can't be decoded: its packed bytes were cut",
    "unasked coding": "the answer can't be decoded: it is packed as 'br', which wasn't asked for",
    "packed flood": "the answer is over 16777216 bytes long",
    "reset body": "the answer was cut after 2 bytes",
    "redirect": "HTTP 307: redirects to https://elsewhere.example/",
    "truncated": "the answer was cut",
    "truncated chunk": "the answer was cut",
    "not HTTP": "connection cut before an answer",
    "endless": "the answer is over 16777216 bytes long",
    "endless header": "answers with headers that have no end",
    "endless header line": "answers with headers that have no end",
    "blunt": "not an SGLang server: HTTP 400: <!doctype html>",
    "closing": "is it https://, or no HTTP server?",
    "resetting": "is it https://, or no HTTP server?",
}
"""What is believed to stay as it is, and ends a start-up before its budget is spent."""
SLOW = {
    "unavailable": "HTTP 503",
    "silent": "accepts connections and says nothing",
    "trickle": "accepts connections and says nothing",
    "slow header": "accepts connections and says nothing",
}
"""What a server that is still starting may be, and is waited for."""


LOCKED = "key wanted"
"""What can't be judged."""


async def start_up(url: str, budgets: ReadinessSettings = BUDGETS) -> Check:
    """Return what the readiness check finds at `url`."""
    with anyio.fail_after(HANG):
        return await checked("readiness", Readiness(url, budgets, Quiet()).wait)


async def held_against(url: str) -> Check:
    """Return what the versions check finds at `url`."""
    with anyio.fail_after(HANG):
        async with ServerClient(url, timeout=0.5) as client:
            ask = partial(check_versions, client, Expected({"sglang": "1.0"}))
            return await checked("versions", ask)


def test_every_behaviour_is_tried() -> None:
    """A new kind of stranger is never held against the checks."""
    assert set(STRANGERS) | set(SLOW) | {LOCKED} == set(BEHAVIOURS)


@pytest.mark.parametrize("behaviour", STRANGERS)
async def test_a_stranger_fails_before_the_budget_is_spent(behaviour: str) -> None:
    """Something else than SGLang is waited for as long as a model may load, or passes."""
    with listening(BEHAVIOURS[behaviour]) as url:
        check = await start_up(url, ReadinessSettings(serving=HANG))
    assert check.verdict is Verdict.FAILED
    assert check.cause.startswith(f"serving: {url}/model_info: ")
    assert STRANGERS[behaviour] in check.cause
    assert len(check.cause) < 400
    assert len(check.cause.splitlines()) == 1


async def test_a_server_that_wants_a_key_is_not_judged() -> None:
    """A key that wasn't given makes a good server FAILED, or a stranger of it."""
    with listening(BEHAVIOURS[LOCKED]) as url:
        check = await start_up(url)
    assert check.verdict is Verdict.ERROR
    told = f"serving: {url}/model_info: HTTP 401: the server wants an API key: set SGLANG_API_KEY"
    assert check.cause.startswith(told)


@pytest.mark.parametrize("behaviour", SLOW)
async def test_what_may_be_slow_fails_when_the_budget_is_spent(behaviour: str) -> None:
    """A server that says nothing, or 503, is given up at once, or never."""
    with listening(BEHAVIOURS[behaviour]) as url:
        check = await start_up(url)
    assert check.verdict is Verdict.FAILED
    assert check.cause.startswith("serving: not ready: phase 'serving' took over 0.5 s: ")
    assert SLOW[behaviour] in check.cause


Place = Callable[[Path], AbstractContextManager[str]]


def tls(folder: Path) -> AbstractContextManager[str]:
    """Return a TLS server at a plain URL."""
    return listening(BEHAVIOURS["web page"], tls=self_signed(folder))


def closed(_: Path) -> AbstractContextManager[str]:
    """Return nothing at all, at a URL."""
    return nullcontext(f"http://127.0.0.1:{closed_port()}")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (tls, "is it https://"),
        (closed, "(connection refused)"),
    ],
)
async def test_what_speaks_no_http(tmp_path: Path, place: Place, words: str) -> None:
    """TLS on a plain port, or a closed port, is not named as what it is."""
    with place(tmp_path) as url:
        check = await start_up(url)
        assert check.verdict is Verdict.FAILED
        assert words in check.cause
        assert url in check.cause


async def test_a_host_without_an_address_is_no_bad_server() -> None:
    """A misspelt host makes a server FAILED, or is looked up for ten minutes."""
    check = await start_up("http://no-such-host.invalid:30000", PATIENT)
    assert check.verdict is Verdict.ERROR
    assert check.cause.endswith("no-such-host.invalid:30000: the host's name has no address here")


@pytest.mark.parametrize(
    "place", [*(partial(listening, behave) for behave in BEHAVIOURS.values()), closed]
)
async def test_no_stranger_has_the_right_version(
    tmp_path: Path, place: Callable[..., AbstractContextManager[str]]
) -> None:
    """Something that doesn't tell its version passes the check of versions."""
    with place(tmp_path) if place is closed else place() as url:
        check = await held_against(url)
    locked = "API key" in check.cause
    assert check.verdict is (Verdict.ERROR if locked else Verdict.FAILED)
    assert url in check.cause
    assert len(check.cause.splitlines()) == 1
