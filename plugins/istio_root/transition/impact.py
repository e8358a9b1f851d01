"""What a change of the root means for those who hold it: which proxies take it when, and who would be parted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from istio_root.transition.policies import uses_mutual_tls
from meshtrust.findings import Level
from meshtrust.mesh import Gap, Look, Mesh, Proxy, ProxyKind, Sight, read_proxies
from meshtrust.objects import Ref
from meshtrust.verification.fleet import of_scope
from meshtrust.verification.holding import Reference
from meshtrust.verification.live import Looking, Register
from meshtrust.verification.pairs import Pairs
from meshtrust.verification.rules import leaf_verifies, root_held
from meshtrust.verification.tally import Tally
from meshtrust.versions import RELOADS_ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from meshtrust.certificates import Certificate
    from meshtrust.reading import Reading
    from meshtrust.verification.tally import Row

_CONCURRENCY = 32
_PARTED = frozenset({root_held.id, leaf_verifies.id})


@dataclass(frozen=True, slots=True)
class Impact:
    """What was found of those that hold the root.

    proxies: those of the mesh, and the parts of its control plane
    rows: every proxy, held against the root that is to come; harmed: those that accept and are accepted now and would
    not be then; apart: those that do not belong to the present root either
    keeps_old: proxies whose release does not see a new root while it runs (Istio before 1.0.8 and 1.1.8)
    mounted: proxies whose certificates are files, so that their Envoy is hot-restarted (Citadel)
    mutual_tls: whether anything uses it at all; None where that was not seen
    """

    proxies: tuple[Proxy, ...] = ()
    rows: tuple[Row, ...] = ()
    harmed: tuple[Row, ...] = ()
    apart: tuple[Row, ...] = ()
    keeps_old: tuple[Proxy, ...] = ()
    mounted: int = 0
    mutual_tls: bool | None = None
    gaps: tuple[Gap, ...] = ()

    @property
    def moves_by(self) -> datetime | None:
        """When the last proxy has taken the root along with its next leaf."""
        return max((row.moves_by for row in self.rows if row.moves_by), default=None)

    @property
    def ended(self) -> tuple[Row, ...]:
        """Proxies whose own certificate has ended: they come back by themselves, or by a restart."""
        return tuple(row for row in self.rows if "leaf-valid" in row.checks)


def read_impact(
    reading: Reading, mesh: Mesh, now: datetime, *, present: Certificate, target: Certificate, deadline: float | None
) -> Impact:
    """Ask every proxy of the mesh what it holds, and hold it against the root that is to come."""
    look = Look(reading.source)
    if reading.source.recorded and not reading.source.holds("Pod"):
        look.gaps.append(Gap(Ref("Pod", "", ""), Sight.PROXIES, "there are no pods in the recording"))
    found = read_proxies(look)
    sidecars = tuple(one for one in of_scope(found, (mesh,), reading.scope) if one.kind is not ProxyKind.CONTROL_PLANE)
    core = (one for one in found if one.kind is ProxyKind.CONTROL_PLANE and one.ref.namespace == mesh.namespace)
    proxies = (*sidecars, *core)
    tally = _held(reading, mesh, sidecars, now, (target, present), deadline)
    rows = sorted(tally.rows.values(), key=lambda row: row.place)
    parted = [row for row in rows if row.level is Level.CRITICAL and not _PARTED.isdisjoint(row.checks)]
    again = {row.place.at("") for row in parted}
    # That a root has ended is what is mended: its holders are judged as of when it was valid, and cannot be harmed.
    then = min(now, present.not_after)
    before = _held(reading, mesh, [one for one in sidecars if one.ref in again], then, (present,), deadline)
    fine = {row.place for row in before.rows.values() if row.level < Level.UNKNOWN}
    return Impact(
        proxies=proxies,
        rows=tuple(_as_they_move(tally, {one.place for one in sidecars if one.mounted})),
        harmed=tuple(row for row in parted if row.place in fine) if present.valid_at(now) else (),
        apart=tuple(row for row in parted if row.place not in fine),
        keeps_old=tuple(
            one
            for one in sidecars
            if one.kind in {ProxyKind.SIDECAR, ProxyKind.GATEWAY} and one.version and not one.version.has(RELOADS_ROOT)
        ),
        mounted=sum(1 for one in sidecars if one.mounted),
        mutual_tls=uses_mutual_tls(reading.source, mesh, proxies),
        gaps=(*look.gaps, *_gaps(tally)),
    )


def _held(
    reading: Reading,
    mesh: Mesh,
    proxies: Iterable[Proxy],
    now: datetime,
    roots: tuple[Certificate, ...],
    deadline: float | None,
) -> Tally:
    """Hold each against the first of the roots; all of them are known when a proxy shows no more than a serial."""
    reference = Reference(mesh, roots[:1], roots[:1], roots[:1])
    tally, register = Tally(), Register.of((mesh,), Tally())
    register.roots.update({root.serial: root for root in roots})
    looking = Looking(
        source=reading.source,
        references={mesh.namespace: reference},
        register=register,
        tally=tally,
        pairs=Pairs(),
        concurrency=_CONCURRENCY,
        progress=reading.progress,
    )
    looking.look(proxies, now, deadline)
    return tally


def _as_they_move(tally: Tally, mounted: set[Ref]) -> Iterator[Row]:
    """What is mounted as a file does not come with the next leaf, but when its Secret is rewritten."""
    for row in sorted(tally.rows.values(), key=lambda row: row.place):
        yield replace(row, moves_by=None) if row.place in mounted else row


def _gaps(tally: Tally) -> Iterator[Gap]:
    for row in tally.rows.values():
        if row.level is Level.UNKNOWN:
            yield Gap(row.place, Sight.MEMORY, row.detail)
