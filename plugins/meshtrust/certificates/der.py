"""DER, as far as octets themselves matter: `cryptography` gives names re-encoded, peers compare them as they stand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

INTEGER, BIT_STRING, OCTET_STRING, SEQUENCE = 0x02, 0x03, 0x04, 0x30
_UTF8_STRING, _PRINTABLE_STRING, _UTC_TIME, _GENERALIZED_TIME, _SET = 0x0C, 0x13, 0x17, 0x18, 0x31
# The fields of a TBSCertificate that have a tag of their own.
EXTENSIONS, _VERSION, _UNIQUE_IDS, _CONTEXT = 0xA3, 0xA0, (0x81, 0x82), 0x80
_LONGEST_SHORT_FORM = 0x7F  # of a length
_ORGANIZATION = bytes.fromhex("060355040a")  # the OID 2.5.4.10


@dataclass(frozen=True, slots=True, kw_only=True)
class TbsCertificate:
    """What a CA signs (RFC 5280 4.1.2): each field as it stands, with its header. What is absent is empty."""

    version: bytes = b""
    serial: bytes
    algorithm: bytes
    issuer: bytes
    validity: bytes
    subject: bytes
    key: bytes
    unique_ids: bytes = b""
    extensions: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, der: bytes) -> TbsCertificate:
        ((_, _, content),) = elements(der)
        fields = {tag: (whole, inside) for tag, whole, inside in elements(content) if tag & _CONTEXT}
        absent = (b"", b"")
        ((_, _, listed),) = elements(fields[EXTENSIONS][1]) if EXTENSIONS in fields else ((0, b"", b""),)
        serial, algorithm, issuer, validity, subject, key = (w for tag, w, _ in elements(content) if not tag & _CONTEXT)
        return cls(
            version=fields.get(_VERSION, absent)[0],
            serial=serial,
            algorithm=algorithm,
            issuer=issuer,
            validity=validity,
            subject=subject,
            key=key,
            unique_ids=b"".join(fields.get(tag, absent)[0] for tag in _UNIQUE_IDS),
            extensions=tuple(whole for _, whole, _ in elements(listed)),
        )

    @property
    def der(self) -> bytes:
        fields = self.version + self.serial + self.algorithm + self.issuer + self.validity + self.subject + self.key
        listed = element(EXTENSIONS, element(SEQUENCE, b"".join(self.extensions))) if self.extensions else b""
        return element(SEQUENCE, fields + self.unique_ids + listed)


def printable_organization(organization: str) -> bytes:
    """The subject that Go writes for one organization: a PrintableString where its alphabet allows, else UTF-8."""
    string = _PRINTABLE_STRING if re.fullmatch(r"[A-Za-z0-9 '()+,\-./:=?]*", organization) else _UTF8_STRING
    attribute = element(SEQUENCE, _ORGANIZATION + element(string, organization.encode()))
    return element(SEQUENCE, element(_SET, attribute))


def integer(number: int) -> bytes:
    """The content of an INTEGER that is not negative, as short as DER wants it."""
    return number.to_bytes(number.bit_length() // 8 + 1)


def validity(not_before: datetime, not_after: datetime) -> bytes:
    """Both dates in whole seconds: UTCTime through 2049, GeneralizedTime from 2050 on (RFC 5280 4.1.2.5)."""
    return element(SEQUENCE, _time(not_before) + _time(not_after))


def _time(moment: datetime) -> bytes:
    utc = moment.astimezone(UTC)
    digits = f"{utc.year:04}{utc:%m%d%H%M%S}Z"  # %Y does not fill up to four digits everywhere
    if 1950 <= utc.year < 2050:  # noqa: PLR2004 - the years that two digits stand for
        return element(_UTC_TIME, digits[2:].encode())
    return element(_GENERALIZED_TIME, digits.encode())


def element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size <= _LONGEST_SHORT_FORM:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(octets))) + octets + content


class Place(NamedTuple):
    """Where an element of DER that has parsed already begins, where its content does, and where it ends."""

    begin: int
    inside: int
    end: int

    @classmethod
    def at(cls, der: bytes, begin: int) -> Place:
        length, inside = der[begin + 1], begin + 2
        if length & 0x80:
            inside += length & 0x7F
            length = int.from_bytes(der[begin + 2 : inside])
        return cls(begin, inside, inside + length)

    @property
    def whole(self) -> slice:
        return slice(self.begin, self.end)

    @property
    def content(self) -> slice:
        return slice(self.inside, self.end)

    @property
    def bits(self) -> slice:
        """The content of a BIT STRING without the count of unused bits."""
        return slice(self.inside + 1, self.end)

    def parts(self, der: bytes) -> tuple[Place, ...]:
        """The elements that its content is made of, one level down."""
        return tuple(places(der, self.inside, self.end))


def places(der: bytes, begin: int, end: int) -> Iterator[Place]:
    while begin < end:
        place = Place.at(der, begin)
        yield place
        begin = place.end


def elements(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Walk one level of DER that has parsed already: (tag, whole element, its content)."""
    for place in places(content, 0, len(content)):
        yield content[place.begin], content[place.whole], content[place.content]


def signed(der: bytes) -> Place:
    """Of a certificate that has parsed the TBSCertificate, as it was signed."""
    return next(places(der, Place.at(der, 0).inside, len(der)))


def fields_of(der: bytes, tbs: Place) -> tuple[Place, ...]:
    """Of a TBSCertificate what none is without: serial, algorithm, issuer, validity, subject, key."""
    return tuple(part for part in tbs.parts(der) if not der[part.begin] & _CONTEXT)


def bit_string(key_bytes: bytes) -> bytes:
    """The subjectPublicKey inside a subjectPublicKeyInfo, without the count of unused bits."""
    ((_, _, content),) = elements(key_bytes)
    *_, (_, _, bits) = elements(content)
    return bits[1:]
