"""A root that is issued again: what stays stays octet for octet, and what changes is right."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timezone
from itertools import product

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from meshtrust.certificates import Kinship, Unsigned, rehearse, reissue
from reissuing import EC, HOUR, NOW, YEARS, Octets, changed, key, openssl, reissued, root, self_signed, written
from sandbox import Ca


@openssl
@pytest.mark.parametrize("drop_identifier", [False, True], ids=["keep", "drop"])
@pytest.mark.parametrize("subject", ["O=cluster.local", "O=cluster.local,CN=Ünï root,OU=a,L=b,ST=c"])
@pytest.mark.parametrize("ca", [Ca(), EC, Ca(string_type="utf8", identifier="sha1"), Ca(identifier="none")])
def test_all_but_serial_and_dates_stays_octet_for_octet(ca: Ca, subject: str, drop_identifier: bool) -> None:
    if not subject.isascii():
        ca = replace(ca, string_type="utf8")
    old = root(replace(ca, subject=subject))
    new = reissued(old, key(ca), drop_identifier=drop_identifier)
    was, became = Octets.of(old), Octets.of(new)
    identifier = bytes.fromhex("0603551d0e")
    kept = tuple(each for each in was.extensions if not (drop_identifier and identifier in each[:9]))
    assert (len(was.extensions) - len(kept) == 1) is (drop_identifier and ca.identifier != "none")
    assert became == replace(was, serial=became.serial, validity=became.validity, extensions=kept)
    assert became.serial != was.serial
    assert became.validity == bytes.fromhex("301e170d") + b"261124070000Z" + bytes.fromhex("170d") + b"361121080000Z"


def test_the_text_is_as_go_writes_it() -> None:
    text = reissue(root(EC), key(EC), not_before=NOW, not_after=NOW + YEARS)
    first, *body, last, end = text.split("\n")
    assert (first, last, end) == ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----", "")
    assert {len(line) for line in body[:-1]} == {64}
    assert 0 < len(body[-1]) <= 64


FORMS = [
    Ca(usage=("key_cert_sign", "crl_sign", "digital_signature")),
    *(
        Ca(key=kind, key_type=kind, string_type=string, identifier=identifier, signature=signature)
        for kind, signatures in (("rsa", ("sha256", "sha384", "sha1", "md5")), ("ec", ("sha256", "sha384")))
        for string, identifier, signature in product(("printable", "utf8"), ("sha256", "sha1", "none"), signatures)
    ),
]


@pytest.mark.parametrize("drop_identifier", [False, True], ids=["keep", "drop"])
def test_every_form_of_a_root_is_reissued_as_another_edition_of_it(drop_identifier: bool) -> None:
    for ca in FORMS:
        old = root(ca)
        new = reissued(old, key(ca), drop_identifier=drop_identifier)
        assert new.kinship(old) is Kinship.EDITION
        assert new.self_issued
        assert new.signature == (old.signature if ca.signature.startswith(("sha2", "sha3")) else "RSA-SHA256")
        assert (new.not_before, new.not_after) == (NOW - HOUR, NOW + YEARS)
        assert new.subject_key_identifier == (None if drop_identifier else old.subject_key_identifier)
        assert (new.is_ca, new.path_length, new.can_sign) == (old.is_ca, old.path_length, old.can_sign)


def test_what_was_dropped_stays_dropped_and_may_be_dropped_again() -> None:
    once = reissued(root(EC), key(EC), drop_identifier=True)
    assert reissued(once, key(EC)).subject_key_identifier is None
    assert reissued(once, key(EC), drop_identifier=True).kinship(root(EC)) is Kinship.EDITION


def test_an_extension_that_nobody_knows_keeps_its_octets_and_its_place() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x04\x03\x01\x02\x03")
    constraints = x509.NameConstraints([x509.DNSName("mesh.test")], None)
    identifier = x509.SubjectKeyIdentifier(b"\1" * 20)
    old = self_signed(private, hashes.SHA256(), None, (unknown, False), (identifier, False), (constraints, True))
    kept, dropped = reissued(old, written(private)), reissued(old, written(private), drop_identifier=True)
    values = [(each.oid, each.critical, each.value) for each in old.parsed.extensions]
    assert [(each.oid, each.critical, each.value) for each in kept.parsed.extensions] == values
    del values[2]
    assert [(each.oid, each.critical, each.value) for each in dropped.parsed.extensions] == values


def test_unique_ids_stay() -> None:
    """RFC 5280 4.1.2.8: nobody should have them."""
    ids = bytes.fromhex("810200aa820200bb")
    old = changed(root(EC), key(EC), unique_ids=ids)
    assert reissued(old, key(EC)).parsed.tbs_certificate_bytes.count(ids) == 1


def test_a_subject_in_strange_octets_stays_as_it_stands() -> None:
    """A TeletexString, as tools wrote before there was UTF-8."""
    name = bytes.fromhex("30123110300e060355040a14076d65736865732d")
    old = changed(root(EC), key(EC), issuer=name, subject=name)
    assert old.subject_bytes == name
    new = reissued(old, key(EC))
    assert (new.subject_bytes, new.issuer_bytes) == (name, name)
    assert rehearse(old, new, key(EC), NOW) == ()


@pytest.mark.parametrize("drop_identifier", [False, True], ids=["keep", "drop"])
@pytest.mark.parametrize("named", [0x51, 0x52], ids=["its own", "another's"])
def test_a_serial_that_it_names_as_its_issuers_follows_where_it_is_its_own(named: int, drop_identifier: bool) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "cluster.local")]))]
    identifier = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
    authority = x509.AuthorityKeyIdentifier(identifier.digest, names, named)
    old = self_signed(private, hashes.SHA256(), None, (identifier, False), (authority, False))
    new = reissued(old, written(private), drop_identifier=drop_identifier)
    found = new.parsed.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    expected = new.serial if named == old.serial else named
    assert found == x509.AuthorityKeyIdentifier(identifier.digest, names, expected)


def test_serials_are_positive_below_2_to_the_128_and_never_alike() -> None:
    old = root(EC)
    serials = {reissued(old, key(EC)).serial for _ in range(200)}
    assert len(serials - {old.serial}) == 200
    assert all(0 < serial < 1 << 128 for serial in serials)
    assert any(serial >> 127 for serial in serials)  # which needs an octet more, or it would be negative


@pytest.mark.parametrize(
    ("end", "written_as"),
    [
        (datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), bytes((0x17, 13)) + b"491231235959Z"),
        (datetime(2050, 1, 1, tzinfo=UTC), bytes((0x18, 15)) + b"20500101000000Z"),
        (datetime(2050, 1, 1, 0, 30, tzinfo=timezone(HOUR)), bytes((0x17, 13)) + b"491231233000Z"),
        (datetime(2126, 6, 1, 12, 0, 0, 999_999, tzinfo=UTC), bytes((0x18, 15)) + b"21260601120000Z"),
    ],
)
def test_dates_have_two_digits_for_the_year_up_to_2049_and_four_from_2050(end: datetime, written_as: bytes) -> None:
    new = reissued(root(EC), key(EC), not_after=end)
    assert new.not_after == end.replace(microsecond=0)
    assert new.parsed.tbs_certificate_bytes.count(written_as) == 1


def test_a_root_that_ended_long_ago_is_reissued() -> None:
    old = root(replace(EC, starts=-2 * YEARS, ends=-YEARS))
    assert reissued(old, key(EC)).valid_at(NOW)


def test_an_end_before_the_beginning_is_refused() -> None:
    with pytest.raises(Unsigned, match=r"^O=cluster\.local cannot end before it begins$"):
        reissued(root(EC), key(EC), not_after=NOW - HOUR)
