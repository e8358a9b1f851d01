"""What runs in the mesh: three workloads, a pod outside of it, and the rules that make each request a handshake."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GATEWAY = "istio-ingressgateway"
HOME = "istio-system"
OUTSIDE = "plain"
_NATIVE_SIDECAR = "sidecar.istio.io/nativeSidecar"
_PROXY_CONFIG = "proxy.istio.io/config"


@dataclass(frozen=True, slots=True)
class Workload:
    """One Deployment of one pod behind a Service.

    leaf: how long its certificate lives; after half of it, it takes a new root along
    image: what its proxy runs, where that is not the injector's
    revision: whose it is, in a namespace that names none
    replicas: pods; user: as whom their classic sidecars run, where there are many: each has three inotify instances,
        and a user has 128
    """

    name: str
    namespace: str
    native: bool = True
    leaf: str = ""
    image: str = ""
    revision: str = ""
    replicas: int = 1
    user: int = 0

    @property
    def deployment(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def host(self) -> str:
        return f"{self.name}.{self.namespace}.svc.cluster.local"


WORKLOADS = (Workload("web", "shop"), Workload("cart", "shop"), Workload("ledger", "bank", native=False))


def manifests() -> Iterator[Mapping[str, Any]]:
    for namespace in dict.fromkeys(workload.namespace for workload in WORKLOADS):
        yield _object("v1", "Namespace", namespace, labels={"istio-injection": "enabled"})
    yield _object("v1", "Namespace", OUTSIDE)
    yield _strict()
    yield _fresh_handshakes()
    yield _gateway()
    for workload in WORKLOADS:
        yield from described(workload)
        yield _route(workload)
    yield _deployment(Workload("stranger", OUTSIDE), account="default")


def described(workload: Workload) -> Iterator[Mapping[str, Any]]:
    yield _object("v1", "ServiceAccount", workload.name, workload.namespace)
    yield _service(workload)
    yield _deployment(workload)


def _object(version: str, kind: str, name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
    labels = {"labels": more.pop("labels")} if "labels" in more else {}
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **labels}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


def _strict() -> Mapping[str, Any]:
    return _object("security.istio.io/v1", "PeerAuthentication", "default", HOME, spec={"mtls": {"mode": "STRICT"}})


def _fresh_handshakes() -> Mapping[str, Any]:
    """One request per connection: an old connection would hide a broken root."""
    policy = {"tls": {"mode": "ISTIO_MUTUAL"}, "connectionPool": {"http": {"maxRequestsPerConnection": 1}}}
    spec = {"host": "*.svc.cluster.local", "exportTo": ["*"], "trafficPolicy": policy}
    return _object("networking.istio.io/v1", "DestinationRule", "fresh-handshake", HOME, spec=spec)


def _gateway() -> Mapping[str, Any]:
    server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    spec = {"selector": {"istio": "ingressgateway"}, "servers": [server]}
    return _object("networking.istio.io/v1", "Gateway", "front", HOME, spec=spec)


def _route(workload: Workload) -> Mapping[str, Any]:
    """From the gateway to a workload, by its name as Host."""
    spec = {
        "hosts": [f"{workload.name}.example"],
        "gateways": [f"{HOME}/front"],
        "http": [{"route": [{"destination": {"host": workload.host}}]}],
    }
    return _object("networking.istio.io/v1", "VirtualService", workload.name, workload.namespace, spec=spec)


def _service(workload: Workload) -> Mapping[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    spec = {"selector": {"app": workload.name}, "ports": ports}
    return _object("v1", "Service", workload.name, workload.namespace, spec=spec)


def _deployment(workload: Workload, account: str = "") -> Mapping[str, Any]:
    labels = {"app": workload.name}
    container = {
        "name": "app",
        "image": "local/app:1",
        "imagePullPolicy": "Never",
        "ports": [{"containerPort": 8080}],
    }
    pod = {
        "serviceAccountName": account or workload.name,
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
    }
    annotations = {_NATIVE_SIDECAR: "true" if workload.native else "false"}
    if workload.leaf:
        annotations[_PROXY_CONFIG] = json.dumps({"proxyMetadata": {"SECRET_TTL": workload.leaf}})
    if workload.image:
        annotations["sidecar.istio.io/proxyImage"] = workload.image
    if workload.user:
        pod["containers"] = [container, _as_user(workload.user)]
    revision = {"istio.io/rev": workload.revision} if workload.revision else {}
    template = {"metadata": {"labels": labels | revision, "annotations": annotations}, "spec": pod}
    spec = {"replicas": workload.replicas, "selector": {"matchLabels": labels}, "template": template}
    return _object("apps/v1", "Deployment", workload.name, workload.namespace, spec=spec)


def _as_user(user: int) -> Mapping[str, Any]:
    """What the injector merges into its sidecar: by its group its traffic is still its own."""
    security = {"runAsUser": user}
    return {"name": "istio-proxy", "image": "auto", "imagePullPolicy": "Never", "securityContext": security}
