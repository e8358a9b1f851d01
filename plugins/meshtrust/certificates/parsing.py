"""Certificates and revocation lists out of PEM texts (RFC 7468)."""

from __future__ import annotations

import re
import warnings
from binascii import a2b_base64
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from meshtrust.certificates.der import after_signature
from meshtrust.certificates.faults import UNREADABLE, first_line
from meshtrust.certificates.keys import describe
from meshtrust.certificates.model import Bundle, Certificate

if TYPE_CHECKING:
    from datetime import datetime

_SIGNATURES = {
    oid: name.strip("_").replace("_WITH_", "-").replace("_", "-")
    for name, oid in vars(SignatureAlgorithmOID).items()
    if isinstance(oid, x509.ObjectIdentifier)
}
_PEM_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)(?:-----END \1-----|(?=-----BEGIN )|\Z)", re.DOTALL)


_CERTIFICATE, _DASHES, _MARKS = "CERTIFICATE", "-----", 4  # dashes stand at both ends of both lines
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@lru_cache(maxsize=512)  # a thousand namespaces hold the same text
def parse_pem(text: str) -> Bundle:
    """Read every block of a PEM bundle (RFC 7468): good ones are kept, bad ones are named by their place."""
    return parse_leaf(text)


def parse_leaf(text: str) -> Bundle:
    """The same for what comes only once, so that it is not remembered: the certificate of a workload."""
    blocks = _blocks(text)
    if not blocks:
        return Bundle(broken=("no certificate in it" if text.strip() else "empty",))
    certificates: list[Certificate] = []
    broken: list[str] = []
    for number, (label, block) in enumerate(blocks, 1):
        try:
            # What breaks RFC 5280 in a way that only warns is judged like any other.
            with warnings.catch_warnings(action="ignore"):
                certificates.append(_parse_block(label, block))
        except UNREADABLE as error:
            place = f"block {number} of {len(blocks)}: " if len(blocks) > 1 else ""
            broken.append(f"{place}{first_line(error)}")
    return Bundle(tuple(certificates), tuple(broken), sum(1 for label, _ in blocks if _is_private_key(label)))


def _blocks(text: str) -> list[tuple[str, str]]:
    """Each block with its label. Nearly all texts are one certificate, and there are thousands of them."""
    if text.startswith(_BEGIN) and text.endswith((_END, f"{_END}\n")) and text.count(_DASHES) == _MARKS:
        return [(_CERTIFICATE, text.rstrip())]
    return [(block[1], block[0]) for block in _PEM_BLOCK.finditer(text)]


def _parse_block(label: str, block: str) -> Certificate:
    if label != _CERTIFICATE:
        kind = "a private key" if _is_private_key(label) else label
        raise ValueError(f"holds {kind}, not a certificate")
    if not block.endswith(_DASHES):
        raise ValueError("a certificate that begins and does not end")
    parsed, der = _loaded(block)
    extensions = {extension.oid: extension.value for extension in parsed.extensions}
    subject, signed_with = parsed.subject, parsed.signature_algorithm_oid
    issuer, _, subject_bytes, key_bytes = after_signature(parsed.tbs_certificate_bytes)
    basic: Any = extensions.get(ExtensionOID.BASIC_CONSTRAINTS)
    usage: Any = extensions.get(ExtensionOID.KEY_USAGE)
    ours: Any = extensions.get(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    theirs: Any = extensions.get(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    return Certificate(
        fingerprint=sha256(der).hexdigest(),
        subject=subject.rfc4514_string(),
        subject_bytes=subject_bytes,
        issuer_bytes=issuer,
        serial=parsed.serial_number,
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
        key=describe(parsed.public_key()),
        key_bytes=key_bytes,
        subject_key_identifier=ours.digest if ours else None,
        authority_key_identifier=theirs.key_identifier if theirs else None,
        is_ca=bool(basic and basic.ca),
        path_length=basic.path_length if basic else None,
        can_sign=usage.key_cert_sign if usage else None,
        signature=_SIGNATURES.get(signed_with, signed_with.dotted_string),
        organizations=tuple(
            cast("str", attribute.value) for attribute in subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
        ),
        parsed=parsed,
    )


def _loaded(block: str) -> tuple[x509.Certificate, bytes]:
    """The certificate and its DER: by the short way where the block is as Istio writes it, which is half the time."""
    try:
        der = a2b_base64("".join(block[len(_BEGIN) : -len(_END)].split()), strict_mode=True)
        return x509.load_der_x509_certificate(der), der
    except ValueError:
        parsed = x509.load_pem_x509_certificate(block.encode())
        return parsed, parsed.public_bytes(Encoding.DER)


def _is_private_key(label: str) -> bool:
    return label.endswith("PRIVATE KEY")  # of PKCS#1, SEC 1, PKCS#8, encrypted or not


def revocation_ends(text: str) -> tuple[datetime | None, ...]:
    """Read the nextUpdate of each CRL in a PEM text (RFC 5280 5.1.2.5); raises ValueError where one is broken."""
    blocks = [match[0].encode() for match in _PEM_BLOCK.finditer(text) if match[1] == "X509 CRL"]
    if text.strip() and not blocks:
        raise ValueError("no revocation list in it")
    try:
        return tuple(x509.load_pem_x509_crl(block).next_update_utc for block in blocks)
    except UNREADABLE as error:
        raise ValueError(first_line(error)) from error
