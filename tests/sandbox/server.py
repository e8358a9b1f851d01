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
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self, TypeVar

from aiohttp import web

from sandbox import editing, forwarding, pki
from sandbox.api import Api
from sandbox.faults import Pattern
from sandbox.reactions import Reactions
from sandbox.resources import Target
from sandbox.shapes import meta

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from sandbox.access import Access
    from sandbox.faults import Faults, Request
    from sandbox.lively import Lively
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

    def __init__(self, mesh: Mesh, folder: Path, clock_offset: timedelta, port: int, lively: Lively | None) -> None:
        self.mesh = mesh
        self.lively = lively or mesh.lively
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
    def failure(self) -> BaseException | None:
        """What failed of all that happens by itself, if anything did; it is raised at the end."""
        return None if self.lively is None else self._reactions.cluster.failure

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
            api.store.put(editing.with_string_data(editing.merged(body, patch)))

        self._in_loop(changed)

    def delete(self, kind: str, namespace: str, name: str) -> None:
        self._in_loop(lambda api: api.store.delete(Target(api.store.catalogue.named(kind), namespace, name)))

    def become(self, mesh: Mesh) -> None:
        """Let the cluster be another description from now on; what is the same in both stays untouched."""

        def become(api: Api) -> None:
            api.store.become(mesh.objects())
            api.admins = forwarding.admins_of(mesh)

        if self.lively is not None:
            raise TypeError("a lively cluster becomes what happens in it, and nothing else")
        self.mesh = mesh
        self._in_loop(become)

    def tick(self) -> None:
        """Let the rotator of every CA of a lively cluster look at its Secret now."""
        self._in_loop(lambda _: self._reactions.tick())

    def renew(self, namespace: str, pod: str) -> None:
        """Let a proxy of a lively cluster ask for new certificates now."""
        self._in_loop(lambda _: self._reactions.renew(namespace, pod))

    def until(self, condition: Callable[[], Any], *, seconds: float = 20) -> None:
        """Wait for what will happen; raises TimeoutError where it does not."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError("what was waited for has not happened")
            time.sleep(0.005)

    def on(
        self,
        act: Callable[[Request], None],
        *,
        method: str = "*",
        path: str = "*",
        query: Mapping[str, str] | None = None,
        when: Callable[[Request], bool] = lambda _: True,
        times: int | None = 1,
        after: bool = False,
    ) -> None:
        """Let somebody act when a matching request has arrived and nothing is done for it yet.

        With `after`, it is done and its answer is not sent yet. Patterns as of `Faults.add`; the act runs in a thread
        of its own, and may ask and change this server as anybody may.
        """
        self._api.interludes.add(Pattern(method, path, query or {}, when, times), act, after=after)

    def history(self, kind: str, namespace: str, name: str) -> tuple[dict[str, Any] | None, ...]:
        """Every body that ever stood there, oldest first; None where nothing did."""

        def versions(api: Api) -> tuple[dict[str, Any] | None, ...]:
            target = Target(api.store.catalogue.named(kind), namespace, name)
            return tuple(None if entry is None else entry.body for entry in api.store.history(target))

        return self._in_loop(versions)

    def admin(self, namespace: str, pod: str, path: str) -> bytes:
        """What a pod's admin port answers by now at a path without its first slash."""
        return self._in_loop(lambda api: api.admins[namespace, pod].page(path)[1])

    def compact(self) -> None:
        """Let every `continue` token given out so far be expired."""
        self._in_loop(lambda api: api.store.compact())

    def shorten_pages(self, most: int) -> None:
        """Let no page be longer, where pages are asked for."""

        def shorten(api: Api) -> None:
            api.store.longest_page = most

        self._in_loop(shorten)

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
        if self.lively is not None:
            self._reactions = Reactions(self._api, self.mesh, self.lively)
            await asyncio.sleep(0)  # all programs have begun
        self._started.set()
        await self._api.closing.wait()
        listening.close()
        await connections.end()
        if self.lively is not None:
            await self._reactions.cluster.end()

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._api.closing.set)
        self._thread.join()
        self._listening.close()
        if self.failure is not None:
            raise self.failure


@contextmanager
def serve(
    mesh: Mesh, *, clock_offset: timedelta = timedelta(0), port: int = 0, lively: Lively | None = None
) -> Iterator[Server]:
    """Serve a mesh until the block ends; `clock_offset` is how far the server's clock (the Date header) is ahead.

    With `lively` (or the mesh's own), the cluster reacts to what is written.
    """
    with (
        TemporaryDirectory(prefix="sandbox-") as folder,
        Server(mesh, Path(folder), clock_offset, port, lively) as server,
    ):
        yield server
