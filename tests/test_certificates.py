"""What a certificate is, whose it is, and who vouches for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization

from meshes import CORPORATE, ISSUING, NOW, ROOT, STRANGE
from meshtrust.certificates import (
    Certificate,
    KeyIdentifier,
    Kinship,
    chain,
    pair_fault,
    parse_pem,
    printable_organization,
    refusal,
    revocation_ends,
)
from sandbox.issuing import ca_certificate, pem, private_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox import Ca


def certificate(ca: Ca) -> Certificate:
    (parsed,) = parse_pem(pem([ca_certificate(ca, NOW)])).certificates
    return parsed


def key_pem(name: str, kind: str = "rsa", style: str = "TraditionalOpenSSL") -> str:
    key = private_key(name, kind)
    return key.private_bytes(
        serialization.Encoding.PEM,
        getattr(serialization.PrivateFormat, style),
        serialization.NoEncryption(),
    ).decode()


@pytest.mark.parametrize(
    ("other", "kinship"),
    [
        (ROOT, Kinship.SAME),
        (replace(ROOT, ends=timedelta(days=1)), Kinship.EDITION),
        (replace(ROOT, identifier="none"), Kinship.EDITION),
        (replace(ROOT, identifier="sha1"), Kinship.OTHER_IDENTIFIER),
        (replace(ROOT, string_type="utf8"), Kinship.OTHER_SUBJECT),
        (STRANGE, Kinship.OTHER_KEY),
    ],
)
def test_what_one_root_is_to_another(other: Ca, kinship: Kinship) -> None:
    assert certificate(ROOT).kinship(certificate(other)) is kinship
    assert certificate(other).kinship(certificate(ROOT)) is kinship


@pytest.mark.parametrize(
    ("made", "seen"), [("none", KeyIdentifier.NONE), ("sha1", KeyIdentifier.SHA1), ("sha256", KeyIdentifier.SHA256)]
)
@pytest.mark.parametrize("key_type", ["rsa", "ec"])
def test_the_key_identifier_tells_how_it_was_made(made: str, seen: KeyIdentifier, key_type: str) -> None:
    assert certificate(replace(ROOT, identifier=made, key_type=key_type)).key_identifier is seen  # type: ignore[arg-type]  # parametrized literals


@pytest.mark.parametrize("organization", ["cluster.local", "k8s.cluster.local", "Müller & Söhne", "a" * 300])
def test_the_subject_that_go_writes_is_encoded_octet_by_octet(organization: str) -> None:
    printable = organization.isascii() and "&" not in organization
    if len(organization) > 64:  # the upper bound that cryptography, not Go, puts on a name it writes
        assert len(printable_organization(organization)) > len(organization)
        return
    same = certificate(replace(ROOT, subject=f"O={organization}", string_type="printable" if printable else "utf8"))
    assert same.subject_bytes == printable_organization(organization)


def test_a_root_a_chain_and_a_stranger_verify_as_peers_verify_them() -> None:
    root, issuing = certificate(CORPORATE), certificate(replace(ISSUING, signed_by=CORPORATE))
    assert chain(root, [], [root]) == (root,)
    assert chain(issuing, [], [certificate(STRANGE), root]) == (issuing, root)
    assert chain(issuing, [root], [certificate(STRANGE)]) == ()
    assert chain(issuing, [], []) == ()


def test_of_two_editions_of_a_root_the_one_that_ends_last_is_taken() -> None:
    short, long = replace(CORPORATE, ends=timedelta(days=1)), replace(CORPORATE, ends=timedelta(days=900))
    issuing = certificate(replace(ISSUING, signed_by=CORPORATE))
    assert chain(issuing, [], [certificate(short), certificate(long)])[-1] == certificate(long)


@pytest.mark.parametrize(
    ("issuer", "why"),
    [
        (replace(CORPORATE, identifier="sha256"), "key identifier"),
        (replace(CORPORATE, string_type="utf8"), "octet by octet"),
        (replace(CORPORATE, is_ca=False), "no CA"),
        (replace(CORPORATE, usage=("digital_signature",)), "keyUsage"),
        (replace(CORPORATE, key="impostor", identifier="none"), "another key"),
    ],
)
def test_each_refusal_names_its_reason(issuer: Ca, why: str) -> None:
    child = certificate(replace(ISSUING, signed_by=CORPORATE))
    assert refusal(child, certificate(CORPORATE)) == ""
    assert why in refusal(child, certificate(issuer))


@pytest.mark.parametrize("signature", ["sha1", "md5"])
def test_a_weak_signature_still_tells_the_right_key_from_a_wrong_one(signature: str) -> None:
    above = replace(CORPORATE, key_type="rsa", identifier="none")
    child = certificate(replace(ISSUING, signed_by=above, signature=signature))  # type: ignore[arg-type]  # parametrized literal
    assert child.weakly_signed
    assert refusal(child, certificate(above)) == ""
    assert "another key" in refusal(child, certificate(replace(above, key="impostor")))


@pytest.mark.parametrize("style", ["TraditionalOpenSSL", "PKCS8"])
@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_a_pair_is_known_in_every_encoding_of_its_key(style: str, kind: str) -> None:
    held = certificate(replace(ROOT, key_type=kind))  # type: ignore[arg-type]  # parametrized literal
    assert pair_fault(held, key_pem("root", kind, style)) == ""
    assert pair_fault(held, key_pem("strange", kind, style)) == "it is the key of another certificate"


def test_the_public_key_stands_for_the_private_one_in_a_recording() -> None:
    public = private_key("root", "rsa").public_key()
    held = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    assert pair_fault(certificate(ROOT), held) == ""
    assert pair_fault(certificate(STRANGE), held) == "it is the key of another certificate"


@pytest.mark.parametrize("spoil", [lambda key: key[:200], lambda key: key.replace("\n", "\n!", 3), lambda _: "junk"])
def test_a_broken_key_is_named_without_a_word_of_it(spoil: object) -> None:
    spoilt = spoil(key_pem("root"))  # type: ignore[operator]  # one of the lambdas above
    fault = pair_fault(certificate(ROOT), spoilt)
    assert fault.startswith("it cannot be read as a key")
    assert not [line for line in spoilt.splitlines() if len(line) > 20 and line in fault]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("hello", "no certificate in it"),
        (key_pem("root"), "holds a private key, not a certificate"),
        ("-----BEGIN CERTIFICATE-----\nMIID", "a certificate that begins and does not end"),
    ],
)
def test_a_text_without_a_certificate_says_what_it_is(text: str, why: str) -> None:
    bundle = parse_pem(text)
    assert (bundle.certificates, bundle.broken) == ((), (why,))


def test_order_white_space_and_text_between_blocks_do_not_matter() -> None:
    one, two = (pem([ca_certificate(ca, NOW)]) for ca in (ROOT, STRANGE))
    plain = parse_pem(one + two)
    loose = parse_pem(f"# our roots\r\n{two}\n\n  Subject: O=x\n{one}\n".replace("\n", "\r\n"))
    assert set(plain.certificates) == set(loose.certificates)
    assert loose.broken == ()


@pytest.mark.parametrize(
    ("found", "edit"),
    [
        (1, lambda text: text.replace("\n", "  \r\n")),
        (1, lambda text: text.replace("\nMI", "\n   MI")),
        (1, str.rstrip),
        (0, lambda text: f" {text}"),
        (0, lambda text: f"\ufeff{text}"),
        (0, lambda text: text.replace("-----END", " -----END")),
        (0, lambda text: text.replace("\n", "")),
        (0, lambda text: f"{text.rstrip()}{text}"),
    ],
)
def test_marks_stand_alone_on_their_lines_or_nobody_reads_what_is_between(
    found: int, edit: Callable[[str], str]
) -> None:
    bundle = parse_pem(edit(pem([ca_certificate(ROOT, NOW)])))
    assert (len(bundle.certificates), not bundle.broken) == (found, bool(found))


def test_what_is_no_revocation_list_is_refused() -> None:
    assert revocation_ends("") == ()
    with pytest.raises(ValueError, match="no revocation list"):
        revocation_ends("hello")
    with pytest.raises(ValueError, match=r"PEM|parsed|Unable"):
        revocation_ends("-----BEGIN X509 CRL-----\nMIID\n-----END X509 CRL-----\n")
