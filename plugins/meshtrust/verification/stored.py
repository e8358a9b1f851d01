"""The stored half: the CA, the published copies, the webhooks, istiod's own certificate, Citadel's Secrets."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING

from meshtrust.certificates import Peer
from meshtrust.durations import spoken
from meshtrust.errors import Unseen
from meshtrust.findings import Level
from meshtrust.mesh import (
    Era,
    Gap,
    Hooks,
    Instance,
    Look,
    Mesh,
    Sight,
    WorkloadCertificate,
    hooks_of,
    names,
    publishes,
    read_hooks,
    read_places,
    read_workloads,
    unserved,
)
from meshtrust.mesh.publishing import WEBHOOK_KINDS
from meshtrust.objects import Ref
from meshtrust.verification.holding import Case, Half, Holding, Reference, span_of
from meshtrust.verification.places import instances_of, of_istiod, with_places
from meshtrust.verification.rules import root_held
from meshtrust.versions import ROTATOR

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from meshtrust.source import Scope
    from meshtrust.verification.tally import Tally

_RESYNC, _EACH = timedelta(seconds=60), timedelta(seconds=0.4)  # of Citadel: a look a minute, five requests a second


def with_published(look: Look, meshes: tuple[Mesh, ...], scope: Scope) -> tuple[Mesh, ...]:
    """Add what each mesh publishes beside its copies of the root: which are missing, which nobody writes, webhooks."""
    recorded = look.source.recorded
    hooks = Hooks() if scope.namespace else read_hooks(look)
    if hooks.foreign:
        look.remarks.append(f"{hooks.foreign} webhooks call a URL of the user's: not judged")
    found = []
    for mesh in with_places(look, meshes, scope):
        mine = of_istiod(instances_of(mesh))
        homes = () if scope.istio_namespace or scope.revision else tuple(one.namespace for one in meshes)
        rivals = tuple(instance for rival in mesh.rivals for instance in rival.instances)
        webhooks = tuple(hooks_of(mesh.namespace, homes, hooks, mine, rivals))
        if any(not publishes(i) for i in mine):
            webhooks = ()  # with another provider of the serving certificate the bundle is the user's
        not_asked = set(mesh.not_asked)
        if recorded and not look.source.holds("Namespace"):
            not_asked.add(Sight.NAMESPACES)
        if scope.namespace or (recorded and not any(look.source.holds(kind) for kind in WEBHOOK_KINDS)):
            not_asked.add(Sight.WEBHOOKS)
        broken = (*mesh.broken, *(one for one in look.broken if one.ref in {hook.ref for hook in webhooks}))
        found.append(replace(mesh, webhooks=webhooks, broken=broken, not_asked=frozenset(not_asked)))
    return tuple(found)


# Citadel's Secrets, one after the other.


def judge_workloads(
    look: Look, meshes: tuple[Mesh, ...], scope: Scope, tally: Tally, now: datetime, deadline: float | None
) -> tuple[Ref, ...]:
    """Judge each Secret of the meshes of Citadel, and name those that are missing.

    What lies in a mesh of istiod is counted and said.
    """
    references = [Reference.of(mesh) for mesh in meshes if citadels_of(mesh)]
    if not references:
        look.remarks += _leftovers(look, scope)
        return ()
    citadels = tuple(citadel for mesh in meshes for citadel in citadels_of(mesh))
    reasons = {place.name: unserved(place, citadels) for place in read_places(look, scope.namespace)}
    held: set[tuple[str, str]] = set()
    for found in read_workloads(look, scope.namespace):
        held.add((found.ref.namespace, found.ref.name))
        holding = _holding(found, reasons.get(found.ref.namespace, ""))
        tally.take(Case.of(holding, _reference_for(holding, references)), now)
        if deadline is not None and monotonic() >= deadline:
            look.gaps.append(Gap(Ref("Secret", "", ""), Sight.WORKLOADS, "not all were reached before --timeout"))
            return ()
    _expect(tally, citadels, references, now)
    return tuple(_missed(look, scope, reasons, held))


def citadels_of(mesh: Mesh) -> tuple[Instance, ...]:
    return tuple(instance for instance in instances_of(mesh) if instance.era is Era.CITADEL)


def _reference_for(holding: Holding, references: list[Reference]) -> Reference:
    if len(references) == 1:
        return references[0]
    keys = {root.key_bytes for root in holding.roots}
    shared = (one for one in references if keys & {root.key_bytes for root in one.bundle})
    return next(shared, references[0])


def _holding(found: WorkloadCertificate, unkept: str) -> Holding:
    uris = found.chain[0].uris if found.chain else ()
    return Holding(
        place=found.ref,
        half=Half.STORED,
        kind="workload Secret",
        peer=Peer.EVERYONE,  # Envoys mount it, and Galley, Pilot and the injector, which are Go
        roots=found.roots,
        chain=found.chain,
        span=span_of(found.chain),
        identity=next(iter(uris), ""),
        account=found.ref.name.removeprefix(names.WORKLOAD_SECRET),
        annotated=found.account,
        broken=found.broken,
        unkept=unkept,
        mends="" if unkept else f"kubectl delete secret {found.ref.name} -n {found.ref.namespace}",
    )


def _expect(tally: Tally, citadels: tuple[Instance, ...], references: list[Reference], now: datetime) -> None:
    """Say by when Citadel has worked through a new root: a minute, then one Secret after the other.

    It counts from its start, or from the day of the root, whichever is later: nobody says when it read the root again.
    Releases without a rotator read their root at their start alone: what they have not moved by now, they never will.
    """
    if not any(citadel.version is None or citadel.version.has(ROTATOR) for citadel in citadels):
        return
    secrets = [row for row in tally.rows.values() if row.half is Half.STORED]
    late = [row for row in secrets if root_held.id in row.checks and row.level is Level.WARNING and not row.moved]
    starts = [citadel.started for citadel in citadels if citadel.started]
    written = [root.not_before for reference in references for root in reference.roots]
    begin = max((*starts, *written)) if starts else now
    by = begin + _RESYNC + _EACH * len(secrets)
    for row in late:
        tally.expect(row.place, by, f", overdue for {spoken(now - by)}" if by < now else "")


def _missed(look: Look, scope: Scope, reasons: Mapping[str, str], held: set[tuple[str, str]]) -> Iterator[Ref]:
    for account in look.objects(Sight.ACCOUNTS, "ServiceAccount", namespace=scope.namespace):
        place, name = account.ref.namespace, f"{names.WORKLOAD_SECRET}{account.ref.name}"
        if not reasons.get(place, "") and (place, name) not in held:
            yield Ref("Secret", place, name)


def _leftovers(look: Look, scope: Scope) -> tuple[str, ...]:
    """What Citadel left behind on a mesh of istiod: nobody reads it. That listing it is refused is no gap."""
    try:
        number = sum(1 for _ in look.source.objects("WorkloadSecret", namespace=scope.namespace))
    except Unseen:
        return ()
    if not number:
        return ()
    return (f"{number} Secrets of type istio.io/key-and-cert are left of Citadel: legacy, ignored",)
