"""YAML events to values.

PyYAML's own composer recurses in C, so that a few kilobytes of brackets end the process, and its constructors know
types that Kubernetes does not. This one keeps a stack, takes only what JSON has too, and bounds what aliases multiply.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from meshtrust.manifests.documents import Unreadable, place

if TYPE_CHECKING:
    from re import Pattern

    from yaml.error import Mark

_DEEPEST = 500  # the schema of a CustomResourceDefinition needs about 60
_MOST_COPIED = 1_000_000  # values that aliases may add to a file

_TAG = "tag:yaml.org,2002:"
_COLLECTIONS = {None, "!", f"{_TAG}map", f"{_TAG}seq"}
_MERGE = "<<"
_Parser: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


def _plain_types() -> dict[str, list[tuple[str, Pattern[str]]]]:
    """PyYAML's own idea of what an unquoted word is, by its first letter; a time stays a string, as JSON has it."""
    wanted = {f"{_TAG}{name}" for name in ("null", "bool", "int", "float")}
    return {
        first: [(tag, pattern) for tag, pattern in types if tag in wanted]
        for first, types in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_PLAIN_TYPES = _plain_types()
_CONSTRUCTOR = yaml.constructor.SafeConstructor()


def compose(text: bytes) -> list[Any]:
    """Every document of a YAML text."""
    composer = _Composer()
    try:
        for event in yaml.parse(text, Loader=_Parser):
            composer.take(event)
    except yaml.reader.ReaderError as error:
        raise Unreadable(f"{place(text, error.position)}: a control character") from None
    except yaml.MarkedYAMLError as error:
        raise Unreadable(_fault(text, error)) from None
    return composer.documents


def _fault(text: bytes, error: yaml.MarkedYAMLError) -> str:
    """PyYAML's words without the piece of text that it shows beside them."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return error.problem or "not YAML"
    line = text.split(b"\n", mark.line + 1)[mark.line : mark.line + 1]
    if line and line[0][: mark.column + 1].isspace() and b"\t" in line[0][: mark.column + 1]:
        return f"{_at(mark)}: a tab indents it, YAML takes only spaces"
    return f"{_at(mark)}: {error.problem or error.context}"


def _at(mark: Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _refuse(event: Any, why: str) -> NoReturn:
    raise Unreadable(f"{_at(event.start_mark)}: {why}")


def _refuse_tag(event: Any) -> NoReturn:
    _refuse(event, f"the tag {event.tag.replace(_TAG, '!!')!r} is not one that Kubernetes knows")


@dataclass(slots=True)
class _Open:
    """A mapping or a sequence whose end has not come yet; `size` counts its values as if aliases were written out."""

    value: dict[str, Any] | list[Any]
    anchor: str | None
    size: int = 1
    key: str | None = None


class _Composer:
    def __init__(self) -> None:
        self.documents: list[Any] = []
        self._open: list[_Open] = []
        self._anchored: dict[str, tuple[Any, int] | None] = {}  # None while it is still open
        self._copied = 0

    def take(self, event: Any) -> None:
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._begin(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                done = self._open.pop()
                self._put(event, done.value, done.size, done.anchor)
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.DocumentStartEvent():
                self._anchored = {}

    def _begin(self, event: Any) -> None:
        if event.tag not in _COLLECTIONS:
            _refuse_tag(event)
        if len(self._open) >= _DEEPEST:
            _refuse(event, "is nested too deeply")
        if self._wants_key():
            _refuse(event, "a key that is no string")
        if event.anchor:
            self._anchored[event.anchor] = None
        self._open.append(_Open({} if isinstance(event, yaml.MappingStartEvent) else [], event.anchor))

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchored:
            _refuse(event, "an alias without its anchor")
        anchored = self._anchored[event.anchor]
        if anchored is None:
            _refuse(event, "an alias of what it stands in")
        value, size = anchored
        self._copied += size
        if self._copied > _MOST_COPIED:
            _refuse(event, f"aliases multiply it to more than {_MOST_COPIED:,} values")
        if self._wants_key() and not isinstance(value, str):
            _refuse(event, "a key that is no string")
        self._put(event, value, size)

    def _scalar(self, event: Any) -> None:
        if not self._wants_key():
            self._put(event, _value(event), 1, event.anchor)
        elif event.value == _MERGE and event.implicit[0]:
            _refuse(event, "merge keys (<<) are not read")
        else:
            self._put(event, event.value, 1, event.anchor)  # Kubernetes has only strings as keys: `8080:` is "8080"

    def _wants_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._open[-1].key is None

    def _put(self, event: Any, value: Any, size: int, anchor: str | None = None) -> None:
        if anchor:
            self._anchored[anchor] = (value, size)
        if not self._open:
            self.documents.append(value)
            return
        parent = self._open[-1]
        parent.size += size
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif parent.key is None:
            if value in parent.value:
                _refuse(event, "a key that is there twice")
            parent.key = value
        else:
            parent.value[parent.key] = value
            parent.key = None


def _value(event: Any) -> Any:
    text: str = event.value
    if event.implicit[0]:
        for tag, pattern in _PLAIN_TYPES.get(text[:1], ()):
            if pattern.match(text):
                return _typed(event, tag)
        return text
    if event.implicit[1] or event.tag in {"!", f"{_TAG}str"}:
        return text
    if event.tag in {f"{_TAG}{name}" for name in ("null", "bool", "int", "float")}:
        return _typed(event, event.tag)
    _refuse_tag(event)


def _typed(event: Any, tag: str) -> Any:
    node = yaml.ScalarNode(tag, event.value)
    try:
        match tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return _CONSTRUCTOR.construct_yaml_bool(node)
            case "int":
                return _CONSTRUCTOR.construct_yaml_int(node)
            case _:
                return _CONSTRUCTOR.construct_yaml_float(node)
    except (KeyError, ValueError, IndexError):
        _refuse(event, f"not of the type {tag.removeprefix(_TAG)}")
