"""The move to another edition of a root, gone through in memory before anything is written."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from meshtrust.certificates.der import TbsCertificate
from meshtrust.certificates.model import Peer
from meshtrust.certificates.parsing import parse_leaf
from meshtrust.certificates.signing import istiod_signer
from meshtrust.certificates.vouching import refusal

if TYPE_CHECKING:
    from datetime import datetime

    from meshtrust.certificates.model import Certificate
    from meshtrust.certificates.signing import Signer

_LIFE, _BACK_DATED = timedelta(hours=24), timedelta(minutes=2)  # as istiod signs for workloads
_IDENTITY = x509.UniformResourceIdentifier("spiffe://cluster.local/ns/default/sa/default")
_PURPOSES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=True,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def rehearse(old: Certificate, new: Certificate, key_pem: str, now: datetime) -> tuple[str, ...]:
    """Say who would refuse whom while proxies move from the old root to the new one; nothing where nobody would.

    A leaf is signed by the real key under each of the two, as istiod does, and held against the other one, and the new
    leaf against the new root, as Envoy does and as ztunnel and Go do. Looked at are names, key identifiers, the right
    to sign, signatures, and whether the new root is valid now and as long as such a leaf. The old root's own dates are
    not: it may have expired. Raises Unsigned where the key is not theirs.
    """
    old_leaf, new_leaf = (_leaf(root, istiod_signer(root, key_pem), now) for root in (old, new))
    pairs = (
        ("a leaf of the old root under the new one", old_leaf, new),
        ("a leaf of the new root under the old one", new_leaf, old),
        ("a leaf of the new root under itself", new_leaf, new),
    )
    refusals = tuple(
        f"{which}: refused by {peer}: {fault}"
        for which, leaf, root in pairs
        for peer in (Peer.ENVOY, Peer.OCTETS)
        if (fault := refusal(leaf, root, peer))
    )
    return refusals + _dates(new, now)


def _dates(new: Certificate, now: datetime) -> tuple[str, ...]:
    if now < new.not_before:
        return (f"the new root is not valid before {new.not_before:%Y-%m-%dT%H:%M:%SZ}",)
    if now + _LIFE > new.not_after:
        return (f"the new root ends before a leaf of today does: {new.not_after:%Y-%m-%dT%H:%M:%SZ}",)
    return ()


def _leaf(root: Certificate, signer: Signer, now: datetime) -> Certificate:
    """As istiod writes it: its issuer is the root's subject as it stands, beside the root's key identifier if any."""
    workload = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(workload.public_key())
        .serial_number(secrets.randbits(128) | 1)
        .not_valid_before(now - _BACK_DATED)
        .not_valid_after(now + _LIFE)
        .add_extension(_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage(_PURPOSES), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if root.subject_key_identifier is not None:
        authority = x509.AuthorityKeyIdentifier(root.subject_key_identifier, None, None)
        builder = builder.add_extension(authority, critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([_IDENTITY]), critical=True)
    # `cryptography` would write the issuer's name in its own octets, and sign with a key that it chooses the hash for.
    drafted = TbsCertificate.of(builder.sign(workload, hashes.SHA256()).tbs_certificate_bytes)
    tbs = replace(drafted, issuer=root.subject_bytes, algorithm=signer.algorithm)
    signed = x509.load_der_x509_certificate(signer.certificate(tbs.der))
    (leaf,) = parse_leaf(signed.public_bytes(Encoding.PEM).decode()).certificates
    return leaf
