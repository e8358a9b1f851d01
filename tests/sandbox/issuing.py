"""Real certificates, described in a few words: the shapes that Istio's CAs make, and the broken ones.

A `Ca` or a `Leaf` is a description; the functions below turn it into a certificate. Times are relative to a `now` that
the caller gives, in whole seconds. The same description gives the same certificate within one process (all is cached:
ECDSA never signs twice alike). Private keys are known by a name, made once per process (an RSA key takes some 30 ms)
and written nowhere but into the objects of the mesh that holds them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.name import _ASN1Type as Asn1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_ATTRIBUTES = {
    "CN": NameOID.COMMON_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "L": NameOID.LOCALITY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
}
_STRINGS = {"printable": Asn1Type.PrintableString, "utf8": Asn1Type.UTF8String}
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ca:
    """One CA certificate, as described; `replace(ca, ends=...)` describes another edition of the same root.

    key: the name of its private key; the same name is the same key
    key_type: rsa (2048 bit) | rsa4096 | ec (P-256)
    subject: `O=cluster.local`; several parts are separated by commas
    string_type: printable (as Istio writes it) | utf8 (as OpenSSL and python do)
    starts, ends: its dates, from `now` on
    identifier: its key identifier: sha256 (Go 1.25 and later; 20 bytes of it) | sha1 (before) | none (Citadel)
    signature: sha256 | sha384 | sha1 | md5 (the last two with an RSA signer only)
    is_ca: False leaves basic constraints with CA:FALSE
    usage: the key usages; Istio's roots have key_cert_sign alone
    signed_by: the CA above it; None is itself (in the chain of an `Authority`: the one before it)
    serial: 0 is made from the description
    """

    key: str = "root"
    key_type: Literal["rsa", "rsa4096", "ec"] = "rsa"
    subject: str = "O=cluster.local"
    string_type: Literal["printable", "utf8"] = "printable"
    starts: timedelta = timedelta(days=-365)
    ends: timedelta = timedelta(days=3285)
    identifier: Literal["sha256", "sha1", "none"] = "sha256"
    signature: Literal["sha256", "sha384", "sha1", "md5"] = "sha256"
    is_ca: bool = True
    usage: tuple[str, ...] = ("key_cert_sign",)
    signed_by: Ca | None = None
    serial: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """The certificate of a workload, as described.

    issued: when it was signed; an istiod dates it two minutes back, a Citadel does not
    ends: its last moment
    signed_by: None is the CA that signs in this mesh
    identity: the URI of its SAN; empty is what its holder is
    key: the name of its private key: one for all, because nobody compares leaf keys and making them takes time
    """

    issued: timedelta = timedelta(hours=-1)
    ends: timedelta = timedelta(hours=23)
    signed_by: Ca | None = None
    identity: str = ""
    key: str = "leaf"


@cache
def private_key(name: str, key_type: str = "rsa") -> PrivateKey:
    """Give the key of this name: made at the first call, the same ever after in this process."""
    del name  # part of the cache's key only
    if key_type == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, 4096 if key_type == "rsa4096" else 2048)


@cache
def ca_certificate(ca: Ca, now: datetime) -> x509.Certificate:
    signer = ca.signed_by or ca
    key = private_key(ca.key, ca.key_type)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(ca))
        .issuer_name(_name(signer))
        .public_key(key.public_key())
        .serial_number(ca.serial or _serial(ca, now))
        .not_valid_before(_second(now + ca.starts))
        .not_valid_after(_second(now + ca.ends))
        .add_extension(key_usage(*ca.usage), critical=True)
        .add_extension(x509.BasicConstraints(ca=ca.is_ca, path_length=None), critical=True)
    )
    identifier = _key_identifier(ca)
    if identifier is not None:
        builder = builder.add_extension(x509.SubjectKeyIdentifier(identifier), critical=False)
    if signer is not ca:
        builder = _with_authority(builder, _key_identifier(signer))
    return _sign(builder, signer, ca.signature)


@cache
def leaf_certificate(leaf: Leaf, signer: Ca, identity: str, now: datetime, *, era: str) -> x509.Certificate:
    """Sign a leaf: empty subject, one critical URI SAN; `signer` and `identity` hold where the leaf names no other."""
    signer = leaf.signed_by or signer
    back_dating = timedelta(0) if era == "citadel" else timedelta(minutes=2)
    uri = x509.UniformResourceIdentifier(leaf.identity or identity)
    builder = leaf_builder(
        issuer=_name(signer),
        authority=_key_identifier(signer),
        names=[uri],
        starts=now + leaf.issued - back_dating,
        ends=now + leaf.ends,
        serial=_serial((leaf, signer, identity), now),
        key=leaf.key,
    )
    return _sign(builder, signer, "sha256")


def leaf_builder(
    *,
    issuer: x509.Name,
    authority: bytes | None,
    names: Iterable[x509.GeneralName],
    starts: datetime,
    ends: datetime,
    serial: int,
    key: str = "leaf",
) -> x509.CertificateBuilder:
    """Write down the leaf of a workload: it names its signer's key identifier, and none where the signer has none."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer)
        .public_key(private_key(key, "rsa").public_key())
        .serial_number(serial)
        .not_valid_before(_second(starts))
        .not_valid_after(_second(ends))
        .add_extension(key_usage("digital_signature", "key_encipherment"), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    return _with_authority(builder, authority).add_extension(x509.SubjectAlternativeName(names), critical=True)


@cache
def serving_certificate(leaf: Leaf, signer: Ca, names: tuple[str, ...], now: datetime) -> x509.Certificate:
    """Sign a serving certificate with DNS names, as cert-manager makes `istiod-tls`."""
    signer = leaf.signed_by or signer
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(_name(signer))
        .public_key(private_key(leaf.key, "rsa").public_key())
        .serial_number(_serial((leaf, signer, names), now))
        .not_valid_before(_second(now + leaf.issued))
        .not_valid_after(_second(now + leaf.ends))
        .add_extension(key_usage("digital_signature", "key_encipherment"), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=True)
    )
    return _sign(_with_authority(builder, _key_identifier(signer)), signer, "sha256")


@cache
def crl(ca: Ca, next_update: timedelta, now: datetime) -> str:
    """Sign an empty CRL of this CA as PEM: a day old, or a day older than its end."""
    end = _second(now + next_update)
    last = min(_second(now), end) - timedelta(days=1)
    signed = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(_name(ca))
        .last_update(last)
        .next_update(end)
        .sign(private_key(ca.key, ca.key_type), hashes.SHA256())
    )
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def pem(certificates: Iterable[x509.Certificate]) -> str:
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in certificates)


@cache
def key_pem(name: str, key_type: str = "rsa") -> str:
    """Give the private key as Istio stores it: PKCS#1 (`RSA PRIVATE KEY`), or SEC 1 for an EC key."""
    encoded = private_key(name, key_type).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return encoded.decode()


def _name(ca: Ca) -> x509.Name:
    parts = (part.split("=", 1) for part in ca.subject.split(","))
    kind = _STRINGS[ca.string_type]
    return x509.Name([x509.NameAttribute(_ATTRIBUTES[what.strip()], value, _type=kind) for what, value in parts])


def key_usage(*usages: str) -> x509.KeyUsage:
    return x509.KeyUsage(*(name in usages for name in _USAGES))


def printable_name(organization: str) -> x509.Name:
    """The name of a root as Istio writes it."""
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization, _type=_STRINGS["printable"])])


def _key_identifier(ca: Ca) -> bytes | None:
    return key_identifier(private_key(ca.key, ca.key_type).public_key(), ca.identifier)


def key_identifier(public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey, kind: str) -> bytes | None:
    if kind == "none":
        return None
    if kind == "sha1":
        return x509.SubjectKeyIdentifier.from_public_key(public).digest
    # Over the same bytes as SHA-1's: the bit string of the key, without its ASN.1 frame.
    form = serialization.PublicFormat.PKCS1
    encoding = serialization.Encoding.DER
    if isinstance(public, ec.EllipticCurvePublicKey):
        form, encoding = serialization.PublicFormat.UncompressedPoint, serialization.Encoding.X962
    return hashlib.sha256(public.public_bytes(encoding, form)).digest()[:20]


def _with_authority(builder: x509.CertificateBuilder, identifier: bytes | None) -> x509.CertificateBuilder:
    if identifier is None:
        return builder
    authority = x509.AuthorityKeyIdentifier(identifier, authority_cert_issuer=None, authority_cert_serial_number=None)
    return builder.add_extension(authority, critical=False)


def _sign(builder: x509.CertificateBuilder, signer: Ca, signature: str) -> x509.Certificate:
    key = private_key(signer.key, signer.key_type)
    if signature in ("sha256", "sha384"):
        return builder.sign(key, hashes.SHA256() if signature == "sha256" else hashes.SHA384())
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError(f"{signature} signatures are made with an RSA key only")
    return _sign_weakly(builder.sign(key, hashes.SHA256()), key, signature)


def _sign_weakly(certificate: x509.Certificate, key: rsa.RSAPrivateKey, signature: str) -> x509.Certificate:
    """`cryptography` refuses to issue with SHA-1 and MD5: name that algorithm in its certificate and sign again.

    The names of the algorithms and their signatures are of one length, so no other byte moves.
    """
    sha256_with_rsa = bytes.fromhex("06092a864886f70d01010b")
    weak = bytes.fromhex("06092a864886f70d010105" if signature == "sha1" else "06092a864886f70d010104")
    signed = certificate.tbs_certificate_bytes.replace(sha256_with_rsa, weak)
    digest = hashes.SHA1() if signature == "sha1" else hashes.MD5()  # noqa: S303 - the point is that it is weak
    der = certificate.public_bytes(serialization.Encoding.DER).replace(certificate.tbs_certificate_bytes, signed)
    der = der[: -len(certificate.signature)].replace(sha256_with_rsa, weak)
    return x509.load_der_x509_certificate(der + key.sign(signed, padding.PKCS1v15(), digest))


def _serial(described: object, now: datetime) -> int:
    """Below 2^128 as Istio's, and made from the description, so that two editions differ and two runs do not."""
    return int.from_bytes(hashlib.sha256(repr((described, now)).encode()).digest()[:16]) | 1


def _second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
