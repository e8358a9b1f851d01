"""Meshes by name for `istio-certverify`, and the verdict that each must get, read live and recorded alike."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from datetime import timedelta
from textwrap import indent
from typing import TYPE_CHECKING, Any

from meshes import (
    BYSTANDER,
    CITADEL_ROOT,
    CORPORATE,
    ISSUING,
    NOW,
    PLUGGED,
    RENEWED,
    ROOT,
    STRANGE,
    TEAMS,
    UNDER_CORPORATE,
    UNDER_REGIONAL,
    Case,
    citadel,
    critical,
    days,
    istiod,
    warning,
)
from sandbox import Account, Authority, ControlPlane, Edit, Identity, Leaf, Mesh, Namespace, Proxy, forwarding
from sandbox.issuing import ca_certificate, pem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sandbox.issuing import Ca


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


UTF8 = replace(ROOT, string_type="utf8")
SHA1 = replace(ROOT, identifier="sha1")
OLD_CITADEL_ROOT = replace(CITADEL_ROOT, starts=days(-366), ends=days(3000))
NO_CERTIFICATE = b64encode(b"-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n").decode()
BY_BUNDLE = ControlPlane(env={"ENABLE_CLUSTER_TRUST_BUNDLE_API": "true"})
EMPTY = tuple(Namespace(name, publishes=()) for name in ("istio-system", "bank", "shop"))
INDENTED = {"root-cert.pem": indent(pem([ca_certificate(ROOT, NOW)]), "    ")}
OVERDUE = Leaf(issued=hours(-13), ends=hours(11))
EVERYTHING = (
    Proxy("ledger", "bank"),
    Proxy("vault", "bank", "native"),
    Proxy("web", "shop"),
    Proxy("web", "shop"),
    Proxy("istio-ingressgateway", "istio-system", "gateway"),
    Proxy("shop-gate", "shop", "waypoint"),
    Proxy("ztunnel", "istio-system", "ztunnel", identities=(Identity("cart", "shop"), Identity("audit", "bank"))),
)


def proxies(*more: Proxy, **parts: object) -> Mesh:
    return istiod(proxies=(*EVERYTHING, *more), **parts)


def holding(*roots: Ca, signed_by: Ca | None = None, name: str = "old") -> Proxy:
    return Proxy(name, "shop", holds=roots, leaf=Leaf(signed_by=signed_by))


def ztunnel(*identities: Identity, version: str = "") -> Proxy:
    return Proxy("ztunnel", "istio-system", "ztunnel", version=version, identities=identities)


def selecting(*selectors: Mapping[str, Any], home: str = "istio-system", name: str = "istio") -> Edit:
    config = {"mesh": json.dumps({"trustDomain": "cluster.local", "discoverySelectors": selectors})}
    return Edit(kind="ConfigMap", namespace=home, name=name, patch={"data": config})


def unknown(mesh: Mesh, *checks: str, **others: str) -> Case:
    levels = dict.fromkeys(checks, "unknown") | {check.replace("_", "-"): level for check, level in others.items()}
    return Case(mesh, "unknown", levels)


def pod(mesh: Mesh, name: str) -> tuple[str, str]:
    """Namespace and name of the pod of a proxy."""
    return next(place for place, proxy in mesh.pods().items() if proxy.name == name)


def edited(mesh: Mesh, name: str, patch: Mapping[str, Any]) -> Mesh:
    namespace, pod_name = pod(mesh, name)
    return replace(mesh, edits=(*mesh.edits, Edit(kind="Pod", namespace=namespace, name=pod_name, patch=patch)))


ENDED = replace(ISSUING, ends=days(-1))
REGION_ENDED = replace(UNDER_CORPORATE, ends=days(-1))


def plugged_citadel(signer: Ca) -> Mesh:
    """One of Citadel whose CA was plugged in, with a workload beside its own."""
    planes = (ControlPlane(args=("--self-signed-ca=false",)),)
    return citadel(ca=replace(PLUGGED, chain=(signer,)), control_planes=planes, proxies=(Proxy("ledger", "bank"),))


def issued_anew() -> Edit:
    """What signs, with new dates in the Secret of a plugged-in CA: no leaf comes with it yet."""
    text = pem([ca_certificate(replace(ISSUING, signed_by=CORPORATE), NOW)])
    patch = {"stringData": {"ca-cert.pem": text, "cert-chain.pem": text}}
    return Edit(kind="Secret", namespace="istio-system", name="cacerts", patch=patch)


OF_TWO = replace(CITADEL_ROOT, key="two")
FOR_TWO = {"ca.istio.io/env": "istio-two"}


def two_citadels(*teams: Namespace, root: Ca = OF_TWO) -> Mesh:
    """Two of one cluster, each with the namespaces that are labelled for it: `bank` and `shop`, and `factory`."""
    asked = {"CITADEL_ENABLE_NAMESPACES_BY_DEFAULT": "false"}
    second = Mesh(
        now=NOW,
        era="citadel",
        version="1.4.10",
        home="istio-two",
        ca=Authority(root=root),
        namespaces=teams or (Namespace("factory", labels=FOR_TWO),),
        control_planes=(ControlPlane(env=asked),),
        proxies=(Proxy("robot", "factory"),),
    )
    first = tuple(Namespace(name, labels={"ca.istio.io/env": "istio-system"}) for name in ("bank", "shop"))
    return citadel(
        namespaces=first, control_planes=(ControlPlane(env=asked),), proxies=(Proxy("web", "shop"),), others=(second,)
    )


UNSEEN = ("delivered", "bundles-read", "root-held", "leaf-verifies", "leaf-valid", "leaf-renewed", "leaf-accepted")
BEHIND = citadel(
    ca=Authority(root=CITADEL_ROOT),
    namespaces=(Namespace("bank", accounts=(Account("default", holds=(OLD_CITADEL_ROOT,)),)),),
)

CASES: Mapping[str, Case] = {
    "healthy": Case(proxies()),
    "healthy-1.5": Case(istiod(version="1.5.4", control_planes=(ControlPlane(revision=""),), proxies=EVERYTHING[:4])),
    "healthy-plugged-in": Case(proxies(ca=PLUGGED)),
    "healthy-citadel": Case(citadel(proxies=(Proxy("ledger", "bank"), Proxy("web", "shop", "gateway")))),
    "healthy-two-citadels": Case(two_citadels()),
    "healthy-citadel-1.0": Case(
        citadel(
            version="1.0.6",
            ca=Authority(root=replace(CITADEL_ROOT, subject="O=k8s.cluster.local")),
            proxies=(Proxy("istio-ingressgateway", "istio-system", "gateway"),),
        )
    ),
    "healthy-two-roots": Case(
        proxies(
            Proxy("mixed", "shop", holds=(STRANGE, CORPORATE, STRANGE)),
            ca=replace(PLUGGED, more_roots=(STRANGE,)),
            namespaces=(Namespace("bank", publishes=(STRANGE, CORPORATE)), Namespace("shop")),
        )
    ),
    "healthy-two-meshes": Case(
        proxies(
            others=(
                Mesh(
                    now=istiod().now,
                    home="istio-two",
                    ca=Authority(root=replace(ROOT, key="two")),
                    namespaces=(Namespace("factory"),),
                    control_planes=(ControlPlane(revision="two"),),
                    proxies=(Proxy("robot", "factory", revision="two"),),
                ),
            )
        )
    ),
    "healthy-trust-bundle": Case(
        proxies(
            version="1.30.1",
            trust_bundle=(ROOT,),
            control_planes=(BY_BUNDLE,),
        )
    ),
    "no-proxies": Case(istiod()),
    "healthy-one-namespace-watched": Case(
        proxies(
            control_planes=(ControlPlane(env={"ISTIO_WATCH_NAMESPACE": "bank"}),),
            namespaces=(TEAMS[0], Namespace("shop", publishes=())),
        )
    ),
    "stale-beside-the-namespace-watched": warning(
        proxies(
            control_planes=(ControlPlane(env={"ISTIO_WATCH_NAMESPACE": "bank"}),),
            namespaces=(TEAMS[0], Namespace("shop", publishes=(STRANGE,))),
        ),
        "copies-agree",
    ),
    # What is stored: the published copies, by namespace and age.
    "stale-copy": critical(proxies(namespaces=(Namespace("bank", publishes=(STRANGE,)), TEAMS[1])), "copies-agree"),
    "copy-not-moved-yet": warning(
        istiod(ca=Authority(root=RENEWED), namespaces=(Namespace("bank", publishes=(ROOT,)), TEAMS[1])),
        "copies-agree",
    ),
    "copy-indented": critical(
        istiod(edits=(Edit(kind="ConfigMap", namespace="bank", name="istio-ca-root-cert", patch={"data": INDENTED}),)),
        "certificates-read",
    ),
    "copy-missing": warning(istiod(namespaces=(Namespace("bank", publishes=()), TEAMS[1])), "copies-complete"),
    "trust-bundle-missing": warning(
        istiod(version="1.30.1", control_planes=(BY_BUNDLE,), namespaces=EMPTY), "copies-agree"
    ),
    "copy-missing-in-a-namespace-that-ends": Case(
        istiod(namespaces=(Namespace("bank", terminating=True), TEAMS[1])),
    ),
    "stale-copy-in-a-namespace-that-ends": warning(
        istiod(namespaces=(Namespace("bank", terminating=True, publishes=(STRANGE,)), TEAMS[1])), "copies-agree"
    ),
    "no-copy-where-kubernetes-is": Case(
        istiod(
            version="1.20.3",
            namespaces=(*TEAMS, Namespace("kube-public", publishes=()), Namespace("kube-system", publishes=())),
        )
    ),
    "no-copy-in-kube-system": warning(
        istiod(namespaces=(*TEAMS, Namespace("kube-system", publishes=()))), "copies-complete"
    ),
    "no-copy-in-a-deselected-namespace": Case(
        istiod(
            namespaces=(*TEAMS, Namespace("far", publishes=())),
            edits=(
                selecting({"matchExpressions": [{"key": "far", "operator": "Exists"}]}, {"matchLabels": {"near": "1"}}),
            ),
        ),
    ),
    "stale-copy-in-a-deselected-namespace": warning(
        istiod(
            namespaces=(Namespace("near", labels={"mesh": "on"}), Namespace("far", publishes=(STRANGE,))),
            edits=(selecting({"matchLabels": {"mesh": "on"}}),),
        ),
        "copies-agree",
    ),
    "secret-edited-not-loaded": warning(
        proxies(
            ca=Authority(root=RENEWED),
            namespaces=tuple(Namespace(name, publishes=(ROOT,)) for name in ("istio-system", "bank", "shop")),
            control_planes=(ControlPlane(ca_bundle=(ROOT,)),),
        ),
        "ca-loaded",
        "root-held",
    ),
    "cacerts-waits-with-another-root": critical(proxies(beside=(replace(PLUGGED, created=days(-1)),)), "ca-waits"),
    "cacerts-waits-with-the-same-root": warning(
        istiod(beside=(Authority(secret="cacerts", root=ROOT, created=days(-1)),)), "ca-waits"
    ),
    # A CA of which no leaf verifies, whoever holds it, is said once.
    "issuing-ca-expired": critical(proxies(ca=replace(PLUGGED, chain=(ENDED,))), "root-known"),
    "issuing-ca-expired-citadel": critical(plugged_citadel(ENDED), "root-known"),
    "issuing-ca-not-valid-yet": critical(
        proxies(ca=replace(PLUGGED, chain=(replace(ISSUING, starts=days(1)),))), "root-known"
    ),
    "issuing-ca-below-an-expired-one": critical(
        proxies(ca=replace(PLUGGED, chain=(REGION_ENDED, replace(UNDER_REGIONAL, signed_by=REGION_ENDED)))),
        "root-known",
    ),
    "healthy-issuing-ca-below-an-expired-and-a-valid-edition": Case(
        proxies(ca=replace(PLUGGED, chain=(REGION_ENDED, UNDER_CORPORATE, UNDER_REGIONAL)))
    ),
    "issuing-ca-that-is-none": critical(
        proxies(ca=replace(PLUGGED, chain=(replace(ISSUING, is_ca=False),))), "root-known"
    ),
    "issuing-ca-of-another-root": critical(
        proxies(ca=replace(PLUGGED, chain=(replace(ISSUING, signed_by=replace(CORPORATE, key="impostor")),))),
        "root-known",
    ),
    "signing-root-that-is-no-ca": critical(proxies(ca=Authority(root=replace(ROOT, is_ca=False))), "root-known"),
    # While what is stored is fine by now, each holder still has the old one above its leaf.
    "issuing-ca-expired-above-the-leaves-alone": critical(
        proxies(ca=replace(PLUGGED, chain=(ENDED,)), edits=(issued_anew(),)), "leaf-verifies"
    ),
    "issuing-ca-expired-above-citadels-leaves-alone": critical(
        replace(plugged_citadel(ENDED), edits=(issued_anew(),)), "leaf-verifies"
    ),
    "signing-root-expired": critical(istiod(ca=Authority(root=replace(ROOT, ends=days(-1)))), "root-known"),
    # Of the webhooks, and of the certificate that istiod serves with.
    "stale-webhooks": critical(istiod(control_planes=(ControlPlane(ca_bundle=(STRANGE,)),)), "webhooks-agree"),
    "webhooks-not-moved-yet": warning(
        istiod(ca=Authority(root=RENEWED), control_planes=(ControlPlane(ca_bundle=(ROOT,)),)), "webhooks-agree"
    ),
    "webhooks-with-another-identifier": warning(
        istiod(control_planes=(ControlPlane(ca_bundle=(SHA1,)),)), "webhooks-agree"
    ),
    "orphaned-webhooks": warning(
        istiod(control_planes=(ControlPlane(), ControlPlane(revision="gone", replicas=0, ca_bundle=(STRANGE,)))),
        "webhooks-agree",
    ),
    "broken-webhooks": critical(
        istiod(
            edits=(
                Edit(
                    kind="MutatingWebhookConfiguration",
                    name="istio-sidecar-injector",
                    patch={
                        "webhooks": [
                            {
                                "name": "rev.namespace.sidecar-injector.istio.io",
                                "clientConfig": {
                                    "service": {"name": "istiod", "namespace": "istio-system"},
                                    "caBundle": NO_CERTIFICATE,
                                },
                            },
                            {
                                "name": "rev.object.sidecar-injector.istio.io",
                                "clientConfig": {"url": "https://inject.example/inject", "caBundle": "bm8="},
                            },
                        ]
                    },
                ),
            )
        ),
        "certificates-read",
    ),
    "external-ca-with-two-roots": Case(
        istiod(
            ca=Authority(secret="", root=CORPORATE, more_roots=(STRANGE,)),
            control_planes=(ControlPlane(env={"EXTERNAL_CA": "ISTIOD_RA_KUBERNETES_API"}),),
            proxies=(Proxy("web", "shop", leaf=Leaf(signed_by=STRANGE)), Proxy("ledger", "bank")),
        )
    ),
    "serving-certificate": Case(istiod(istiod_tls=Leaf(issued=days(-1), ends=days(89), identity="dns:istiod"))),
    "serving-certificate-of-another-ca": critical(
        istiod(istiod_tls=Leaf(issued=days(-1), ends=days(89), signed_by=STRANGE)), "serving-trusted"
    ),
    # Of the Secrets that Citadel keeps.
    "citadel-secret-of-another-root": critical(
        citadel(namespaces=(Namespace("bank", accounts=(Account("default", holds=(STRANGE,)),)),)), "root-held"
    ),
    "citadel-foreign-leaf-beside-the-right-root": critical(
        citadel(
            namespaces=(
                Namespace(
                    "bank", accounts=(Account("default", leaf=Leaf(issued=days(-1), ends=days(89), signed_by=STRANGE)),)
                ),
            )
        ),
        "leaf-verifies",
    ),
    "citadel-lost-annotation": critical(
        citadel(namespaces=(Namespace("bank", accounts=(Account("default", annotated=False),)),)), "leaf-named"
    ),
    "citadel-not-moved-yet": warning(BEHIND, "root-held"),
    "citadel-leaf-expired": critical(
        citadel(
            namespaces=(Namespace("bank", accounts=(Account("default", leaf=Leaf(issued=days(-91), ends=days(-1))),)),)
        ),
        "leaf-valid",
    ),
    "citadel-leaf-overdue": warning(
        citadel(
            namespaces=(Namespace("bank", accounts=(Account("default", leaf=Leaf(issued=days(-50), ends=days(40))),)),)
        ),
        "leaf-renewed",
    ),
    "citadel-leaves-a-namespace-alone": warning(
        citadel(
            namespaces=(
                Namespace(
                    "left", labels={"ca.istio.io/override": "false"}, accounts=(Account("old", holds=(STRANGE,)),)
                ),
            )
        ),
        "root-held",
    ),
    "citadel-secret-of-the-other-citadel": critical(
        two_citadels(
            Namespace("factory", labels=FOR_TWO, accounts=(Account("default", holds=(CITADEL_ROOT,)), Account("robot")))
        ),
        "root-held",
    ),
    "citadel-secret-missing": warning(
        citadel(edits=(Edit(kind="Secret", namespace="bank", name="istio.default"),)), "copies-complete"
    ),
    "citadel-secret-missing-where-it-serves-none": Case(
        citadel(
            namespaces=(Namespace("bank", labels={"ca.istio.io/env": "elsewhere"}), TEAMS[1]),
            edits=(Edit(kind="Secret", namespace="bank", name="istio.default"),),
        )
    ),
    "left-of-citadel": Case(istiod(namespaces=(Namespace("bank", accounts=(Account("old", holds=(STRANGE,)),)),))),
    # What lives in the memory of Envoys,
    "unmoved-proxy": warning(proxies(holding(ROOT), ca=Authority(root=RENEWED)), "root-held"),
    "proxy-of-another-key": critical(proxies(holding(STRANGE, signed_by=STRANGE)), "root-held"),
    "proxy-with-another-identifier": critical(
        istiod(proxies=(*EVERYTHING[:4], holding(SHA1, signed_by=SHA1))), "root-held"
    ),
    "envoys-with-another-subject": warning(
        istiod(proxies=(*EVERYTHING[:4], holding(UTF8, signed_by=UTF8))), "root-held"
    ),
    "envoy-with-another-subject-beside-a-ztunnel": critical(proxies(holding(UTF8, signed_by=UTF8)), "leaf-accepted"),
    "leaf-expired": critical(
        proxies(Proxy("late", "shop", leaf=Leaf(issued=hours(-25), ends=hours(-1)))), "leaf-valid"
    ),
    "leaf-of-another-ca": critical(proxies(Proxy("odd", "shop", leaf=Leaf(signed_by=STRANGE))), "leaf-verifies"),
    "leaf-overdue": warning(proxies(Proxy("slow", "shop", leaf=OVERDUE)), "leaf-renewed"),
    "leaf-of-the-other-root-of-the-bundle": warning(
        proxies(Proxy("slow", "shop", leaf=Leaf(signed_by=STRANGE)), ca=replace(PLUGGED, more_roots=(STRANGE,))),
        "leaf-verifies",
    ),
    "leaf-that-others-refuse": critical(
        istiod(
            ca=replace(PLUGGED, more_roots=(STRANGE,)),
            proxies=(Proxy("slow", "shop", leaf=Leaf(signed_by=STRANGE)), Proxy("fast", "shop", holds=(CORPORATE,))),
        ),
        "leaf-accepted",
    ),
    # and in that of ztunnels.
    "lost-identity": critical(
        istiod(proxies=(ztunnel(Identity("cart"), Identity("audit", state="Unavailable: signing gRPC error")),)),
        "delivered",
    ),
    "identity-not-moved-yet": warning(
        istiod(ca=Authority(root=RENEWED), proxies=(ztunnel(Identity("cart"), Identity("audit", holds=(ROOT,))),)),
        "root-held",
    ),
    "identity-overdue": warning(istiod(proxies=(ztunnel(Identity("cart", leaf=OVERDUE)),)), "leaf-renewed"),
    "identity-with-another-identifier": warning(
        istiod(proxies=(ztunnel(Identity("cart"), Identity("audit", holds=(SHA1,), leaf=Leaf(signed_by=SHA1))),)),
        "root-held",
    ),
    "identity-with-another-subject": critical(
        istiod(proxies=(ztunnel(Identity("cart"), Identity("audit", holds=(UTF8,), leaf=Leaf(signed_by=UTF8))),)),
        "root-held",
    ),
    "old-ztunnels": Case(
        istiod(
            version="1.22.4",
            proxies=(
                ztunnel(Identity("cart"), version="1.22.4"),
                replace(ztunnel(Identity("audit"), version="1.20.1"), name="older"),
            ),
        )
    ),
    # Proxies that nobody can ask.
    "proxyless": unknown(proxies(Proxy("lean", "shop", "proxyless")), *UNSEEN),
    "agentgateway": unknown(proxies(Proxy("agents", "shop", "agentgateway")), *UNSEEN),
    "pending": unknown(proxies(Proxy("young", "shop", phase="Pending")), *UNSEEN),
    "refused": unknown(proxies(Proxy("mute", "shop", answers="refuses")), *UNSEEN),
    "garbage": unknown(proxies(Proxy("mad", "shop", answers="garbage")), *UNSEEN),
    "spire": Case(
        edited(
            istiod(proxies=(*EVERYTHING[:2], holding(STRANGE, signed_by=STRANGE, name="spiffe"))),
            "spiffe",
            {"spec": {"volumes": [{"name": "workload-socket", "csi": {"driver": "csi.spiffe.io"}}]}},
        )
    ),
    "no-ca-secret": Case(
        istiod(edits=(Edit(kind="Secret", namespace="istio-system", name="istio-ca-secret"), BYSTANDER))
    ),
}


def dump(mesh: Mesh, path: Path) -> Path:
    """Write the objects and what the proxies answer as one List."""
    listed = [*mesh.objects(), *_answers(mesh)]
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": listed}))
    return path


def _answers(mesh: Mesh) -> list[dict[str, Any]]:
    asked = ("config_dump?mask=dynamic_active_secrets,dynamic_warming_secrets", "certs")
    return [
        {
            "apiVersion": "meshtrust/v1",
            "kind": "ProxyAnswers",
            "metadata": {"namespace": namespace, "name": name},
            "answers": {
                path.partition("?")[0]: json.loads(text) if text[:1] in b"[{" else text.decode()
                for path in asked
                for status, text in [admin.page(path)]
                if status == 200
            },
        }
        for (namespace, name), admin in forwarding.admins_of(mesh).items()
        if (namespace, name) in mesh.pods() and mesh.pods()[namespace, name].phase == "Running"
    ]
