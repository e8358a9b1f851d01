"""Meshes by name, and the verdict that each must get: read live, recorded, and by the binary."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sandbox import Authority, Ca, ControlPlane, Edit, Leaf, Mesh, Namespace
from sandbox.issuing import ca_certificate, pem

if TYPE_CHECKING:
    from collections.abc import Mapping

# A live reading is judged by the real clock, so the descriptions are counted from it.
NOW = datetime.now(UTC).replace(microsecond=0)


def days(number: float) -> timedelta:
    return timedelta(days=number)


ROOT = Ca(starts=days(-365), ends=days(3285))
RENEWED = replace(ROOT, starts=days(-1), ends=days(3649))
STRANGE = Ca(key="strange")
CORPORATE = Ca(key="corporate", subject="O=Example,CN=root", key_type="ec", identifier="sha1")
ISSUING = Ca(key="issuing", subject="O=Example,CN=mesh", key_type="ec", ends=days(700), starts=days(-30))
PLUGGED = Authority(secret="cacerts", root=CORPORATE, chain=(ISSUING,))
TEAMS = (Namespace("bank"), Namespace("shop"))
OFF = {"CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL": "0"}
BYSTANDER = Edit(kind="Secret", namespace="istio-system", name="bystander", patch={"stringData": {"colour": "blue"}})


def istiod(**parts: object) -> Mesh:
    return Mesh(now=NOW, **({"namespaces": TEAMS} | parts))  # type: ignore[arg-type]  # the fields of a Mesh


def citadel(**parts: object) -> Mesh:
    return istiod(**({"era": "citadel", "version": "1.4.10", "ca": Authority(root=CITADEL_ROOT)} | parts))


CITADEL_ROOT = replace(ROOT, identifier="none")


@dataclass(frozen=True, slots=True)
class Case:
    """A mesh, its status, and every check that is not ok with its level."""

    mesh: Mesh
    status: str = "ok"
    findings: Mapping[str, str] = field(default_factory=dict)


def warning(mesh: Mesh, *checks: str) -> Case:
    return Case(mesh, "warning", dict.fromkeys(checks, "warning"))


def critical(mesh: Mesh, *checks: str, **others: str) -> Case:
    levels = dict.fromkeys(checks, "critical") | {check.replace("_", "-"): level for check, level in others.items()}
    return Case(mesh, "critical", levels)


def ending(left: float, *, life: float = 3650) -> Mesh:
    root = replace(ROOT, starts=days(left - life), ends=days(left))
    return istiod(ca=Authority(root=root), control_planes=(ControlPlane(env=OFF),))


def certificate_of(ca: Ca) -> str:
    return pem([ca_certificate(ca, NOW)])


def chain_of(text: str) -> Edit:
    """`cacerts` with another cert-chain.pem."""
    patch = {"stringData": {"cert-chain.pem": text}} if text else {"data": {"cert-chain.pem": ""}}
    return Edit(kind="Secret", namespace="istio-system", name="cacerts", patch=patch)


REGIONAL = Ca(key="regional", subject="O=Example,CN=region", key_type="ec")
UNDER_CORPORATE = replace(REGIONAL, signed_by=CORPORATE)
UNDER_REGIONAL = replace(ISSUING, signed_by=UNDER_CORPORATE)
UNDER_ROOT = replace(ISSUING, signed_by=CORPORATE)

CASES: Mapping[str, Case] = {
    # the CA that signs, in every place that it can stand
    "healthy-istiod": Case(istiod()),
    "healthy-istiod-without-revision": Case(istiod(version="1.5.4", control_planes=(ControlPlane(revision=""),))),
    "healthy-citadel": Case(citadel()),
    "healthy-citadel-1.0": Case(
        citadel(version="1.0.6", ca=Authority(root=replace(CITADEL_ROOT, subject="O=k8s.cluster.local")))
    ),
    "healthy-generated-cacerts": Case(
        istiod(
            ca=Authority(secret="cacerts", root=ROOT, generated=True),
            control_planes=(ControlPlane(env={"USE_CACERTS_FOR_SELF_SIGNED_CA": "true"}),),
        )
    ),
    "healthy-plugged-in": Case(istiod(ca=PLUGGED)),
    "healthy-plugged-in-tls-names": Case(istiod(ca=replace(PLUGGED, layout="tls"))),
    "healthy-plugged-in-citadel": Case(
        citadel(ca=PLUGGED, control_planes=(ControlPlane(args=("--self-signed-ca=false",)),))
    ),
    "healthy-elsewhere": Case(istiod(home="aks-istio-system", control_planes=(ControlPlane(revision="asm-1-29"),))),
    "healthy-two-revisions": Case(
        istiod(control_planes=(ControlPlane(), ControlPlane(revision="canary", version="1.30.0")))
    ),
    "healthy-trust-bundle": Case(
        istiod(
            version="1.30.1",
            trust_bundle=(ROOT,),
            control_planes=(ControlPlane(env={"ENABLE_CLUSTER_TRUST_BUNDLE_API": "true"}),),
        )
    ),
    "healthy-two-roots": Case(istiod(ca=replace(PLUGGED, more_roots=(STRANGE,)))),
    "healthy-two-meshes": Case(
        istiod(
            others=(
                Mesh(
                    now=NOW,
                    home="istio-two",
                    ca=Authority(root=replace(ROOT, key="two")),
                    namespaces=(Namespace("factory"),),
                    control_planes=(ControlPlane(revision="two"),),
                ),
            )
        )
    ),
    "external-ca": Case(
        istiod(
            ca=Authority(secret="", root=CORPORATE),
            control_planes=(ControlPlane(env={"EXTERNAL_CA": "ISTIOD_RA_KUBERNETES_API"}),),
        )
    ),
    "external-two-replicas": Case(
        istiod(
            ca=Authority(secret="", root=CORPORATE),
            control_planes=(ControlPlane(env={"ENABLE_CA_SERVER": "false"}, replicas=2),),
        )
    ),
    "external-expired": critical(
        istiod(
            ca=Authority(secret="", root=replace(CORPORATE, ends=days(-1))),
            control_planes=(ControlPlane(env={"ENABLE_CA_SERVER": "false"}),),
        ),
        "root-valid",
    ),
    "external-no-ca-server": Case(
        istiod(
            ca=Authority(secret="", root=CORPORATE),
            control_planes=(ControlPlane(env={"ENABLE_CA_SERVER": "false"}),),
            istiod_tls=Leaf(ends=days(89), issued=days(-1), signed_by=CORPORATE, identity="dns:istiod"),
        )
    ),
    "leftover-beside-plugged-in": Case(istiod(ca=PLUGGED, beside=(Authority(root=replace(ROOT, ends=days(-3))),))),
    "cacerts-waits-with-another-root": critical(istiod(beside=(replace(PLUGGED, created=days(-1)),)), "ca-waits"),
    "cacerts-waits-with-the-same-root": warning(
        istiod(beside=(Authority(secret="cacerts", root=ROOT, created=days(-1)),)), "ca-waits"
    ),
    "cacerts-waits-incomplete": critical(
        istiod(beside=(replace(PLUGGED, created=days(-1), lacks=("cert-chain.pem",)),)), "ca-waits"
    ),
    "cacerts-of-one-restarted-revision": critical(
        istiod(
            ca=replace(PLUGGED, created=days(-5)),
            beside=(Authority(),),
            control_planes=(ControlPlane(), ControlPlane(revision="canary", started=days(-1))),
        ),
        "instances-agree",
        "copies-agree",
        "ca-loaded",
    ),
    "signer-not-sent-along": critical(istiod(ca=PLUGGED, edits=(chain_of(""),)), "chain-verifies"),
    "only-the-root-sent-along": critical(
        istiod(ca=PLUGGED, edits=(chain_of(certificate_of(CORPORATE)),)), "chain-verifies"
    ),
    "intermediate-beside-the-signer-and-not-in-the-chain": critical(
        istiod(
            ca=replace(PLUGGED, chain=(REGIONAL, ISSUING)),
            edits=(
                Edit(
                    kind="Secret",
                    namespace="istio-system",
                    name="cacerts",
                    patch={
                        "stringData": {
                            "ca-cert.pem": certificate_of(UNDER_REGIONAL) + certificate_of(UNDER_CORPORATE),
                            "cert-chain.pem": certificate_of(UNDER_REGIONAL),
                        }
                    },
                ),
            ),
        ),
        "chain-verifies",
    ),
    "loaded-edition-ends-in-hours": critical(
        istiod(
            ca=replace(PLUGGED, root=replace(CORPORATE, starts=days(-3648), ends=days(0.25))),
            beside=(replace(PLUGGED, root=replace(CORPORATE, starts=days(-1))),),
        ),
        "root-lasts",
        ca_loaded="warning",
    ),
    "cacerts-deleted-beside-a-leftover": critical(
        istiod(
            ca=PLUGGED,
            beside=(Authority(),),
            edits=(Edit(kind="Secret", namespace="istio-system", name="cacerts"),),
        ),
        "ca-loaded",
    ),
    "unused-certificate-in-the-chain-ends": Case(
        istiod(
            ca=PLUGGED,
            edits=(chain_of(certificate_of(UNDER_ROOT) + certificate_of(replace(STRANGE, ends=days(2)))),),
        )
    ),
    "next-edition-of-the-root-begins-tomorrow": Case(
        istiod(ca=replace(PLUGGED, more_roots=(replace(CORPORATE, starts=days(1), ends=days(9000)),)))
    ),
    "stale-copy-in-a-namespace-that-ends": warning(
        istiod(namespaces=(Namespace("bank", terminating=True, publishes=(STRANGE,)), TEAMS[1])), "copies-agree"
    ),
    "stale-copy-where-istiod-writes-none": warning(
        istiod(namespaces=(Namespace("kube-public", publishes=(STRANGE,)), *TEAMS)), "copies-agree"
    ),
    "renewal-of-an-unknown-version": Case(
        istiod(
            ca=Authority(root=replace(ROOT, identifier="sha1", starts=days(-2890), ends=days(750))),
            control_planes=(ControlPlane(image="reg.example/istio/pilot@sha256:" + "a" * 64),),
        ),
        "unknown",
        {"renewal-harmless": "unknown"},
    ),
    "an-istiod-that-ends-is-not-asked": Case(
        istiod(
            ca=replace(PLUGGED, created=days(-20)),
            edits=(
                Edit(
                    kind="Pod",
                    namespace="istio-system",
                    name="istiod-old",
                    patch={
                        "metadata": {"labels": {"app": "istiod"}, "deletionTimestamp": "2026-11-24T08:00:00Z"},
                        "spec": {"containers": [{"name": "discovery", "image": "istio/pilot:1.29.2"}]},
                        "status": {
                            "containerStatuses": [
                                {"name": "discovery", "state": {"running": {"startedAt": "2020-01-01T00:00:00Z"}}}
                            ]
                        },
                    },
                ),
            ),
        )
    ),
    "no-ca-secret": critical(
        istiod(edits=(Edit(kind="Secret", namespace="istio-system", name="istio-ca-secret"), BYSTANDER)), "ca-stored"
    ),
    "scaled-to-zero": Case(istiod(control_planes=(ControlPlane(replicas=0),))),
    # how long it lasts
    "root-20-days": warning(ending(20), "root-lasts", "renewal-done"),
    "root-10-days": critical(ending(10), "root-lasts", renewal_done="warning"),
    "root-of-30-days-with-8-left": Case(istiod(ca=Authority(root=replace(ROOT, starts=days(-22), ends=days(8))))),
    "root-expired": critical(ending(-1), "signer-valid"),
    "root-not-valid-yet": critical(
        istiod(ca=Authority(root=replace(ROOT, starts=timedelta(minutes=30)))), "signer-valid"
    ),
    "intermediate-10-days": critical(
        istiod(ca=replace(PLUGGED, chain=(replace(ISSUING, starts=days(-720), ends=days(10)),))), "signer-lasts"
    ),
    "intermediate-expired": critical(
        istiod(ca=replace(PLUGGED, chain=(replace(ISSUING, ends=days(-1)),))), "signer-valid"
    ),
    "extra-root-10-days": warning(
        istiod(ca=replace(PLUGGED, more_roots=(replace(STRANGE, ends=days(10)),))), "root-lasts"
    ),
    "extra-root-expired": warning(
        istiod(ca=replace(PLUGGED, more_roots=(replace(STRANGE, ends=days(-10)),))), "root-valid"
    ),
    "crl-past-its-update": critical(istiod(ca=replace(PLUGGED, crl_ends=days(-1))), "crl-current"),
    "crl-current": Case(istiod(ca=replace(PLUGGED, crl_ends=days(5)))),
    "serving-expired": critical(
        istiod(istiod_tls=Leaf(issued=days(-90), ends=days(-1), identity="dns:istiod")), "serving-lasts"
    ),
    # is it whole
    "other-key": critical(istiod(ca=Authority(stored_key="strange")), "key-matches"),
    "no-ca-bit": critical(istiod(ca=Authority(root=replace(ROOT, is_ca=False))), "ca-may-sign"),
    "no-sign-usage": critical(istiod(ca=Authority(root=replace(ROOT, usage=("digital_signature",)))), "ca-may-sign"),
    "sha1-root": warning(istiod(ca=Authority(root=replace(ROOT, signature="sha1"))), "signature-strong"),
    "sha1-intermediate": critical(
        istiod(
            ca=Authority(
                secret="cacerts",
                root=replace(CORPORATE, key_type="rsa"),
                chain=(replace(ISSUING, signature="sha1"),),
            )
        ),
        "signature-strong",
    ),
    "wrong-chain": critical(
        istiod(ca=replace(PLUGGED, chain=(replace(ISSUING, signed_by=replace(CORPORATE, key="impostor")),))),
        "chain-verifies",
    ),
    # who holds it
    "stale-copy": critical(
        istiod(namespaces=(Namespace("bank", publishes=(STRANGE,)), Namespace("shop"))), "copies-agree"
    ),
    "copy-not-moved-yet": warning(
        istiod(ca=Authority(root=RENEWED), namespaces=(Namespace("bank", publishes=(ROOT,)), Namespace("shop"))),
        "copies-agree",
    ),
    "copy-of-an-expired-edition": critical(
        istiod(namespaces=(Namespace("bank", publishes=(replace(ROOT, ends=days(-1)),)), Namespace("shop"))),
        "copies-agree",
    ),
    "copy-with-another-identifier": critical(
        istiod(namespaces=(Namespace("bank", publishes=(replace(ROOT, identifier="sha1"),)), Namespace("shop"))),
        "copies-agree",
    ),
    "copy-with-another-subject": critical(
        istiod(namespaces=(Namespace("bank", publishes=(replace(ROOT, string_type="utf8"),)), Namespace("shop"))),
        "copies-agree",
    ),
    "copies-in-mixed-order": Case(
        istiod(
            ca=replace(PLUGGED, more_roots=(STRANGE,)),
            namespaces=(Namespace("bank", publishes=(STRANGE, CORPORATE, STRANGE)), Namespace("shop")),
        )
    ),
    "secret-edited-not-loaded": warning(
        istiod(
            ca=Authority(root=RENEWED),
            namespaces=tuple(Namespace(name, publishes=(ROOT,)) for name in ("istio-system", "bank", "shop")),
        ),
        "ca-loaded",
    ),
    "left-behind-beside-a-trust-bundle": warning(
        istiod(
            version="1.30.1",
            trust_bundle=(ROOT,),
            control_planes=(ControlPlane(env={"ENABLE_CLUSTER_TRUST_BUNDLE_API": "true"}),),
            namespaces=(Namespace("bank", publishes=(STRANGE,)), Namespace("shop")),
        ),
        "copies-agree",
    ),
    "citadel-configmap-not-moved": warning(
        citadel(ca=Authority(root=replace(CITADEL_ROOT, starts=days(-1))), istio_security=(CITADEL_ROOT,)),
        "copies-agree",
    ),
    "home-copy-missing": warning(istiod(namespaces=(Namespace("istio-system", publishes=()), *TEAMS)), "copies-agree"),
    # what its own renewal does
    "renewal-overdue": warning(
        istiod(ca=Authority(root=replace(ROOT, starts=days(-3000), ends=days(650)))), "renewal-done"
    ),
    "renewal-changes-the-identifier": warning(
        istiod(ca=Authority(root=replace(ROOT, identifier="sha1", starts=days(-2900), ends=days(750)))),
        "renewal-harmless",
    ),
    "renewal-changes-the-identifier-far-away": Case(istiod(ca=Authority(root=replace(ROOT, identifier="sha1")))),
    "renewal-changes-the-subject": warning(
        istiod(ca=Authority(root=replace(ROOT, string_type="utf8", starts=days(-2900), ends=days(750)))),
        "renewal-harmless",
    ),
    "renewal-adds-an-identifier": Case(
        istiod(ca=Authority(root=replace(ROOT, identifier="none", starts=days(-2900), ends=days(750))))
    ),
    "evil-subject": Case(istiod(ca=Authority(root=replace(ROOT, subject="O=\x1b[31mred\u202e", string_type="utf8")))),
    "key-in-the-annotation": warning(istiod(ca=Authority(applied=True)), "key-hidden"),
}
