"""Keys: of which kind they are, and whether one belongs to a certificate. No word of a private one is ever said."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, cast

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from meshtrust.certificates.faults import UNREADABLE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from meshtrust.certificates.model import Certificate


def pair_fault(certificate: Certificate, key_pem: str) -> str:
    """Say why a key does not belong to a certificate, or nothing where it does.

    A recording may hold the public key in the place of the private one. No word of the key gets into the answer.
    """
    try:
        key = _public_half(key_pem.encode())
    except UNREADABLE:
        # Neither the text of the error nor its cause is passed on: both saw the key.
        return "it cannot be read as a key (PKCS#1, PKCS#8 or SEC 1, without a passphrase)"
    return "" if key == certificate.parsed.public_key() else "it is the key of another certificate"


def public_half(key_pem: str) -> str:
    """The public key of a private one, as PEM; nothing where it cannot be read."""
    try:
        key = _public_half(key_pem.encode())
    except UNREADABLE:
        return ""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _public_half(pem: bytes) -> PublicKeyTypes:
    if b"PUBLIC KEY-----" in pem:
        return load_pem_public_key(pem)
    # The consistency of an RSA key is not proven here (tens of ms): only its public half is compared.
    return load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True).public_key()


def describe(key: PublicKeyTypes) -> str:
    kind = kind_of_key(type(key))
    if kind is rsa.RSAPublicKey:
        return f"RSA {cast('rsa.RSAPublicKey', key).key_size}"
    if kind is ec.EllipticCurvePublicKey:
        return f"EC {cast('ec.EllipticCurvePublicKey', key).curve.name}"
    return type(key).__name__.removesuffix("PublicKey").lstrip("_")


@lru_cache
def kind_of_key(implementation: type) -> type | None:
    """Which of the two that a mesh uses; asking an abstract class is slow, and the answers are few."""
    kinds = (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)
    return next((kind for kind in kinds if issubclass(implementation, kind)), None)
