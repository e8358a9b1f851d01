"""Cutting private keys out of what is to be written: the public half in their place, so that pairs can be judged."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from typing import TYPE_CHECKING, Any

from meshtrust.certificates import public_half
from meshtrust.manifests.keys import carries_key
from meshtrust.mesh import names

if TYPE_CHECKING:
    from collections.abc import Mapping

CUT = "[cut: a private key]"

_KEY = re.compile(r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
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
    }
)
_TOLD = frozenset({names.ISTIOD_CONTAINER, names.CITADEL_CONTAINER, names.PROXY_CONTAINER})


def without_keys(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """An object as it may be shown to others: no private key, and no more of a Secret or a container than is judged."""
    kept = dict(body)
    if kind == "Secret" and isinstance(data := body.get("data"), dict):
        kept["data"] = {key: value for key, value in data.items() if key in _KEPT}
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
    elif carries_key(text.encode()):
        text = _in_base64(text)
    return CUT if carries_key(text.encode()) else text


def _in_json(text: str) -> str:
    try:
        return json.dumps(without_key(json.loads(text)), separators=(",", ":"))
    except ValueError:
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
