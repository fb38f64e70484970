"""Whom a client trusts, and registries that speak something else than it does."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from ci.errors import RegistryUnreachable, UsageError
from ci.registry.access import Access
from ci.registry.client import Registry
from ci.registry.reference import Reference
from tests.fakes.faulty import BEHAVIOURS, answering, listening, self_signed
from tests.fakes.registry import FakeRegistry, fake_registry

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's context of a certificate that nobody vouches for, and the certificate."""
    folder = tmp_path_factory.mktemp("tls")
    return self_signed(folder), folder / "certificate.pem"


def problem(fake: FakeRegistry, access: Access) -> str:
    """Return the line that reading a tag ends in, held to be of one attempt."""
    with (
        Registry(fake.reference(), access) as client,
        pytest.raises(RegistryUnreachable) as caught,
    ):
        client.manifest("v1")
    assert str(caught.value).startswith(f"{fake.address}/team/image:v1: read manifest: ")
    assert "attempts" not in str(caught.value)
    return str(caught.value)


def test_a_certificate_that_the_settings_name_is_trusted(tls: tuple[ssl.SSLContext, Path]) -> None:
    """A registry of one's own can't be used."""
    with fake_registry(tls=tls[0]) as fake:
        access = replace(fake.access, plain_http=False, ca_file=tls[1])
        with Registry(fake.reference(), access) as client:
            assert client.tags() == []


def test_a_self_signed_certificate_is_refused(tls: tuple[ssl.SSLContext, Path]) -> None:
    """Anybody can stand in for a registry; or nobody learns which setting would trust it."""
    with fake_registry(tls=tls[0]) as fake:
        line = problem(fake, replace(fake.access, plain_http=False))
    assert "its certificate isn't trusted (self-signed certificate)" in line
    assert "registry.ca_file names a file of certificates to trust" in line


def test_a_certificate_of_another_host_is_refused(tls: tuple[ssl.SSLContext, Path]) -> None:
    """A trusted certificate stands for every host."""
    with fake_registry(tls=tls[0]) as fake:
        fake.address = fake.address.replace("127.0.0.1", "localhost")
        line = problem(fake, replace(fake.access, plain_http=False, ca_file=tls[1]))
    assert "Hostname mismatch" in line


def test_tls_to_a_registry_of_plain_http() -> None:
    """A registry without TLS is a riddle, not a setting."""
    with listening(BEHAVIOURS["blunt"]) as url:
        fake = FakeRegistry(address=url.removeprefix("http://"))
        line = problem(fake, replace(fake.access, plain_http=False))
    assert line.endswith(": it speaks plain HTTP, which registry.plain_http = true allows")


@pytest.mark.parametrize(
    "words", ["an HTTP request to an HTTPS server", "HTTP request was sent to HTTPS port"]
)
def test_plain_http_to_a_registry_of_tls(words: str) -> None:
    """A setting that is left over from a test is a riddle."""
    with listening(answering(400, f"Client sent {words}.\n", "text/plain")) as url:
        fake = FakeRegistry(address=url.removeprefix("http://"))
        line = problem(fake, fake.access)
        assert "answered 400 Bad Request: Client sent" in line
        assert line.endswith("; where it speaks TLS, registry.plain_http is to be false")
        with (
            Registry(fake.reference(), fake.access) as client,
            pytest.raises(RegistryUnreachable, match="where it speaks TLS"),
        ):
            client.resolve("v1")  # an answer to HEAD has no words


@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file"), ("not a certificate", "no certificate in PEM")]
)
def test_a_wrong_file_of_certificates_is_named(
    tmp_path: Path, content: str | None, why: str
) -> None:
    """A mistyped setting is a traceback, or is silently left out."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError, match=f"registry.ca_file: {file}: {why}"):
        Registry(Reference("localhost:1", "image"), Access(ca_file=file))


def test_an_endpoint_stands_for_the_registry() -> None:
    """A registry that has another address from here can't be used."""
    reference = Reference("registry.example.com", "team/image")
    with (
        fake_registry() as fake,
        Registry(reference, replace(fake.access, endpoint=fake.address)) as client,
    ):
        assert client.tags() == []
        assert fake.requests == ["GET /v2/team/image/tags/list"]


def test_what_babbles_is_no_registry() -> None:
    """Something else that listens on a registry's port is a crash, or waited for."""
    for name in ("not HTTP", "endless header", "closing", "resetting"):
        with listening(BEHAVIOURS[name]) as url:
            fake = FakeRegistry(address=url.removeprefix("http://"))
            access = replace(fake.access, timeout=1, attempts=1)
            with (
                Registry(fake.reference(), access) as client,
                pytest.raises(RegistryUnreachable, match="the connection was cut"),
            ):
                client.resolve("v1")
