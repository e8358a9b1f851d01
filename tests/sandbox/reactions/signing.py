"""A CA in the memory of an istiod or a Citadel: loaded from a Secret as they load it, and what it signs.

Unlike `issuing`, nothing here is described: it goes by the certificate and the key that somebody wrote.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from sandbox import issuing
from sandbox.envoy import Held
from sandbox.issuing import ca_certificate, key_usage, pem, private_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sandbox.issuing import PrivateKey
    from sandbox.mesh import Mesh
    from sandbox.shapes import Body

_PLUGGED = ("ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem")
_TLS = ("tls.crt", "tls.key", "ca.crt")


class Unloadable(Exception):
    """A CA that istiod and Citadel do not take."""


@dataclass(frozen=True, slots=True)
class Signing:
    """`chain` is what stands between the signer and the root, the signer first; empty where a root signs."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...]
    roots: tuple[x509.Certificate, ...]

    @property
    def bundle(self) -> str:
        return pem(self.roots)

    def in_grace(self, now: datetime, share: float) -> bool:
        """Say whether so little of its life is left that the rotator renews it."""
        until, since = self.certificate.not_valid_after_utc, self.certificate.not_valid_before_utc
        return until - now < (until - since) * share

    def issue(self, identity: str, now: datetime, *, citadel: bool = False) -> Held:
        """Sign a leaf as `issuing` describes it: of 24 hours, or Citadel's 90 days."""
        life = timedelta(days=90) if citadel else timedelta(hours=24)
        until = now + life if citadel else min(now + life, self.certificate.not_valid_after_utc)
        signed = issuing.leaf_builder(
            issuer=self.certificate.subject,
            authority=_subject_key(self.certificate),
            names=[x509.UniformResourceIdentifier(identity)],
            starts=now if citadel else now - timedelta(minutes=2),
            ends=max(until, now),
            serial=x509.random_serial_number(),
        ).sign(self.key, hashes.SHA256())
        return Held(signed, (*self.chain, *self.roots) if self.chain else self.roots[:1], self.roots, now)


def of_description(mesh: Mesh) -> Signing:
    """Give what the CA of a mesh has in memory before anything happens."""
    signer = mesh.ca.signer
    issuers = tuple(ca_certificate(ca, mesh.now) for ca in reversed(mesh.ca.issuers))
    roots = tuple(ca_certificate(ca, mesh.now) for ca in mesh.ca.bundle)
    return Signing(issuers[0], private_key(signer.key, signer.key_type), issuers if mesh.ca.chain else (), roots)


def texts_of(secret: Body | None) -> dict[str, str]:
    listed = ((secret or {}).get("data") or {}).items()
    return {key: base64.b64decode(value or "").decode(errors="replace") for key, value in listed}


def load_self_signed(texts: Mapping[str, str], mounted_root: str, now: datetime) -> Signing:
    """Take a root that signs itself; roots that are mounted are trusted as well."""
    signer = _loaded(texts.get("ca-cert.pem", ""), texts.get("ca-key.pem", ""), now)
    try:
        signer.certificate.verify_directly_issued_by(signer.certificate)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise Unloadable("x509: certificate signed by unknown authority") from error
    more = tuple(one for one in _certificates(mounted_root) if one not in signer.roots)
    return Signing(signer.certificate, signer.key, (), (*signer.roots, *more))


def plugged_parts(texts: Mapping[str, str]) -> tuple[str, ...]:
    """Say which files of a plugged-in CA a `cacerts` lacks; ValueError where it has none of them."""
    names = _TLS if texts.get("tls.crt") else _PLUGGED
    lacking = tuple(name for name in names if name not in texts)
    if len(lacking) == len(names):
        raise ValueError("no part of a CA")
    return lacking


def load_plugged(texts: Mapping[str, str], now: datetime) -> Signing:
    if texts.get("tls.crt"):
        certificate, key, root, chain = (
            *(texts.get(name, "") for name in _TLS),
            texts["tls.crt"] + texts.get("ca.crt", ""),
        )
    else:
        certificate, key, root, chain = (texts.get(name, "") for name in _PLUGGED)
    signer = _loaded(certificate, key, now)
    return Signing(signer.certificate, signer.key, _certificates(chain), _certificates(root))


def renewed(old: Signing, now: datetime, life: timedelta, release: tuple[int, int]) -> x509.Certificate:
    """Renew a root as the rotator does: the key and the O stay, all else is as this release makes a root.

    Go 1.25 and later (Istio 1.29) name the key by SHA-256, earlier ones by SHA-1, those of before Istio 1.8 not at all.
    """
    organization = old.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value
    return self_signed(old.key, str(organization), now, life, release)


def self_signed(
    key: PrivateKey, organization: str, now: datetime, life: timedelta, release: tuple[int, int]
) -> x509.Certificate:
    name = issuing.printable_name(organization)
    identifier = "sha256" if release >= (1, 29) else "sha1" if release >= (1, 8) else "none"
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.replace(microsecond=0))
        .not_valid_after((now + life).replace(microsecond=0))
        .add_extension(key_usage("key_cert_sign"), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    digest = issuing.key_identifier(key.public_key(), identifier)
    if digest is not None:
        builder = builder.add_extension(x509.SubjectKeyIdentifier(digest), critical=False)
    return builder.sign(key, hashes.SHA256())


def key_text(key: PrivateKey) -> str:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _loaded(certificate: str, key: str, now: datetime) -> Signing:
    found = _certificates(certificate)
    if not found:
        raise Unloadable("failed to parse the certificate")
    try:
        secret = serialization.load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError):
        raise Unloadable("failed to parse the private key") from None
    if not isinstance(secret, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise Unloadable("a key of an unknown kind")
    if secret.public_key() != found[0].public_key():
        raise Unloadable("the cert does not match the key")
    if not found[0].not_valid_before_utc <= now <= found[0].not_valid_after_utc:
        raise Unloadable("x509: certificate has expired or is not yet valid")
    constraints = [one.value for one in found[0].extensions if isinstance(one.value, x509.BasicConstraints)]
    if not any(one.ca for one in constraints):
        raise Unloadable("the cert is not a CA")
    return Signing(found[0], secret, (), found)


def _certificates(text: str) -> tuple[x509.Certificate, ...]:
    if not text.strip():
        return ()
    try:
        return tuple(x509.load_pem_x509_certificates(text.encode()))
    except ValueError as error:
        raise Unloadable("failed to parse the certificate") from error


def _subject_key(certificate: x509.Certificate) -> bytes | None:
    found = [one.value for one in certificate.extensions if isinstance(one.value, x509.SubjectKeyIdentifier)]
    return found[0].digest if found else None
