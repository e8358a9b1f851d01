"""Finding every proxy in the pods: once, with its kind, its owner, and all that its pod tells of it."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from meshes import istiod
from meshtrust.cluster import Cluster, Connection
from meshtrust.errors import Unreachable
from meshtrust.manifests import Recording
from meshtrust.mesh import Proxy, RevisionFrom, Sight, control_planes_of, read_proxies
from meshtrust.mesh.look import Look
from meshtrust.objects import Ref
from proxy_meshes import ALL_OF_CITADEL, CASES
from sandbox import Proxy as Described
from sandbox.faults import Answer, Reset
from sandbox.server import serve
from test_proxy_images import pod, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sandbox import Mesh, Server


def recorded(mesh: Mesh, folder: Path, **asked: str) -> tuple[Proxy, ...]:
    return read_proxies(Look(Recording.read([str(mesh.dump(folder / "mesh.yaml"))], io.BytesIO())), **asked)


def live(server: Server, **asked: str) -> tuple[tuple[Proxy, ...], Look]:
    with Cluster(Connection(kubeconfig=str(server.kubeconfig))) as cluster:
        look = Look(cluster)
        return read_proxies(look, **asked), look


def named(proxies: tuple[Proxy, ...]) -> Counter[str]:
    return Counter(f"{one.owner.name}/{one.container}: {one.kind}" for one in proxies)


@pytest.mark.parametrize("name", ["all-of-istiod", "all-of-citadel", "all-of-citadel-1.0"])
def test_a_recording_and_a_server_give_the_same_proxies(name: str, tmp_path: Path) -> None:
    mesh = CASES[name].mesh
    with serve(mesh) as server:
        found, look = live(server)
        assert (found, look.gaps) == (recorded(mesh, tmp_path), [])


def test_every_proxy_of_an_istiod_mesh_is_found_once(tmp_path: Path) -> None:
    found = recorded(CASES["all-of-istiod"].mesh, tmp_path)
    assert named(found) == {
        "istiod/discovery: control-plane": 1,
        "ledger/istio-proxy: sidecar": 1,
        "vault/istio-proxy: sidecar": 1,
        "web/istio-proxy: sidecar": 2,
        "lean/istio-proxy: proxyless": 1,
        "istio-ingressgateway/istio-proxy: gateway": 1,
        "shop-gate/istio-proxy: waypoint": 1,
        "agent-gate/agentgateway: agentgateway": 1,
        "ztunnel/istio-proxy: ztunnel": 1,
        "young/istio-proxy: sidecar": 1,
    }
    assert [one.owner.name for one in found if one.native] == ["vault"]
    assert [(one.owner.name, one.idle) for one in found if not one.running] == [("young", "ContainerCreating")]


@pytest.mark.parametrize(
    ("version", "gateway", "galley"), [("1.4.10", "istio-proxy", "galley"), ("1.0.9", "ingressgateway", "validator")]
)
def test_every_proxy_of_a_citadel_mesh_is_found_once(version: str, gateway: str, galley: str, tmp_path: Path) -> None:
    name = "all-of-citadel" if version == "1.4.10" else "all-of-citadel-1.0"
    found = recorded(CASES[name].mesh, tmp_path)
    assert named(found) == {
        "istio-citadel/citadel: control-plane": 1,
        "istio-pilot/discovery: control-plane": 1,
        "istio-pilot/istio-proxy: sidecar": 1,
        f"istio-galley/{galley}: control-plane": 1,
        "istio-sidecar-injector/sidecar-injector-webhook: control-plane": 1,
        "ledger/istio-proxy: sidecar": 1,
        "web/istio-proxy: sidecar": 1,
        f"istio-ingressgateway/{gateway}: gateway": 1,
    }
    mounted = {one.owner.name: one.mounted for one in found if one.mounted}
    parts = {f"istio-{part}": f"istio.istio-{part}-service-account" for part in ("pilot", "galley", "sidecar-injector")}
    assert mounted == {one.name: f"istio.{one.name}" for one in ALL_OF_CITADEL} | parts
    assert {one.home for one in found} == {"istio-system"}


@pytest.mark.parametrize(
    ("owners", "labels", "owner"),
    [
        ([("ReplicaSet", "web-5f7c")], {"pod-template-hash": "5f7c"}, Ref("Deployment", "bank", "web")),
        ([("ReplicaSet", "web-5f7c")], {"rollouts-pod-template-hash": "5f7c"}, Ref("Rollout", "bank", "web")),
        ([("ReplicaSet", "web-5f7c")], {}, Ref("ReplicaSet", "bank", "web-5f7c")),
        ([("ReplicaSet", "web")], {"pod-template-hash": "5f7c"}, Ref("ReplicaSet", "bank", "web")),
        ([("ReplicationController", "web-3")], {"deploymentconfig": "web"}, Ref("DeploymentConfig", "bank", "web")),
        ([("ReplicationController", "web-3")], {}, Ref("ReplicationController", "bank", "web-3")),
        ([("StatefulSet", "web")], {}, Ref("StatefulSet", "bank", "web")),
        ([("DaemonSet", "web")], {}, Ref("DaemonSet", "bank", "web")),
        ([("Job", "web-29")], {}, Ref("Job", "bank", "web-29")),
        ([("Strange", "")], {}, Ref("Pod", "bank", "one")),
        ([], {}, Ref("Pod", "bank", "one")),
        (None, {}, Ref("Pod", "bank", "one")),
    ],
)
def test_the_owner_is_what_to_restart(
    owners: list[tuple[str, str]] | None, labels: Mapping[str, str], owner: Ref, tmp_path: Path
) -> None:
    references = owners and [{"kind": kind, "name": name, "controller": True} for kind, name in owners]
    (found,) = read(
        tmp_path, pod("sidecar", "istio/proxyv2:1.29.2", metadata={"labels": labels, "ownerReferences": references})
    )
    assert found.owner == owner


REV, STATUS, CONFIG = "istio.io/rev", "sidecar.istio.io/status", "proxy.istio.io/config"


@pytest.mark.parametrize(
    ("annotations", "labels", "address", "revision", "told_by"),
    [
        ({REV: "canary"}, {REV: "prod-tag"}, "", "canary", RevisionFrom.ANNOTATION),
        ({STATUS: '{"initContainers":["istio-init"],"revision":"canary"}'}, {}, "", "canary", RevisionFrom.INJECTION),
        ({STATUS: '{"version":"887285","containers":["istio-proxy"]}'}, {}, "", "", RevisionFrom.NOBODY),
        ({STATUS: "this is no JSON"}, {REV: "canary"}, "", "canary", RevisionFrom.LABEL),
        ({}, {}, "istiod-canary.istio-system.svc:15012", "canary", RevisionFrom.ADDRESS),
        ({}, {}, "istiod.istio-system.svc:15012", "", RevisionFrom.NOBODY),
        (None, {}, "", "", RevisionFrom.NOBODY),
    ],
)
def test_the_revision_is_what_the_injector_wrote(
    annotations: Mapping[str, str] | None,
    labels: Mapping[str, str],
    address: str,
    revision: str,
    told_by: RevisionFrom,
    tmp_path: Path,
) -> None:
    body = pod("sidecar", "istio/proxyv2:1.29.2", metadata={"labels": labels, "annotations": annotations})
    body["spec"]["containers"][0]["env"] = [{"name": "CA_ADDR", "value": address}]
    (found,) = read(tmp_path, body)
    assert (found.revision, found.revision_from) == (revision, told_by)


def test_a_proxy_belongs_to_the_control_plane_of_its_home_and_revision(tmp_path: Path) -> None:
    def plane(name: str, namespace: str, revision: str) -> dict[str, Any]:
        labels = {"app": "istiod"} | ({REV: revision} if revision else {})
        return pod("istiod", "istio/pilot:1.29.2", metadata={"name": name, "namespace": namespace, "labels": labels})

    planes = read(
        tmp_path,
        plane("a", "istio-system", ""),
        plane("b", "istio-system", "canary"),
        plane("c", "istio-two", "canary"),
    )

    def belongs(address: str, revision: str) -> list[str]:
        body = pod("sidecar", "istio/proxyv2:1.29.2", metadata={"annotations": {REV: revision} if revision else {}})
        body["spec"]["containers"][0]["env"] = [{"name": "CA_ADDR", "value": address}]
        (found,) = read(tmp_path, body)
        return [one.ref.name for one in control_planes_of(found, planes)]

    assert belongs("istiod.istio-system.svc:15012", "default") == ["a"]
    assert belongs("istiod.istio-system.svc:15012", "") == ["a", "b"]
    assert belongs("istiod.istio-two.svc:15012", "") == ["c"]
    assert belongs("", "canary") == ["b", "c"]
    assert belongs("istiod.istio-two.svc:15012", "default") == []
    assert belongs("csr.cert-manager.svc:443", "canary") == ["b", "c"]


@pytest.mark.parametrize(
    ("change", "port"),
    [
        ({}, 15000),
        ({"args": ["proxy", "sidecar", "--proxyAdminPort", "15001"]}, 15001),
        ({"args": ["proxy", "sidecar", "--proxyAdminPort=15002"]}, 15002),
        ({"env": [{"name": "PROXY_CONFIG", "value": '{"proxyAdminPort":15003}\n'}]}, 15003),
        ({"env": [{"name": "PROXY_CONFIG", "value": "{}"}, {"name": "ADMIN_ADDR", "value": "localhost:15004"}]}, 15004),
        (
            {"env": [{"name": "PROXY_CONFIG"}, {"name": "CA_ADDR", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]},
            15000,
        ),
        ({"args": ["proxy", "sidecar", "--proxyAdminPort"]}, 15000),
        ({"args": None, "env": None}, 15000),
    ],
)
def test_the_admin_port_is_where_it_was_put(change: Mapping[str, Any], port: int, tmp_path: Path) -> None:
    (found,) = read(tmp_path, pod("sidecar", "istio/proxyv2:1.29.2", container=change))
    assert found.admin_port == port


@pytest.mark.parametrize(
    "text", ["proxyAdminPort: 15005\nconcurrency: 2\n", '{"proxyAdminPort": "15005"}', "{proxyAdminPort: 15005}"]
)
def test_the_admin_port_of_an_annotation_is_read_in_yaml_and_json(text: str, tmp_path: Path) -> None:
    (found,) = read(tmp_path, pod("sidecar", "istio/proxyv2:1.29.2", metadata={"annotations": {CONFIG: text}}))
    assert found.admin_port == 15005


@pytest.mark.parametrize(
    ("env", "volume", "signer"),
    [
        ({}, {"name": "workload-socket", "emptyDir": {}}, ""),
        ({"CA_ADDR": "istiod.istio-system.svc:15012"}, {}, ""),
        ({"CA_ADDR": "istio-citadel:8060"}, {}, ""),
        ({"CA_ADDR": "https://istiod-1-29.istio-system.svc:15012"}, {}, ""),
        ({"CA_ADDRESS": "csr.cert-manager.svc:443"}, {}, "csr.cert-manager.svc:443"),
        ({"CA_ADDR": "meshca.googleapis.com:443"}, {}, "meshca.googleapis.com:443"),
        ({"FILE_MOUNTED_CERTS": "true"}, {}, "FILE_MOUNTED_CERTS"),
        ({"FILE_MOUNTED_CERTS": "false"}, {}, ""),
        ({}, {"name": "workload-socket", "csi": {"driver": "csi.spiffe.io"}}, "SPIRE (csi.spiffe.io)"),
        ({}, {"name": "workload-socket", "hostPath": {"path": "/run/spire/sockets"}}, "SPIRE (/run/spire/sockets)"),
        ({}, {"name": "data", "hostPath": {"path": "/srv"}}, ""),
        (
            {},
            {"name": "gke-workload-certificate", "csi": {"driver": "workloadcertificates.security.cloud.google.com"}},
            "Google (workloadcertificates.security.cloud.google.com)",
        ),
    ],
)
def test_another_signer_is_named(
    env: Mapping[str, str], volume: Mapping[str, Any], signer: str, tmp_path: Path
) -> None:
    body = pod("sidecar", "istio/proxyv2:1.29.2")
    body["spec"]["containers"][0]["env"] = [{"name": name, "value": value} for name, value in env.items()]
    body["spec"]["volumes"] = [volume] if volume else None
    (found,) = read(tmp_path, body)
    assert found.signer == signer


def statuses(**state: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "istio-proxy", "image": "x", "state": state}]}


@pytest.mark.parametrize(
    ("status", "idle"),
    [
        (statuses(running={"startedAt": "2026-11-24T08:00:00Z"}), ""),
        (statuses(running={}), ""),
        ({}, ""),
        (statuses(waiting={"reason": "CrashLoopBackOff"}), "CrashLoopBackOff"),
        (statuses(terminated={"reason": "OOMKilled"}), "OOMKilled"),
        ({"phase": "Pending"} | statuses(waiting={"reason": "ImagePullBackOff"}), "ImagePullBackOff"),
        ({"phase": "Pending"}, "Pending"),
        ({"phase": "Unknown"}, "Unknown"),
        ({"phase": ""}, "its status is not known"),
    ],
)
def test_why_a_proxy_does_not_run_is_said(status: Mapping[str, Any], idle: str, tmp_path: Path) -> None:
    (found,) = read(tmp_path, pod("sidecar", "istio/proxyv2:1.29.2", status=status))
    assert (found.idle, found.running) == (idle, not idle)


def test_a_native_sidecar_has_its_state_among_the_init_containers(tmp_path: Path) -> None:
    body = pod(
        "app",
        "registry.local/app:1",
        status={
            "initContainerStatuses": [{"name": "istio-proxy", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
        },
    )
    body["spec"]["initContainers"] = [
        {"name": "istio-proxy", "image": "istio/proxyv2:1.29.2", "restartPolicy": "Always"}
    ]
    (found,) = read(tmp_path, body)
    assert (found.native, found.idle) == (True, "CrashLoopBackOff")


@pytest.mark.parametrize("lacking", ["status", "spec", "labels", "container name"])
def test_a_pod_that_lacks_a_part_is_read_as_far_as_it_goes(lacking: str, tmp_path: Path) -> None:
    body = pod("sidecar", "istio/proxyv2:1.29.2")
    if lacking == "labels":
        body["metadata"]["labels"] = None
    elif lacking == "container name":
        del body["spec"]["containers"][0]["name"]
    else:
        del body[lacking]
    found = read(tmp_path, body)
    assert [one.idle for one in found] == {"status": ["its status is not known"], "labels": [""]}.get(lacking, [])


def test_a_pod_in_another_shape_is_a_gap(tmp_path: Path) -> None:
    file = tmp_path / "pods.json"
    body = pod("sidecar", "istio/proxyv2:1.29.2") | {"spec": {"containers": {"name": "istio-proxy"}}}
    file.write_text(json.dumps(body))
    look = Look(Recording.read([str(file)], io.BytesIO()))
    assert read_proxies(look) == ()
    assert [(gap.ref, gap.sight) for gap in look.gaps] == [(Ref("Pod", "bank", "one"), Sight.PROXIES)]


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(CASES["all-of-istiod"].mesh) as running:
        yield running


def test_where_the_whole_list_is_refused_each_namespace_is_asked(server: Server) -> None:
    whole, _ = live(server)
    server.forbid("list", "pods", namespace="")
    found, look = live(server)
    assert (sorted(one.ref for one in found), look.gaps) == (sorted(one.ref for one in whole), [])
    assert len(look.remarks) == 1
    assert "namespaces was asked for itself" in look.remarks[0]


def test_a_namespace_that_may_not_be_listed_is_named(server: Server) -> None:
    server.forbid("list", "pods", namespace="")
    server.forbid("list", "pods", namespace="bank")
    found, look = live(server)
    assert {one.ref.namespace for one in found} == {"istio-system", "shop"}
    assert [(gap.ref, gap.sight) for gap in look.gaps] == [(Ref("Pod", "bank", "*"), Sight.PROXIES)]
    assert 'namespace "bank"' in look.gaps[0].why


def test_without_a_list_of_namespaces_the_usual_homes_are_asked(server: Server) -> None:
    server.forbid("list", "pods", namespace="")
    server.forbid("list", "namespaces")
    found, look = live(server)
    assert {one.ref.namespace for one in found} == {"istio-system"}
    assert [gap.ref for gap in look.gaps] == [Ref("Pod", "", "*")]


def test_one_namespace_is_asked_alone(server: Server) -> None:
    server.forbid("list", "pods", namespace="")
    found, look = live(server, namespace="bank")
    assert ({one.ref.namespace for one in found}, look.gaps) == ({"bank"}, [])
    server.forbid("list", "pods", namespace="bank")
    found, look = live(server, namespace="bank")
    assert (found, [gap.ref for gap in look.gaps]) == ((), [Ref("Pod", "bank", "*")])


def test_a_server_that_is_not_reached_is_no_empty_mesh(server: Server) -> None:
    server.faults.add(Reset(), path="*/pods")
    with pytest.raises(Unreachable):
        live(server)


def test_a_list_that_breaks_off_is_a_gap() -> None:
    with serve(istiod(proxies=(Described("web", "shop"),) * 510)) as server:
        server.faults.add(Answer(403), path="*/pods", query={"continue": "?*"})
        found, look = live(server)
        assert (len(found), [gap.ref for gap in look.gaps]) == (500, [Ref("Pod", "", "*")])
