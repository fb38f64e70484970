"""Policies: what is missing, stale, unsigned or tampered with is found and named."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from ci.errors import UsageError
from ci.release.policy import Policy
from ci.verdict import Outcome, Verdict
from tests.unit.releases import NOW, Release, image, problems, released, report, settings, skipped

pytestmark = pytest.mark.unit


@pytest.fixture
def release() -> Iterator[Release]:
    """Yield an image without evidence."""
    with released() as made:
        yield made


@pytest.fixture
def proven(release: Release) -> Release:
    """Return an image with a report and a record."""
    release.prove()
    return release


@pytest.fixture
def approved(proven: Release) -> Release:
    """Return an image that may go to production."""
    proven.approve("ada")
    proven.approve("bob")
    return proven


def test_what_is_proven_and_approved_may_go(approved: Release) -> None:
    """Nothing can ever be promoted."""
    check = approved.verify()
    assert (check.verdict, check.name, problems(check)) == (Verdict.PASSED, "policy prod", {})
    assert [case.name for case in check.cases] == [
        *("report", "report passed"),
        *("check readiness passed", "check versions passed", "check smoke passed"),
        *("record", "record is whole", "report of the record", "record agrees with its report"),
        *("approvals", "was in test"),
    ]
    assert check.facts["digest"] == approved.image.descriptor.digest
    assert "signed by ci" in check.facts["report"]
    assert check.facts["approved by"] == "ada, bob" or check.facts["approved by"] == "bob, ada"


def test_nothing_attached_names_everything(release: Release) -> None:
    """An image that nobody ever looked at goes to production."""
    check = release.verify(been_before=False)
    assert set(problems(check)) == {"report", "record", "approvals", "was in test"}
    assert all("missing" in problems(check)[kind] for kind in ("report", "record"))
    assert "0 of 2 given; still to be asked: ada, bob, carol" in problems(check)["approvals"]
    assert "no signed promotion" in problems(check)["was in test"]


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome.FAILED, "FAILED: smoke: x"),
        (Outcome.INCONCLUSIVE, "INCONCLUSIVE: smoke: x"),
        (Outcome.ERROR, "ERROR: smoke: x"),
        (Outcome.SKIPPED, "ERROR: smoke: no case ran"),
    ],
)
def test_only_a_report_that_passed_will_do(release: Release, outcome: Outcome, words: str) -> None:
    """An image whose checks failed, or saw nothing, goes to production."""
    release.prove(smoke=outcome)
    found = problems(release.verify("test"))
    assert set(found) == {"report passed", "check smoke passed"}
    assert words in found["report passed"]


def test_a_verdict_that_somebody_wrote_into_the_report_is_not_believed(release: Release) -> None:
    """A file that says PASSED is enough."""
    forged = report(smoke=Outcome.FAILED)
    forged["verdict"] = forged["checks"][2]["verdict"] = "PASSED"
    release.attest("report", forged)
    assert "report passed" in problems(release.verify("test"))


def test_a_required_check_that_was_not_run_is_named(release: Release) -> None:
    """A report of the readiness alone is enough."""
    told = report()
    told["checks"] = [check for check in told["checks"] if check["name"] != "smoke"]
    release.record(told, report=release.attest("report", told))
    assert problems(release.verify("test")) == {"check smoke passed": "it wasn't run"}
    release.settings = settings(test={"checks": ["readiness"]})
    assert not problems(release.verify("test"))


def test_what_is_no_report_is_named(release: Release) -> None:
    """Any JSON passes as a report, or ends in a traceback."""
    release.attest("report", {"finished": NOW.isoformat(), "checks": 5})
    assert "it is no report" in problems(release.verify("test"))["report passed"]


def test_the_newest_report_counts_and_not_the_best(release: Release) -> None:
    """A failure is outvoted by an older success."""
    release.prove(created=NOW - timedelta(days=1))
    assert not problems(release.verify("test"))
    release.attest("report", report(smoke=Outcome.FAILED))
    assert "report passed" in problems(release.verify("test"))


@pytest.mark.parametrize(
    ("by", "words"),
    [
        ("", "nobody signed it"),
        ("eve", "signed with a key that isn't trusted"),
        ("ada", "signed by 'ada'; allowed: ci"),
    ],
)
def test_others_signatures_neither_count_nor_disturb(release: Release, by: str, words: str) -> None:
    """Whoever can push evidence decides, or can keep everything from production."""
    release.prove(by)
    check = release.verify("test")
    assert set(problems(check)) == {"report", "record"}
    assert words in problems(check)["report"]
    release.prove(created=NOW - timedelta(hours=1))
    check = release.verify("test")
    assert check.verdict is Verdict.PASSED
    assert len([message for message in skipped(check) if words in message]) == 2


def test_evidence_about_another_digest_is_named(release: Release) -> None:
    """Evidence of a good image is moved to a bad one."""
    release.attest("report", report(), about=image("good"))
    check = release.verify("test")
    assert "it is about another digest, sha256:" in problems(check)["report"]


def test_unsigned_evidence_counts_only_where_the_environment_says_so(release: Release) -> None:
    """A laptop can't promote to its own environment, or everybody to everyone's."""
    release.settings = settings(test={"signers": [], "signed": False})
    release.prove("")
    assert not problems(release.verify("test"))
    release.settings = settings(test={"signers": []})
    assert "nobody signed it" in problems(release.verify("test"))["report"]


def test_without_named_signers_all_trusted_names_count(release: Release) -> None:
    """An environment without a list of signers refuses everybody, or takes anybody."""
    release.settings = settings(test={"signers": []})
    release.prove("eve")
    assert "isn't trusted" in problems(release.verify("test"))["report"]
    release.prove("ada")
    assert not problems(release.verify("test"))


def test_age_is_measured_from_what_was_signed(approved: Release) -> None:
    """Old evidence is good for ever, or fresh evidence is refused."""
    assert not problems(approved.verify(now=NOW + timedelta(days=7)))
    found = problems(approved.verify(now=NOW + timedelta(days=7.1)))
    assert found["report"] == "stale: 7.1 days old, and 7 are allowed"
    assert {"report", "record", "approvals"} == set(found)
    assert not problems(approved.verify("test", now=NOW + timedelta(days=9999)))


def test_the_future_is_refused(release: Release) -> None:
    """Evidence with a date of its own choice never gets old."""
    release.prove(created=NOW + timedelta(minutes=6))
    assert "it is from the future: 2026-11-22 12:06:00 UTC" in str(problems(release.verify("test")))
    assert not problems(release.verify("test", now=NOW + timedelta(minutes=2)))


@pytest.mark.parametrize("kind", ["sbom", "provenance", "vulnerabilities"])
def test_each_kind_that_is_demanded_has_to_be_there(proven: Release, kind: str) -> None:
    """An environment's list of evidence is not read."""
    proven.settings = settings(test={"evidence": ["report", kind]})
    assert set(problems(proven.verify("test"))) == {kind}


def test_an_empty_bill_of_materials_is_none(release: Release) -> None:
    """A bill that names nothing passes."""
    release.settings = settings(test={"evidence": ["sbom"]})
    metadata = {"timestamp": NOW.isoformat()}
    release.attest("sbom", {"metadata": metadata, "components": []})
    assert set(problems(release.verify("test"))) == {"sbom names components"}
    later = {"timestamp": (NOW + timedelta(seconds=1)).isoformat()}
    release.attest("sbom", {"metadata": later, "components": [{"name": "sglang"}]})
    assert not problems(release.verify("test"))


def test_an_unknown_environment_is_named() -> None:
    """A typing error in an environment's name passes, as nothing is demanded there."""
    with pytest.raises(UsageError, match="no environment 'prd' in the settings; there: test, prod"):
        Policy.of(settings(), "prd")
