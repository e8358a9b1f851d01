"""What the extensions of a certificate are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

if TYPE_CHECKING:
    from meshtrust.certificates.model import Certificate

_NAMES = {
    oid: "".join(word.capitalize() if at else word.lower() for at, word in enumerate(name.split("_")))
    for name, oid in vars(ExtensionOID).items()
    if isinstance(oid, x509.ObjectIdentifier)
}


def extension_names(certificate: Certificate) -> tuple[str, ...]:
    """As RFC 5280 calls them, in their order; one that it does not know by its number."""
    return tuple(_NAMES.get(one.oid, one.oid.dotted_string) for one in certificate.parsed.extensions)
