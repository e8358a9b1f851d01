"""The short way to a certificate says what the long way says, or nothing."""

from __future__ import annotations

import random
from base64 import b64decode, encodebytes
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import cryptography_vectors

from meshes import NOW, ROOT
from meshtrust.certificates import Certificate
from meshtrust.certificates.alike import Alike
from meshtrust.certificates.faults import UNREADABLE
from meshtrust.certificates.parsing import read_alike, read_whole
from sandbox import Leaf
from sandbox.issuing import leaf_certificate, pem

FILES = sorted(path for path in (Path(cryptography_vectors.__file__).parent / "x509").rglob("*") if path.is_file())
COMPARED = tuple(field.name for field in fields(Certificate) if field.name != "parsed")
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
MUTANTS = 20_000
ODD = (0, 0x7F, 0x80, 0x81, 0x82, 0x30, 0xFF)  # octets that mean something in DER


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


def test_the_second_leaf_of_a_ca_is_read_the_short_way() -> None:
    known = Alike()
    assert read_alike(leaf("cart"), known) is None
    whole(leaf("cart"), known)
    found = read_alike(leaf("audit"), known)
    assert found
    assert facts(found) == whole(leaf("audit"), Alike())
    assert found.uris == ("spiffe://cluster.local/ns/shop/sa/audit",)


def test_a_long_name_is_read_the_short_way_too() -> None:
    known = Alike()
    whole(leaf("cart"), known)
    for account in ("a" * 90, "b" * 190):
        found = read_alike(leaf(account), known)
        assert found
        assert found.uris == (f"spiffe://cluster.local/ns/shop/sa/{account}",)


def test_every_vector_is_read_alike_or_not_at_all() -> None:
    known, short = Alike(), 0
    for block in vectors():
        said = whole(block, known)
        if found := read_alike(block, known):
            short += 1
            assert facts(found) == said
    assert short > 400


def test_what_is_changed_in_any_octet_is_read_alike_or_not_at_all() -> None:
    known, chance = Alike(), random.Random(4)  # noqa: S311 - the same mutants each time
    for block in vectors():
        whole(block, known)
    whole(leaf("cart"), known)
    good = [der_of(block) for block in vectors() if read_alike(block, known)] + [der_of(leaf("audit"))] * 200
    short = 0
    for _ in range(MUTANTS):
        mutant = bytearray(chance.choice(good))
        for _ in range(chance.choice((1, 1, 2, 3))):
            mutant[chance.randrange(len(mutant))] = chance.choice((chance.randrange(256), *ODD))
        block = as_block(bytes(mutant))
        found = read_alike(block, known)
        said = whole(block, known)
        if found:
            short += 1
            assert facts(found) == said
    assert short > MUTANTS // 10


def test_what_only_warns_is_read_and_nothing_is_held_to_be_like_it() -> None:
    known = Alike()
    der = der_of(leaf("cart"))
    number = der.index(b"\x02", der.index(b"\xa0\x03\x02\x01\x02") + 5)  # the serial
    negative = as_block(der[: number + 2] + bytes([der[number + 2] | 0x80]) + der[number + 3 :])
    assert whole(negative, known)
    assert read_alike(leaf("audit"), known) is None
    whole(leaf("cart"), known)
    assert read_alike(negative, known) is None
