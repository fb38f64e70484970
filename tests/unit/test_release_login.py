"""Who asks a registry: credentials given or found, and never shown to anybody else."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest

from ci.errors import BrokenArtifact, RegistryBusy, RegistryRefused, UsageError
from ci.registry.access import Access
from ci.registry.client import Registry
from ci.registry.exchange import RegistryRequest
from ci.registry.login import Login
from ci.registry.manifests import UNCHECKED
from ci.registry.oci import MANIFEST, Descriptor
from ci.registry.reference import Reference
from tests.fakes.registry import (
    PASSWORD,
    USER,
    FakeRegistry,
    Handler,
    answering,
    failing,
    fake_registry,
    meanwhile,
)

pytestmark = pytest.mark.unit

CONTENT = b"content"
BLOB = Descriptor.of("text/plain", CONTENT)


@pytest.fixture(params=["Basic", "Bearer"])
def fake(request: pytest.FixtureRequest) -> Iterator[FakeRegistry]:
    """A registry that asks who is there."""
    with fake_registry(login=request.param) as registry:
        yield registry


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def docker_knows(home: Path, **configuration: object) -> None:
    """Write Docker's configuration."""
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker" / "config.json").write_text(json.dumps(configuration))


def test_a_user_with_the_right_password_gets_in(fake: FakeRegistry) -> None:
    """A private registry can't be read, or not be written."""
    with Registry(fake.reference(), fake.access) as client:
        assert client.resolve("v1") is None
        assert client.put_blob(BLOB, partial(BytesIO, CONTENT))
        client.put_manifest("v1", b"{}", MANIFEST, expected=UNCHECKED)
        assert client.manifest("v1").content == b"{}"
    assert fake.count("GET /token") == (2 if fake.login == "Bearer" else 0)


def test_a_token_is_asked_for_once_and_again_when_it_expired(fake: FakeRegistry) -> None:
    """Every request costs a token, or a release fails once its first token is too old."""
    content = bytes(3_000_000)
    blob = Descriptor.of("text/plain", content)
    with Registry(fake.reference(), fake.access) as client:
        for _ in range(3):
            client.tags()
        assert fake.count("GET /token") == (fake.login == "Bearer")
        fake.fault("PUT", meanwhile(fake.tokens.clear), times=1)
        assert client.put_blob(blob, partial(BytesIO, content))
    assert fake.blobs[blob.digest] == content


@pytest.mark.parametrize(
    ("username", "password", "who"),
    [
        (USER, "wrong-secret", "the user is 'robot'"),
        ("", "", "no user is given .REGISTRY_USERNAME and REGISTRY_PASSWORD, or docker login"),
    ],
)
def test_others_are_told_who_they_were(
    fake: FakeRegistry, home: Path, username: str, password: str, who: str
) -> None:
    """A wrong password is tried again and again, shown, or can't be told from a missing one."""
    access = replace(fake.access, username=username, password=password)
    with (
        Registry(fake.reference(), access) as client,
        pytest.raises(RegistryRefused, match=f"{fake.address}/team/image:v1: .*401.*{who}") as got,
    ):
        client.resolve("v1")
    assert "wrong-secret" not in str(got.value)
    assert len(fake.requests) <= 2


@pytest.mark.parametrize("where", ["inline", "helper", "store"])
def test_credentials_of_docker_are_found(
    fake: FakeRegistry, home: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Somebody who did `docker login` has to give the password once more."""
    helper = home / "docker-credential-safe"
    helper.write_text(f'#!/bin/sh\necho \'{{"Username":"{USER}","Secret":"{PASSWORD}"}}\'\n')
    helper.chmod(0o700)
    monkeypatch.setenv("PATH", f"{home}:{os.environ['PATH']}")
    inline = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    known: dict[str, dict[str, object]] = {
        "inline": {"auths": {fake.address: {"auth": inline}}},
        "helper": {"credHelpers": {fake.address: "safe"}},
        "store": {"credsStore": "safe"},
    }
    docker_knows(home, **known[where])
    with Registry(fake.reference(), replace(fake.access, username="", password="")) as client:
        assert client.tags() == []


def test_docker_hub_has_another_name_in_dockers_configuration(home: Path) -> None:
    """Somebody who logged in to Docker Hub is nobody there."""
    docker_knows(home, auths={"https://index.docker.io/v1/": {"auth": "cm9ib3Q6eA=="}})
    login = Login(Reference.parse("docker.io/python"), Access(), "https://registry-1.docker.io/v2/")
    assert login.who == "the user is the one in Docker's configuration"


def test_wrong_credentials_of_docker_are_named(fake: FakeRegistry, home: Path) -> None:
    """A refusal doesn't say that an old `docker login` is the reason."""
    inline = b64encode(b"robot:wrong-secret").decode()
    docker_knows(home, auths={fake.address: {"auth": inline}})
    with (
        Registry(fake.reference(), replace(fake.access, username="", password="")) as client,
        pytest.raises(RegistryRefused, match="the user is the one in Docker's configuration"),
    ):
        client.tags()


def test_a_broken_configuration_of_docker_is_named(home: Path) -> None:
    """A file of another tool is a traceback of ours."""
    docker_knows(home)
    (home / ".docker" / "config.json").write_text("{")
    with pytest.raises(UsageError, match="Docker's configuration can't be read"):
        Registry(Reference("localhost:1", "image"))


def test_a_store_elsewhere_gets_no_credentials(fake: FakeRegistry) -> None:
    """The password goes to whoever a registry sends us to."""
    fake.redirects = True
    fake.blobs[BLOB.digest] = CONTENT
    with Registry(fake.reference(), fake.access) as client:
        assert client.blob(BLOB, 100) == CONTENT
    assert fake.count("GET /storage/") == 1


def test_an_upload_elsewhere_gets_no_credentials(fake: FakeRegistry) -> None:
    """The password goes to the address that an upload is sent to, whosever it is."""
    with fake_registry() as other, Registry(fake.reference(), fake.access) as client:
        seen: list[str | None] = []

        def see(request: Handler) -> bool:
            seen.append(request.headers["Authorization"])
            return False

        location = f"http://{other.address}/v2/team/image/blobs/uploads/1?_state=x"
        fake.fault("POST", answering(202, Location=location))
        other.fault("PUT", see)
        client.tags()
        assert client.put_blob(BLOB, partial(BytesIO, CONTENT))
    assert seen == [None]
    assert other.blobs == {BLOB.digest: CONTENT}


def test_a_users_own_netrc_is_left_alone(fake: FakeRegistry, home: Path) -> None:
    """Credentials of another tool take the place of those that were given."""
    (home / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    (home / ".netrc").chmod(0o600)
    with Registry(fake.reference(), fake.access) as client:
        assert client.tags() == []


def test_a_token_server_with_faults() -> None:
    """A token server that is busy, refuses or babbles is a crash, or ends as something else."""
    with fake_registry(login="Bearer") as fake:
        with Registry(fake.reference(), fake.access) as client:
            fake.fault("GET /token", failing(503), times=2)
            assert client.tags() == []
        cases = [
            (failing(503), RegistryBusy, "503 Service Unavailable: .*3 attempts"),
            (failing(403, "DENIED"), RegistryRefused, "403 Forbidden: DENIED.*the user is 'robot'"),
            (answering(200, b"{}"), RegistryRefused, "no token was given"),
            (answering(200, b"<html>"), BrokenArtifact, "answered with no JSON"),
        ]
        for act, kind, problem in cases:
            fake.faults.clear()
            fake.fault("GET /token", act)
            with (
                Registry(fake.reference(), fake.access) as client,
                pytest.raises(kind, match=f"image: list tags, log in: .*{problem}"),
            ):
                client.tags()


CHALLENGES = {
    "other scheme": 'Negotiate realm="x"',
    "no realm": 'Bearer service="x"',
    "no URL": 'Bearer realm="x"',
    "file": 'Bearer realm="file:///etc/passwd"',
    "nothing": "",
}


@pytest.mark.parametrize("challenge", CHALLENGES.values(), ids=CHALLENGES)
def test_challenges_that_nobody_can_meet(challenge: str) -> None:
    """A registry that asks for something strange is a crash."""
    with fake_registry() as fake:
        fake.fault("GET", failing(401, WWW_Authenticate=challenge))
        access = replace(fake.access, username=USER, password=PASSWORD)
        with (
            Registry(fake.reference(), access) as client,
            pytest.raises(RegistryRefused, match="image: list tags"),
        ):
            client.tags()


def test_a_password_does_not_leave_tls() -> None:
    """A registry has us send the password in the clear."""
    reference = Reference("registry.example.com", "image")
    login = Login(reference, Access(USER, PASSWORD), "https://registry.example.com/v2/")
    ask = RegistryRequest(reference, "list tags", "GET", "tags/list")
    with pytest.raises(RegistryRefused, match="names no server for it that may be asked"):
        login.token_request(ask, 'Bearer realm="http://registry.example.com/token"')
    request = login.token_request(ask, 'Bearer realm="https://a.b/token?x=y",service="s"')
    assert request.url == "https://a.b/token?x=y&service=s"


def test_a_password_is_in_no_representation() -> None:
    """A password stands in a traceback or a debugger's log."""
    assert PASSWORD not in repr(Access(USER, PASSWORD))
