"""X.509 as a mesh needs it: certificates, bundles, who vouches for whom. The only door to `cryptography`."""

from meshtrust.certificates.der import printable_organization
from meshtrust.certificates.extensions import extension_names
from meshtrust.certificates.keys import pair_fault, public_half
from meshtrust.certificates.model import Bundle, Certificate, KeyIdentifier, Kinship, Peer
from meshtrust.certificates.parsing import parse_leaf, parse_pem, revocation_ends
from meshtrust.certificates.rehearsing import rehearse
from meshtrust.certificates.reissuing import reissue
from meshtrust.certificates.signing import Unsigned
from meshtrust.certificates.vouching import chain, refusal

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
