"""Objects as the store keeps them: as JSON text, by key; and what is said of a write."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox.resources import Resource
    from sandbox.shapes import Body


@dataclass(frozen=True, slots=True)
class Entry:
    """One object; `text` is its JSON as it stands in a list, without kind and apiVersion."""

    key: str
    body: Body
    text: bytes

    def alone(self) -> bytes:
        return b'{"kind":"%b","apiVersion":"%b",' % (
            self.body["kind"].encode(),
            self.body["apiVersion"].encode(),
        ) + self.text.removeprefix(b"{")


@dataclass(frozen=True, slots=True)
class Change:
    """One write: what stood at a key before, and what stands there from a version on."""

    version: int
    resource: Resource
    key: str
    old: Entry | None
    new: Entry | None


@dataclass(frozen=True, slots=True)
class Writing:
    """Who writes, and when; a dry one changes nothing."""

    manager: str
    at: datetime
    dry: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    entries: tuple[Entry, ...]
    version: int
    proceed: str
    remaining: int | None

    def metadata(self) -> Body:
        metadata: Body = {"resourceVersion": str(self.version)}
        if self.proceed:
            metadata["continue"] = self.proceed
            if self.remaining is not None:
                metadata["remainingItemCount"] = self.remaining
        return metadata

    def text(self, resource: Resource) -> bytes:
        head = {"kind": f"{resource.kind}List", "apiVersion": resource.api, "metadata": self.metadata()}
        items = b",".join(entry.text for entry in self.entries)
        return json.dumps(head, separators=(",", ":")).encode()[:-1] + b',"items":[' + items + b"]}"


def entry_of(body: Body) -> Entry:
    listed = {key: value for key, value in body.items() if key not in ("kind", "apiVersion")}
    return Entry(key_of(body), body, json.dumps(listed, separators=(",", ":")).encode())


def key_at(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name


def key_of(body: Body) -> str:
    return key_at(body["metadata"].get("namespace", ""), body["metadata"]["name"])
