"""Connections to the API server, in which the time of a request is the time of the whole request."""

from __future__ import annotations

import http.client
import importlib.util
import io
import re
import ssl
from contextlib import suppress
from queue import Empty
from socket import SHUT_RDWR
from socket import socket as plain_socket
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

from meshtrust.cluster.official import RESTClientObject, urllib3
from meshtrust.cluster.tls import names_probe, proxy_tls_context
from meshtrust.errors import ToolError

if TYPE_CHECKING:
    import socket

    from meshtrust.cluster.context import Context
    from meshtrust.cluster.official import Configuration

_WIDTH = 32  # connections kept open: as many as there are threads where proxies are asked
_LOOPBACK = re.compile(r"localhost|127\.[0-9.]+|::1")


class _TimedBody(io.RawIOBase):
    """A socket's bytes, until a deadline: a timeout of a socket is for each read, and slow bytes would never end."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        timeout = sock.gettimeout()
        self._deadline = None if timeout is None else monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._deadline is not None:
            left = self._deadline - monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left)
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _TimedSocket:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedBody(self._sock), 1 << 16)


class Opened:
    """The connections of a pool that may be under way, in whatever thread."""

    def __init__(self) -> None:
        self._connections: set[_Timed] = set()
        self.over = False

    def add(self, connection: _Timed) -> None:
        self._connections.add(connection)

    def discard(self, connection: _Timed) -> None:
        self._connections.discard(connection)

    def end(self) -> None:
        """Let those who wait for an answer go on without it."""
        self.over = True
        for connection in tuple(self._connections):
            connection.end()


class _Timed:
    """The rest of the time is for the TLS handshake, and then for the answer."""

    timeout: Any
    sock: Any
    reader: io.BufferedReader  # of the answer; after "101 Switching Protocols" of all that comes

    def __init__(self, *args: Any, opened: Opened, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.response_class: Any = self._response
        self._opened = opened

    def _response(self, sock: socket.socket, **kwargs: Any) -> http.client.HTTPResponse:
        timed: Any = _TimedSocket(sock)  # it is asked for makefile only
        response = http.client.HTTPResponse(timed, **kwargs)
        self.reader = response.fp
        return response

    def _new_conn(self) -> socket.socket:
        start = monotonic()
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        self._opened.add(self)
        if self._opened.over:
            sock.close()
            raise urllib3.exceptions.ProtocolError("closed meanwhile")
        if sock.gettimeout() is not None:
            sock.settimeout(max(0.001, self.timeout - (monotonic() - start)))
        return sock

    def close(self) -> None:
        super().close()  # type: ignore[misc]
        self._opened.discard(self)

    def end(self) -> None:
        """Wake the thread that reads: unlike closing, this is safe from another one."""
        sock = self.sock
        with suppress(OSError):
            if sock is not None:
                plain_socket.shutdown(getattr(sock, "socket", sock), SHUT_RDWR)  # TLS in TLS has one inside


class _Resuming(ssl.SSLSocket):
    """TLS that goes on where an earlier connection to the same server ended (RFC 8446 2.2), if the server agrees.

    Half of what asking a proxy costs is the handshake of its connection, and most of that is verifying certificates:
    they were verified when the session began, by the same context.
    """

    def do_handshake(self, block: bool = False) -> None:
        sessions = _SESSIONS.setdefault(self.context, {})
        session = sessions.get(self.server_hostname)
        if session is not None:
            self.session = session
        try:
            super().do_handshake(block)
        except OSError:
            sessions.pop(self.server_hostname, None)  # should it be the session that the server minds
            raise

    def keep_session(self) -> None:
        """A server gives its tickets out after the handshake: when something has been read, they are here."""
        if not self.session_reused and (session := self.session) is not None and session.has_ticket:
            _SESSIONS.setdefault(self.context, {})[self.server_hostname] = session


_SESSIONS: WeakKeyDictionary[ssl.SSLContext, dict[str | None, ssl.SSLSession]] = WeakKeyDictionary()


class _HTTPConnection(_Timed, urllib3.connection.HTTPConnection):
    pass


class _HTTPSConnection(_Timed, urllib3.connection.HTTPSConnection):
    def close(self) -> None:
        if isinstance(self.sock, _Resuming):  # not of TLS in TLS
            self.sock.keep_session()
        super().close()


def open_pool(configuration: Configuration, tls: ssl.SSLContext | None, context: Context) -> urllib3.HTTPConnectionPool:
    """Let the official client choose between proxy and none; the TLS is ours, made once for all connections."""
    _set_proxy(configuration, context)
    configuration.ssl_ca_cert = configuration.cert_file = configuration.key_file = None
    configuration.connection_pool_maxsize = _WIDTH
    manager = RESTClientObject(configuration).pool_manager
    if tls:
        tls.sslsocket_class = _Resuming
        manager.connection_pool_kw["ssl_context"] = tls
    pool = manager.connection_from_url(context.server)
    pool.ConnectionCls = _HTTPSConnection if pool.scheme == "https" else _HTTPConnection  # the proxy's, or the server's
    pool.conn_kw["opened"] = Opened()
    return pool


def close_idle(pool: urllib3.HTTPConnectionPool) -> None:
    """Let the next request have a connection of its own.

    What stands between may have forgotten one on which nothing was said for minutes, and tells nobody.
    """
    with suppress(Empty):
        while pool.pool is not None:
            connection = pool.pool.get_nowait()
            if connection:
                connection.close()


def close_pool(pool: urllib3.HTTPConnectionPool) -> None:
    pool.close()
    pool.conn_kw["opened"].end()


def stream_of(response: urllib3.BaseHTTPResponse) -> tuple[socket.socket, io.BufferedReader]:
    """What an answer came on: to write to, and to read on from. The time of the request holds for the reader."""
    connection: Any = response.connection
    if connection.sock is None:  # it said that it would close
        raise urllib3.exceptions.ProtocolError("closed at once")
    return connection.sock, connection.reader


def certificate_names(
    configuration: Configuration, tls: ssl.SSLContext, context: Context, timeout: float | None
) -> tuple[str, ...]:
    """The names in the certificate of a server that was refused for its name alone. No request is sent."""
    try:
        pool = open_pool(configuration, names_probe(tls), context)
        pool.urlopen("GET", "/", retries=False, timeout=timeout).close()
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        return tuple(re.findall(r"'([^' ]+)'", str(error)))[1:]
    return ()


def _set_proxy(configuration: Configuration, context: Context) -> None:
    if "proxy-url" in context.cluster:
        configuration.proxy = context.cluster["proxy-url"]
        configuration.no_proxy = ""  # what NO_PROXY says is about the proxies of the environment
    elif _LOOPBACK.fullmatch(context.host):
        configuration.proxy = None  # as Go has it: the kubeconfigs of kind and minikube work behind HTTPS_PROXY
    if not configuration.proxy:
        return
    proxy = urlsplit(configuration.proxy)
    if proxy.scheme.startswith("socks") and not importlib.util.find_spec("socks"):
        raise ToolError(
            f"proxy {proxy.scheme}://{proxy.hostname}: this program cannot speak SOCKS",
            "use an http proxy, or install PySocks beside a program that is not the single file",
        )
    if proxy.scheme not in {"http", "https"} and not proxy.scheme.startswith("socks"):
        raise ToolError(f"proxy {configuration.proxy}: not a URL of http or https", "as in http://proxy.example:3128")
    if proxy.username:
        user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        configuration.proxy_headers = urllib3.util.make_headers(proxy_basic_auth=user)
    if proxy.scheme == "https":
        configuration.proxy_ssl_context = proxy_tls_context(context)
