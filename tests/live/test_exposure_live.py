"""What answers without a key, asked of SGLang's own routes and of a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from ci.boot.process import ServerProcess
from ci.exposure.stage import expose
from ci.report.model import Check
from ci.server.client import ServerClient
from ci.settings.exposure import ExposureSettings
from ci.stages import checked
from ci.verdict import Outcome, Verdict

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]


def exposed(url: str) -> Check:
    """Return what is found where routes have to be closed."""
    ask = partial(expose, url, ExposureSettings(demand="closed"))
    return anyio.run(checked, "exposure", ask)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Yield servers of SGLang's own routes by the keys that guard them; none may act."""
    errors, pipe = tmp_path_factory.mktemp("guarded") / "errors", subprocess.PIPE
    argv = [sys.executable, "-m", "tests.live.guarded_apps"]
    with (
        errors.open("w") as said,
        subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=said, cwd=ROOT, text=True) as run,
    ):
        assert run.stdout
        urls = run.stdout.readline()
        assert urls, errors.read_text()[-2000:]
        yield json.loads(urls)
        assert run.communicate()[0] == "", "a route acted"


@pytest.mark.parametrize("keys", ["api", "both"])
def test_sglangs_api_key_closes_every_route(guarded: dict[str, str], keys: str) -> None:
    """A server that is guarded as SGLang can be is called open."""
    check = exposed(guarded[keys])
    assert check.verdict is Verdict.PASSED, check.cause
    assert check.facts["routes"] == "59 closed"


def test_without_keys_every_route_is_open(guarded: dict[str, str]) -> None:
    """A route that answers everybody is taken for closed."""
    check = exposed(guarded["none"])
    assert check.verdict is Verdict.FAILED
    assert check.facts["routes"] == "58 open, 1 not there"


def test_sglangs_admin_key_alone_leaves_some_open(guarded: dict[str, str]) -> None:
    """Who sets the admin's key alone believes that everything is closed."""
    cases = {case.name: case for case in exposed(guarded["admin"]).cases}
    assert cases["sessions"].outcome is Outcome.FAILED
    assert cases["logging"].outcome is Outcome.PASSED
    assert "closed: GET|POST /configure_logging" in cases["logging"].message
    assert "not known: GET|POST /flush_cache" in cases["cache"].message


def test_asking_changes_nothing_of_a_real_server(live_server: ServerProcess) -> None:
    """The check itself flushes the cache, or has prompts logged."""

    async def state() -> dict[str, Any]:
        async with ServerClient(live_server.url) as client:
            told = await client.server_info() | await client.model_info()
            return {name: value for name, value in told.items() if name != "internal_states"}

    async def cached() -> int:
        body = {"text": "a prompt that is asked twice", "sampling_params": {"max_new_tokens": 1}}
        async with ServerClient(live_server.url) as client:
            return int((await client.post("/generate", body))["meta_info"]["cached_tokens"])

    anyio.run(cached)
    before, prefix = anyio.run(state), anyio.run(cached)
    check = exposed(live_server.url)
    assert check.verdict is Verdict.FAILED
    assert anyio.run(state) == before
    assert anyio.run(cached) == prefix > 1
