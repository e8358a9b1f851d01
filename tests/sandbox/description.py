"""A description as YAML becomes the same `Mesh` as one in Python: its keys are the fields of the dataclasses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import yaml

from sandbox import mesh as described
from sandbox.issuing import Ca

if TYPE_CHECKING:
    from pathlib import Path

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
# Names of annotations that the modules import for the type checker only.
_NAMES = {"Mapping": Mapping, "Any": Any}


class DescriptionError(ValueError):
    """A description that says something no part of a mesh has."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns values into what the fields are typed as; `certificates` are those that have a name."""

    certificates: Mapping[str, Ca]

    def value(self, wanted: Any, value: Any, where: str) -> Any:
        if isinstance(wanted, UnionType):
            return None if value is None else self.value(get_args(wanted)[0], value, where)
        if wanted is Ca and isinstance(value, str):
            if value not in self.certificates:
                raise DescriptionError(f"{where}: no certificate is named {value!r}")
            return self.certificates[value]
        if get_origin(wanted) is tuple:
            _expect(isinstance(value, list), "a list", value, where)
            item = get_args(wanted)[0]
            return tuple(self.value(item, one, f"{where}[{number}]") for number, one in enumerate(value))
        if is_dataclass(wanted) and isinstance(wanted, type):
            return self.part(wanted, value, where)
        return _plain(wanted, value, where)

    def part(self, wanted: type, value: Any, where: str) -> Any:
        hints = get_type_hints(wanted, localns=_NAMES)
        if isinstance(value, str) and "name" in hints:
            value = {"name": value}
        _expect(isinstance(value, dict), "a mapping", value, where)
        known = {field.name for field in fields(wanted)}
        for key in value:
            if key not in known:
                raise DescriptionError(f"{where}: {wanted.__name__} has no {key!r}, but {', '.join(sorted(known))}")
        try:
            return wanted(**{key: self.value(hints[key], one, f"{where}.{key}") for key, one in value.items()})
        except TypeError as error:
            raise DescriptionError(f"{where}: {error}") from error


def parse_mesh(text: str, now: datetime | None = None) -> described.Mesh:
    """Read a YAML description; `now` is for one that names no time of its own."""
    known = yaml.safe_load(text)
    _expect(isinstance(known, dict), "a mapping", known, "description")
    named: dict[str, Ca] = {}
    for name, value in (known.pop("certificates", None) or {}).items():
        # Each may be signed by one that is named above it.
        named[name] = _Reader(named).part(Ca, value or {}, f"certificates.{name}")
    known.setdefault("now", now or datetime.now(UTC))
    mesh: described.Mesh = _Reader(named).part(described.Mesh, known, "description")
    return mesh


def read_mesh(path: Path) -> described.Mesh:
    return parse_mesh(path.read_text())


def _plain(wanted: Any, value: Any, where: str) -> Any:
    if get_origin(wanted) is Literal:
        _expect(value in get_args(wanted), f"one of {', '.join(get_args(wanted))}", value, where)
    elif wanted is timedelta:
        return _duration(value, where)
    elif wanted is datetime:
        return _moment(value, where)
    elif get_origin(wanted) is Mapping:
        _expect(isinstance(value, dict), "a mapping", value, where)
    else:
        _expect(type(value) is wanted, f"a {wanted.__name__}", value, where)
    return value


def _duration(value: Any, where: str) -> timedelta:
    matched = re.fullmatch(r"([+-]?\d+)([smhdw])", str(value))
    if matched is None:
        raise DescriptionError(f"{where}: expected a duration as 90m, -36h, 20d or 2w, not {value!r}")
    return timedelta(**{_UNITS[matched[2]]: int(matched[1])})


def _moment(value: Any, where: str) -> datetime:
    _expect(isinstance(value, datetime), "a time as 2026-11-24T08:00:00Z", value, where)
    moment: datetime = value
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _expect(good: bool, what: str, value: Any, where: str) -> None:
    if not good:
        raise DescriptionError(f"{where}: expected {what}, not {value!r}")
