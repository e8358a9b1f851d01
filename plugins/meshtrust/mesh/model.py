"""The trust of a mesh, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

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
    UNUSED = "unused"


class Sight(StrEnum):
    """What a check must be able to see."""

    CA = "the Secrets of the CA"
    SETTINGS = "the control plane's pods"
    COPIES = "the published copies of the root"
    SERVING = "the serving certificate"
    CLOCK = "the API server's clock"


@dataclass(frozen=True, slots=True)
class Gap:
    """What could not be seen, and why."""

    ref: Ref
    sight: Sight
    why: str


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

    `left_behind` is true for ConfigMaps beside a ClusterTrustBundle: nobody writes them any more.
    """

    ref: Ref
    certificates: tuple[Certificate, ...]
    left_behind: bool = False


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
    """One control-plane namespace, and all that was read of its trust."""

    namespace: str
    era: Era | None
    authorities: tuple[Authority, ...]
    waiting: Authority | None = None
    unused: tuple[Authority, ...] = ()
    copies: tuple[Copy, ...] = ()
    serving: tuple[Anchor, ...] = ()
    broken: tuple[Unread, ...] = ()
    exposed: tuple[Ref, ...] = ()
    clock_skew: timedelta | None = None
    gaps: tuple[Gap, ...] = ()
    not_asked: frozenset[Sight] = frozenset()
    remarks: tuple[str, ...] = ()
