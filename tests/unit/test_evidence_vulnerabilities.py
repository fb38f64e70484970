"""Known vulnerabilities: the real pip-audit against a database on this host, and without one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from ci.image.listing import Distribution, Installed, Package
from ci.release import audit as audits
from ci.release.audit import KnownVulnerability
from ci.release.evidence.sbom import bill
from ci.release.evidence.vulnerabilities import KIND, findings, scan, unsure
from ci.release.statement import make, read
from tests.fakes.faulty import BEHAVIOURS, answering, closed_port, listening
from tests.fakes.osv import FakeOsv, advisory, fake_osv
from tests.rare import rare
from tests.unit.statements import IMAGE, NOW

pytestmark = pytest.mark.unit

HANG = 60
INSTALLED = (
    Distribution(name="Jinja2", version="3.1.2"),
    Distribution(name="jinja2", version="3.1.0"),
    Distribution(name="typing_extensions", version="4.15.0"),
    Distribution(name="torch", version="2.11.0+cu130"),
    Distribution(name="own-code", version="1.0", indexed=False),
    Distribution(name="odd", version="not a version"),
    Distribution(name="-r /etc/passwd", version="1.0"),
)
KNOWN = {
    ("jinja2", "3.1.2"): [advisory("GHSA-h5c8", "CVE-2024-22195", fixed="3.1.3")],
    ("torch", "2.11.0"): [advisory("PYSEC-2026-1")],
    ("own-code", "1.0"): [advisory("PYSEC-2026-2")],
}
JINJA, TORCH = "pkg:pypi/jinja2@3.1.2", "pkg:pypi/torch@2.11.0%2Bcu130"


def billed(*distributions: Distribution) -> dict[str, Any]:
    """Return the bill of an image that has these, and one Debian package."""
    packages = (Package(name="bash", version="5.2"),)
    there = Installed(
        schema_version="1.0", python="3.11.9", distributions=distributions, packages=packages
    )
    return bill(IMAGE, there, NOW)


ONE = billed(Distribution(name="jinja2", version="3.1.2"))


@pytest.fixture(scope="module")
def database() -> Iterator[FakeOsv]:
    """A database that knows some vulnerabilities."""
    with fake_osv(KNOWN) as running:
        yield running


@pytest.fixture(scope="module")
def scanned(database: FakeOsv) -> dict[str, Any]:
    """What is found in an image with all sorts of distributions."""
    return scan(billed(*INSTALLED), database.url)


def test_what_is_known_is_found(scanned: dict[str, Any]) -> None:
    """A known vulnerability isn't seen, or is put to another component."""
    assert findings(scanned) == (
        KnownVulnerability("PYSEC-2026-1", (), TORCH, ("9.9",)),
        KnownVulnerability("CVE-2024-22195", ("GHSA-h5c8",), JINJA, ("3.1.3",)),
    )
    assert unsure(scanned) == ""


def test_each_version_is_asked_for_as_an_index_has_it(
    database: FakeOsv, scanned: dict[str, Any]
) -> None:
    """A local version is looked up, which no database knows; or a second version isn't."""
    assert set(database.asked) == {
        ("django", "1.2"),
        ("jinja2", "3.1.2"),
        ("jinja2", "3.1.0"),
        ("torch", "2.11.0"),
        ("typing-extensions", "4.15.0"),
    }
    assert scanned["without_local_version"] == [TORCH]


def test_what_was_not_looked_up_is_named(scanned: dict[str, Any]) -> None:
    """A package that nobody looked up passes for one without vulnerabilities."""
    reasons = {each["package"]: each["reason"] for each in scanned["skipped"]}
    assert reasons == {
        "pkg:pypi/own-code@1.0": "installed from a URL or folder: no index knows it by this name",
        "pkg:pypi/odd@not%20a%20version": "its name or version is none that an index has",
        "pkg:pypi/-r%20/etc/passwd@1.0": "its name or version is none that an index has",
    }
    assert scanned["not_covered"] == {"deb": 1}


@pytest.mark.long
def test_it_says_who_looked_where_and_when(database: FakeOsv) -> None:
    """Nobody can tell how old or how good a report is."""
    times = iter((NOW, NOW + timedelta(seconds=9)))
    found = scan(ONE, database.url, clock=lambda: next(times))
    assert found["scanner"]["uri"] == f"pkg:pypi/pip-audit@{version('pip-audit')}"
    assert found["scanner"]["db"] == {
        "uri": database.url,
        "lastUpdate": "2026-11-20T09:30:09+00:00",
    }
    statement = read(make(IMAGE, KIND.predicate_type, found))
    assert (statement.kind, statement.created) == ("vulnerabilities", NOW + timedelta(seconds=9))
    assert findings(statement.predicate) == findings(found)


@pytest.mark.long
def test_nothing_found_is_not_the_same_as_nothing_looked_up(database: FakeOsv) -> None:
    """An image without vulnerabilities can't be told from one that nobody looked at."""
    found = scan(billed(INSTALLED[2]), database.url)
    assert (findings(found), unsure(found)) == ((), "")
    empty = scan(billed(INSTALLED[4]), database.url)
    assert unsure(empty) == "not looked up: nothing is installed that could be looked up"
    assert unsure({"scanner": {"result": []}}) == "not looked up: it does not say that it was"
    assert unsure(found | {"looked_up": "yes"})


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    rare(
        [
            ("closing", "the database gave no answer (ConnectionError)"),
            ("web page", "the database gave no answer (JSONDecodeError)"),
            ("unavailable", "the database gave no answer (ServiceError)"),
            ("malformed", "the database gave no answer (JSONDecodeError)"),
        ],
    ),
)
def test_a_database_that_fails_is_told(behaviour: str, reason: str) -> None:
    """A database's failure passes for an image without vulnerabilities."""
    with listening(BEHAVIOURS[behaviour]) as url:
        found = scan(ONE, f"{url}/v1/query")
    assert (found["looked_up"], found["reason"]) == (False, reason)
    assert "lastUpdate" not in found["scanner"]["db"]
    assert unsure(found) == f"not looked up: {reason}"


@pytest.mark.long
def test_a_database_that_knows_nothing_is_none() -> None:
    """Something that says yes to everything passes for a database."""
    with listening(answering(200, "{}")) as url:
        found = scan(ONE, url)
    reason = "the database knows nothing, not even of django 1.2"
    assert (found["looked_up"], found["reason"], findings(found)) == (False, reason, ())


def test_without_network_nothing_was_looked_up() -> None:
    """An offline machine's report says that there are no vulnerabilities."""
    found = scan(ONE, f"http://user:s3cret@127.0.0.1:{closed_port()}/v1/query")
    assert found["looked_up"] is False
    assert found["reason"] == "the database gave no answer (ConnectionError)"
    assert findings(found) == ()


def test_a_database_that_never_answers_is_not_waited_for() -> None:
    """A release hangs until somebody ends it."""
    with listening(BEHAVIOURS["silent"]) as url:
        begin = time.monotonic()
        found = scan(ONE, url, budget=3)
    assert found["reason"] == "pip-audit did not end within its budget"
    assert time.monotonic() - begin < HANG


def test_an_answer_that_names_no_package_is_no_answer() -> None:
    """pip-audit's own silence about a package passes for its having no vulnerabilities."""
    silent = subprocess.CompletedProcess([], 0, b'{"dependencies": [], "fixes": []}', b"")
    assert audits._answer(silent) == []
    pins = audits.Pin("jinja2", "3.1.2", JINJA), audits.Pin("torch", "2.11.0", TORCH)
    told = {"name": "torch", "skip_reason": "Dependency not found"}
    found, skipped = audits._sorted([told], {pin.name: pin for pin in pins})
    assert found == []
    assert skipped == {
        JINJA: "pip-audit did not say anything about it",
        TORCH: "Dependency not found",
    }


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", "pip-audit failed"),
        (f"{sys.executable}: No module named pip_audit\n", "pip-audit isn't installed"),
        ("a.b.ConnectTimeout: https://u:p@host/\n", "the database gave no answer (ConnectTimeout)"),
    ],
)
def test_why_there_is_no_answer_is_told_without_secrets(said: str, reason: str) -> None:
    """A proxy's password lands in public evidence, or nobody learns what to install."""
    assert audits._reason(said) == reason


@pytest.mark.long
def test_the_current_folder_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: FakeOsv
) -> None:
    """A file of the project that is released decides what is found in it."""
    (tmp_path / "pip_audit.py").write_text("print('{\"dependencies\": []}')")
    monkeypatch.chdir(tmp_path)
    assert len(findings(scan(ONE, database.url))) == 1


@pytest.mark.long
def test_times_are_utc(database: FakeOsv) -> None:
    """The age of a report is told by hours too much."""
    found = read(make(IMAGE, KIND.predicate_type, scan(ONE, database.url)))
    assert abs(found.created - datetime.now(UTC)) < timedelta(minutes=5)
