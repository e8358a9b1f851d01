"""A server that runs: a thread with an event loop of its own, TLS on a free port of loopback, a kubeconfig.

It stands on aiohttp alone, though kmock was made for this. Of kmock 0.8, its path parser fails on the cluster-wide list
of namespaces, its lists have neither kind nor version, pages nor selectors, its discovery names the core group `/v1`,
its server has no TLS, and it matches each request by walking over all requests before it, which a bench of thousands
cannot pay. All that it gives beyond aiohttp would have been replaced.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self, TypeVar

from aiohttp import web

from sandbox import building, forwarding, pki
from sandbox.api import Api
from sandbox.resources import Target
from sandbox.shapes import meta

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from sandbox.access import Access
    from sandbox.faults import Faults, Request
    from sandbox.mesh import Mesh

T = TypeVar("T")
TOKEN = "sandbox-token"


class _Connections(web.Server):
    """The connections of one server, which ends them at once: a polite TLS goodbye would wait for the client's."""

    def __init__(self, answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(answer, handler_cancellation=True)
        self._sockets: dict[web.RequestHandler, socket.socket] = {}
        self._idle = asyncio.Event()

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._sockets[handler] = transport.get_extra_info("socket")

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._sockets.pop(handler, None)
        if not self._sockets:
            self._idle.set()

    async def end(self) -> None:
        # Not by the transports: one that is closing already does not listen to abort() any more.
        for plain in self._sockets.values():
            with suppress(OSError):
                plain.shutdown(socket.SHUT_RDWR)
        await self.shutdown(timeout=1)
        if self._sockets:
            self._idle.clear()
            await self._idle.wait()


class Server:
    """A running server; made by `serve`."""

    def __init__(self, mesh: Mesh, folder: Path, clock_offset: timedelta, port: int) -> None:
        self.mesh = mesh
        self.folder = folder
        self.files = pki.write_files(folder)
        self.token = TOKEN
        self._api = Api(mesh, self.token, clock_offset)
        self._tls = pki.server_context(self.files)
        self._listening = socket.create_server(("127.0.0.1", port))
        self.url = f"https://127.0.0.1:{self._listening.getsockname()[1]}"
        self.kubeconfig = self.write_kubeconfig(folder / "kubeconfig")
        self._started = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._main(),), name="sandbox")

    @property
    def environment(self) -> dict[str, str]:
        """What a kubectl needs to find this server, and not the discovery of another that had its port."""
        return {"KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": str(self.folder / "cache")}

    @property
    def requests(self) -> tuple[Request, ...]:
        """All requests so far, in the order of their arrival."""
        return tuple(self._api.requests)

    @property
    def faults(self) -> Faults:
        return self._api.faults

    @property
    def access(self) -> Access:
        return self._api.access

    def forbid(self, verb: str, resource: str, *, namespace: str = "*", user: str = "*") -> None:
        """Take a right away: of one namespace, or (`namespace=""`) of the cluster-wide request alone."""
        self.access.forbid(verb, resource, namespace=namespace, user=user)

    def write_kubeconfig(self, path: Path, *, credentials: pki.Credentials = "token", namespace: str = "") -> Path:
        path.write_text(pki.kubeconfig(self.url, self.files, self.token, credentials, namespace))
        return path

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """What stands there now; nothing of a kind that is not served."""

        def bodies(api: Api) -> list[dict[str, Any]]:
            catalogue = api.store.catalogue
            return [one.body for one in api.store.now(catalogue.named(kind))] if catalogue.knows(kind) else []

        return self._in_loop(bodies)

    def change(self, kind: str, namespace: str, name: str, patch: Mapping[str, Any]) -> None:
        """Change an object by a merge patch, or make it of the patch where it is not there."""

        def changed(api: Api) -> None:
            resource = api.store.catalogue.named(kind)
            old = api.store.find(Target(resource, namespace, name))
            blank = {"apiVersion": resource.api, "kind": kind, "metadata": meta(name, namespace, self.mesh.now)}
            body = blank if old is None else old.body
            api.store.put(building.with_string_data(building.merged(body, patch)))

        self._in_loop(changed)

    def delete(self, kind: str, namespace: str, name: str) -> None:
        self._in_loop(lambda api: api.store.delete(Target(api.store.catalogue.named(kind), namespace, name)))

    def become(self, mesh: Mesh) -> None:
        """Let the cluster be another description from now on; what is the same in both stays untouched."""

        def become(api: Api) -> None:
            api.store.become(mesh.objects())
            api.admins = forwarding.admins_of(mesh)

        self.mesh = mesh
        self._in_loop(become)

    def compact(self) -> None:
        """Let every `continue` token given out so far be expired."""
        self._in_loop(lambda api: api.store.compact())

    def set_clock_offset(self, offset: timedelta) -> None:
        def set_offset(api: Api) -> None:
            api.clock_offset = offset

        self._in_loop(set_offset)

    def _in_loop(self, act: Callable[[Api], T]) -> T:
        """Run in the server's thread, so that no request sees half a change."""

        async def run() -> T:
            return act(self._api)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        connections = _Connections(self._api.answer)
        listening = await self._loop.create_server(connections, sock=self._listening, ssl=self._tls)
        self._started.set()
        await self._api.closing.wait()
        listening.close()
        await connections.end()

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._api.closing.set)
        self._thread.join()
        self._listening.close()


@contextmanager
def serve(mesh: Mesh, *, clock_offset: timedelta = timedelta(0), port: int = 0) -> Iterator[Server]:
    """Serve a mesh until the block ends; `clock_offset` is how far the server's clock (the Date header) is ahead."""
    with TemporaryDirectory(prefix="sandbox-") as folder, Server(mesh, Path(folder), clock_offset, port) as server:
        yield server
