"""The same root once more, with a later end: what its leaves and its peers look at stays as it is, octet for octet."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from meshtrust.certificates.der import (
    INTEGER,
    OCTET_STRING,
    SEQUENCE,
    TbsCertificate,
    element,
    elements,
    integer,
    validity,
)
from meshtrust.certificates.parsing import parse_leaf
from meshtrust.certificates.signing import Unsigned, signer
from meshtrust.certificates.vouching import refusal

if TYPE_CHECKING:
    from datetime import datetime

    from meshtrust.certificates.model import Certificate

# The OIDs of two extensions (RFC 5280 4.2.1.1 and 4.2.1.2), as DER; within the first, the tag of its serial number.
_AUTHORITY_KEY_IDENTIFIER, _SUBJECT_KEY_IDENTIFIER = bytes.fromhex("0603551d23"), bytes.fromhex("0603551d0e")
_AUTHORITY_SERIAL = 0x82


def reissue(
    root: Certificate, key_pem: str, *, not_before: datetime, not_after: datetime, drop_identifier: bool = False
) -> str:
    """The same root with another serial and these dates, as PEM; raises Unsigned where there is no such certificate.

    Of the old one stay, octet for octet: version, subject (and issuer), key, unique ids, and every extension in its
    place. Two more things may change: a signature with less than SHA-256 becomes one as Go makes it, and an authority
    key identifier that names the root's own serial names the new one, for OpenSSL takes it as self-signed only so.
    `drop_identifier` takes the subject key identifier out: then leaves may name any. Dates are cut to whole seconds.
    """
    _must_be_a_root(root)
    if not_before >= not_after:
        raise Unsigned(f"{root.subject} cannot end before it begins")
    old = TbsCertificate.of(root.tbs)
    key = signer(root, key_pem)
    serial = _another_serial(root.serial)
    kept = (each for each in old.extensions if not (drop_identifier and _is(_SUBJECT_KEY_IDENTIFIER, each)))
    new = replace(
        old,
        serial=element(INTEGER, integer(serial)),
        algorithm=key.algorithm,
        validity=validity(not_before, not_after),
        extensions=tuple(_naming(serial, each, root.serial) for each in kept),
    )
    return _proven(key.certificate(new.der), root, not_before, not_after, drop_identifier=drop_identifier)


def _must_be_a_root(root: Certificate) -> None:
    if not root.self_issued:
        raise Unsigned(f"{root.subject} is no root: {root.parsed.issuer.rfc4514_string()} has issued it")
    fault = refusal(root, root)
    if fault:
        raise Unsigned(f"{root.subject} does not verify under itself: {fault}")


def _another_serial(old: int) -> int:
    """Random and below 2^128, as Istio's are."""
    serial = 0
    while serial in {0, old}:
        serial = secrets.randbits(128)
    return serial


def _is(oid: bytes, extension: bytes) -> bool:
    ((_, _, content),) = elements(extension)
    return content.startswith(oid)


def _naming(serial: int, extension: bytes, old: int) -> bytes:
    """The extension as it stands, unless it names the old serial as that of its issuer, which is the root itself."""
    if not _is(_AUTHORITY_KEY_IDENTIFIER, extension):
        return extension
    ((_, _, content),) = elements(extension)
    *before, (_, _, value) = elements(content)
    ((_, _, parts),) = elements(value)
    named = b"".join(
        element(tag, integer(serial)) if tag == _AUTHORITY_SERIAL and _number(inside) == old else whole
        for tag, whole, inside in elements(parts)
    )
    head = b"".join(whole for _, whole, _ in before)
    return element(SEQUENCE, head + element(OCTET_STRING, element(SEQUENCE, named)))


def _number(content: bytes) -> int:
    return int.from_bytes(content, signed=True)


def _proven(der: bytes, root: Certificate, not_before: datetime, not_after: datetime, *, drop_identifier: bool) -> str:
    """The PEM, read again by the parser that reads all others: nothing leaves that is not what was promised."""
    (new,) = parse_leaf(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()).certificates
    promises = {
        "serial": 0 < new.serial < 1 << 128 and new.serial != root.serial,
        "dates": (new.not_before, new.not_after) == (_second(not_before), _second(not_after)),
        "version": new.parsed.version == root.parsed.version,
        "name": new.subject_bytes == new.issuer_bytes == root.subject_bytes,
        "key": new.key_bytes == root.key_bytes,
        "extensions": _extensions(new, dropped=False) == _extensions(root, dropped=drop_identifier),
        "signature": not refusal(new, new),
    }
    wrong = ", ".join(what for what, kept in promises.items() if not kept)
    if wrong:
        raise Unsigned(f"{root.subject} came out wrong ({wrong}) and is thrown away: this is a defect of the program")
    return new.pem


def _second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _extensions(certificate: Certificate, *, dropped: bool) -> tuple[tuple[x509.ObjectIdentifier, bool, object], ...]:
    """As `cryptography` reads them, in order: without the key identifier where it is dropped."""
    return tuple(
        (extension.oid, extension.critical, _own_serial_aside(extension.value, certificate.serial))
        for extension in certificate.parsed.extensions
        if not (dropped and extension.oid == ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    )


def _own_serial_aside(value: x509.ExtensionType, serial: int) -> object:
    if isinstance(value, x509.AuthorityKeyIdentifier) and value.authority_cert_serial_number == serial:
        return value.key_identifier, value.authority_cert_issuer, "its own"
    return value
