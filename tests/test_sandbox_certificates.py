"""The sandbox's certificates are true: made as Istio's CAs make them, or broken in one way alone."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1

from described import NOW, ROOT, STRANGE, issued
from sandbox import Ca, Leaf
from sandbox.issuing import leaf_certificate

RECORDED = Path(__file__).parent / "recorded"


def identifier(certificate: x509.Certificate) -> bytes | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None


def test_a_root_is_made_as_istio_makes_it() -> None:
    root = issued(ROOT)
    extensions = {extension.oid._name: (extension.critical, extension.value) for extension in root.extensions}  # noqa: SLF001 - the only way to an OID's name
    assert root.subject.public_bytes().hex() == "3018311630140603550" + "40a130d" + b"cluster.local".hex()
    assert root.issuer == root.subject
    assert root.serial_number < 2**128
    assert list(extensions) == ["keyUsage", "basicConstraints", "subjectKeyIdentifier"]
    assert extensions["keyUsage"][1].public_bytes().hex() == "03020204"
    assert extensions["basicConstraints"] == (True, x509.BasicConstraints(ca=True, path_length=None))
    assert (root.not_valid_before_utc, root.not_valid_after_utc) == (NOW - timedelta(365), NOW + timedelta(20))
    root.verify_directly_issued_by(root)


def test_a_key_identifier_is_that_of_go() -> None:
    """A real istiod made this root; its identifier is the one that the sandbox would give to its key."""
    recorded = yaml.safe_load((RECORDED / "healthy.secrets.yaml").read_text())
    (secret,) = [one for one in recorded["items"] if one["metadata"]["name"] == "istio-ca-secret"]
    real = x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["ca-cert.pem"]))
    assert identifier(real) == go_identifier(real.public_key())
    for ca in (Ca(), Ca(key_type="ec")):
        assert identifier(issued(ca)) == go_identifier(issued(ca).public_key())


def go_identifier(key: Any) -> bytes:
    """Hash what stands in the bit string of a SubjectPublicKeyInfo: behind 24 bytes of frame, or 26 for P-256."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der[24 if isinstance(key, rsa.RSAPublicKey) else 26 :]).digest()[:20]


def test_the_key_identifier_is_chosen() -> None:
    key = issued(ROOT).public_key()
    assert identifier(issued(replace(ROOT, identifier="none"))) is None
    assert identifier(issued(replace(ROOT, identifier="sha1"))) == x509.SubjectKeyIdentifier.from_public_key(key).digest


def test_another_edition_differs_in_dates_and_serial_alone() -> None:
    old, new = issued(ROOT), issued(replace(ROOT, ends=timedelta(days=3000)))
    assert old.public_key() == new.public_key()
    assert old.subject.public_bytes() == new.subject.public_bytes()
    assert list(old.extensions) == list(new.extensions)
    assert old.serial_number != new.serial_number
    assert issued(ROOT) == old


def test_a_utf8_subject_has_other_bytes_and_the_same_text() -> None:
    printable, utf8 = issued(ROOT).subject, issued(replace(ROOT, string_type="utf8")).subject
    assert printable.rfc4514_string() == utf8.rfc4514_string()
    assert utf8.public_bytes() == printable.public_bytes().replace(b"\x13\x0d", b"\x0c\x0d")


def test_a_weak_signature_is_a_real_one() -> None:
    weak = issued(replace(ROOT, signature="sha1"))
    assert weak.signature_algorithm_oid == x509.SignatureAlgorithmOID.RSA_WITH_SHA1
    key = weak.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(weak.signature, weak.tbs_certificate_bytes, padding.PKCS1v15(), SHA1())  # noqa: S303 - what is tested


def test_an_ec_key_makes_no_weak_signature() -> None:
    with pytest.raises(TypeError, match="RSA"):
        issued(replace(STRANGE, signature="md5"))


def test_a_root_can_be_no_ca() -> None:
    broken = issued(replace(ROOT, is_ca=False, usage=("digital_signature",)))
    assert not broken.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not broken.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


@pytest.mark.parametrize(("era", "back"), [("istiod", 2), ("citadel", 0)])
def test_a_leaf_is_made_as_its_era_makes_it(era: str, back: int) -> None:
    uri = "spiffe://cluster.local/ns/bank/sa/ledger"
    leaf = leaf_certificate(Leaf(), ROOT, uri, NOW, era=era)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    authority = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    assert leaf.subject.public_bytes() == bytes.fromhex("3000")
    assert (names.critical, names.value.get_values_for_type(x509.UniformResourceIdentifier)) == (True, [uri])
    assert authority.value.key_identifier == identifier(issued(ROOT))
    assert leaf.not_valid_before_utc == NOW - timedelta(hours=1, minutes=back)
    leaf.verify_directly_issued_by(issued(ROOT))


def test_a_leaf_names_no_authority_that_has_no_identifier() -> None:
    leaf = leaf_certificate(Leaf(), replace(ROOT, identifier="none"), "spiffe://a/b", NOW, era="citadel")
    with pytest.raises(x509.ExtensionNotFound):
        leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
