"""Every option of a connection holds for the websockets that lead to proxies."""

from __future__ import annotations

import base64
import json
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from admin import asked, refusal, unreachable, ways
from asking import MESH
from meshtrust.cluster import Cluster, Connection
from sandbox import Request, Server, serve
from test_connections import recorder
from test_login import credential, plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Reach = Callable[..., Cluster]
    Arrived = Callable[[Cluster], Request]


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serve(MESH) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_proxy_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(params=["portforward", "exec"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(running: Server, way: str) -> Iterator[Server]:
    """One that lets proxies be reached in one way only."""
    if way == "exec":
        running.forbid("create", "pods/portforward")
    yield running
    running.access.allow_all()


@pytest.fixture
def reach(server: Server, tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Reach the sandbox with a `user`, some keys of the `cluster` changed or (None) left out, and options."""
    opened: list[Cluster] = []

    def reach(user: dict[str, Any] | None = None, entry: dict[str, Any] | None = None, **options: Any) -> Cluster:
        config = yaml.safe_load(server.kubeconfig.read_text())
        config["clusters"][0]["cluster"].update(entry or {})
        if user is not None:
            config["users"][0]["user"] = user
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        opened.append(Cluster(Connection(kubeconfig=str(path), **{"request_timeout": 5, **options})))
        return opened[-1]

    yield reach
    for cluster in opened:
        cluster.close()


@pytest.fixture
def arrived(server: Server, way: str) -> Callable[[Cluster], Request]:
    """Ask a proxy: the request that led to its answer, in the one way that there is."""

    def arrived(cluster: Cluster) -> Request:
        assert json.loads(asked(cluster))
        assert ways(server)[-1] == way
        return server.requests[-1]

    return arrived


def data(*files: Path) -> dict[str, str]:
    names = ("client-certificate-data", "client-key-data")
    return {name: base64.b64encode(file.read_bytes()).decode() for name, file in zip(names, files, strict=True)}


def test_a_token(server: Server, reach: Reach, arrived: Arrived) -> None:
    assert arrived(reach()).headers["Authorization"] == f"Bearer {server.token}"
    assert refusal(asked, reach(token="expired")).message == "You must be logged in to the server (Unauthorized)"


def test_a_rotated_token_file(server: Server, reach: Reach, arrived: Arrived, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("expired")
    cluster = reach({"tokenFile": "token"})
    refusal(asked, cluster)
    (tmp_path / "token").write_text(server.token)
    arrived(cluster)


def test_a_client_certificate(server: Server, reach: Reach, arrived: Arrived) -> None:
    certificate, key = server.files.client_certificate, server.files.client_key
    users = ({"client-certificate": str(certificate), "client-key": str(key)}, data(certificate, key))
    options = {"client_certificate": str(certificate), "client_key": str(key)}
    for cluster in (*(reach(user) for user in users), reach({}, **options)):
        request = arrived(cluster)
        assert (request.user, "Authorization" in request.headers) == ("tester", False)


def test_a_credential_plugin(server: Server, reach: Reach, arrived: Arrived, tmp_path: Path) -> None:
    printed = credential({"token": server.token})
    cluster = reach(plugin(tmp_path, f"echo run >> {tmp_path}/runs; echo '{printed}'"))
    arrived(cluster)
    arrived(cluster)
    assert (tmp_path / "runs").read_text() == "run\n"


def test_a_credential_plugin_with_a_certificate(server: Server, reach: Reach, arrived: Arrived, tmp_path: Path) -> None:
    files = {"clientCertificateData": server.files.client_certificate, "clientKeyData": server.files.client_key}
    (tmp_path / "credential").write_text(credential({name: file.read_text() for name, file in files.items()}))
    assert arrived(reach(plugin(tmp_path, f"cat {tmp_path}/credential"))).user == "tester"


def test_impersonation(server: Server, reach: Reach, arrived: Arrived) -> None:
    user = {"token": server.token, "as-user-extra": {"reason": ["one", "two"]}}
    request = arrived(reach(user, as_user="jane", as_groups=("a", "b"), as_uid="7"))
    assert request.user == "jane"
    assert request.headers.getall("Impersonate-Group") == ["a", "b"]
    assert request.headers["Impersonate-Uid"] == "7"
    assert request.headers.getall("Impersonate-Extra-reason") == ["one", "two"]


def test_the_rights_are_those_of_the_impersonated(server: Server, reach: Reach, arrived: Arrived) -> None:
    server.forbid("*", "pods/*", user="jane")
    assert refusal(asked, reach(as_user="jane")).message.startswith('User "jane" cannot get pods/portforward')
    arrived(reach(as_user="john"))


def test_the_authority(server: Server, reach: Reach, arrived: Arrived) -> None:
    authority = base64.b64encode(server.files.authority.read_bytes()).decode()
    arrived(reach(entry={"certificate-authority": None, "certificate-authority-data": authority}))
    message = unreachable(asked, reach(entry={"certificate-authority": None}))
    assert message.endswith("x509: certificate signed by unknown authority")


def test_a_server_name(reach: Reach, arrived: Arrived) -> None:
    arrived(reach(tls_server_name="localhost"))
    assert "valid for localhost, 127.0.0.1, not wrong" in unreachable(asked, reach(tls_server_name="wrong"))


def test_skipping_verification(reach: Reach, arrived: Arrived) -> None:
    arrived(reach(insecure_skip_tls_verify=True, tls_server_name="wrong"))


def test_a_proxy(server: Server, reach: Reach, arrived: Arrived) -> None:
    with recorder() as proxy:
        arrived(reach(entry={"proxy-url": f"http://me:p%40ss@{proxy.address}"}))
        assert {f"https://{seen.path}" for seen in proxy.seen} == {server.url}
        assert {seen.headers["Proxy-Authorization"] for seen in proxy.seen} == {"Basic bWU6cEBzcw=="}
        assert not any("Authorization" in seen.headers for seen in proxy.seen)
    with recorder(refuses=True) as proxy:
        message = unreachable(asked, reach(entry={"proxy-url": f"http://{proxy.address}"}))
        assert message.endswith(f"proxy {proxy.address}: tunnel connection failed: 403 forbidden")


def test_a_proxy_over_tls(server: Server, reach: Reach, arrived: Arrived, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(server.files.certificate, server.files.key)
    monkeypatch.setenv("SSL_CERT_FILE", str(server.files.authority))
    with recorder(tls) as proxy:
        arrived(reach(entry={"proxy-url": f"https://{proxy.address}"}))
        assert proxy.seen


def test_a_server_that_is_not_there(reach: Reach) -> None:
    assert "was refused" in unreachable(asked, reach(server="https://127.0.0.1:1"))
