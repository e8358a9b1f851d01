"""Private keys in a recording, where none should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshtrust.keys import carries_key
from meshtrust.manifests.kinds import SECRET, parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def exposes_key(documents: Iterable[Any]) -> bool:
    """Say whether a private key stands anywhere but in the data of a Secret, where it belongs.

    What kubectl keeps of a Secret in an annotation is its data too: whether that matters depends on the Secret.
    """
    return any(carries_key(text.encode()) for document in documents for text in _outside(document))


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
