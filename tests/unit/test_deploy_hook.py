"""A router that is moved by the user's own programs: what they get wrong is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from ci.deploy.grounds import Grounds
from ci.deploy.routers.hook import PROGRAMS, HookRouter
from ci.deploy.world import RouteSeen, Traffic
from ci.errors import RouterFault, UsageError
from ci.settings import Settings
from tests.unit.launching import program

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

LOOK = """echo '{"blue": {"address": "127.0.0.1:1", "share": 100, "open": 2,'
echo ' "up": true, "requests": 9},'
echo ' "green": {"up": true, "failed": 1, "cut": 1, "requests": 3, "note": "more"}}'
"""
Hook = Callable[..., HookRouter]


@pytest.fixture
def hook(tmp_path: Path) -> Hook:
    """Return a function that writes the programs, and returns the router."""

    def made(**scripts: str) -> HookRouter:
        for name in PROGRAMS:
            program(tmp_path / name, scripts.get(name, LOOK if name == "look" else ""))
        return HookRouter("http://router", tmp_path, patience=0.1, seconds=5)

    return made


async def test_what_look_tells_is_what_is_seen(hook: Hook) -> None:
    """A counter is taken for another, or one more field for a fault."""
    assert await hook().seen() == {
        "blue": RouteSeen("127.0.0.1:1", 100, 2, up=True, traffic=Traffic(9)),
        "green": RouteSeen(up=True, traffic=Traffic(3, 1, 1)),
    }


@pytest.mark.parametrize(
    ("look", "told"),
    [
        ("echo nonsense", "look: its output: Invalid JSON"),
        ("echo '{\"blue\": {}}'", "look tells nothing of green"),
        ('echo \'{"blue": {"share": 900}, "green": {}}\'', "blue.share: Input should be less"),
        ("echo first >&2; echo 'no route' >&2; exit 3", "look: no route"),
        ("exit 3", "look: exit code 3"),
    ],
)
async def test_a_look_that_is_none_is_said(hook: Hook, look: str, told: str) -> None:
    """Nobody knows which of the programs is wrong, and how."""
    with pytest.raises(RouterFault, match=told):
        await hook(look=f"{look}\n").seen()


async def test_what_is_done_is_believed_only_when_it_is_seen(hook: Hook) -> None:
    """A program that does nothing and ends with 0 moves a deployment on."""
    router = hook()
    with pytest.raises(RouterFault, match="`look` sees green at no address"):
        await router.point("green", "127.0.0.1:2")
    with pytest.raises(RouterFault, match="`look` sees other shares: blue 100, green 0"):
        await router.shift({"green": 100})


async def test_what_hangs_ends(hook: Hook) -> None:
    """A deployment waits for ever for a program."""
    router = hook(look="exec sleep 60\n")
    router._seconds = 0.1
    with pytest.raises(RouterFault, match=r"look: no end after 0\.1 s"):
        await router.seen()


async def test_secrets_of_the_release_stay_with_the_deployment(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's program is handed the key that signs."""
    monkeypatch.setenv("SIGNING_KEY", "a secret")
    router = hook(look=f"env > {tmp_path}/env\nexit 1\n")
    with pytest.raises(RouterFault):
        await router.seen()
    assert "SIGNING_KEY" not in (tmp_path / "env").read_text()


def environment(**how: object) -> Settings:
    """Return settings of an environment that is deployed to so."""
    return Settings.model_validate({"environments": {"test": {"deploy": how}}})


def test_a_missing_program_is_found_before_anything_starts(hook: Hook, tmp_path: Path) -> None:
    """A deployment ends in its middle, as nobody can move traffic."""
    hook()
    grounds = Grounds.of(environment(router="hook", hook=tmp_path, url="http://lb:80"), "test")
    assert grounds.router.url == "http://lb:80"
    (tmp_path / "shift").chmod(0o600)
    with pytest.raises(UsageError, match="shift has to be a program"):
        Grounds.of(environment(router="hook", hook=tmp_path), "test")


async def test_a_router_of_ones_own_that_fails_is_not_one_without_traffic(
    hook: Hook, tmp_path: Path
) -> None:
    """A status says that nobody has a share, as nothing could be seen."""
    hook(look="echo 'no route' >&2; exit 1\n")
    where = environment(router="hook", hook=tmp_path, folder=tmp_path / "kept")
    with pytest.raises(RouterFault, match="no route"):
        await Grounds.of(where, "test").looked()


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"router": "none"}, 'needs strategy = "replace"'),
        ({"router": "none", "strategy": "canary"}, 'needs strategy = "replace"'),
        ({"router": "none", "strategy": "replace", "watch": 60}, "counts no requests"),
        ({"router": "hook"}, "needs hook, the folder of its programs"),
    ],
)
def test_what_does_not_fit_is_refused(how: dict[str, object], told: str) -> None:
    """A canary is planned where nothing can part traffic."""
    with pytest.raises(ValidationError, match=told):
        environment(**how)
