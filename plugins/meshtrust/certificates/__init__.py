"""X.509 as a mesh needs it: certificates, bundles, who vouches for whom. The only door to `cryptography`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from meshtrust.certificates.der import printable_organization
from meshtrust.certificates.keys import pair_fault, public_half
from meshtrust.certificates.model import Bundle, Certificate, KeyIdentifier, Kinship, Peer
from meshtrust.certificates.parsing import parse_leaf, parse_pem, revocation_ends
from meshtrust.certificates.vouching import chain, refusal

if TYPE_CHECKING:
    from meshtrust.certificates.extensions import extension_names
    from meshtrust.certificates.rehearsing import rehearse
    from meshtrust.certificates.reissuing import reissue
    from meshtrust.certificates.signing import Unsigned

# What makes certificates is imported by who makes one.
_MAKES = {"Unsigned": "signing", "extension_names": "extensions", "rehearse": "rehearsing", "reissue": "reissuing"}

__all__ = [
    "Bundle",
    "Certificate",
    "KeyIdentifier",
    "Kinship",
    "Peer",
    "Unsigned",
    "chain",
    "extension_names",
    "pair_fault",
    "parse_leaf",
    "parse_pem",
    "printable_organization",
    "public_half",
    "refusal",
    "rehearse",
    "reissue",
    "revocation_ends",
]


def __getattr__(name: str) -> Any:
    if name not in _MAKES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MAKES[name]}"), name)
