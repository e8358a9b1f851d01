"""The workloads that have a proxy, as the charts and the injector write them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sandbox import building, control_planes, shapes
from sandbox.workloads import PodShape, Workload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.mesh import Mesh, Proxy
    from sandbox.shapes import Body

_NO_INJECTION = {"sidecar.istio.io/inject": "false"}
_IPTABLES = ("istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-b", "*")
_VOLUMES = ["workload-socket", "istio-envoy", "istio-data", "istio-podinfo", "istio-token", "istiod-ca-cert"]


def workload(mesh: Mesh, group: list[Proxy]) -> Workload:
    """Give the Deployment or DaemonSet of proxies that share namespace and name."""
    first = group[0]
    pods = tuple((_pod(mesh, proxy), mesh.now + proxy.started) for proxy in group)
    standalone = first.kind in ("gateway", "waypoint", "ztunnel", "agentgateway", "pilot")
    template = pods[0][0] if standalone else _app(first)
    return Workload(
        kind="DaemonSet" if first.kind == "ztunnel" else "Deployment",
        name=first.name,
        namespace=first.namespace,
        labels={"app": template.labels["app"]},
        selector={"app": template.labels["app"]},
        template=template,
        pods=pods,
        created=mesh.now + min(proxy.started for proxy in group),
    )


def _app(proxy: Proxy) -> PodShape:
    return PodShape(
        containers=(shapes.container("app", f"registry.local/{proxy.name}:1"),),
        labels={"app": proxy.name},
        account=proxy.account or proxy.name,
    )


def _pod(mesh: Mesh, proxy: Proxy) -> PodShape:
    shape = {
        "sidecar": _sidecar,
        "native": _sidecar,
        "proxyless": _sidecar,
        "gateway": _gateway,
        "waypoint": _waypoint,
        "agentgateway": _waypoint,
        "ztunnel": _ztunnel,
        "pilot": _pilot,
    }[proxy.kind](mesh, proxy)
    account = proxy.account or proxy.name
    return replace(shape, phase=proxy.phase, ready=proxy.ready, account=account, node=proxy.node, ending=proxy.ending)


def _sidecar(mesh: Mesh, proxy: Proxy) -> PodShape:
    init = shapes.container("istio-init", proxy_image(mesh, proxy), args=_IPTABLES)
    envoy = _agent(mesh, proxy, "sidecar")
    plain = _app(proxy)
    native = proxy.kind == "native"
    annotations = {"sidecar.istio.io/status": _injection_status(mesh, proxy, native=native)}
    if mesh.era == "citadel":
        return replace(
            plain,
            containers=(*plain.containers, envoy),
            init_containers=(init,),
            labels={**plain.labels, "security.istio.io/tlsMode": "istio"},
            annotations=annotations,
            volumes=mounted_certificates(proxy),
        )
    if proxy.kind == "proxyless":
        annotations["inject.istio.io/templates"] = "grpc-agent"
    return replace(
        plain,
        containers=plain.containers if native else (*plain.containers, envoy),
        init_containers=(init, {**envoy, "restartPolicy": "Always"}) if native else (init,),
        labels={**plain.labels, "security.istio.io/tlsMode": "istio", "service.istio.io/canonical-name": proxy.name},
        annotations={**annotations, "istio.io/rev": proxy.revision},
        volumes=_root_volume(),
    )


def _gateway(mesh: Mesh, proxy: Proxy) -> PodShape:
    labels = {"app": proxy.name, "istio": proxy.name.removeprefix("istio-")}
    annotations = dict(_NO_INJECTION)
    volumes = mounted_certificates(proxy)
    if mesh.era != "citadel":
        labels |= {"service.istio.io/canonical-name": proxy.name, "istio.io/rev": proxy.revision} | _NO_INJECTION
        annotations["istio.io/rev"] = proxy.revision
        volumes = _root_volume()
    return PodShape(
        containers=(_agent(mesh, proxy, "router"),), labels=labels, annotations=annotations, volumes=volumes
    )


def _waypoint(mesh: Mesh, proxy: Proxy) -> PodShape:
    labels = {
        "app": proxy.name,
        "gateway.networking.k8s.io/gateway-name": proxy.name,
        "gateway.networking.k8s.io/gateway-class-name": f"istio-{proxy.kind}",
        "gateway.istio.io/managed": "istio.io-mesh-controller",
        "service.istio.io/canonical-name": proxy.name,
        **_NO_INJECTION,
    }
    envoy = _agent(mesh, proxy, "waypoint")
    if proxy.kind == "agentgateway":
        image = proxy.image or f"{mesh.hub}/agentgateway:{proxy.version or mesh.version}"
        envoy = shapes.container("agentgateway", image)
    return PodShape(
        containers=(envoy,), labels=labels, annotations={"istio.io/rev": proxy.revision}, volumes=_root_volume()
    )


def _pilot(mesh: Mesh, proxy: Proxy) -> PodShape:
    """Pilot of the Citadel era (2/2): its Envoy speaks TLS for it."""
    alone = control_planes.pilot(mesh, proxy.version or mesh.version)
    return replace(alone, containers=(*alone.containers, _agent(mesh, proxy, "")), volumes=mounted_certificates(proxy))


def _ztunnel(mesh: Mesh, proxy: Proxy) -> PodShape:
    env: Mapping[str, Any] = {
        "CA_ADDRESS": f"istiod.{mesh.home}.svc:15012",
        "XDS_ADDRESS": f"istiod.{mesh.home}.svc:15012",
        "POD_NAME": shapes.field_ref("metadata.name"),
        "ISTIO_META_ENABLE_HBONE": "true",
    }
    return PodShape(
        containers=(shapes.container("istio-proxy", proxy_image(mesh, proxy), args=("proxy", "ztunnel"), env=env),),
        labels={
            "app": "ztunnel",
            "app.kubernetes.io/name": "ztunnel",
            "istio.io/dataplane-mode": "none",
            **_NO_INJECTION,
        },
        annotations={"prometheus.io/port": "15020", "prometheus.io/scrape": "true", **_NO_INJECTION},
        volumes=_root_volume(),
    )


def proxy_image(mesh: Mesh, proxy: Proxy) -> str:
    if proxy.image:
        return proxy.image
    version = proxy.version or mesh.version
    return f"{mesh.hub}/ztunnel:{version}-distroless" if proxy.kind == "ztunnel" else f"{mesh.hub}/proxyv2:{version}"


def _agent(mesh: Mesh, proxy: Proxy, role: str) -> Body:
    env: dict[str, Any] = {
        "POD_NAME": shapes.field_ref("metadata.name"),
        "POD_NAMESPACE": shapes.field_ref("metadata.namespace"),
        "SERVICE_ACCOUNT": shapes.field_ref("spec.serviceAccountName"),
    }
    if mesh.era != "citadel":
        env |= {"PILOT_CERT_PROVIDER": "istiod", "CA_ADDR": f"istiod.{mesh.home}.svc:15012"}
        env |= {"TRUST_DOMAIN": mesh.trust_domain, "ISTIO_META_MESH_ID": mesh.trust_domain}
        env |= {"ISTIO_META_CLUSTER_ID": "Kubernetes", "ISTIO_META_WORKLOAD_NAME": proxy.name}
    name = "istio-proxy"
    if proxy.kind == "gateway" and building.release(mesh.version) < (1, 1):
        name = proxy.name.removeprefix("istio-")  # 1.0 named the container after the gateway
    roles = (role,) if role else ()  # Pilot's has none
    args: tuple[str, ...] = ("proxy", *roles, "--domain", "$(POD_NAMESPACE).svc.cluster.local")
    args += ("--proxyLogLevel=warning",) if role else ("--serviceCluster", "istio-pilot")
    if mesh.era == "citadel":
        port, policy = (15011, "MUTUAL_TLS") if mesh.control_plane_security else (15010, "NONE")
        args += ("--discoveryAddress", f"istio-pilot.{mesh.home}:{port}") if role else ()
        args += ("--controlPlaneAuthPolicy", policy)
    return shapes.container(name, proxy_image(mesh, proxy), args=args, env=env)


def _injection_status(mesh: Mesh, proxy: Proxy, *, native: bool) -> str:
    status: dict[str, Any] = {
        "initContainers": ["istio-init", "istio-proxy"] if native else ["istio-init"],
        "containers": None if native else ["istio-proxy"],
        "volumes": _VOLUMES if mesh.era != "citadel" else ["istio-envoy", "istio-certs"],
        "imagePullSecrets": None,
    }
    minor = building.release(mesh.version)
    if minor < (1, 9):
        status = {"version": "887285bb7fa76191bf7f637f283183f0ba057323b078d44c3db45978346cbc1a"} | status
    if minor >= (1, 11):
        status["revision"] = proxy.revision
    return json.dumps(status, separators=(",", ":"))


def _root_volume() -> tuple[Body, ...]:
    return ({"name": "istiod-ca-cert", "configMap": {"name": "istio-ca-root-cert", "defaultMode": 420}},)


def mounted_certificates(proxy: Proxy) -> tuple[Body, ...]:
    secret = {"secretName": f"istio.{proxy.account or proxy.name}", "optional": True, "defaultMode": 420}
    return ({"name": "istio-certs", "secret": secret},)
