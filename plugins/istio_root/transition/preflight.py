"""What must be so before a root is replaced: each a check, judged on the plan."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from istio_root.renewal import forecast_of
from istio_root.transition.plan import Plan, Stage
from istio_root.transition.rights import can_i, spoken
from istio_root.transition.wish import Verb
from meshtrust.certificates import Kinship, Peer
from meshtrust.checks import dates
from meshtrust.durations import spoken as spoken_span
from meshtrust.findings import Level, Problem, Terms, check
from meshtrust.mesh import Copy, Kind, Sight
from meshtrust.objects import Ref
from meshtrust.versions import WATCHES_FILES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshtrust.certificates import Certificate

_SOON = timedelta(hours=1)
_SERVER = Ref("Server", "", "kube-apiserver")


@check(
    "ca-managed",
    Level.CRITICAL,
    says="the CA is a self-signed one, which istiod or Citadel keeps in this cluster",
    needs=(Sight.CA, Sight.SETTINGS),
    hint="a plugged-in root is issued anew by its own PKI (same key, subject, key identifier), put into cacerts, and "
    "the control plane restarted; an external CA is changed where it stands",
)
def ca_managed(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    authority = plan.authority
    if authority is None or authority.kind is Kind.UNSEEN:
        return
    if authority.kind is not Kind.SELF_SIGNED:
        yield Problem(authority.ref, f"the CA is {authority.kind}: nothing here may touch it")
    elif authority.key_ref is None:
        gone = "it is gone: the CA lives in the control plane's memory alone, and a restart would make another key"
        yield Problem(authority.ref, gone, hint="keep the control plane from restarting until the Secret is back")
    elif plan.root is None:
        yield Problem(authority.ref, "no certificate stands in it", hint="kubectl istio-root expiry tells more")
    elif not authority.instances and _nothing_runs(plan):
        yield Problem(
            authority.ref,
            "no istiod and no Citadel runs here that would load it",
            hint="start the control plane, or say where it is (-i)",
        )


def _nothing_runs(plan: Plan) -> bool:
    """What may not be seen may run all the same."""
    return not plan.signing and not any(gap.sight is Sight.ROLLOUTS for gap in plan.gaps)


@check(
    "secret-writable",
    Level.CRITICAL,
    says="the CA's Secret can be changed in place",
    needs=(Sight.CA,),
    hint="an immutable one can only be deleted and made anew, and an istiod that starts in between makes another key: "
    "scale the control plane to 0 before",
)
def secret_writable(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    secret = plan.secret
    if secret is None:
        return
    if secret.ending:
        yield Problem(secret.ref, "it is being deleted", hint="save the CA first: kubectl istio-root expiry tells more")
    if plan.writes and secret.immutable:
        yield Problem(secret.ref, "it is immutable")
    if plan.writes and not secret.resource_version and plan.wish.emit:
        yield Problem(
            secret.ref, "the recording has no resourceVersion: the patch is not guarded", Level.WARNING, hint=""
        )


@check(
    "secret-unkept",
    Level.WARNING,
    says="nothing but the control plane keeps the CA's Secret",
    needs=(Sight.CA,),
    hint="what keeps it would put the old root back: give it the new one as well (--emit FILE writes the patch)",
)
def secret_unkept(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    if plan.secret is None or not plan.writes:
        return
    for keeper in plan.secret.keepers:
        yield Problem(plan.secret.ref, f"{keeper} keeps it")
    for writer in plan.secret.strangers:
        when = f", last at {writer.when}" if writer.when else ""
        yield Problem(plan.secret.ref, f"{writer.manager} has written it{when}")


@check(
    "restart-safe",
    Level.CRITICAL,
    says="a restart loads the CA that signs now, and no other",
    needs=(Sight.CA, Sight.SETTINGS),
    hint="take cacerts away, or finish the move to it on purpose; until then no restart and no scaling",
)
def restart_safe(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    if waiting := plan.mesh.waiting:
        lacks = f": it lacks {', '.join(waiting.missing)}, and istiod would not start" if waiting.missing else ""
        yield Problem(waiting.ref, f"it would take over at the next start{lacks}")


@check(
    "root-signs",
    Level.CRITICAL,
    says="another edition of the root can be signed with the CA's key",
    needs=(Sight.CA,),
    hint="kubectl istio-root expiry tells what is wrong with the CA",
)
def root_signs(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    if plan.secret and plan.unsigned:
        yield Problem(plan.secret.ref, plan.unsigned)


@check(
    "root-proven",
    Level.CRITICAL,
    says="leaves of both roots verify under both roots, for every peer",
    needs=(Sight.CA, Sight.KEY),
    hint="nothing is written that would part proxies that have moved from those that have not",
)
def root_proven(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    if plan.secret:
        for refusal in plan.refusals:
            yield Problem(plan.secret.ref, refusal)


@check(
    "lifetime-gains",
    Level.CRITICAL,
    says="the new root ends later than the one that stands there",
    needs=(Sight.CA,),
    hint="give a longer --lifetime",
)
def lifetime_gains(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    root = plan.root
    if plan.wish.verb is Verb.RESTORE or not plan.secret or not root or plan.stage is not Stage.FRESH:
        return
    if plan.ends < root.not_after - timedelta(days=1):
        left = spoken_span(root.not_after - plan.now)
        yield Problem(plan.secret.ref, f"it has {left} left, and would end sooner, on {plan.ends:%Y-%m-%d}")


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
        hint = "--apply takes it back" if plan.writes else ""
        yield Problem(plan.secret.ref, str(plan.stage), hint=hint)


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
    "renewal-far",
    Level.CRITICAL,
    says="the control plane does not renew the root itself within the hour",
    needs=(Sight.CA, Sight.SETTINGS),
    hint="let it, look again in two hours, and extend what it made only where that still is too short",
)
def renewal_far(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    """Whoever writes first wins, and the other one is refused; a renewal that harms is better forestalled."""
    if not (plan.authority and plan.secret and plan.root and plan.writes) or plan.expired:
        return
    forecast = forecast_of(plan.authority, plan.secret.ref, plan.root)
    if forecast.due is None or forecast.switched_off or forecast.settings is None:
        return
    patience = 2 * (forecast.settings.interval or timedelta(hours=1))
    if forecast.due - _SOON <= plan.now <= forecast.due + patience:
        when = f"on {forecast.due:%Y-%m-%dT%H:%MZ}"
        if forecast.harm:
            yield Problem(
                plan.secret.ref, f"it is due {when}, and harms: be quicker", Level.WARNING, hint="--apply now"
            )
        else:
            yield Problem(plan.secret.ref, f"it is due {when}, and will do no harm")


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
        yield Problem(
            row.place, detail, Level.WARNING, hint="restart what runs them after the change: they take it then"
        )
    for row in plan.impact.apart:
        detail = f"already apart from the others: {row.detail}"
        yield Problem(row.place, detail, Level.WARNING, hint="kubectl istio-certverify --live tells more")


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
    hint="upgrade them, or restart them after the change and before the old root ends",
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


@check(
    "previous-kept",
    Level.CRITICAL,
    says="the root that stood there before is kept, valid, and another edition of the one that signs",
    needs=(Sight.CA,),
    hint="kubectl istio-root transition makes a new edition instead",
)
def previous_kept(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    secret, root = plan.secret, plan.root
    if secret is None or root is None:
        return
    previous = secret.previous
    if previous is None:
        yield Problem(secret.ref, "no previous root is kept in it")
    elif not previous.stands_in_for(root):
        yield Problem(secret.ref, f"the previous root is {root.kinship(previous)}: proxies would refuse each other")
    elif fault := dates(previous, plan.now):
        yield Problem(secret.ref, f"the previous root: {fault}")


@check(
    "previous-lasts",
    Level.CRITICAL,
    says="the control plane leaves the previous root as it is",
    needs=(Sight.CA, Sight.SETTINGS),
    hint="it would be renewed at the next look; what istiod makes of it may have another key identifier",
)
def previous_lasts(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    if not (plan.authority and plan.secret and plan.secret.previous):
        return
    forecast = forecast_of(plan.authority, plan.secret.ref, plan.secret.previous)
    if forecast.due is not None and not forecast.switched_off and forecast.due <= plan.now:
        share = forecast.settings.share if forecast.settings else None
        yield Problem(
            plan.secret.ref, f"the previous root has less than {share} % of its life left: it renews it at once"
        )


@check(
    "previous-is-last",
    Level.WARNING,
    says="what is put back is the root that stood there before this one",
    needs=(Sight.CA,),
    hint="the root has been changed by somebody else since: compare the dates before you put it back",
)
def previous_is_last(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    secret, root = plan.secret, plan.root
    if secret and root and secret.previous and secret.supersedes != root.fingerprint:
        yield Problem(secret.ref, "the previous root was kept for another one than the one that signs now")


PREFLIGHT = (
    ca_managed,
    secret_writable,
    secret_unkept,
    restart_safe,
    root_signs,
    root_proven,
    lifetime_gains,
    copies_known,
    webhooks_known,
    change_finished,
    control_plane_ready,
    renewal_far,
    proxies_unharmed,
    rights_held,
    proxies_reload,
    clusters_alone,
)
_MAKES_ONE = frozenset({root_signs, root_proven, lifetime_gains, renewal_far})
RESTORE_PREFLIGHT = (
    *(one for one in PREFLIGHT if one not in _MAKES_ONE),
    previous_kept,
    previous_lasts,
    previous_is_last,
)
