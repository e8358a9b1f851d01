"""Rows for what is judged with its mesh as a whole: the CA, the copies, the webhooks, istiod's certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from meshtrust.certificates import Peer
from meshtrust.checks import copies_agree, roots_now
from meshtrust.findings import Level
from meshtrust.verification.holding import UNSURE, Half, ended
from meshtrust.verification.published import copies_complete, root_known, webhooks_agree
from meshtrust.verification.tally import Row, Stand, fingerprints, of_ended_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from meshtrust.certificates import Certificate
    from meshtrust.findings import Finding
    from meshtrust.mesh import Copy, Mesh
    from meshtrust.objects import Ref


class _Said:
    """What the findings say of each place."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self._said: dict[Ref, list[tuple[Level, str, str]]] = {}
        for finding in findings:
            for problem in finding.problems:
                told = (finding.level_of(problem), problem.detail, finding.check.id)
                self._said.setdefault(problem.place, []).append(told)

    def row(self, kind: str, place: Ref, copy: Copy | None = None) -> Row:
        said = self._said.pop(place, [])
        return Row(
            Half.STORED,
            kind,
            place,
            trusts=fingerprints(copy.certificates) if copy and copy.certificates else None,
            level=max((level for level, _, _ in said), default=Level.OK),
            detail="; ".join(dict.fromkeys(detail for _, detail, _ in said)),
            checks=tuple(dict.fromkeys(check for _, _, check in said)),
            moved=not said,
            stand=_stand(said, copy),
        )

    def rest(self) -> Iterator[Row]:
        """What is wrong at places that have no row of their own."""
        for place in list(self._said):
            row = self.row(place.kind, place)
            missing = not _COPIES.isdisjoint(row.checks)
            yield structs.replace(row, stand=Stand.MISSING) if missing else row


_COPIES, _EDITIONS = {copies_agree.id, copies_complete.id}, {copies_agree.id, webhooks_agree.id}


def _stand(said: list[tuple[Level, str, str]], copy: Copy | None) -> Stand:
    """By the worst that is said of it."""
    level = max((level for level, _, _ in said), default=Level.OK)
    worst = {check for one, _, check in said if one is level}
    if level in {Level.OK, Level.UNKNOWN}:
        return Stand.FINE if level is Level.OK else Stand.UNKNOWN
    if copy and copy.left_behind and level is Level.WARNING:
        return Stand.OTHER if copy.left_behind == UNSURE else Stand.UNKEPT
    if not _EDITIONS.isdisjoint(worst):
        return Stand.APART if level is Level.CRITICAL else Stand.BEHIND
    return Stand.ROOT if root_known.id in worst else Stand.OTHER


def mesh_rows(meshes: Iterable[Mesh], findings: Iterable[Finding], now: datetime) -> Iterator[Row]:
    said = _Said(findings)
    for mesh in meshes:
        roots = roots_now(mesh)
        for copy in mesh.copies:
            yield _judged(said.row(copy.ref.kind, copy.ref, copy), copy, roots, now, Peer.EVERYONE)
        for hook in mesh.webhooks:
            yield _judged(said.row("webhook", hook.ref, hook), hook, roots, now, Peer.OCTETS)
        for anchor in mesh.serving:
            yield said.row("serving certificate", anchor.ref)
    yield from said.rest()


def _judged(row: Row, copy: Copy, roots: tuple[Certificate, ...], now: datetime, peer: Peer) -> Row:
    """What could be held against nothing is not fine, nor is what holds a root that is of no use any more."""
    row = of_ended_root(row, ended(copy.certificates, roots, now, peer), copy.left_behind)
    if roots or row.level is not Level.OK:
        return row
    return structs.replace(row, level=Level.UNKNOWN, detail="no root is known", stand=Stand.UNKNOWN)
