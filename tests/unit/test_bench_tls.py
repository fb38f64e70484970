"""Streams over TLS: measured as well, and certificates verified."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ci.bench.records import ErrorKind
from tests.fakes.timed import Timed, Timing
from tests.unit.test_bench_client import TOKENS, ask

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Timed]:
    """Serve over TLS, with a certificate of our own for localhost."""
    with Timed(Timing(ttft=0.02, itl=0.01), certificate(tmp_path_factory.mktemp("tls"))) as server:
        yield server


def certificate(folder: Path) -> tuple[Path, Path]:
    """Return the files of a new certificate and its key."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
    )
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (folder / "cert.pem").write_bytes(made.public_bytes(encoding))
    (folder / "key.pem").write_bytes(key.private_bytes(encoding, form, plain))
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.parametrize("api", ["generate", "chat"])
async def test_a_stream_over_tls_is_whole(
    server: Timed, api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers behind TLS can't be measured."""
    assert server._certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(server._certificate[0]))
    found = await ask(server.url, api=api)
    assert found.error is None, found.detail
    assert found.counts == tuple(range(1, TOKENS + 1))


async def test_a_stream_that_is_cut_under_tls_is_cut(
    server: Timed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of TLS is taken for the end of the answer."""
    assert server._certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(server._certificate[0]))
    assert (await ask(server.url, "cut")).error is ErrorKind.CUT


async def test_an_unknown_certificate_is_refused(server: Timed) -> None:
    """Somebody between client and server is measured."""
    found = await ask(server.url)
    assert found.error is ErrorKind.TLS
    assert "its certificate isn't trusted" in found.detail
    assert "let SSL_CERT_FILE name its authority's" in found.detail
