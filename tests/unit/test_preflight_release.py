"""Whatever a release needs is asked before a build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ci.preflight.asked import Intent
from ci.release.signing import new_key
from ci.verdict import Outcome
from tests.fakes.faulty import closed_port
from tests.fakes.registry import (
    PASSWORD,
    USER,
    FakeRegistry,
    failing,
    fake_registry,
    silent,
)
from tests.unit.preflights import asked, found, wrong

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("empty_folder")]

KEY, PUBLIC = new_key()

RELEASE = """
[registry]
plain_http = true
timeout = 1
attempts = 1
[trust.keys]
ci = "ci.pub"
[environments.prod]
"""


def releasing(store: FakeRegistry, **more: Any) -> Intent:
    """Return what is asked of somebody who publishes into a registry."""
    Path("ci.pub").write_text(PUBLIC)
    who = {"REGISTRY_USERNAME": USER, "REGISTRY_PASSWORD": PASSWORD, "SIGNING_KEY": KEY}
    environ = who | more.pop("environ", {})
    to = f"{store.address}/team/image"
    return asked(RELEASE, environ, **{"publish_to": to, "revision": "0123456789abcdef"} | more)


@pytest.mark.parametrize("login", ["", "Basic", "Bearer"])
def test_a_registry_that_takes_it(login: str) -> None:
    """A right call is refused, or leaves an upload behind."""
    with fake_registry(login=login) as store:
        answers = found(releasing(store))
        assert not [one for one in answers.values() if one.outcome is Outcome.ERROR]
        assert answers["tag"].message == f"{store.address}/team/image:0.5.23-0123456789ab"
        assert answers["registry"].message == "it takes uploads, and 0.5.23-0123456789ab is free"
        assert answers["signing key"].message == "that of ci"
        assert store.count("POST .*/blobs/uploads/$") >= 1
        assert store.count("DELETE .*/blobs/uploads/") == 1


def test_a_tag_that_is_taken_is_worth_knowing() -> None:
    """A tag that another build took is found out after the proof."""
    with fake_registry() as store:
        store.put("application/vnd.oci.image.manifest.v1+json", b"{}", "v1")
        answers = found(releasing(store, publish_to=f"{store.address}/team/image:v1"))
    told = "it takes uploads; v1 is there already, and is refused unless this is that very image"
    assert answers["registry"].message == told
    assert answers["registry"].outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("environ", "fault", "words"),
    [
        ({"REGISTRY_PASSWORD": "wrong"}, None, "401"),
        ({"REGISTRY_USERNAME": ""}, None, "REGISTRY_USERNAME isn't"),
        ({"REGISTRY_USERNAME": "", "REGISTRY_PASSWORD": ""}, None, "no user is given"),
        ({}, failing(403, "DENIED", "pull only"), "answered 403 Forbidden: DENIED: pull only"),
        ({}, silent, "no answer within 1 s"),
        ({}, failing(503), "answered 503"),
    ],
)
def test_a_registry_that_refuses(environ: dict[str, str], fault: Any, words: str) -> None:
    """A build of ten minutes ends at a registry that takes nothing from this user."""
    with fake_registry(login="Basic") as store:
        if fault:
            store.fault("POST .*/blobs/uploads/", fault)
        answer = found(releasing(store, environ=environ))["registry"]
    assert answer.outcome is Outcome.ERROR
    assert words in answer.message
    assert answer.usage == ("isn't" in words)


def test_a_registry_that_isnt_there() -> None:
    """A registry out of reach is found after the build, or is taken for a wrong input."""
    once = "[registry]\nattempts = 1"
    of = asked(once, publish_to=f"127.0.0.1:{closed_port()}/team/image:v1")
    answer = found(of)["registry"]
    assert "connection refused" in answer.message
    assert (answer.outcome, answer.usage) == (Outcome.ERROR, False)


@pytest.mark.parametrize("to", ["nonsense", "registry.example/team/Image", "a.b/c@latest"])
def test_a_reference_that_is_none(to: str) -> None:
    """A typing error in `--publish-to` is told twice, or after the build."""
    told = wrong(asked("", publish_to=to))
    assert list(told) == ["reference"]


@pytest.mark.parametrize(
    ("signing", "words"),
    [
        (new_key()[0], "the signing key is none of [trust] keys (ci): prod would take nothing"),
        ("absent.key", "SIGNING_KEY is neither a PEM nor a file"),
        (new_key("locked")[0], "the signing key needs a password"),
        ("", ""),
    ],
)
def test_a_key_that_cannot_sign(signing: str, words: str) -> None:
    """Evidence can't be signed, or by nobody who is trusted, and that is told after the push."""
    with fake_registry() as store:
        answers = found(releasing(store, environ={"SIGNING_KEY": signing}))
    told = answers["signing key"]
    assert told.message.startswith(words or "nothing is signed, and prod takes nothing unsigned")
    assert (told.outcome is Outcome.ERROR) == bool(words)


def test_a_trusted_key_that_is_none() -> None:
    """A file that is no public key is found when the release is verified."""
    with fake_registry() as store:
        of = releasing(store)
        Path("ci.pub").write_text("no key")
        assert "the trusted key ci is not" in wrong(of)["trusted key ci"]
