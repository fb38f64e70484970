"""Vulnerabilities: looked up or not, accepted or not, and until when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from ci.release.verify import verify
from ci.settings import Settings
from ci.verdict import Verdict
from tests.unit.releases import NOW, Release, problems, released, settings, skipped

pytestmark = pytest.mark.unit

PURL = "pkg:pypi/torch@2.14.1"


@pytest.fixture
def release() -> Iterator[Release]:
    """Yield an image in an environment that demands a look at vulnerabilities alone."""
    with released(settings(test={"evidence": ["vulnerabilities"]})) as made:
        yield made


def known(identifier: str, *aliases: str, fixed_in: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a finding."""
    told = {"package": PURL, "aliases": list(aliases), "fixed_in": list(fixed_in)}
    return {"id": identifier, "severity": [], "annotations": [told]}


def looked(*found: Any, **more: Any) -> dict[str, Any]:
    """Return a report on vulnerabilities."""
    return {
        "scanner": {"result": list(found)},
        "metadata": {"scanFinishedOn": NOW.isoformat()},
        "looked_up": True,
        "reason": "",
        "skipped": [],
    } | more


def accepting(release: Release, identifier: str, until: str) -> Settings:
    """Return the settings with one vulnerability accepted until a day."""
    rule = {"id": identifier, "until": until, "reason": "not reached"}
    vulnerabilities = {"allow": [rule]}
    whole = release.settings.model_dump() | {"vulnerabilities": vulnerabilities}
    return Settings.model_validate(whole)


def test_none_found_passes(release: Release) -> None:
    """An image without known vulnerabilities is refused."""
    release.attest("vulnerabilities", looked())
    assert release.verify("test").verdict is Verdict.PASSED


def test_not_looked_up_is_not_none(release: Release) -> None:
    """A build without a network has no vulnerabilities."""
    release.attest("vulnerabilities", looked(looked_up=False, reason="the database is away"))
    check = release.verify("test")
    assert check.verdict is Verdict.INCONCLUSIVE
    assert problems(check) == {
        "vulnerabilities looked up": "not looked up: the database is away",
    }


def test_each_that_nobody_accepts_is_named(release: Release) -> None:
    """A known vulnerability goes to production, or nobody is told which."""
    release.attest("vulnerabilities", looked(known("CVE-1", fixed_in=("2.15",)), known("CVE-2")))
    check = release.verify("test")
    assert check.verdict is Verdict.FAILED
    assert problems(check) == {
        f"CVE-1 in {PURL}": "nobody accepts it; fixed in 2.15",
        f"CVE-2 in {PURL}": "nobody accepts it; fixed in no version yet",
    }


@pytest.mark.parametrize("identifier", ["CVE-1", "cve-1", "GHSA-1"])
def test_one_may_be_accepted_until_a_day(release: Release, identifier: str) -> None:
    """What was accepted once is accepted for ever, or not on the last day."""
    release.attest("vulnerabilities", looked(known("CVE-1", "GHSA-1")))
    release.settings = accepting(release, identifier, "2026-11-22")
    check = release.verify("test")
    assert check.verdict is Verdict.PASSED
    assert "accepted until 2026-11-22 (not reached)" in {case.message for case in check.cases}
    later = release.verify("test", now=NOW + timedelta(days=1))
    expected = "accepted only until 2026-11-22 (not reached); fixed in no version yet"
    assert problems(later) == {f"CVE-1 in {PURL}": expected}


def test_going_back_asks_for_no_new_acceptance(release: Release) -> None:
    """A roll-back in the night waits for somebody who renews a date."""
    release.attest("vulnerabilities", looked(known("CVE-1")))
    release.settings = accepting(release, "CVE-1", "2020-01-01")
    policy = release.policy("test").for_rollback()
    assert verify(release.evidence(), policy, NOW).verdict is Verdict.PASSED
    release.settings = accepting(release, "CVE-2", "2020-01-01")
    policy = release.policy("test").for_rollback()
    assert verify(release.evidence(), policy, NOW).verdict is Verdict.FAILED


def test_packages_that_nobody_can_look_up_are_named(release: Release) -> None:
    """A package from a folder counts as one without vulnerabilities, and nobody is told."""
    unread = [{"package": "pkg:pypi/own@1", "reason": "from a folder"}]
    release.attest("vulnerabilities", looked(skipped=unread))
    check = release.verify("test")
    assert check.verdict is Verdict.PASSED
    assert skipped(check) == ["1 packages: pkg:pypi/own@1"]


@pytest.mark.parametrize("result", [None, 5, [5], [{}], [{"id": 5}]])
def test_what_is_malformed_is_named(release: Release, result: object) -> None:
    """Half a report ends in a traceback, or passes as an empty one."""
    release.attest("vulnerabilities", looked(scanner={"result": result}))
    assert problems(release.verify("test")) == {
        "vulnerabilities looked up": "the vulnerability report is malformed"
    }
