"""Roots of one key in every form that they were seen in, and leaves that are signed under each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type as Asn1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meshtrust.certificates import Certificate, parse_pem
from sandbox.issuing import PrivateKey, key_pem, private_key
from tls_stacks import DNS_NAME

KEY, EC_KEY = key_pem("root"), key_pem("P-256", "ec")
LEAF_KEY = key_pem("leaf", "ec")

_STRINGS = {"PrintableString": Asn1Type.PrintableString, "UTF8String": Asn1Type.UTF8String}
_YEAR = timedelta(days=365)
_DATES = {
    "valid": (-_YEAR, 9 * _YEAR),
    "new": (timedelta(hours=-1), 10 * _YEAR),
    "expired": (-10 * _YEAR, timedelta(days=-1)),
    "not yet valid": (timedelta(days=1), 10 * _YEAR),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a root is written; all have one name."""

    string: Literal["PrintableString", "UTF8String"] = "PrintableString"
    identifier: Literal["SHA-1", "SHA-256", "none"] = "SHA-1"
    usage: Literal["signs", "absent", "signs no certificates"] = "signs"
    dates: Literal["valid", "new", "expired", "not yet valid"] = "valid"
    basic: Literal["CA:TRUE", "CA:FALSE", "no CA at all"] = "CA:TRUE"
    authority: Literal["absent", "names its own serial", "names another serial"] = "absent"
    key: Literal["root", "another", "P-256"] = "root"


@cache
def root(form: Form, now: datetime) -> Certificate:
    """Sign it as described."""
    starts, ends = _DATES[form.dates]
    key = _key(form)
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cluster.local", _type=_STRINGS[form.string])])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(_serial(form))
        .not_valid_before(now + starts)
        .not_valid_after(now + ends)
    )
    if form.usage != "absent":
        builder = builder.add_extension(_usage(signs=form.usage == "signs"), critical=True)
    if form.basic != "no CA at all":
        builder = builder.add_extension(
            x509.BasicConstraints(ca=form.basic == "CA:TRUE", path_length=None), critical=True
        )
    if form.identifier != "none":
        builder = builder.add_extension(_identifier(form), critical=False)
    if form.authority != "absent":
        builder = builder.add_extension(
            _authority(form, name, own=form.authority == "names its own serial"), critical=False
        )
    return read(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode())


def _authority(form: Form, name: x509.Name, *, own: bool) -> x509.AuthorityKeyIdentifier:
    """As OpenSSL writes it for `keyid,issuer:always`."""
    identifier = None if form.identifier == "none" else _identifier(form).digest
    return x509.AuthorityKeyIdentifier(identifier, [x509.DirectoryName(name)], _serial(form) if own else 1)


def _serial(form: Form) -> int:
    return int.from_bytes(hashlib.sha256(repr(form).encode()).digest()[:16])


def read(pem: str) -> Certificate:
    (found,) = parse_pem(pem).certificates
    return found


def _identifier(form: Form) -> x509.SubjectKeyIdentifier:
    public = _key(form).public_key()
    if form.identifier == "SHA-1":
        return x509.SubjectKeyIdentifier.from_public_key(public)
    if isinstance(public, ec.EllipticCurvePublicKey):
        octets = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    else:
        octets = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    return x509.SubjectKeyIdentifier(hashlib.sha256(octets).digest()[:20])


def _key(form: Form) -> PrivateKey:
    return private_key(form.key, "ec" if form.key == "P-256" else "rsa")


@cache
def leaf(
    issuer: Certificate, now: datetime, starts: timedelta = -timedelta(minutes=2), ends: timedelta = timedelta(hours=24)
) -> Certificate:
    """Sign a leaf under a root, as istiod does; with a DNS name beside its URI."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier("spiffe://cluster.local/ns/bank/sa/a")]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.parsed.subject)
        .public_key(private_key("leaf", "ec").public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + starts)
        .not_valid_after(now + ends)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([*names, x509.DNSName(DNS_NAME)]), critical=True)
    )
    if issuer.subject_key_identifier is not None:
        authority = x509.AuthorityKeyIdentifier(issuer.subject_key_identifier, None, None)
        builder = builder.add_extension(authority, critical=False)
    signer = Form(key="P-256") if issuer.key.startswith("EC") else Form()
    signed = builder.sign(_key(signer), hashes.SHA256())
    return read(signed.public_bytes(serialization.Encoding.PEM).decode())


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=not signs,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
