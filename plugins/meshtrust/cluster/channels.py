"""A websocket of Kubernetes: streams side by side, each message with the number of its own in front.

The request that opens it is one like any other, so every option of the connection holds for it. Only what comes after
`101 Switching Protocols` is websocket-client's.
"""

from __future__ import annotations

import base64
import hashlib
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from websocket import ABNF, WebSocket, WebSocketException, WebSocketTimeoutException

from meshtrust.cluster.pool import stream_of

if TYPE_CHECKING:
    import io
    import socket
    from collections.abc import Iterator

    from meshtrust.cluster.official import urllib3

LARGEST = 64 << 20

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455


class TooLarge(Exception):
    """More came than is read of one conversation."""


class Broken(ConnectionError):
    """The websocket did not end as one should."""


class Channels:
    def __init__(self, sock: socket.socket, reader: io.BufferedReader) -> None:
        stream: Any = _Stream(sock, reader)
        self._websocket = WebSocket(enable_multithread=False, skip_utf8_validation=True)
        self._websocket.sock = stream
        self._websocket.connected = True

    def send(self, channel: int, content: bytes) -> None:
        try:
            self._websocket.send_binary(bytes([channel]) + content)
        except (WebSocketException, OSError) as error:
            raise Broken(str(error)) from error

    def receive(self) -> tuple[int, bytes] | None:
        """Wait for a message; None is the end that the far side has said. Raises `TimeoutError`, `Broken`."""
        while True:
            try:
                opcode, message = self._websocket.recv_data()
            except WebSocketTimeoutException as error:
                raise TimeoutError("timed out") from error
            except (WebSocketException, OSError) as error:
                raise Broken(str(error)) from error
            if opcode == ABNF.OPCODE_CLOSE:
                return None
            if message:
                return message[0], message[1:]

    def leave(self) -> None:
        """Say goodbye, and do not wait for the answer."""
        with suppress(WebSocketException, OSError):
            if self._websocket.connected:
                self._websocket.send_close()


def upgrade(protocols: str) -> tuple[str, dict[str, str]]:
    """The headers that ask for a websocket, and what the server must make of their key."""
    key = base64.b64encode(os.urandom(16))
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).decode()
    return accept, {
        "accept": "*/*",  # the API server has no JSON to give here, and says 406
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": key.decode(),
        "sec-websocket-protocol": protocols,
    }


@contextmanager
def channels(response: urllib3.BaseHTTPResponse, accept: str) -> Iterator[Channels]:
    """Talk on the connection of an answer; afterwards it is closed, whatever happens."""
    try:
        if response.headers.get("sec-websocket-accept") != accept:
            raise Broken("it is no websocket")
        opened = Channels(*stream_of(response))
        yield opened
        opened.leave()
    finally:
        response.close()
        response.release_conn()


class _Stream:
    """As much of a socket as websocket-client needs."""

    def __init__(self, sock: socket.socket, reader: io.BufferedReader) -> None:
        self._sock = sock
        self._reader = reader
        self._left = LARGEST
        self.gettimeout = sock.gettimeout
        self.send = sock.send

    def recv(self, size: int) -> bytes:
        received = self._reader.read1(size)
        self._left -= len(received)
        if self._left < 0:
            raise TooLarge
        return received

    def close(self) -> None:
        """The connection is closed with its response."""
