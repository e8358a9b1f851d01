"""What a change of the root means for those who hold it: which proxies take it when, and who would be parted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import structs

from istio_root.transition.policies import uses_mutual_tls
from meshtrust.findings import Level
from meshtrust.mesh import Gap, Look, Mesh, Proxy, ProxyKind, Sight, read_proxies
from meshtrust.objects import Ref
from meshtrust.verification.fleet import of_scope
from meshtrust.verification.holding import Reference, verifies
from meshtrust.verification.live import Looking, Register
from meshtrust.verification.pairs import Pairs
from meshtrust.verification.rules import leaf_valid
from meshtrust.verification.tally import Tally
from meshtrust.versions import RELOADS_ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from meshtrust.certificates import Certificate
    from meshtrust.reading import Reading
    from meshtrust.verification.holding import Case, Holding
    from meshtrust.verification.tally import Row

_CONCURRENCY = 32
_VERSIONED = frozenset({ProxyKind.SIDECAR, ProxyKind.GATEWAY})


@dataclass(frozen=True, slots=True)
class Impact:
    """What was found of those that hold the root.

    proxies: those of the mesh, and the parts of its control plane
    rows: every proxy that runs, held against the root that is to come
    harmed: those that belong to the present root and would not belong to the next one
    mended: those that the present root has parted from the others, and that belong to the next one
    apart: those that belong to neither
    late: those that take the next root only after all that they hold of this CA has ended, with when that is
    keeps_old: proxies whose release does not see a new root while it runs (Istio before 1.0.8 and 1.1.8)
    mounted: how many have their certificates as files, so that their Envoy is hot-restarted (Citadel)
    mutual_tls: whether anything uses it at all; None where that was not seen
    """

    proxies: tuple[Proxy, ...] = ()
    rows: tuple[Row, ...] = ()
    harmed: tuple[Row, ...] = ()
    mended: tuple[Row, ...] = ()
    apart: tuple[Row, ...] = ()
    late: tuple[tuple[Row, datetime], ...] = ()
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
        return tuple(row for row in self.rows if leaf_valid.id in row.checks)


class _Belonging(Tally):
    """Remembers of each holder whether it belongs to either root: by its certificates, whatever their dates.

    ends: when the last edition of the present root ends that it holds, where it holds any
    """

    def __init__(self, present: Certificate, target: Certificate) -> None:
        super().__init__()
        self._present, self._target = present, target
        self.harmed: set[Ref] = set()
        self.mended: set[Ref] = set()
        self.apart: set[Ref] = set()
        self.ends: dict[Ref, datetime] = {}

    def take(self, case: Case, now: datetime) -> Row:
        holding = case.holding
        editions = [held.not_after for held in holding.roots if held.stands_in_for(self._present, holding.peer)]
        if editions:
            self.ends[holding.place] = max(editions)
        if not holding.signer and (holding.roots or holding.chain):
            now_in, then_in = _belongs(holding, self._present), _belongs(holding, self._target)
            if now_in and not then_in:
                self.harmed.add(holding.place)
            elif not now_in:
                (self.mended if then_in else self.apart).add(holding.place)
        return super().take(case, now)


def _belongs(holding: Holding, root: Certificate) -> bool:
    """Whether those who trust this root accept its leaf, and it accepts what this root signs."""
    accepts = not holding.roots or any(held.stands_in_for(root, holding.peer) for held in holding.roots)
    return accepts and (not holding.chain or verifies(holding.chain, (root,), holding.peer))


def read_impact(
    reading: Reading, mesh: Mesh, now: datetime, *, present: Certificate, target: Certificate, deadline: float | None
) -> Impact:
    """Ask every proxy of the mesh what it holds, and hold it against the root that is to come.

    One that does not run holds nothing: it starts with what there is then.
    """
    look = Look(reading.source)
    if reading.source.recorded and not reading.source.holds("Pod"):
        look.gaps.append(Gap(Ref("Pod", "", ""), Sight.PROXIES, "there are no pods in the recording"))
    found = read_proxies(look)
    members = [one for one in of_scope(found, (mesh,), reading.scope) if one.kind is not ProxyKind.CONTROL_PLANE]
    core = [one for one in found if one.kind is ProxyKind.CONTROL_PLANE and one.ref.namespace == mesh.namespace]
    running = [one for one in members if one.running and one.has_ip]
    tally = _held(reading, mesh, running, now, present, target, deadline)
    rows = tuple(_as_they_move(tally, {one.place for one in running if one.mounted}))
    return Impact(
        proxies=(*members, *core),
        rows=rows,
        harmed=tuple(row for row in rows if row.place in tally.harmed),
        mended=tuple(row for row in rows if row.place in tally.mended),
        apart=tuple(row for row in rows if row.place in tally.apart),
        late=tuple(
            (row, end)
            for row in rows
            if row.moves_by and row.moves_by > (end := tally.ends.get(row.place, present.not_after))
        ),
        keeps_old=tuple(
            one for one in members if one.kind in _VERSIONED and one.version and not one.version.has(RELOADS_ROOT)
        ),
        mounted=sum(1 for one in running if one.mounted),
        mutual_tls=uses_mutual_tls(reading.source, mesh, (*members, *core)),
        gaps=(*look.gaps, *_gaps(tally)),
    )


def _held(
    reading: Reading,
    mesh: Mesh,
    proxies: list[Proxy],
    now: datetime,
    present: Certificate,
    target: Certificate,
    deadline: float | None,
) -> _Belonging:
    """Hold each against the next root; both are known when a proxy shows no more than a serial."""
    tally, register = _Belonging(present, target), Register.of((mesh,), Tally())
    register.roots.update({root.serial: root for root in (target, present)})
    looking = Looking(
        source=reading.source,
        references={mesh.namespace: Reference(mesh, (target,), (target,), (target,), ())},
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
        yield structs.replace(row, moves_by=None) if row.place in mounted else row


def _gaps(tally: Tally) -> Iterator[Gap]:
    for row in tally.rows.values():
        if row.level is Level.UNKNOWN:
            yield Gap(row.place, Sight.MEMORY, row.detail)
