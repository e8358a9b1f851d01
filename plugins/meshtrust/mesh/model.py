"""The trust of a mesh, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from meshtrust.certificates import Certificate
    from meshtrust.objects import Ref, Unread
    from meshtrust.versions import IstioVersion


class Era(StrEnum):
    CITADEL = "Citadel"
    ISTIOD = "istiod"


class Kind(StrEnum):
    """Where the signing key of a mesh comes from."""

    SELF_SIGNED = "self-signed"
    PLUGGED_IN = "plugged-in"
    EXTERNAL = "external"
    UNSEEN = "unseen"  # its Secrets could not be read, or were not asked for


class Role(StrEnum):
    """What a certificate is to its mesh."""

    SIGNS = "signs"
    INTERMEDIATE = "intermediate"
    ROOT = "root"
    COPY = "copy"
    SERVING = "serving"
    WAITS = "waits"  # takes over when the CA starts anew
    PREVIOUS = "previous"  # what `restore` would put back
    UNUSED = "unused"


class Sight(StrEnum):
    """What a check must be able to see."""

    CA = "the Secrets of the CA"
    SETTINGS = "the control plane's pods"
    COPIES = "the published copies of the root"
    SERVING = "the serving certificate"
    CLOCK = "the API server's clock"
    PROXIES = "the pods of the proxies"
    VERSIONS = "the versions of the proxies"
    CONTROL_PLANE_VERSION = "the control plane's version"
    NAMESPACES = "the namespaces"
    WEBHOOKS = "the webhooks"
    WORKLOADS = "the workloads' Secrets"
    ACCOUNTS = "the ServiceAccounts"
    MEMORY = "what the proxies hold"
    ROLLOUTS = "the control plane's Deployments"
    RIGHTS = "the rights of this user"
    CLUSTERS = "the Secrets of other clusters"
    KEY = "the private key of the CA"


@dataclass(frozen=True, slots=True)
class Gap:
    """What could not be seen, why, and what to do next where that is known."""

    ref: Ref
    sight: Sight
    why: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A certificate in its place."""

    ref: Ref
    role: Role
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A CRL that a plugged-in CA hands to its proxies; `ends` is None where it names no next update."""

    ref: Ref
    ends: datetime | None


@dataclass(frozen=True, slots=True)
class Instance:
    """One running istiod or Citadel (or what its Deployment would start, where none runs).

    `env` holds None for a value that comes from elsewhere (`valueFrom`): unknown, not the default.
    """

    ref: Ref
    era: Era
    revision: str
    version: IstioVersion | None
    env: Mapping[str, str | None] = field(repr=False)
    arguments: tuple[str, ...]
    started: datetime | None


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA of the mesh: what signs, what stands between it and its roots, and who signs with it.

    The roots are the whole trust bundle. `key_fault` says why the private key is not that of the signer.
    `handed` is what a plugged-in CA sends along with each leaf, and `handed_ref` where it stands. `previous` is what a
    change of ours has kept: nobody uses it.
    """

    kind: Kind
    ref: Ref
    signer: Anchor | None = None
    intermediates: tuple[Anchor, ...] = ()
    roots: tuple[Anchor, ...] = ()
    key_ref: Ref | None = None
    key_fault: str = ""
    revocations: tuple[RevocationList, ...] = ()
    missing: tuple[str, ...] = ()
    handed_ref: Ref | None = None
    handed: tuple[Certificate, ...] = ()
    previous: Anchor | None = None
    instances: tuple[Instance, ...] = ()

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        """Every certificate of it once: a self-signed root stands as what signs."""
        signing = (self.signer,) if self.signer else ()
        known = {anchor.certificate.fingerprint for anchor in signing}
        roots = tuple(anchor for anchor in self.roots if anchor.certificate.fingerprint not in known)
        return (*signing, *self.intermediates, *roots)

    @property
    def bundle(self) -> tuple[Certificate, ...]:
        return tuple(anchor.certificate for anchor in self.roots)


@dataclass(frozen=True, slots=True)
class Copy:
    """A published copy of the trust bundle, and the role of its reader.

    `left_behind` says why nobody writes it any more, where that is so.
    """

    ref: Ref
    certificates: tuple[Certificate, ...]
    left_behind: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace; `ending` is true for one that is being deleted."""

    name: str
    labels: Mapping[str, str] = field(repr=False)
    ending: bool


class WorkloadCertificate(Struct, frozen=True):
    """What Citadel keeps for a ServiceAccount: the bundle, and the leaf with what stands between it and the root."""

    ref: Ref
    account: str
    roots: tuple[Certificate, ...]
    chain: tuple[Certificate, ...]
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rollout:
    """A Deployment of the control plane, and how far its last change has come.

    part: what runs in it, by its container (`discovery`, `citadel`, `galley`, ...)
    wanted, updated, ready, available: counts of pods; total: those of before included
    observed: whether these counts know of the last change of the template
    """

    ref: Ref
    part: str
    revision: str
    wanted: int
    total: int
    updated: int
    ready: int
    available: int
    observed: bool
    paused: bool
    resource_version: str

    @property
    def done(self) -> bool:
        """As `kubectl rollout status` has it."""
        there = self.observed and self.updated >= self.wanted and self.total <= self.updated
        return there and self.available >= self.updated


@dataclass(frozen=True, slots=True)
class Part:
    """One pod of the control plane. `ending` is one that works on through its grace period.

    proxied: whether an Envoy stands beside it, and speaks TLS for it
    """

    ref: Ref
    part: str
    revision: str
    version: IstioVersion | None
    proxied: bool
    ready: bool
    ending: bool
    started: datetime | None


@dataclass(frozen=True, slots=True)
class Renewal:
    """How a self-signed CA renews its own root; None stands for a setting that could not be seen.

    It is renewed with the same key when less than `share` percent of its life is left, looked at every `interval`.
    """

    interval: timedelta | None
    share: int | None
    version: IstioVersion | None


@dataclass(frozen=True, slots=True)
class Mesh:
    """One control-plane namespace, and all that was read of its trust.

    `rivals` sign here too, for revisions that were not asked for. `asked` is the namespace whose copy was asked for,
    `configmap` the name of the copies. `taken` are the namespaces of other control planes and of their copies, whether
    those are judged or not. `neighbours` run in other namespaces, judged or not, and `theirs` are the keys of the roots
    that they publish; `searched` are the only namespaces in which control planes could be looked for, None where it was
    all of them. `missing` are copies that should be there, `webhooks` what the API server is told to trust;
    both are read where a plugin asks for them.
    """

    namespace: str
    era: Era | None
    authorities: tuple[Authority, ...]
    rivals: tuple[Authority, ...] = ()
    waiting: Authority | None = None
    unused: tuple[Authority, ...] = ()
    configmap: str = ""
    asked: str = ""
    copies: tuple[Copy, ...] = ()
    taken: frozenset[str] = frozenset()
    neighbours: tuple[Instance, ...] = ()
    theirs: frozenset[bytes] = field(default=frozenset(), repr=False)
    searched: tuple[str, ...] | None = None
    missing: tuple[Ref, ...] = ()
    webhooks: tuple[Copy, ...] = ()
    serving: tuple[Anchor, ...] = ()
    broken: tuple[Unread, ...] = ()
    exposed: tuple[Ref, ...] = ()
    clock_skew: timedelta | None = None
    gaps: tuple[Gap, ...] = ()
    not_asked: frozenset[Sight] = frozenset()
    remarks: tuple[str, ...] = ()


class ProxyKind(StrEnum):
    """What a container with Istio in it is to the mesh."""

    SIDECAR = "sidecar"
    GATEWAY = "gateway"
    WAYPOINT = "waypoint"
    ZTUNNEL = "ztunnel"
    PROXYLESS = "proxyless"  # gRPC with an agent and no Envoy
    AGENTGATEWAY = "agentgateway"  # no Envoy, and it counts its own versions
    CONTROL_PLANE = "control-plane"  # no proxy, but what the proxies are held against


class VersionFrom(StrEnum):
    """Who told a proxy's version."""

    TAG = "image tag"
    STATUS = "container status"
    ISTIOD = "istiod"
    PROXY = "proxy"
    NOBODY = "nobody"


class RevisionFrom(StrEnum):
    """Who told the revision that a proxy belongs to."""

    ANNOTATION = "annotation"
    INJECTION = "injection status"
    LABEL = "label"
    ADDRESS = "address of its control plane"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy, or one part of the control plane: a container of a pod that has not finished.

    native: among the init containers
    owner: what makes its pod; the pod itself where nothing does
    idle: why it does not run; empty where it runs. `ending`: its pod is on its way out
    home: the namespace of the control plane that it is told to ask; empty where that is not told
    signer: who signs for it instead of the mesh's CA; empty where nobody does
    mounted: the Secret whose certificates are mounted as files (Citadel's `istio.<account>`); empty where none is
    arguments: of the control plane alone, its command included
    secures_control_plane: whether it was told to speak mutual TLS with the control plane (Citadel era)
    grace: which share of its leaf's life is left when it asks for the next one
    """

    ref: Ref
    kind: ProxyKind
    container: str
    native: bool
    image: str
    version: IstioVersion | None
    version_from: VersionFrom
    revision: str
    revision_from: RevisionFrom
    owner: Ref
    idle: str
    ending: bool
    has_ip: bool
    account: str
    admin_port: int
    node: str
    home: str
    signer: str
    mounted: str
    secures_control_plane: bool
    labels: Mapping[str, str] = field(repr=False, hash=False)
    arguments: tuple[str, ...] = field(default=(), repr=False)
    grace: float = 0.5

    @property
    def running(self) -> bool:
        return not self.idle

    @property
    def place(self) -> Ref:
        """The pod, and the container where it is not the pod's only proxy."""
        return self.ref.at(self.container) if self.kind is ProxyKind.CONTROL_PLANE else self.ref
