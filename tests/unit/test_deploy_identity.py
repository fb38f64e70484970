"""Who answers through the router: an old process, another slot or another version is found."""

from __future__ import annotations

import pytest

from ci.deploy.identity import through
from ci.deploy.world import Life, Release, SlotSeen
from ci.verdict import Outcome
from tests.fakes.relay import relaying
from tests.fakes.sglang import FakeSglang, Settings

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

RELEASE = Release(f"sha256:{'a' * 64}", "", "0.5.23")
OTHER = Release(f"sha256:{'b' * 64}", "", "0.5.23")
BLUE, GREEN = "x-sglang-slot: blue", "x-sglang-slot: green"


@pytest.mark.parametrize(
    ("behind", "header", "there", "outcome", "told"),
    [
        ("its own", BLUE, RELEASE, Outcome.PASSED, "blue, sha256:aaaaaaaaaaaa"),
        ("its own", GREEN, RELEASE, Outcome.FAILED, "answers from green"),
        ("its own", "x-other: 1", RELEASE, Outcome.FAILED, "a slot that it does not name"),
        ("another start", BLUE, RELEASE, Outcome.FAILED, "was started anew"),
        ("another version", BLUE, RELEASE, Outcome.FAILED, "another server answers"),
        ("its own", BLUE, OTHER, Outcome.FAILED, "blue runs sha256:bbbb"),
        ("nobody", BLUE, RELEASE, Outcome.FAILED, "connection refused"),
    ],
)
async def test_who_answers(
    behind: str, header: str, there: Release, outcome: Outcome, told: str
) -> None:
    """Something else than what was released answers, and the deployment PASSED."""
    version = "0.5.22" if behind == "another version" else "0.5.23"
    with FakeSglang() as own, FakeSglang(Settings(version=version)) as other:
        url = own.url if behind == "its own" else other.url
        slot = SlotSeen("blue", Life.UP, there, own.url.removeprefix("http://"), proven=True)
        if behind == "nobody":
            case = await through("http://127.0.0.1:9", slot, RELEASE)
        else:
            with relaying([url], headers=[header]) as routed:
                case = await through(routed, slot, RELEASE)
    assert (case.outcome, told in case.message) == (outcome, True), case.message


async def test_another_version_than_the_release_claims() -> None:
    """A release that lies about its version is taken for what it says."""
    with FakeSglang(Settings(version="0.5.22")) as own:
        slot = SlotSeen("blue", Life.UP, RELEASE, own.url.removeprefix("http://"), proven=True)
        with relaying([own.url], headers=[BLUE]) as routed:
            case = await through(routed, slot, RELEASE)
    assert case.outcome is Outcome.FAILED
    assert "says that it is 0.5.22, not 0.5.23" in case.message
