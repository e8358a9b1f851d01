"""The root that is to come, and the one that is to be put back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from istio_root.renewal import forecast_of
from istio_root.transition.plan import AS_LONG, Plan, Stage
from meshtrust.certificates import refusal
from meshtrust.checks import dates
from meshtrust.durations import spoken as spoken_span
from meshtrust.findings import Level, Problem, Terms, check
from meshtrust.mesh import Era, Sight, leaf_life, names
from meshtrust.objects import Ref
from meshtrust.report import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from istio_root.renewal import Forecast
    from meshtrust.certificates import Certificate
    from meshtrust.mesh import Authority, Instance


_SOON = timedelta(hours=1)
_EXTEND = "and extend what it made only where that still is too short"


@check(
    "root-signs",
    Level.CRITICAL,
    says="another edition of the root can be signed with the CA's key",
    needs=(Sight.CA,),
    hint="kubectl istio-root expiry tells what is wrong with the CA",
)
def root_signs(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    """A key that was given is named by its file, unless it is the certificate that no key makes a root of."""
    if not plan.secret or not plan.unsigned:
        return
    given = plan.wish.key_file
    if given and plan.root and not refusal(plan.root, plan.root):
        yield Problem(Ref("File", "", given), plan.unsigned, hint="--key-file names the CA's key")
    else:
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


def ends_too_early(plan: Plan) -> bool:
    """A root that ends later than one of the usual life would is left alone: nobody has asked for a shorter one."""
    asked = plan.wish.lifetime is not None and plan.stage is Stage.FRESH
    if plan.secret is None or plan.root is None or not (plan.writes or asked):
        return False
    return plan.root.not_after - plan.ends > (timedelta(0) if plan.writes else AS_LONG)


@check(
    "lifetime-gains",
    Level.CRITICAL,
    says="the new root ends later than the one that stands there",
    needs=(Sight.CA,),
    hint="give a longer --lifetime: no edition ends what is trusted already, that needs another key",
)
def lifetime_gains(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    if plan.secret and plan.root and ends_too_early(plan):
        left = spoken_span(plan.root.not_after - plan.now)
        yield Problem(plan.secret.ref, f"it has {left} left, and a new one would end sooner, on {plan.ends:%Y-%m-%d}")


@check(
    "renewal-far",
    Level.CRITICAL,
    says="the control plane does not renew the root itself within the hour",
    needs=(Sight.CA, Sight.SETTINGS),
    hint=f"let it, look again when it has, {_EXTEND}",
)
def renewal_far(plan: Plan, _terms: Terms) -> Iterator[Problem]:
    """Whoever writes first wins, and the other one is refused; a renewal that harms is better forestalled."""
    if not (plan.authority and plan.secret and plan.root and plan.writes) or plan.expired:
        return
    near = tuple(one for one in _by_each(plan.authority, plan.secret.ref, plan.root) if _is_near(*one, plan.now))
    if not near:
        return
    due = min(due for _, _, due in near)
    when = f"it is due on {due:%Y-%m-%dT%H:%MZ}"
    if due <= plan.now:
        when = f"it has been due since {due:%Y-%m-%dT%H:%MZ}, and the control plane may look at any moment"
    if any(forecast.harm for forecast, _, _ in near):
        yield Problem(plan.secret.ref, f"{when}, and harms: be quicker", Level.WARNING, hint="--apply now")
    else:
        by = min(_looks_by(forecast, instance, due) for forecast, instance, due in near)
        yield Problem(
            plan.secret.ref, f"{when}, and will do no harm", hint=f"let it, look again after {timestamp(by)}, {_EXTEND}"
        )


def _by_each(authority: Authority, place: Ref, root: Certificate) -> Iterator[tuple[Forecast, Instance, datetime]]:
    """What each instance will do, by its own settings and version: whoever looks first renews it."""
    for instance in authority.instances:
        forecast = forecast_of(replace(authority, instances=(instance,)), place, root)
        if forecast.due is not None and not forecast.switched_off:
            yield forecast, instance, forecast.due


def _is_near(forecast: Forecast, instance: Instance, due: datetime, now: datetime) -> bool:
    """Whether its next look may find the root due within the hour.

    It looks first after an interval, and up to one more by chance, then each interval. When it has looked in vain, the
    renewal fails: that is what `renewal-done` tells.
    """
    interval = _interval(forecast)
    first = (instance.started or due - interval) + interval
    return max(first, due) <= now + _SOON and now <= _looks_by(forecast, instance, due)


def _looks_by(forecast: Forecast, instance: Instance, due: datetime) -> datetime:
    """When it has looked at a root that is due, at the latest."""
    return max(instance.started or due, due) + 2 * _interval(forecast)


def _interval(forecast: Forecast) -> timedelta:
    return (forecast.settings and forecast.settings.interval) or names.DEFAULT_CHECK_INTERVAL


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
    elif plan.writes and previous.not_after < plan.now + (kept := _kept_for(plan)):
        ends = f"the previous root ends in {spoken_span(previous.not_after - plan.now)}"
        yield Problem(secret.ref, f"{ends}, and who takes it may keep it for {spoken_span(kept)}")


def _kept_for(plan: Plan) -> timedelta:
    """How long a proxy may keep a root until it takes the next one: of an istiod's, with its next leaf.

    Citadel gives it to all within minutes, however long its leaves live: a day is for the person who has to act.
    """
    if plan.authority is None or plan.mesh.era is Era.CITADEL:
        return names.DEFAULT_LEAF_LIFE
    return leaf_life(plan.authority.instances)


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
