"""The objects of the cluster: kept as JSON text in key order, listed from snapshots, changed by patches."""

from __future__ import annotations

import asyncio
import base64
import json
from bisect import bisect_left, bisect_right
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sandbox import editing, selectors, shapes
from sandbox.entries import Change, Entry, Page, entry_of, key_at, key_of
from sandbox.resources import Catalogue, Resource, Target
from sandbox.status import ApiError, conflict, not_found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sandbox.entries import Writing
    from sandbox.shapes import Body

_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


class Store:
    """All objects of one server. Every change makes a new snapshot of its resource; old ones live until compaction."""

    def __init__(self, bodies: Iterable[Body]) -> None:
        known = list(bodies)
        self.catalogue = Catalogue(known)
        self.version = max((int(body["metadata"]["resourceVersion"]) for body in known), default=1000)
        self._compacted = 0
        self.longest_page: int | None = None  # where pages are asked for, however long
        grouped: dict[Resource, list[Entry]] = {resource: [] for resource in self.catalogue.resources}
        for body in known:
            grouped[self.catalogue.of(body)].append(entry_of(body))
        self.changes: list[Change] = []
        self.listeners: list[Callable[[Change], None]] = []
        # By resource: what stood there from a version on, newest last.
        self._history = {
            resource: [(0, tuple(sorted(entries, key=lambda entry: entry.key)))]
            for resource, entries in grouped.items()
        }

    def now(self, resource: Resource) -> tuple[Entry, ...]:
        return self._history[resource][-1][1]

    def find(self, target: Target) -> Entry | None:
        return _find(self.now(target.resource), key_at(target.namespace, target.name))

    def get(self, target: Target) -> Entry:
        entry = self.find(target)
        if entry is None:
            raise not_found(target.resource.plural, target.resource.group, target.name)
        return entry

    def page(self, target: Target, query: Mapping[str, str]) -> Page:
        """List as the API server does: in key order; what is continued goes on in the snapshot it began in."""
        resource = target.resource
        version, start, entries = self.version, "", self.now(resource)
        if token := query.get("continue"):
            version, start = self._resume(token)
            entries = self._at(resource, version)
        selected = query.get("labelSelector", "") + query.get("fieldSelector", "")
        matching = self._matching(entries, target, query) if selected or target.namespace or target.name else entries
        begin = bisect_left(matching, start, key=lambda entry: entry.key)
        asked = int(query.get("limit") or 0)
        limit = min(asked, self.longest_page or asked) or len(matching)
        found, rest = matching[begin : begin + limit], len(matching) - begin - limit
        if rest <= 0:
            return Page(found, version, "", None)
        return Page(found, version, _token(version, found[-1].key), None if selected else rest)

    def history(self, target: Target) -> tuple[Entry | None, ...]:
        """Everything that ever stood at a place, oldest first; None where nothing did."""
        key = key_at(target.namespace, target.name)
        changes = [one for one in self.changes if (one.resource, one.key) == (target.resource, key)]
        return (changes[0].old, *(one.new for one in changes)) if changes else (self.find(target),)

    @contextmanager
    def bell(self) -> Iterator[asyncio.Event]:
        """Give an event that is set at every change."""
        bell = asyncio.Event()

        def ring(_: Change) -> None:
            bell.set()

        self.listeners.append(ring)
        try:
            yield bell
        finally:
            self.listeners.remove(ring)

    def since(self, version: int) -> int:
        """Give the index of the first change after a version; raises 410 where they are forgotten."""
        if version + 1 < self._compacted:
            raise ApiError(410, f"too old resource version: {version} ({self._compacted})")
        return bisect_right(self.changes, version, key=lambda change: change.version)

    def patch(self, target: Target, patch: Body, writing: Writing) -> Entry:
        old = self.get(target).body
        resource = target.resource
        asked = patch.get("metadata", {})
        for guard in ("resourceVersion", "uid"):
            if asked.get(guard) not in (None, "", old["metadata"][guard]):
                raise conflict(resource.plural, resource.group, target.name)
        new = editing.with_string_data(editing.merged(old, patch))
        _refuse_immutable(resource, old, new)
        if {**new, "metadata": {**new["metadata"], "resourceVersion": ""}} == {
            **old,
            "metadata": {**old["metadata"], "resourceVersion": ""},
        }:
            return self.get(target)  # a patch that changes nothing writes nothing
        if new.get("spec") != old.get("spec") and "generation" in new["metadata"]:
            new["metadata"] = {**new["metadata"], "generation": new["metadata"]["generation"] + 1}
        new = shapes.with_manager(new, writing.manager, writing.at, patch)
        new["metadata"]["resourceVersion"] = str(self.version + 1)
        entry = entry_of(new)
        if not writing.dry:
            self._write(resource, entry.key, entry)
        return entry

    def put(self, body: Body) -> None:
        """Write an object as it is, new or over what stands there."""
        resource = self.catalogue.of(body)
        metadata = body["metadata"]
        stamped = {
            "uid": shapes.uid(body["kind"], metadata.get("namespace", ""), metadata["name"]),
            **metadata,
            "resourceVersion": str(self.version + 1),
        }
        entry = entry_of({**body, "metadata": stamped})
        self._write(resource, entry.key, entry)

    def update(self, body: Body) -> None:
        """Write an object where it differs from what stands there."""
        resource, metadata = self.catalogue.of(body), body["metadata"]
        old = self.find(Target(resource, metadata.get("namespace", ""), metadata["name"]))
        if old is None or _without_version(old.body) != _without_version(body):
            self.put(body)

    def delete(self, target: Target) -> None:
        self._write(target.resource, self.get(target).key, None)

    def become(self, bodies: Iterable[Body]) -> None:
        """Take over another description of the same cluster: only what differs is written."""
        wanted = {(body["kind"], key_of(body)): body for body in bodies}
        self.catalogue = Catalogue(wanted.values())
        for resource in self.catalogue.resources:
            self._history.setdefault(resource, [(0, ())])
        for resource in self.catalogue.resources:
            for entry in self.now(resource):
                if (resource.kind, entry.key) not in wanted:
                    self._write(resource, entry.key, None)
        for (kind, key), body in wanted.items():
            old = _find(self.now(self.catalogue.named(kind)), key)
            if old is None or _without_version(old.body) != _without_version(body):
                self.put(body)

    def compact(self) -> None:
        """Forget every earlier snapshot, as etcd does after five minutes: tokens of before are answered with 410."""
        self._compacted = self.version + 1
        for history in self._history.values():
            del history[:-1]

    def _write(self, resource: Resource, key: str, entry: Entry | None) -> None:
        self.version += 1
        kept = list(self.now(resource))
        index = bisect_left(kept, key, key=lambda one: one.key)
        there = index < len(kept) and kept[index].key == key
        change = Change(self.version, resource, key, kept[index] if there else None, entry)
        kept[index : index + there] = [] if entry is None else [entry]
        self._history[resource].append((self.version, tuple(kept)))
        self.changes.append(change)
        for listener in tuple(self.listeners):
            listener(change)

    def _at(self, resource: Resource, version: int) -> tuple[Entry, ...]:
        return next(entries for since, entries in reversed(self._history[resource]) if since <= version)

    def _resume(self, token: str) -> tuple[int, str]:
        try:
            said = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            version, start = int(said["rv"]), str(said["start"])
        except (ValueError, KeyError, TypeError) as error:
            raise ApiError(400, "continue key is not valid: illegal base64 data") from error
        if version == -1:
            return self.version, start
        if version < self._compacted:
            raise ApiError(410, _EXPIRED, proceed=_token(-1, start.removesuffix("\0")))
        return version, start

    def _matching(self, entries: tuple[Entry, ...], target: Target, query: Mapping[str, str]) -> tuple[Entry, ...]:
        labels = selectors.by_labels(query.get("labelSelector", ""))
        fields = selectors.by_fields(query.get("fieldSelector", ""), target.resource)
        if target.namespace:
            entries = _slice(entries, f"{target.namespace}/")
        return tuple(entry for entry in entries if labels(entry.body) and fields(entry.body))


def _refuse_immutable(resource: Resource, old: Body, new: Body) -> None:
    if resource.kind != "Secret":
        return
    name = new["metadata"]["name"]
    if new.get("type") != old.get("type"):
        words = f'Invalid value: "{new.get("type")}": field is immutable'
        raise ApiError(422, f'Secret "{name}" is invalid: type: {words}')
    if old.get("immutable") and new.get("data") != old.get("data"):
        words = "Forbidden: field is immutable when `immutable` is set"
        raise ApiError(422, f'Secret "{name}" is invalid: data: {words}')


def _find(entries: tuple[Entry, ...], key: str) -> Entry | None:
    index = bisect_left(entries, key, key=lambda entry: entry.key)
    return entries[index] if index < len(entries) and entries[index].key == key else None


def _slice(entries: tuple[Entry, ...], prefix: str) -> tuple[Entry, ...]:
    begin = bisect_left(entries, prefix, key=lambda entry: entry.key)
    end = bisect_left(entries, prefix[:-1] + "0", key=lambda entry: entry.key)  # "0" comes right after "/"
    return entries[begin:end]


def _token(version: int, last: str) -> str:
    """Shape it as the API server's own; to a client it is opaque."""
    said = {"v": "meta.k8s.io/v1", "rv": version, "start": f"{last}\0"}
    return base64.urlsafe_b64encode(json.dumps(said, separators=(",", ":")).encode()).decode().rstrip("=")


def _without_version(body: Body) -> Body:
    return {**body, "metadata": {**body["metadata"], "resourceVersion": ""}}
