"""Which routes answer without a key: found out without letting any of them act."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import anyio
import pytest

from ci.errors import NotSglang, Unreachable
from ci.exposure.routes import Route, routes
from ci.exposure.stage import expose
from ci.report.model import Case, Check
from ci.report.write import load
from ci.settings.exposure import ExposureSettings
from ci.stages import checked
from ci.verdict import Outcome, Verdict
from tests.fakes.guarded import KEY, Guarded, guarded
from tests.unit.commands import Command

pytestmark = pytest.mark.unit


def exposed(server: Guarded, **told: Any) -> Check:
    """Return what is found of a server; nothing of it may have acted, or been asked with a key."""
    tell = Mock()
    ask = partial(expose, server.url, ExposureSettings(**told))
    check = anyio.run(checked, "exposure", ask, tell)
    assert not server.acted
    assert not server.keyed
    assert [call.args[0] for call in tell.call_args_list] == list(check.cases)
    return check


def named(check: Check) -> dict[str, Case]:
    """Return the cases by name."""
    return {case.name: case for case in check.cases}


def test_what_an_unguarded_server_lets_everybody_do_is_listed() -> None:
    """Anybody who reaches the port can have prompts logged, and nobody was told."""
    with guarded() as server:
        check = exposed(server)
    assert check.verdict is Verdict.PASSED
    cases = named(check)
    assert cases["logging"].message.startswith("open: GET|POST /configure_logging; not there: ")
    assert cases["cache"].message.startswith("open: GET|POST /flush_cache; ")
    assert cases["profiling"].message.startswith("open: GET|POST /start_profile; ")
    assert "POST /flush_cache: open: HTTP 405 to PATCH" in cases["cache"].details
    assert "POST /new_weight_thing: open: HTTP 400" in cases["weights"].details
    assert check.facts["routes"].startswith("10 open, ")


def test_an_unguarded_server_is_bad_where_it_has_to_be_closed() -> None:
    """An environment demands closed routes, and gets open ones."""
    with guarded() as server:
        check = exposed(server, demand="closed")
    assert check.verdict is Verdict.FAILED
    cases = named(check)
    assert cases["cache"].outcome is Outcome.FAILED
    assert cases["adapters"].outcome is Outcome.PASSED  # there is none


@pytest.mark.parametrize("keys", [("api",), ("api", "admin")])
@pytest.mark.parametrize("silent", [False, True])
def test_a_guarded_server_is_closed(keys: tuple[str, ...], *, silent: bool) -> None:
    """A good server is called open, or has to give its key to be judged."""
    with guarded(*keys, silent=silent) as server:
        check = exposed(server, demand="closed")
    assert check.verdict is Verdict.PASSED, check.cause
    assert "open" not in check.facts["routes"]
    assert "closed" in check.facts["routes"]
    assert check.facts["routes by"].startswith("SGLang 0.5.23's own list")


def test_a_key_is_used_for_the_description_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A route that only answers with the key is called open, because it was asked with it."""
    monkeypatch.setenv("SGLANG_API_KEY", KEY)
    with guarded("api", "admin") as server:
        ask = partial(expose, server.url, ExposureSettings(demand="closed"))
        check = anyio.run(checked, "exposure", ask)
    assert server.keyed == ["/openapi.json"]
    assert check.facts["routes by"] == "/openapi.json"
    assert check.verdict is Verdict.PASSED, check.cause
    assert "open" not in check.facts["routes"]


def test_an_admins_key_alone_leaves_sessions_open() -> None:
    """A route that only the other key guards passes with its neighbours."""
    with guarded("admin") as server:
        check = exposed(server, demand="closed")
        allowed = exposed(server, demand="closed", open=("(GET|POST) /open_session",))
    cases = named(check)
    assert cases["sessions"].outcome is Outcome.FAILED
    assert cases["sessions"].message.startswith("open: GET|POST /open_session")
    assert cases["logging"].outcome is Outcome.PASSED
    assert cases["cache"].outcome is Outcome.INCONCLUSIVE  # 405, and its own method would flush
    assert "not known: GET|POST /flush_cache" in cases["cache"].message
    assert named(allowed)["sessions"].outcome is Outcome.PASSED


def test_a_front_that_lets_get_pass_leaves_routes_open_by_get() -> None:
    """A proxy that refuses POST hides that GET does the same."""
    with guarded(front="methods") as server:
        check = exposed(server, demand="closed")
    cases = named(check)
    assert cases["logging"].outcome is Outcome.FAILED
    assert "open: GET /configure_logging" in cases["logging"].message
    assert "closed: POST /configure_logging" in cases["logging"].message
    assert cases["cache"].outcome is Outcome.INCONCLUSIVE
    assert "judges by the method" in cases["cache"].details


def test_a_front_that_refuses_bodies_is_not_taken_for_an_open_route() -> None:
    """A gateway's own 400 reads as an answer of the route behind it."""
    with guarded("api", front="bodies") as server:
        check = exposed(server, demand="closed")
    assert check.verdict is Verdict.PASSED, check.cause


def test_routes_that_a_front_hides_are_not_there() -> None:
    """A gateway that lets nothing but /v1 pass is called open, or another server."""
    with guarded(front="hidden") as server:
        check = exposed(server, demand="closed")
    assert check.verdict is Verdict.PASSED, check.cause
    assert set(check.facts["routes"].split(" ", 1)[1].split(", ")) == {"not there"}


def test_another_server_is_told() -> None:
    """A typing error in the URL passes, for nothing that is asked for is there."""
    with guarded(front="elsewhere") as server, pytest.raises(NotSglang, match="/model_info 404"):
        exposed(server)
    with pytest.raises(Unreachable):
        anyio.run(expose, server.url, ExposureSettings(), Mock())


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("GET /flush_cache", True),
        ("DELETE /hicache/storage-backend", True),
        ("GET /hicache/storage-backend", False),
        ("GET /list_external_corpora", False),
        ("POST /v1/chat/completions", False),
        ("GET /model_info", False),
        ("POST /v2/Update_Weights", True),
    ],
)
def test_what_only_reads_changes_nothing(name: str, *, changes: bool) -> None:
    """A route that is harmless keeps a server out of production, or one that isn't gets in."""
    method, _, path = name.partition(" ")
    assert Route(method, path).changes is changes
    document: dict[str, Any] = {"paths": {path: {method.lower(): {}}}}
    assert (name in {one.name for one in routes(document)}) is changes


def test_the_command_leaves_a_report(command: Command, tmp_path: Path) -> None:
    """The check can't be asked for, or its demand can't be set."""
    with guarded() as server:
        assert command("exposure", server.url) == 0
        assert command("exposure", server.url, "--set", "exposure.demand=closed") == 1
        assert not server.acted
    (check,) = load(tmp_path / "report").checks
    assert (check.name, check.facts["demand"]) == ("exposure", "closed")
