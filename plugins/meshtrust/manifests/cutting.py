"""Cutting private keys out of what is to be written: the public half in their place, so that pairs can be judged."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from typing import TYPE_CHECKING, Any

from meshtrust.certificates import public_half
from meshtrust.certificates.public import PUBLIC_LABELS, is_public
from meshtrust.keys import CUT, carries_key
from meshtrust.manifests.bare import hides_key, without_hidden
from meshtrust.manifests.kinds import SECRET
from meshtrust.mesh import names
from meshtrust.objects import KINDS
from meshtrust.octets import from_base64

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY = re.compile(r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)(-----END \1-----|(?=-----BEGIN )|\Z)", re.DOTALL)
_WORDS = "PRIVATE KEY"
_KEPT = frozenset(
    {
        names.SIGNING,
        names.SIGNING_KEY,
        names.CHAIN,
        names.ROOTS,
        names.CRL,
        names.TLS_SIGNING,
        names.TLS_KEY,
        names.TLS_ROOTS,
        names.GENERATED,
        names.PREVIOUS,
    }
)
_ACCOUNT = re.compile(r"[a-z0-9.-]{1,253}")  # the name of a ServiceAccount
_NOTE = re.compile(names.PREVIOUS_NOTE)
_TOLD = frozenset({names.ISTIOD_CONTAINER, names.CITADEL_CONTAINER, names.PROXY_CONTAINER})


def without_keys(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """An object as it may be shown to others: no private key, and no more of a Secret or a container than is judged."""
    kept = _of_secret(body) if (KINDS[kind].of or kind) == SECRET else dict(body)
    if "spec" in body:
        kept["spec"] = _quiet(body["spec"])
    cut: dict[str, Any] = without_key(kept)
    return cut


def without_key(value: Any) -> Any:
    """The same value without any private key in its texts: as PEM, as base64 of it, in JSON inside a text."""
    match value:
        case str(text):
            return _text(text)
        case dict(mapping):
            return {key: without_key(held) for key, held in mapping.items()}
        case list(sequence) | tuple(sequence):
            return [without_key(held) for held in sequence]
    return value


def _of_secret(body: Mapping[str, Any]) -> dict[str, Any]:
    """Of a Secret nothing is kept because it does not look like a key: it must be proven to be none."""
    kept = {key: value for key, value in body.items() if key != "stringData"}  # which no server gives
    if "data" in body:
        kept["data"] = _public_values(body["data"])
    metadata = body["metadata"]
    if annotations := metadata.get("annotations"):
        kept["metadata"] = {**metadata, "annotations": {key: _note(key, text) for key, text in annotations.items()}}
    return kept


def _public_values(held: Any) -> dict[str, str | None]:
    mapping = held if isinstance(held, dict) else {}
    return {key: _public_value(value) for key, value in mapping.items() if key in _KEPT}


def _public_value(value: Any) -> str | None:
    if not value:
        return None if value is None else ""
    try:
        text = from_base64("".join(str(value).split())).decode(errors="replace")
    except ValueError:
        return CUT  # which is no base64 either
    return b64encode(_public_text(text).encode()).decode()


def _note(key: str, text: Any) -> str:
    """An annotation of a Secret: of what nobody reads the name alone."""
    match key, text:
        case names.LAST_APPLIED, str():
            return _applied(text)
        case names.ACCOUNT_ANNOTATION, str() if _ACCOUNT.fullmatch(text):
            return text
    return ""


def _applied(text: str) -> str:
    """What kubectl keeps of a Secret is a Secret: whether there was a key in it can still be told."""
    try:
        applied = json.loads(text)
    except (ValueError, RecursionError):
        return CUT
    if not isinstance(applied, dict):
        return CUT
    plain = applied.get("stringData")
    kept = {"data": _public_values(applied.get("data"))}
    if isinstance(plain, dict):
        kept["stringData"] = {key: _public_text(str(value or "")) for key, value in plain.items() if key in _KEPT}
    return json.dumps(kept, separators=(",", ":"))


def _public_text(text: str) -> str:
    """The blocks that are proven to be public, and a mark for whatever else stands there."""
    kept, behind = "", 0
    for block in _BLOCK.finditer(text):
        kept += _between(text[behind : block.start()]) + _public_block(*block.groups())
        behind = block.end()
    return kept + _between(text[behind:])


def _between(text: str) -> str:
    told = all(_NOTE.fullmatch(line) for line in text.splitlines() if line.strip())
    return text if told else f"\n{CUT}\n"


def _public_block(label: str, body: str, end: str) -> str:
    begin = f"-----BEGIN {label}-----"
    if label.endswith(_WORDS):
        return public_half(f"{begin}{body}{end}").strip() or CUT
    if label not in PUBLIC_LABELS:
        return CUT
    return f"{begin}{body}{end}" if is_public(label, body) else f"{begin}\n{CUT}\n{end}"


def _quiet(spec: Any) -> Any:
    """The environment of other people's containers may hold anything, and nobody here reads it."""
    if isinstance(spec, list):
        return [_quiet(one) for one in spec]
    if not isinstance(spec, dict):
        return spec
    quiet = {key: _quiet(held) for key, held in spec.items()}
    is_istios = quiet.get("name") in _TOLD or list(quiet.get("args") or ())[:1] == [names.PROXY_ARGUMENT]
    if "env" in quiet and "image" in quiet and not is_istios:
        del quiet["env"]
    return quiet


def _text(text: str) -> str:
    if _WORDS in text:
        text = _in_json(text) if text.lstrip()[:1] in ("{", "[") else _KEY.sub(_public, text)
    elif _is_labelled(text):
        text = _in_base64(text)
    if hides_key(text):
        text = without_hidden(_in_json(text) if text.lstrip()[:1] in ("{", "[") else text, CUT)
    return CUT if holds_key(text) else text


def holds_key(text: str) -> bool:
    """Say whether a private key stands in it, with its label or without."""
    return _is_labelled(text) or hides_key(text)


def _is_labelled(text: str) -> bool:
    return carries_key(text.encode(errors="replace"))


def _in_json(text: str) -> str:
    try:
        return json.dumps(without_key(json.loads(text)), separators=(",", ":"))
    except (ValueError, RecursionError):
        return _KEY.sub(_public, text)


def _in_base64(text: str) -> str:
    if text.lstrip()[:1] in ("{", "["):
        return _in_json(text)
    try:
        plain = b64decode("".join(text.split()), validate=True).decode()
    except (NotBase64, UnicodeDecodeError):
        return text
    return b64encode(_text(plain).encode()).decode()


def _public(found: re.Match[str]) -> str:
    return public_half(found[0]).strip() or CUT
