"""Meshes by name whose root is to be changed, and what each plan must say: read live and recorded alike."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from istio_root.transition.wish import Verb, Wish
from meshes import (
    CITADEL_ROOT,
    CORPORATE,
    NOW,
    OFF,
    PLUGGED,
    RENEWED,
    ROOT,
    STRANGE,
    TEAMS,
    certificate_of,
    citadel,
    days,
    istiod,
)
from sandbox import Account, Authority, Ca, ControlPlane, Edit, Identity, Leaf, Mesh, Namespace, Proxy
from sandbox.issuing import ca_certificate, private_key
from verified_meshes import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Mapping

HOME, SECRET = "istio-system", "istio-ca-secret"
TRANSITION = Wish(Verb.TRANSITION)
_YESTERDAY = days(-1)
SHA1, UTF8, BARE = replace(ROOT, identifier="sha1"), replace(ROOT, string_type="utf8"), replace(ROOT, identifier="none")
# Ends are some hours off whole days: what is left is said in days, and a server's clock is read in whole seconds.
LASTING = replace(ROOT, starts=days(-0.5), ends=days(3649.5))
ENDED = replace(ROOT, starts=days(-3651), ends=timedelta(hours=-2.5))
OF_BEFORE = Leaf(issued=timedelta(hours=-5), ends=timedelta(hours=19))
CITADEL_RENEWED = replace(CITADEL_ROOT, starts=days(-1), ends=days(3649))
PLANNED, CITADEL = ("write", "restart", "publish"), ("write", "restart", "publish", "restart-parts")
BLOCKED, WARNED = "critical", "warning"
EVERYWHERE = (HOME, *(team.name for team in TEAMS))
YOUNG = (ControlPlane(started=timedelta(hours=-2)),)
TWO = (ControlPlane(), ControlPlane(revision="canary", started=timedelta(hours=-2)))
BOTH = (*YOUNG, TWO[1])


@dataclass(frozen=True, slots=True)
class Case:
    """A mesh, what is wished for it, and the plan: its status, every check that is not ok, its steps."""

    mesh: Mesh
    status: str = "ok"
    findings: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[str, ...] = PLANNED
    wish: Wish = TRANSITION


def blocked(mesh: Mesh, *checks: str, steps: tuple[str, ...] = PLANNED, wish: Wish = TRANSITION) -> Case:
    return Case(mesh, BLOCKED, dict.fromkeys(checks, BLOCKED), steps, wish)


def warned(mesh: Mesh, *checks: str, steps: tuple[str, ...] = PLANNED, wish: Wish = TRANSITION) -> Case:
    return Case(mesh, WARNED, dict.fromkeys(checks, WARNED), steps, wish)


def wished(**what: Any) -> Wish:
    return Wish(Verb.TRANSITION, **what)


def edited(kind: str, name: str, patch: Mapping[str, Any], namespace: str = HOME) -> Edit:
    return Edit(kind=kind, namespace=namespace, name=name, patch=patch)


def secret(**patch: Any) -> Edit:
    return edited("Secret", SECRET, patch)


def texts(**keys: str) -> Edit:
    """Data keys of the CA's Secret: `ca_cert`, `root_cert`, `previous_ca_cert`."""
    return secret(stringData={f"{key.replace('_', '-')}.pem": text for key, text in keys.items()})


def kept(previous: Ca, present: Ca = ROOT, *, at: timedelta = _YESTERDAY, restored: bool = False) -> Edit:
    """What a change from `previous` to `present` has left in the Secret."""
    mark = ca_certificate(present, NOW).fingerprint(SHA256()).hex()
    how = "set aside" if restored else "superseded"
    note = f"# {how} by sha256:{mark} at {NOW + at:%Y-%m-%dT%H:%M:%SZ}\n"
    return texts(previous_ca_cert=note + certificate_of(previous))


def written_by(manager: str, operation: str, at: timedelta, *, labelled: timedelta | None = None) -> Edit:
    """Who has written the root into the CA's Secret, and how; and when somebody else has labelled that since."""
    written = _entry(manager, operation, at, {"f:data": {"f:ca-cert.pem": {}, "f:previous-ca-cert.pem": {}}})
    label = {"f:metadata": {"f:labels": {"f:team": {}}}}
    entries = [written] if labelled is None else [written, _entry("kubectl-label", "Update", labelled, label)]
    return secret(metadata={"managedFields": entries})


def _entry(manager: str, operation: str, at: timedelta, fields: Mapping[str, Any]) -> dict[str, Any]:
    when = f"{NOW + at:%Y-%m-%dT%H:%M:%SZ}"
    return {"manager": manager, "operation": operation, "time": when, "fieldsType": "FieldsV1", "fieldsV1": fields}


def pod_of(deployment: str) -> str:
    """Name of the pod of a part of a Citadel's control plane."""
    names = (str(one["metadata"]["name"]) for one in citadel().objects() if one["kind"] == "Pod")
    return next(name for name in names if name.startswith(f"{deployment}-"))


def rolled(name: str = "istiod", **patch: Any) -> Edit:
    return edited("Deployment", name, patch)


def publishing(ca: Ca, *names: str) -> tuple[Namespace, ...]:
    """The teams' namespaces and the home, of which the named ones hold another root."""
    return tuple(Namespace(name, publishes=(ca,) if name in names else None) for name in EVERYWHERE)


def due_in(time: timedelta, ca: Ca = ROOT) -> Ca:
    """A root of ten years whose own renewal, at a fifth of its life, is due in this time."""
    life = days(3650)
    return replace(ca, starts=time - 0.8 * life, ends=time + 0.2 * life)


def ending_in(hours: float) -> Ca:
    return replace(ROOT, starts=days(-3650), ends=timedelta(hours=hours))


def renewing(root: Ca, proxies: tuple[Proxy, ...] = (), **env: str) -> Mesh:
    return istiod(ca=Authority(root=root), control_planes=(ControlPlane(env=env),), proxies=proxies)


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


AGING = replace(ROOT, starts=days(-3630.5), ends=days(19.5))
AGING_SHA1 = replace(AGING, identifier="sha1")


def just_started(started: timedelta, root: Ca = AGING, *, every: str = "1h") -> Mesh:
    """Its root has been due for renewal for long, and its istiod, which would look for that, has not run for long."""
    plane = ControlPlane(started=started, env={"CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL": every})
    return istiod(ca=Authority(root=root), control_planes=(plane,))


def expired(**parts: Any) -> Mesh:
    """Its root has ended, and one of its leaves with it; the others are valid still, and all were signed before."""
    late = Leaf(issued=days(-1), ends=ENDED.ends)
    proxies = tuple(replace(one, leaf=late if one.name == "ledger" else OF_BEFORE) for one in EVERYTHING[:-1])
    return istiod(**({"ca": Authority(root=ENDED), "proxies": proxies} | parts))


def not_moved(*places: str) -> tuple[Namespace, ...]:
    """Namespaces of a Citadel mesh of which the named ones hold the root of before in each Secret."""
    home = ("default", *(f"istio-{part}-service-account" for part in _PARTS))
    accounts = {name: home if name == HOME else ("default",) for name in EVERYWHERE}
    return tuple(
        Namespace(name, accounts=tuple(Account(one, holds=(CITADEL_ROOT,) if name in places else None) for one in own))
        for name, own in accounts.items()
    )


_PARTS = ("citadel", "pilot", "galley", "sidecar-injector")


def without_private_key(mesh: Mesh, text: str = "") -> Mesh:
    """As a recording keeps it: with the public half of the CA's key alone, or with another text in its place."""
    public = private_key(mesh.ca.signer.key, mesh.ca.signer.key_type).public_key()
    half = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return replace(mesh, edits=(*mesh.edits, texts(ca_key=text or half)))


KEEPERS = {
    "argo-cd-label": {"labels": {"argocd.argoproj.io/instance": "mesh"}},
    "argo-cd-annotation": {"annotations": {"argocd.argoproj.io/tracking-id": "mesh:/Secret:istio-system/x"}},
    "flux-kustomize": {"labels": {"kustomize.toolkit.fluxcd.io/name": "mesh"}},
    "flux-helm": {"labels": {"helm.toolkit.fluxcd.io/name": "mesh"}},
    "helm-annotation": {"annotations": {"meta.helm.sh/release-name": "istiod"}},
    "helm-label": {"labels": {"app.kubernetes.io/managed-by": "Helm"}},
    "fleet": {"annotations": {"objectset.rio.cattle.io/id": "mesh"}},
    "config-sync": {"annotations": {"configmanagement.gke.io/managed": "enabled"}},
    "external-secrets": {"annotations": {"reconcile.external-secrets.io/data-hash": "1"}},
    "sealed-secrets": {"annotations": {"sealedsecrets.bitnami.com/managed": "true"}},
    "kapp": {"labels": {"kapp.k14s.io/app": "1"}},
}

_AT = timedelta(hours=-4)
LABELLED = written_by("kubectl-istio-root", "Update", _AT, labelled=timedelta(hours=-1))
_EMPTY_HOME = Namespace(HOME, publishes=())
_CITADEL_NOTE = kept(CITADEL_ROOT, CITADEL_RENEWED, at=_AT)
WITHOUT_DEPLOYMENT = Edit(kind="Deployment", namespace=HOME, name="istiod")
PARTED = istiod(proxies=(*EVERYTHING[:4], Proxy("slow", "shop", holds=(SHA1,), leaf=Leaf(signed_by=SHA1))))
TRANSITIONS: Mapping[str, Case] = {
    # what is asked for
    "an-istiod": Case(istiod(proxies=EVERYTHING)),
    "until-the-last-proxy": Case(istiod(proxies=EVERYTHING), steps=(*PLANNED, "move"), wish=wished(wait=True)),
    "without-a-restart": Case(istiod(), steps=("write", "publish"), wish=wished(restart=False)),
    "as-long-as-was-asked-for": Case(istiod(ca=Authority(root=LASTING)), steps=()),
    "longer-than-what-is-left": Case(istiod(ca=Authority(root=RENEWED)), wish=wished(lifetime=days(5000))),
    "shorter-than-what-is-left": blocked(istiod(), "lifetime-gains", steps=(), wish=wished(lifetime=days(3000))),
    "longer-than-a-new-one-would": Case(istiod(ca=Authority(root=replace(ROOT, ends=days(4000)))), steps=()),
    "some-hours-shorter-than-what-is-left": Case(istiod(ca=Authority(root=replace(ROOT, ends=days(3650.4)))), steps=()),
    "shorter-and-without-an-identifier": blocked(
        istiod(ca=Authority(root=replace(SHA1, ends=days(3285.4)))),
        "lifetime-gains",
        wish=wished(drop=True, lifetime=days(3000)),
    ),
    "shorter-than-a-leaf": blocked(
        renewing(ENDED, **OFF),
        "root-proven",
        wish=wished(lifetime=timedelta(hours=20)),
    ),
    "identifier-dropped": Case(istiod(ca=Authority(root=SHA1), proxies=EVERYTHING), wish=wished(drop=True)),
    "identifier-dropped-from-a-root-that-lasts": Case(istiod(ca=Authority(root=LASTING)), wish=wished(drop=True)),
    "no-identifier-to-drop": Case(
        istiod(ca=Authority(root=replace(LASTING, identifier="none"))), steps=(), wish=wished(drop=True)
    ),
    "begins-tomorrow-though-it-ends-late-enough": Case(
        istiod(ca=Authority(root=replace(LASTING, starts=days(1))), proxies=EVERYTHING)
    ),
    # whose CA it is
    "a-citadel": Case(citadel(proxies=(Proxy("ledger", "bank"), Proxy("web", "shop", "gateway"))), steps=CITADEL),
    "a-generated-cacerts": Case(
        istiod(
            ca=Authority(secret="cacerts", generated=True),
            control_planes=(ControlPlane(env={"USE_CACERTS_FOR_SELF_SIGNED_CA": "true"}),),
        )
    ),
    "a-generated-cacerts-that-waits": blocked(
        istiod(beside=(Authority(secret="cacerts", generated=True, created=days(-1)),)), "restart-safe"
    ),
    "a-plugged-in-ca": blocked(istiod(ca=PLUGGED), "ca-managed", steps=()),
    "a-plugged-in-ca-of-a-citadel": blocked(
        citadel(ca=PLUGGED, control_planes=(ControlPlane(args=("--self-signed-ca=false",)),)), "ca-managed", steps=()
    ),
    "an-external-ca": blocked(
        istiod(
            ca=Authority(secret="", root=CORPORATE),
            control_planes=(ControlPlane(env={"EXTERNAL_CA": "ISTIOD_RA_KUBERNETES_API"}),),
        ),
        "ca-managed",
        steps=(),
    ),
    "a-ca-that-lives-in-memory-alone": blocked(
        istiod(edits=(Edit(kind="Secret", namespace=HOME, name=SECRET),)), "ca-managed", steps=()
    ),
    "a-secret-without-a-certificate": blocked(
        istiod(edits=(texts(ca_cert=""),)), "ca-managed", "certificates-read", steps=()
    ),
    "a-certificate-that-is-cut": blocked(
        istiod(edits=(texts(ca_cert=certificate_of(ROOT) + certificate_of(STRANGE)[:-300]),)), "certificates-read"
    ),
    "the-key-of-another-ca": blocked(istiod(ca=Authority(stored_key="strange")), "key-matches", "root-signs"),
    "a-root-that-is-no-ca": blocked(istiod(ca=Authority(root=replace(ROOT, is_ca=False))), "ca-may-sign", "root-signs"),
    "instances-of-two-cas": blocked(
        istiod(
            ca=replace(PLUGGED, created=days(-5)),
            beside=(Authority(),),
            control_planes=(ControlPlane(), ControlPlane(revision="canary", started=days(-1))),
        ),
        "instances-agree",
        "copies-known",
        "webhooks-known",
        steps=("write", "restart", "restart", "publish"),
    ),
    "several-revisions-of-one-root": Case(
        istiod(control_planes=(ControlPlane(), ControlPlane(revision="canary", version="1.30.0", replicas=2))),
        steps=("write", "restart", "restart", "publish"),
    ),
    # what stands in the way of the write
    "an-immutable-secret": blocked(istiod(edits=(secret(immutable=True),)), "secret-writable"),
    "an-immutable-secret-that-need-not-be-written": Case(
        istiod(ca=Authority(root=LASTING), edits=(secret(immutable=True),)), steps=()
    ),
    "a-secret-that-is-deleted": blocked(
        istiod(edits=(secret(metadata={"deletionTimestamp": f"{NOW:%Y-%m-%dT%H:%M:%SZ}"}),)), "secret-writable"
    ),
    **{
        f"kept-by-{name}": warned(istiod(edits=(secret(metadata=metadata),)), "secret-unkept")
        for name, metadata in KEEPERS.items()
    },
    **{
        f"written-by-hand-with-{name}": Case(istiod(ca=Authority(manager=name)))
        for name in ("kubectl", "kubectl-create", "kubectl-edit", "kubectl-patch", "kubectl-replace")
    },
    "applied-by-kubectl": warned(istiod(ca=Authority(manager="kubectl-client-side-apply")), "secret-unkept"),
    "applied-by-the-server-for-kubectl": warned(
        istiod(edits=(written_by("kubectl", "Apply", _YESTERDAY),)), "secret-unkept"
    ),
    "written-by-argo-cd": warned(istiod(ca=Authority(manager="argocd-controller")), "secret-unkept"),
    "written-by-this-program": Case(istiod(ca=Authority(manager="kubectl-istio-root"))),
    "marked-and-not-to-be-written": Case(
        istiod(
            ca=Authority(root=LASTING, manager="argocd-controller"), edits=(secret(metadata=KEEPERS["helm-label"]),)
        ),
        steps=(),
    ),
    # what a restart would do
    "a-whole-cacerts-waits": blocked(istiod(beside=(replace(PLUGGED, created=days(-1)),)), "restart-safe"),
    "a-cacerts-with-the-same-root-waits": blocked(
        istiod(beside=(Authority(secret="cacerts", created=days(-1)),)), "restart-safe"
    ),
    "an-incomplete-cacerts-waits": blocked(
        istiod(beside=(replace(PLUGGED, created=days(-1), lacks=("cert-chain.pem",)),)), "restart-safe"
    ),
    "an-incomplete-cacerts-that-an-old-istiod-leaves-aside": Case(
        istiod(version="1.20.3", beside=(replace(PLUGGED, created=days(-1), lacks=("ca-key.pem", "ca-cert.pem")),))
    ),
    "a-control-plane-that-is-not-ready": blocked(
        istiod(control_planes=(ControlPlane(ready=False),)), "control-plane-ready"
    ),
    "a-galley-that-is-not-ready": blocked(
        citadel(
            edits=(
                edited(
                    "Pod",
                    pod_of("istio-galley"),
                    {"status": {"containerStatuses": [{"name": "galley", "ready": False}]}},
                ),
            )
        ),
        "control-plane-ready",
        steps=CITADEL,
    ),
    "a-paused-rollout": blocked(istiod(edits=(rolled(spec={"paused": True}),)), "control-plane-ready"),
    "a-rollout-in-the-middle": blocked(istiod(edits=(rolled(status={"updatedReplicas": 0}),)), "control-plane-ready"),
    "scaled-to-zero": warned(
        istiod(control_planes=(ControlPlane(replicas=0),), proxies=EVERYTHING), "control-plane-ready", steps=("write",)
    ),
    "run-by-no-deployment": blocked(
        istiod(edits=(WITHOUT_DEPLOYMENT,), proxies=EVERYTHING), "control-plane-ready", steps=("write", "publish")
    ),
    "run-by-no-deployment-and-not-to-be-restarted": Case(
        istiod(edits=(WITHOUT_DEPLOYMENT,), proxies=EVERYTHING), steps=("write", "publish"), wish=wished(restart=False)
    ),
    # what loads it where nothing is restarted
    "never-loaded": blocked(
        renewing(ROOT, **OFF), "root-loads", steps=("write", "publish"), wish=wished(restart=False)
    ),
    "never-loaded-by-one-of-two-revisions": blocked(
        istiod(control_planes=(ControlPlane(), ControlPlane(revision="canary", env=OFF))),
        "root-loads",
        steps=("write", "publish"),
        wish=wished(restart=False),
    ),
    "never-loaded-by-a-citadel-without-a-rotator": blocked(
        citadel(version="1.1.10"), "root-loads", steps=("write", "publish"), wish=wished(restart=False)
    ),
    "loaded-by-a-citadel-with-a-rotator": Case(citadel(), steps=("write", "publish"), wish=wished(restart=False)),
    "loaded-by-the-start-of-what-is-scaled-to-zero": warned(
        istiod(control_planes=(ControlPlane(replicas=0, env=OFF),), proxies=EVERYTHING),
        "control-plane-ready",
        steps=("write",),
        wish=wished(restart=False),
    ),
    "written-and-never-loaded": Case(
        istiod(beside=(Authority(root=RENEWED),), control_planes=(ControlPlane(env=OFF),)),
        BLOCKED,
        {"change-finished": WARNED, "root-loads": BLOCKED},
        ("publish",),
        wished(restart=False),
    ),
    # what the control plane does by itself
    "renewed-within-the-hour": blocked(renewing(due_in(timedelta(minutes=50))), "renewal-far"),
    "renewed-after-the-hour": Case(renewing(due_in(timedelta(minutes=70)))),
    "renewed-now-at-its-next-look": blocked(renewing(due_in(timedelta(minutes=-100))), "renewal-far"),
    "not-renewed-though-due": Case(renewing(due_in(timedelta(minutes=-130)))),
    "not-renewed-though-due-and-looked-for-daily": blocked(
        renewing(due_in(timedelta(hours=-40)), CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL="24h"), "renewal-far"
    ),
    "renewed-at-a-first-look-that-is-to-come": blocked(just_started(minutes(-50)), "renewal-far"),
    "renewed-at-a-first-look-within-the-hour": blocked(just_started(minutes(-5)), "renewal-far"),
    "renewed-at-a-first-look-that-is-late-by-chance": blocked(just_started(minutes(-110)), "renewal-far"),
    "not-renewed-at-a-first-look-that-is-past": Case(just_started(minutes(-130))),
    "renewed-at-a-first-look-that-comes-tomorrow": Case(just_started(minutes(-50), every="24h")),
    "renewed-at-a-first-look-that-may-come-now": blocked(
        just_started(timedelta(hours=-30), every="24h"), "renewal-far"
    ),
    "renewed-at-a-first-look-to-the-harm-of-all": warned(just_started(minutes(-50), AGING_SHA1), "renewal-far"),
    "renewed-at-the-first-look-of-another-revision": blocked(
        replace(
            just_started(minutes(-50)),
            control_planes=(ControlPlane(), ControlPlane(revision="canary", started=minutes(-50))),
        ),
        "renewal-far",
        steps=("write", "restart", "restart", "publish"),
    ),
    "renewed-by-no-first-look-of-a-revision-that-never-looks": Case(
        replace(
            just_started(minutes(-50)),
            control_planes=(ControlPlane(), ControlPlane(revision="canary", started=minutes(-50), env=OFF)),
        ),
        steps=("write", "restart", "restart", "publish"),
    ),
    "renewal-switched-off": Case(renewing(due_in(timedelta(minutes=10)), **OFF)),
    "renewed-within-the-hour-to-the-harm-of-all": warned(renewing(due_in(timedelta(minutes=50), SHA1)), "renewal-far"),
    "renewed-by-no-citadel-of-that-age": Case(
        citadel(version="1.1.10", ca=Authority(root=due_in(timedelta(minutes=50), CITADEL_ROOT))), steps=CITADEL
    ),
    # who holds it
    "a-copy-of-another-root": blocked(istiod(namespaces=publishing(STRANGE, "bank")), "copies-known"),
    "a-copy-with-another-identifier": blocked(istiod(namespaces=publishing(SHA1, "bank")), "copies-known"),
    "a-copy-with-another-subject": blocked(istiod(namespaces=publishing(UTF8, "bank")), "copies-known"),
    "a-copy-that-nobody-writes": warned(
        istiod(namespaces=(Namespace("kube-public", publishes=(STRANGE,)), *TEAMS)), "copies-known"
    ),
    "webhooks-of-another-root": blocked(istiod(control_planes=(ControlPlane(ca_bundle=(STRANGE,)),)), "webhooks-known"),
    "webhooks-with-another-identifier": Case(istiod(control_planes=(ControlPlane(ca_bundle=(SHA1,)),))),
    "webhooks-of-a-revision-that-is-gone": warned(
        istiod(control_planes=(ControlPlane(), ControlPlane(revision="gone", replicas=0, ca_bundle=(STRANGE,)))),
        "webhooks-known",
        "control-plane-ready",
    ),
    "a-proxy-of-another-key": warned(
        istiod(proxies=(*EVERYTHING, Proxy("odd", "shop", holds=(STRANGE,), leaf=Leaf(signed_by=STRANGE)))),
        "proxies-unharmed",
    ),
    "an-identity-of-another-key": warned(
        istiod(
            proxies=(
                Proxy(
                    "ztunnel",
                    HOME,
                    "ztunnel",
                    identities=(Identity("cart"), Identity("odd", holds=(STRANGE,), leaf=Leaf(signed_by=STRANGE))),
                ),
            )
        ),
        "proxies-unharmed",
    ),
    "a-proxy-that-a-renewal-has-parted": warned(PARTED, "proxies-unharmed"),
    "a-proxy-that-a-renewal-has-parted-is-taken-back": warned(PARTED, "proxies-unharmed", wish=wished(drop=True)),
    "a-proxy-with-an-older-edition": Case(
        istiod(ca=Authority(root=replace(ROOT, starts=days(-30))), proxies=(Proxy("slow", "shop", holds=(ROOT,)),))
    ),
    "sidecars-that-keep-the-old-root": warned(
        citadel(proxies=(Proxy("old", "shop", version="1.1.7"), Proxy("new", "shop", version="1.1.8"))),
        "proxies-reload",
        steps=CITADEL,
    ),
    "sidecars-that-may-keep-the-old-root": warned(
        citadel(proxies=(Proxy("old", "shop", "gateway", version="1.0.7"),)), "proxies-reload", steps=CITADEL
    ),
    "proxies-that-move-after-the-root-has-ended": warned(
        renewing(ending_in(5), **OFF, proxies=EVERYTHING), "proxies-in-time"
    ),
    "proxies-that-move-before-the-root-has-ended": Case(renewing(ending_in(30), **OFF, proxies=EVERYTHING)),
    "a-proxy-with-an-older-edition-that-ends-before-it-moves": warned(
        renewing(ROOT, **OFF, proxies=(Proxy("slow", "shop", holds=(ending_in(5),)),)), "proxies-in-time"
    ),
    "written-and-not-loaded-until-the-one-before-has-ended": warned(
        replace(renewing(ending_in(5), **OFF, proxies=EVERYTHING), beside=(Authority(root=RENEWED),)),
        "change-finished",
        "proxies-in-time",
        steps=("restart", "publish"),
    ),
    "loaded-and-not-taken-until-the-one-before-has-ended": warned(
        istiod(
            ca=Authority(root=RENEWED),
            control_planes=YOUNG,
            namespaces=publishing(ending_in(5), "bank"),
            proxies=(*EVERYTHING, Proxy("slow", "shop", holds=(ending_in(5),))),
        ),
        "change-finished",
        "proxies-in-time",
        steps=("publish",),
    ),
    "loaded-and-taken-before-the-one-before-has-ended": warned(
        istiod(
            ca=Authority(root=RENEWED),
            control_planes=YOUNG,
            namespaces=publishing(ending_in(30), "bank"),
            proxies=(*EVERYTHING, Proxy("slow", "shop", holds=(ending_in(30),))),
        ),
        "change-finished",
        steps=("publish",),
    ),
    "envoys-that-do-not-wait-for-their-next-leaf": Case(
        citadel(ca=Authority(root=replace(ending_in(5), identifier="none")), proxies=(Proxy("ledger", "bank"),)),
        steps=CITADEL,
    ),
    "clusters-of-one-root": warned(istiod(remotes=("west", "east")), "clusters-alone"),
    # where a change stands
    "written-and-not-loaded": warned(
        istiod(beside=(Authority(root=RENEWED),)), "change-finished", steps=("restart", "publish")
    ),
    "written-and-not-loaded-without-a-restart": warned(
        istiod(beside=(Authority(root=RENEWED),)), "change-finished", steps=("publish",), wish=wished(restart=False)
    ),
    "written-and-loaded-by-one-of-two-revisions": warned(
        istiod(
            beside=(Authority(root=RENEWED),),
            control_planes=(ControlPlane(), ControlPlane(revision="canary", started=timedelta(hours=-2))),
        ),
        "change-finished",
        steps=("restart", "publish"),
    ),
    "loaded-and-not-published": warned(
        istiod(ca=Authority(root=RENEWED), control_planes=YOUNG, namespaces=publishing(ROOT, "bank")),
        "change-finished",
        steps=("publish",),
    ),
    "loaded-and-not-patched-into-the-webhooks": warned(
        istiod(ca=Authority(root=RENEWED), control_planes=(replace(YOUNG[0], ca_bundle=(ROOT,)),)),
        "change-finished",
        steps=("publish",),
    ),
    "written-yesterday-by-this-program-and-not-loaded-since": warned(
        istiod(
            beside=(Authority(root=RENEWED),),
            control_planes=(ControlPlane(started=timedelta(hours=-5)),),
            edits=(kept(ROOT, RENEWED, at=timedelta(hours=-4)),),
        ),
        "change-finished",
        steps=("restart", "publish"),
    ),
    "written-and-not-loaded-by-a-citadel": warned(
        citadel(beside=(Authority(root=CITADEL_RENEWED),)), "change-finished", steps=CITADEL[1:]
    ),
    "loaded-and-not-published-by-a-citadel": warned(
        citadel(ca=Authority(root=CITADEL_RENEWED), control_planes=YOUNG, namespaces=not_moved("bank")),
        "change-finished",
        steps=("publish", "restart-parts"),  # Galley reads once what is rewritten only now
    ),
    "written-and-in-the-middle-of-its-rollout": warned(
        istiod(
            beside=(Authority(root=RENEWED),),
            control_planes=(ControlPlane(), ControlPlane(revision="canary", started=timedelta(hours=-2), ready=False)),
        ),
        "change-finished",
        "control-plane-ready",
        steps=("restart", "publish"),
    ),
    "written-where-the-copy-at-home-is-missing": warned(
        istiod(beside=(Authority(root=RENEWED),), namespaces=(_EMPTY_HOME, *TEAMS)),
        "change-finished",
        steps=("restart", "publish"),
    ),
    "loaded-where-the-copy-at-home-is-missing": warned(
        istiod(
            ca=Authority(root=RENEWED),
            control_planes=YOUNG,
            namespaces=(_EMPTY_HOME, Namespace("bank", publishes=(ROOT,)), Namespace("shop")),
        ),
        "change-finished",
        steps=("publish",),
    ),
    "published-where-the-copy-at-home-is-missing": Case(
        istiod(ca=Authority(root=RENEWED), namespaces=(_EMPTY_HOME, *TEAMS)), steps=()
    ),
    "written-by-a-patch-that-waited-for-its-moment": warned(
        istiod(
            beside=(Authority(root=RENEWED),),
            control_planes=YOUNG,
            edits=(kept(ROOT, RENEWED, at=_AT), written_by("kubectl-patch", "Update", timedelta(hours=-1))),
        ),
        "change-finished",
        steps=("restart", "publish"),
    ),
    "published-by-one-of-two-revisions": warned(
        istiod(ca=Authority(root=RENEWED), control_planes=TWO, edits=(kept(ROOT, RENEWED, at=_AT),)),
        "change-finished",
        steps=("restart", "publish"),
    ),
    "published-by-both-revisions-and-labelled-since": Case(
        istiod(ca=Authority(root=RENEWED), control_planes=BOTH, edits=(kept(ROOT, RENEWED, at=_AT), LABELLED)), steps=()
    ),
    "published-by-one-of-two-revisions-and-labelled-since": warned(
        istiod(ca=Authority(root=RENEWED), control_planes=TWO, edits=(kept(ROOT, RENEWED, at=_AT), LABELLED)),
        "change-finished",
        steps=("restart", "publish"),
    ),
    "published-and-not-to-be-restarted": Case(
        istiod(ca=Authority(root=RENEWED), control_planes=TWO, edits=(kept(ROOT, RENEWED, at=_AT),)),
        steps=(),
        wish=wished(restart=False),
    ),
    "published-by-a-renewal-that-nobody-asked-for": Case(
        istiod(ca=Authority(root=RENEWED), control_planes=TWO), steps=()
    ),
    "published-by-the-only-revision-that-runs": Case(
        istiod(
            ca=Authority(root=RENEWED),
            control_planes=(ControlPlane(), ControlPlane(revision="gone", replicas=0)),
            edits=(kept(ROOT, RENEWED, at=_AT),),
        ),
        "warning",
        {"control-plane-ready": WARNED},
        steps=(),
    ),
    "published-by-a-citadel-whose-galley-reads-once": warned(
        citadel(ca=Authority(root=CITADEL_RENEWED), control_planes=YOUNG, edits=(_CITADEL_NOTE,)),
        "change-finished",
        steps=("restart-parts",),
    ),
    "published-by-a-citadel-before-its-galley-started-and-labelled-since": Case(
        citadel(
            ca=Authority(root=CITADEL_RENEWED),
            control_planes=YOUNG,
            edits=(
                kept(CITADEL_ROOT, CITADEL_RENEWED, at=days(-1.5)),
                written_by("kubectl-istio-root", "Update", days(-1.5), labelled=_AT),
            ),
        ),
        steps=(),
    ),
    "published-by-a-citadel-that-stands-alone": Case(
        citadel(ca=Authority(root=CITADEL_RENEWED), control_planes=YOUNG, edits=(_CITADEL_NOTE,), parts=()), steps=()
    ),
    "published-by-a-citadel-before-its-galley-started": Case(
        citadel(
            ca=Authority(root=CITADEL_RENEWED),
            control_planes=YOUNG,
            edits=(kept(CITADEL_ROOT, CITADEL_RENEWED, at=days(-1.5)),),
        ),
        steps=(),
    ),
    # an expired root
    "expired-and-not-ready": Case(
        expired(control_planes=(ControlPlane(ready=False),)), steps=("write", "heal", "publish")
    ),
    "expired-and-running-on": Case(expired(), steps=PLANNED),
    "expired-and-looked-for-within-the-hour": Case(
        renewing(replace(ROOT, starts=days(-3650), ends=timedelta(minutes=-5)))
    ),
    "expired-and-one-of-two-revisions-not-ready": Case(
        expired(control_planes=(ControlPlane(), ControlPlane(revision="canary", ready=False))),
        steps=("write", "restart", "heal", "publish"),
    ),
    "expired-and-crash-looping": Case(
        citadel(
            ca=Authority(root=replace(ENDED, identifier="none")),
            control_planes=(ControlPlane(ready=False),),
            proxies=(
                Proxy("ledger", "bank", leaf=OF_BEFORE),
                Proxy("istio-pilot", HOME, "pilot", account="istio-pilot-service-account", leaf=OF_BEFORE),
            ),
        ),
        steps=CITADEL,
    ),
    "expired-beside-a-proxy-of-another-key": warned(
        expired(
            proxies=(
                replace(EVERYTHING[0], leaf=OF_BEFORE),
                Proxy("odd", "shop", holds=(STRANGE,), leaf=Leaf(signed_by=STRANGE)),
            )
        ),
        "proxies-unharmed",
    ),
    "expired-and-loaded-at-once-by-who-waits-for-one": Case(
        expired(control_planes=(ControlPlane(ready=False, env=OFF),)),
        steps=("write", "heal", "publish"),
        wish=wished(restart=False),
    ),
    "expired-and-never-loaded-by-who-runs-on": blocked(
        expired(control_planes=(ControlPlane(env=OFF),)),
        "root-loads",
        steps=("write", "publish"),
        wish=wished(restart=False),
    ),
    "expired-in-the-secret-alone": warned(istiod(beside=(Authority(root=ENDED),)), "change-finished"),
    "written-after-it-had-expired": warned(
        expired(beside=(Authority(root=RENEWED),)),
        "change-finished",
        "proxies-in-time",
        steps=("restart", "publish"),
    ),
}
