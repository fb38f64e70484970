"""The release record: what is known of a release, and the schema that readers rely on."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from pydantic import ValidationError

from ci.release.evidence.record import KIND, CheckResult, Record, record, schema
from ci.release.statement import make, read
from ci.release.where import Where
from ci.report.model import Report
from ci.verdict import Outcome, Verdict
from tests.unit.report_samples import any_report, readiness, report, smoke, versions
from tests.unit.statements import DIGEST, IMAGE, NOW

pytestmark = pytest.mark.unit

PUBLISHED = Path(__file__).parents[2] / "docs" / "release-record.schema.json"
WHERE = Where("alice", "https://ci.example/run/1", "gitlab", "c0ffee")
OTHER = f"sha256:{'b2' * 32}"


def made(found: Report | None, **more: Any) -> Record:
    """Return the record of a release with this report."""
    given: dict[str, Any] = {
        "inputs": {"python:3.11-slim": OTHER},
        "versions": {"sglang": "0.5.23"},
        "evidence": {"report": OTHER, "sbom": DIGEST},
    }
    return record(IMAGE, found, WHERE, NOW, **(given | more))


def test_the_published_schema_is_the_models() -> None:
    """Readers are told of other fields than records have: run `ci.release.evidence.record`."""
    assert PUBLISHED.read_text(encoding="utf-8") == schema()


def test_a_comparison_with_no_image_is_no_baseline() -> None:
    """A server that somebody ran is recorded as a release that can be found again."""
    facts = {"baseline": "http://127.0.0.1:30000"}
    compared = smoke().model_copy(update={"name": "compare", "facts": facts})
    assert made(report(compared)).baseline is None


def test_a_record_says_all_that_is_known() -> None:
    """What a release was made of, or who made it, can't be found out later."""
    compared = smoke().model_copy(
        update={"name": "compare", "facts": {"baseline": f"registry.example/x@{OTHER}"}}
    )
    predicate = made(report(readiness(), compared)).predicate()
    assert predicate | {"checks": []} == {
        "schema_version": "1.0",
        "created": "2026-11-20T09:30:00Z",
        "reference": str(IMAGE),
        "digest": DIGEST,
        "inputs": {"python:3.11-slim": OTHER},
        "versions": {"sglang": "0.5.23"},
        "checks": [],
        "interrupted": "",
        "baseline": {
            "reference": f"registry.example/x@{OTHER}",
            "digest": OTHER,
            "verdict": str(compared.verdict),
        },
        "where": {
            "actor": "alice",
            "where_url": "https://ci.example/run/1",
            "system": "gitlab",
            "commit": "c0ffee",
        },
        "evidence": {"report": OTHER, "sbom": DIGEST},
        "verdict": "PASSED",
    }
    assert [(one["name"], one["verdict"]) for one in predicate["checks"]] == [
        ("readiness", "PASSED"),
        ("compare", "PASSED"),
    ]
    assert predicate["checks"][1]["cases"] == {"PASSED": 14, "SKIPPED": 1}


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (report(readiness(), smoke()), Verdict.PASSED),
        (report(readiness(), versions(label="0.5.22"), smoke()), Verdict.FAILED),
        (report(readiness(), interrupted="SIGINT"), Verdict.ERROR),
        (report(smoke(failing=True), interrupted="SIGINT"), Verdict.FAILED),
        (report(), Verdict.ERROR),
        (None, Verdict.ERROR),
    ],
    ids=["passed", "failed", "interrupted", "failed, interrupted", "no check", "untested"],
)
def test_a_record_is_no_better_than_its_report(found: Report | None, verdict: Verdict) -> None:
    """A release that failed, or that nobody tested, is recorded as one that passed."""
    assert made(found).verdict is verdict
    if found:
        assert found.verdict is verdict


def test_a_verdict_that_somebody_wrote_is_not_believed() -> None:
    """A record says PASSED above checks that failed."""
    predicate = made(report(smoke(failing=True))).predicate() | {"verdict": "PASSED"}
    assert Record.model_validate(predicate).verdict is Verdict.FAILED


def test_a_check_says_why_it_did_not_pass() -> None:
    """Whoever reads a record has to look for the report to learn what went wrong."""
    result = CheckResult.of(versions(label="0.5.22"))
    assert (result.verdict, result.cases[Outcome.FAILED]) == (Verdict.FAILED, 1)
    assert result.cause == "sglang: expected 0.5.22, the server says 0.5.23"


@given(any_report())
@settings(max_examples=50, deadline=None)
def test_any_report_makes_a_record_that_is_read_back(found: Report) -> None:
    """A server's strange words keep a release from being recorded."""
    one = made(found)
    statement = read(make(IMAGE, KIND.predicate_type, one.predicate()))
    assert (statement.kind, statement.created) == ("record", NOW)
    assert Record.model_validate(statement.predicate).predicate() == statement.predicate
    assert [check.verdict for check in one.checks] == [check.verdict for check in found.checks]


def test_a_record_fits_its_schema() -> None:
    """A reader that holds records against the schema refuses ours."""
    validator = Draft202012Validator(json.loads(schema()))
    for found in (report(readiness(), smoke(failing=True)), None):
        validator.validate(made(found).predicate())
    assert not validator.is_valid(made(None).predicate() | {"digest": "latest"})


def test_a_newer_record_of_the_same_version_is_read() -> None:
    """A field that a later version adds keeps this one from reading."""
    later = {"schema_version": "1.7", "colour": "blue"}
    assert Record.model_validate(made(None).predicate() | later).digest == DIGEST


@pytest.mark.parametrize(
    "parts",
    [
        {"digest": "latest"},
        {"evidence": {"report": "x"}},
        {"created": "2026-11-20T09:30:00"},
        {"created": (NOW + timedelta(days=1)).date().isoformat()},
        {"where": None},
    ],
    ids=str,
)
def test_a_record_that_is_none_is_refused(parts: dict[str, Any]) -> None:
    """A record names evidence, or an image, that can't be found."""
    with pytest.raises(ValidationError):
        Record.model_validate(made(None).predicate() | parts)


def test_an_image_without_a_digest_has_no_record() -> None:
    """A release is recorded by a tag, which means another image tomorrow."""
    with pytest.raises(ValidationError, match="digest"):
        record(IMAGE.tagged("v1"), None, WHERE, NOW, inputs={}, versions={}, evidence={})
