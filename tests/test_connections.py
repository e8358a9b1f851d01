"""The way to the API server: TLS, proxies, time limits, and what is sent to whom."""

from __future__ import annotations

import base64
import selectors
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from meshtrust.cluster import Cluster, Connection
from meshtrust.errors import ToolError, Unreachable
from meshtrust.objects import Ref
from sandbox import Mesh
from sandbox.server import Server, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EMPTY = b'{"kind": "SecretList", "metadata": {}, "items": []}'


class Handler(BaseHTTPRequestHandler):
    """An API server without any object, and a proxy: it writes down what it was asked."""

    protocol_version = "HTTP/1.1"
    server: Recorder

    def do_GET(self) -> None:
        self.server.seen.append(self)
        self.send_response(200)
        self.send_header("Content-Length", str(len(EMPTY)))
        self.end_headers()
        self.wfile.write(EMPTY)

    def do_CONNECT(self) -> None:
        self.server.seen.append(self)
        if self.server.refuses:
            self.send_error(403)
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as beyond:
            self.send_response(200)
            self.end_headers()
            other = {self.connection: beyond, beyond: self.connection}
            with selectors.DefaultSelector() as ready:
                for end in other:
                    ready.register(end, selectors.EVENT_READ)
                while chunk := self._first(ready, other):
                    chunk[1].sendall(chunk[0])
        self.close_connection = True

    @staticmethod
    def _first(ready: selectors.BaseSelector, other: dict[Any, Any]) -> tuple[bytes, socket.socket] | None:
        end = ready.select()[0][0].fileobj
        data = end.recv(1 << 16)  # type: ignore[union-attr]  # a socket
        return (data, other[end]) if data else None

    def log_message(self, *_: object) -> None:
        pass


class Recorder(ThreadingHTTPServer):
    def __init__(self, tls: ssl.SSLContext | None = None, *, refuses: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[Handler] = []
        self.refuses = refuses
        self.address = f"127.0.0.1:{self.server_port}"
        self._tls = tls

    def finish_request(self, request: Any, client_address: Any) -> None:
        with suppress(OSError):  # a client that goes away, or does not get past the handshake
            if self._tls:
                request = self._tls.wrap_socket(request, server_side=True)
            with request:
                super().finish_request(request, client_address)


@contextmanager
def recorder(tls: ssl.SSLContext | None = None, *, refuses: bool = False) -> Iterator[Recorder]:
    with Recorder(tls, refuses=refuses) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def talker(words: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """A server that speaks as it likes with everybody who connects."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def talk() -> None:
            with suppress(OSError):
                while True:
                    with listening.accept()[0] as peer, suppress(OSError):
                        words(peer, done)

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            done.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(Mesh(now=datetime.now(UTC))) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_proxy_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def reach(server: Server, tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Reach the sandbox, with some keys of its `cluster` entry changed or (None) left out, and options."""
    opened: list[Cluster] = []

    def reach(entry: dict[str, Any] | None = None, **options: Any) -> Cluster:
        config = yaml.safe_load(server.kubeconfig.read_text())
        config["clusters"][0]["cluster"].update(entry or {})
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        opened.append(Cluster(Connection(kubeconfig=str(path), **{"request_timeout": 5, **options})))
        return opened[-1]

    yield reach
    for cluster in opened:
        cluster.close()


def read(cluster: Cluster) -> int:
    return len(list(cluster.objects("Secret")))


def refusal(cluster: Cluster) -> ToolError:
    with pytest.raises(ToolError) as refused:
        read(cluster)
    assert refused.value.hint
    assert (refused.value.message + refused.value.hint).isprintable()
    return refused.value


def unreachable(cluster: Cluster) -> str:
    error = refusal(cluster)
    assert isinstance(error, Unreachable)
    return error.message.removeprefix("Unable to connect to the server: ")


class TestTls:
    def test_an_authority_as_data(self, server: Server, reach: Callable[..., Cluster]) -> None:
        data = base64.b64encode(server.files.authority.read_bytes()).decode()
        assert read(reach({"certificate-authority": None, "certificate-authority-data": data})) > 0

    def test_another_authority(self, reach: Callable[..., Cluster], tmp_path: Path) -> None:
        self_signed(tmp_path, ends=timedelta(days=1))
        error = refusal(reach(certificate_authority=str(tmp_path / "crt")))
        assert error.message.endswith("x509: certificate signed by unknown authority")
        assert error.hint.startswith('is the certificate-authority of context "sandbox" that of this cluster?')

    def test_an_authority_that_is_none(self, server: Server, reach: Callable[..., Cluster]) -> None:
        message = 'certificate-authority of context "sandbox": holds no certificate in PEM'
        assert refusal(reach(certificate_authority=str(server.kubeconfig))).message == message
        data = base64.b64encode(b"nonsense").decode()
        assert refusal(reach({"certificate-authority": None, "certificate-authority-data": data})).message == message

    def test_an_authority_that_is_gone(self, reach: Callable[..., Cluster]) -> None:
        message = 'context "sandbox": File does not exist: /gone.crt'
        assert refusal(reach({"certificate-authority": "/gone.crt"})).message == message

    def test_another_host_name_tells_the_right_ones(self, reach: Callable[..., Cluster]) -> None:
        error = refusal(reach(tls_server_name="api.example"))
        assert error.message.endswith("x509: certificate is valid for localhost, 127.0.0.1, not api.example")
        assert error.hint.startswith("--tls-server-name localhost ")

    def test_a_server_name_is_the_one_that_counts(self, reach: Callable[..., Cluster]) -> None:
        assert read(reach({"tls-server-name": "localhost"})) > 0
        assert "valid for localhost, 127.0.0.1, not wrong" in unreachable(reach({"tls-server-name": "wrong"}))

    def test_skipping_verification_skips_it_quietly(self, reach: Callable[..., Cluster]) -> None:
        entry = {"certificate-authority": None, "insecure-skip-tls-verify": True}
        assert read(reach(entry, tls_server_name="wrong")) > 0
        assert read(reach(tls_server_name="wrong", insecure_skip_tls_verify=True)) > 0

    def test_not_skipping_it_overrides_the_kubeconfig(self, reach: Callable[..., Cluster]) -> None:
        entry = {"certificate-authority": None, "insecure-skip-tls-verify": True}
        assert "unknown authority" in unreachable(reach(entry, insecure_skip_tls_verify=False))

    def test_the_roots_of_the_system(
        self, server: Server, reach: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        entry = {"certificate-authority": None}
        assert "unknown authority" in unreachable(reach(entry))
        monkeypatch.setenv("SSL_CERT_FILE", str(server.files.authority))
        assert read(reach(entry)) > 0
        monkeypatch.setenv("SSL_CERT_FILE", "/gone.pem")
        assert refusal(reach(entry)).message == "system roots in /gone.pem: No such file or directory"

    def test_an_expired_certificate(self, reach: Callable[..., Cluster], tmp_path: Path) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self_signed(tmp_path, ends=timedelta(days=-1))
        tls.load_cert_chain(tmp_path / "crt", tmp_path / "key")
        with recorder(tls) as expired:
            entry = {"server": f"https://{expired.address}", "certificate-authority": str(tmp_path / "crt")}
            message = "tls: failed to verify certificate: x509: certificate has expired or is not yet valid"
            assert unreachable(reach(entry)) == message

    def test_a_server_that_wants_another_client_certificate(
        self, server: Server, reach: Callable[..., Cluster]
    ) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(server.files.certificate, server.files.key)
        tls.verify_mode = ssl.CERT_REQUIRED
        with recorder(tls) as strict:
            errors = [refusal(reach({"server": f"https://{strict.address}"})) for _ in range(5)]
        assert all(isinstance(error, Unreachable) for error in errors)
        # The reset that follows the alert of TLS 1.3 may overtake it, on a busy machine: once is enough.
        message = "Unable to connect to the server: remote error: tls: certificate required"
        hint = 'the server does not take the client certificate of user "tester" of context "sandbox"'
        assert (message, hint) in [(error.message, error.hint) for error in errors]

    def test_a_server_without_tls(self, reach: Callable[..., Cluster]) -> None:
        with recorder() as plain:
            message = unreachable(reach({"server": f"https://{plain.address}"}))
        assert message == f"{plain.address} gave an HTTP response to an HTTPS client"


def self_signed(folder: Path, ends: timedelta) -> None:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + ends)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "crt").write_bytes(certificate.public_bytes(pem))
    (folder / "key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


class TestNobodyThere:
    def test_refused(self, reach: Callable[..., Cluster]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        error = refusal(reach({"server": f"https://{address}"}))
        assert isinstance(error, Unreachable)
        assert error.message == (
            f"The connection to the server {address} was refused - did you specify the right host or port?"
        )

    def test_no_such_host(self, reach: Callable[..., Cluster]) -> None:
        assert unreachable(reach({"server": "https://nope.invalid:6443"})) == "lookup nope.invalid: no such host"


class TestTimeLimit:
    """Each of these would take seconds, and some would then succeed, if only single reads were limited."""

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_holds_for_one_who_never_speaks(self, reach: Callable[..., Cluster], scheme: str) -> None:
        with talker(lambda _, done: done.wait()) as address:
            cluster = reach({"server": f"{scheme}://{address}", "certificate-authority": None}, request_timeout=0.2)
            assert unreachable(cluster) == f"no answer from {address} within 0.2s"

    @pytest.mark.parametrize(
        "at_once",
        [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(EMPTY)],
        ids=["status", "headers", "body"],
    )
    def test_holds_for_slow_bytes(self, reach: Callable[..., Cluster], at_once: bytes) -> None:
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(EMPTY) + EMPTY

        def drip(peer: socket.socket, done: threading.Event) -> None:
            peer.recv(1 << 16)
            peer.sendall(at_once)
            for byte in whole.removeprefix(at_once):
                peer.sendall(bytes((byte,)))
                done.wait(0.05)

        with talker(drip) as address:
            cluster = reach({"server": f"http://{address}", "certificate-authority": None}, request_timeout=0.3)
            assert unreachable(cluster) == f"no answer from {address} within 0.3s"


class TestProxy:
    @pytest.fixture
    def proxy(self) -> Iterator[Recorder]:
        with recorder() as proxy:
            yield proxy

    def test_of_the_kubeconfig(self, server: Server, reach: Callable[..., Cluster], proxy: Recorder) -> None:
        assert read(reach({"proxy-url": f"http://me:p%40ss@{proxy.address}"})) > 0
        (seen,) = proxy.seen
        assert f"https://{seen.path}" == server.url
        assert base64.b64decode(seen.headers["Proxy-Authorization"].removeprefix("Basic ")) == b"me:p@ss"
        assert "Authorization" not in seen.headers

    def test_of_the_kubeconfig_takes_what_is_written_too(
        self, server: Server, reach: Callable[..., Cluster], proxy: Recorder
    ) -> None:
        ref = Ref("Secret", "istio-system", "istio-ca-secret")
        assert reach({"proxy-url": f"http://{proxy.address}"}).patch(ref, {"metadata": {}}).ref == ref
        assert f"https://{proxy.seen[0].path}" == server.url

    def test_a_wrong_host_name_is_told_through_it(self, reach: Callable[..., Cluster], proxy: Recorder) -> None:
        cluster = reach({"proxy-url": f"http://{proxy.address}"}, tls_server_name="wrong")
        assert "valid for localhost, 127.0.0.1, not wrong" in unreachable(cluster)

    def test_over_tls_is_believed_by_the_roots_of_the_system(
        self, server: Server, reach: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(server.files.certificate, server.files.key)
        with recorder(tls) as proxy:
            entry = {"server": "http://api.example", "certificate-authority": None}
            entry["proxy-url"] = f"https://{proxy.address}"
            message = f"proxy {proxy.address}: unable to get local issuer certificate"
            assert unreachable(reach(entry)) == message
            monkeypatch.setenv("SSL_CERT_FILE", str(server.files.authority))
            assert read(reach(entry)) == 0
            assert read(reach({"proxy-url": f"https://{proxy.address}"})) > 0

    def test_of_the_environment(
        self, reach: Callable[..., Cluster], proxy: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
        entry = {"server": "http://api.example/prefix", "certificate-authority": None}
        assert read(reach(entry, as_user="jane", as_groups=("a", "b"))) == 0
        (seen,) = proxy.seen
        assert seen.path == "http://api.example/prefix/api/v1/secrets?limit=500"
        assert seen.headers.get_all("Impersonate-Group") == ["a", "b"]
        assert seen.headers["Host"] == "api.example"

    def test_of_the_environment_spares_no_proxy_and_loopback(
        self, reach: Callable[..., Cluster], proxy: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        assert read(reach()) > 0
        monkeypatch.setenv("NO_PROXY", "other,.invalid")
        assert "lookup nope.invalid" in unreachable(reach({"server": "https://nope.invalid"}))
        assert proxy.seen == []

    def test_of_the_kubeconfig_is_not_spared_by_no_proxy(
        self, reach: Callable[..., Cluster], proxy: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NO_PROXY", "*")
        assert read(reach({"proxy-url": f"http://{proxy.address}"})) > 0
        assert len(proxy.seen) == 1

    def test_that_refuses_is_named_without_its_password(self, reach: Callable[..., Cluster]) -> None:
        with recorder(refuses=True) as proxy:
            message = unreachable(reach({"proxy-url": f"http://me:geheim@{proxy.address}"}))
        assert message == f"proxy {proxy.address}: tunnel connection failed: 403 forbidden"

    def test_that_is_not_there_is_named(self, reach: Callable[..., Cluster]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        assert unreachable(reach({"proxy-url": f"http://{address}"})) == f"proxy {address}: connection refused"

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("socks5://127.0.0.1:1080", "proxy socks5://127.0.0.1: this program cannot speak SOCKS"),
            ("ftp://127.0.0.1", "proxy ftp://127.0.0.1: not a URL of http or https"),
            ("127.0.0.1:3128", "proxy 127.0.0.1:3128: not a URL of http or https"),
        ],
    )
    def test_that_cannot_be_spoken_to_is_refused(self, reach: Callable[..., Cluster], url: str, message: str) -> None:
        assert refusal(reach({"proxy-url": url})).message == message


def test_no_credentials_are_sent_where_everybody_could_read_them(reach: Callable[..., Cluster]) -> None:
    with recorder() as plain:
        assert read(reach({"server": f"http://{plain.address}", "certificate-authority": None})) == 0
    assert "Authorization" not in plain.seen[0].headers


def test_a_path_before_the_api_is_kept(reach: Callable[..., Cluster]) -> None:
    with recorder() as plain:
        read(reach({"server": f"http://{plain.address}/k8s/clusters/c-1/", "certificate-authority": None}))
    assert plain.seen[0].path == "/k8s/clusters/c-1/api/v1/secrets?limit=500"
