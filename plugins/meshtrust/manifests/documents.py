"""Text to values: YAML and JSON, in the encodings that kubectl's output ends up in."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

import msgspec

from meshtrust.errors import ToolError

EXPECTED = "expected the output of kubectl get -o yaml or -o json, or a bug-report.tar.gz of istioctl"

# The longer marks first: that of UTF-32 begins with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_JSON = re.compile(rb"\s*(?:\[\s*)*(?:\{\s*[\"}]|\])")
_INK = re.compile(r"\S")


class Unreadable(ToolError):
    """Why a file is no manifest, and where in it. Never a word of the file itself: it may be a key."""

    def __init__(self, message: str, hint: str = EXPECTED) -> None:
        super().__init__(message, hint)


def plain(content: bytes) -> bytes:
    """The same text in UTF-8 without a byte order mark: PowerShell's `>` writes UTF-16."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return _text(content[len(mark) :], encoding).encode()
    if b"\0" in content:
        raise Unreadable("is a binary file")
    _text(content, "utf-8")
    return content


def documents(text: bytes) -> list[Any]:
    """Every document of a text that `plain` gave."""
    if not text or text.isspace():
        raise Unreadable("is empty")
    if _JSON.match(text):
        return _json(text.decode())
    from meshtrust.manifests.composing import compose  # noqa: PLC0415 - only YAML pays for it

    return compose(text)


def place(text: bytes, offset: int) -> str:
    """An offset as an editor shows it."""
    lines = text[:offset].split(b"\n")
    return f"line {len(lines)}, column {len(lines[-1]) + 1}"


def _text(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        where = place(content, error.start) if encoding == "utf-8" else f"byte {error.start}"
        raise Unreadable(f"{where}: not {encoding.upper()} text") from None


def _json(text: str) -> list[Any]:
    """Documents in a row, as kubectl takes them; where a key is given twice, the last counts, as it does there."""
    try:
        return [msgspec.json.decode(text)]
    except msgspec.DecodeError:
        return [_json_value(piece) for piece in _json_pieces(text)]
    except RecursionError:
        raise Unreadable("is nested too deeply") from None


def _json_value(piece: str) -> Any:
    try:
        return msgspec.json.decode(piece)
    except msgspec.DecodeError as error:
        raise Unreadable(f"not JSON: {error}") from None


def _json_pieces(text: str) -> list[str]:
    """The text of each document. Only `json` tells where one ends, and on which line an error is."""
    decoder = json.JSONDecoder()
    pieces: list[str] = []
    begin = _INK.search(text)
    while begin:
        try:
            _, end = decoder.raw_decode(text, begin.start())
        except json.JSONDecodeError as error:
            raise Unreadable(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
        except (ValueError, RecursionError):  # a number of thousands of digits; brackets in brackets
            raise Unreadable("is nested too deeply, or holds too long a number") from None
        pieces.append(text[begin.start() : end])
        begin = _INK.search(text, end)
    return pieces
