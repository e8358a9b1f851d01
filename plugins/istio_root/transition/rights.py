"""Which rights the plan wants, and which of them are missing: asked before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from meshtrust.errors import Unseen
from meshtrust.mesh import Gap, Sight
from meshtrust.objects import KINDS, Ref
from meshtrust.source import Living, Right

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from istio_root.transition.plan import Plan
    from meshtrust.source import Source


@dataclass(frozen=True, slots=True)
class Answered:
    """The rights that are missing, and the questions that had no answer."""

    missing: tuple[Right, ...] = ()
    gaps: tuple[Gap, ...] = ()


def wanted(plan: Plan) -> Iterator[Right]:
    """What the plan writes, and reads at last; the right to see everything else shows in what was seen."""
    home = plan.mesh.namespace
    if plan.secret:
        yield Right("get", "Secret", home, plan.secret.ref.name)
        if plan.change:
            yield Right("patch", "Secret", home, plan.secret.ref.name)
    for rollout in (*plan.restarted, *plan.restarted_after):
        yield Right("patch", "Deployment", home, rollout.ref.name)


def answered(source: Source, rights: Iterable[Right]) -> Answered:
    """Ask for each. A recording is not asked."""
    if source.recorded:
        return Answered()
    living = cast("Living", source)
    missing, gaps = [], []
    for right in rights:
        try:
            if not living.may(right):
                missing.append(right)
        except Unseen as error:
            gaps.append(Gap(Ref("SelfSubjectAccessReview", "", spoken(right)), Sight.RIGHTS, error.message))
    return Answered(tuple(missing), tuple(gaps))


def spoken(right: Right) -> str:
    """As kubectl would say it: `patch secrets "istio-ca-secret" in namespace "istio-system"`."""
    name = f' "{right.name}"' if right.name else ""
    where = f'in namespace "{right.namespace}"' if right.namespace else "at the cluster scope"
    return f"{right.verb} {_resource(right)}{name} {where}"


def can_i(right: Right) -> str:
    name = f"/{right.name}" if right.name else ""
    where = f"-n {right.namespace}" if right.namespace else "-A"
    return f"kubectl auth can-i {right.verb} {_resource(right)}{name} {where}"


def _resource(right: Right) -> str:
    kind = KINDS[right.kind]
    group = kind.versions[0].rpartition("/")[0]
    return f"{kind.plural}.{group}" if group else kind.plural
