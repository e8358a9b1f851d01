"""Label selectors in the grammar of kubectl's `-l` (k8s.io/apimachinery/pkg/labels), for where no server reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from meshtrust.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKEN = re.compile(r"\s*(==|!=|[=!(),<>]|[^\s=!(),<>]+)")
_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY = re.compile(rf"(?:[a-z0-9](?:[-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_NAME}")
_VALUE = re.compile(rf"(?:{_NAME})?")
_INTEGER = re.compile(r"[-+]?\d+")
_EQUAL, _LISTED, _COMPARED = ("=", "==", "!="), ("in", "notin"), ("<", ">")
_SYMBOLS = (*_EQUAL, *_COMPARED, "!", "(", ")", ",")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term: `operator` is one of in, notin, exists, !, < and >."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, Any]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "exists":
                return value is not None
            case "!":
                return value is None
            case "in":
                return value in self.values
            case "notin":  # `!=` as well: a label that is missing is another one
                return value not in self.values
            case _:
                if not isinstance(value, str) or not _INTEGER.fullmatch(value):
                    return False
                limit = int(self.values[0])
                return int(value) < limit if self.operator == "<" else int(value) > limit


@dataclass(frozen=True, slots=True)
class Selector:
    requirements: tuple[Requirement, ...] = ()

    def takes(self, labels: Mapping[str, Any]) -> bool:
        return all(requirement.holds(labels) for requirement in self.requirements)


def parse_selector(text: str) -> Selector:
    """Read a selector; the empty one takes everything. Raises UsageError."""
    words = _TOKEN.findall(text)
    reader = _Reader(text, words)
    return Selector(tuple(reader.requirements())) if words else Selector()


class _Reader:
    def __init__(self, text: str, words: list[str]) -> None:
        self._text = text
        self._words = words[::-1]

    def requirements(self) -> list[Requirement]:
        found = [self._requirement()]
        while self._words:
            self._expect(",")
            found.append(self._requirement())
        return found

    def _requirement(self) -> Requirement:
        if self._next() == "!":
            self._words.pop()
            return Requirement(self._key(), "!")
        key = self._key()
        operator = self._next()
        if operator in ("", ","):
            return Requirement(key, "exists")
        self._words.pop()
        if operator in _LISTED:
            return Requirement(key, operator, self._list())
        if operator in _EQUAL:
            return Requirement(key, "notin" if operator == "!=" else "in", (self._value(),))
        if operator not in _COMPARED:
            self._refuse(f"{operator!r} is no operator")
        limit = self._value()
        if not _INTEGER.fullmatch(limit):
            self._refuse(f"{operator} compares with a whole number, not {limit!r}")
        return Requirement(key, operator, (limit,))

    def _key(self) -> str:
        key = self._words.pop() if self._words else ""
        if not _KEY.fullmatch(key):
            self._refuse(f"{key!r} is no label" if key else "a label is missing")
        return key

    def _list(self) -> tuple[str, ...]:
        self._expect("(")
        values = [self._value()]
        while self._next() == ",":
            self._words.pop()
            values.append(self._value())
        self._expect(")")
        return tuple(values)

    def _value(self) -> str:
        """A value may be empty: `env=`, `env in (,prod)`."""
        value = self._words.pop() if self._next() and self._next() not in _SYMBOLS else ""
        if not _VALUE.fullmatch(value):
            self._refuse(f"{value!r} is no value of a label")
        return value

    def _expect(self, symbol: str) -> None:
        found = self._words.pop() if self._words else "its end"
        if found != symbol:
            self._refuse(f"expected {symbol!r}, found {found!r}" if found != "its end" else f"{symbol!r} is missing")

    def _next(self) -> str:
        return self._words[-1] if self._words else ""

    def _refuse(self, why: str) -> NoReturn:
        raise UsageError(f"{self._text!r} is no label selector: {why}", "write it as for kubectl: app=web,tier!=db")
