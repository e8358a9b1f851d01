"""The short way to a certificate says what the long way says, or nothing."""

from __future__ import annotations

import random
from base64 import b64decode, encodebytes
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cryptography_vectors
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from meshes import NOW, ROOT
from meshtrust.certificates import Certificate
from meshtrust.certificates.alike import Alike
from meshtrust.certificates.der import (
    BIT_STRING,
    INTEGER,
    SEQUENCE,
    TbsCertificate,
    element,
    integer,
    places,
    signed,
)
from meshtrust.certificates.faults import UNREADABLE
from meshtrust.certificates.parsing import read_alike, read_whole
from sandbox import Ca, Leaf
from sandbox.issuing import ca_certificate, leaf_certificate, pem, private_key

FILES = sorted(path for path in (Path(cryptography_vectors.__file__).parent / "x509").rglob("*") if path.is_file())
COMPARED = tuple(name for name in Certificate.__struct_fields__ if name != "parsed")
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
MUTANTS = 6_000
RSA = bytes.fromhex("300d06092a864886f70d0101010500")  # the algorithm of a key
ODD = (0, 1, 0x7F, 0x80, 0x81, 0x82, 0x30, 0xFF)  # octets that mean something in DER


def facts(certificate: Certificate) -> dict[str, Any]:
    return {name: getattr(certificate, name) for name in COMPARED}


def whole(block: str, known: Alike) -> dict[str, Any] | None:
    """What the long way says, and takes in for the short way; nothing where it is no certificate."""
    try:
        return facts(read_whole(block, known))
    except UNREADABLE:
        return None


def as_block(der: bytes) -> str:
    return f"{BEGIN}\n{encodebytes(der).decode()}{END}"


def der_of(block: str) -> bytes:
    return b64decode("".join(block.removeprefix(BEGIN).removesuffix(END).split()))


@cache
def vectors() -> tuple[str, ...]:
    texts = [path.read_bytes() for path in FILES]
    blocks = [
        BEGIN + part.partition(END)[0] + END
        for text in texts
        for part in text.decode("latin-1").split(BEGIN)[1:]
        if END in part
    ]
    return (*blocks, *(as_block(text) for text in texts if b"-----BEGIN" not in text))


def leaf(account: str, **parts: Any) -> str:
    identity = f"spiffe://cluster.local/ns/shop/sa/{account}"
    return pem([leaf_certificate(Leaf(**parts), ROOT, identity, NOW, era="istiod")]).strip()


def root(**parts: Any) -> str:
    return pem([ca_certificate(Ca(**parts), NOW)]).strip()


def own(block: str) -> dict[str, range]:
    """Where in a leaf stands what is another in each, as `cryptography` tells it."""
    parsed = x509.load_pem_x509_certificate(block.encode())
    key = parsed.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    (uri,) = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    parts = {
        "serial": integer(parsed.serial_number),
        "not before": f"{parsed.not_valid_before_utc:%y%m%d%H%M%SZ}".encode(),
        "not after": f"{parsed.not_valid_after_utc:%y%m%d%H%M%SZ}".encode(),
        "modulus": integer(key.public_numbers().n)[1:],
        "uri": uri.value.encode(),
        "signature": parsed.signature,
    }
    der = der_of(block)
    return {name: range(der.index(part), der.index(part) + len(part)) for name, part in parts.items()}


def changed(block: str, at: int, octets: bytes) -> str:
    der = der_of(block)
    return as_block(der[:at] + octets + der[at + len(octets) :])


def with_key(block: str, modulus: int, exponent: int) -> str:
    der = der_of(block)
    tbs = signed(der)
    numbers = element(SEQUENCE, element(INTEGER, integer(modulus)) + element(INTEGER, integer(exponent)))
    key = element(SEQUENCE, RSA + element(BIT_STRING, b"\0" + numbers))
    return as_block(element(SEQUENCE, replace(TbsCertificate.of(der[tbs.whole]), key=key).der + der[tbs.end :]))


def test_of_the_leaves_of_a_ca_only_the_first_of_each_length_is_read_the_long_way() -> None:
    known, long = Alike(), set()
    for number in range(8, 40):
        block = leaf(f"account-{number}")
        if found := read_alike(block, known):
            assert facts(found) == whole(block, Alike())
        else:
            said = whole(block, known)
            assert said
            lengths = len(said["uris"][0]), len(integer(said["serial"]))
            assert lengths not in long
            long.add(lengths)
    assert len(long) < 8


def test_a_leaf_is_alike_in_all_but_its_own_octets() -> None:
    known, block = Alike(), leaf("cart")
    whole(block, known)
    der, parts = der_of(block), own(block)
    alike = {at for at, octet in enumerate(der) if read_alike(changed(block, at, bytes((octet ^ 1,))), known)}
    may_be_another = {at for part in parts.values() for at in part}
    assert alike <= may_be_another
    before, after = parts["not before"], parts["not after"]
    assert may_be_another - alike <= {*before, *after} - {before[-2], after[-2]}  # any digit makes a second


@pytest.mark.parametrize(
    ("part", "octets"),
    [
        pytest.param("serial", b"\x80", id="a negative serial"),
        pytest.param("serial", bytes(2), id="a serial with a zero too many"),
        pytest.param("serial", bytes(16), id="a serial of nothing but zeros"),
        pytest.param("not before", b"2613", id="a thirteenth month"),
        pytest.param("not after", b"261124080060Z", id="a minute of 61 seconds"),
        pytest.param("not after", b"2611240800+02", id="another zone"),
        pytest.param("modulus", b"\x7f", id="a key of 2047 bits"),
        pytest.param("modulus", bytes(2), id="a key of fewer octets"),
        pytest.param("uri", "é".encode(), id="a letter that no URI has"),
        pytest.param("uri", b"\xff", id="no letter"),
    ],
)
def test_what_the_long_way_might_refuse_is_left_to_it(part: str, octets: bytes) -> None:
    known, block = Alike(), leaf("cart")
    whole(block, known)
    at = own(block)[part].start
    assert read_alike(block, known)
    assert read_alike(changed(block, at, octets), known) is None


def test_a_serial_of_one_zero_is_left_to_the_long_way() -> None:
    known, block = Alike(), root(serial=1)
    whole(block, known)
    at = der_of(block).index(bytes.fromhex("020101"), 10) + 2  # behind the version, whose number is 2
    assert read_alike(changed(block, at, b"\x02"), known)
    assert read_alike(changed(block, at, b"\0"), known) is None


def test_the_point_of_another_ec_key_is_looked_at() -> None:
    known, block = Alike(), root(key="one", key_type="ec")
    whole(block, known)
    points = [
        private_key(name, "ec").public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        for name in ("one", "another")
    ]
    at = der_of(block).index(points[0])
    another = changed(block, at, points[1])
    found = read_alike(another, known)
    assert found
    assert facts(found) == whole(another, Alike())
    nowhere = changed(block, at, points[0][:-1] + bytes((points[0][-1] ^ 1,)))
    assert read_alike(nowhere, known) is None
    assert whole(nowhere, known) is None


def test_a_modulus_below_an_exponent_as_long_as_it_is_left_to_the_long_way() -> None:
    known, highest, lowest = Alike(), 2**2048 - 1, 2**2047 + 1
    block, below = (with_key(leaf("cart"), modulus, highest - 2) for modulus in (highest, lowest))
    assert whole(block, known)
    assert read_alike(block, known)
    assert read_alike(below, known) is None
    assert whole(below, known) is None


def test_the_shape_that_was_learned_first_is_forgotten_first() -> None:
    known = Alike()
    for length in range(1, 515):
        whole(leaf("a" * length), known)
    assert [bool(read_alike(leaf("a" * length), known)) for length in (1, 2, 3, 514)] == [False, False, True, True]


def test_of_one_shape_the_ca_that_was_learned_first_is_forgotten_first() -> None:
    known = Alike()
    roots = [root(subject=f"O=mesh-{number}", serial=1) for number in range(9)]
    for block in roots:
        whole(block, known)
    assert [bool(read_alike(block, known)) for block in roots] == [False, *[True] * 8]


def test_what_needs_the_long_way_each_time_lets_no_other_be_forgotten() -> None:
    known, block = Alike(), leaf("cart")
    of_another_ca = changed(block, der_of(block).index(b"cluster.local"), b"cluster.lokal")
    whole(of_another_ca, known)
    odd = changed(block, own(block)["uri"].start, "é".encode())
    for _ in range(20):
        assert whole(odd, known)
        assert read_alike(odd, known) is None
    assert read_alike(of_another_ca, known)


def test_nothing_large_is_kept_to_be_like_others() -> None:
    known, block = Alike(), leaf("a" * 4096)
    whole(block, known)
    assert read_alike(block, known) is None


def test_every_vector_is_read_alike_or_not_at_all() -> None:
    known, short = Alike(), 0
    for block in vectors():
        said = whole(block, known)
        if found := read_alike(block, known):
            short += 1
            assert facts(found) == said
    assert short > 400


def strata(der: bytes, begin: int, end: int) -> list[range]:
    """Every header and every content in it, those inside of strings as well, where they look like DER."""
    found = []
    for place in places(der, begin, end):
        found.append(range(place.begin, place.inside))
        inside = place.inside + (der[place.begin] == BIT_STRING)
        try:
            ends = [part.end for part in places(der, inside, place.end)]
        except IndexError:
            ends = []
        if ends[-1:] == [place.end]:
            found += strata(der, inside, place.end)
        elif place.inside < place.end:
            found.append(range(place.inside, place.end))
    return found


def test_what_is_changed_anywhere_is_read_alike_or_not_at_all() -> None:
    known, chance = Alike(), random.Random(4)  # noqa: S311 - the same mutants each time
    leaves = [leaf("cart"), root(key="one", key_type="ec"), root(identifier="sha1")]
    for block in vectors():
        whole(block, known)
    good = [der_of(block) for block in vectors() if read_alike(block, known)]
    good += [der_of(block) for block in leaves] * (len(good) // 3)
    parts = {der: strata(der, 0, len(der)) for der in set(good)}
    short = 0
    for _ in range(MUTANTS):
        der = chance.choice(good)
        whole(as_block(der), known)  # what others taught may have been forgotten
        mutant = bytearray(der)
        for _ in range(chance.choice((1, 1, 2, 3))):
            part = chance.choice(parts[der])
            at = chance.choice((part.start, chance.choice(part), chance.randrange(len(der))))
            mutant[at] = chance.choice((chance.randrange(256), *ODD, mutant[at] ^ 0x80, mutant[at] ^ 1))
        block = as_block(bytes(mutant))
        found = read_alike(block, known)
        by_itself = Alike()
        said = whole(block, chance.choice((known, by_itself)))
        if found:
            short += 1
            assert facts(found) == said
            assert whole(block, by_itself)
            assert read_alike(block, by_itself), "the long way warns of it"
    assert short > MUTANTS // 20


def test_what_only_warns_is_read_and_nothing_is_held_to_be_like_it() -> None:
    known = Alike()
    der = der_of(leaf("cart"))
    number = der.index(b"\x02", der.index(b"\xa0\x03\x02\x01\x02") + 5)  # the serial
    negative = as_block(der[: number + 2] + bytes([der[number + 2] | 0x80]) + der[number + 3 :])
    assert whole(negative, known)
    assert read_alike(leaf("cart"), known) is None
    whole(leaf("cart"), known)
    assert read_alike(negative, known) is None
