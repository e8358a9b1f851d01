"""A certificate, a bundle of them, and what one root is to another."""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha1, sha256
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID
from msgspec import Struct

from meshtrust.certificates.der import bit_string

if TYPE_CHECKING:
    from datetime import datetime, timedelta

_EXTENSIONS = {
    oid: "".join(word.capitalize() if at else word.lower() for at, word in enumerate(name.split("_")))
    for name, oid in vars(ExtensionOID).items()
    if isinstance(oid, x509.ObjectIdentifier)
}


class KeyIdentifier(StrEnum):
    """How a Subject Key Identifier was made: it tells which Istio made the certificate."""

    NONE = "none"  # Go before 1.15: Citadel and the first istiods
    SHA1 = "SHA-1"  # RFC 5280 4.2.1.2 method 1, Go 1.15-1.24, OpenSSL: istiod up to 1.28
    SHA256 = "SHA-256"  # RFC 7093 method 1, Go 1.25: istiod from 1.29
    OTHER = "other"


class Peer(StrEnum):
    """Who verifies a chain: each minds other octets of a certificate and its issuer."""

    EVERYONE = "every peer"  # the strictest of them in each point
    ENVOY = "Envoy"  # BoringSSL, as OpenSSL: names by their meaning, and key identifiers
    OCTETS = "ztunnel and Go"  # rustls as well: names octet by octet, and no key identifiers

    @property
    def minds_octets(self) -> bool:
        return self is not Peer.ENVOY

    @property
    def minds_identifiers(self) -> bool:
        return self is not Peer.OCTETS


class Kinship(StrEnum):
    """What one root is to another: only the first two verify the same leaves for every peer."""

    SAME = "the same certificate"
    EDITION = "another edition of the same root"
    OTHER_IDENTIFIER = "the same key with another key identifier"  # Envoy (BoringSSL) refuses
    OTHER_SUBJECT = "the same key with other subject bytes"  # ztunnel (rustls) and Go refuse
    OTHER_KEY = "another key"


class Certificate(Struct, frozen=True, eq=False, kw_only=True):
    """One certificate, read whole: what does not parse is a `Bundle.broken`, never an error later.

    Two are equal whose octets are.
    `subject_bytes` and `issuer_bytes` are the DER as it stands, because peers compare them octet by octet.
    `tbs` is what its issuer has signed. `can_sign` is None where there is no keyUsage at all. `uris` are those among
    its other names: a workload's identity.
    """

    fingerprint: str
    subject: str
    subject_bytes: bytes
    issuer_bytes: bytes
    serial: int
    not_before: datetime
    not_after: datetime
    key: str
    key_bytes: bytes
    tbs: bytes
    subject_key_identifier: bytes | None = None
    authority_key_identifier: bytes | None = None
    is_ca: bool = False
    path_length: int | None = None
    can_sign: bool | None = None
    signature: str
    organizations: tuple[str, ...]
    uris: tuple[str, ...] = ()
    parsed: x509.Certificate

    def __repr__(self) -> str:
        return f"Certificate({self.short} {self.subject!r}, {self.serial}, {self.not_before} to {self.not_after})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.fingerprint == other.fingerprint

    def __ne__(self, other: object) -> bool:  # that of a Struct does not ask `__eq__`
        return not self == other

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @property
    def short(self) -> str:
        """The first eight octets of the SHA-256 fingerprint, as people compare them."""
        return ":".join(self.fingerprint[at : at + 2] for at in range(0, 16, 2))

    @property
    def pem(self) -> str:
        """As Go and OpenSSL write it: 64 columns, one newline at the end, no text around."""
        return self.parsed.public_bytes(Encoding.PEM).decode()

    @property
    def life(self) -> timedelta:
        return self.not_after - self.not_before

    @property
    def self_issued(self) -> bool:
        return self.subject_bytes == self.issuer_bytes

    @property
    def weakly_signed(self) -> bool:
        """Go has refused SHA-1 below a root since 1.18, and MD5 since 1.6."""
        return self.signature.endswith(("-SHA1", "-MD5"))

    @property
    def key_identifier(self) -> KeyIdentifier:
        if self.subject_key_identifier is None:
            return KeyIdentifier.NONE
        key = bit_string(self.key_bytes)
        if self.subject_key_identifier == sha1(key, usedforsecurity=False).digest():
            return KeyIdentifier.SHA1
        if self.subject_key_identifier == sha256(key).digest()[:20]:
            return KeyIdentifier.SHA256
        return KeyIdentifier.OTHER

    def valid_at(self, now: datetime) -> bool:
        return self.not_before <= now <= self.not_after

    def stands_in_for(self, other: Certificate, peer: Peer = Peer.EVERYONE) -> bool:
        """Whether a peer that holds this root accepts what the other root's key signed under the other's name."""
        if self.key_bytes != other.key_bytes or (peer.minds_octets and self.subject_bytes != other.subject_bytes):
            return False
        mine, theirs = self.subject_key_identifier, other.subject_key_identifier
        return not peer.minds_identifiers or mine is None or theirs is None or mine == theirs

    def kinship(self, other: Certificate) -> Kinship:
        if self.fingerprint == other.fingerprint:
            return Kinship.SAME
        if self.key_bytes != other.key_bytes:
            return Kinship.OTHER_KEY
        if self.subject_bytes != other.subject_bytes:
            return Kinship.OTHER_SUBJECT
        mine, theirs = self.subject_key_identifier, other.subject_key_identifier
        if mine is not None and theirs is not None and mine != theirs:
            return Kinship.OTHER_IDENTIFIER
        return Kinship.EDITION


class Bundle(Struct, frozen=True):
    """The certificates of one text in their order, and why each block that is not one could not be read."""

    certificates: tuple[Certificate, ...] = ()
    broken: tuple[str, ...] = ()
    private_keys: int = 0
