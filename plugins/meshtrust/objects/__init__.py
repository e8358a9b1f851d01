"""One Kubernetes object, where it stands, and which kinds there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

from meshtrust.objects.kinds import KINDS, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KINDS", "Kind", "KubeObject", "Ref", "Unread"]


class Ref(Struct, frozen=True, order=True):
    """Where a fact stands: an object, and the data key inside it. Cluster-scoped objects have no namespace.

    Without a name it stands for all of the kind, or for those of the namespace.
    """

    kind: str
    namespace: str
    name: str
    part: str = ""

    def at(self, part: str) -> Ref:
        return structs.replace(self, part=part)

    def __str__(self) -> str:
        name = self.name or "*"
        place = f"{self.namespace}/{name}" if self.namespace else name
        return f"{self.kind} {place} [{self.part}]" if self.part else f"{self.kind} {place}"


class KubeObject(Struct, frozen=True):
    """An object as Kubernetes gives it, cut down to the fields that its `Kind` declares.

    The body of a Secret may hold a private key: it is never printed, so it is left out of the repr.
    """

    ref: Ref
    body: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"KubeObject({self.ref!r})"

    @property
    def labels(self) -> Mapping[str, str]:
        return self.body["metadata"].get("labels") or {}

    @property
    def created(self) -> str:
        return self.body["metadata"].get("creationTimestamp") or ""

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.body["metadata"].get("annotations") or {}


@dataclass(frozen=True, slots=True)
class Unread:
    """An object (or a file) that is there and could not be read."""

    ref: Ref
    why: str
