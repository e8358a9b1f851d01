"""Roots to be issued again, how that is done in tests, and a reader of their octets that is not ours."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from meshtrust.certificates import Certificate, parse_pem, reissue
from meshtrust.certificates.der import TbsCertificate
from meshtrust.certificates.signing import signer
from sandbox import Ca
from sandbox.issuing import ca_certificate, key_pem, pem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
HOUR, YEARS = timedelta(hours=1), timedelta(days=3650)
EC = Ca(key="ec", key_type="ec")
openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="NO OCTETS ARE COMPARED: there is no openssl here")


def read(text: str) -> Certificate:
    (found,) = parse_pem(text).certificates
    return found


def root(ca: Ca) -> Certificate:
    return read(pem([ca_certificate(ca, NOW)]))


def key(ca: Ca) -> str:
    return key_pem(ca.key, ca.key_type)


def reissued(
    old: Certificate, key_text: str, *, not_after: datetime = NOW + YEARS, drop_identifier: bool = False
) -> Certificate:
    text = reissue(old, key_text, not_before=NOW - HOUR, not_after=not_after, drop_identifier=drop_identifier)
    return read(text)


def written(private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    """A key as PKCS#8, the form that holds all kinds."""
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def self_signed(
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    digest: hashes.SHA256 | hashes.SHA512 | hashes.SHA224 | None = None,
    scheme: padding.PSS | None = None,
    *extensions: tuple[x509.ExtensionType, bool],
) -> Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "cluster.local")])
    builder = x509.CertificateBuilder(name, name, private.public_key(), 0x51, NOW.replace(tzinfo=None) - YEARS)
    builder = builder.not_valid_after(NOW + YEARS)
    for extension, critical in ((x509.BasicConstraints(ca=True, path_length=None), True), *extensions):
        builder = builder.add_extension(extension, critical=critical)
    signed = builder.sign(private, digest, rsa_padding=scheme)
    return read(signed.public_bytes(Encoding.PEM).decode())


def changed(old: Certificate, key_text: str, **fields: Any) -> Certificate:
    """The same with some fields of its TBSCertificate in other octets, signed again: what no builder makes."""
    tbs = replace(TbsCertificate.of(old.parsed.tbs_certificate_bytes), **fields)
    signed = x509.load_der_x509_certificate(signer(old, key_text).certificate(tbs.der))
    return read(signed.public_bytes(Encoding.PEM).decode())


@dataclass(frozen=True, slots=True)
class Octets:
    """The fields of a certificate as `openssl asn1parse` finds them: a reader that is not ours."""

    version: bytes
    serial: bytes
    algorithm: bytes
    issuer: bytes
    validity: bytes
    subject: bytes
    key: bytes
    extensions: tuple[bytes, ...]
    outer_algorithm: bytes

    @classmethod
    def of(cls, certificate: Certificate) -> Octets:
        der = certificate.parsed.public_bytes(Encoding.DER)
        command = ["openssl", "asn1parse", "-inform", "DER"]
        said = subprocess.run(command, input=der, capture_output=True, check=True).stdout.decode()
        lines = re.findall(r"^ *(\d+):d=(\d+) +hl=(\d+) +l= *(\d+)", said, re.MULTILINE)
        spans = [(int(depth), int(at), int(at) + int(head) + int(size)) for at, depth, head, size in lines]
        version, serial, algorithm, issuer, validity, subject, spki, _ = (
            der[at:end] for depth, at, end in spans if depth == 2 and end <= spans[1][2]
        )
        last = [(at, end) for depth, at, end in spans if depth == 2 and end <= spans[1][2]][-1]
        extensions = tuple(der[at:end] for depth, at, end in spans if depth == 4 and last[0] < at < last[1])
        outer = [der[at:end] for depth, at, end in spans if depth == 1][1]
        return cls(version, serial, algorithm, issuer, validity, subject, spki, extensions, outer)
