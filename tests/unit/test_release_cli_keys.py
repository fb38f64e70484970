"""`sglang-ci release …` and secrets: keys that it makes and uses, and none that shows."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.fakes.registry import PASSWORD, FakeRegistry, failing
from tests.unit.release_commands import Workplace, files_below, leaks
from tests.unit.releases import key

pytestmark = pytest.mark.unit


def test_an_unreadable_key_is_named_and_not_shown(at: Workplace) -> None:
    """Half a secret stands in the log of a pipeline."""
    at.variables["SIGNING_KEY_PASSWORD"] = "not-needed"
    found = at.run("show", f"{at.reference}:v1", signing_key="planted-no-key", code=4)
    assert "SIGNING_KEY is neither a PEM nor a file" in found
    assert "planted" not in found


def test_a_new_key_signs(at: Workplace) -> None:
    """A key that the command made can't be used, can be read by everybody, or is lost."""
    out = at.run("key", "me@x.example")
    assert "keep it secret" in out
    private, public = Path("me@x.example.key"), Path("me@x.example.pub")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert "PRIVATE" not in public.read_text()
    before = private.read_text()
    assert "is there already" in at.run("key", "me@x.example", code=2)
    assert "can't be a key's name" in at.run("key", "../me", code=2)
    assert private.read_text() == before
    at.variables["SGLANG_CI_TRUST__KEYS__ci"] = str(public)
    at.publish(signing_key=str(private))
    at.run("verify", at.by_digest, "--environment", "test")


def test_a_locked_key_needs_its_password(at: Workplace) -> None:
    """A key is stored in the clear although a password was given."""
    at.variables["SIGNING_KEY_PASSWORD"] = "planted-lock-77"
    at.run("key", "locked")
    assert "ENCRYPTED" in Path("locked.key").read_text()
    at.publish(signing_key="locked.key")
    at.variables["SIGNING_KEY_PASSWORD"] = "wrong"
    assert "planted-lock-77" not in at.publish(signing_key="locked.key", code=4)


def test_no_secret_shows_anywhere(at: Workplace, store: FakeRegistry) -> None:
    """A password or a key stands in an output, a report, or in the registry for everybody."""
    at.publish()
    at.to_prod()
    at.run("show", at.by_digest, "--html", "page.html", by="ci")
    at.run("verify", at.by_digest, "--environment", "prod", by="ci")
    at.run("history", at.reference, "--environment", "prod", by="ci")
    store.fault(".* /v2/.*", failing(500))
    at.run("verify", at.by_digest, "--environment", "prod", by="ci", code=4)
    stored = [
        *store.blobs.values(),
        *(content for _, content in store.manifests.values()),
    ]
    texts = [at.said.encode(), *files_below(Path.cwd()), *stored]
    assert leaks(at.access, *texts) == []
    assert store.access.password == PASSWORD
    assert leaks(at.access, PASSWORD.encode()), "the test sees no leak"
    assert leaks(at.access, key("ci")[0].encode()), "the test sees no leak"
