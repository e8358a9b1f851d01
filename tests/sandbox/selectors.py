"""Label and field selectors, in the API server's grammar."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sandbox.status import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.resources import Resource

    Body = dict[str, Any]
    Test = Callable[[Body], bool]

_TERMS = re.compile(r",(?![^(]*\))")  # a comma, but none between parentheses
_LABEL = r"[A-Za-z0-9._/-]+"
_SET = re.compile(rf"({_LABEL})\s+(in|notin)\s+\(([^()]*)\)")
_EQUALITY = re.compile(rf"({_LABEL})\s*(==|=|!=)\s*([A-Za-z0-9._-]*)")
_EXISTS = re.compile(rf"(!?)\s*({_LABEL})")
_FIELD = re.compile(r"([^=!]+)(==|=|!=)(.*)")


def by_labels(selector: str) -> Test:
    tests = [_label_test(term.strip(), selector) for term in _TERMS.split(selector) if term.strip()]
    return lambda body: all(test(body) for test in tests)


def by_fields(selector: str, resource: Resource) -> Test:
    tests = [_field_test(term.strip(), resource) for term in selector.split(",") if term.strip()]
    return lambda body: all(test(body) for test in tests)


def _label_test(term: str, selector: str) -> Test:
    if matched := _SET.fullmatch(term):
        key, operator, listed = matched.groups()
        values = {value.strip() for value in listed.split(",")}
        return _membership(key, values, wanted=operator == "in")
    if matched := _EQUALITY.fullmatch(term):
        key, operator, value = matched.groups()
        return _membership(key, {value}, wanted=operator != "!=")
    if matched := _EXISTS.fullmatch(term):
        absent, key = matched.groups()
        return lambda body: (key in _labels(body)) is not bool(absent)
    raise ApiError(400, f"unable to parse requirement: found '{term}' in label selector '{selector}'")


def _membership(key: str, values: set[str], *, wanted: bool) -> Test:
    # A label that is missing is in no set: `notin` and `!=` take it, `in` and `=` do not.
    return lambda body: (_labels(body).get(key) in values) is wanted


def _labels(body: Body) -> dict[str, str]:
    return body["metadata"].get("labels") or {}


def _field_test(term: str, resource: Resource) -> Test:
    matched = _FIELD.fullmatch(term)
    if matched is None:
        raise ApiError(400, f"invalid selector: '{term}'; can't understand '{term}'")
    path, operator, value = matched.groups()
    known = ("metadata.name", "metadata.namespace") if resource.namespaced else ("metadata.name",)
    if path not in (*known, *resource.fields):
        raise ApiError(
            400,
            f'Unable to find "{resource.api}, Resource={resource.plural}" that match label selector "", '
            f'field selector "{term}": field label not supported: {path}',
        )
    wanted = operator != "!="
    return lambda body: (_value(body, path) == value) is wanted


def _value(body: Body, path: str) -> str:
    here: Any = body
    for step in path.split("."):
        here = here.get(step) if isinstance(here, dict) else None
    return "" if here is None else str(here)
