"""The CA and its Secret: may they be changed at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshtrust.findings import Level, Problem, Terms, check
from meshtrust.mesh import Kind, Sight

if TYPE_CHECKING:
    from collections.abc import Iterator

    from istio_root.transition.plan import Plan


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
    elif authority.signer is None:
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


_UNGUARDED = "it would overwrite whatever stands there by then: look at the Secret before you apply it"


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
            secret.ref, "the recording has no resourceVersion: the patch is not guarded", Level.WARNING, hint=_UNGUARDED
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
