"""The pretend API server: one function from request to answer."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sandbox import executing, faults, forwarding, tables, watching
from sandbox.access import Access
from sandbox.entries import Writing
from sandbox.faults import Answer, Faults, Interludes, Lost, Request, Reset, Silence
from sandbox.status import ApiError
from sandbox.store import Store

if TYPE_CHECKING:
    from sandbox.mesh import Mesh
    from sandbox.resources import Target

_CONVERSATIONS = {"portforward": forwarding.forward, "exec": executing.execute}
_PATCHES = ("application/merge-patch+json", "application/strategic-merge-patch+json")


class Api:
    """What one server knows. Touched in its own thread only, but for `requests`, `faults` and `access`."""

    def __init__(self, mesh: Mesh, token: str, clock_offset: timedelta) -> None:
        self.store = Store(mesh.objects())
        self.admins = forwarding.admins_of(mesh)
        self.access = Access(token)
        self.faults = Faults()
        self.interludes = Interludes()
        self.requests: list[Request] = []
        self.clock_offset = clock_offset
        self.closing = asyncio.Event()

    async def answer(self, raw: web.BaseRequest) -> web.StreamResponse:
        body = await raw.read()
        request = Request(raw.method, raw.path, raw.query, raw.headers, body)
        await self.interludes.play(request)
        fault = self.faults.of(request)
        if fault is None or isinstance(fault, faults.Cut | faults.Slow | Lost):
            whole = await self._answered(request, raw)
            await self.interludes.play(request, after=True)
            if isinstance(fault, Lost):
                return faults.reset(raw)
            if isinstance(whole, web.Response) and fault is not None:
                return await faults.spoiled(fault, whole, raw, self.closing)
            return whole
        self.requests.append(request)
        if isinstance(fault, Answer):
            return faults.refusal(fault, self._headers())
        if isinstance(fault, Silence):
            await self.closing.wait()
        assert isinstance(fault, Reset | Silence)
        return faults.reset(raw)

    async def _answered(self, request: Request, raw: web.BaseRequest) -> web.StreamResponse:
        try:
            user = self.access.user_of(raw)
        except ApiError as error:
            self.requests.append(request)
            return self._refused(error)
        self.requests.append(Request(request.method, request.path, request.query, request.headers, request.body, user))
        try:
            return await self._routed(self.requests[-1], raw)
        except ApiError as error:
            return self._refused(error)

    async def _routed(self, request: Request, raw: web.BaseRequest) -> web.StreamResponse:
        target = self.store.catalogue.target(request.path)
        if target is None:
            return self._outside(request)
        if target.subresource in _CONVERSATIONS and target.resource.plural == "pods":
            self.access.demand("get", target, request.user)
            self.access.demand_create(target, request.user)
            self.store.get(target)
            if "*/*" not in request.headers.get("Accept", "*/*"):
                return web.Response(status=406)
            return await _CONVERSATIONS[target.subresource](raw, target, self.store, self.admins, self.closing)
        if target.subresource:
            raise ApiError(404)
        verb = _verb(request, target)
        self.access.demand(verb, target, request.user)
        if verb == "watch":
            return await watching.watch(raw, target, self.store, self.closing, self.now)
        answers = {"list": self._list, "get": self._get, "patch": self._patch, "create": self._review}
        return answers[verb](request, target)

    def _outside(self, request: Request) -> web.Response:
        """Answer for what is no resource: discovery, health, and what is not there."""
        if request.path in ("/healthz", "/livez", "/readyz"):
            return web.Response(text="ok", headers=self._headers())
        found = self.store.catalogue.discovery(request.path)
        if found is not None:
            return self._json(faults.as_json(found))
        if self.store.catalogue.serves(request.path):
            raise ApiError(404)
        return web.Response(status=404, text="404 page not found\n", headers=self._headers())

    def _list(self, request: Request, target: Target) -> web.Response:
        page = self.store.page(target, request.query)
        if tables.wanted(request.headers.get("Accept", "")):
            return self._json(tables.table(target.resource, page.entries, page.metadata(), self.now(), request.query))
        return self._json(page.text(target.resource))

    def _get(self, request: Request, target: Target) -> web.Response:
        entry = self.store.get(target)
        if tables.wanted(request.headers.get("Accept", "")):
            metadata = {"resourceVersion": entry.body["metadata"]["resourceVersion"]}
            return self._json(tables.table(target.resource, (entry,), metadata, self.now(), request.query))
        return self._json(entry.alone())

    def _patch(self, request: Request, target: Target) -> web.Response:
        patch = _decoded(request, _PATCHES)
        program = request.headers.get("User-Agent", "").partition("/")[0]
        manager = request.query.get("fieldManager") or program or "unknown"
        writing = Writing(manager, self.now(), dry=request.query.get("dryRun") == "All")
        entry = self.store.patch(target, patch, writing)
        return self._json(entry.alone())

    def _review(self, request: Request, _: Target) -> web.Response:
        """Answer the only thing that can be created: a SelfSubjectAccessReview."""
        asked = _decoded(request, ("application/json",))
        return self._json(faults.as_json(self.access.review(asked, request.user)), status=201)

    def _refused(self, error: ApiError) -> web.Response:
        return self._json(error.text, status=error.code)

    def _json(self, body: bytes, *, status: int = 200) -> web.Response:
        return web.Response(body=body, status=status, content_type="application/json", headers=self._headers())

    def _headers(self) -> dict[str, str]:
        return {"Date": format_datetime(self.now(), usegmt=True), "Cache-Control": "no-cache, private"}

    def now(self) -> datetime:
        return datetime.now(UTC) + self.clock_offset


def _verb(request: Request, target: Target) -> str:
    if request.method == "GET":
        verb = "get" if target.name else "list"
        if request.query.get("watch") in ("true", "1"):
            verb = "watch"
    else:
        verb = {"PATCH": "patch", "POST": "create"}.get(request.method, "")
    if verb not in target.resource.verbs:
        raise ApiError(405)
    return verb


def _decoded(request: Request, kinds: tuple[str, ...]) -> dict[str, Any]:
    """Read the JSON of a body: the protobuf that kubectl sends in places (`auth can-i`) is refused."""
    if request.headers.get("Content-Type", "application/json").partition(";")[0] not in kinds:
        raise ApiError(415)
    try:
        body = json.loads(request.body)
    except ValueError as error:
        raise ApiError(400, f"unable to decode the body: {error}") from error
    if not isinstance(body, dict) or not isinstance(body.get("metadata", {}), dict):
        raise ApiError(400)
    return body
