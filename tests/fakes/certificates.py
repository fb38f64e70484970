"""An authority that certifies identities as Fulcio does, log timestamp (SCT) included."""

from __future__ import annotations

import hashlib
import struct
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

SCT_LIST = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
ISSUER = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")

Extensions = list[tuple[x509.ExtensionType, bool]]


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the public half as DER."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def identify(subject: str, issuer: str) -> Extensions:
    """Return the extensions by which a certificate names an identity."""
    named: x509.GeneralName = x509.UniformResourceIdentifier(subject)
    if "@" in subject and "/" not in subject:
        named = x509.RFC822Name(subject)
    return [
        (x509.SubjectAlternativeName([named]), True),
        (x509.UnrecognizedExtension(ISSUER, issuer.encode()), False),
    ]


def _now() -> datetime:
    """Return the time as certificates have it, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def _usage(**allowed: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
    more = ("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in (*names, *more)})


@dataclass
class Authority:
    """A root that certifies, and the key of the log in which it enters certificates."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    ct_key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    lifetime: timedelta = timedelta(minutes=10)

    @cached_property
    def certificate(self) -> x509.Certificate:
        """The root's own certificate."""
        extensions: Extensions = [
            (x509.BasicConstraints(ca=True, path_length=1), True),
            (_usage(key_cert_sign=True, crl_sign=True), True),
            (x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False),
        ]
        name, key = self._named("test"), self.key.public_key()
        return self._signed(name, key, extensions, serial=1, now=_now())

    @property
    def der(self) -> bytes:
        """The root's own certificate as DER."""
        return self.certificate.public_bytes(Encoding.DER)

    def certify(self, key: Any, identity: Extensions) -> x509.Certificate:
        """Return a certificate for an identity's key, with the log's timestamp in it."""
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
        extensions: Extensions = [
            (_usage(digital_signature=True), True),
            (usage, False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False),
            *identity,
        ]
        sign = partial(
            self._signed, x509.Name([]), key, serial=x509.random_serial_number(), now=_now()
        )
        before = sign(extensions)
        stamp = x509.UnrecognizedExtension(SCT_LIST, self._sct(before.tbs_certificate_bytes))
        return sign([*extensions, (stamp, False)])

    def _signed(
        self, subject: x509.Name, key: Any, extensions: Extensions, *, serial: int, now: datetime
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder(
            issuer_name=self._named("test"),
            subject_name=subject,
            public_key=key,
            serial_number=serial,
            not_valid_before=now - timedelta(minutes=1),
            not_valid_after=now + self.lifetime,
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.key, hashes.SHA256())

    @staticmethod
    def _named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def _sct(self, tbs: bytes) -> bytes:
        """Return a list of one timestamp (RFC 6962) over a certificate without it, as DER."""
        milliseconds = int(time.time() * 1000)
        issuer = hashlib.sha256(spki(self.key)).digest()
        entry = issuer + struct.pack("!I", len(tbs))[1:] + tbs
        signed = struct.pack("!BBQH", 0, 0, milliseconds, 1) + entry + b"\0\0"
        signature = self.ct_key.sign(signed, ec.ECDSA(hashes.SHA256()))
        stamp = b"\0" + hashlib.sha256(spki(self.ct_key)).digest()
        stamp += struct.pack("!QHBBH", milliseconds, 0, 4, 3, len(signature)) + signature
        listed = struct.pack("!HH", len(stamp) + 2, len(stamp)) + stamp
        size = bytes([len(listed)])
        return b"\x04" + (size if len(listed) < 0x80 else b"\x81" + size) + listed
