"""For how long a digest was deployed in an environment, by what was signed about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import ValidationError

from ci.settings import EnvironmentSettings
from ci.verdict import Outcome
from tests.unit.releases import NOW, Release, problems, released, settings

pytestmark = pytest.mark.unit

NAME = "was deployed in test for 24 h"
DEMANDS = {"approvals": 0, "after": "test", "after_hours": 24}


def hours(count: float) -> timedelta:
    """Return so many hours."""
    return timedelta(hours=count)


@pytest.fixture
def release() -> Iterator[Release]:
    """Yield an image that is in test, for an environment that demands a day of it there."""
    with released() as made:
        made.prove()
        made.promote("test", now=NOW)
        yield replace(made, settings=settings(prod=DEMANDS))


def missing(release: Release, after: float, *, rollback: bool = False) -> str:
    """Return what is still demanded, so many hours after the promotion."""
    found = problems(release.judge(NOW + hours(after)).check("prod", rollback=rollback))
    assert not set(found) - {NAME}
    return found.get(NAME, "")


def test_a_stay_counts_from_rest_until_now(release: Release) -> None:
    """A release goes to production that was never deployed, or only for an hour."""
    assert "no signed deployment says that it was at rest in test" in missing(release, 30)
    since = (NOW + hours(1)).isoformat()
    release.deployed("at rest", NOW + hours(2), **{"at rest since": since})
    assert missing(release, 24) == "23.0 h without an abort, by signed deployments"
    assert missing(release, 25) == ""
    check = release.judge(NOW + hours(25)).check("prod")
    assert next(case for case in check.cases if case.name == NAME).outcome is Outcome.PASSED


@pytest.mark.parametrize("outcome", ["taken back", "aborted"])
def test_what_came_back_undoes_all_before(release: Release, outcome: str) -> None:
    """A release that was aborted yesterday goes to production by the day before."""
    release.deployed("at rest", NOW)
    release.deployed(outcome, NOW + hours(30))
    assert "no signed deployment" in missing(release, 40)
    release.deployed("at rest", NOW + hours(41))
    assert missing(release, 50).startswith("9.0 h")
    assert missing(release, 65) == ""


@pytest.mark.parametrize("outcome", ["paused", "not at rest", "something newer"])
def test_what_is_not_at_rest_ends_a_stay(release: Release, outcome: str) -> None:
    """Hours count in which nobody knows what ran; or those before are lost."""
    release.deployed("at rest", NOW)
    release.deployed(outcome, NOW + hours(12))
    assert missing(release, 50).startswith("12.0 h")


def test_a_repeated_deployment_goes_on_with_the_stay(release: Release) -> None:
    """Each repetition of a pipeline begins the day anew."""
    release.deployed("at rest", NOW)
    release.deployed("at rest", NOW + hours(23))
    assert missing(release, 24) == ""


def test_another_promotion_ends_the_stay(release: Release) -> None:
    """A release is taken for deployed that gave way to another one long ago."""
    release.deployed("at rest", NOW)
    other = release.other("second")
    other.promote("test", now=NOW + hours(10))
    assert missing(release, 50).startswith("10.0 h")
    release.promote("test", now=NOW + hours(60))
    release.deployed("at rest", NOW + hours(60))
    assert missing(release, 84) == ""


def test_a_roll_back_away_from_it_undoes_its_stay(release: Release) -> None:
    """What test was rolled back from goes to production."""
    other = release.other("second")
    other.prove()
    other.promote("test", now=NOW + hours(1))
    other.deployed("at rest", NOW + hours(1))
    assert missing(other, 30) == ""
    release.promote("test", now=NOW + hours(31), rollback=True)
    assert "no signed deployment" in missing(other, 32)
    assert missing(other, 32, rollback=True) == ""


@pytest.mark.parametrize(
    "said", [{"by": "ada"}, {"by": ""}, {"environment": "prod"}, {"at rest since": "soon"}]
)
def test_only_the_word_of_who_counts_is_taken(release: Release, said: dict[str, str]) -> None:
    """Somebody who may push says that it was deployed; or a time that is none ends in a crash."""
    release.deployed("at rest", NOW, **said)
    assert bool(missing(release, 30)) is ("at rest since" not in said)
    release.deployed("at rest", NOW + hours(31) + hours(5))
    if "at rest since" not in said:
        assert "no signed deployment" in missing(release, 31)


def test_hours_without_an_environment_are_refused() -> None:
    """A demand is written down that never holds, or always."""
    with pytest.raises(ValidationError, match="after_hours needs the environment"):
        EnvironmentSettings(after_hours=1)
