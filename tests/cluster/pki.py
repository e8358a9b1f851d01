"""The cluster's own certificates: the API server's, and the key of the service accounts' tokens."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from cluster.settings import ADDRESS

if TYPE_CHECKING:
    from pathlib import Path

_ADDRESSES = (ADDRESS, "10.96.0.1", "127.0.0.1")
_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


def write_pki(folder: Path) -> None:
    authority, serving, accounts = (rsa.generate_private_key(65537, 2048) for _ in range(3))
    may_sign = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    ca = (
        _described("kubernetes", authority)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(may_sign, critical=True)
        .sign(authority, hashes.SHA256())
    )
    addresses = (x509.IPAddress(ipaddress.ip_address(address)) for address in _ADDRESSES)
    names = x509.SubjectAlternativeName([*addresses, *(x509.DNSName(name) for name in _NAMES)])
    api = _described("kube-apiserver", serving).add_extension(names, critical=False).sign(authority, hashes.SHA256())
    for name, certificate, key in (("ca", ca, authority), ("api", api, serving)):
        (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(_pem(key))
    (folder / "accounts.key").write_bytes(_pem(accounts))


def _described(subject: str, key: rsa.RSAPrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name("kubernetes"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365))
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
