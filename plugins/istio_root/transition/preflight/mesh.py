"""Everything around the CA: who holds its root, what is under way, who may do what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from istio_root.transition.loading import never_loads
from istio_root.transition.plan import Plan, Stage
from istio_root.transition.rights import can_i, spoken
from istio_root.transition.wish import Verb
from meshtrust.certificates import Kinship, Peer
from meshtrust.findings import Level, Problem, Terms, check
from meshtrust.mesh import Copy, Sight
from meshtrust.objects import Ref
from meshtrust.versions import WATCHES_FILES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshtrust.certificates import Certificate


@check(
    "copies-known",
    Level.CRITICAL,
    says="what is published is the root that signs, or another edition of it",
    needs=(Sight.COPIES,),
    hint="what holds another root is mended first: kubectl istio-certverify --stored tells how",
)
def copies_known(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    """Dates do not matter here: an expired root is what this is for."""
    if plan.root:
        yield from _of_strangers(plan.root, plan.mesh.copies, Peer.EVERYONE)


@check(
    "webhooks-known",
    Level.CRITICAL,
    says="what the webhooks are told to trust is the root that signs, or another edition of it",
    needs=(Sight.WEBHOOKS,),
    hint="what holds another root is mended first: kubectl istio-certverify --stored tells how",
)
def webhooks_known(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    """Their reader is the API server, which does not mind key identifiers."""
    if plan.root:
        yield from _of_strangers(plan.root, plan.mesh.webhooks, Peer.OCTETS)


def _of_strangers(root: Certificate, copies: tuple[Copy, ...], peer: Peer) -> Iterator[Problem]:
    for copy in copies:
        if copy.certificates and not any(held.stands_in_for(root, peer) for held in copy.certificates):
            yield _of_stranger(root, copy)


def _of_stranger(root: Certificate, copy: Copy) -> Problem:
    kin = min((root.kinship(held) for held in copy.certificates), key=list(Kinship).index)
    detail = f"it holds {kin}"
    if copy.left_behind:
        return Problem(copy.ref, f"{detail}; {copy.left_behind}", Level.WARNING)
    return Problem(copy.ref, detail)


@check(
    "change-finished",
    Level.WARNING,
    says="no change of the root is under way",
    needs=(Sight.CA, Sight.COPIES),
    hint="--apply goes on with it; a further change comes after that",
)
def change_finished(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    if plan.secret and plan.stage is not Stage.FRESH:
        hint = _INSTEAD[plan.wish.verb] if plan.writes else ""
        yield Problem(plan.secret.ref, str(plan.stage), hint=hint)


_INSTEAD = {
    Verb.TRANSITION: "--apply puts a valid one in its place: nobody should load a root that has ended",
    Verb.RESTORE: "--apply takes it back",
}
_BY_HAND = "--no-restart writes the root alone; then restart by hand what runs the control plane"


@check(
    "root-loads",
    Level.CRITICAL,
    says="what is written will be loaded",
    needs=(Sight.SETTINGS,),
    hint="leave --no-restart away; or --emit the patch, and restart by hand after it was applied",
)
def root_loads(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    """Whatever its settings are, an istiod takes it that is not ready for want of a valid root; not one that runs."""
    if plan.wish.restart or plan.wish.emit or not (plan.writes or plan.stage is Stage.WRITTEN):
        return
    healed = {one.revision for one in plan.healed}
    for instance in plan.authority.instances if plan.authority else ():
        if instance.revision in healed or instance.ref.kind == "Deployment":  # which will load it at its start
            continue
        if why := never_loads(instance):
            yield Problem(instance.ref, f"it never loads another root while it runs: {why}")


@check(
    "control-plane-ready",
    Level.CRITICAL,
    says="the control plane is ready, and can be restarted",
    needs=(Sight.SETTINGS, Sight.ROLLOUTS),
    hint="bring it up first: a change on top of another fault is hard to tell from it",
)
def control_plane_ready(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    """Not ready for want of a valid root is what a new root mends; a change that is under way is waited for anyway."""
    due = (*plan.restarted, *plan.restarted_after)
    for rollout in due:
        if rollout.paused:
            yield Problem(rollout.ref, "its rollout is paused: a restart would do nothing")
    seen = not any(gap.sight is Sight.ROLLOUTS for gap in plan.gaps)
    running = plan.authority.instances if plan.authority else ()
    if plan.writes and plan.wish.restart and seen and running and not plan.signing:
        yield Problem(running[0].ref, "no Deployment runs it: it cannot be restarted here", hint=_BY_HAND)
    if plan.expired:
        return
    level = None if plan.writes else Level.WARNING
    for part in plan.parts:
        if not part.ready and not part.ending:
            yield Problem(part.ref, f"{part.part} is not ready", level)
    for rollout in plan.signing:
        if rollout.wanted == 0:
            yield Problem(rollout.ref, "it is scaled to 0: nothing would load the root", Level.WARNING)
        elif not rollout.done and plan.stage is Stage.FRESH:
            yield Problem(rollout.ref, "its last rollout is not finished", level)


@check(
    "proxies-unharmed",
    Level.CRITICAL,
    says="every proxy that belongs to the mesh now still does, whoever moves first",
    needs=(Sight.PROXIES, Sight.MEMORY),
    hint="let these take the present root first: restart what runs them, then look again",
)
def proxies_unharmed(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    for row in plan.impact.harmed:
        yield Problem(row.place, row.detail)
    for row in plan.impact.mended:
        detail = "apart from the present root, and belongs to the next one: whoever takes that belongs to all again"
        hint = "once the new root is loaded, restart what runs them: they take it then"
        yield Problem(row.place, detail, Level.WARNING, hint=hint)
    for row in plan.impact.apart:
        detail = f"already apart from the others: {row.detail}"
        yield Problem(row.place, detail, Level.WARNING, hint="kubectl istio-certverify --live tells more")


@check(
    "proxies-in-time",
    Level.WARNING,
    says="every proxy takes the next root before the one that it holds ends",
    needs=(Sight.PROXIES, Sight.MEMORY),
    hint="once the new root is loaded, restart what runs them by the commands below, before theirs ends: with a root "
    "that has ended they refuse everybody",
)
def proxies_in_time(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    if plan.root is None or plan.expired:
        return
    for row, end in plan.impact.late:
        moves = f"moves by {row.moves_by:%Y-%m-%dT%H:%M}Z" if row.moves_by else "does not move by itself"
        ends = "ended" if end <= plan.now else "ends"
        yield Problem(row.place, f"{moves}, and the root that it holds {ends} on {end:%Y-%m-%dT%H:%M}Z")


@check(
    "rights-held",
    Level.CRITICAL,
    says="this user may do all that the plan does",
    needs=(Sight.RIGHTS,),
    hint="ask for what is missing",
)
def rights_held(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    for right in plan.rights.missing:
        place = Ref("Right", right.namespace, spoken(right))
        yield Problem(place, "it is missing", hint=f"ask for it, and try it with: {can_i(right)}")


@check(
    "proxies-reload",
    Level.WARNING,
    says="every proxy takes a new root while it runs",
    needs=(Sight.PROXIES,),
    hint="upgrade them, or restart them once the new root is loaded and before the old one ends",
)
def proxies_reload(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    for one in plan.impact.keeps_old:
        version = one.version
        if version is not None:
            sure = version.exact and version.has(WATCHES_FILES)
            detail = (
                "keeps the old root until it is restarted" if sure else "may keep the old root until it is restarted"
            )
            yield Problem(one.place, f"{version.build} {detail}")


@check(
    "clusters-alone",
    Level.WARNING,
    says="no other cluster lives by this root",
    needs=(Sight.CLUSTERS,),
    hint="where their root has the same key, change it in each: in any order, for all editions accept each other",
)
def clusters_alone(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    for name in plan.clusters:
        yield Problem(Ref("Secret", plan.mesh.namespace, name), "another cluster of this mesh")


# Of `restore` alone.
