"""Which vulnerabilities are accepted, until when; and reports on them that others made."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from ci.accepted import Acceptance
from ci.release.audit import KnownVulnerability
from ci.release.evidence.vulnerabilities import findings, names
from ci.settings.release import AllowedVulnerability

pytestmark = pytest.mark.unit

TODAY = date(2026, 11, 20)
JINJA = KnownVulnerability("CVE-2024-22195", ("GHSA-h5c8",), "pkg:pypi/jinja2@3.1.2", ("3.1.3",))


@pytest.mark.parametrize("name", ["CVE-2024-22195", "GHSA-h5c8", "cve-2024-22195"])
def test_what_is_accepted_by_any_of_its_names_is_accepted(name: str) -> None:
    """Somebody who knows a vulnerability by its other name can't accept it."""
    rule = AllowedVulnerability(id=name, until=TODAY, reason="not reachable")
    assert Acceptance((rule,), names, TODAY).accepts(JINJA)
    assert not Acceptance((rule,), names, TODAY).accepts(KnownVulnerability("PYSEC-2026-1"))


@pytest.mark.parametrize(
    "predicate",
    [
        {},
        {"scanner": None},
        {"scanner": {"result": None}},
        {"scanner": {"result": [None]}},
        {"scanner": {"result": [{}]}},
        {"scanner": {"result": [{"id": 7}]}},
        {"scanner": {"result": [{"id": "x", "annotations": {"aliases": []}}]}},
        {"scanner": {"result": [{"id": "x", "annotations": [7]}]}},
        {"scanner": {"result": [{"id": "x", "annotations": [{"aliases": [7]}]}]}},
        {"scanner": {"result": [{"id": "x", "annotations": [{"aliases": 7}]}]}},
    ],
)
def test_a_malformed_predicate_is_told_and_no_crash(predicate: dict[str, Any]) -> None:
    """A broken report on vulnerabilities names none, or ends the command."""
    with pytest.raises(ValueError, match="the vulnerability report is malformed"):
        findings(predicate)


def test_another_scanners_findings_are_read() -> None:
    """Vulnerabilities that another tool attested count for nothing."""
    predicate = {"scanner": {"result": [{"id": "CVE-1", "severity": []}]}}
    assert findings(predicate) == (KnownVulnerability("CVE-1"),)
