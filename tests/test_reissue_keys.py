"""The key of a root that is issued again: every kind of it, and no word of it in what is refused."""

from __future__ import annotations

import subprocess
import traceback
from binascii import b2a_base64
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from meshtrust.certificates import Certificate, Kinship, Unsigned, parse_pem, public_half, rehearse
from reissuing import EC, HOUR, NOW, YEARS, Octets, changed, key, openssl, read, reissued, root, self_signed, written
from sandbox import Ca
from sandbox.issuing import private_key

if TYPE_CHECKING:
    from collections.abc import Callable

NO_KIND = "it is of a kind that no mesh uses (RSA, EC and Ed25519 are)"
VECTORS = Path(cryptography_vectors.__file__).parent


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL], ids=["PKCS#8", "as Istio"])
@pytest.mark.parametrize("ca", [Ca(), EC], ids=["RSA", "EC"])
@pytest.mark.parametrize(
    "around", ["{}", "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{}"]
)
def test_a_key_is_read_in_each_form_that_tools_write(ca: Ca, form: PrivateFormat, around: str) -> None:
    text = private_key(ca.key, ca.key_type).private_bytes(Encoding.PEM, form, NoEncryption()).decode()
    for held in (around.format(text), around.format(text).replace("\n", "\r\n")):
        assert reissued(root(ca), held).kinship(root(ca)) is Kinship.EDITION


@pytest.mark.parametrize(
    ("curve", "digest", "signature"),
    [
        (ec.SECP256R1(), hashes.SHA256(), "ECDSA-SHA256"),
        (ec.SECP256R1(), hashes.SHA512(), "ECDSA-SHA512"),
        (ec.SECP384R1(), hashes.SHA256(), "ECDSA-SHA256"),
        (ec.SECP521R1(), hashes.SHA512(), "ECDSA-SHA512"),
        (ec.SECP256R1(), hashes.SHA224(), "ECDSA-SHA256"),
        (ec.SECP384R1(), hashes.SHA224(), "ECDSA-SHA384"),
        (ec.SECP521R1(), hashes.SHA224(), "ECDSA-SHA512"),
    ],
)
def test_an_ec_key_signs_as_before_where_that_was_strong(
    curve: ec.EllipticCurve, digest: hashes.SHA256 | hashes.SHA512 | hashes.SHA224, signature: str
) -> None:
    private = ec.generate_private_key(curve)
    old = self_signed(private, digest)
    new = reissued(old, written(private))
    assert new.signature == signature
    assert rehearse(old, new, written(private), NOW) == ()


@openssl
@pytest.mark.parametrize("salt", [20, 32, 222])
def test_rsa_pss_is_kept_with_its_parameters(salt: int) -> None:
    private = private_key("pss", "rsa")
    assert isinstance(private, rsa.RSAPrivateKey)
    old = self_signed(private, hashes.SHA256(), padding.PSS(padding.MGF1(hashes.SHA256()), salt))
    new = reissued(old, written(private))
    assert Octets.of(new).algorithm == Octets.of(new).outer_algorithm == Octets.of(old).algorithm
    assert rehearse(old, new, written(private), NOW) == ()


def test_an_ed25519_key_signs() -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    old = self_signed(private)
    new = reissued(old, written(private))
    assert (new.signature, new.kinship(old)) == ("ED25519", Kinship.EDITION)
    assert rehearse(old, new, written(private), NOW) == ()


@openssl
def test_an_ec_root_that_is_signed_with_sha_1_is_signed_with_sha_256(tmp_path: Path) -> None:
    made, held = tmp_path / "root.pem", tmp_path / "key.pem"
    held.write_text(key(EC))
    command = ["openssl", "req", "-x509", "-sha1", "-key", held, "-subj", "/O=cluster.local", "-out", made]
    subprocess.run(command, check=True, capture_output=True)
    old = read(made.read_text())
    assert old.weakly_signed
    assert reissued(old, key(EC)).signature == "ECDSA-SHA256"


@pytest.mark.filterwarnings("ignore:Diffie-Hellman over finite fields")  # among the vectors are such keys
def test_every_root_among_the_vectors_whose_key_is_there_is_reissued_or_refused_in_words() -> None:
    texts = [path.read_text("latin-1") for path in sorted(VECTORS.rglob("*")) if path.suffix in {".pem", ".key"}]
    keys = {public_half(text): text for text in texts if "PRIVATE KEY-----" in text}
    verdicts = {
        (certificate, said(certificate, keys[public_of(certificate)]))
        for text in texts
        for certificate in parse_pem(text).certificates
        if public_of(certificate) in keys
    }
    assert sorted({verdict for _, verdict in verdicts if verdict}) == [
        "CN=cryptography test,C=US is no root: CN=cryptography CA,C=US has issued it",
        f"the key cannot sign for CN=Ed448 Demo CA: {NO_KIND}",
    ]
    assert len({certificate for certificate, verdict in verdicts if not verdict}) >= 4


def said(old: Certificate, key_text: str) -> str:
    try:
        new = reissued(old, key_text)
    except Unsigned as refused:
        return refused.message
    assert new.kinship(old) is Kinship.EDITION
    assert new.signature == old.signature
    assert list(new.parsed.extensions) == list(old.parsed.extensions)
    return ""


def public_of(certificate: Certificate) -> str:
    try:
        public = certificate.parsed.public_key()
    except ValueError:
        return ""
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


# --- what is refused --------------------------------------------------------------------------------------------------


def words_of(key_text: str) -> set[str]:
    """What must never be said: each line of a key's PEM, and of the same key without its lines."""
    lines = [line for line in key_text.split() if len(line) >= 16]
    return {*lines, key_text, "".join(lines)} - {""}


def refused(old: Certificate, key_text: str) -> str:
    """What the refusal says: it, all that hangs on it, and the printed traceback have no word of the key."""
    with pytest.raises(Unsigned) as caught:
        reissued(old, key_text)
    error = caught.value
    assert (error.__cause__, error.__context__, error.status) == (None, None, 2)
    told = "\n".join((*traceback.format_exception(error), repr(error), str(error), repr(error.args), error.hint))
    assert not [word for word in words_of(key_text) if word in told]
    return error.message


def encrypted(form: PrivateFormat) -> str:
    return private_key("root", "rsa").private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret")).decode()


def inconsistent() -> str:
    """An RSA key of which a prime's exponent is another: what it signs could give the primes away."""
    private = private_key("root", "rsa")
    assert isinstance(private, rsa.RSAPrivateKey)
    numbers = private.private_numbers()
    broken = rsa.RSAPrivateNumbers(
        numbers.p, numbers.q, numbers.d, numbers.dmp1 ^ 2, numbers.dmq1, numbers.iqmp, numbers.public_numbers
    )
    return written(broken.private_key(unsafe_skip_rsa_key_validation=True))


UNREADABLE = "it cannot be read as a key (PKCS#1, PKCS#8 or SEC 1, without a passphrase)"


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        (lambda: key(EC), "it is the key of another certificate"),
        (lambda: encrypted(PrivateFormat.PKCS8), UNREADABLE),
        (lambda: encrypted(PrivateFormat.TraditionalOpenSSL), UNREADABLE),
        (lambda: public_half(key(Ca())), "this is its public half alone, as a recording holds it"),
        (inconsistent, "its parts do not belong together"),
        (lambda: key(Ca())[:900], UNREADABLE),
        (lambda: key(Ca()).replace("A", "\udcff"), UNREADABLE),
        (lambda: key(Ca()).replace("RSA PRIVATE KEY", "EC PRIVATE KEY"), UNREADABLE),
        (lambda: "", UNREADABLE),
    ],
    ids=["another's", "PKCS#8", "PKCS#1", "public", "inconsistent", "cut", "no text", "mislabelled", "empty"],
)
def test_a_key_that_cannot_sign_is_refused_without_a_word_of_it(made: Callable[[], str], fault: str) -> None:
    key_text = made()
    beside = "the key cannot sign for O=cluster.local"
    assert refused(root(Ca()), key_text) == f"{beside}: {fault}"
    with pytest.raises(Unsigned, match=beside):
        rehearse(root(Ca()), root(Ca()), key_text, NOW)


def test_a_private_half_beside_a_public_one_that_is_anothers_signs_nothing() -> None:
    """SEC 1 holds both."""
    mine, others = private_key("ec", "ec"), private_key("others", "ec")
    points = [one.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) for one in (others, mine)]
    der = others.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()).replace(*points)
    spliced = f"-----BEGIN EC PRIVATE KEY-----\n{b2a_base64(der).decode()}-----END EC PRIVATE KEY-----\n"
    assert refused(root(EC), spliced).endswith(UNREADABLE)


@pytest.mark.parametrize(
    ("old", "why"),
    [
        (Ca(key="link", subject="O=link", signed_by=Ca()), "O=link is no root: O=cluster.local has issued it"),
        (
            Ca(key="other", identifier="none", signed_by=Ca(identifier="none")),
            "O=cluster.local does not verify under itself: the signature is another key's",
        ),
        (Ca(is_ca=False), "O=cluster.local does not verify under itself: it is no CA (CA:TRUE is missing)"),
        (
            Ca(usage=("crl_sign",)),
            "O=cluster.local does not verify under itself: its keyUsage does not allow signing certificates",
        ),
    ],
    ids=["an intermediate", "signed by another key", "no CA", "not to sign"],
)
def test_what_is_no_root_is_refused(old: Ca, why: str) -> None:
    assert refused(root(old), key(old)) == why


def test_a_certificate_of_the_first_version_is_no_root_of_a_mesh() -> None:
    """It has no extensions, and does not say that it is a CA."""
    why = "O=cluster.local does not verify under itself: it is no CA (CA:TRUE is missing)"
    assert refused(changed(root(EC), key(EC), version=b"", extensions=()), key(EC)) == why


# --- the rehearsal ----------------------------------------------------------------------------------------------------


def test_the_rehearsal_of_a_renewal_with_another_identifier_names_envoy() -> None:
    old, new = root(replace(EC, identifier="sha1")), root(replace(EC, identifier="sha256"))
    fault = "refused by Envoy: its key identifier is not the one that was signed for"
    assert rehearse(old, new, key(EC), NOW) == (
        f"a leaf of the old root under the new one: {fault}",
        f"a leaf of the new root under the old one: {fault}",
    )


def test_the_rehearsal_looks_at_the_dates_of_the_new_root_alone() -> None:
    expired = replace(EC, starts=-2 * YEARS, ends=-HOUR)
    soon, over = replace(EC, starts=HOUR), replace(EC, ends=HOUR)
    assert rehearse(root(expired), root(EC), key(EC), NOW) == ()
    assert rehearse(root(EC), root(soon), key(EC), NOW) == ("the new root is not valid before 2026-11-24T09:00:00Z",)
    assert rehearse(root(EC), root(over), key(EC), NOW) == (
        "the new root ends before a leaf of today does: 2026-11-24T09:00:00Z",
    )


def test_the_rehearsal_wants_the_key_of_both() -> None:
    with pytest.raises(Unsigned, match="it is the key of another certificate"):
        rehearse(root(EC), root(Ca()), key(EC), NOW)
