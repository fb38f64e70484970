"""The release record: what it names has to be there, and it has to say the same as its report."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from ci.verdict import Outcome
from tests.unit.releases import NOW, Release, problems, released, report, settings

pytestmark = pytest.mark.unit


@pytest.fixture
def release() -> Iterator[Release]:
    """Yield an image without evidence."""
    with released() as made:
        yield made


def test_a_piece_that_the_record_names_has_to_be_there(release: Release) -> None:
    """Evidence is taken away, or replaced by other evidence, and nobody notices."""
    there = release.attest("report", report())
    release.record(report(), report=there, sbom=f"sha256:{'0' * 64}")
    assert problems(release.verify("test")) == {
        "sbom of the record": "tampered with: the piece that the record names is gone or replaced"
    }


def test_a_piece_of_the_record_has_to_count_itself(release: Release) -> None:
    """A record vouches for evidence that nobody believes."""
    release.attest("report", report(NOW - timedelta(hours=1)))
    forged = release.attest("report", report(), by="eve")
    release.record(report(), report=forged)
    (problem,) = problems(release.verify("test")).values()
    assert problem.startswith("not as the record names it: signed with a key that isn't trusted")


def test_a_record_that_names_another_kind_is_found(release: Release) -> None:
    """A record names the report as its bill of materials."""
    there = release.attest("report", report())
    release.record(report(), report=there, sbom=there)
    assert "names a report there" in problems(release.verify("test"))["sbom of the record"]


def test_a_record_that_tells_something_else_than_its_report_is_found(release: Release) -> None:
    """A record says PASSED of what FAILED."""
    there = release.attest("report", report())
    release.record(report(bench=Outcome.FAILED), report=there)
    agreement = "record agrees with its report"
    assert problems(release.verify("test")) == {agreement: "they differ in bench"}
    release.settings = settings(test={"evidence": ["record"]})
    sbom = release.attest("sbom", {"metadata": {"timestamp": NOW.isoformat()}})
    release.record(report(), created=NOW + timedelta(seconds=1), sbom=sbom)
    assert problems(release.verify("test")) == {
        agreement: "it tells of checks, and there is no report of them"
    }


def test_a_record_of_nothing_is_none(release: Release) -> None:
    """A record that names no evidence passes as a whole one."""
    release.attest("report", report())
    release.record()
    assert problems(release.verify("test")) == {"record is whole": "it names no evidence"}


def test_a_record_of_another_digest_is_found(release: Release) -> None:
    """A statement about one digest holds the record of another one."""
    other = release.other("second")
    there = release.attest("report", report())
    told = other.record(report(), report=there)
    (predicate,) = (found.predicate for found in other.evidence().found if found.bundle == told)
    release.attest("record", predicate)
    assert problems(release.verify("test")) == {
        "record is whole": f"it is about another digest, {other.image.descriptor.digest}"
    }
    release.attest("record", {"created": (NOW + timedelta(seconds=1)).isoformat()})
    assert "it is no release record" in problems(release.verify("test"))["record is whole"]
