"""The plan: what was found, what shall be held in the end, and the steps from here to there."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from istio_root.transition.impact import Impact
from istio_root.transition.rights import Answered
from istio_root.transition.wish import Verb
from meshtrust.mesh import Era, names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from istio_root.transition.secret import CaSecret, Change
    from istio_root.transition.wish import Wish
    from meshtrust.certificates import Certificate
    from meshtrust.mesh import Authority, Gap, Mesh, Part, Rollout, Sight
    from meshtrust.objects import Ref
    from meshtrust.verification.settling import Published

AS_LONG = timedelta(days=1)  # an end that is no further away than that is no reason to write
_SIGN = {Era.CITADEL: names.CITADEL_CONTAINER, Era.ISTIOD: names.ISTIOD_CONTAINER}


class Stage(StrEnum):
    """Where a change stands, read from the certificates alone: there is no journal."""

    FRESH = "no change of the root is under way"
    WRITTEN = "a change is under way: the root in the Secret is not loaded yet"
    LOADED = "a change is under way: the root in the Secret is loaded, and not published everywhere yet"
    PUBLISHED = "a change is under way: parts of the control plane have not been restarted since the root was written"


class Act(StrEnum):
    WRITE = "write"
    RESTART = "restart"
    HEAL = "heal"
    PUBLISH = "publish"
    RESTART_PARTS = "restart-parts"
    MOVE = "move"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `waits` says what it waits for; `state` is `planned` until it is carried out."""

    act: Act
    place: Ref
    what: str
    waits: str
    state: str = "planned"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the checks judge, what is printed, and what is carried out.

    root: what signs now, by the Secret
    change: what is to be written; None where nothing is, or where it could not be made
    target: what shall be held in the end; the root itself where nothing is written
    lasts: whether there is nothing to gain by writing, or nothing to put back
    unsigned: why no new root could be made; refusals: who would refuse whom on the way, by the rehearsal
    restarted: what is restarted so that it loads the root; healed: what takes it by itself, since it waits for one
    restarted_after: parts that read their certificate only at their start, in their order (Citadel era)
    where: which cluster it is; empty for a recording
    """

    wish: Wish
    mesh: Mesh
    published: Published
    now: datetime
    begins: datetime
    ends: datetime
    authority: Authority | None = None
    secret: CaSecret | None = None
    root: Certificate | None = None
    stage: Stage = Stage.FRESH
    lasts: bool = False
    change: Change | None = None
    target: Certificate | None = None
    unsigned: str = ""
    refusals: tuple[str, ...] = ()
    rollouts: tuple[Rollout, ...] = ()
    parts: tuple[Part, ...] = ()
    restarted: tuple[Rollout, ...] = ()
    healed: tuple[Rollout, ...] = ()
    restarted_after: tuple[Rollout, ...] = ()
    where: str = ""
    impact: Impact = field(default_factory=Impact)
    rights: Answered = field(default_factory=Answered)
    clusters: tuple[str, ...] = ()
    gaps: tuple[Gap, ...] = ()
    not_asked: frozenset[Sight] = frozenset()

    @property
    def expired(self) -> bool:
        return self.root is not None and not self.root.valid_at(self.now)

    @property
    def writes(self) -> bool:
        """Whether the Secret is to be written at all: not where nothing is gained.

        A change that is under way comes to its end before another one; but `restore` is there to take it back, and
        nobody should load a root that has ended.
        """
        begins = self.stage is Stage.FRESH or self.expired or self.wish.verb is Verb.RESTORE
        return self.root is not None and begins and not self.lasts

    @property
    def signing(self) -> tuple[Rollout, ...]:
        """The Deployments of the CA: of every revision."""
        return tuple(one for one in self.rollouts if one.part == _SIGN.get(self.mesh.era or Era.ISTIOD))

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(_steps(self))


def _steps(plan: Plan) -> Iterator[Step]:
    if plan.authority is None or plan.secret is None:
        return
    if plan.writes:
        keys = ", ".join(plan.change.texts) if plan.change else f"{names.SIGNING}, {names.PREVIOUS}"
        yield Step(Act.WRITE, plan.secret.ref, f"one guarded PATCH of {keys}", "the API server, then read back")
    for rollout in plan.restarted:
        yield Step(Act.RESTART, rollout.ref, "restart it, so that it loads the root", "its new pods; the old ones gone")
    for rollout in plan.healed:
        yield Step(Act.HEAL, rollout.ref, "nothing: it waits for a root that is valid", "its pods to be ready")
    loaded = any(one.wanted for one in plan.signing) or (plan.authority.instances and not plan.signing)
    if loaded and (plan.writes or plan.restarted or plan.stage in {Stage.WRITTEN, Stage.LOADED}):
        yield Step(Act.PUBLISH, plan.authority.ref, *_published(plan))
    for rollout in plan.restarted_after:
        yield Step(Act.RESTART_PARTS, rollout.ref, "restart it: it reads its certificate at its start", "its new pods")
    if plan.wish.wait:
        yield Step(Act.MOVE, plan.authority.ref, "nothing: each proxy takes it with its next leaf", "the last proxy")


def _published(plan: Plan) -> tuple[str, str]:
    if plan.mesh.era is Era.CITADEL:
        return "nothing: Citadel rewrites the workloads' Secrets", "every Secret, and that they stay so"
    return "nothing: istiod publishes the root", "every copy and caBundle, and that they stay so"
