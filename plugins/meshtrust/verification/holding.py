"""Who holds the trust of a mesh: a stored copy or a proxy's memory, and what each is held against."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from meshtrust.certificates import Certificate, Peer, chain, refusal
from meshtrust.checks import dates, home_copies, roots_now, signing_root
from meshtrust.mesh.names import DEFAULT_GRACE_RATIO
from meshtrust.verification.issuing import Unfit, unfit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from meshtrust.mesh import Mesh
    from meshtrust.objects import Ref

_JITTER, _BACK_DATED = 0.01, timedelta(minutes=2)


UNSURE = "whether anybody keeps it current was not seen"


class Half(StrEnum):
    STORED = "stored"
    LIVE = "live"


class Span(Struct, frozen=True):
    """The dates of a leaf: all that is known of one that is a file of its proxy.

    `grace` is the share of its life that is left when its holder asks for the next one.
    """

    not_before: datetime
    not_after: datetime
    grace: float = DEFAULT_GRACE_RATIO

    @property
    def renewed_by(self) -> datetime:
        """When its holder has asked for the next one, at the latest: that share of its life, jitter, back-dating."""
        life = self.not_after - self.not_before
        return self.not_after - life * (self.grace - _JITTER) + _BACK_DATED


class Vouched(Struct, frozen=True):
    """What became of a leaf.

    signed: whether it verifies against a root that signs now; None where that cannot be told
    lapsed: which certificate above it is not valid now, where that alone keeps it from verifying
    blamed: what is wrong with the CA that signed it, where that is why it does not verify
    """

    signed: bool | None
    lapsed: str = ""
    blamed: str = ""


vouched = lru_cache(maxsize=64)(Vouched)  # one for all leaves of which the same is true


class Holding(Struct, frozen=True):
    """What one holder has: a Secret of Citadel's, a proxy, one identity of a ztunnel.

    kind: what it is called in a summary; peer: whose rules its holder goes by
    identity: the URI that its leaf names
    account: the ServiceAccount that a Secret is for, by its name; annotated: by its annotation
    chain: the leaf first; vouched: what is known of the leaf without its octets
    unproven: why nobody can tell whether the leaf verifies
    absent: why it has nothing
    shows: what is known of a root that is not known itself
    unkept: why nobody keeps it current: then it is a warning at most
    signer: who signs for it instead of the mesh's CA
    mends: the command that makes it move
    mounted: whether its certificates are files: it moves when these do; taken_by: by when, where that is known
    """

    place: Ref
    half: Half
    kind: str
    peer: Peer
    roots: tuple[Certificate, ...]
    chain: tuple[Certificate, ...]
    span: Span | None
    identity: str = ""
    account: str = ""
    annotated: str = ""
    broken: tuple[str, ...] = ()
    absent: str = ""
    shows: str = ""
    unkept: str = ""
    signer: str = ""
    owner: Ref | None = None
    mends: str = ""
    vouched: Vouched | None = None
    unproven: str = ""
    mounted: bool = False
    taken_by: datetime | None = None

    @property
    def moves_by(self) -> datetime | None:
        """When it takes what it lacks: with its next leaf, or with its files."""
        return self.taken_by if self.mounted or self.span is None else self.span.renewed_by


@dataclass(frozen=True, slots=True)
class Reference:
    """What the holders of one mesh are held against.

    roots: those that sign now, usually one; bundle: every root that the mesh is told to trust
    signing: what a leaf must verify against: the roots that sign now, or any of the bundle where nobody knows which it
        is (an external CA, one that was not seen or is not loaded)
    unfit: the CAs of which no leaf verifies
    """

    mesh: Mesh
    roots: tuple[Certificate, ...]
    bundle: tuple[Certificate, ...]
    signing: tuple[Certificate, ...]
    unfit: tuple[Unfit, ...] = ()

    @classmethod
    def of(cls, mesh: Mesh, now: datetime) -> Reference:
        roots = roots_now(mesh)
        bundle = bundle_of(mesh)
        known = {signing_root(authority) for authority in mesh.authorities}
        return cls(mesh, roots, bundle, roots if known.issuperset(roots) else bundle, tuple(unfit(mesh, now)))

    def vouch(self, leaf: tuple[Certificate, ...], peer: Peer, now: datetime) -> Vouched:
        if verifies(leaf, self.signing, peer, now):
            return vouched(signed=True)
        for one in self.unfit:
            if one.has_signed(leaf[0]):
                return vouched(signed=False, blamed=f"its leaf does not verify: {one.fault}")
        return vouched(signed=False, lapsed=lapsed(leaf, self.bundle, peer, now))


def bundle_of(mesh: Mesh) -> tuple[Certificate, ...]:
    """Every root that a mesh is told to trust, those that sign now first.

    Citadel publishes what signs beside its root: it is no root for that.
    """
    published = [certificate for copy in home_copies(mesh) for certificate in copy.certificates]
    stored = [certificate for authority in mesh.authorities for certificate in authority.bundle]
    links = {anchor.certificate.key_bytes for authority in mesh.authorities for anchor in authority.anchors}
    links -= {root.key_bytes for root in stored}
    roots = (*stored, *(one for one in published if one.key_bytes not in links))
    return tuple(dict.fromkeys((*roots_now(mesh), *roots)))


class Case(Struct, frozen=True):
    """One holder, held against its mesh; what several rules ask is worked out once.

    moved: whether it holds the roots that sign now
    leaf: whether its leaf verifies against one of them, or why not
    once_signed: or against another root that the mesh is told to trust: the mesh is between two roots
    moves_by: when a proxy takes along what it lacks, with its next leaf
    unfit: whether the next leaf would not verify either, by the CA's own fault
    """

    holding: Holding
    roots: tuple[Certificate, ...]
    moved: bool
    leaf: Vouched
    once_signed: bool
    moves_by: datetime | None
    unfit: bool

    @property
    def signed(self) -> bool | None:
        return self.leaf.signed

    @property
    def blamed(self) -> str:
        return self.leaf.blamed

    def ends_first(self, now: datetime) -> datetime | None:
        """When all that it trusts of the CA has ended, where it moves only after that.

        What is mounted as files (no chain) does not wait for its leaf to be renewed.
        """
        if self.moves_by is None or self.moves_by < now or not self.holding.chain:
            return None
        for root in self.roots:
            held = [one for one in self.holding.roots if one.stands_in_for(root, self.holding.peer)]
            ends = [one.not_after for one in held if one.valid_at(now)]
            if ends and root not in held and max(ends) < self.moves_by:
                return max(ends)
        return None

    def ended(self, now: datetime) -> str:
        return "" if self.holding.signer else ended(self.holding.roots, self.roots, now, self.holding.peer)

    def mends(self, now: datetime) -> str:
        """The command that makes it move, where a CA signs that is worth moving to: it may not even come back."""
        return self.holding.mends if not self.unfit and any(root.valid_at(now) for root in self.roots) else ""

    @classmethod
    def of(cls, holding: Holding, reference: Reference, now: datetime) -> Case:
        roots = reference.roots
        moved = bool(roots) and all(root in holding.roots for root in roots)
        leaf, once_signed = holding.vouched or vouched(signed=None), False
        if holding.chain and roots:
            leaf = reference.vouch(holding.chain, holding.peer, now)
            once_signed = not leaf.signed and verifies(holding.chain, reference.bundle, holding.peer, now)
        case = cls(holding, roots, moved, leaf, once_signed, None, bool(reference.unfit))
        waits = not moved or (leaf.signed is False and not case.unfit)
        if waits and holding.half is Half.LIVE and not holding.signer:
            return structs.replace(case, moves_by=holding.moves_by)
        return case


def ended(held: tuple[Certificate, ...], roots: Iterable[Certificate], now: datetime, peer: Peer) -> str:
    """Say why a root that signs is of no use to who holds it, with no valid edition beside it; else nothing."""
    for root in roots:
        fault = dates(root, now)
        if fault and root in held and not any(one.valid_at(now) and one.stands_in_for(root, peer) for one in held):
            return f"the root that it holds: {fault}"
    return ""


def verifies(
    leaf: tuple[Certificate, ...], roots: Iterable[Certificate], peer: Peer, now: datetime | None = None
) -> bool:
    """Whether a peer that trusts these roots accepts a leaf, given what its holder sends along.

    Holders send their root, too. A peer ends its search at a self-signed certificate: it is trusted, or leads nowhere.
    What stands between must be valid `now`, where that is given; the leaf's own dates and the root's are other rules'.
    """
    if len(leaf) == 1:  # a chain of one is all that most have
        return any(not refusal(leaf[0], root, peer) for root in roots)
    return bool(chain(leaf[0], [link for link in _links(leaf) if now is None or link.valid_at(now)], roots, peer))


def lapsed(leaf: tuple[Certificate, ...], roots: Iterable[Certificate], peer: Peer, now: datetime) -> str:
    """Say which certificate between a leaf and these roots is not valid now, where that alone keeps it from them."""
    between = chain(leaf[0], _links(leaf), roots, peer)[1:-1]
    return next((f"{link.short} above it: {fault}" for link in between if (fault := dates(link, now))), "")


def _links(leaf: tuple[Certificate, ...]) -> list[Certificate]:
    return [link for link in leaf[1:] if not (link.self_issued and _self_signed(link))]


@lru_cache(maxsize=256)
def _self_signed(certificate: Certificate) -> bool:
    return not refusal(certificate, certificate)


def span_of(certificates: tuple[Certificate, ...], grace: float = DEFAULT_GRACE_RATIO) -> Span | None:
    return Span(certificates[0].not_before, certificates[0].not_after, grace) if certificates else None
