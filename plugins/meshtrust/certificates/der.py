"""DER, as far as octets themselves matter: `cryptography` gives names re-encoded, peers compare them as they stand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_UTF8_STRING, _PRINTABLE_STRING, _SEQUENCE, _SET, _VERSION = 0x0C, 0x13, 0x30, 0x31, 0xA0
_LONGEST_SHORT_FORM = 0x7F  # of a length
_ORGANIZATION = bytes.fromhex("060355040a")  # the OID 2.5.4.10


def printable_organization(organization: str) -> bytes:
    """The subject that Go writes for one organization: a PrintableString where its alphabet allows, else UTF-8."""
    string = _PRINTABLE_STRING if re.fullmatch(r"[A-Za-z0-9 '()+,\-./:=?]*", organization) else _UTF8_STRING
    attribute = _element(_SEQUENCE, _ORGANIZATION + _element(string, organization.encode()))
    return _element(_SEQUENCE, _element(_SET, attribute))


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


def after_signature(tbs: bytes) -> tuple[bytes, bytes, bytes, bytes]:
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


def bit_string(key_bytes: bytes) -> bytes:
    """The subjectPublicKey inside a subjectPublicKeyInfo, without the count of unused bits."""
    ((_, _, content),) = _elements(key_bytes)
    *_, (_, _, bits) = _elements(content)
    return bits[1:]
