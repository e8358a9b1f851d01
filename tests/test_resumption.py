"""TLS goes on where an earlier connection to the API server ended, and begins anew where the server wants that."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from meshes import NOW, STRANGE
from meshtrust.cluster import Cluster, Connection
from meshtrust.errors import Unreachable
from sandbox import pki
from sandbox.issuing import ca_certificate, pem

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

BODY = json.dumps({"kind": "NamespaceList", "items": [], "metadata": {}}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"


class Server:
    """Answers each connection once; `contexts` are taken by turns, as by servers behind one address."""

    def __init__(self, folder: Path, tickets: int, keys: int) -> None:
        self.files = pki.write_files(folder)
        self.contexts = [self._context(tickets) for _ in range(keys)]
        self.resumed: list[bool] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.kubeconfig = folder / "kubeconfig"
        url = f"https://127.0.0.1:{self._listening.getsockname()[1]}"
        self.kubeconfig.write_text(pki.kubeconfig(url, self.files, "token", "token", ""))

    def _context(self, tickets: int) -> ssl.SSLContext:
        context = pki.server_context(self.files)
        context.num_tickets = tickets
        return context

    def run(self) -> None:
        for number in range(100):
            try:
                plain, _ = self._listening.accept()
            except OSError:
                return
            with plain, suppress(OSError):
                tls = self.contexts[number % len(self.contexts)].wrap_socket(plain, server_side=True)
                with tls:
                    self.resumed.append(bool(tls.session_reused))
                    tls.recv(65536)
                    tls.sendall(ANSWER % (len(BODY), BODY))

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@contextmanager
def serving(folder: Path, *, tickets: int = 2, keys: int = 1) -> Iterator[Server]:
    server = Server(folder, tickets, keys)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()


def ask(server: Server, times: int, **options: object) -> None:
    connection = Connection(kubeconfig=str(server.kubeconfig), request_timeout=5, **options)  # type: ignore[arg-type]  # as given
    with Cluster(connection) as cluster:
        for _ in range(times):
            assert list(cluster.objects("Namespace")) == []


def test_from_the_second_connection_on_the_session_is_the_first_ones(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        ask(server, 4)
    assert server.resumed == [False, True, True, True]


def test_a_server_without_tickets_has_a_whole_handshake_each_time(tmp_path: Path) -> None:
    with serving(tmp_path, tickets=0) as server:
        ask(server, 3)
    assert server.resumed == [False, False, False]


def test_a_ticket_that_another_server_gave_out_costs_a_whole_handshake_and_no_more(tmp_path: Path) -> None:
    with serving(tmp_path, keys=2) as server:
        ask(server, 4)
    assert len(server.resumed) == 4
    assert server.resumed[:2] == [False, False]


def test_who_trusts_another_authority_does_not_go_on_with_a_session(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with serving(tmp_path) as server:
        ask(server, 2)
        with pytest.raises(Unreachable):
            ask(server, 1, certificate_authority=str(_strange_authority(other)))
        ask(server, 2)
    assert server.resumed == [False, True, False, True]


def _strange_authority(folder: Path) -> Path:
    path = folder / "ca.pem"
    path.write_text(pem([ca_certificate(STRANGE, NOW)]))
    return path
