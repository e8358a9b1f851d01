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
    Gap,
    Hooks,
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
)
from meshtrust.mesh.publishing import WEBHOOK_KINDS
from meshtrust.objects import Ref
from meshtrust.verification.holding import Case, Half, Holding, bundle_of, span_of
from meshtrust.verification.keeping import NOT_SOUGHT, SEEK, Keepers, citadels_of, others_than
from meshtrust.verification.places import instances_of, of_istiod, with_places
from meshtrust.verification.rules import root_held
from meshtrust.versions import ROTATOR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from meshtrust.source import Scope
    from meshtrust.verification.holding import Reference
    from meshtrust.verification.tally import Row, Tally

_RESYNC, _EACH = timedelta(seconds=60), timedelta(seconds=0.4)  # of Citadel: a look a minute, five requests a second


def with_published(look: Look, meshes: tuple[Mesh, ...], scope: Scope) -> tuple[Mesh, ...]:
    """Add what each mesh publishes beside its copies of the root: which are missing, which nobody writes, webhooks."""
    recorded = look.source.recorded
    hooks = Hooks() if scope.namespace else read_hooks(look)
    if hooks.foreign:
        look.remarks.append(f"{hooks.foreign} webhooks call a URL of the user's: not judged")
    unsought = _unsought(meshes, hooks)
    if not _narrowed(scope):
        look.gaps += (_not_sought(home, hooks) for home in unsought)
    hooks = replace(hooks, patched=tuple(hook for hook in hooks.patched if hook.home not in unsought))
    found = []
    for mesh in with_places(look, tuple(_without(mesh, unsought) for mesh in meshes), scope):
        mine = of_istiod(instances_of(mesh))
        homes = () if _narrowed(scope) else tuple(one.namespace for one in meshes)
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


def _unsought(meshes: tuple[Mesh, ...], hooks: Hooks) -> tuple[str, ...]:
    """The namespaces that webhooks call, where no control plane could be looked for: it may well run."""
    searched = meshes[0].searched
    if searched is None:
        return ()
    return tuple(sorted({hook.home for hook in hooks.patched}.difference(searched, (one.namespace for one in meshes))))


def _not_sought(home: str, hooks: Hooks) -> Gap:
    number = sum(hook.home == home for hook in hooks.patched)
    what = f"{number} {'webhook calls' if number == 1 else 'webhooks call'} it"
    return Gap(Ref("Namespace", "", home), Sight.WEBHOOKS, NOT_SOUGHT.format(what=what), SEEK.format(home=home))


def _without(mesh: Mesh, homes: tuple[str, ...]) -> Mesh:
    """Leave out the copies of control planes that could not be looked for: those at home, and of the same root."""
    at_home = [copy for copy in mesh.copies if copy.ref.namespace in homes]
    if not at_home:
        return mesh
    keys = {one.key_bytes for copy in at_home for one in copy.certificates}
    keys -= {root.key_bytes for root in bundle_of(mesh)}
    theirs = [copy for copy in mesh.copies if copy in at_home or keys & {one.key_bytes for one in copy.certificates}]
    taken = mesh.taken.union(copy.ref.namespace for copy in theirs)
    return replace(mesh, copies=tuple(copy for copy in mesh.copies if copy not in theirs), taken=taken)


# Citadel's Secrets, one after the other.


def judge_workloads(
    look: Look, meshes: tuple[Mesh, ...], scope: Scope, tally: Tally, now: datetime, deadline: float | None
) -> tuple[Ref, ...]:
    """Judge each Secret of the meshes of Citadel, each against its own, and name those that are missing.

    What lies in a mesh of istiod is counted and said.
    """
    keepers = Keepers(meshes, now)
    if not keepers.references:
        look.remarks += () if others_than(meshes) else _leftovers(look, scope)
        return ()
    before = len(look.gaps)
    places = read_places(look, scope.namespace)
    unsought = keepers.see(places, whole=len(look.gaps) == before)
    look.gaps += () if _narrowed(scope) else unsought
    held: set[tuple[str, str]] = set()
    rows: dict[str, list[Row]] = {home: [] for home in keepers.references}
    before = len(look.gaps)
    for found in read_workloads(look, scope.namespace):
        held.add((found.ref.namespace, found.ref.name))
        keeping = keepers.of(found.ref.namespace)
        if not keeping.elsewhere and (reference := keepers.reference(keeping, found.roots)):
            row = tally.take(Case.of(_holding(found, keeping.unkept), reference, now), now)
            rows[reference.mesh.namespace].append(row)
        if deadline is not None and monotonic() >= deadline:
            look.gaps.append(Gap(Ref("Secret", "", ""), Sight.WORKLOADS, "not all were reached before --timeout"))
            return ()
    for home, reference in keepers.references.items():
        _expect(tally, reference, rows[home], now)
    unread = [gap.ref for gap in look.gaps[before:]]
    if any(not ref.name for ref in unread):
        return ()  # without a whole list nobody knows which are missing
    held.update((ref.namespace, ref.name) for ref in unread)
    return tuple(_missed(look, scope, keepers, held))


def _narrowed(scope: Scope) -> bool:
    """Whether control planes were named: then the others are left out."""
    return bool(scope.istio_namespace or scope.revision)


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


def _expect(tally: Tally, reference: Reference, secrets: list[Row], now: datetime) -> None:
    """Say by when a Citadel has worked through a new root: a minute, then one Secret after the other.

    It counts from its start, or from the day of the root, whichever is later: nobody says when it read the root again.
    Releases without a rotator read their root at their start alone: what they have not moved by now, they never will.
    """
    citadels = citadels_of(reference.mesh)
    if not any(citadel.version is None or citadel.version.has(ROTATOR) for citadel in citadels):
        return
    late = [row for row in secrets if root_held.id in row.checks and row.level is Level.WARNING and not row.moved]
    starts = [citadel.started for citadel in citadels if citadel.started]
    written = [root.not_before for root in reference.roots]
    begin = max((*starts, *written)) if starts else now
    by = begin + _RESYNC + _EACH * len(secrets)
    for row in late:
        tally.expect(row.place, by, f", overdue for {spoken(now - by)}" if by < now else "")


def _missed(look: Look, scope: Scope, keepers: Keepers, held: set[tuple[str, str]]) -> Iterator[Ref]:
    for account in look.objects(Sight.ACCOUNTS, "ServiceAccount", namespace=scope.namespace):
        place, name = account.ref.namespace, f"{names.WORKLOAD_SECRET}{account.ref.name}"
        keeping = keepers.of(place)
        if not (keeping.unkept or keeping.elsewhere) and (place, name) not in held:
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
