"""Meshes by name for `istio-proxyver`, and the verdict that each must get: read live, recorded, and by the binary."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from meshes import CORPORATE, PLUGGED, ROOT, STRANGE, Case, citadel, critical, istiod, warning
from sandbox import Authority, ControlPlane, Edit, Mesh, Proxy, forwarding

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DIGEST = "sha256:" + "0123456789abcdef" * 4
SILENT = f"registry.corp.example/mesh/proxy@{DIGEST}"

# Everything that can be in a mesh of either era, each once.
ALL_OF_ISTIOD = (
    Proxy("ledger", "bank"),
    Proxy("vault", "bank", "native"),
    Proxy("web", "shop"),
    Proxy("web", "shop"),
    Proxy("lean", "shop", "proxyless"),
    Proxy("istio-ingressgateway", "istio-system", "gateway"),
    Proxy("shop-gate", "shop", "waypoint"),
    Proxy("agent-gate", "shop", "agentgateway"),
    Proxy("ztunnel", "istio-system", "ztunnel"),
    Proxy("young", "shop", phase="Pending"),
    Proxy("done", "shop", phase="Succeeded"),
    Proxy("broken", "shop", phase="Failed"),
)
ALL_OF_CITADEL = (
    Proxy("ledger", "bank"),
    Proxy("web", "shop"),
    Proxy("istio-ingressgateway", "istio-system", "gateway"),
)


def istiod_pod(version: str) -> Edit:
    """One more pod of the sandbox's istiod, while that is upgraded."""
    owner = {"kind": "ReplicaSet", "name": "istiod-5f7c", "controller": True}
    labels = {"app": "istiod", "istio": "pilot", "istio.io/rev": "default", "pod-template-hash": "5f7c"}
    return Edit(
        kind="Pod",
        namespace="istio-system",
        name="istiod-5f7c-x2x4z",
        patch={
            "metadata": {"labels": labels, "ownerReferences": [owner]},
            "spec": {"containers": [{"name": "discovery", "image": f"docker.io/istio/pilot:{version}"}]},
            "status": {"phase": "Running", "podIP": "10.244.0.8"},
        },
    )


def old(version: str, *proxies: Proxy, proxy: bool = True, secured: bool = False) -> Mesh:
    """A Citadel's mesh; without a `proxy` its Pilot stands alone."""
    return citadel(
        version=version, proxies=proxies or ALL_OF_CITADEL, pilot_proxy=proxy, control_plane_security=secured
    )


def beside(*versions: str, control: str = "1.29.2", kind: Any = "sidecar") -> Mesh:
    """A mesh of one control plane, and a workload of its own for each version."""
    return istiod(
        version=control,
        proxies=tuple(Proxy(f"app-{version.replace('.', '-')}", "bank", kind, version=version) for version in versions),
    )


TWO_ROOTS = Authority(secret="cacerts", root=CORPORATE, chain=PLUGGED.chain, more_roots=(STRANGE,))

CASES: Mapping[str, Case] = {
    "all-of-istiod": Case(istiod(proxies=ALL_OF_ISTIOD)),
    "all-of-citadel": Case(old("1.4.10")),
    "all-of-citadel-1.0": Case(old("1.0.9")),
    "control-plane-alone": Case(istiod()),
    "no-control-plane": Case(istiod(era="none", proxies=(Proxy("ledger", "bank"),))),
    # takes a new root
    "one-1.1.5": Case(
        old("1.1.17", Proxy("ledger", "bank", version="1.1.5"), Proxy("web", "shop")),
        "critical",
        {"takes-new-root": "critical"},
    ),
    "first-that-misses-it": critical(old("1.1.17", Proxy("ledger", "bank", version="1.1.3")), "takes-new-root"),
    "last-that-misses-it": critical(old("1.1.17", Proxy("ledger", "bank", version="1.1.7")), "takes-new-root"),
    "first-that-sees-it": Case(old("1.1.17", Proxy("ledger", "bank", version="1.1.8"))),
    "before-1.1.3": warning(old("1.1.17", Proxy("ledger", "bank", version="1.1.2")), "takes-new-root"),
    "before-1.0.8": warning(old("1.0.9", Proxy("ledger", "bank", version="1.0.7")), "takes-new-root"),
    "one-of-0.8": warning(old("1.0.9", Proxy("ledger", "bank", version="0.8.0")), "takes-new-root", "within-skew"),
    "a-daily-build-of-1.1": Case(
        old("1.1.17", Proxy("ledger", "bank", image="gcr.io/istio-release/proxyv2:release-1.1-latest-daily")),
        "unknown",
        {"takes-new-root": "unknown"},
    ),
    "one-gateway-of-1.1.5": critical(
        old("1.1.17", Proxy("istio-ingressgateway", "istio-system", "gateway", version="1.1.5")), "takes-new-root"
    ),
    # beside its control plane
    "same-minor-and-the-one-before": Case(beside("1.29.0", "1.29.5", "1.28.9")),
    "newer-minor": warning(beside("1.30.0"), "within-skew"),
    "two-minors-older": warning(beside("1.27.9"), "within-skew"),
    "two-minors-older-ztunnel": warning(beside("1.27.9", kind="ztunnel"), "within-skew"),
    "older-agentgateway": Case(beside("0.9.0", kind="agentgateway")),
    "a-dev-build-of-a-newer-minor": warning(
        istiod(proxies=(Proxy("ledger", "bank", image="gcr.io/istio-testing/proxyv2:1.31-alpha.9c0a1bb4ff"),)),
        "within-skew",
    ),
    "each-beside-its-own-revision": Case(
        istiod(
            control_planes=(ControlPlane(version="1.27.1"), ControlPlane(revision="canary", version="1.30.0")),
            proxies=(
                Proxy("ledger", "bank", version="1.26.3"),
                Proxy("web", "shop", version="1.30.0", revision="canary"),
            ),
        )
    ),
    "beside-the-wrong-revision": warning(
        istiod(
            control_planes=(ControlPlane(version="1.27.1"), ControlPlane(revision="canary", version="1.30.0")),
            proxies=(
                Proxy("ledger", "bank", version="1.30.0"),
                Proxy("web", "shop", version="1.26.3", revision="canary"),
            ),
        ),
        "within-skew",
    ),
    "ztunnel-of-no-said-revision": Case(
        istiod(
            control_planes=(ControlPlane(version="1.27.1"), ControlPlane(revision="canary", version="1.30.0")),
            proxies=(Proxy("ztunnel", "istio-system", "ztunnel", version="1.30.0"),),
        ),
        "unknown",
        {"within-skew": "unknown"},
    ),
    "revision-without-control-plane": warning(
        istiod(proxies=(Proxy("ledger", "bank", revision="gone"),)), "control-plane-there"
    ),
    "revision-that-may-be-a-tag": Case(
        istiod(
            edits=(
                Edit(
                    kind="Pod",
                    namespace="edge",
                    name="gate",
                    patch={
                        "metadata": {"labels": {"istio": "gate", "istio.io/rev": "prod"}},
                        "spec": {
                            "containers": [
                                {"name": "istio-proxy", "image": "istio/proxyv2:1.29.2", "args": ["proxy", "router"]}
                            ]
                        },
                        "status": {"phase": "Running"},
                    },
                ),
            )
        ),
        "unknown",
        {"control-plane-there": "unknown"},
    ),
    "control-plane-being-upgraded": warning(
        istiod(
            proxies=(Proxy("ledger", "bank", version="1.30.0"), Proxy("web", "shop", version="1.28.1")),
            edits=(istiod_pod("1.30.0"),),
        ),
        "one-version",
    ),
    "two-meshes": Case(
        istiod(
            proxies=(Proxy("ledger", "bank"),),
            others=(
                istiod(
                    home="istio-two",
                    version="1.20.8",
                    ca=Authority(root=ROOT),
                    namespaces=(),
                    control_planes=(ControlPlane(revision="default"),),
                    proxies=(Proxy("forge", "factory", version="1.20.8"),),
                ),
            ),
        )
    ),
    "rollout-stuck-halfway": warning(
        istiod(proxies=(Proxy("web", "shop", version="1.28.4"), Proxy("web", "shop"), Proxy("web", "shop"))),
        "one-version",
    ),
    # a bundle of several roots
    "istiod-that-loses-roots": critical(istiod(version="1.24.4", ca=TWO_ROOTS), "bundle-handed-out"),
    "istiod-that-loses-roots-with-one-root": Case(istiod(version="1.24.4")),
    "istiod-of-1.25.1-loses-roots": critical(istiod(version="1.25.1", ca=TWO_ROOTS), "bundle-handed-out"),
    "istiod-that-keeps-roots": Case(istiod(version="1.24.5", ca=TWO_ROOTS)),
    "ztunnel-that-reads-one-root": critical(
        istiod(version="1.25.2", ca=TWO_ROOTS, proxies=(Proxy("ztunnel", "istio-system", "ztunnel"),)), "bundle-read"
    ),
    "ztunnel-that-reads-all-roots": Case(
        istiod(version="1.25.3", ca=TWO_ROOTS, proxies=(Proxy("ztunnel", "istio-system", "ztunnel"),))
    ),
    "ztunnel-that-reads-the-only-root": Case(
        istiod(version="1.25.2", proxies=(Proxy("ztunnel", "istio-system", "ztunnel"),))
    ),
    # Citadel's control plane
    "pilot-without-proxy": Case(old("1.4.10", proxy=False)),
    "pilot-without-proxy-secured": warning(old("1.4.10", proxy=False, secured=True), "pilot-reloads"),
    "pilot-with-proxy-secured": Case(old("1.4.10", secured=True)),
    "injector-that-keeps-its-certificate": critical(
        old("1.1.7", Proxy("ledger", "bank", version="1.1.8")), "takes-new-root", injector_reloads="warning"
    ),
    # versions that no image tells
    "told-by-istiod": Case(istiod(proxies=(Proxy("ledger", "bank", version="1.28.3", image=SILENT),))),
    "told-by-the-proxy": Case(
        istiod(proxies=(Proxy("ledger", "bank", version="1.28.3", image=SILENT, connected=False),))
    ),
    "told-by-an-old-proxy": critical(
        old("1.1.17", Proxy("ledger", "bank", version="1.1.4", image=SILENT)), "takes-new-root"
    ),
    "told-by-ztunnel": Case(
        istiod(proxies=(Proxy("ztunnel", "istio-system", "ztunnel", version="1.29.2", image=SILENT, connected=False),))
    ),
    "told-by-ztunnel-1.21": Case(
        istiod(
            version="1.21.6",
            proxies=(Proxy("ztunnel", "istio-system", "ztunnel", version="1.21.6", image=SILENT, connected=False),),
        )
    ),
    "istiod-of-a-silent-image": Case(
        istiod(control_planes=(ControlPlane(image=f"corp/discovery@{DIGEST}"),), proxies=(Proxy("ledger", "bank"),))
    ),
    "told-by-nobody": Case(
        istiod(proxies=(Proxy("ledger", "bank", image=SILENT, connected=False, answers="refuses"),)),
        "unknown",
        dict.fromkeys(("takes-new-root", "within-skew", "one-version"), "unknown"),
    ),
    "told-by-nobody-proxyless": Case(
        istiod(proxies=(Proxy("lean", "bank", "proxyless", image=SILENT, connected=False),)),
        "unknown",
        dict.fromkeys(("takes-new-root", "within-skew", "one-version"), "unknown"),
    ),
}


def dump(mesh: Mesh, path: Path) -> Path:
    """The mesh as a recording that holds what its proxies and its istiods answer, too."""
    items = [*mesh.objects(), *_answers(mesh)]
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    return path


def _answers(mesh: Mesh) -> list[dict[str, Any]]:
    asked = ("debug/syncz", "server_info", "config_dump", "version")
    return [
        {
            "apiVersion": "meshtrust/v1",
            "kind": "ProxyAnswers",
            "metadata": {"namespace": namespace, "name": pod},
            "answers": {
                path: json.loads(text) if text[:1] in b"[{" else text.decode()
                for path in asked
                for status, text in [admin.page(path)]
                if status == 200
            },
        }
        for (namespace, pod), admin in forwarding.admins_of(mesh).items()
        if mesh.pods().get((namespace, pod), Proxy("istiod")).phase == "Running"
    ]
