"""A mesh, described: what stands in its cluster, which certificates it holds, when they end.

In Python a description is a `Mesh` of the parts below; as YAML it has the same keys. A mesh whose root has 20 days
left, with one namespace that holds another root:

    now: 2026-11-24T08:00:00Z                # left out: the time of reading
    version: 1.29.2
    certificates:                            # named once, used by their names
      root: {starts: -345d, ends: 20d}
      strange: {key: strange}
    ca: {root: root}
    namespaces:
      - bank
      - {name: shop, publishes: [strange]}
    proxies:
      - {name: ledger, namespace: bank}
      - {name: web, namespace: shop, kind: gateway, holds: [strange], leaf: {signed_by: strange}}

Durations are `90m`, `-36h`, `20d`, `2w` and are counted from `now`; `publishes`, `holds` and the like are lists of
certificates: the names of `certificates`, or one written out. Where a part has a name, the name alone will do (`bank`).

`lively: {pace: 0.02}` lets the cluster react to what is written, fifty times as fast as a real one.

Keys of each part, beside those of a certificate and a leaf (`issuing.Ca`, `issuing.Leaf`), are the fields below.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import yaml

from sandbox import building, control_planes
from sandbox.issuing import Ca, Leaf
from sandbox.lively import Lively  # noqa: TC001 - descriptions resolve the annotations at run time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ROOT = Ca()
_DAY = Leaf()
_QUARTER = Leaf(issued=timedelta(days=-10), ends=timedelta(days=80))

ProxyKind = Literal["sidecar", "native", "gateway", "waypoint", "ztunnel", "proxyless", "agentgateway", "pilot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A CA and the Secret that keeps it: the one that signs (`Mesh.ca`), or one that lies beside it (`Mesh.beside`).

    secret: istio-ca-secret | cacerts; empty is an external CA, kept in no Secret of this cluster
    root: the first root of the trust bundle, which signs where there is no chain
    chain: the CAs below it, from the root downwards; the last one signs
    more_roots: further roots of the bundle
    layout: istio (`ca-cert.pem` …) | tls (`tls.crt` …): the data keys of a `cacerts`
    generated: with the key `istio-generated`, as istiod marks a `cacerts` that it made itself
    stored_key: the name of another private key to store in the place of the signer's
    crl_ends: nextUpdate of a `ca-crl.pem`
    made_by: the Istio version that made the Secret (its layout changed); empty is the mesh's
    created: when the Secret was made
    lacks: data keys left out
    applied: made by `kubectl apply`, which leaves the key in an annotation
    manager: who wrote the Secret, as its managedFields tell; empty is who writes such a Secret anyway
    """

    secret: str = "istio-ca-secret"
    root: Ca = _ROOT
    chain: tuple[Ca, ...] = ()
    more_roots: tuple[Ca, ...] = ()
    layout: Literal["istio", "tls"] = "istio"
    generated: bool = False
    stored_key: str = ""
    crl_ends: timedelta | None = None
    made_by: str = ""
    created: timedelta = timedelta(days=-365)
    lacks: tuple[str, ...] = ()
    applied: bool = False
    manager: str = ""

    @property
    def issuers(self) -> tuple[Ca, ...]:
        """Every CA from the root downwards, each signed by the one before it unless it says otherwise."""
        return building.linked((self.root, *self.chain))

    @property
    def signer(self) -> Ca:
        return self.issuers[-1]

    @property
    def bundle(self) -> tuple[Ca, ...]:
        return (self.root, *self.more_roots)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    """One Deployment of istiod (a revision), or the Citadel.

    revision: of an istiod; empty writes none, as Istio 1.5 did
    version, image: where they are not the mesh's
    env: of its container; a mapping instead of a text is written as `valueFrom`
    args: of its container, after those it has anyway
    started: when its pods started
    ca_bundle: what its webhooks hold; by default the trust bundle
    """

    revision: str = "default"
    version: str = ""
    image: str = ""
    replicas: int = 1
    env: Mapping[str, Any] = field(default_factory=dict)
    args: tuple[str, ...] = ()
    started: timedelta = timedelta(days=-10)
    ready: bool = True
    ca_bundle: tuple[Ca, ...] | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """A ServiceAccount with its Secret `istio.<name>` of the Citadel era.

    holds: the bundle in the Secret; by default the CA's
    leaf: its certificate; by default 90 days from the CA that signs
    annotated: without, the annotation that names the account is lost
    """

    name: str
    holds: tuple[Ca, ...] | None = None
    leaf: Leaf = _QUARTER
    annotated: bool = True


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace and what is published in it.

    publishes: ConfigMap `istio-ca-root-cert`; by default the CA's bundle on an istiod mesh, and none elsewhere; an
        empty list is none
    accounts: by default `default` and those of its proxies on a Citadel mesh, and none elsewhere
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    terminating: bool = False
    publishes: tuple[Ca, ...] | None = None
    accounts: tuple[Account, ...] | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """One workload identity that a ztunnel holds; state is `Available`, `Initializing` or `Unavailable: …`."""

    account: str
    namespace: str = "default"
    holds: tuple[Ca, ...] | None = None
    leaf: Leaf = _DAY
    state: str = "Available"


@dataclass(frozen=True, slots=True)
class Proxy:
    """One pod with a proxy; proxies of one namespace and name are pods of one Deployment (a ztunnel: of a DaemonSet).

    kind: sidecar | native | gateway | waypoint | ztunnel | proxyless | agentgateway | pilot; `native` is a sidecar
        among the init containers, `pilot` the one of a Pilot beside a Citadel
    account: its ServiceAccount; by default its name
    version, image: of the proxy, where they are not the mesh's
    holds: the trust bundle in its memory; by default the CA's
    leaf: the certificate in its memory
    identities: of a ztunnel
    ending: on its way out, with a deletionTimestamp
    answers: yes | refuses (nothing listens on 15000) | hangs | cut (in the middle of an answer) | garbage
        | busy (a 503) | moved (a redirect) | large (20 MB) | resets (in the middle of an answer)
        | reshaped (JSON in a shape that nobody knows)
    connected: without, istiod does not know it
    """

    name: str
    namespace: str = "default"
    kind: ProxyKind = "sidecar"
    account: str = ""
    version: str = ""
    image: str = ""
    revision: str = "default"
    holds: tuple[Ca, ...] | None = None
    leaf: Leaf = _DAY
    identities: tuple[Identity, ...] = ()
    phase: str = "Running"
    ready: bool = True
    started: timedelta = timedelta(days=-1)
    node: str = "node1"
    ending: bool = False
    answers: Literal["yes", "refuses", "hangs", "cut", "garbage", "busy", "moved", "large", "resets", "reshaped"] = (
        "yes"
    )
    connected: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A change made by hand after everything else: the way to broken objects.

    kind: one that every cluster has, or PeerAuthentication, DestinationRule, WorkloadEntry, Policy, MeshPolicy
    patch: merged into the object, as `kubectl patch --type merge` would; `stringData` of a Secret takes plain text. An
        object that is not there is made of it. Without a patch the object is taken away.
    """

    kind: str
    namespace: str = ""
    name: str
    patch: Mapping[str, Any] | None = None


_AUTHORITY = Authority()
_CONTROL_PLANE = ControlPlane()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """All of it.

    now: what all times are counted from
    version: of Istio; era: istiod | citadel | none (no control plane here)
    home: the namespace of the control plane
    hub: where the images come from
    ca: the CA that signs, as it stands in memory; beside: further CA Secrets, which do not (one of the same name
        stands in the place of what memory holds: it was changed and is not loaded)
    trust_bundle: a ClusterTrustBundle, which then replaces the ConfigMaps
    istio_security: ConfigMap `istio-security` of the Citadel era; by default what the CA would write, empty is none
    istiod_tls: a Secret `istiod-tls`
    parts: what stands beside a Citadel: pilot, galley, sidecar-injector
    pilot_proxy: without, Pilot has no proxy (`1/1`)
    control_plane_security: whether the parts of a Citadel's control plane speak mutual TLS
    remotes: names of further clusters of this mesh, each with its remote Secret
    others: further meshes of the same cluster
    lively: the cluster reacts to what is written (`reactions.Lively`); by default nothing happens by itself
    """

    now: datetime
    version: str = "1.29.2"
    era: Literal["istiod", "citadel", "none"] = "istiod"
    home: str = "istio-system"
    hub: str = "docker.io/istio"
    trust_domain: str = "cluster.local"
    ca: Authority = _AUTHORITY
    beside: tuple[Authority, ...] = ()
    control_planes: tuple[ControlPlane, ...] = (_CONTROL_PLANE,)
    namespaces: tuple[Namespace, ...] = ()
    proxies: tuple[Proxy, ...] = ()
    trust_bundle: tuple[Ca, ...] | None = None
    istio_security: tuple[Ca, ...] | None = None
    istiod_tls: Leaf | None = None
    parts: tuple[Literal["pilot", "galley", "sidecar-injector"], ...] = ("pilot", "galley", "sidecar-injector")
    pilot_proxy: bool = True
    control_plane_security: bool = False
    remotes: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()
    others: tuple[Mesh, ...] = ()
    lively: Lively | None = None

    def objects(self) -> list[dict[str, Any]]:
        """Everything that stands in the cluster, each object as the API server gives it alone."""
        return building.objects_of(self)

    def pods(self) -> dict[tuple[str, str], Proxy]:
        """Give the proxy in each pod, by the pod's namespace and name."""
        return {place: proxy for place, (_, proxy) in building.pods_of(self).items()}

    def dump(self, path: Path) -> Path:
        """Write the objects as one YAML `List`, as `kubectl get -o yaml --show-managed-fields` would."""
        listed = {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": self.objects()}
        path.write_text(yaml.dump(listed, Dumper=yaml.CSafeDumper, sort_keys=True))
        return path

    def all_namespaces(self) -> tuple[Namespace, ...]:
        """Those that are described, and those that are needed: of the control plane and of the proxies."""
        known = {namespace.name: namespace for namespace in self.namespaces}
        needed = [*([] if self.era == "none" else [self.home]), *(proxy.namespace for proxy in self.proxies)]
        return tuple(({name: Namespace(name) for name in needed} | known).values())

    def accounts(self, namespace: Namespace) -> tuple[Account, ...]:
        if namespace.accounts is not None:
            return namespace.accounts
        if self.era != "citadel":
            return ()
        used = [proxy.account or proxy.name for proxy in self.proxies if proxy.namespace == namespace.name]
        used += control_planes.accounts(self) if namespace.name == self.home else ()
        return tuple(Account(name) for name in dict.fromkeys(("default", *used)))

    def grouped_proxies(self) -> dict[tuple[str, str], list[Proxy]]:
        groups = defaultdict(list)
        for proxy in (*self.proxies, *self._pilot()):
            groups[proxy.namespace, proxy.name].append(proxy)
        return dict(groups)

    def _pilot(self) -> tuple[Proxy, ...]:
        """The proxy of Pilot, where there is one that is not described."""
        wanted = self.era == "citadel" and "pilot" in self.parts and self.pilot_proxy
        if not wanted or any(proxy.kind == "pilot" for proxy in self.proxies):
            return ()
        return (Proxy("istio-pilot", self.home, "pilot", account="istio-pilot-service-account"),)
