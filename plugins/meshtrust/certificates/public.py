"""What a PEM block (RFC 7468) must be, octet for octet, before it is believed to hold nothing secret."""

from __future__ import annotations

from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_public_key

from meshtrust.certificates.faults import UNREADABLE
from meshtrust.certificates.parsing import parse_leaf
from meshtrust.octets import from_base64

PUBLIC_LABELS = frozenset(
    {"CERTIFICATE", "X509 CRL", "PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE REQUEST", "EC PARAMETERS"}
)
_OBJECT_IDENTIFIER, _LONGEST = 0x06, 16  # of a curve's name, in octets


def is_public(label: str, body: str) -> bool:
    """Say whether all that stands between the two lines of a block is what its label says."""
    try:
        der = from_base64("".join(body.split()))
        return _is_what_it_says(label, der, body)
    except UNREADABLE:
        return False


def _is_what_it_says(label: str, der: bytes, body: str) -> bool:
    match label:
        case "CERTIFICATE":
            found = parse_leaf(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----").certificates
            return [one.fingerprint for one in found] == [sha256(der).hexdigest()]
        case "X509 CRL":
            x509.load_der_x509_crl(der)
        case "PUBLIC KEY" | "RSA PUBLIC KEY":
            load_der_public_key(der)
        case "CERTIFICATE REQUEST":
            x509.load_der_x509_csr(der)
        case "EC PARAMETERS":
            return len(der) <= _LONGEST and der[:2] == bytes((_OBJECT_IDENTIFIER, len(der) - 2))
        case _:
            return False
    return True
