"""Carrying out a plan: one guarded write, restarts, and waiting until everybody holds the new root."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING, cast

from istio_root.transition import following
from istio_root.transition.plan import Act, Plan, Step
from istio_root.transition.secret import read_secret
from istio_root.transition.telling import checked, details, said, table
from istio_root.transition.telling import facts as facts_of
from meshtrust.errors import Conflict, NotAllowed, Refused, ToolError, Unreachable, Unseen
from meshtrust.findings import Check, Finding, Level, Problem
from meshtrust.mesh import Look
from meshtrust.report import Report, timestamp
from meshtrust.verification.fleet import Targets
from meshtrust.verification.verifying import Wish as Verification
from meshtrust.verification.verifying import verify

if TYPE_CHECKING:
    from istio_root.transition.secret import CaSecret
    from meshtrust.certificates import Certificate
    from meshtrust.mesh import Rollout
    from meshtrust.reading import Reading
    from meshtrust.source import Living

_RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"  # what `kubectl rollout restart` writes
_READ_BACK = 30.0  # seconds to find out whether a write that broke off was done

CHANGE_DONE = Check(
    "change-done",
    Level.CRITICAL,
    says="the root is changed, and everybody who publishes it holds the new one",
    needs=(),
    hint="look again: the same command without --apply tells where it stands, and with it goes on",
    rule=lambda _plan, _terms: (),
)


@dataclass(slots=True)
class _Journey:
    """How far it has come, kept in memory alone."""

    steps: list[Step]
    problems: tuple[Problem, ...] = ()
    further: tuple[Finding, ...] = ()
    interrupted: bool = False

    def set(self, step: Step, state: str) -> None:
        self.steps = [replace(one, state=state) if _same(one, step) else one for one in self.steps]


def _same(one: Step, other: Step) -> bool:
    return (one.act, one.place) == (other.act, other.place)


def carry_out(reading: Reading, plan: Plan) -> Report:
    """Do each step, and stop at the first that does not come to its end: then the report says where it stands."""
    deadline = None if plan.wish.timeout is None else monotonic() + plan.wish.timeout
    journey = _Journey(list(plan.steps))
    doing = _Doing(reading, plan, deadline, journey)
    try:
        doing.all()
    except KeyboardInterrupt:
        journey.interrupted = True
    return _report(plan, journey, reading.remarks)


class _Doing:
    def __init__(self, reading: Reading, plan: Plan, deadline: float | None, journey: _Journey) -> None:
        self._reading, self._plan, self._deadline, self._journey = reading, plan, deadline, journey
        self._living = cast("Living", reading.source)
        self._begin = monotonic()

    def all(self) -> None:
        groups: dict[Act, list[Step]] = {}
        for step in self._plan.steps:
            groups.setdefault(step.act, []).append(step)
        number = 0
        for act, steps in groups.items():
            for step in steps:
                number += 1
                self._reading.person.tell(f"{number}/{len(self._plan.steps)} {step.place}: {step.what}")
                self._journey.set(step, "begun")
            if not self._done(act, steps):
                return
            for step in steps:
                if self._state(step) == "begun":
                    self._journey.set(step, "done")

    def _state(self, step: Step) -> str:
        return next(one.state for one in self._journey.steps if _same(one, step))

    def _done(self, act: Act, steps: list[Step]) -> bool:
        """Say whether the way goes on."""
        try:
            self._do(act, steps[0])
        except following.TimeIsUp as late:
            self._fail(steps, "not finished", f"not finished before --timeout: {late.left}", Level.UNKNOWN)
        except (Refused, NotAllowed) as refused:
            self._fail(steps, "refused", refused.message, Level.CRITICAL, refused.hint)
        except ToolError as unknown:
            self._fail(steps, "not known", unknown.message, Level.UNKNOWN, unknown.hint)
        else:
            return True
        return False

    def _do(self, act: Act, first: Step) -> None:
        match act:
            case Act.WRITE:
                self._write()
            case Act.RESTART:
                self._restart(self._plan.restarted)
            case Act.HEAL:
                following.healed(self._plan, self._reading, self._deadline)
            case Act.PUBLISH:
                self._follow(first)
            case Act.RESTART_PARTS:
                self._restart(self._plan.restarted_after)
            case Act.MOVE:
                self._move(first)

    def _fail(self, steps: list[Step], state: str, why: str, level: Level, hint: str = "") -> None:
        for step in steps:
            self._journey.set(step, state)
        self._journey.problems = (Problem(steps[0].place, why, level, hint=hint),)

    # The write.

    def _write(self) -> None:
        plan = self._plan
        secret, change = plan.secret, plan.change
        if secret is None or change is None:
            raise ToolError("there is nothing to write", "this is a defect: please report it")
        try:
            self._living.patch(secret.ref, change.patch(secret))
        except Conflict as conflict:
            raise Conflict(f"{conflict.message}: {self._who(secret)}", _NOTHING_LOST) from conflict
        except NotAllowed:
            raise
        except Unseen as broken:
            self._find_out(secret, change.new, broken)
        self._read_back(secret, change.new, change.old)

    def _who(self, secret: CaSecret) -> str:
        found = read_secret(Look(self._living), secret.ref)
        return f"it was written by {found.last_writer}" if found else "it is not there any more"

    def _find_out(self, secret: CaSecret, new: Certificate, broken: Unseen) -> None:
        """A write that broke off was done, or not: the Secret tells. Until it can be read, nothing else is done."""
        ends = monotonic() + _READ_BACK
        ends = ends if self._deadline is None else min(ends, self._deadline)
        while (found := read_secret(Look(self._living), secret.ref)) is None and monotonic() < ends:
            sleep(self._plan.wish.pause)
        if found is None:
            raise broken
        if found.held[:1] != (new,):
            raise Unreachable(f"{broken.message}; a moment later it was not written", "look again before you try again")

    def _read_back(self, secret: CaSecret, new: Certificate, old: Certificate) -> None:
        look = Look(self._living)
        found = read_secret(look, secret.ref)
        if found is None:
            raise Unseen(
                f"{secret.ref} is written, and could not be read back: {look.gaps[0].why if look.gaps else 'gone'}"
            )
        if found.held[:1] != (new,) or found.previous != old:
            raise Conflict(f"{secret.ref} was written and is another again: {found.last_writer}", _NOTHING_LOST)

    # The restarts.

    def _restart(self, rollouts: tuple[Rollout, ...]) -> None:
        """All of them at once: old and new editions accept each other, and the leader must not stay an old one."""
        now = datetime.now(UTC).isoformat()  # with its fraction: twice in one second, the second restart would be none
        template = {"metadata": {"annotations": {_RESTARTED_AT: now}}}
        for rollout in rollouts:
            self._living.patch(rollout.ref, {"spec": {"template": template}})
        following.rolled_out(self._plan, rollouts, self._reading, self._deadline)

    # What is waited for.

    def _follow(self, step: Step) -> None:
        plan = self._plan
        if plan.target is None:
            return
        if not plan.wish.restart and not plan.wish.wait:
            self._journey.set(step, "left to its own check")
            return
        following.published(plan, plan.target, self._reading, self._deadline)

    def _elapsed(self) -> timedelta:
        return timedelta(seconds=monotonic() - self._begin)

    def _move(self, step: Step) -> None:
        time = None if self._deadline is None else max(self._deadline - monotonic(), 1.0)
        plan = self._plan
        scope = replace(self._reading.scope, istio_namespace=plan.mesh.namespace)
        found = verify(
            replace(self._reading, scope=scope, remarks=(), now=self._reading.now + self._elapsed()),
            Verification(stored=False, live=True, targets=Targets(()), timeout=time, wait=True),
        )
        behind = [row for row in found.rows if not row.moved]
        self._journey.further = tuple(one for one in found.findings if one.level is not Level.OK)
        self._journey.interrupted = self._journey.interrupted or found.interrupted
        if behind:
            left = f"{len(behind)} of {len(found.rows)} proxies have not moved"
            self._journey.set(step, left)
            self._journey.problems = (Problem(step.place, left, Level.UNKNOWN, hint=_STILL_WAITING),)


_STILL_WAITING = "kubectl istio-certverify --wait goes on waiting: old and new roots accept each other meanwhile"
_NOTHING_LOST = "nothing of ours is there, and nothing is lost: look at it, and try again"


def _report(plan: Plan, journey: _Journey, remarks: tuple[str, ...]) -> Report:
    levels = [CHANGE_DONE.level if problem.level is None else problem.level for problem in journey.problems]
    levels += [Level.UNKNOWN] if journey.interrupted else []
    done = Finding(CHANGE_DONE, max(levels, default=Level.OK), journey.problems, ())
    return Report(
        tool="istio-root",
        command=str(plan.wish.verb),
        read_at=plan.now,
        rows=tuple(map(facts_of, journey.steps)),
        table=table(journey.steps),
        wide=table(journey.steps),
        findings=(done, *journey.further),
        checked=checked(plan),
        remarks=(*remarks, *said(plan)),
        verdict=_verdict(plan, journey),
        interrupted=journey.interrupted,
        details={"plan": details(plan)},
        acted=True,
    )


def _verdict(plan: Plan, journey: _Journey) -> str:
    done = sum(step.state == "done" for step in journey.steps)
    if journey.interrupted:
        return f"interrupted after {done} of {len(journey.steps)} steps: the same command goes on from where it stands"
    if journey.problems:
        return f"stopped after {done} of {len(journey.steps)} steps: the same command goes on from where it stands"
    until = f", the root is valid until {timestamp(plan.target.not_after)}" if plan.target else ""
    return f"{done} of {len(journey.steps)} steps done{until}"
