"""The whole of it: read the mesh, judge both halves, wait where that is asked, and make one report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING

from istio_certverify.fleet import Targets, of_scope
from istio_certverify.holding import Half, Reference
from istio_certverify.live import Looking, Register
from istio_certverify.pairs import Pairs
from istio_certverify.published import MESH_CHECKS, named_once
from istio_certverify.rows import mesh_rows
from istio_certverify.rules import LIVE_CHECKS, SECRET_CHECKS
from istio_certverify.saying import say
from istio_certverify.stored import citadels_of, judge_workloads, with_published
from istio_certverify.tally import Row, Tally
from istio_certverify.waiting import wait
from meshtrust.errors import ToolError, UsageError
from meshtrust.findings import Level, Terms, Threshold, examine, not_asked
from meshtrust.mesh import Gap, Look, Mesh, Proxy, Sight, read_meshes, read_proxies
from meshtrust.objects import Ref

if TYPE_CHECKING:
    from meshtrust.cli import Reading
    from meshtrust.findings import Check
    from meshtrust.report import Report

_NEVER = Threshold(timedelta(0), None)


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


def report(reading: Reading, wish: Wish) -> Report:
    if wish.wait and reading.source.recorded:
        raise UsageError("--wait waits for a living mesh: a recording does not move", "leave -f or --wait away")
    return _Verifying(reading, wish).report()


class _Verifying:
    """One run: it grows step by step, so that Ctrl-C and the deadline leave what was seen until then."""

    def __init__(self, reading: Reading, wish: Wish) -> None:
        self._source, self._scope, self._now = reading.source, reading.scope, reading.now
        self._reading, self._wish = reading, wish
        self._terms = Terms(reading.now, _NEVER, _NEVER)
        self._begin = monotonic()
        self._deadline = None if wish.timeout is None else self._begin + wish.timeout
        self._look = Look(reading.source)
        self._tally, self._pairs = Tally(), Pairs()

    def report(self) -> Report:
        meshes = read_meshes(self._source, self._scope)
        interrupted = False
        try:
            if self._wish.stored:
                meshes = self._judge_stored(meshes)
            if self._wish.live:
                self._judge_live(meshes)
        except KeyboardInterrupt:
            interrupted = True
            self._cut_short("interrupted")
        self._tally.settle(self._pairs)
        return self._said(meshes, interrupted=interrupted)

    def _judge_stored(self, meshes: tuple[Mesh, ...]) -> tuple[Mesh, ...]:
        meshes = with_published(self._look, meshes, self._scope)
        missing = (
            ()
            if self._scope.public
            else judge_workloads(self._look, meshes, self._scope, self._tally, self._now, self._deadline)
        )
        return (replace(meshes[0], missing=(*meshes[0].missing, *missing)), *meshes[1:])

    def _judge_live(self, meshes: tuple[Mesh, ...]) -> None:
        proxies = self._proxies(meshes)
        looking = Looking(
            source=self._source,
            references={mesh.namespace: Reference.of(mesh) for mesh in meshes},
            register=Register.of(meshes, self._tally),
            tally=self._tally,
            pairs=self._pairs,
            concurrency=self._wish.concurrency,
            progress=self._reading.progress,
        )
        self._name_machines()
        looking.look(proxies, self._now, self._deadline)
        if not self._source.recorded:
            proxies = looking.again(proxies, lambda: self._proxies(meshes), self._now, self._deadline)
        if self._wish.wait:
            wait(looking, proxies, lambda: self._proxies(meshes), self._now, self._deadline)

    def _name_machines(self) -> None:
        """Virtual machines are no pods: nobody here can ask their proxies."""
        if self._wish.targets or self._wish.selector:
            return
        why = "a virtual machine: its proxy cannot be asked through the API server"
        for found in self._look.objects(Sight.MEMORY, "WorkloadEntry", namespace=self._scope.namespace):
            row = Row(Half.LIVE, "virtual machine", found.ref, level=Level.UNKNOWN, detail=why, moved=False)
            self._tally.miss(row, Gap(found.ref, Sight.MEMORY, why))

    def _proxies(self, meshes: tuple[Mesh, ...]) -> tuple[Proxy, ...]:
        """Those that are judged: narrowed by what was typed, and of the control planes that are."""
        self._look.gaps = [gap for gap in self._look.gaps if gap.sight is not Sight.PROXIES]
        if self._source.recorded and not self._source.holds("Pod"):
            self._look.gaps.append(Gap(Ref("Pod", "", ""), Sight.PROXIES, "there are no pods in the recording"))
        found = read_proxies(self._look, self._scope.namespace, self._wish.selector)
        chosen = self._wish.targets.of(of_scope(found, meshes, self._scope))
        if self._wish.targets and not chosen and not self._look.gaps:
            raise ToolError(f"no proxy is there for {self._wish.targets}", "POD, POD.NAMESPACE or TYPE/NAME name one")
        return chosen

    def _cut_short(self, why: str) -> None:
        sights = ((Sight.WORKLOADS, self._wish.stored), (Sight.MEMORY, self._wish.live))
        self._look.gaps += [Gap(Ref("Run", "", "istio-certverify"), sight, why) for sight, asked in sights if asked]

    def _said(self, meshes: tuple[Mesh, ...], *, interrupted: bool) -> Report:
        everything = tuple(replace(mesh, gaps=(*mesh.gaps, *self._look.gaps)) for mesh in meshes)
        mesh_checks = MESH_CHECKS if self._wish.stored else MESH_CHECKS[:1]
        on_meshes = examine(everything, self._terms, mesh_checks)
        holding_checks = self._holding_checks(meshes)
        gaps = tuple(gap for mesh in everything for gap in mesh.gaps)
        findings = (*named_once(on_meshes), *self._tally.findings(gaps, holding_checks))
        rows = (*(mesh_rows(meshes, on_meshes) if self._wish.stored else ()), *self._tally.rows.values())
        return say(
            rows,
            findings,
            now=self._now,
            roots=tuple(root for mesh in meshes for root in Reference.of(mesh).roots),
            remarks=(
                *self._reading.remarks,
                *dict.fromkeys((*(remark for mesh in meshes for remark in mesh.remarks), *self._look.remarks)),
            ),
            not_asked=(*not_asked(everything, mesh_checks), *self._left_out(mesh_checks, holding_checks)),
            interrupted=interrupted,
        )

    def _holding_checks(self, meshes: tuple[Mesh, ...]) -> tuple[Check, ...]:
        secrets = self._wish.stored and not self._scope.public and any(citadels_of(mesh) for mesh in meshes)
        asked = (*(SECRET_CHECKS if secrets else ()), *(LIVE_CHECKS if self._wish.live else ()))
        return tuple(dict.fromkeys(asked))

    def _left_out(self, mesh_checks: tuple[Check, ...], holding_checks: tuple[Check, ...]) -> tuple[str, ...]:
        left = [one.id for one in MESH_CHECKS if one not in mesh_checks]
        return (*left, *(one.id for one in LIVE_CHECKS if one not in holding_checks))
