"""The workloads of a control plane as the charts of its time write them: istiod, or Citadel and what is beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sandbox import building, shapes
from sandbox.workloads import PodShape, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox.mesh import ControlPlane, Mesh

_NO_INJECTION = {"sidecar.istio.io/inject": "false"}
_DAY = timedelta(days=-1)  # the age of what stands beside a Citadel


def workload(mesh: Mesh, control_plane: ControlPlane) -> Workload:
    shape = _citadel(mesh, control_plane) if mesh.era == "citadel" else _istiod(mesh, control_plane)
    suffix = "" if control_plane.revision in ("", "default") else f"-{control_plane.revision}"
    running = replace(shape, ready=control_plane.ready)
    return Workload(
        kind="Deployment",
        name="istio-citadel" if mesh.era == "citadel" else f"istiod{suffix}",
        namespace=mesh.home,
        labels=shape.labels,
        selector={key: shape.labels[key] for key in ("app", "istio", "istio.io/rev") if key in shape.labels},
        template=shape,
        pods=((running, mesh.now + control_plane.started),) * control_plane.replicas,
        created=mesh.now + mesh.ca.created,
    )


def places(mesh: Mesh) -> Iterator[tuple[str, str]]:
    """Give namespace and name of each pod of an istiod or a Citadel, as they are described."""
    for control_plane in mesh.control_planes:
        described = workload(mesh, control_plane)
        yield from ((mesh.home, described.pod_name(ordinal)) for ordinal in range(control_plane.replicas))


def parts(mesh: Mesh) -> Iterator[Workload]:
    """Give what is described to stand beside a Citadel; a Pilot with a proxy is one of the proxies."""
    if mesh.era != "citadel":
        return
    shapes_of: dict[str, Callable[[Mesh], PodShape]] = {"galley": _galley, "sidecar-injector": _injector}
    if not mesh.pilot_proxy:
        shapes_of["pilot"] = lambda of: pilot(of, of.version)
    for name in mesh.parts:
        if name in shapes_of:
            shape = shapes_of[name](mesh)
            created = mesh.now + mesh.ca.created
            yield Workload(
                kind="Deployment",
                name=f"istio-{name}",
                namespace=mesh.home,
                labels=shape.labels,
                selector={"istio": name},
                template=shape,
                pods=((shape, mesh.now + _DAY),),
                created=created,
            )


def accounts(mesh: Mesh) -> tuple[str, ...]:
    """The ServiceAccounts of the control plane that a Citadel serves."""
    return tuple(f"istio-{name}-service-account" for name in ("citadel", *mesh.parts))


def pilot(mesh: Mesh, version: str) -> PodShape:
    args = ["discovery", "--monitoringAddr=:15014", "--domain", "cluster.local"]
    args += [] if mesh.control_plane_security else ["--secureGrpcAddr", ""]
    return PodShape(
        containers=(shapes.container("discovery", f"{mesh.hub}/pilot:{version}", args=args),),
        labels={"app": "pilot", "istio": "pilot"},
        annotations=_NO_INJECTION,
        account="istio-pilot-service-account",
        volumes=(_certificates("pilot"),),
    )


def _galley(mesh: Mesh) -> PodShape:
    insecure = str(not mesh.control_plane_security).lower()
    args = ("server", "--meshConfigFile=/etc/mesh-config/mesh", f"--insecure={insecure}", "--monitoringPort=15014")
    name = "validator" if building.release(mesh.version) < (1, 1) else "galley"
    return PodShape(
        containers=(shapes.container(name, f"{mesh.hub}/galley:{mesh.version}", args=args),),
        labels={"app": "galley", "istio": "galley"},
        annotations=_NO_INJECTION,
        account="istio-galley-service-account",
        volumes=(_certificates("galley"),),
    )


def _injector(mesh: Mesh) -> PodShape:
    args = (
        "--caCertFile=/etc/istio/certs/root-cert.pem",
        "--tlsCertFile=/etc/istio/certs/cert-chain.pem",
        "--tlsKeyFile=/etc/istio/certs/key.pem",
    )
    image = f"{mesh.hub}/sidecar_injector:{mesh.version}"
    return PodShape(
        containers=(shapes.container("sidecar-injector-webhook", image, args=args),),
        labels={"app": "sidecarInjectorWebhook", "istio": "sidecar-injector"},
        annotations=_NO_INJECTION,
        account="istio-sidecar-injector-service-account",
        volumes=(_certificates("sidecar-injector"),),
    )


def _certificates(part: str) -> shapes.Body:
    return {"name": "certs", "secret": {"secretName": f"istio.istio-{part}-service-account", "defaultMode": 420}}


def _istiod(mesh: Mesh, control_plane: ControlPlane) -> PodShape:
    revision = control_plane.revision
    labels = {"app": "istiod", "istio": "pilot" if revision in ("", "default") else "istiod"}
    if revision:
        labels |= {"istio.io/rev": revision, "istio.io/dataplane-mode": "none"} | _NO_INJECTION
    env: dict[str, Any] = {"REVISION": revision} if revision else {}
    env |= {"PILOT_CERT_PROVIDER": "istiod", "CLUSTER_ID": "Kubernetes"}
    env |= {"POD_NAME": shapes.field_ref("metadata.name"), "POD_NAMESPACE": shapes.field_ref("metadata.namespace")}
    args = ("discovery", "--monitoringAddr=:15014", "--domain", "cluster.local", *control_plane.args)
    image = control_plane.image or f"{mesh.hub}/pilot:{control_plane.version or mesh.version}"
    return PodShape(
        containers=(shapes.container("discovery", image, args=args, env=env | dict(control_plane.env)),),
        labels=labels,
        annotations={"prometheus.io/port": "15014", "prometheus.io/scrape": "true", **_NO_INJECTION},
        account="istiod" if revision in ("", "default") else f"istiod-{revision}",
        volumes=(
            {"name": "cacerts", "secret": {"secretName": "cacerts", "optional": True, "defaultMode": 420}},
            {"name": "istio-csr-dns-cert", "secret": {"secretName": "istiod-tls", "optional": True}},
        ),
    )


def _citadel(mesh: Mesh, control_plane: ControlPlane) -> PodShape:
    self_signed = mesh.ca.secret == "istio-ca-secret"
    args = [
        "--append-dns-names=true",
        "--grpc-port=8060",
        f"--citadel-storage-namespace={mesh.home}",
        "--monitoring-port=15014",
        f"--self-signed-ca={str(self_signed).lower()}",
        "--workload-cert-ttl=2160h",
    ]
    if not self_signed:
        files = {
            "signing-cert": "ca-cert",
            "signing-key": "ca-key",
            "root-cert": "root-cert",
            "cert-chain": "cert-chain",
        }
        args += [f"--{option}=/etc/cacerts/{file}.pem" for option, file in files.items()]
    image = control_plane.image or f"{mesh.hub}/citadel:{control_plane.version or mesh.version}"
    labels = {"istio": "citadel"}
    if building.release(mesh.version) >= (1, 1):
        labels["app"] = "security"
    env = {"CITADEL_ENABLE_NAMESPACES_BY_DEFAULT": "true", **control_plane.env}
    return PodShape(
        containers=(shapes.container("citadel", image, args=[*args, *control_plane.args], env=env),),
        labels=labels,
        annotations=_NO_INJECTION,
        account="istio-citadel-service-account",
    )
