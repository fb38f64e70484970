"""Which vulnerabilities are accepted, until when; and reports on them that others made."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from ci.release.evidence.audit import Known
from ci.release.evidence.vulnerabilities import findings, weigh
from ci.settings.release import AllowedVulnerability

pytestmark = pytest.mark.unit

JINJA, TORCH = "pkg:pypi/jinja2@3.1.2", "pkg:pypi/torch@2.11.0%2Bcu130"
TODAY = date(2026, 11, 20)
FOUND = (
    Known("CVE-2024-22195", ("GHSA-h5c8",), JINJA, ("3.1.3",)),
    Known("PYSEC-2026-1", (), TORCH),
)


def allowed(identifier: str, until: date = TODAY) -> AllowedVulnerability:
    """Return an entry of the settings' list."""
    return AllowedVulnerability(id=identifier, until=until, reason="not reachable")


@pytest.mark.parametrize("name", ["CVE-2024-22195", "GHSA-h5c8", "cve-2024-22195"])
def test_what_is_accepted_by_any_of_its_names_is_accepted(name: str) -> None:
    """Somebody who knows a vulnerability by its other name can't accept it."""
    weighed = weigh(FOUND, [allowed(name)], TODAY)
    assert weighed.refused == FOUND[1:]
    assert weighed.accepted == ((FOUND[0], allowed(name)),)
    assert (weighed.expired, weighed.unused) == ((), ())


def test_an_acceptance_ends_after_its_last_day() -> None:
    """What was accepted for a while is accepted for ever, or ends a day too soon."""
    rules = [allowed("CVE-2024-22195"), allowed("PYSEC-2026-1", TODAY + timedelta(days=1))]
    assert weigh(FOUND, rules, TODAY).refused == ()
    tomorrow = weigh(FOUND, rules, TODAY + timedelta(days=1))
    assert (tomorrow.refused, tomorrow.expired) == (FOUND[:1], (rules[0],))
    later = weigh(FOUND, rules, TODAY + timedelta(days=2))
    assert (later.refused, later.expired, later.accepted) == (FOUND, tuple(rules), ())


def test_an_acceptance_that_accepts_nothing_is_told() -> None:
    """A list of exceptions only ever grows."""
    rules = [allowed("CVE-1"), allowed("CVE-2", TODAY - timedelta(days=1))]
    weighed = weigh(FOUND, rules, TODAY)
    assert (weighed.unused, weighed.expired, weighed.refused) == (tuple(rules), (), FOUND)


def test_a_newer_acceptance_replaces_one_that_ended() -> None:
    """A vulnerability whose acceptance was renewed is refused."""
    old, new = allowed("GHSA-h5c8", TODAY - timedelta(days=9)), allowed("CVE-2024-22195")
    weighed = weigh(FOUND[:1], [old, new], TODAY)
    assert (weighed.refused, weighed.accepted) == ((), ((FOUND[0], new),))


def test_the_same_vulnerability_in_two_packages_is_two() -> None:
    """One of two vulnerable packages is forgotten."""
    twice = (FOUND[0], Known(FOUND[0].id, (), TORCH))
    assert weigh(twice, [], TODAY).refused == twice
    assert len(weigh(twice, [allowed(FOUND[0].id)], TODAY).accepted) == 2


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
    assert findings(predicate) == (Known("CVE-1"),)
