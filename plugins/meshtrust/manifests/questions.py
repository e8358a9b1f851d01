"""Questions to a source, in one line: so a recording knows again what was asked, and refused, when it was made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from meshtrust.errors import Unseen

if TYPE_CHECKING:
    from meshtrust.objects import Ref

Refusals = Mapping[str, Unseen]


def spelled(kind: str, namespace: str, name: str, labels: Mapping[str, str] | None, selector: str) -> str:
    """A question to a source, in one line."""
    terms = [*(f"{key}={value}" for key, value in (labels or {}).items()), *([selector] if selector else [])]
    words = [kind, f"-n {namespace}" if namespace else "", name, f"-l {','.join(terms)}" if terms else ""]
    return " ".join(word for word in words if word)


def spelled_page(pod: Ref, page: str) -> str:
    return f"{pod.kind} -n {pod.namespace} {pod.name} {page}"
