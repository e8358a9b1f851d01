"""Watches: every change of a resource from a version on, as lines of JSON."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web

from sandbox import selectors, tables
from sandbox.entries import entry_of
from sandbox.status import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sandbox.entries import Entry
    from sandbox.resources import Target
    from sandbox.store import Store


async def watch(
    raw: web.BaseRequest, target: Target, store: Store, closing: asyncio.Event, now: Callable[[], datetime]
) -> web.StreamResponse:
    if "sendInitialEvents" in raw.query:  # an API server of before 1.32: the client then lists first
        words = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
        raise ApiError(422, f'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: {words}')
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    watching = asyncio.ensure_future(_Watch(raw, target, store, now).tell(response))
    ended = asyncio.ensure_future(closing.wait())
    seconds = float(raw.query.get("timeoutSeconds") or 3600)
    try:
        await asyncio.wait((watching, ended), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (watching, ended):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    await response.write_eof()
    return response


class _Watch:
    """What one watch shows of a change."""

    def __init__(self, raw: web.BaseRequest, target: Target, store: Store, now: Callable[[], datetime]) -> None:
        self._raw, self._target, self._store, self._now = raw, target, store, now
        self._labels = selectors.by_labels(raw.query.get("labelSelector", ""))
        self._fields = selectors.by_fields(raw.query.get("fieldSelector", ""), target.resource)
        self._as_table = tables.wanted(raw.headers.get("Accept", ""))
        version = raw.query.get("resourceVersion", "")
        at_first = version in ("", "0")  # then what stands there is told as added
        self._position = len(store.changes) if at_first else store.since(int(version))
        self._standing = store.now(target.resource) if at_first else ()

    async def tell(self, response: web.StreamResponse) -> None:
        """Go on until it is cancelled, or its client is gone."""
        await response.prepare(self._raw)
        for entry in self._standing:
            await response.write(self._line(None, entry, 0))
        with self._store.bell() as bell:
            while True:
                bell.clear()
                for change in self._store.changes[self._position :]:
                    self._position += 1
                    if change.resource == self._target.resource:
                        await response.write(self._line(change.old, change.new, change.version))
                await bell.wait()

    def _line(self, old: Entry | None, new: Entry | None, version: int) -> bytes:
        """Give the line, or none where it is nothing to this watch; what is deleted has the version of that."""
        before, after = self._shows(old), self._shows(new)
        if after and new is not None:
            return self._event("MODIFIED" if before else "ADDED", new)
        if not before or old is None:
            return b""
        metadata = {**old.body["metadata"], "resourceVersion": str(version)}
        return self._event("DELETED", entry_of({**old.body, "metadata": metadata}))

    def _shows(self, entry: Entry | None) -> bool:
        if entry is None:
            return False
        metadata = entry.body["metadata"]
        if self._target.namespace not in ("", metadata.get("namespace", "")):
            return False
        if self._target.name not in ("", metadata["name"]):
            return False
        return self._labels(entry.body) and self._fields(entry.body)

    def _event(self, what: str, entry: Entry) -> bytes:
        text = entry.alone()
        if self._as_table:
            metadata = {"resourceVersion": entry.body["metadata"]["resourceVersion"]}
            text = tables.table(self._target.resource, (entry,), metadata, self._now(), self._raw.query)
        return b'{"type":"%b","object":%b}\n' % (what.encode(), text)
