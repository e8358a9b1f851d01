"""The short way to a certificate that is like others: the leaves of one CA differ in little.

What `cryptography` has made of a name, an algorithm or an extension holds wherever the same octets stand again. What is
another in each leaf (its URI, its key identifier) is read here, in the one form that is common; where anything is not
as expected, nothing is said, and the certificate is read the long way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshtrust.certificates.der import EXTENSIONS, INTEGER, OCTET_STRING, SEQUENCE, header

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Fields = dict[str, Any]  # of a Certificate
Extension = tuple[bytes, Fields]  # what kind it is (its OID as it stands), and what it says

_MOST = 4096  # parts: those of a hundred CAs
_SUBJECT_KEY_IDENTIFIER, _SUBJECT_ALTERNATIVE_NAME = bytes.fromhex("0603551d0e"), bytes.fromhex("0603551d11")
_EACH_ITS_OWN = {_SUBJECT_KEY_IDENTIFIER, _SUBJECT_ALTERNATIVE_NAME}
_CRITICAL = bytes.fromhex("0101ff")
_URI, _DNS = 0x86, 0x82  # names of a SubjectAlternativeName
_SHORT, _LONG = 0x80, 0x81  # the first octet of a length: below the one it is the length, the other has one octet more
_HIGHEST_BIT = 0x80
# RSA keys of the usual sizes: what stands before the modulus, and the usual exponent behind it.
_RSA = {
    (294, bytes.fromhex("30820122300d06092a864886f70d01010105000382010f003082010a0282010100")): "RSA 2048",
    (550, bytes.fromhex("30820222300d06092a864886f70d01010105000382020f003082020a0282020100")): "RSA 4096",
}
_MODULUS, _EXPONENT = 33, bytes.fromhex("0203010001")


class Alike:
    """What is known of parts of certificates, by their octets. Many threads may read and add at once."""

    def __init__(self) -> None:
        self._parts: dict[bytes, Fields] = {}
        self._extensions: dict[bytes, Extension] = {}

    def learn(self, parts: Mapping[bytes, Fields], extensions: Iterable[tuple[bytes, Fields]]) -> None:
        """Take in what was said of an algorithm and a name, and of extensions that may be those of others as well."""
        if len(self._parts) + len(self._extensions) > _MOST:
            self._parts, self._extensions = {}, {}
        self._parts |= parts
        for part, said in extensions:
            if (kind := _kind(part)) not in _EACH_ITS_OWN:
                self._extensions[part] = (kind, said)

    def fields(self, der: bytes) -> Fields | None:
        """What can be told of a certificate by what was told of others, and nothing where a part of it is new.

        That the whole is valid DER is not looked at.
        """
        try:
            return self._fields(der)
        except (IndexError, KeyError, ValueError):
            return None

    def _fields(self, der: bytes) -> Fields:
        _, begin = header(der, 0)
        end, at = header(der, begin)
        serial_at, _ = header(der, at)  # after the version: one without is old, and is not like others
        at, inside = header(der, serial_at)
        serial = der[inside:at]
        algorithm, _ = header(der, at)
        signature_algorithm = der[at:algorithm]
        outer, _ = header(der, end)
        issuer, _ = header(der, algorithm)
        validity, _ = header(der, issuer)
        subject, _ = header(der, validity)
        key, _ = header(der, subject)
        if der[serial_at] != INTEGER or serial[0] & _HIGHEST_BIT or serial == b"\0":
            raise ValueError("a serial that no CA should give")
        if der[end:outer] != signature_algorithm:
            raise ValueError("signed with another algorithm than it says")
        return {
            "subject_bytes": der[validity:subject],
            "issuer_bytes": der[algorithm:issuer],
            "key_bytes": der[subject:key],
            "tbs": der[begin:end],
            "key": _kind_of_key(der[subject:key]),
            **self._parts[signature_algorithm],
            **self._parts[der[validity:subject]],
            **self._said_in_extensions(der, key, end),
        }

    def _said_in_extensions(self, der: bytes, at: int, end: int) -> Fields:
        said: Fields = {}
        if at == end:
            return said
        if der[at] != EXTENSIONS:
            raise ValueError("something else before the extensions")
        _, at = header(der, at)
        _, at = header(der, at)
        kinds = []
        while at < end:
            after, _ = header(der, at)
            part = der[at:after]
            kind, told = self._extensions.get(part) or _read(part)
            kinds.append(kind)
            said |= told
            at = after
        if len(set(kinds)) < len(kinds):
            raise ValueError("an extension that comes twice")
        return said


def _kind_of_key(key: bytes) -> str:
    """Nothing where the key itself must be looked at."""
    usual = key.endswith(_EXPONENT) and key[_MODULUS] & _HIGHEST_BIT
    return _RSA.get((len(key), key[:_MODULUS]), "") if usual else ""


def _kind(part: bytes) -> bytes:
    _, inside = header(part, 0)
    after, _ = header(part, inside)
    return part[inside:after]


def _read(part: bytes) -> Extension:
    """An extension that is another one in each leaf. Raises ValueError where it is none of them, or in another form."""
    _, at = header(part, 0)
    kind, value = part[at : at + 5], part[at + 5 :].removeprefix(_CRITICAL)
    inside = _content(value, OCTET_STRING)
    if kind == _SUBJECT_KEY_IDENTIFIER:
        return kind, {"subject_key_identifier": _content(inside, OCTET_STRING)}
    if kind != _SUBJECT_ALTERNATIVE_NAME:
        raise ValueError("an extension that is not known")
    return kind, {"uris": _uris(_content(inside, SEQUENCE))}


def _uris(names: bytes) -> tuple[str, ...]:
    """Of names that are URIs and DNS names, and nothing else."""
    found = []
    while names:
        size = 2 + names[1] if names[1] < _SHORT else 3 + names[2]
        name = _content(names[:size], _DNS if names[0] == _DNS else _URI).decode("ascii")
        if names[0] == _URI:
            found.append(name)
        names = names[size:]
    return tuple(found)


def _content(whole: bytes, tag: int) -> bytes:
    """What is in an element that is nothing but it, in DER: a length is as short as it can be."""
    if whole[0] != tag:
        raise ValueError("another tag")
    if whole[1] == len(whole) - 2 and whole[1] < _SHORT:
        return whole[2:]
    if whole[1] == _LONG and whole[2] == len(whole) - 3 and whole[2] >= _SHORT:
        return whole[3:]
    raise ValueError("another length")
