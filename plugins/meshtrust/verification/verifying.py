"""The whole of it: read the mesh, judge both halves, wait where that is asked, and say what became of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from meshtrust.errors import ToolError, Unseen, UsageError
from meshtrust.findings import Level, examine, not_asked
from meshtrust.mesh import Gap, Look, Proxy, Sight
from meshtrust.objects import Ref
from meshtrust.verification.fleet import Targets, absent, of_scope, read_fleet
from meshtrust.verification.holding import Half
from meshtrust.verification.keeping import citadels_of
from meshtrust.verification.live import Looking, Register
from meshtrust.verification.pairs import Pairs
from meshtrust.verification.published import MESH_CHECKS, named_once
from meshtrust.verification.rows import mesh_rows
from meshtrust.verification.rules import LIVE_CHECKS, SECRET_CHECKS, leaf_verifies
from meshtrust.verification.settling import Published
from meshtrust.verification.stored import judge_workloads
from meshtrust.verification.tally import Row, Tally
from meshtrust.verification.waiting import Ground, wait, wait_for_workloads

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from meshtrust.certificates import Certificate
    from meshtrust.findings import Check, Finding
    from meshtrust.reading import Reading
    from meshtrust.verification.holding import Reference


@dataclass(frozen=True, slots=True)
class Wish:
    """What was typed: which halves, which proxies, how patiently. `timeout` is in seconds, for all of it."""

    stored: bool
    live: bool
    targets: Targets
    selector: str = ""
    concurrency: int = 32
    timeout: float | None = None
    wait: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found.

    `roots` are those that sign now, `unfit` says what is wrong with CAs; `interrupted` is what Ctrl-C left.
    """

    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    now: datetime
    roots: tuple[Certificate, ...]
    remarks: tuple[str, ...]
    not_asked: tuple[str, ...]
    interrupted: bool
    unfit: tuple[str, ...]


def verify(reading: Reading, wish: Wish) -> Verified:
    if wish.wait and reading.source.recorded:
        raise UsageError("--wait waits for a living mesh: a recording does not move", "leave -f or --wait away")
    return _Verifying(reading, wish).verify()


class _Verifying:
    """One run: it grows step by step, so that Ctrl-C and the deadline leave what was seen until then."""

    def __init__(self, reading: Reading, wish: Wish) -> None:
        self._reading, self._wish = reading, wish
        self._deadline = None if wish.timeout is None else monotonic() + wish.timeout
        source = reading.source if self._deadline is None else reading.source.until(self._deadline)
        self._source, self._scope = source, reading.scope
        self._published = Published(source, reading.scope, reading.now)
        self._look, self._workloads, self._listing = Look(source), Look(source), Look(source)
        self._lost: dict[Half, tuple[Gap, ...]] = {}  # what a later look could not see: what was seen before stands
        self._left = {half for half, asked in ((Half.STORED, wish.stored), (Half.LIVE, wish.live)) if asked}
        self._missing: tuple[Ref, ...] = ()
        self._tally, self._pairs = Tally(), Pairs()
        self._chosen: tuple[Proxy, ...] | None = None

    def verify(self) -> Verified:
        interrupted = False
        try:
            if self._wish.stored:
                self._published.read_beside()
            self._settle()
            began = monotonic()
            self._judge_workloads()
            self._await_workloads(monotonic() - began)
            self._left.discard(Half.STORED)
            number = self._published.number
            if self._wish.live:
                self._judge_live()
            self._left.discard(Half.LIVE)
            if number != self._published.number and self._seconds_left() and self._citadels():
                self._judge_workloads_again()
        except KeyboardInterrupt:
            interrupted = True
            self._cut_short("interrupted")
        self._tally.settle(self._pairs)
        self._name_absent()
        return self._verified(interrupted=interrupted)

    def _seconds_left(self) -> float:
        return inf if self._deadline is None else max(self._deadline - monotonic(), 0.0)

    def _settle(self) -> None:
        if self._wish.wait:
            self._published.settle(self._reading.progress, self._end_of_stored())

    def _end_of_stored(self) -> float:
        """Half of the time at most, where proxies are to be asked in the other half."""
        left = self._seconds_left()
        return monotonic() + (left / 2 if self._wish.live else left)

    def _await_workloads(self, took: float) -> None:
        """Look again at Citadel's Secrets until it has worked through all of them, or should have.

        A look has taken so many seconds: the last one begins early enough to see all of them.
        """
        if not self._wish.wait:
            return

        def look_again() -> None:
            self._published.read_again()
            self._judge_workloads_again()

        rows = self._tally.rows
        ends = self._end_of_stored() - 2 * (took + self._published.took)
        wait_for_workloads(rows, self._published.now, look_again, self._reading.progress, ends)

    def _citadels(self) -> bool:
        return self._wish.stored and any(citadels_of(mesh) for mesh in self._published.meshes)

    def _judge_workloads(self) -> None:
        if self._wish.stored and not self._scope.public:
            self._missing = self._judged_workloads(self._workloads, self._tally)

    def _judge_workloads_again(self) -> None:
        """Half of a look would say less than the whole one before it."""
        if not self._wish.stored or self._scope.public:
            return
        look, tally = Look(self._source), Tally()
        try:
            missing = self._judged_workloads(look, tally)
        except ToolError as error:
            missing = ()
            look.gaps.append(Gap(Ref("Secret", self._scope.namespace, "*"), Sight.WORKLOADS, error.message))
        if self._has_seen_all(Half.STORED, look, self._workloads):
            self._tally.forget_half(Half.STORED)
            self._tally.take_over(tally)
            self._workloads, self._missing = look, missing

    def _judged_workloads(self, look: Look, tally: Tally) -> tuple[Ref, ...]:
        published = self._published
        return judge_workloads(look, published.meshes, self._scope, tally, published.now, self._deadline)

    def _has_seen_all(self, half: Half, look: Look, before: Look) -> bool:
        """Say whether a look has seen what the one before it has; what it could not see any more is lost."""
        known = {(gap.ref, gap.sight) for gap in before.gaps}
        self._lost[half] = tuple(gap for gap in look.gaps if (gap.ref, gap.sight) not in known)
        return not self._lost[half]

    def _judge_live(self) -> None:
        self._name_machines()
        while not self._judge_proxies():
            self._tally.forget_half(Half.LIVE)
            self._pairs = Pairs()
            self._settle()
            self._name_machines()

    def _judge_proxies(self) -> bool:
        """Say whether the roots stayed the same: where they did not, the proxies must be held against others."""
        published, references = self._published, self._published.references
        now = published.now
        looking = Looking(
            source=self._source,
            references=references,
            register=Register.of(published.meshes, self._tally, complete=self._wish.stored and not self._scope.public),
            tally=self._tally,
            pairs=self._pairs,
            concurrency=self._wish.concurrency,
            progress=self._reading.progress,
            searched=published.meshes[0].searched,
            namespace=self._scope.namespace,
        )
        began = monotonic()
        proxies = self._proxies()
        took = published.took + monotonic() - began
        looking.look(proxies, now, self._deadline)
        if not self._source.recorded:
            proxies = looking.again(proxies, self._proxies, now, self._deadline)
        if not self._wish.wait:
            return True
        ground = Ground(lambda: self._stays(references), self._proxies, self._has_lost, took)
        return wait(looking, proxies, ground, now, self._deadline)

    def _stays(self, references: Mapping[str, Reference]) -> bool:
        """Read what is stored again: it is told as it is at the end, and may be of other roots by then."""
        if self._seconds_left():
            self._published.read_again()
        return _roots(references) == _roots(self._published.references)

    def _has_lost(self) -> bool:
        return bool(self._published.lost or self._lost.get(Half.LIVE))

    def _name_machines(self) -> None:
        """Virtual machines are no pods: nobody here can ask their proxies."""
        if self._wish.targets or self._wish.selector:
            return
        why = "a virtual machine: its proxy cannot be asked through the API server"
        for found in self._look.objects(Sight.MEMORY, "WorkloadEntry", namespace=self._scope.namespace):
            row = Row(Half.LIVE, "virtual machine", found.ref, level=Level.UNKNOWN, detail=why, moved=False)
            self._tally.miss(row, Gap(found.ref, Sight.MEMORY, why))

    def _proxies(self) -> tuple[Proxy, ...]:
        """Those that are judged: narrowed by what was typed, and of the control planes that are.

        Where they cannot be listed any more, those that were there.
        """
        look, first, wish = Look(self._source), self._chosen is None, self._wish
        if self._source.recorded and not self._source.holds("Pod"):
            look.gaps.append(Gap(Ref("Pod", "", ""), Sight.PROXIES, "there are no pods in the recording"))
        try:
            found = read_fleet(look, self._published.meshes, self._scope, wish.selector)
            chosen = wish.targets.of(of_scope(found, self._published.meshes, self._scope))
        except ToolError as error:
            if first and not isinstance(error, Unseen):
                raise
            self._lost[Half.LIVE] = (Gap(Ref("Pod", self._scope.namespace, "*"), Sight.PROXIES, error.message),)
            return self._chosen or ()
        if first and wish.targets and not chosen and not look.gaps and not wish.stored:
            raise ToolError(f"no proxy is there for {wish.targets}", "POD, POD.NAMESPACE or TYPE/NAME name one")
        if self._has_seen_all(Half.LIVE, look, look if first else self._listing):
            self._listing, self._chosen = look, chosen
        return self._chosen or ()

    def _name_absent(self) -> None:
        """What was asked for and is not there is no less unknown for the rest that is judged.

        A namespace without a proxy, or a mesh, is nothing wrong: that is only said, unless nothing else was asked.
        """
        if self._chosen is None:
            return
        wish, namespace = self._wish, self._scope.namespace
        judged = any(row.half is Half.LIVE for row in self._tally.rows.values())
        for place, why in tuple(absent(wish.targets, wish.selector, namespace, self._chosen, judged=judged)):
            if wish.targets or wish.selector or not wish.stored:
                row = Row(Half.LIVE, "proxy", place, level=Level.UNKNOWN, detail=why, moved=False)
                self._tally.miss(row, Gap(place, Sight.PROXIES, why))
            elif not self._listing.gaps:
                self._look.remarks.append(why)

    def _cut_short(self, why: str) -> None:
        """What is left of the run was not seen; a half that was seen whole stands."""
        namespace = self._scope.namespace
        if Half.STORED in self._left:
            self._look.gaps.append(Gap(Ref("Secret", namespace, "*"), Sight.WORKLOADS, why))
        if Half.LIVE in self._left:
            self._look.gaps.append(Gap(Ref("Pod", namespace, "*"), Sight.MEMORY, why))

    def _verified(self, *, interrupted: bool) -> Verified:
        published, wish = self._published, self._wish
        first, *others = published.meshes
        meshes = (replace(first, missing=(*first.missing, *self._missing)), *others)
        looks = (published.look, self._workloads, self._listing, self._look)
        lost = (gap for gaps in self._lost.values() for gap in gaps)
        remarks = (*(mesh.remarks for mesh in meshes), *(look.remarks for look in looks))
        unseen = (*published.gaps, *(gap for look in looks[1:] for gap in look.gaps), *lost)
        everything = tuple(replace(mesh, gaps=(*mesh.gaps, *unseen)) for mesh in meshes)
        mesh_checks = MESH_CHECKS if wish.stored else MESH_CHECKS[:1]
        on_meshes = examine(everything, published.terms, mesh_checks)
        holding_checks = self._holding_checks()
        gaps = tuple(gap for mesh in everything for gap in mesh.gaps)
        findings = (*named_once(on_meshes), *self._tally.findings(gaps, holding_checks))
        rows = (*(mesh_rows(meshes, on_meshes, published.now) if wish.stored else ()), *self._tally.rows.values())
        return Verified(
            rows,
            findings,
            now=published.now,
            roots=tuple(root for reference in published.references.values() for root in reference.roots),
            remarks=(
                *self._reading.remarks,
                *dict.fromkeys(remark for said in remarks for remark in said),
            ),
            not_asked=(*not_asked(everything, mesh_checks), *self._left_out(mesh_checks, holding_checks)),
            interrupted=interrupted,
            unfit=tuple(ca.fault for reference in published.references.values() for ca in reference.unfit),
        )

    def _holding_checks(self) -> tuple[Check, ...]:
        secrets = self._citadels() and not self._scope.public
        asked = (*(SECRET_CHECKS if secrets else ()), *(LIVE_CHECKS if self._wish.live else ()))
        return tuple(dict.fromkeys(asked))

    def _left_out(self, mesh_checks: tuple[Check, ...], holding_checks: tuple[Check, ...]) -> tuple[str, ...]:
        left = [one.id for one in MESH_CHECKS if one not in mesh_checks]
        left += [one.id for one in LIVE_CHECKS if one not in holding_checks]
        if not self._wish.stored or self._scope.public:
            # A leaf that is a file is known again by its Secret alone.
            rows = self._tally.rows.values()
            files = any(
                row.half is Half.LIVE and row.signed is None and row.not_after and not row.signer for row in rows
            )
            left += [leaf_verifies.id] if files and leaf_verifies in holding_checks else []
        return tuple(left)


def _roots(references: Mapping[str, Reference]) -> dict[str, tuple[object, ...]]:
    """By the namespace of the control plane: those that sign, all that are trusted, and which CAs are no good."""
    return {
        home: (one.roots, one.signing, frozenset(one.bundle), tuple(ca.signer for ca in one.unfit))
        for home, one in references.items()
    }
