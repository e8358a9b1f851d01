"""A relay that makes a server far away: whatever goes through it takes half a round trip."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TICK = 1e-6  # timers that are due at one moment have no order


@contextmanager
def far(url: str, round_trip: float) -> Iterator[str]:
    """Give the URL on loopback at which a server is so many seconds away."""
    server = urlsplit(url)
    relay = _Relay(server.hostname or "127.0.0.1", server.port or 443, round_trip)
    thread = threading.Thread(target=asyncio.run, args=(relay.run(),), name="distance")
    thread.start()
    relay.started.wait()
    try:
        yield f"https://127.0.0.1:{relay.port}"
    finally:
        relay.end()
        thread.join()


class _Relay:
    def __init__(self, host: str, port: int, round_trip: float) -> None:
        self.server = (host, port)
        self.round_trip = round_trip
        self.ends: set[_End] = set()
        self.started = threading.Event()

    async def run(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        listening = await self._loop.create_server(lambda: _Client(self), "127.0.0.1", 0)
        self.port = listening.sockets[0].getsockname()[1]
        self.started.set()
        await self._over.wait()
        listening.close()
        for end in tuple(self.ends):
            end.transport.abort()

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)


class _End(asyncio.Protocol):
    """One side of a connection; what it hears, the other side says later."""

    transport: asyncio.Transport
    other: _End

    def __init__(self, relay: _Relay) -> None:
        self.relay = relay
        self._loop = asyncio.get_running_loop()
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.relay.ends.add(self)

    def data_received(self, data: bytes) -> None:
        self._later(lambda: self.other.transport.write(data))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - however it ended
        self.relay.ends.discard(self)
        if hasattr(self, "other"):
            self._later(self.other.transport.close)

    def _later(self, act: Callable[[], None], late: float = 0) -> None:
        self._due = max(self._due + _TICK, self._loop.time() + self.relay.round_trip / 2 + late)
        self._loop.call_at(self._due, act)


class _Client(_End):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()
        # Before the first byte could leave, the connection would have been made: a whole round trip.
        self._later(lambda: None, late=self.relay.round_trip)
        self._joining = self._loop.create_task(self._join())

    async def _join(self) -> None:
        _, self.other = await self._loop.create_connection(lambda: _End(self.relay), *self.relay.server)
        self.other.other = self
        self.transport.resume_reading()
