"""When a control plane that is not restarted loads what stands in its Secret."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from meshtrust.mesh import Era, renewal
from meshtrust.report import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from istio_root.transition.plan import Plan
    from meshtrust.mesh import Instance


def loads_by(plan: Plan) -> Iterator[str]:
    """One line for each instance, by its own settings.

    The rotator looks first after its interval and up to one more of it, by chance, then each interval
    (selfsignedcarootcertrotator.go); below Istio 1.2.9 and 1.3.5 there is none.
    """
    for instance in plan.authority.instances if plan.authority else ():
        if why := never_loads(instance):
            yield f"without a restart {instance.ref.name} never loads it: {why}"
        else:
            yield f"without a restart {instance.ref.name} {_when(plan, instance)}"
    if plan.mesh.era is Era.CITADEL:
        yield "Citadel notices an edited root before that only when some Secret of a workload holds another one"


def never_loads(instance: Instance) -> str:
    """Say why an instance that is not restarted never loads another root; nothing where it does."""
    settings = renewal((instance,))
    if settings is None:
        return "this release reads its root at its start alone"
    interval = settings.interval
    return "its check is switched off" if interval is not None and interval <= timedelta(0) else ""


def _when(plan: Plan, instance: Instance) -> str:
    settings = renewal((instance,))
    interval = settings.interval if settings else None
    if interval is None:
        return "may load it: how often it looks could not be seen (its setting comes by valueFrom)"
    if instance.started is None:
        return f"loads it at its own check, every {interval}"
    first = instance.started + 2 * interval
    return f"loads it at its own check, by {timestamp(max(first, plan.now + interval))}"
