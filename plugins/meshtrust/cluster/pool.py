"""Connections to the API server, in which the time of a request is the time of the whole request."""

from __future__ import annotations

import http.client
import importlib.util
import io
import re
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from meshtrust.cluster.official import RESTClientObject, urllib3
from meshtrust.cluster.tls import names_probe, proxy_tls_context
from meshtrust.errors import ToolError

if TYPE_CHECKING:
    import socket
    import ssl

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


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_TimedSocket(sock), *args, **kwargs)  # type: ignore[arg-type]  # it asks for makefile only


class _Timed:
    """The rest of the time is for the TLS handshake, and then for the answer."""

    response_class: Any = _TimedResponse
    timeout: Any

    def _new_conn(self) -> socket.socket:
        start = monotonic()
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        if sock.gettimeout() is not None:
            sock.settimeout(max(0.001, self.timeout - (monotonic() - start)))
        return sock


class _HTTPConnection(_Timed, urllib3.connection.HTTPConnection):
    pass


class _HTTPSConnection(_Timed, urllib3.connection.HTTPSConnection):
    pass


def open_pool(configuration: Configuration, tls: ssl.SSLContext | None, context: Context) -> urllib3.HTTPConnectionPool:
    """Let the official client choose between proxy and none; the TLS is ours, made once for all connections."""
    _set_proxy(configuration, context)
    configuration.ssl_ca_cert = configuration.cert_file = configuration.key_file = None
    configuration.connection_pool_maxsize = _WIDTH
    manager = RESTClientObject(configuration).pool_manager
    if tls:
        manager.connection_pool_kw["ssl_context"] = tls
    pool = manager.connection_from_url(context.server)
    pool.ConnectionCls = _HTTPSConnection if pool.scheme == "https" else _HTTPConnection  # the proxy's, or the server's
    return pool


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
