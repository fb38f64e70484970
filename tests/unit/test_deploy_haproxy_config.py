"""The configuration that is rendered, and what is found in a user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.deploy.routers.haproxy_check import misfits, syntax
from ci.deploy.routers.haproxy_config import Files, HaproxyOptions, rendered
from tests.unit.router_rigs import NEEDED

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

EXPORTER = HaproxyOptions(exporter="127.0.0.1:9101", ttft=400)


def ours(options: HaproxyOptions | None = None) -> str:
    """Return our own configuration."""
    return rendered(options or HaproxyOptions(), Files(Path("/run/router")))


@NEEDED
@pytest.mark.parametrize("options", [HaproxyOptions(), EXPORTER])
async def test_what_is_rendered_is_taken_and_fits(options: HaproxyOptions) -> None:
    """Our own HAProxy doesn't start, or breaks our own rules."""
    assert await syntax(ours(options)) == []
    assert misfits(ours(options), options) == []


def test_time_outs_follow_what_was_measured() -> None:
    """A long prompt's stream is cut before its first token."""
    text = ours(EXPORTER)
    assert "timeout server 800s" in text
    assert "timeout client 800s" in text
    assert "timeout server 600s" in ours()
    assert "timeout check 12s" in ours(HaproxyOptions(health=4))


BREAKS = {
    ("option http-no-delay", ""): "no `option http-no-delay`",
    ("option http-no-delay", "no option http-no-delay"): "no `option http-no-delay`",
    ("option redispatch 1", ""): "no `option redispatch`",
    ("option abortonclose", ""): "no `option abortonclose`",
    ("option http-buffer-request", ""): "no `option http-buffer-request`",
    ("option dontlognull", "option prefer-last-server"): "`option prefer-last-server`",
    ("timeout server 600s", "timeout server 50s"): "`timeout server 50s` is too short",
    ("timeout server 600s", "timeout server 50000"): "`timeout server 50000` is too short",
    ("timeout client 600s", ""): "no `timeout client`",
    ("timeout check 3s", "timeout check 500ms"): "`timeout check 500ms` is too short",
    ("balance roundrobin", "balance leastconn"): "`balance leastconn` gives no exact shares",
    ("level admin", "level operator"): "no `stats socket PATH level admin`",
    ("server-state-file", "#"): "no `server-state-file`",
    ("load-server-state-from-file global", ""): "no `load-server-state-from-file global`",
    ("retries 2", "retries 0"): "`retries 0`",
    ("retry-on conn-failure", "retry-on response-timeout"): "`retry-on response-timeout`",
    ("http-reuse safe", "http-reuse always"): "`http-reuse always`",
    ("balance roundrobin", "cookie SLOT insert"): "`cookie` keeps clients on a slot",
    ("balance roundrobin", "stick on src"): "`stick` keeps clients on a slot",
    ("mode http", "mode tcp"): "isn't `mode http`",
    ("option dontlognull", "compression algo gzip"): "`compression algo` holds back",
    ("http-response set-header", "#"): "x-sglang-slot %s`: nobody can tell",
    ("fall 2", "fall 2 slowstart 60s"): "server blue has `slowstart`",
    ("default-server check", "default-server"): "server blue isn't `check`",
    ("server blue 127.0.0.1:1 disabled", ""): "no `server blue 127.0.0.1:1 check disabled`",
    ("server blue 127.0.0.1:1 disabled", "server blue 127.0.0.1:1"): "isn't `disabled`",
    ("server blue", "server extra 127.0.0.1:2\n  server blue"): "server extra is no slot",
    ("\nbackend sglang\n", "\nbackend other\n"): "no backend sglang",
}


@pytest.mark.parametrize(("old", "new"), BREAKS)
def test_each_misfit_is_named(old: str, new: str) -> None:
    """A user's HAProxy holds streams, loses shares or hides who failed, and nobody says so."""
    text = ours()
    assert old in text
    found = misfits(text.replace(old, new, 1))
    assert any(BREAKS[old, new] in line for line in found), found
    assert all(len(line.splitlines()) == 1 for line in found)


def test_defaults_by_name_and_of_other_backends_are_told_apart() -> None:
    """A misfit of somebody else's backend is ours, or ours is hidden by another's defaults."""
    text = ours() + "\ndefaults tcp\n  mode tcp\nbackend database\n  balance source\n"
    assert misfits(text) == []
    named = ours().replace("defaults\n", "defaults web\n").replace("backend sglang\n", IN_WEB)
    named = named.replace("frontend clients\n", "defaults\n  mode tcp\nfrontend clients from web\n")
    assert misfits(named) == []
    assert misfits(named.replace(" from web", "")) != []


IN_WEB = "backend sglang from web\n"


@NEEDED
async def test_haproxys_own_complaints_are_told() -> None:
    """A misspelt word of a configuration is found when HAProxy doesn't start."""
    (first, *_) = await syntax(ours().replace("balance roundrobin", "balance sideways"))
    assert "balance only supports" in first
