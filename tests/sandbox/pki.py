"""The API server's own certificates and the kubeconfig that trusts them: nothing to do with those of the mesh."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sandbox.access import USER

if TYPE_CHECKING:
    from pathlib import Path

Credentials = Literal["token", "certificate", "none"]


@dataclass(frozen=True, slots=True)
class Files:
    """Where the PEM files of a server stand."""

    authority: Path
    certificate: Path
    key: Path
    client_certificate: Path
    client_key: Path


def write_files(folder: Path) -> Files:
    files = Files(*(folder / name for name in ("ca.crt", "server.crt", "server.key", "client.crt", "client.key")))
    for path, text in zip(
        (files.authority, files.certificate, files.key, files.client_certificate, files.client_key),
        _issued(),
        strict=True,
    ):
        path.write_bytes(text)
    return files


def server_context(files: Files) -> ssl.SSLContext:
    """Ask for a client certificate, and do without one too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    context.load_verify_locations(files.authority)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def kubeconfig(url: str, files: Files, token: str, credentials: Credentials, namespace: str) -> str:
    user: dict[str, Any] = {}
    if credentials == "token":
        user = {"token": token}
    elif credentials == "certificate":
        user = {"client-certificate": str(files.client_certificate), "client-key": str(files.client_key)}
    context = {"cluster": "sandbox", "user": USER} | ({"namespace": namespace} if namespace else {})
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "sandbox", "cluster": {"server": url, "certificate-authority": str(files.authority)}}
            ],
            "users": [{"name": USER, "user": user}],
            "contexts": [{"name": "sandbox", "context": context}],
            "current-context": "sandbox",
        },
        sort_keys=False,
    )


@cache
def _issued() -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """CA, serving certificate and key, client certificate and key; made once per process."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("sandbox-ca", ca_key.public_key(), "sandbox-ca", ca_key, ca=True)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    server_key, client_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    server = _certificate("sandbox", server_key.public_key(), "sandbox-ca", ca_key, names=names)
    client = _certificate(USER, client_key.public_key(), "sandbox-ca", ca_key)
    pem = serialization.Encoding.PEM
    server_pem, client_pem = (
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        for key in (server_key, client_key)
    )
    return ca.public_bytes(pem), server.public_bytes(pem), server_pem, client.public_bytes(pem), client_pem


def _certificate(
    subject: str,
    public_key: ec.EllipticCurvePublicKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool = False,
    names: list[x509.GeneralName] | None = None,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
