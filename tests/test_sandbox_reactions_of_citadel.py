"""A lively sandbox of the Citadel era, as it was seen on a real Citadel 1.4.10."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asking import connected, kubectl
from reacting import (
    HOME,
    LIVELY,
    ROOT,
    certificates,
    citadel,
    extended,
    injection,
    mesh,
    one,
    pod,
    pods,
    restart,
    stored,
    versions,
    write_root,
)
from sandbox import Account, Authority, Ca, ControlPlane, Namespace, Proxy, Server, serve
from sandbox.issuing import ca_certificate, private_key

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

EXPIRED = Authority(root=replace(ROOT, identifier="none", ends=timedelta(days=-2)))


def workload_secrets(server: Server) -> list[str]:
    listed = (body for body in server.objects("Secret") if body["type"] == "istio.io/key-and-cert")
    return [f"{body['metadata']['namespace']}/{body['metadata']['name']}" for body in listed]


def roots(server: Server) -> list[Certificate]:
    """The root of every workload Secret."""
    return [
        found
        for place in workload_secrets(server)
        for found in stored(server, *place.split("/"), "root-cert.pem")  # type: ignore[call-arg]
    ]


def node_agents(server: Server) -> list[Certificate]:
    return certificates(base64.b64decode(one(server, "ConfigMap", HOME, "istio-security")["data"]["caTLSRootCert"]))


def served(server: Server, namespace: str, name: str) -> int:
    """The serial number of the root in an Envoy of that time, which shows no more of it."""
    shown = json.loads(server.admin(namespace, pod(server, name, namespace), "certs"))
    return int(shown["certificates"][0]["ca_cert"][0]["serial_number"], 16)


def test_a_restarted_citadel_rewrites_the_secrets_one_after_the_other() -> None:
    with serve(citadel(proxies=(Proxy("ledger", "bank"),)), lively=LIVELY) as server:
        new = extended(server.mesh)
        write_root(server, new)
        restart(server, "deploy/istio-citadel")
        server.until(lambda: set(roots(server)) == {new})
        written = [server.history("Secret", *place.split("/"))[1:] for place in workload_secrets(server)]
        leaves = [stored(server, *place.split("/"), "cert-chain.pem") for place in workload_secrets(server)]  # type: ignore[call-arg]
        security = versions(server.history("ConfigMap", HOME, "istio-security"))
    assert [len(one) for one in written] == [1] * len(written)
    assert min(version for one in written for version in versions(one)) > security[-1]
    for leaf, *chain in leaves:
        assert chain == []
        leaf.verify_directly_issued_by(new)


def test_an_old_citadel_ignores_sigterm_and_works_on_for_its_grace() -> None:
    restarted = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}
    with serve(citadel(), lively=LIVELY) as server, connected(server) as ask:
        old, galley = pod(server, "istio-citadel"), pod(server, "istio-galley")
        version = ask("/api/v1/pods").json()["metadata"]["resourceVersion"]
        write_root(server, extended(server.mesh))
        for name in ("istio-citadel", "istio-galley"):
            ask.patch(f"/apis/apps/v1/namespaces/{HOME}/deployments/{name}", restarted)
        server.until(lambda: set(roots(server)) == {extended(server.mesh)})
        told = ask(f"/api/v1/pods?watch=true&timeoutSeconds=1&resourceVersion={version}").data.decode()
        first = min(versions(server.history("Secret", *place.split("/"))[-1:])[0] for place in workload_secrets(server))
    gone = {
        event["object"]["metadata"]["name"]: int(event["object"]["metadata"]["resourceVersion"])
        for event in map(json.loads, told.splitlines())
        if event["type"] == "DELETED"
    }
    assert gone[galley] < gone[old] < first


def test_a_patched_root_alone_changes_nothing_where_all_secrets_agree() -> None:
    with serve(citadel(proxies=(Proxy("ledger", "bank"),)), lively=LIVELY) as server:
        old = ca_certificate(server.mesh.ca.root, server.mesh.now)
        write_root(server, extended(server.mesh))
        time.sleep(120 * LIVELY.pace)  # two resyncs
        assert set(roots(server)) == {old}


def test_one_stale_secret_makes_a_citadel_look_again() -> None:
    with serve(citadel(proxies=(Proxy("ledger", "bank"),)), lively=LIVELY) as server:
        old, new = ca_certificate(server.mesh.ca.root, server.mesh.now), extended(server.mesh)
        write_root(server, new)
        server.change("Secret", "bank", "istio.ledger", {"data": {"root-cert.pem": ""}})
        server.until(lambda: set(roots(server)) == {new})
        assert node_agents(server) == [old]  # only a start and the rotator write it


def test_a_citadel_before_1_2_9_looks_at_its_start_only() -> None:
    with serve(citadel(version="1.2.8", proxies=(Proxy("ledger", "bank"),)), lively=LIVELY) as server:
        old = ca_certificate(server.mesh.ca.root, server.mesh.now)
        write_root(server, extended(server.mesh))
        server.tick()
        server.change("Secret", "bank", "istio.ledger", {"data": {"root-cert.pem": ""}})
        server.until(lambda: len(server.history("Secret", "bank", "istio.ledger")) == 3)
        assert set(roots(server)) == {old}  # put back


def test_the_rotator_of_a_citadel_tells_node_agents() -> None:
    with serve(citadel(), lively=LIVELY) as server:
        write_root(server, extended(server.mesh))
        server.tick()
        assert node_agents(server) == [extended(server.mesh)]


def test_a_namespace_that_is_not_served_stays_stale() -> None:
    left = Namespace("left", labels={"ca.istio.io/override": "false"}, accounts=(Account("old"),))
    with serve(citadel(namespaces=(Namespace("bank"), left)), lively=LIVELY) as server:
        old, new = ca_certificate(server.mesh.ca.root, server.mesh.now), extended(server.mesh)
        write_root(server, new)
        restart(server, "deploy/istio-citadel")
        server.until(lambda: roots(server).count(new) == len(workload_secrets(server)) - 1)
        assert stored(server, "left", "istio.old", "root-cert.pem") == [old]


def test_an_expired_root_ends_a_citadel_until_it_is_extended() -> None:
    described = citadel(ca=EXPIRED, control_planes=(ControlPlane(ready=False),))
    with serve(described, lively=LIVELY) as server:
        name = pod(server, "istio-citadel")

        def state() -> dict[str, object]:
            found: dict[str, object] = pods(server, "istio-citadel")[name]["status"]["containerStatuses"][0]
            return found

        server.until(lambda: int(str(state()["restartCount"])) >= 2)
        assert state()["state"] == {"waiting": {"reason": "CrashLoopBackOff"}}
        write_root(server, extended(described))
        server.until(lambda: state()["ready"])
        server.until(lambda: set(roots(server)) == {extended(described)})
        assert list(pods(server, "istio-citadel")) == [name]


def test_a_citadel_that_finds_no_secret_makes_a_new_key() -> None:
    with serve(citadel(), lively=LIVELY) as server:
        server.delete("Secret", HOME, "istio-ca-secret")
        kubectl(server, "rollout", "restart", "deploy/istio-citadel", "-n", HOME)
        server.until(lambda: server.history("Secret", HOME, "istio-ca-secret")[-1] is not None)
        (made,) = stored(server, HOME, "istio-ca-secret", "ca-cert.pem")
    assert made.public_key() != private_key("root").public_key()


def test_a_plugged_in_citadel_issues_by_its_intermediate() -> None:
    plugged = Authority(secret="cacerts", root=Ca(key="corporate"), chain=(Ca(key="between", subject="O=between"),))
    with serve(citadel(ca=plugged, proxies=(Proxy("ledger", "bank"),)), lively=LIVELY) as server:
        server.change("Secret", "bank", "istio.ledger", {"data": {"root-cert.pem": ""}})
        server.until(lambda: len(server.history("Secret", "bank", "istio.ledger")) == 3)
        leaf, between, *rest = stored(server, "bank", "istio.ledger", "cert-chain.pem")
        assert rest == []
        leaf.verify_directly_issued_by(between)


def test_envoys_take_their_secret_some_time_after_its_change() -> None:
    with serve(citadel(proxies=(Proxy("ledger", "bank"),)), lively=LIVELY) as server:
        new = extended(server.mesh)
        write_root(server, new)
        restart(server, "deploy/istio-citadel")
        server.until(lambda: served(server, "bank", "ledger") == new.serial_number)
        server.until(lambda: served(server, HOME, "istio-pilot") == new.serial_number)


def test_agents_that_miss_the_change_take_it_with_a_new_pod() -> None:
    proxies = (Proxy("deaf", "bank", version="1.1.5"), Proxy("ledger", "bank"))
    with serve(citadel(version="1.1.17", proxies=proxies), lively=LIVELY) as server:
        old, new = ca_certificate(server.mesh.ca.root, server.mesh.now), extended(server.mesh)
        write_root(server, new)
        restart(server, "deploy/istio-citadel")
        server.until(lambda: served(server, "bank", "ledger") == new.serial_number)
        server.until(lambda: set(roots(server)) == {new})
        time.sleep(75 * LIVELY.pace)  # kubelet and agent
        assert served(server, "bank", "deaf") == old.serial_number
        restart(server, "deploy/deaf", "bank")
        server.until(lambda: len(pods(server, "deaf", "bank")) == 1)
        assert served(server, "bank", "deaf") == new.serial_number


@pytest.mark.parametrize(("version", "reloads"), [("1.1.8", True), ("1.1.7", False)])
def test_the_injector_tells_its_webhook(version: str, reloads: bool) -> None:
    with serve(citadel(version=version), lively=LIVELY) as server:
        new = extended(server.mesh)
        write_root(server, new)
        restart(server, "deploy/istio-citadel")
        server.until(lambda: set(roots(server)) == {new})
        if not reloads:
            time.sleep(65 * LIVELY.pace)  # kubelet
            assert injection(server) != [new]
            restart(server, "deploy/istio-sidecar-injector")
        server.until(lambda: injection(server) == [new])


# What stands beside a Citadel


def test_the_parts_of_a_control_plane_are_those_of_the_chart() -> None:
    deployed = {
        body["metadata"]["name"]: [one["name"] for one in body["spec"]["template"]["spec"]["containers"]]
        for body in citadel().objects()
        if body["kind"] == "Deployment"
    }
    assert deployed == {
        "istio-citadel": ["citadel"],
        "istio-galley": ["galley"],
        "istio-pilot": ["discovery", "istio-proxy"],
        "istio-sidecar-injector": ["sidecar-injector-webhook"],
    }


def test_parts_can_be_left_out_and_pilot_stand_alone() -> None:
    def containers(**parts: object) -> dict[str, list[str]]:
        return {
            body["metadata"]["labels"]["istio"]: [one["name"] for one in body["spec"]["containers"]]
            for body in citadel(**parts).objects()
            if body["kind"] == "Pod"
        }

    assert containers(parts=()) == {"citadel": ["citadel"]}
    assert containers(parts=("pilot",), pilot_proxy=False) == {"citadel": ["citadel"], "pilot": ["discovery"]}
    assert containers(version="1.0.9", parts=("galley",))["galley"] == ["validator"]


def test_an_istiod_has_none_of_them() -> None:
    deployed = [body["metadata"]["name"] for body in mesh().objects() if body["kind"] == "Deployment"]
    assert deployed == ["istiod"]
