"""Private keys where none should be: found, never shown."""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Any

from meshtrust.manifests.kinds import SECRET, parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

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


def carries_key(content: bytes) -> bool:
    """Say whether a private key stands in it: as PEM, as PEM in JSON strings, or as base64 of PEM."""
    return (_WORDS in content and _PEM.search(content) is not None) or any(
        _decoded_key(content, found) for found in _encoded_words(content)
    )


def exposes_key(documents: Iterable[Any]) -> bool:
    """Say whether a private key stands anywhere but in the data of a Secret, where it belongs.

    What kubectl keeps of a Secret in an annotation is its data too: whether that matters depends on the Secret.
    """
    return any(carries_key(text.encode()) for document in documents for text in _outside(document))


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


def _outside(document: Any) -> Iterator[str]:
    for part in parts(document):
        yield from _strings(_without_data(part.body) if part.kind == SECRET else part.body)


def _without_data(secret: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in secret.items() if key not in {"data", "stringData"}}
    metadata = rest.get("metadata")
    if isinstance(metadata, dict) and isinstance(annotations := metadata.get("annotations"), dict):
        kept = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
        rest["metadata"] = {**metadata, "annotations": kept}
    return rest


def _strings(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str(text):
                yield text
            case dict(mapping):
                waiting += mapping.values()
            case list(sequence):
                waiting += sequence
