"""Real image names of many registries, each with what it is in a pod and the release that its tag tells."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from meshtrust.manifests import Recording
from meshtrust.mesh import Proxy, VersionFrom, read_proxies
from meshtrust.mesh.look import Look
from meshtrust.versions import IstioVersion, image_version

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# By a word: the name of the container, its arguments, the pod's labels.
SHAPES: Mapping[str, tuple[str, list[str], Mapping[str, str]]] = {
    "sidecar": ("istio-proxy", ["proxy", "sidecar", "--domain", "bank.svc.cluster.local"], {"app": "ledger"}),
    "gateway": ("istio-proxy", ["proxy", "router"], {"istio": "ingressgateway"}),
    "gateway-1.0": ("ingressgateway", ["proxy", "router", "-v", "2"], {"istio": "ingressgateway"}),
    "ingress-0.8": ("ingress", ["proxy", "ingress", "-v", "2"], {"istio": "ingress"}),
    "waypoint": (
        "istio-proxy",
        ["proxy", "waypoint"],
        {"gateway.networking.k8s.io/gateway-class-name": "istio-waypoint"},
    ),
    "ztunnel": ("istio-proxy", ["proxy", "ztunnel"], {"app": "ztunnel"}),
    "ztunnel-renamed": ("istio-proxy", ["proxy", "ztunnel"], {"app": "tunnel"}),
    "agentgateway": ("agentgateway", [], {"gateway.networking.k8s.io/gateway-class-name": "istio-agentgateway"}),
    "other-agentgateway": ("agentgateway", [], {"gateway.networking.k8s.io/gateway-class-name": "agentgateway"}),
    "istiod": ("discovery", ["discovery"], {"app": "istiod", "istio.io/rev": "default"}),
    "pilot": ("discovery", ["discovery"], {"istio": "pilot"}),
    "pilots-proxy": ("istio-proxy", ["proxy", "--serviceCluster", "istio-pilot"], {"istio": "pilot"}),
    "citadel": ("citadel", ["--self-signed-ca=true"], {"istio": "citadel"}),
    "galley": ("galley", [], {"istio": "galley"}),
    "galley-1.0": ("validator", [], {"istio": "galley"}),
    "injector": ("sidecar-injector-webhook", [], {"istio": "sidecar-injector"}),
    "mixer": ("mixer", [], {"istio": "mixer", "istio-mixer-type": "policy"}),
    "nodeagent": ("nodeagent", [], {"istio": "nodeagent"}),
    "app": ("app", [], {"app": "ledger"}),
    "cni": ("install-cni", [], {"k8s-app": "istio-cni-node"}),
}

DIGEST = "sha256:" + "0123456789abcdef" * 4

IMAGES = [
    # Istio's own
    ("docker.io/istio/proxyv2:1.29.2", "sidecar", "sidecar", "1.29.2"),
    ("istio/proxyv2:1.5.10", "sidecar", "sidecar", "1.5.10"),
    ("proxyv2:1.20.8", "sidecar", "sidecar", "1.20.8"),
    ("docker.io/istio/proxyv2:1.23.6-distroless", "sidecar", "sidecar", "1.23.6"),
    ("docker.io/istio/proxyv2:1.22.3-debug", "sidecar", "sidecar", "1.22.3"),
    ("docker.io/istio/proxyv2:1.1.5", "sidecar", "sidecar", "1.1.5"),
    ("docker.io/istio/proxyv2:0.8.0", "sidecar", "sidecar", "0.8.0"),
    ("docker.io/istio/proxy_debug:0.7.1", "sidecar", "sidecar", "0.7.1"),
    ("docker.io/istio/proxy:0.6.0", "ingress-0.8", "gateway", "0.6.0"),
    ("docker.io/istio/proxyv2:1.0.9", "gateway-1.0", "gateway", "1.0.9"),
    ("gcr.io/istio-release/proxyv2:1.4.10", "gateway", "gateway", "1.4.10"),
    ("gcr.io/istio-release/proxyv2:1.0.0-snapshot.1", "sidecar", "sidecar", "1.0.0-snapshot.1"),
    ("gcr.io/istio-release/proxyv2:1.1.0.snapshot.4", "sidecar", "sidecar", "1.1.0.snapshot.4"),
    ("gcr.io/istio-release/proxyv2:release-1.0-latest-daily", "sidecar", "sidecar", "1.0-latest-daily"),
    ("gcr.io/istio-release/proxyv2:release-1.1-20190116-09-16", "sidecar", "sidecar", "1.1-20190116-09-16"),
    ("gcr.io/istio-release/proxyv2:master-latest-daily", "sidecar", "sidecar", None),
    ("gcr.io/istio-testing/proxyv2:1.22-dev", "sidecar", "sidecar", "1.22-dev"),
    ("gcr.io/istio-testing/proxyv2:latest", "sidecar", "sidecar", None),
    ("gcr.io/istio-testing/ztunnel:1.26-alpha.9c0a1bb4ff", "ztunnel", "ztunnel", "1.26-alpha.9c0a1bb4ff"),
    ("registry.istio.io/release/proxyv2:1.30.3", "waypoint", "waypoint", "1.30.3"),
    ("registry.istio.io/testing/proxyv2:1.31.0-rc.0", "gateway", "gateway", "1.31.0-rc.0"),
    (
        "registry.istio.io/testing/proxyv2:1.31-alpha.eed52ebb66ad-distroless",
        "sidecar",
        "sidecar",
        "1.31-alpha.eed52ebb66ad",
    ),
    ("docker.io/istio/ztunnel:1.24.6-distroless", "ztunnel", "ztunnel", "1.24.6"),
    ("docker.io/istio/ztunnel:1.31.0", "ztunnel-renamed", "ztunnel", "1.31.0"),
    # the control plane
    ("docker.io/istio/pilot:1.29.2", "istiod", "control-plane", "1.29.2"),
    ("docker.io/istio/pilot:1.4.10", "pilot", "control-plane", "1.4.10"),
    ("docker.io/istio/proxyv2:1.4.10", "pilots-proxy", "sidecar", "1.4.10"),
    ("docker.io/istio/citadel:1.0.6", "citadel", "control-plane", "1.0.6"),
    ("docker.io/istio/galley:1.1.7", "galley", "control-plane", "1.1.7"),
    ("docker.io/istio/galley:1.0.5", "galley-1.0", "control-plane", "1.0.5"),
    ("docker.io/istio/sidecar_injector:1.1.7", "injector", "control-plane", "1.1.7"),
    ("docker.io/istio/mixer:1.3.8", "mixer", "control-plane", "1.3.8"),
    ("docker.io/istio/node-agent-k8s:1.4.3", "nodeagent", "control-plane", "1.4.3"),
    # vendors
    ("gke.gcr.io/istio/proxyv2:1.4.10-gke.8", "sidecar", "sidecar", "1.4.10-gke.8"),
    ("gcr.io/gke-release/istio/proxyv2:1.6.14-gke.0", "sidecar", "sidecar", "1.6.14-gke.0"),
    ("gcr.io/gke-release/asm/proxyv2:1.19.10-asm.24", "sidecar", "sidecar", "1.19.10-asm.24"),
    ("gcr.io/gke-release/asm/proxyv2:1.21.5-asm.18-distroless", "sidecar", "sidecar", "1.21.5-asm.18"),
    ("gcr.io/gke-release/asm/pilot:1.6.5-asm.7", "istiod", "control-plane", "1.6.5-asm.7"),
    ("mcr.microsoft.com/oss/istio/proxyv2:1.23.0-distroless", "sidecar", "sidecar", "1.23.0"),
    ("mcr.microsoft.com/oss/v2/istio/pilot:v1.27.1-2", "istiod", "control-plane", "1.27.1-2"),
    ("us-docker.pkg.dev/gloo-mesh/istio-a9ee4fe9f69a/proxyv2:1.20.2-solo", "sidecar", "sidecar", "1.20.2-solo"),
    (
        "us-docker.pkg.dev/soloio-img/istio/proxyv2:1.24.3-patch1-solo-fips",
        "sidecar",
        "sidecar",
        "1.24.3-patch1-solo-fips",
    ),
    ("us-docker.pkg.dev/soloio-img/istio/ztunnel:1.26.2-solo-distroless", "ztunnel", "ztunnel", "1.26.2-solo"),
    ("containers.istio.tetratelabs.com/proxyv2:1.12.4-tetrate-v0", "sidecar", "sidecar", "1.12.4-tetrate-v0"),
    ("containers.istio.tetratelabs.com/proxyv2:1.18.2-tetratefips-v0", "sidecar", "sidecar", "1.18.2-tetratefips-v0"),
    ("registry1.dso.mil/ironbank/opensource/istio/proxyv2:1.23.2", "sidecar", "sidecar", "1.23.2"),
    (
        "registry1.dso.mil/ironbank/tetrate/istio/proxyv2:1.22.4-tetratefips-v0",
        "gateway",
        "gateway",
        "1.22.4-tetratefips-v0",
    ),
    ("quay.io/aspenmesh/proxyv2:1.9.8-am3", "sidecar", "sidecar", "1.9.8-am3"),
    ("ghcr.io/banzaicloud/istio-proxyv2:v1.12.5-bzc.0", "sidecar", "sidecar", "1.12.5-bzc.0"),
    ("banzaicloud/istio-proxyv2:v1.7.0-bzc", "sidecar", "sidecar", "1.7.0-bzc"),
    ("rancher/mirrored-istio-proxyv2:1.19.3", "sidecar", "sidecar", "1.19.3"),
    ("rancher/istio-proxyv2:1.4.7", "gateway", "gateway", "1.4.7"),
    ("rancher/mirrored-istio-install-cni:1.19.3", "cni", None, "1.19.3"),
    (
        "europe-docker.pkg.dev/kyma-project/prod/external/istio/proxyv2:1.22.3-distroless",
        "sidecar",
        "sidecar",
        "1.22.3",
    ),
    (
        "registry.cn-hangzhou.aliyuncs.com/acs/proxyv2:v1.18.0.129-g0e1bd5c6-aliyun",
        "sidecar",
        "sidecar",
        "1.18.0.129-g0e1bd5c6-aliyun",
    ),
    ("cgr.dev/chainguard/istio-proxy:latest", "sidecar", "sidecar", None),
    ("cgr.dev/chainguard/istio-proxy:1.24.2-r0", "sidecar", "sidecar", "1.24.2-r0"),
    ("icr.io/ext/istio/proxyv2:1.15.3", "sidecar", "sidecar", "1.15.3"),
    # products that count themselves, and other programs
    ("quay.io/maistra/proxyv2-ubi8:2.4.0", "sidecar", "sidecar", None),
    ("docker.io/maistra/proxyv2-ubi8:1.1.0", "sidecar", "sidecar", None),
    ("registry.redhat.io/openshift-service-mesh/proxyv2-rhel8:1.1.17", "sidecar", "sidecar", None),
    (f"registry.redhat.io/openshift-service-mesh/istio-proxyv2-rhel9@{DIGEST}", "sidecar", "sidecar", None),
    ("docker.io/envoyproxy/envoy:v1.20.3", "sidecar", "sidecar", None),
    ("cr.agentgateway.dev/agentgateway:v0.9.0", "agentgateway", "agentgateway", None),
    ("cr.agentgateway.dev/agentgateway:v0.9.0", "other-agentgateway", None, None),
    # mirrors and private names
    ("123456789012.dkr.ecr.us-east-1.amazonaws.com/istio/proxyv2:1.14.3", "sidecar", "sidecar", "1.14.3"),
    ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/mirror:istio-proxyv2-1.14.3", "sidecar", "sidecar", "1.14.3"),
    ("artifactory.corp.example/istio-mirror/all:proxyv2-1.17.8", "sidecar", "sidecar", "1.17.8"),
    ("localhost:5000/istio/proxyv2:1.16.7", "sidecar", "sidecar", "1.16.7"),
    ("localhost:5000/proxyv2", "sidecar", "sidecar", None),
    (f"localhost:5000/istio/proxyv2:1.16.7@{DIGEST}", "sidecar", "sidecar", "1.16.7"),
    (f"host:5000/a/b@{DIGEST}", "sidecar", "sidecar", None),
    ("registry.corp.example/mesh/envoy-sidecar:1.2.7", "sidecar", "sidecar", None),
    ("registry.corp.example/base/istio-proxy:prod-42", "sidecar", "sidecar", None),
    ("registry.corp.example/istio/proxyv2:v1.21.0_hotfix1", "sidecar", "sidecar", "1.21.0_hotfix1"),
    ("registry.corp.example/istio/proxyv2:1.13.5+corp.2", "sidecar", "sidecar", "1.13.5+corp.2"),
    ("registry.corp.example/istio/proxyv2:1", "sidecar", "sidecar", None),
    ("registry.corp.example/istio/proxyv2:2024.10.05", "sidecar", "sidecar", None),
    ("registry.corp.example/istio/proxyv2:" + "1" * 300, "sidecar", "sidecar", None),
    ("registry.corp.example/istio/proxyv2:1.18.2-" + "x" * 293, "sidecar", "sidecar", "1.18.2-" + "x" * 293),
    ("", "sidecar", "sidecar", None),
    ("registry.local/ledger:1.29.2", "app", None, None),
]


def pod(shape: str, image: str, **more: Any) -> dict[str, Any]:
    name, arguments, labels = SHAPES[shape]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one", "namespace": "bank", "labels": dict(labels), **more.pop("metadata", {})},
        "spec": {"containers": [{"name": name, "image": image, "args": arguments, **more.pop("container", {})}]},
        "status": {"phase": "Running", **more.pop("status", {})},
    }


def read(folder: Path, *pods: Mapping[str, Any]) -> tuple[Proxy, ...]:
    file = folder / "pods.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": pods}))
    return read_proxies(Look(Recording.read([str(file)], io.BytesIO())))


def test_the_table_is_as_long_as_promised() -> None:
    assert len({image for image, *_ in IMAGES}) >= 60


@pytest.mark.parametrize(("image", "shape", "kind", "build"), IMAGES)
def test_an_image_gives_kind_and_version_exactly(
    image: str, shape: str, kind: str | None, build: str | None, tmp_path: Path
) -> None:
    found = read(tmp_path, pod(shape, image))
    assert [str(proxy.kind) for proxy in found] == ([kind] if kind else [])
    version = image_version(image)
    assert (version.build if version else None) == build
    assert [proxy.version for proxy in found] == ([version] if kind else [])


def test_a_build_that_tells_only_its_minor_has_that_minor() -> None:
    build = image_version("istio/proxyv2:1.26-alpha.9c0a1bb4ff")
    assert build == IstioVersion(1, 26, 0)
    assert build is not None
    assert (build.line, build.exact, str(build)) == ((1, 26), False, "1.26-alpha.9c0a1bb4ff")


def test_where_the_tag_does_not_tell_the_container_status_does(tmp_path: Path) -> None:
    status = {"containerStatuses": [{"name": "istio-proxy", "image": "docker.io/istio/proxyv2:1.20.1"}]}
    (found,) = read(tmp_path, pod("sidecar", f"istio/proxyv2@{DIGEST}", status=status))
    assert (found.version, found.version_from) == (IstioVersion(1, 20, 1), VersionFrom.STATUS)


def test_nobody_tells_the_version_of_a_digest_alone(tmp_path: Path) -> None:
    status = {"containerStatuses": [{"name": "istio-proxy", "image": DIGEST}]}
    (found,) = read(tmp_path, pod("sidecar", f"istio/proxyv2@{DIGEST}", status=status))
    assert (found.version, found.version_from) == (None, VersionFrom.NOBODY)


def test_what_only_has_the_image_of_a_proxy_is_none(tmp_path: Path) -> None:
    whole = pod("sidecar", "istio/proxyv2:1.29.2")
    whole["spec"]["initContainers"] = [
        {"name": name, "image": "istio/proxyv2:1.29.2"}
        for name in ("istio-init", "istio-validation", "enable-core-dump")
    ]
    assert [proxy.container for proxy in read(tmp_path, whole)] == ["istio-proxy"]
