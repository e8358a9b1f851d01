"""Base64 is read as strictly as Kubernetes and PEM write it."""

from __future__ import annotations

import binascii
import random

import pytest

from meshtrust.octets import from_base64


@pytest.mark.parametrize("size", [*range(20), 4096])
def test_what_was_written_is_read(size: int) -> None:
    octets = random.Random(size).randbytes(size)  # noqa: S311 - not for secrets
    assert from_base64(binascii.b2a_base64(octets, newline=False).decode()) == octets


@pytest.mark.parametrize(
    "text", ["QQ", "QQ=", "=", "====", "QQ==QQ==", "QQ==\n", "Q Q==", "QQ-_", "AAAA=", "Q\\u0051==", 'QQ=="', "ä", "\0"]
)
def test_what_is_not_base64_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not base64$"):
        from_base64(text)
