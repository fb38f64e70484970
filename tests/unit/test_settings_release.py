"""Settings of a release: registry, trust, vulnerabilities and environments."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from ci.settings import load
from tests.unit.settings_layers import file_of, refused

pytestmark = pytest.mark.unit

INLINE = "-----BEGIN PUBLIC KEY-----\\nAAAA\\n-----END PUBLIC KEY-----"
PRIVATE = "-----BEGIN EC PRIVATE KEY-----\\nPLANTED\\n-----END EC PRIVATE KEY-----"
WHOLE = f"""
[registry]
ca_file = "ca.pem"
[trust.keys]
ci = "keys/ci.pub"
"ada@x.example" = "{INLINE}"
[trust.identities.workflow]
subject = "https://ci.example/team/project"
issuer = "https://token.example"
[vulnerabilities]
allow = [{{id = "CVE-2026-1", until = 2026-12-31, reason = "not reached"}}]
[environments.test]
[environments.prod]
evidence = ["report", "sbom"]
signers = ["ci", "workflow"]
approvals = 2
approvers = ["ada@x.example", "bob"]
max_age_days = 0.5
after = "test"
"""


def test_a_whole_configuration_is_read(tmp_path: Path) -> None:
    """A section is accepted and says nothing."""
    file_of(tmp_path, WHOLE)
    found = load(cwd=tmp_path).settings
    assert found.trust.names() == ("ci", "ada@x.example", "workflow")
    assert found.vulnerabilities.allow[0].until == date(2026, 12, 31)
    prod = found.environments["prod"]
    assert (prod.approvals, prod.max_age_days, prod.after) == (2, 0.5, "test")
    assert found.environments["test"].evidence == ("report", "record")


def test_key_files_start_at_their_own_layers_folder(tmp_path: Path) -> None:
    """A configuration's keys are found only from the folder in which it lies."""
    path = file_of(tmp_path / "project", WHOLE)
    keys = {"trust.keys.eve": "eve.pub", "trust.keys.abs": "/abs.pub"}
    found = load(path, flags=keys, cwd=tmp_path / "else").settings
    assert found.registry.ca_file == tmp_path / "project" / "ca.pem"
    assert found.trust.keys == {
        "ci": str(tmp_path / "project" / "keys" / "ci.pub"),
        "ada@x.example": INLINE.replace("\\n", "\n"),
        "eve": str(tmp_path / "else" / "eve.pub"),
        "abs": "/abs.pub",
    }


def test_variables_and_flags_reach_into_one_environment(tmp_path: Path) -> None:
    """One more approval in a CI variable wipes out the rest of the environment, or is lost."""
    file_of(tmp_path, WHOLE)
    environ = {
        "SGLANG_CI_ENVIRONMENTS__PROD__APPROVALS": "1",
        "SGLANG_CI_TRUST__KEYS__Bob": "bob.pub",
    }
    effective = load(environ=environ, flags={"environments.prod.after": ""}, cwd=tmp_path)
    prod = effective.settings.environments["prod"]
    assert (prod.approvals, prod.after, prod.max_age_days) == (1, "", 0.5)
    assert effective.settings.trust.keys["Bob"] == str(tmp_path / "bob.pub")
    rows = {name: (value, source) for name, value, source in effective.rows()}
    assert rows["environments.prod.approvals"] == ("1", "SGLANG_CI_ENVIRONMENTS__PROD__APPROVALS")
    assert rows["environments.prod.after"] == ("", "command line")
    assert rows["environments.prod.max_age_days"] == ("0.5", str(tmp_path / "sglang-ci.toml"))
    assert rows["environments.test.approvals"] == ("0", "default")


PROD = "[environments.prod]\n"


@pytest.mark.parametrize(
    ("content", "key", "words"),
    [
        (
            f"{PROD}aprovals = 1",
            "environments.prod.aprovals",
            ["unknown key; did you mean 'approvals'?", "max_age_days"],
        ),
        (f"{PROD}approvals = 21", "environments.prod.approvals", ["21", "from 0 to 20"]),
        (f"{PROD}approvals = true", "environments.prod.approvals", ["a whole number from 0"]),
        (
            f'{PROD}approvals = 2\napprovers = ["a", "a"]',
            "environments.prod",
            ["approvals = 2 needs as many approvers, and there are 1"],
        ),
        (f"{PROD}max_age_days = -1", "environments.prod.max_age_days", ["from 0 to 36500"]),
        (f'{PROD}evidence = ["sbon"]', "environments.prod.evidence.0", ["'sbon'", "sbom"]),
        (f"{PROD}evidence = []", "environments.prod.evidence", ["a list of at least 1"]),
        (f'{PROD}signers = ["ci"]', "environments.prod.signers", ["'ci'", "none yet"]),
        (
            f'[trust]\nkeys = {{cd = "x"}}\n{PROD}signers = ["ci"]',
            "environments.prod.signers",
            ["'ci' isn't in [trust]; allowed: cd"],
        ),
        (
            f'{PROD}signed = false\napprovals = 1\napprovers = ["ada"]',
            "environments.prod",
            ["signed = false"],
        ),
        (
            f'[environments.test]\n{PROD}after = "tst"',
            "environments.prod.after",
            ["there is no environment 'tst'; allowed: test"],
        ),
        (f'{PROD}after = "prod"', "environments.prod.after", ["leads in a circle"]),
        (
            '[environments.a]\nafter = "b"\n[environments.b]\nafter = "a"',
            "environments.a.after",
            ["leads in a circle"],
        ),
        ("[environments.Prod]", "environments.Prod", ["a name like ^[a-z0-9]"]),
        ('[environments."prod.history"]', "environments.prod.history", ["a name like"]),
        ("[environments]\nprod = 1", "environments.prod", ["1 is not allowed", "a table"]),
        ("environments = 5", "environments", ["5 is not allowed", "a table"]),
        ("[trust.keys]\na = 1", "trust.keys.a", ["allowed: text"]),
        ('[trust.identities.a]\nsubject = "s"', "trust.identities.a.issuer", ["is missing"]),
        (
            '[vulnerabilities]\nallow = [{id = "a", reason = "r"}]',
            "vulnerabilities.allow.0.until",
            ["is missing; allowed: a date such as"],
        ),
        (
            '[vulnerabilities]\nallow = [{id = "a", until = "soon", reason = "r"}]',
            "vulnerabilities.allow.0.until",
            ["'soon'", "a date such as"],
        ),
        (
            '[vulnerabilities]\nallow = [{id = "a", until = 2026-01-01, reason = " "}]',
            "vulnerabilities.allow.0.reason",
            ["allowed: text"],
        ),
        ("[registry]\nattempts = 0", "registry.attempts", ["from 1 to 20"]),
        ('[registry]\ntag = "a b"', "registry.tag", ["text like"]),
        ("[registry]\nplain_http = 7", "registry.plain_http", ["true or false"]),
        ('[registry]\npassword = "x"', "registry.password", ["unknown key"]),
        ('[registry]\nendpoint = "u:p@host"', "registry.endpoint", ["text like"]),
    ],
)
def test_what_is_wrong_is_named_and_what_is_allowed(
    tmp_path: Path, content: str, key: str, words: list[str]
) -> None:
    """A rule of a release has a typing error, and holds nothing."""
    path = file_of(tmp_path, content)
    error = refused(cwd=tmp_path)
    assert (error.source, error.key) == (str(path), key)
    assert all(word in str(error) for word in words), str(error)


def test_the_variable_is_blamed_and_not_the_file(tmp_path: Path) -> None:
    """Somebody looks for the fault of a variable in the file."""
    file_of(tmp_path, WHOLE)
    name = "SGLANG_CI_ENVIRONMENTS__PROD__SIGNERS"
    error = refused(environ={name: '["nobody"]'}, cwd=tmp_path)
    assert (error.source, error.key) == (name, "environments.prod.signers")


@pytest.mark.parametrize("place", ["keys.ci", "keys", "keys.ci.x"])
def test_a_private_key_is_refused_and_never_shown(tmp_path: Path, place: str) -> None:
    """A secret in the wrong place ends up in a log."""
    file_of(tmp_path, f'[trust]\n{place} = "{PRIVATE}"')
    error = refused(cwd=tmp_path)
    assert "private key" in str(error)
    assert "PLANTED" not in str(error)
