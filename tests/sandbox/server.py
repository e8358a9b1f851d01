"""A server that runs: a thread with an event loop of its own, TLS on a free port of loopback, a kubeconfig.

It stands on aiohttp alone, though kmock was made for this. Of kmock 0.8, its path parser fails on the cluster-wide list
of namespaces, its lists have neither kind nor version, pages nor selectors, its discovery names the core group `/v1`,
its server has no TLS, and it matches each request by walking over all requests before it, which a bench of thousands
cannot pay. All that it gives beyond aiohttp would have been replaced.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from aiohttp import web

from sandbox import building, forwarding, pki
from sandbox.api import Api
from sandbox.resources import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sandbox.access import Access
    from sandbox.faults import Faults, Request
    from sandbox.mesh import Mesh

T = TypeVar("T")
TOKEN = "sandbox-token"


class _Connections(web.Server):
    """The connections of one server, which ends them at once: a polite TLS goodbye waits for the client's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._transports: WeakSet[asyncio.Transport] = WeakSet()

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._transports.add(transport)

    def abort(self) -> None:
        for transport in self._transports:
            transport.abort()


class Server:
    """A running server; made by `serve`."""

    def __init__(self, mesh: Mesh, folder: Path, clock_offset: timedelta, port: int) -> None:
        self.mesh = mesh
        self.folder = folder
        self.files = pki.write_files(folder)
        self.token = TOKEN
        self._listening = socket.create_server(("127.0.0.1", port))
        self.url = f"https://127.0.0.1:{self._listening.getsockname()[1]}"
        self.kubeconfig = self.write_kubeconfig(folder / "kubeconfig")
        self._clock_offset = clock_offset
        self._started: Future[Api] = Future()
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
        """What stands there now."""
        return self._in_loop(lambda api: [one.body for one in api.store.now(api.store.catalogue.named(kind))])

    def change(self, kind: str, namespace: str, name: str, patch: Mapping[str, Any]) -> None:
        """Change an object by a merge patch, or make it of the patch where it is not there."""

        def changed(api: Api) -> None:
            old = next((body for body in _bodies(api, kind) if _place(body) == (namespace, name)), None)
            blank = {"apiVersion": api.store.catalogue.named(kind).api, "kind": kind, "metadata": {"name": name}}
            if namespace:
                blank["metadata"]["namespace"] = namespace
            api.store.put(building.with_string_data(building.merged(old or blank, patch)))

        self._in_loop(changed)

    def delete(self, kind: str, namespace: str, name: str) -> None:
        resource_of = lambda api: api.store.catalogue.named(kind)
        self._in_loop(lambda api: api.store.delete(Target(resource_of(api), namespace, name)))

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

    @property
    def _api(self) -> Api:
        return self._started.result()

    def _in_loop(self, act: Callable[[Api], T]) -> T:
        """Run in the server's thread, so that no request sees half a change."""

        async def run() -> T:
            return act(self._api)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            api = Api(self.mesh, self.token, self._clock_offset)
        except BaseException as error:
            self._started.set_exception(error)
            return
        connections = _Connections(api.answer, handler_cancellation=True)
        global C; C=connections
        runner = web.ServerRunner(connections, shutdown_timeout=1)
        await runner.setup()
        await web.SockSite(runner, self._listening, ssl_context=self._tls()).start()
        self._started.set_result(api)
        await api.closing.wait()
        await runner.cleanup()
        connections.abort()
        await asyncio.sleep(0.001)

    def _tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.files.certificate, self.files.key)
        context.load_verify_locations(self.files.authority)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def __enter__(self) -> Server:
        self._thread.start()
        self._started.result()
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


def _bodies(api: Api, kind: str) -> list[dict[str, Any]]:
    return [entry.body for entry in api.store.now(api.store.catalogue.named(kind))]


def _place(body: Mapping[str, Any]) -> tuple[str, str]:
    return body["metadata"].get("namespace", ""), body["metadata"]["name"]
