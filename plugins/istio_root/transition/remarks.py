"""What a plan means, in words: who signs, what its own renewal will do, who moves by when, and who is cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from istio_root.expiry import who_signs
from istio_root.renewal import forecast_of, remark
from istio_root.transition.loading import loads_by
from istio_root.transition.plan import AS_LONG, Plan, Stage
from istio_root.transition.preflight.root import ends_too_early
from istio_root.transition.wish import Verb
from meshtrust.checks import dates
from meshtrust.mesh import Era
from meshtrust.report import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshtrust.certificates import Certificate


def said(plan: Plan, *, written: bool = False) -> Iterator[str]:
    """`written` says that the new root stands there by now: of the one before it there is nothing left to foresee."""
    home = plan.mesh.namespace
    if plan.where:
        yield plan.where
    if plan.authority:
        yield f"{home}: {who_signs(plan.authority)}"
    if plan.stage is not Stage.FRESH:
        yield f"{home}: {plan.stage}"
    elif plan.root and plan.lasts and not ends_too_early(plan):  # which `lifetime-gains` tells
        yield f"{home}: {_nothing_gained(plan, plan.root)}"
    if plan.expired and plan.root and not written:
        yield f"{home}: the root: {dates(plan.root, plan.now)}; {_healing(plan)}"
    yield from _own_renewal(plan, home, written=written)
    yield from _loading(plan, home)
    yield from _moving(plan, home)
    yield from plan.mesh.remarks


def _nothing_gained(plan: Plan, root: Certificate) -> str:
    if plan.wish.verb is Verb.RESTORE:
        return "no previous root is kept"
    lasts = f"the root lasts until {root.not_after:%Y-%m-%d}"
    if root.not_after - plan.ends <= AS_LONG:
        return f"{lasts}, as long as was asked for: nothing is to be written"
    return f"{lasts}, longer than a new one would ({plan.ends:%Y-%m-%d}): nothing is to be written"


def _healing(plan: Plan) -> str:
    if plan.healed:
        return "an istiod that is not ready takes the new one within seconds, without a restart"
    return "the control plane takes the new one with its restart"


def _own_renewal(plan: Plan, home: str, *, written: bool) -> Iterator[str]:
    """What the CA's own renewal would do to the root as it stands, and what it will do to the next one."""
    if plan.authority is None or not plan.authority.instances or plan.secret is None or plan.root is None:
        return
    present = remark(forecast_of(plan.authority, plan.secret.ref, plan.root), plan.mesh.era, plan.now)
    target = plan.target or plan.root
    following = remark(forecast_of(plan.authority, plan.secret.ref, target), plan.mesh.era, plan.now)
    if written:
        yield f"{home}: {following}"
    elif present != following:
        yield f"{home}: the present root: {present}"
        yield f"{home}: the next one: {following}"
    else:
        yield f"{home}: {present}"
    if plan.wish.drop and plan.writes:
        by = plan.impact.moves_by
        until = f", the last of them by {timestamp(by)}" if by else ""
        yield (
            f"{home}: without a key identifier the next renewal parts nobody, whichever one it makes: before it, every "
            f"proxy must hold this root{until} (kubectl istio-certverify tells)"
        )


def _loading(plan: Plan, home: str) -> Iterator[str]:
    if plan.wish.restart or not (plan.writes or plan.stage is Stage.WRITTEN) or plan.authority is None:
        return
    for line in loads_by(plan):
        yield f"{home}: {line}"


def _moving(plan: Plan, home: str) -> Iterator[str]:
    impact = plan.impact
    if impact.mutual_tls is False:
        yield f"{home}: mutual TLS is not used between workloads: none of their traffic can break"
    waiting = [row for row in impact.rows if row.moves_by and row.moves_by > plan.now]
    if waiting and impact.moves_by and not plan.expired and plan.stage is Stage.FRESH:
        parted = impact.harmed or impact.mended or impact.apart
        peace = "; until then old and new accept each other" if not (impact.late or parted) else ""
        yield (
            f"{home}: {len(waiting)} of {len(impact.rows)} proxies take the root along with their next certificate, "
            f"the last by {timestamp(impact.moves_by)}{peace}"
        )
    if plan.expired and impact.ended:
        yield (
            f"{home}: the certificate of {_proxies(len(impact.ended))} has ended: they ask for new ones by themselves. "
            "What is not back two minutes after the control plane, the commands below restart"
        )
    stuck = [row for row, _ in impact.late if row not in impact.ended]
    if plan.expired and stuck and impact.moves_by:
        yield (
            f"{home}: {_proxies(len(stuck))} with a certificate that lives on and no root that does: they refuse "
            f"everybody until the commands below restart them, or the next certificate, by {timestamp(impact.moves_by)}"
        )
    if impact.mounted:
        yield (
            f"{home}: {impact.mounted} Envoys read their certificates from files: each is hot-restarted when its "
            "Secret changes, and drains connections that are long"
        )
    if plan.mesh.era is Era.CITADEL and plan.writes:
        yield f"{home}: Citadel begins 60 seconds after its start, and takes 0.4 seconds for each Secret"


def _proxies(number: int) -> str:
    return f"{number} {'proxy' if number == 1 else 'proxies'}"
