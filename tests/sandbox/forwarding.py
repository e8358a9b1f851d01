"""Port-forward by websocket (`v4.channel.k8s.io`), as the official client speaks it, to the pretend admin ports.

Each forwarded port has two channels: data, and errors of the forwarding. The first frame on each names the port. A
connection to a port on which nothing listens is told on the error channel, as kubelet does it.
"""

from __future__ import annotations

import asyncio
import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from aiohttp import WSMsgType, web

from sandbox import building, control_planes, envoy, ztunnel
from sandbox.mesh import Mesh, Proxy
from sandbox.status import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sandbox.resources import Target
    from sandbox.store import Store

PROTOCOL = "v4.channel.k8s.io"
ADMIN_PORT = 15000


@dataclass(frozen=True, slots=True)
class Admin:
    """The admin port of one proxy. `held` is what it holds by now in the place of what is described.

    A ztunnel's is `renewed`, by identity.
    """

    mesh: Mesh
    proxy: Proxy
    pod: str
    held: envoy.Held | None = None
    renewed: Mapping[str, envoy.Held] = field(default_factory=dict)

    @property
    def place(self) -> tuple[str, str]:
        return self.proxy.namespace, self.pod

    @property
    def ports(self) -> tuple[int, ...]:
        return (ADMIN_PORT,)

    def answer(self, request_line: str) -> bytes:
        """Answer one HTTP request with the bytes of one HTTP response."""
        method, target, *_ = [*request_line.split(" "), "", ""]
        status, text = self.page(target.removeprefix("/") if method == "GET" else "")
        return _response(status, "application/json" if status == 200 else "text/plain; charset=UTF-8", text)

    def page(self, path: str) -> tuple[int, bytes]:
        """Status and text at a path that begins without a slash."""
        asked = urlsplit(f"/{path}")
        query = dict(parse_qsl(asked.query, keep_blank_values=True))
        if self.proxy.kind == "ztunnel":
            body = ztunnel.answer(self.mesh, self.proxy, self.pod, asked.path, self.renewed)
        else:
            body = envoy.answer(self.mesh, self.proxy, self.pod, asked.path, query, self.held)
        if body is None:
            return 404, b"invalid path. admin commands are:\n"
        text = json.dumps(body, indent=1).encode()
        match self.proxy.answers:
            case "garbage":
                text = b"upstream connect error or disconnect/reset before headers" + text[::7]
            case "busy":
                return 503, b"no healthy upstream"
            case "moved":
                return 302, b""
            case "large":
                text = text.replace(b"{", b'{"stats": "' + b"x" * 20_000_000 + b'", ', 1)
            case "reshaped":
                text = json.dumps({key: dict(enumerate(part)) for key, part in body.items()}).encode()
        return 200, text


@dataclass(frozen=True, slots=True)
class Istiod(Admin):
    """An istiod: what it says of itself, and of the proxies that hang on it: by default those that are described."""

    hanging: Callable[[], Mapping[tuple[str, str], Proxy]] | None = None

    @property
    def ports(self) -> tuple[int, ...]:
        return (8080, 15014)

    def page(self, path: str) -> tuple[int, bytes]:
        if path == "version":
            return 200, f"{self.proxy.version}-eed52ebb66ad-Clean".encode()
        if path != "debug/syncz":
            return 404, b"404 page not found\n"
        hanging = [
            {
                "cluster_id": "Kubernetes",
                "proxy": f"{pod}.{namespace}",
                "istio_version": proxy.version or self.mesh.version,
            }
            for (namespace, pod), proxy in (self.hanging or self.mesh.pods)().items()
            if proxy.connected and proxy.phase == "Running"
        ]
        return 200, json.dumps(hanging).encode()


Admins = dict[tuple[str, str], Admin]


def admins_of(mesh: Mesh) -> Admins:
    """Say where an admin port listens: in the pods of the proxies that have one."""
    return {admin.place: admin for part in (mesh, *mesh.others) for admin in _istiods(part)} | {
        (namespace, pod): Admin(part, proxy, pod)
        for (namespace, pod), (part, proxy) in building.pods_of(mesh).items()
        if listens(proxy)
    }


def listens(proxy: Proxy) -> bool:
    return proxy.answers != "refuses" and proxy.kind not in ("proxyless", "agentgateway")


def _istiods(mesh: Mesh) -> Iterator[Istiod]:
    for control_plane in mesh.control_planes if mesh.era == "istiod" else ():
        workload = control_planes.workload(mesh, control_plane)
        told = Proxy("istiod", mesh.home, version=control_plane.version or mesh.version)
        yield from (Istiod(mesh, told, workload.pod_name(ordinal)) for ordinal in range(control_plane.replicas))


async def forward(
    raw: web.BaseRequest, target: Target, store: Store, admins: Mapping[tuple[str, str], Admin], closing: asyncio.Event
) -> web.StreamResponse:
    body = store.get(target).body
    if body["status"]["phase"] == "Pending":
        raise ApiError(400, f"pod {target.name} does not have a host assigned")
    if PROTOCOL not in raw.headers.get("Sec-WebSocket-Protocol", ""):
        raise ApiError(400, f"unable to upgrade: the sandbox speaks {PROTOCOL} by websocket only")
    ports = _ports(raw)
    websocket = web.WebSocketResponse(protocols=(PROTOCOL,))
    await websocket.prepare(raw)
    running = body["status"]["phase"] == "Running"

    def listening() -> Admin | None:
        """Look afresh: what a proxy holds may change while a connection is open."""
        return admins.get((target.namespace, target.name)) if running else None

    connections = [_Connection(websocket, number, port, listening) for number, port in enumerate(ports)]
    for connection in connections:
        await connection.open(body["metadata"]["uid"])
    await _serve(websocket, connections, closing)
    return websocket


async def _serve(websocket: web.WebSocketResponse, connections: list[_Connection], closing: asyncio.Event) -> None:
    """Go on until the client leaves, all connections have ended, or the server stops."""
    stopped = asyncio.ensure_future(closing.wait())
    try:
        while any(connection.is_open for connection in connections):
            received = asyncio.ensure_future(websocket.receive())
            await asyncio.wait({received, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not received.done():
                received.cancel()
                break
            message = received.result()
            if message.type is not WSMsgType.BINARY or not message.data:
                break
            channel = message.data[0]
            if channel % 2 == 0 and channel // 2 < len(connections):
                await connections[channel // 2].receive(message.data[1:])
    finally:
        stopped.cancel()
        await websocket.close()


class _Connection:
    """One forwarded TCP connection: bytes in, HTTP responses out."""

    def __init__(
        self, websocket: web.WebSocketResponse, number: int, port: int, listening: Callable[[], Admin | None]
    ) -> None:
        self._websocket = websocket
        self._data, self._errors = bytes([number * 2]), bytes([number * 2 + 1])
        self._port = port
        self._listening = listening
        self._received = b""
        self._uid = ""
        self.is_open = True

    async def open(self, uid: str) -> None:
        named = struct.pack("<H", self._port)
        for channel in (self._data, self._errors):
            await self._websocket.send_bytes(channel + named)
        admin = self._listening()
        self._uid = uid
        if admin is None or self._port not in admin.ports:
            where = f'failed to connect to localhost:{self._port} inside namespace "cni-{uid}"'
            await self._fail(f"{where}, IPv4: dial tcp4 127.0.0.1:{self._port}: connect: connection refused")

    async def receive(self, text: bytes) -> None:
        self._received += text
        while self.is_open and b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            await self._answer(head.decode("latin-1"))

    async def _answer(self, head: str) -> None:
        admin = self._listening()
        if admin is None or admin.proxy.answers == "hangs":
            return
        response = admin.answer(head.partition("\r\n")[0])
        if admin.proxy.answers in ("cut", "resets"):
            response = response[: len(response) // 2]
            self.is_open = admin.proxy.answers == "resets"
        for begin in range(0, len(response), 4096):
            await self._websocket.send_bytes(self._data + response[begin : begin + 4096])
        if admin.proxy.answers == "resets":
            await self._fail(f"read tcp4 127.0.0.1:46188->127.0.0.1:{self._port}: read: connection reset by peer")
        if "\r\nconnection: close" in head.lower():
            self.is_open = False

    async def _fail(self, why: str) -> None:
        """Say what became of the connection, as kubelet does, and end it."""
        said = f"error forwarding port {self._port} to pod {self._uid}, uid : failed to execute portforward: {why}"
        await self._websocket.send_bytes(self._errors + said.encode())
        self.is_open = False


def _ports(raw: web.BaseRequest) -> list[int]:
    asked = [port for listed in raw.query.getall("ports", []) for port in listed.split(",")]
    if not asked or not all(port.isdecimal() for port in asked):
        raise ApiError(400, 'query parameter "ports" is required')
    return [int(port) for port in asked]


def _response(status: int, content_type: str, body: bytes) -> bytes:
    """Frame a body in chunks, as Envoy's admin port does."""
    head = [f"HTTP/1.1 {status} {'OK' if status == 200 else 'Not Found'}", f"content-type: {content_type}"]
    head += ["cache-control: no-cache, max-age=0", "x-content-type-options: nosniff", "server: envoy"]
    head += ["transfer-encoding: chunked", "", ""]
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(piece), piece)
        for piece in (body[begin : begin + 16384] for begin in range(0, len(body), 16384))
    )
    return "\r\n".join(head).encode() + chunks + b"0\r\n\r\n"
