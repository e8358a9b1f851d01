"""Certificates and revocation lists out of PEM texts (RFC 7468)."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING, cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import SignatureAlgorithmOID

from meshtrust.certificates.alike import Alike
from meshtrust.certificates.der import fields_of, signed
from meshtrust.certificates.faults import UNREADABLE, first_line
from meshtrust.certificates.keys import describe
from meshtrust.certificates.model import Bundle, Certificate
from meshtrust.octets import from_base64

if TYPE_CHECKING:
    from datetime import datetime

    from meshtrust.certificates.alike import Fields

_SIGNATURES = {
    oid: name.strip("_").replace("_WITH_", "-").replace("_", "-")
    for name, oid in vars(SignatureAlgorithmOID).items()
    if isinstance(oid, x509.ObjectIdentifier)
}
_PEM_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)(?:-----END \1-----|(?=-----BEGIN )|\Z)", re.DOTALL)


_CERTIFICATE, _DASHES, _MARKS = "CERTIFICATE", "-----", 4  # dashes stand at both ends of both lines
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_FIRST, _LAST = f"{_BEGIN}\n", (f"\n{_END}", f"\n{_END}\n")
_MARKED = re.compile(r"-----BEGIN [^\n]*-----[ \t\r]*\n.*\n-----END [^\n]*-----", re.DOTALL)
_REST = re.compile(r"[ \t\r]*(?:\n|\Z)")

_KNOWN = Alike()
_CATCHING = Lock()  # whoever catches warnings catches those of all threads


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
    for number, (label, block, apart) in enumerate(blocks, 1):
        try:
            certificates.append(_parse_block(label, block, apart=apart))
        except UNREADABLE as error:
            place = f"block {number} of {len(blocks)}: " if len(blocks) > 1 else ""
            broken.append(f"{place}{first_line(error)}")
    return Bundle(tuple(certificates), tuple(broken), sum(1 for label, *_ in blocks if _is_private_key(label)))


def _blocks(text: str) -> list[tuple[str, str, bool]]:
    """Each block with its label, and whether its two marks stand alone on their lines.

    Nearly all texts are one certificate, and there are thousands of them.
    """
    if text.startswith(_FIRST) and text.endswith(_LAST) and text.count(_DASHES) == _MARKS:
        return [(_CERTIFICATE, text.rstrip(), True)]
    return [(block[1], block[0], _stands_apart(text, block)) for block in _PEM_BLOCK.finditer(text)]


def _stands_apart(text: str, block: re.Match[str]) -> bool:
    """Whether Go (encoding/pem), OpenSSL and BoringSSL find it: white space may follow a mark, nothing precedes one."""
    begins = block.start() == 0 or text[block.start() - 1] == "\n"
    return begins and bool(_MARKED.fullmatch(block[0]) and _REST.match(text, block.end()))


def _parse_block(label: str, block: str, *, apart: bool) -> Certificate:
    if label != _CERTIFICATE:
        kind = "a private key" if _is_private_key(label) else label
        raise ValueError(f"holds {kind}, not a certificate")
    if not block.endswith(_DASHES):
        raise ValueError("a certificate that begins and does not end")
    if not apart:
        raise ValueError("its BEGIN or END does not stand alone on its line (indented?): neither Go nor Envoy reads it")
    return read_alike(block, _KNOWN) or read_whole(block, _KNOWN)


def read_alike(block: str, known: Alike) -> Certificate | None:
    """Read a certificate that is like another, and written as Istio writes it.

    Nothing comes back where it is not, or where anything is wrong with it: the long way knows what.
    """
    try:
        der = from_base64(block[len(_BEGIN) : -len(_END)].replace("\n", ""))
        if fields := known.fields(der):
            parsed = x509.load_der_x509_certificate(der)
            fields["key"] = fields["key"] or describe(parsed.public_key())
            return _certificate(parsed, der, fields)
    except UNREADABLE:
        pass
    return None


def read_whole(block: str, known: Alike) -> Certificate:
    """What breaks RFC 5280 in a way that only warns is judged like any other, and no other is held to be like it."""
    with _CATCHING, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        parsed, der = _loaded(block)
        tbs = signed(der)
        _, _, issuer, _, subject, key = fields_of(der, tbs)
        oid, name = parsed.signature_algorithm_oid, parsed.subject
        organizations = name.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
        fields: Fields = {
            "serial": parsed.serial_number,
            "subject": name.rfc4514_string(),
            "subject_bytes": der[subject.whole],
            "issuer_bytes": der[issuer.whole],
            "key": describe(parsed.public_key()),
            "key_bytes": der[key.whole],
            "tbs": der[tbs.whole],
            "signature": _SIGNATURES.get(oid, oid.dotted_string),
            "organizations": tuple(cast("str", attribute.value) for attribute in organizations),
        }
        for extension in parsed.extensions:
            fields |= _said(extension)
        certificate = _certificate(parsed, der, fields)
        if not warned:
            known.learn(der, certificate)
    return certificate


def _certificate(parsed: x509.Certificate, der: bytes, fields: Fields) -> Certificate:
    fields |= {
        "fingerprint": sha256(der).hexdigest(),
        "not_before": parsed.not_valid_before_utc,
        "not_after": parsed.not_valid_after_utc,
        "parsed": parsed,
    }
    return Certificate(**fields)


def _said(extension: x509.Extension[x509.ExtensionType]) -> Fields:
    match extension.value:
        case x509.BasicConstraints(ca=ca, path_length=length):
            return {"is_ca": ca, "path_length": length}
        case x509.KeyUsage(key_cert_sign=can_sign):
            return {"can_sign": can_sign}
        case x509.SubjectKeyIdentifier(digest=identifier):
            return {"subject_key_identifier": identifier}
        case x509.AuthorityKeyIdentifier(key_identifier=identifier):
            return {"authority_key_identifier": identifier}
        case x509.SubjectAlternativeName() as names:
            return {"uris": tuple(names.get_values_for_type(x509.UniformResourceIdentifier))}
        case _:
            return {}


def _loaded(block: str) -> tuple[x509.Certificate, bytes]:
    """The certificate and its DER: by the short way where the base64 is clean, which is half the time."""
    try:
        der = from_base64("".join(block[len(_BEGIN) : -len(_END)].split()))
        return x509.load_der_x509_certificate(der), der
    except ValueError:
        parsed = x509.load_pem_x509_certificate(block.encode())
        return parsed, parsed.public_bytes(Encoding.DER)


def _is_private_key(label: str) -> bool:
    return label.endswith("PRIVATE KEY")  # of PKCS#1, SEC 1, PKCS#8, encrypted or not


def revocation_ends(text: str) -> tuple[datetime | None, ...]:
    """Read the nextUpdate of each CRL in a PEM text (RFC 5280 5.1.2.5); raises ValueError where one is broken."""
    blocks = [match[0].encode() for match in _PEM_BLOCK.finditer(text) if match[1] == "X509 CRL"]
    if text.strip() and not blocks:
        raise ValueError("no revocation list in it")
    try:
        return tuple(x509.load_pem_x509_crl(block).next_update_utc for block in blocks)
    except UNREADABLE as error:
        raise ValueError(first_line(error)) from error
