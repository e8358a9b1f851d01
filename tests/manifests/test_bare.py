"""A private key without a label is found and cut however it is encoded, and nothing public is taken for one."""

from __future__ import annotations

import json
from base64 import b64encode, encodebytes, urlsafe_b64encode
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)

from meshes import NOW
from meshtrust.keys import CUT
from meshtrust.manifests.bare import hides_key
from meshtrust.manifests.cutting import holds_key, without_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RSA, EC, EDWARDS = (
    rsa.generate_private_key(65537, 2048),
    ec.generate_private_key(ec.SECP384R1()),
    ed25519.Ed25519PrivateKey.generate(),
)
LOCK = BestAvailableEncryption(b"passphrase")
KEYS = {
    "PKCS#1": RSA.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
    "SEC 1": EC.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
    "PKCS#8 of RSA": RSA.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    "PKCS#8 of EC": EC.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    "PKCS#8 of Ed25519": EDWARDS.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    "PKCS#8 with a passphrase": EC.private_bytes(Encoding.DER, PrivateFormat.PKCS8, LOCK),
    "PKCS#12": pkcs12.serialize_key_and_certificates(None, EC, None, None, LOCK),
}


def encoded(content: bytes) -> str:
    return b64encode(content).decode()


def public() -> Iterator[bytes]:
    """What begins as a key does: the small ones, of which a short header leaves the inside at a group of four."""
    for key in (RSA, EC, EDWARDS):
        algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256()
        yield key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for name in (x509.Name([]), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")])):
            lists = x509.CertificateRevocationListBuilder(name, NOW, NOW + timedelta(days=1)).sign(key, algorithm)
            yield lists.public_bytes(Encoding.DER)
            request = x509.CertificateSigningRequestBuilder(name).sign(key, algorithm)
            yield request.public_bytes(Encoding.DER)
            ends = NOW + timedelta(days=1)
            made = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, ends).sign(key, algorithm)
            yield made.public_bytes(Encoding.DER)


PUBLIC = tuple(public())

DER: dict[str, Callable[[bytes], str]] = {
    "base64": encoded,
    "base64url": lambda der: urlsafe_b64encode(der).decode(),
    "base64 in lines": lambda der: encodebytes(der).decode(),
    "base64 of base64": lambda der: encoded(b64encode(der)),
    "base64 of base64 in lines": lambda der: encoded(encodebytes(der)),
    "base64 one byte on": lambda der: encoded(b"\n" + der),
    "base64 behind words": lambda der: f"the key is ca/key={encoded(der)} or so",
    "base64 in JSON in JSON": lambda der: json.dumps([json.dumps({"a": encodebytes(der).decode()})]),
    "base64 of YAML": lambda der: encoded(f"key: {encoded(der)}".encode()),
    "a misspelt label": lambda der: f"-----BEGIN PRIVAT KEY-----\n{encodebytes(der).decode()}-----END PRIVAT KEY-----",
}


@pytest.mark.parametrize("form", DER)
@pytest.mark.parametrize("kind", KEYS)
def test_a_key_without_a_label_is_cut(kind: str, form: str) -> None:
    text = DER[form](KEYS[kind])
    assert hides_key(text)
    cut = without_key({"held": [text]})["held"][0]
    assert CUT in cut
    assert not holds_key(cut)
    assert encoded(KEYS[kind])[30:54] not in cut


@pytest.mark.parametrize("form", DER)
def test_what_is_public_is_no_key_without_a_label(form: str) -> None:
    assert [hides_key(DER[form](der)) for der in PUBLIC] == [False] * len(PUBLIC)
