"""Who holds the trust of a mesh: a stored copy or a proxy's memory, and what each is held against."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from meshtrust.certificates import Certificate, Peer, chain, refusal
from meshtrust.checks import home_copies, roots_now, signing_root
from meshtrust.mesh.names import DEFAULT_GRACE_RATIO

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from meshtrust.mesh import Mesh
    from meshtrust.objects import Ref

_JITTER, _BACK_DATED = 0.01, timedelta(minutes=2)


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


class Holding(Struct, frozen=True):
    """What one holder has: a Secret of Citadel's, a proxy, one identity of a ztunnel.

    kind: what it is called in a summary; peer: whose rules its holder goes by
    identity: the URI that its leaf names
    account: the ServiceAccount that a Secret is for, by its name; annotated: by its annotation
    chain: the leaf first; vouched: whether the leaf verifies, where that is known without its octets
    unproven: why nobody can tell whether the leaf verifies
    absent: why it has nothing
    shows: what is known of a root that is not known itself
    unkept: why nobody keeps it current: then it is a warning at most
    signer: who signs for it instead of the mesh's CA
    mends: the command that makes it move
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
    vouched: bool | None = None
    unproven: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """What the holders of one mesh are held against.

    roots: those that sign now, usually one; bundle: every root that the mesh is told to trust
    signing: what a leaf must verify against: the roots that sign now, or any of the bundle where nobody knows which it
        is (an external CA, one that was not seen or is not loaded)
    """

    mesh: Mesh
    roots: tuple[Certificate, ...]
    bundle: tuple[Certificate, ...]
    signing: tuple[Certificate, ...]

    @classmethod
    def of(cls, mesh: Mesh) -> Reference:
        roots = roots_now(mesh)
        published = [certificate for copy in home_copies(mesh) for certificate in copy.certificates]
        stored = [certificate for authority in mesh.authorities for certificate in authority.bundle]
        bundle = tuple(dict.fromkeys((*roots, *stored, *published)))
        known = {signing_root(authority) for authority in mesh.authorities}
        return cls(mesh, roots, bundle, roots if known.issuperset(roots) else bundle)


class Case(Struct, frozen=True):
    """One holder, held against its mesh; what several rules ask is worked out once.

    moved: whether it holds the roots that sign now
    signed: whether its leaf verifies against one of them; None where that cannot be told
    once_signed: or against another root that the mesh is told to trust: the mesh is between two roots
    moves_by: when a proxy takes along what it lacks, with its next leaf
    """

    holding: Holding
    roots: tuple[Certificate, ...]
    moved: bool
    signed: bool | None
    once_signed: bool
    moves_by: datetime | None

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

    @classmethod
    def of(cls, holding: Holding, reference: Reference) -> Case:
        roots = reference.roots
        moved = bool(roots) and all(root in holding.roots for root in roots)
        signed, once_signed = holding.vouched, False
        if holding.chain and roots:
            signed = verifies(holding.chain, reference.signing, holding.peer)
            once_signed = not signed and verifies(holding.chain, reference.bundle, holding.peer)
        case = cls(holding, roots, moved, signed, once_signed, None)
        waits = not moved or signed is False
        if waits and holding.half is Half.LIVE and not holding.signer and holding.span:
            return structs.replace(case, moves_by=holding.span.renewed_by)
        return case


def verifies(leaf: tuple[Certificate, ...], roots: Iterable[Certificate], peer: Peer) -> bool:
    """Whether a peer that trusts these roots accepts a leaf, given what its holder sends along.

    Holders send their root, too. A peer ends its search at a self-signed certificate: it is trusted, or leads nowhere.
    """
    if len(leaf) == 1:  # a chain of one is all that most have
        return any(not refusal(leaf[0], root, peer) for root in roots)
    links = [link for link in leaf[1:] if not (link.self_issued and _self_signed(link))]
    return bool(chain(leaf[0], links, roots, peer))


@lru_cache(maxsize=256)
def _self_signed(certificate: Certificate) -> bool:
    return not refusal(certificate, certificate)


def span_of(certificates: tuple[Certificate, ...], grace: float = DEFAULT_GRACE_RATIO) -> Span | None:
    return Span(certificates[0].not_before, certificates[0].not_after, grace) if certificates else None
