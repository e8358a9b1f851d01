"""Which Citadel keeps the Secrets of a namespace: there may be several, and not all of them are judged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from meshtrust.mesh import Era, Gap, Instance, Mesh, Sight, claimed, serving, unserved
from meshtrust.objects import Ref
from meshtrust.verification.holding import UNSURE, Reference
from meshtrust.verification.places import instances_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from meshtrust.certificates import Certificate
    from meshtrust.mesh import Place

NOT_SOUGHT = "{what}, and no control plane could be looked for there"
SEEK = "-i {home} judges that control plane"


@dataclass(frozen=True, slots=True)
class Keeping:
    """Who keeps the Secrets of a namespace.

    homes: of the judged Citadels whose they may be
    shared: whether they may be those of a Citadel that is not judged as well
    unkept: why nobody keeps them
    elsewhere: a Citadel that is not judged keeps them
    """

    homes: tuple[str, ...]
    shared: bool = False
    unkept: str = ""
    elsewhere: bool = False


class Keepers:
    """The Citadels that are judged, by their homes, and what is known of the others."""

    def __init__(self, meshes: tuple[Mesh, ...], now: datetime) -> None:
        served = [mesh for mesh in meshes if citadels_of(mesh)]
        self.references = {mesh.namespace: Reference.of(mesh, now) for mesh in served}
        self._own = tuple(citadel for mesh in served for citadel in citadels_of(mesh))
        self._others = others_than(served)
        self._abroad = {other.ref.namespace for other in self._others}
        self._searched = served[0].searched if served else None
        own = {root.key_bytes for one in self.references.values() for root in one.bundle}
        self._theirs = frozenset[bytes]().union(*(mesh.theirs for mesh in served)) - own
        self._keepings: dict[str, Keeping] = {}
        # Without its labels nobody knows whose a namespace is.
        self._unknown = Keeping(tuple(self.references), shared=bool(self._others))

    def see(self, places: tuple[Place, ...], *, whole: bool) -> tuple[Gap, ...]:
        """Learn what the labels of namespaces say; gives back the homes where no Citadel could be looked for.

        Without a whole list of them, Citadel may well leave alone those that are not in it.
        """
        if not whole:
            self._unknown = replace(self._unknown, unkept=UNSURE)
        unsought = {home for place in places if (home := claimed(place)) and self._is_unsought(home)}
        self._abroad |= unsought
        self._keepings = {place.name: self._keeping(place) for place in places}
        why = NOT_SOUGHT.format(what="namespaces are labelled for the Citadel there")
        return tuple(
            Gap(Ref("Namespace", "", home), Sight.WORKLOADS, why, SEEK.format(home=home)) for home in sorted(unsought)
        )

    def of(self, namespace: str) -> Keeping:
        return self._keepings.get(namespace, self._unknown)

    def reference(self, keeping: Keeping, roots: tuple[Certificate, ...]) -> Reference | None:
        """What a Secret is held against; None where it is that of a Citadel that is not judged."""
        if len(keeping.homes) == 1 and not keeping.shared:
            return self.references[keeping.homes[0]]
        keys = {root.key_bytes for root in roots}
        if keeping.shared and keys & self._theirs:
            return None
        candidates = [self.references[home] for home in keeping.homes]
        matching = (one for one in candidates if keys & {root.key_bytes for root in one.bundle})
        return next(matching, candidates[0])

    def _keeping(self, place: Place) -> Keeping:
        mine, theirs, home = serving(place, self._own), serving(place, self._others), claimed(place)
        if mine:
            return Keeping(mine, shared=bool(theirs))
        if theirs or not self._abroad.isdisjoint((home, place.name)):
            return Keeping((), elsewhere=True)
        unkept = unserved(place, self._own)
        if home in self.references:
            return Keeping((home,), unkept=unkept)
        return Keeping(tuple(self.references), shared=bool(self._others), unkept=unkept)

    def _is_unsought(self, home: str) -> bool:
        return self._searched is not None and home not in {*self._searched, *self.references}


def citadels_of(mesh: Mesh) -> tuple[Instance, ...]:
    return tuple(instance for instance in instances_of(mesh) if instance.era is Era.CITADEL)


def others_than(meshes: Iterable[Mesh]) -> tuple[Instance, ...]:
    """The Citadels that are those of none of these meshes."""
    judged = tuple(meshes)
    homes = {mesh.namespace for mesh in judged}
    neighbours = {one.ref: one for mesh in judged for one in mesh.neighbours if one.ref.namespace not in homes}
    return tuple(one for one in neighbours.values() if one.era is Era.CITADEL)
