"""A Sigstore in a thread: an authority (Fulcio) and a log (Rekor) that sign for real.

`with fake_sigstore() as sigstore: ...`. Certificates, timestamps of the certificates' log,
inclusion proofs and checkpoints are what sigstore's own client checks, made with keys that
only `sigstore.trust_config()` knows. Tokens are held against `SECRET`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sigstore.models import ClientTrustConfig

from tests.fakes.certificates import Authority, identify, spki
from tests.fakes.serving import JsonHandler, serving

ISSUER = "https://issuer.example"
SUBJECT = "https://ci.example/team/project/.workflow@refs/heads/main"
SECRET = "the secret of an issuer of tokens, long enough for its algorithm"
START = datetime(2025, 1, 1, tzinfo=UTC).isoformat().replace("+00:00", "Z")


def token(subject: str = SUBJECT, *, secret: str = SECRET, seconds: float = 3600) -> str:
    """Return an OIDC token for `subject` that lives for `seconds`."""
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": subject, "aud": "sigstore", "iat": now, "exp": now + seconds}
    return jwt.encode(claims, secret, algorithm="HS256")


@dataclass
class FakeSigstore:
    """Its keys, and what it did."""

    url: str = ""
    authority: Authority = field(default_factory=Authority)
    log_key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    certificates: int = 0
    entries: int = 0
    refuse_entries: bool = False

    def trust_config(self) -> ClientTrustConfig:
        """Return where its services are, and which keys they have."""
        service = [
            {
                "url": self.url,
                "majorApiVersion": 1,
                "operator": "test",
                "validFor": {"start": START},
            }
        ]
        return ClientTrustConfig.from_json(
            json.dumps(
                {
                    "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
                    "trustedRoot": self._root(),
                    "signingConfig": {
                        "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                        "caUrls": service,
                        "oidcUrls": [],
                        "rekorTlogUrls": service,
                        "rekorTlogConfig": {"selector": "ANY"},
                        "tsaUrls": [],
                        "tsaConfig": {"selector": "ANY"},
                    },
                }
            )
        )

    def _root(self) -> dict[str, Any]:
        authority = {
            "subject": {"organization": "test", "commonName": "test"},
            "uri": self.url,
            "certChain": {"certificates": [{"rawBytes": _text(self.authority.der)}]},
            "validFor": {"start": START},
        }
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [_log(self.url, self.log_key)],
            "certificateAuthorities": [authority],
            "ctlogs": [_log(self.url, self.authority.ct_key)],
            "timestampAuthorities": [],
        }

    def certify(self, request: dict[str, Any], bearer: str) -> dict[str, Any]:
        """Return the certificate that Fulcio gives for a token; raises where it is none."""
        subject = jwt.decode(bearer, SECRET, ["HS256"], audience="sigstore")["sub"]
        pem = base64.b64decode(request["certificateSigningRequest"])
        key = x509.load_pem_x509_csr(pem).public_key()
        chain = [self.authority.certify(key, identify(subject, ISSUER)), self.authority.certificate]
        self.certificates += 1
        pems = [one.public_bytes(Encoding.PEM).decode() for one in chain]
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": pems}}}

    def enter(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the entry that Rekor makes of an envelope: the only one in its tree."""
        self.entries += 1
        body = json.dumps(_entry(request["spec"]["proposedContent"]), sort_keys=True).encode()
        root, now = hashlib.sha256(b"\0" + body).digest(), int(time.time())
        named = hashlib.sha256(spki(self.log_key)).hexdigest()
        promised = {"body": _text(body), "integratedTime": now, "logID": named, "logIndex": 0}
        proof = {
            "checkpoint": self._checkpoint(root),
            "hashes": [],
            "logIndex": 0,
            "rootHash": root.hex(),
            "treeSize": 1,
        }
        line = json.dumps(promised, sort_keys=True, separators=(",", ":")).encode()
        signed = {"inclusionProof": proof, "signedEntryTimestamp": _text(self._sign(line))}
        return {"0" * 64: promised | {"verification": signed}}

    def _checkpoint(self, root: bytes) -> str:
        note = f"log.example - 1\n1\n{_text(root)}\n"
        named = hashlib.sha256(spki(self.log_key)).digest()[:4]
        return f"{note}\n— log.example {_text(named + self._sign(note.encode()))}\n"

    def _sign(self, message: bytes) -> bytes:
        return self.log_key.sign(message, ec.ECDSA(hashes.SHA256()))


def _entry(proposed: dict[str, Any]) -> dict[str, Any]:
    envelope = json.loads(proposed["envelope"])
    payload = base64.b64decode(envelope["payload"])
    signature, verifier = envelope["signatures"][0]["sig"], proposed["verifiers"][0]
    spec = {
        "envelopeHash": _hash(proposed["envelope"].encode()),
        "payloadHash": _hash(payload),
        "signatures": [{"signature": signature, "verifier": verifier}],
    }
    return {"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}


def _hash(content: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(content).hexdigest()}


def _log(url: str, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    public = {
        "rawBytes": _text(der),
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "validFor": {"start": START},
    }
    named = {"keyId": _text(hashlib.sha256(der).digest())}
    return {"baseUrl": url, "hashAlgorithm": "SHA2_256", "publicKey": public, "logId": named}


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


@contextmanager
def fake_sigstore() -> Iterator[FakeSigstore]:
    """Yield a Sigstore that answers on a port of this host."""
    sigstore = FakeSigstore()

    class Handler(JsonHandler):
        def do_POST(self) -> None:  # noqa: N802 - http.server's own name
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if self.path == "/api/v1/log/entries":
                status = 503 if sigstore.refuse_entries else 201
                self.answer(status, {} if sigstore.refuse_entries else sigstore.enter(request))
                return
            try:
                bearer = self.headers["authorization"].removeprefix("Bearer ")
                self.answer(201, sigstore.certify(request, bearer))
            except jwt.InvalidTokenError as error:
                self.answer(401, {"message": str(error)})

    with serving(Handler) as url:
        sigstore.url = url
        yield sigstore
