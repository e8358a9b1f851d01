"""Private keys without a label: DER (RFC 5208, 5915, 5958, 7292, 8017) and its base64, encoded once more or not."""

from __future__ import annotations

import binascii
import re

from meshtrust.keys import carries_key

# How the DER of a private key begins, and that of no certificate, request, revocation list or public key.
_LENGTH = rb"(?:[\x00-\x80]|\x81.|\x82..|\x83...)"
_SEQUENCE = rb"\x30" + _LENGTH
_RSA, _EC, _DSA, _EDWARDS = (
    rb"\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01[\x01\x0a]",
    rb"\x07\x2a\x86\x48\xce\x3d\x02\x01",
    rb"\x07\x2a\x86\x48\xce\x38\x04\x01",
    rb"\x03\x2b\x65[\x6e-\x71]\x04",  # a revocation list that such a key signed goes on with its issuer
)
_ALGORITHM = _SEQUENCE + rb"\x06(?:" + rb"|".join((_RSA, _EC, _DSA, _EDWARDS)) + rb")"
_FORMS = (
    rb"\x02\x01[\x00\x01]" + _ALGORITHM,  # PKCS#8
    rb"\x02\x01\x00\x02" + _LENGTH,  # PKCS#1
    rb"\x02\x01\x01\x04" + _LENGTH,  # SEC 1
    _SEQUENCE + rb"\x06[\x09-\x0b]\x2a\x86\x48\x86\xf7\x0d\x01[\x05\x0c]",  # PKCS#8 with a passphrase
    rb"\x02\x01\x03" + _SEQUENCE + rb"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07",  # PKCS#12
)
_DER = re.compile(_SEQUENCE + rb"(?:" + rb"|".join(_FORMS) + rb")", re.DOTALL)

_BREAK = r"(?:\s|\\+[nrt])"
_RUN = re.compile(rf"[A-Za-z0-9+/_-]+(?:{_BREAK}+[A-Za-z0-9+/_-]+)*={{0,2}}")
_BREAKS = re.compile(_BREAK)
_BEGIN = re.compile(r"(?=(M[A-P][A-Za-z0-9+/]{46}))")  # base64 of a sequence, wherever it begins, and 36 octets of it
_SHORTEST = 48  # letters; the shortest key, of Ed25519, has 64
_DEPTH = 4  # how often it may be encoded
_BASIC = str.maketrans("-_", "+/")  # RFC 4648 5


def hides_key(text: str) -> bool:
    """Say whether a private key without a label stands in it, in base64."""
    return any(_is_key(run[0], _DEPTH) for run in _RUN.finditer(text))


def without_hidden(text: str, mark: str) -> str:
    """The same text with a mark in the place of each such key, and of the words around it."""
    return _RUN.sub(lambda run: mark if _is_key(run[0], _DEPTH) else run[0], text)


def _is_key(run: str, depth: int) -> bool:
    if depth == 0 or len(run) < _SHORTEST:
        return False
    words = [word.translate(_BASIC) for word in _BREAKS.sub(" ", run).rstrip("=").split()]
    whole = "".join(words)
    if any(_DER.match(binascii.a2b_base64(begin[1])) for begin in _BEGIN.finditer(whole)):
        return True
    return any(_encodes_key(word, depth) for word in {whole, *words} if len(word) >= _SHORTEST)


def _encodes_key(letters: str, depth: int) -> bool:
    octets = binascii.a2b_base64(letters[: len(letters) // 4 * 4])
    if _DER.search(octets) or carries_key(octets):
        return True
    text = octets.decode(errors="replace")
    return any(_is_key(run[0], depth - 1) for run in _RUN.finditer(text))
