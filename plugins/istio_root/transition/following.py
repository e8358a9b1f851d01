"""Waiting until what was written has arrived: rollouts, published copies, workloads' Secrets."""

from __future__ import annotations

from time import monotonic, sleep
from typing import TYPE_CHECKING

from meshtrust.mesh import Era, Look, Mesh, Rollout, names, read_parts, read_rollouts
from meshtrust.verification.stored import judge_workloads
from meshtrust.verification.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from istio_root.transition.plan import Plan
    from meshtrust.certificates import Certificate
    from meshtrust.mesh import Part
    from meshtrust.objects import Ref
    from meshtrust.reading import Reading

_CALM = 3  # looks in a row: an old istiod and a new one undo for seconds what the other has patched


class TimeIsUp(Exception):
    """Where it stood when `--timeout` came."""

    def __init__(self, left: str) -> None:
        super().__init__(left)
        self.left = left


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
        return _unseen(look) or next(_unfinished(rollouts, before & parts), "")

    until(left, plan, reading, deadline)


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
        mesh = next((one for one in plan.published.meshes if one.namespace == plan.mesh.namespace), plan.mesh)
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
