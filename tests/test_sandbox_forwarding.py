"""Port-forward by the official client to the pretend Envoys and ztunnels."""

from __future__ import annotations

import base64
import http.client
import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client
from kubernetes.stream import portforward

from asking import MESH, NOW, STRANGE, official

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from sandbox import Server

PODS = {f"{namespace}/{proxy.name}": (namespace, pod) for (namespace, pod), proxy in reversed(MESH.pods().items())}


@contextmanager
def forwarded(server: Server, place: tuple[str, str], port: int = 15000) -> Iterator[tuple[Any, socket.socket]]:
    """Forward a port by the official client, and leave nothing of its thread and sockets behind."""
    namespace, pod = place
    with official(server) as api:
        forward = portforward(
            client.CoreV1Api(api).connect_get_namespaced_pod_portforward, pod, namespace, ports=str(port)
        )
    connection = forward.socket(port)
    connection.settimeout(5)
    try:
        yield forward, connection
    finally:
        connection.close()
        for thread in threading.enumerate():
            if thread.name.startswith("Kubernetes port forward proxy"):
                thread.join()
        forward.websocket.shutdown()


def asked(connection: socket.socket, path: str) -> tuple[int, bytes]:
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    with http.client.HTTPResponse(connection) as response:
        response.begin()
        return response.status, response.read()


def pem_bundle(inline: dict[str, str]) -> str:
    return base64.b64decode(inline["inline_bytes"]).decode()


def test_an_envoy_tells_its_certificates_on_one_connection(standing: Server) -> None:
    with forwarded(standing, PODS["bank/ledger"]) as (_, connection):
        certs = json.loads(asked(connection, "/certs")[1])["certificates"]
        dump = json.loads(asked(connection, "/config_dump?resource=dynamic_active_secrets")[1])["configs"]
        only_root = json.loads(asked(connection, "/config_dump?resource=dynamic_active_secrets&name_regex=ROOTCA")[1])
        masked = json.loads(asked(connection, "/config_dump?mask=dynamic_active_secrets,dynamic_warming_secrets")[1])
        whole = json.loads(asked(connection, "/config_dump")[1])["configs"]
        info = json.loads(asked(connection, "/server_info")[1])
        unknown = asked(connection, "/nonsense")
    (published,) = [
        one["data"]["root-cert.pem"]
        for one in standing.objects("ConfigMap")
        if (one["metadata"]["namespace"], one["metadata"]["name"]) == ("bank", "istio-ca-root-cert")
    ]
    uri = "spiffe://cluster.local/ns/bank/sa/ledger"
    assert certs[0]["cert_chain"][0]["subject_alt_names"] == [{"uri": uri}]
    assert certs[0]["ca_cert"][0]["expiration_time"] == (NOW + timedelta(days=3285)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert [secret["name"] for secret in dump] == ["default", "ROOTCA"]
    assert pem_bundle(dump[1]["secret"]["validation_context"]["trusted_ca"]) == published
    assert only_root["configs"] == dump[1:]
    assert [item["@type"].rsplit(".", 1)[1] for item in whole] == [
        "BootstrapConfigDump",
        "ClustersConfigDump",
        "SecretsConfigDump",
    ]
    assert masked["configs"] == whole[2:]
    assert info["node"]["metadata"]["ISTIO_VERSION"] == "1.29.2"
    assert unknown[0] == 404


def test_a_ztunnel_tells_each_identity(standing: Server) -> None:
    with forwarded(standing, PODS["istio-system/ztunnel"]) as (_, connection):
        dump = json.loads(asked(connection, "/config_dump?mask=ignored")[1])
        no_certs = asked(connection, "/certs")[0]
    (identity,) = dump["certificates"]
    assert (identity["identity"], identity["state"]) == ("spiffe://cluster.local/ns/bank/sa/cart", "Available")
    assert (len(identity["certChain"]), len(identity["rootCerts"])) == (1, 1)
    assert identity["rootCerts"][0]["serialNumber"].isdecimal()
    assert (dump["version"]["istioVersion"], no_certs) == ("1.29.2", 404)


@pytest.mark.parametrize(("place", "port"), [("shop/deaf", 15000), ("bank/ledger", 15020), ("shop/done", 15000)])
def test_a_port_without_a_listener_is_told_on_the_error_channel(standing: Server, place: str, port: int) -> None:
    with forwarded(standing, PODS[place], port) as (forward, connection):
        with pytest.raises(ConnectionError):
            asked(connection, "/certs")
        assert "connection refused" in forward.error(port)


def test_an_envoy_can_hang_be_cut_or_babble(standing: Server) -> None:
    with forwarded(standing, PODS["shop/mute"]) as (_, connection):
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            asked(connection, "/certs")
    with (
        forwarded(standing, PODS["shop/dying"]) as (_, connection),
        pytest.raises((http.client.IncompleteRead, ConnectionError)),
    ):
        asked(connection, "/certs")
    with forwarded(standing, PODS["shop/babbling"]) as (_, connection), pytest.raises(json.JSONDecodeError):
        json.loads(asked(connection, "/certs")[1])


@pytest.mark.parametrize(("place", "status"), [("shop/young", 400), ("shop/gone", 404)])
def test_a_pod_that_is_not_there_yet_or_any_more_is_refused(standing: Server, place: str, status: int) -> None:
    with pytest.raises(client.ApiException) as refused, forwarded(standing, PODS.get(place, ("shop", "gone"))):
        pass
    assert refused.value.status in (status, 0)
    assert str(status) in str(refused.value)


@pytest.mark.parametrize("verb", ["get", "create"])
def test_port_forward_can_be_forbidden(server: Server, verb: str) -> None:
    server.forbid(verb, "pods/portforward", namespace="bank")
    with pytest.raises(client.ApiException, match="403 Forbidden"), forwarded(server, PODS["bank/ledger"]):
        pass


def test_what_an_envoy_holds_changes_with_the_description(server: Server) -> None:
    moved = tuple(replace(proxy, holds=(STRANGE,)) if proxy.name == "ledger" else proxy for proxy in MESH.proxies)
    with forwarded(server, PODS["bank/ledger"]) as (_, connection):
        before = json.loads(asked(connection, "/certs")[1])
    server.become(replace(MESH, proxies=moved))
    with forwarded(server, PODS["bank/ledger"]) as (_, connection):
        after = json.loads(asked(connection, "/certs")[1])
    assert before["certificates"][0]["ca_cert"] != after["certificates"][0]["ca_cert"]
    assert before["certificates"][0]["cert_chain"] == after["certificates"][0]["cert_chain"]
