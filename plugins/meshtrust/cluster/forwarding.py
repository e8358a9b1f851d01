"""HTTP through a forwarded port.

Each port has two channels, one for its bytes and one for what kubelet has to say of it. Both begin with the number of
the port.
"""

from __future__ import annotations

import http.client
import io
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from meshtrust.cluster.channels import LARGEST, TooLarge

if TYPE_CHECKING:
    from meshtrust.cluster.channels import Channels

_CONTENT, _ERRORS = 0, 1
_PORT = 2  # bytes of its number
_PIECE = 1 << 16


class NotForwarded(Exception):
    """What kubelet says of a port that it could not forward."""


def get(channels: Channels, path: str) -> tuple[int, bytes]:
    """Status, and the body of a 200. Raises `HTTPException`, `NotForwarded`, and what the channels raise."""
    head = f"GET /{path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
    channels.send(_CONTENT, head.encode())
    port: Any = _Port(channels)
    with http.client.HTTPResponse(port) as response:
        response.begin()
        return response.status, _body(response) if response.status == HTTPStatus.OK else b""


def _body(response: http.client.HTTPResponse) -> bytes:
    """Read in pieces: no memory for a length that is only claimed."""
    if (response.length or 0) > LARGEST:
        raise TooLarge
    framed = response.chunked or response.length is not None
    body = b"".join(iter(lambda: response.read(_PIECE), b""))
    if response.length or not (framed or body):  # a head that was cut says nothing of what should follow
        raise http.client.IncompleteRead(body, response.length)
    return body


class _Port(io.RawIOBase):
    """The bytes that come from the far side; to http.client it is a socket."""

    def __init__(self, channels: Channels) -> None:
        super().__init__()
        self._channels = channels
        self._begun: set[int] = set()  # channels whose first two bytes are behind us
        self._rest = memoryview(b"")
        self._ended = False

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self, _PIECE)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest and not self._ended:
            if message := self._channels.receive():
                self._rest = memoryview(self._content(*message))
            else:
                self._ended = True
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)

    def _content(self, channel: int, message: bytes) -> bytes:
        if channel not in self._begun:
            self._begun.add(channel)
            message = message[_PORT:]
        if channel == _ERRORS and message:
            raise NotForwarded(message.decode(errors="replace"))
        return message if channel == _CONTENT else b""
