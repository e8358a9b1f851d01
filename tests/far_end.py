"""A far end of websockets that says what a test tells it: an API server, a kubelet and a proxy in one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT = (15000).to_bytes(2, "little")


@dataclass(slots=True)
class Talk:
    """One websocket: messages to the client, and what it asked for."""

    websocket: web.WebSocketResponse
    raw: web.BaseRequest
    asked: bytes = b""

    async def say(self, channel: int, content: bytes) -> None:
        await self.websocket.send_bytes(bytes([channel]) + content)

    async def open_port(self) -> None:
        """As kubelet opens a port, and wait for the request on it."""
        await self.say(0, PORT)
        await self.say(1, PORT)
        while not self.asked.endswith(b"\r\n\r\n"):
            message = await self.websocket.receive()
            if message.type is not WSMsgType.BINARY:
                raise asyncio.CancelledError  # the client has left
            self.asked += message.data[1:]

    def reset(self) -> None:
        if self.raw.transport is not None:
            self.raw.transport.abort()
        raise asyncio.CancelledError


Script = Callable[[Talk], Awaitable[None]]


@dataclass(slots=True)
class FarEnd:
    """Where it listens, and every conversation so far."""

    url: str = ""
    talks: list[Talk] = field(default_factory=list)


@contextmanager
def far_end(script: Script, refuses: str = "/") -> Iterator[FarEnd]:
    """Listen on plain http, and follow the script with everybody who opens a websocket, but for a subresource."""
    end, ready, loop = FarEnd(), threading.Event(), asyncio.new_event_loop()
    over = asyncio.Event()

    async def talk(raw: web.BaseRequest) -> web.StreamResponse:
        if raw.path.endswith(refuses):
            return web.Response(status=403)
        websocket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await websocket.prepare(raw)
        end.talks.append(Talk(websocket, raw))
        await script(end.talks[-1])
        await websocket.close()
        return websocket

    async def listen() -> None:
        server = web.Server(talk, handler_cancellation=True)
        listening = await loop.create_server(server, "127.0.0.1", 0)
        end.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        ready.set()
        await over.wait()
        listening.close()
        await server.shutdown(timeout=0)

    thread = threading.Thread(target=loop.run_until_complete, args=(listen(),))
    thread.start()
    ready.wait()
    try:
        yield end
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


def answering(response: bytes, piece: int = 4096) -> Script:
    """Answer a request through the forwarded port with these bytes, and close it."""

    async def script(talk: Talk) -> None:
        await talk.open_port()
        for begin in range(0, len(response), piece):
            await talk.say(0, response[begin : begin + piece])

    return script
