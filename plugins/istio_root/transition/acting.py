"""Carrying out a plan: one guarded write, restarts, and waiting until everybody holds the new root."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING, cast

from istio_root.transition import following
from istio_root.transition.plan import Act, Plan, Step
from istio_root.transition.remarks import said
from istio_root.transition.secret import read_secret
from istio_root.transition.telling import accepted, checked, commands, details, table
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
_NOTHING_LOST = "nothing of ours is there, and nothing is lost: look at it, and try again"
_GOES_ON = "the root is written, and old and new accept each other: the same command goes on from here"
_STILL_WAITING = "kubectl istio-certverify --wait goes on waiting: old and new roots accept each other meanwhile"
# What a plan has said and what is still so when it is carried out.
_STAYS = frozenset({"secret-unkept", "proxies-unharmed", "proxies-in-time", "proxies-reload", "clusters-alone"})

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
    """How far it has come, kept in memory alone. `at` is the step that is being done."""

    steps: list[Step]
    at: Step
    problem: Problem | None = None
    further: tuple[Finding, ...] = ()
    interrupted: bool = False

    def begin(self, step: Step) -> None:
        self.at = step
        self.set(step, "begun")

    def set(self, step: Step, state: str) -> None:
        self.steps = [replace(one, state=state) if _same(one, step) else one for one in self.steps]

    def state(self, step: Step) -> str:
        return next(one.state for one in self.steps if _same(one, step))


def _same(one: Step, other: Step) -> bool:
    return (one.act, one.place) == (other.act, other.place)


def declined(plan: Plan, report: Report) -> Report:
    """The plan, where the person does not want it carried out."""
    place = plan.secret.ref if plan.secret else plan.steps[0].place
    unwanted = Problem(place, "it was not wanted: nothing is written", hint="--apply asks again")
    done = Finding(CHANGE_DONE, Level.CRITICAL, (unwanted,), ())
    return replace(report, acted=True, findings=(*report.findings, done), verdict="not applied: the answer was no")


def carry_out(reading: Reading, plan: Plan, findings: tuple[Finding, ...]) -> Report:
    """Do each step, and stop at the first that does not come to its end: then the report says where it stands."""
    deadline = None if plan.wish.timeout is None else monotonic() + plan.wish.timeout
    journey = _Journey(list(plan.steps), plan.steps[0])
    try:
        _Doing(reading, plan, deadline, journey).all()
    except KeyboardInterrupt:
        journey.interrupted = True
    return _report(plan, journey, findings, reading.remarks)


class _Doing:
    def __init__(self, reading: Reading, plan: Plan, deadline: float | None, journey: _Journey) -> None:
        self._reading, self._plan, self._deadline, self._journey = reading, plan, deadline, journey
        self._living = cast("Living", reading.source)
        self._begin = monotonic()

    def all(self) -> None:
        groups: dict[Act, list[Step]] = {}
        for step in self._plan.steps:
            groups.setdefault(step.act, []).append(step)
        for act, steps in groups.items():
            if not self._done(act, steps):
                return
            for step in steps:
                if self._journey.state(step) == "begun":
                    self._journey.set(step, "done")

    def _begins(self, step: Step) -> None:
        number = next(n for n, one in enumerate(self._plan.steps, 1) if _same(one, step))
        of = len(self._plan.steps)
        self._reading.person.tell(f"{number}/{of} {step.place}: {step.what}; waits for {step.waits}")
        self._journey.begin(step)

    def _done(self, act: Act, steps: list[Step]) -> bool:
        """Say whether the way goes on."""
        try:
            self._do(act, steps)
        except following.TimeIsUp as late:
            self._fail("not finished", f"not finished before --timeout: {late.left}", Level.UNKNOWN)
        except (Refused, NotAllowed) as refused:
            self._fail("refused", refused.message, Level.CRITICAL, refused.hint if act is Act.WRITE else _GOES_ON)
        except following.Astray as astray:
            self._fail("stopped", astray.message, Level.CRITICAL, astray.hint)
        except ToolError as unknown:
            self._fail("not known", unknown.message, Level.UNKNOWN, unknown.hint)
        else:
            return self._journey.problem is None
        return False

    def _do(self, act: Act, steps: list[Step]) -> None:
        plan = self._plan
        match act:
            case Act.WRITE:
                self._begins(steps[0])
                self._write()
            case Act.RESTART:
                self._restart(steps, plan.restarted)
            case Act.HEAL:
                for step in steps:
                    self._begins(step)
                following.healed(plan, self._reading, self._deadline)
            case Act.PUBLISH:
                self._begins(steps[0])
                self._follow(steps[0])
            case Act.RESTART_PARTS:
                for step, rollout in zip(steps, plan.restarted_after, strict=True):
                    self._restart([step], (rollout,))  # one after the other, in their order
            case Act.MOVE:
                self._begins(steps[0])
                self._move()

    def _fail(self, state: str, why: str, level: Level, hint: str = "") -> None:
        self._journey.set(self._journey.at, state)
        self._journey.problem = Problem(self._journey.at.place, why, level, hint=hint)

    # The write.

    def _write(self) -> None:
        plan = self._plan
        secret, change = plan.secret, plan.change
        if secret is None or change is None:
            raise ToolError("there is nothing to write", "this is a defect: please report it")
        following.look_around(plan, self._reading, change.old)
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
        ends = min(monotonic() + _READ_BACK, self._deadline or float("inf"))
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
            why = look.gaps[0].why if look.gaps else "it is gone"
            raise Unreachable(f"it is written, and could not be read back: {why}", "look again")
        if found.held[:1] != (new,) or found.previous != old:
            who = f"it was written, and is another again: by {found.last_writer}"
            raise Conflict(who, "find out who keeps it: the CA is whole, and every proxy goes on")

    # The restarts.

    def _restart(self, steps: list[Step], rollouts: tuple[Rollout, ...]) -> None:
        """Of the CA all at once: old and new editions accept each other, and the leader must not stay an old one.

        Before it, the Secret is looked at once more: who starts loads what stands there, and makes another key where
        nothing does.
        """
        template = {"metadata": {"annotations": {_RESTARTED_AT: datetime.now(UTC).isoformat()}}}
        for step, rollout in zip(steps, rollouts, strict=True):
            self._begins(step)
            following.look_around(self._plan, self._reading, self._plan.target)
            self._living.patch(rollout.ref, {"spec": {"template": template}})
        following.rolled_out(self._plan, rollouts, self._reading, self._deadline)

    # What is waited for.

    def _follow(self, step: Step) -> None:
        plan = self._plan
        if plan.target is None:
            return
        if not plan.wish.restart and not plan.wish.wait and not plan.healed:
            self._journey.set(step, "left to its own check")
            return
        following.published(plan, plan.target, self._reading, self._deadline)

    def _move(self) -> None:
        left = None if self._deadline is None else max(self._deadline - monotonic(), 1.0)
        elapsed = timedelta(seconds=monotonic() - self._begin)
        scope = replace(self._reading.scope, istio_namespace=self._plan.mesh.namespace)
        found = verify(
            replace(self._reading, scope=scope, remarks=(), now=self._reading.now + elapsed),
            Verification(stored=False, live=True, targets=Targets(()), timeout=left, wait=True),
        )
        behind = [row for row in found.rows if not row.moved]
        self._journey.further = tuple(one for one in found.findings if one.level is not Level.OK)
        self._journey.interrupted = self._journey.interrupted or found.interrupted
        if behind:
            how_many = f"{len(behind)} of {len(found.rows)} proxies have not moved"
            self._fail(how_many, how_many, Level.UNKNOWN, _STILL_WAITING)


def _report(plan: Plan, journey: _Journey, findings: tuple[Finding, ...], remarks: tuple[str, ...]) -> Report:
    problems = (journey.problem,) if journey.problem else ()
    levels = [CHANGE_DONE.level if problem.level is None else problem.level for problem in problems]
    levels += [Level.UNKNOWN] if journey.interrupted else []
    done = Finding(CHANGE_DONE, max(levels, default=Level.OK), problems, ())
    stays, without = accepted(findings)
    written = any(step.act is Act.WRITE and step.state == "done" for step in journey.steps)
    return Report(
        tool="istio-root",
        command=str(plan.wish.verb),
        read_at=plan.now,
        rows=tuple(map(facts_of, journey.steps)),
        table=table(journey.steps),
        wide=table(journey.steps),
        findings=(done, *journey.further, *(one for one in stays if one.check.id in _STAYS)),
        checked=checked(plan),
        remarks=(*remarks, *said(plan, written=written), *without),
        commands=commands(plan),
        verdict=_verdict(plan, journey),
        interrupted=journey.interrupted,
        details={"plan": details(plan)},
        acted=True,
    )


def _verdict(plan: Plan, journey: _Journey) -> str:
    done = sum(step.state == "done" for step in journey.steps)
    if journey.interrupted:
        return f"interrupted after {done} of {len(journey.steps)} steps: the same command goes on from where it stands"
    if journey.problem:
        return f"stopped after {done} of {len(journey.steps)} steps"
    until = f", the root is valid until {timestamp(plan.target.not_after)}" if plan.target else ""
    return f"{done} of {len(journey.steps)} steps done{until}"
