"""What goes wrong when octets are read that somebody else wrote."""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

# What `cryptography` raises for certificates that it cannot make sense of.
UNREADABLE = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def first_line(error: BaseException) -> str:
    """What a parser says, on one line: it speaks of DER and of positions, never of a key's octets."""
    said = str(error).strip()
    if fault := re.match(r"error parsing asn1 value: ParseError \{ kind: (\w+)", said):
        return f"not a certificate that can be parsed (DER: {fault[1]})"
    return said.splitlines()[0].rstrip(".") if said else type(error).__name__
