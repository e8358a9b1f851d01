"""Waiting until what was written has arrived: rollouts, published copies, workloads' Secrets."""

from __future__ import annotations

from time import monotonic, sleep
from typing import TYPE_CHECKING

from istio_root.transition.secret import read_secret
from meshtrust.certificates import Kinship, Peer
from meshtrust.errors import ToolError, Unreachable
from meshtrust.findings import Problem
from meshtrust.mesh import Era, Kind, Look, Mesh, Rollout, names, read_parts, read_rollouts
from meshtrust.verification.stored import judge_workloads
from meshtrust.verification.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from istio_root.transition.plan import Plan
    from meshtrust.certificates import Certificate
    from meshtrust.mesh import Part
    from meshtrust.objects import Ref
    from meshtrust.reading import Reading

_NO_RESTART = (
    "do NOT restart the control plane (scaling counts) before this is settled: kubectl istio-root expiry tells more"
)
_CALM = 3  # looks in a row: an old istiod and a new one undo for seconds what the other has patched


class TimeIsUp(Exception):
    """Where it stood when `--timeout` came."""

    def __init__(self, left: str) -> None:
        super().__init__(left)
        self.left = left


class Astray(ToolError):
    """The change is not what becomes of the mesh any more: going on would do harm."""

    status = 2


def look_around(plan: Plan, reading: Reading, root: Certificate | None) -> None:
    """Read again what a control plane that starts would load. Raises Astray where that is not this root.

    Raises `Unreachable` where it cannot be seen.
    """
    plan.published.read_again()
    if plan.published.lost:
        raise Unreachable(f"not seen any more: {plan.published.lost[0].why}", "look again before anything is restarted")
    _stay_on_the_way(plan, _mesh_of(plan), root, reading)


def _mesh_of(plan: Plan) -> Mesh:
    return next((one for one in plan.published.meshes if one.namespace == plan.mesh.namespace), plan.mesh)


def _stay_on_the_way(plan: Plan, mesh: Mesh, root: Certificate | None, reading: Reading) -> None:
    if waiting := mesh.waiting:
        raise Astray(f"{waiting.ref} has come meanwhile: a start would load it instead", _NO_RESTART)
    own = next((ca for ca in mesh.authorities if ca.kind is Kind.SELF_SIGNED), None)
    signer = own.signer.certificate if own and own.signer else None
    if root is None or signer == root:
        return
    found = read_secret(Look(reading.source), plan.secret.ref) if plan.secret else None
    if found is None:
        raise Astray("the CA's Secret is gone: whatever starts now makes a key that nobody trusts", _NO_RESTART)
    if found.held[:1] != (root,):
        raise Astray(f"another root stands in the CA's Secret: {found.last_writer} has written it", _NO_RESTART)
    raise Astray(f"another CA signs here now: {mesh.authorities[0].ref}", _NO_RESTART)


def _strangers(mesh: Mesh, root: Certificate) -> Iterator[Problem]:
    """What holds no edition of the root, of those that somebody keeps current."""
    holders = (*((copy, Peer.EVERYONE) for copy in mesh.copies), *((hook, Peer.OCTETS) for hook in mesh.webhooks))
    for copy, peer in holders:
        kin = [root.kinship(held) for held in copy.certificates]
        if kin and not copy.left_behind and not any(held.stands_in_for(root, peer) for held in copy.certificates):
            yield Problem(copy.ref, f"holds {min(kin, key=list(Kinship).index)}")


def until(left: Callable[[], str], plan: Plan, reading: Reading, deadline: float | None, *, calm: int = 1) -> None:
    """Look again until nothing is left, so many times in a row. Raises TimeIsUp."""
    begin, fine, pause = monotonic(), 0, plan.wish.pause
    try:
        while True:
            began = monotonic()
            missing = left()
            spent = monotonic() - began
            fine = 0 if missing else fine + 1
            if fine >= calm:
                return
            if deadline is not None and monotonic() + pause > deadline:
                raise TimeIsUp(missing or "it had not stayed so yet")
            reading.progress(f"{missing or 'all there, looking whether it stays so'}, {monotonic() - begin:.0f}s")
            sleep(max(pause, spent))  # ten thousand Secrets are not asked for all the time
    finally:
        reading.progress("")


def rolled_out(plan: Plan, restarted: tuple[Rollout, ...], reading: Reading, deadline: float | None) -> None:
    """New pods ready, old ones gone: one that ends still works, and Citadel's for its whole grace period."""
    wanted = {one.ref for one in restarted}
    before = {one.ref for one in plan.parts if _is_of(one, restarted)}

    def left() -> str:
        look = Look(reading.source)
        rollouts = [one for one in read_rollouts(look, plan.mesh.namespace) if one.ref in wanted]
        parts = {one.ref for one in read_parts(look, plan.mesh.namespace)}
        if not look.gaps and (stuck := next(_stuck(rollouts, wanted), "")):
            raise Astray(stuck, "the root is written, and old and new accept each other: the same command goes on")
        return _unseen(look) or next(_unfinished(rollouts, before & parts), "")

    until(left, plan, reading, deadline)


def _stuck(rollouts: list[Rollout], wanted: set[Ref]) -> Iterator[str]:
    """What no waiting helps."""
    for one in rollouts:
        if one.paused:
            yield f"the rollout of {one.ref} is paused: kubectl rollout resume lets it go on"
        elif not one.wanted:
            yield f"{one.ref} is scaled to 0: nothing loads the root"
    for ref in sorted(wanted - {one.ref for one in rollouts}):
        yield f"{ref} is gone"


def healed(plan: Plan, reading: Reading, deadline: float | None) -> None:
    wanted = {one.ref for one in plan.healed}

    def left() -> str:
        look = Look(reading.source)
        waiting = [one for one in read_rollouts(look, plan.mesh.namespace) if one.ref in wanted and not one.done]
        return _unseen(look) or (f"{waiting[0].ref} is not ready yet" if waiting else "")

    until(left, plan, reading, deadline)


def published(plan: Plan, root: Certificate, reading: Reading, deadline: float | None) -> None:
    """Every copy that somebody keeps current, every caBundle, every Secret of Citadel's: and that they stay so."""

    def left() -> str:
        plan.published.read_again()
        if plan.published.lost:
            return f"not seen: {plan.published.lost[0].why}"
        mesh = _mesh_of(plan)
        _stay_on_the_way(plan, mesh, root, reading)
        if stranger := next(_strangers(mesh, root), None):
            raise Astray(f"{stranger.place} {stranger.detail}: another CA has published it", _NO_RESTART)
        if mesh.era is Era.CITADEL:
            return _secrets_left(plan, mesh, root, reading)
        late = list(_lacking(mesh, root))
        return f"{late[0]}{f' and {len(late) - 1} more' if len(late) > 1 else ''} not there yet" if late else ""

    until(left, plan, reading, deadline, calm=_CALM)


def _is_of(part: Part, rollouts: tuple[Rollout, ...]) -> bool:
    return any((part.part, part.revision) == (one.part, one.revision) for one in rollouts)


def _unfinished(rollouts: list[Rollout], old: set[Ref]) -> Iterator[str]:
    for one in rollouts:
        if not one.observed:
            yield f"{one.ref}: its restart is not taken up yet"
        elif not one.done:
            yield f"{one.ref}: {min(one.updated, one.available)} of {one.wanted} new pods are ready"
    for ref in sorted(old):
        yield f"{ref} still runs"


def _unseen(look: Look) -> str:
    return f"not seen: {look.gaps[0].why}" if look.gaps else ""


def _lacking(mesh: Mesh, root: Certificate) -> Iterator[Ref]:
    yield from (copy.ref for copy in mesh.copies if root not in copy.certificates and not copy.left_behind)
    yield from _hooks_lacking(mesh, root)


def _hooks_lacking(mesh: Mesh, root: Certificate) -> Iterator[Ref]:
    return (hook.ref for hook in mesh.webhooks if root not in hook.certificates and not hook.left_behind)


def _secrets_left(plan: Plan, mesh: Mesh, root: Certificate, reading: Reading) -> str:
    look, tally = Look(reading.source), Tally()
    judge_workloads(look, (mesh,), reading.scope, tally, plan.now, None)
    if look.gaps:
        return _unseen(look)
    if behind := secrets_behind(tally, root):
        return f"{behind} of {len(tally.rows)} Secrets are not rewritten yet"
    # An injector that is restarted after this patches its webhook only then.
    late = [] if any(one.part == names.INJECTOR for one in plan.restarted_after) else list(_hooks_lacking(mesh, root))
    return f"{late[0]} is not patched yet" if late else ""


def secrets_behind(tally: Tally, root: Certificate) -> int:
    """Count those that somebody keeps and that hold another edition of a root, in date or not."""
    others = {one.fingerprint for one in tally.roots if one != root and one.stands_in_for(root)}
    return sum(1 for row in tally.rows.values() if not row.moved and not others.isdisjoint(row.trusts or ()))
