"""X.509 as a mesh needs it: certificates, bundles, who issued whom. The only door to `cryptography`."""

from __future__ import annotations

import re
import warnings
from binascii import a2b_base64
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from hashlib import sha1, sha256
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime, timedelta

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

# What `cryptography` raises for certificates that it cannot make sense of.
_UNREADABLE = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
_SIGNATURES = {
    oid: name.strip("_").replace("_WITH_", "-").replace("_", "-")
    for name, oid in vars(SignatureAlgorithmOID).items()
    if isinstance(oid, x509.ObjectIdentifier)
}
_WEAK_HASHES = {
    SignatureAlgorithmOID.RSA_WITH_SHA1: hashes.SHA1(),  # noqa: S303 - to judge it, not to use it
    SignatureAlgorithmOID.RSA_WITH_MD5: hashes.MD5(),  # noqa: S303 - as above
}
_PKCS1, _SHA256 = padding.PKCS1v15(), hashes.SHA256()
_PEM_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)(?:-----END \1-----|(?=-----BEGIN )|\Z)", re.DOTALL)


_CERTIFICATE, _DASHES, _MARKS = "CERTIFICATE", "-----", 4  # dashes stand at both ends of both lines
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"

Extension = TypeVar("Extension", bound=x509.ExtensionType)


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


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """One certificate, read whole: what does not parse is a `Bundle.broken`, never an error later.

    Two are equal whose octets are.
    `subject_bytes` and `issuer_bytes` are the DER as it stands, because peers compare them octet by octet.
    `can_sign` is None where there is no keyUsage at all.
    """

    fingerprint: str
    subject: str
    subject_bytes: bytes = field(repr=False)
    issuer_bytes: bytes = field(repr=False)
    serial: int
    not_before: datetime
    not_after: datetime
    key: str
    key_bytes: bytes = field(repr=False)
    subject_key_identifier: bytes | None
    authority_key_identifier: bytes | None
    is_ca: bool
    path_length: int | None
    can_sign: bool | None
    signature: str
    organizations: tuple[str, ...]
    parsed: x509.Certificate = field(repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @property
    def short(self) -> str:
        """The first eight octets of the SHA-256 fingerprint, as people compare them."""
        return ":".join(self.fingerprint[at : at + 2] for at in range(0, 16, 2))

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
        key = _bit_string(self.key_bytes)
        if self.subject_key_identifier == sha1(key, usedforsecurity=False).digest():
            return KeyIdentifier.SHA1
        if self.subject_key_identifier == sha256(key).digest()[:20]:
            return KeyIdentifier.SHA256
        return KeyIdentifier.OTHER

    def valid_at(self, now: datetime) -> bool:
        return self.not_before <= now <= self.not_after

    @property
    def uris(self) -> tuple[str, ...]:
        """The URIs among its names: a workload's identity."""
        try:
            names = _extension(self.parsed, x509.SubjectAlternativeName)
        except _UNREADABLE:
            return ()
        return tuple(names.get_values_for_type(x509.UniformResourceIdentifier)) if names else ()

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


@dataclass(frozen=True, slots=True)
class Bundle:
    """The certificates of one text in their order, and why each block that is not one could not be read."""

    certificates: tuple[Certificate, ...] = ()
    broken: tuple[str, ...] = ()
    private_keys: int = 0


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
        except _UNREADABLE as error:
            place = f"block {number} of {len(blocks)}: " if len(blocks) > 1 else ""
            broken.append(f"{place}{_first_line(error)}")
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
    issuer, _, subject_bytes, key_bytes = _after_signature(parsed.tbs_certificate_bytes)
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
        key=_describe(parsed.public_key()),
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


def pair_fault(certificate: Certificate, key_pem: str) -> str:
    """Say why a key does not belong to a certificate, or nothing where it does.

    A recording may hold the public key in the place of the private one. No word of the key gets into the answer.
    """
    try:
        key = _public_half(key_pem.encode())
    except _UNREADABLE:
        # Neither the text of the error nor its cause is passed on: both saw the key.
        return "it cannot be read as a key (PKCS#1, PKCS#8 or SEC 1, without a passphrase)"
    return "" if key == certificate.parsed.public_key() else "it is the key of another certificate"


def public_half(key_pem: str) -> str:
    """The public key of a private one, as PEM; nothing where it cannot be read."""
    try:
        key = _public_half(key_pem.encode())
    except _UNREADABLE:
        return ""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _public_half(pem: bytes) -> PublicKeyTypes:
    if b"PUBLIC KEY-----" in pem:
        return load_pem_public_key(pem)
    # The consistency of an RSA key is not proven here (tens of ms): only its public half is compared.
    return load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True).public_key()


def refusal(child: Certificate, issuer: Certificate, peer: Peer = Peer.EVERYONE) -> str:
    """Say why a peer of a mesh refuses `issuer` as the issuer of `child`, or nothing where it accepts it.

    The strictest of Go, OpenSSL, BoringSSL and rustls in each point unless one is named; dates are not looked at.
    """
    same_octets = child.issuer_bytes == issuer.subject_bytes
    if not same_octets and (peer.minds_octets or child.parsed.issuer != issuer.parsed.subject):
        return "its subject is not the issuer's name, octet by octet"  # Go, rustls
    theirs, ours = child.authority_key_identifier, issuer.subject_key_identifier
    if peer.minds_identifiers and theirs is not None and ours is not None and theirs != ours:
        return "its key identifier is not the one that was signed for"  # OpenSSL, BoringSSL
    if not issuer.is_ca:
        return "it is no CA (CA:TRUE is missing)"
    if issuer.can_sign is False:
        return "its keyUsage does not allow signing certificates"
    try:
        _verify_signature(child.parsed, issuer.parsed, same_octets=same_octets)
    except InvalidSignature:
        return "the signature is another key's"
    except _UNREADABLE as error:
        return f"the signature cannot be verified ({_first_line(error)})"
    return ""


def _verify_signature(child: x509.Certificate, issuer: x509.Certificate, *, same_octets: bool) -> None:
    """As `verify_directly_issued_by`, which no longer takes the hashes that `Certificate.weakly_signed` reports.

    Nor does it take a name in other octets, which BoringSSL does.
    """
    public = issuer.public_key()
    kind = _kind_of_key(type(public))
    if kind is rsa.RSAPublicKey:
        key = cast("rsa.RSAPublicKey", public)
        oid = child.signature_algorithm_oid
        if oid == SignatureAlgorithmOID.RSA_WITH_SHA256:  # what Istio signs with
            key.verify(child.signature, child.tbs_certificate_bytes, _PKCS1, _SHA256)
        elif weak := _WEAK_HASHES.get(oid):
            key.verify(child.signature, child.tbs_certificate_bytes, _PKCS1, weak)
        else:
            scheme = cast("padding.AsymmetricPadding", child.signature_algorithm_parameters)
            digest = cast("hashes.HashAlgorithm", child.signature_hash_algorithm)
            key.verify(child.signature, child.tbs_certificate_bytes, scheme, digest)
    elif same_octets:
        child.verify_directly_issued_by(issuer)
    elif kind is ec.EllipticCurvePublicKey:
        curve = cast("ec.EllipticCurveSignatureAlgorithm", child.signature_algorithm_parameters)
        cast("ec.EllipticCurvePublicKey", public).verify(child.signature, child.tbs_certificate_bytes, curve)
    else:
        raise ValueError("a kind of key that no mesh uses")


def chain(
    certificate: Certificate,
    candidates: Iterable[Certificate],
    roots: Iterable[Certificate],
    peer: Peer = Peer.EVERYONE,
) -> tuple[Certificate, ...]:
    """Build the path from a certificate up to a root (RFC 5280 6.1 without dates), both ends included.

    Nothing comes back where no path verifies. Among several editions the one that ends last is taken.
    """
    links, anchors = (tuple(sorted(some, key=lambda one: one.not_after, reverse=True)) for some in (candidates, roots))
    return _climb((certificate,), links, anchors, peer)


def _climb(
    path: tuple[Certificate, ...], candidates: tuple[Certificate, ...], roots: tuple[Certificate, ...], peer: Peer
) -> tuple[Certificate, ...]:
    top = path[-1]
    if any(top.fingerprint == root.fingerprint for root in roots):
        return path
    authorities = sum(1 for link in path if link.is_ca and not link.self_issued)
    for issuer in (*roots, *candidates):
        too_long = issuer.path_length is not None and authorities > issuer.path_length
        if issuer in path or too_long or refusal(top, issuer, peer):
            continue
        if issuer in roots:
            return (*path, issuer)
        if whole := _climb((*path, issuer), candidates, roots, peer):
            return whole
    return ()


def revocation_ends(text: str) -> tuple[datetime | None, ...]:
    """Read the nextUpdate of each CRL in a PEM text (RFC 5280 5.1.2.5); raises ValueError where one is broken."""
    blocks = [match[0].encode() for match in _PEM_BLOCK.finditer(text) if match[1] == "X509 CRL"]
    if text.strip() and not blocks:
        raise ValueError("no revocation list in it")
    try:
        return tuple(x509.load_pem_x509_crl(block).next_update_utc for block in blocks)
    except _UNREADABLE as error:
        raise ValueError(_first_line(error)) from error


def printable_organization(organization: str) -> bytes:
    """The subject that Go writes for one organization: a PrintableString where its alphabet allows, else UTF-8."""
    string = _PRINTABLE_STRING if re.fullmatch(r"[A-Za-z0-9 '()+,\-./:=?]*", organization) else _UTF8_STRING
    attribute = _element(_SEQUENCE, _ORGANIZATION + _element(string, organization.encode()))
    return _element(_SEQUENCE, _element(_SET, attribute))


def _describe(key: PublicKeyTypes) -> str:
    kind = _kind_of_key(type(key))
    if kind is rsa.RSAPublicKey:
        return f"RSA {cast('rsa.RSAPublicKey', key).key_size}"
    if kind is ec.EllipticCurvePublicKey:
        return f"EC {cast('ec.EllipticCurvePublicKey', key).curve.name}"
    return type(key).__name__.removesuffix("PublicKey").lstrip("_")


@lru_cache
def _kind_of_key(implementation: type) -> type | None:
    """Which of the two that a mesh uses; asking an abstract class is slow, and the answers are few."""
    kinds = (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)
    return next((kind for kind in kinds if issubclass(implementation, kind)), None)


def _extension(parsed: x509.Certificate, extension: type[Extension]) -> Extension | None:
    try:
        return parsed.extensions.get_extension_for_class(extension).value
    except x509.ExtensionNotFound:
        return None


# DER, as far as the octets themselves matter: `cryptography` gives names re-encoded, peers compare them as they stand.


_UTF8_STRING, _PRINTABLE_STRING, _SEQUENCE, _SET, _VERSION = 0x0C, 0x13, 0x30, 0x31, 0xA0
_LONGEST_SHORT_FORM = 0x7F  # of a length
_ORGANIZATION = bytes.fromhex("060355040a")  # the OID 2.5.4.10


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size <= _LONGEST_SHORT_FORM:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(octets))) + octets + content


def _elements(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Walk one level of DER that has parsed already: (tag, whole element, its content)."""
    at = 0
    while at < len(content):
        end, start = _header(content, at)
        yield content[at], content[at:end], content[start:end]
        at = end


def _after_signature(tbs: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Issuer, validity, subject and subjectPublicKeyInfo of a TBSCertificate (RFC 5280 4.1), each with its header."""
    _, at = _header(tbs, 0)
    # An optional version, then serialNumber and signature.
    for _ in range(3 if tbs[at] == _VERSION else 2):
        at, _ = _header(tbs, at)
    issuer, _ = _header(tbs, at)
    validity, _ = _header(tbs, issuer)
    subject, _ = _header(tbs, validity)
    key, _ = _header(tbs, subject)
    return tbs[at:issuer], tbs[issuer:validity], tbs[validity:subject], tbs[subject:key]


def _header(content: bytes, at: int) -> tuple[int, int]:
    """Where the element that begins here ends, and where its content begins."""
    length, start = content[at + 1], at + 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(content[at + 2 : start])
    return start + length, start


def _bit_string(key_bytes: bytes) -> bytes:
    """The subjectPublicKey inside a subjectPublicKeyInfo, without the count of unused bits."""
    ((_, _, content),) = _elements(key_bytes)
    *_, (_, _, bits) = _elements(content)
    return bits[1:]


def _first_line(error: BaseException) -> str:
    """What a parser says, on one line: it speaks of DER and of positions, never of a key's octets."""
    said = str(error).strip()
    if fault := re.match(r"error parsing asn1 value: ParseError \{ kind: (\w+)", said):
        return f"not a certificate that can be parsed (DER: {fault[1]})"
    return said.splitlines()[0].rstrip(".") if said else type(error).__name__
