"""The short way to a certificate that is like another: the leaves of one CA differ in little.

Of a certificate that was read the long way a template is made: all its octets but the contents of what is another in
each leaf. Where these octets stand in another certificate so do all headers, and it falls into the same parts: what
`cryptography` has made of the rest holds for it as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from meshtrust.certificates.der import EXTENSIONS, Place, fields_of, places, signed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshtrust.certificates.model import Certificate

Fields = dict[str, Any]  # of a Certificate

# Of one shape are leaves of several CAs and of several editions of one: to try eight is still far from the long way.
_SHAPES, _OF_A_SHAPE = 512, 8
_LARGEST = 4096  # octets of one that others are held to be like
# The headers up to that of the serial. In them are the lengths of all, of what is signed (so of the signature) and of
# the serial: what is left, with one CA and keys of one size, is the length of the name.
_HEADERS = 15
_SUBJECT_KEY_IDENTIFIER, _SUBJECT_ALTERNATIVE_NAME = bytes.fromhex("0603551d0e"), bytes.fromhex("0603551d11")
_URI = 0x86  # a name of a SubjectAlternativeName
_HIGHEST_BIT = 0x80
_SAME = (  # fields of a Certificate; some of them are its own where it has them
    "subject",
    "subject_bytes",
    "issuer_bytes",
    "key",
    "subject_key_identifier",
    "authority_key_identifier",
    "is_ca",
    "path_length",
    "can_sign",
    "signature",
    "organizations",
    "uris",
)


class Alike:
    """Certificates that others may be like. Many threads may read while one learns."""

    def __init__(self) -> None:
        self._templates: dict[tuple[int, bytes], tuple[Template, ...]] = {}

    def learn(self, der: bytes, certificate: Certificate) -> None:
        """Take in one that was read the long way, and warned of in nothing."""
        if len(der) > _LARGEST or self._template(der):
            return
        if len(self._templates) >= _SHAPES:
            del self._templates[next(iter(self._templates))]
        shape = _shape(der)
        others = self._templates.get(shape, ())[: _OF_A_SHAPE - 1]
        self._templates[shape] = (Template.of(der, certificate), *others)

    def fields(self, der: bytes) -> Fields | None:
        """What is so of a certificate that is like another, once it is loaded; an empty `key` is to be described.

        Nothing comes back where it is like none, or where it needs the long way.
        """
        template = self._template(der)
        try:
            return template.fields(der) if template else None
        except ValueError:
            return None

    def _template(self, der: bytes) -> Template | None:
        for template in self._templates.get(_shape(der), ()):
            if template.fixed(der) == template.known:
                return template
        return None


def _shape(der: bytes) -> tuple[int, bytes]:
    return len(der), der[:_HEADERS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What stands in each certificate that is like one, and where each has its own.

    Whatever stands in what is its own, the long way reads it without a warning, or it is looked at: here, and by
    `cryptography` as soon as it loads the certificate (dates, and serials with a zero too many).
    """

    fixed: itemgetter[Any]  # what gives it
    known: tuple[bytes, ...]
    same: Fields
    tbs: slice
    key: slice
    serial: slice
    modulus: slice | None
    identifier: slice | None
    uri: slice | None

    @classmethod
    def of(cls, der: bytes, certificate: Certificate) -> Template:
        tbs = signed(der)
        serial, _, _, validity, _, key = fields_of(der, tbs)
        _, bits = key.parts(der)
        *_, signature = places(der, tbs.end, len(der))
        modulus = _modulus(der, bits) if certificate.key.startswith("RSA ") else None
        extensions = dict(_own_extensions(der, tbs))
        times = (time.content for time in validity.parts(der))
        own = (serial.content, *times, modulus or bits.bits, *extensions.values(), signature.bits)
        begins, ends = (0, *(part.stop for part in own)), (*(part.start for part in own), len(der))
        fixed: itemgetter[Any] = itemgetter(*map(slice, begins, ends))
        same = {name: getattr(certificate, name) for name in _SAME}
        return cls(
            fixed=fixed,
            known=fixed(der),
            same=same if modulus else same | {"key": ""},
            tbs=tbs.whole,
            key=key.whole,
            serial=serial.content,
            modulus=modulus,
            identifier=extensions.get(_SUBJECT_KEY_IDENTIFIER),
            uri=extensions.get(_SUBJECT_ALTERNATIVE_NAME),
        )

    def fields(self, der: bytes) -> Fields:
        """Raises ValueError where what is its own needs the long way."""
        serial = der[self.serial]
        number = int.from_bytes(serial)
        if number == 0 or serial[0] & _HIGHEST_BIT:
            raise ValueError("a serial that no CA should give")
        if self.modulus and not der[self.modulus.start] & _HIGHEST_BIT:
            raise ValueError("a key of another size")
        fields = {**self.same, "serial": number, "tbs": der[self.tbs], "key_bytes": der[self.key]}
        if self.identifier:
            fields["subject_key_identifier"] = der[self.identifier]
        if self.uri:
            fields["uris"] = (der[self.uri].decode("ascii"),)
        return fields


def _modulus(der: bytes, bits: Place) -> slice | None:
    """What of an RSA key is behind the first octet of its modulus: that one and the next bit tell the size of the key.

    All that `cryptography` asks of a modulus is to be above the exponent, as one is that has more octets.
    """
    (numbers,) = places(der, bits.bits.start, bits.end)
    modulus, exponent = numbers.parts(der)
    longer = modulus.end - modulus.inside > exponent.end - exponent.inside
    return slice(modulus.inside + 1, modulus.end) if longer else None


def _own_extensions(der: bytes, tbs: Place) -> Iterator[tuple[bytes, slice]]:
    """A key identifier, and a URI that is the only one, each by the OID that it stands under."""
    for part in (part for part in tbs.parts(der) if der[part.begin] == EXTENSIONS):
        (listed,) = part.parts(der)
        for extension in listed.parts(der):
            oid, *_, value = extension.parts(der)
            kind = der[oid.whole]
            if kind == _SUBJECT_KEY_IDENTIFIER:
                (identifier,) = value.parts(der)
                yield kind, identifier.content
            elif kind == _SUBJECT_ALTERNATIVE_NAME:
                (names,) = value.parts(der)
                uris = [name.content for name in names.parts(der) if der[name.begin] == _URI]
                if len(uris) == 1:
                    yield kind, uris[0]
