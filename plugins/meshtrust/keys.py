"""Private keys where none should be: found in any text, and cut out of what is said."""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CUT = "[cut: a private key]"

_WORDS = b"PRIVATE KEY"
# A label of RFC 7468 with the begin of a DER sequence behind it (base64: M): a mere word, a key cut out or the end of a
# block is none. Between them stand line breaks, which JSON escapes, once for each JSON that it stands in.
_PEM = re.compile(rb"VATE KEY-----[\s\\nrt]{1,64}M[A-Za-z0-9+/]{30}")

# The words in base64, which depend on where in a group of three bytes they begin: what is the same whatever stands
# around them, and how far behind it the next group of four letters begins.
_ENCODED = tuple(
    (binascii.b2a_base64(b"\0" * shift + _WORDS, newline=False)[skipped : skipped + 14], resume)
    for shift, skipped, resume in ((0, 0, 0), (1, 2, 2), (2, 3, 1))
)
_BREAKS = re.compile(rb"\s|\\+[nr]")
_GROUPS = re.compile(rb"(?:[A-Za-z0-9+/]{4}){18}")  # the words and the begin of a key

_SPOKEN = (_WORDS.decode(), *(letters.decode() for letters, _ in _ENCODED))
_LABEL = r"[A-Z0-9 ]{0,32}PRIVATE KEY-----"
_BLOCK = re.compile(rf"-----BEGIN {_LABEL}.*?(?:-----END {_LABEL}|\Z)", re.DOTALL)
_END = re.compile(rf"-----END {_LABEL}")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\\ \t\r\n"
_RUN = re.compile(r"[A-Za-z0-9+/_-]{16,}(?:(?:\s|\\+[nrt])+[A-Za-z0-9+/_-]{16,})*={0,2}")


def carries_key(content: bytes) -> bool:
    """Say whether a private key stands in it: as PEM, as PEM in JSON strings, or as base64 of PEM."""
    return (_WORDS in content and _PEM.search(content) is not None) or any(
        _decoded_key(content, found) for found in _encoded_words(content)
    )


def may_carry_key(content: bytes) -> bool:
    """Say quickly whether there is anything to be looked at: the words of a label, as they are or in base64."""
    return _WORDS in content or any(letters in content for letters, _ in _ENCODED)


def keyless(value: Any) -> Any:
    """The same value to be shown: in each text a mark in the place of a private key, whole or not.

    Nothing public is kept of it, not even its label.
    """
    match value:
        case str(text):
            return _cut(text) if _is_spoken(text) else text
        case dict(mapping):
            return {keyless(key): keyless(held) for key, held in mapping.items()}
        case list(sequence) | tuple(sequence):
            return [keyless(held) for held in sequence]
    return value


def _is_spoken(text: str) -> bool:
    plain, first, second, third = _SPOKEN
    return plain in text or first in text or second in text or third in text


def _cut(text: str) -> str:
    text = _BLOCK.sub(CUT, text)
    text = _RUN.sub(lambda run: CUT if _is_spoken(run[0]) else run[0], text)
    *ends, rest = _END.split(text)  # of blocks whose beginning is elsewhere
    text = CUT.join((*(end.rstrip(_LETTERS) for end in ends), rest))
    return CUT if carries_key(text.encode(errors="replace")) else text


def _encoded_words(content: bytes) -> Iterator[int]:
    """Where the groups of four letters begin that hold the words, or most of them."""
    for letters, resume in _ENCODED:
        found = content.find(letters)
        while found >= 0:
            yield found + resume
            found = content.find(letters, found + 1)


def _decoded_key(content: bytes, start: int) -> bool:
    groups = _GROUPS.match(_BREAKS.sub(b"", content[start : start + 200]))
    return groups is not None and _PEM.search(binascii.a2b_base64(groups[0])) is not None
