"""From a plan to a report: old and new side by side, the steps, what the checks say, and the whole as data."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from istio_root import checks
from istio_root.transition.plan import Plan, Stage, Step
from istio_root.transition.preflight import PREFLIGHT, RESTORE_PREFLIGHT
from istio_root.transition.remarks import said
from istio_root.transition.wish import Verb
from meshtrust.certificates import KeyIdentifier, extension_names
from meshtrust.checks import certificates_read
from meshtrust.durations import short
from meshtrust.findings import Level, Terms, Threshold, examine, not_asked
from meshtrust.mesh import Sight
from meshtrust.report import Report, Table, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from meshtrust.certificates import Certificate
    from meshtrust.findings import Check, Finding
    from meshtrust.mesh import Mesh

ON_MESH = (
    checks.key_matches,
    certificates_read,
    checks.ca_may_sign,
    checks.instances_agree,
    checks.clocks_agree,
)
_TITLES = ("STEP", "WHERE", "WHAT", "WAITS-FOR", "STATE")
_NEVER = Threshold(None, 0.0)


def judge(plan: Plan) -> tuple[Finding, ...]:
    terms = Terms(plan.now, _NEVER, _NEVER)
    return (*examine((_mesh(plan),), terms, _on_mesh(plan)), *examine((plan,), terms, _preflight(plan)))


def tell(plan: Plan, findings: tuple[Finding, ...], remarks: tuple[str, ...]) -> Report:
    """The plan alone: nothing is written."""
    steps = plan.steps
    return Report(
        tool="istio-root",
        command=str(plan.wish.verb),
        read_at=plan.now,
        rows=tuple(map(facts, steps)),
        table=table(steps),
        wide=table(steps),
        findings=findings,
        checked=checked(plan),
        remarks=(*remarks, *said(plan)),
        not_asked=(*not_asked((_mesh(plan),), _on_mesh(plan)), *not_asked((plan,), _preflight(plan))),
        summary=_side_by_side(plan),
        commands=commands(plan),
        verdict=_verdict(plan, findings),
        details={"plan": details(plan)},
    )


def commands(plan: Plan) -> tuple[str, ...]:
    """What a person has to restart: what does not come back by itself, or not in time."""
    late = tuple(row for row, _ in plan.impact.late)
    rows = (*plan.impact.ended, *late) if plan.expired else late
    return tuple(dict.fromkeys(row.mends for row in rows if row.mends))


def accepted(findings: Iterable[Finding]) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """The findings without what was not seen, and that in words, where a person has said to go on without it."""
    kept: list[Finding] = []
    said: dict[str, None] = {}
    for finding in findings:
        unknown = [problem for problem in finding.problems if finding.level_of(problem) is Level.UNKNOWN]
        said.update({f"{gap.ref}: {gap.why}": None for gap in finding.unseen})
        said.update({f"{problem.place}: {problem.detail}": None for problem in unknown})
        seen = tuple(problem for problem in finding.problems if problem not in unknown)
        level = max((finding.level_of(problem) for problem in seen), default=Level.OK)
        kept.append(replace(finding, problems=seen, unseen=(), level=level))
    return tuple(kept), tuple(f"gone on without having seen: {one}" for one in said)


def checked(plan: Plan) -> int:
    seen = sum(row.level is not Level.UNKNOWN for row in plan.impact.rows)
    return (plan.root is not None) + len(plan.mesh.copies) + len(plan.mesh.webhooks) + seen


def table(steps: Iterable[Step]) -> Table:
    lines = ((str(n), str(one.place), one.what, one.waits, one.state) for n, one in enumerate(steps, 1))
    return Table(_TITLES, tuple(lines))


def facts(step: Step) -> Mapping[str, Any]:
    return {
        "step": str(step.act),
        "place": str(step.place),
        "what": step.what,
        "waits": step.waits,
        "state": step.state,
    }


def _mesh(plan: Plan) -> Mesh:
    return replace(plan.mesh, gaps=plan.gaps, not_asked=plan.not_asked)


def _on_mesh(plan: Plan) -> tuple[Check, ...]:
    """A key that is given stands for the one of the Secret: that it signs proves that it belongs there."""
    return tuple(one for one in ON_MESH if not (plan.wish.key_file and one is checks.key_matches))


def _preflight(plan: Plan) -> tuple[Check, ...]:
    return PREFLIGHT if plan.wish.verb is Verb.TRANSITION else RESTORE_PREFLIGHT


# Old and new, side by side.


def _side_by_side(plan: Plan) -> Table | None:
    if plan.root is None or not plan.writes:
        return None
    lines = tuple(
        (what, old, new, "same" if old == new else "changes") for what, old, new in _compared(plan, plan.root)
    )
    return Table(("ROOT", "NOW", "THEN", ""), lines)


def _compared(plan: Plan, old: Certificate) -> Iterator[tuple[str, str, str]]:
    """What is not made yet (no key in a recording) is told as far as it is known."""
    new = plan.target if plan.target != old else None
    known = new or old
    begins, ends = (new.not_before, new.not_after) if new else (plan.begins, plan.ends)
    yield "fingerprint", old.short, new.short if new else "<another>"
    yield "serial", f"{old.serial:x}", f"{new.serial:x}" if new else "<another>"
    yield "valid from", timestamp(old.not_before), timestamp(begins)
    yield "valid until", _until(old.not_after, plan.now), _until(ends, plan.now)
    yield "key", old.key, known.key
    yield "subject", old.subject, known.subject
    yield "key identifier", _identifier(old), _identifier(known) if new or not plan.wish.drop else "<none>"
    yield "extensions", _extensions(old), _extensions(known)
    yield "signed with", old.signature, known.signature


def _until(end: datetime, now: datetime) -> str:
    return f"{timestamp(end)} ({short(end - now)})"


def _identifier(certificate: Certificate) -> str:
    octets = certificate.subject_key_identifier
    return f"{octets.hex()} ({certificate.key_identifier})" if octets is not None else "<none>"


def _extensions(certificate: Certificate) -> str:
    return ", ".join(extension_names(certificate)) or "<none>"


# The verdict, and what may follow.


def _verdict(plan: Plan, findings: tuple[Finding, ...]) -> str:
    worst = max((finding.level for finding in findings), default=Level.OK)
    if worst is Level.CRITICAL:
        return "blocked, nothing may be written"
    if plan.root is None and worst is Level.UNKNOWN:
        return "nothing is known of the CA, so nothing can be planned"
    if not plan.steps:
        under_way = "nothing is to be written, and the control plane must be restarted"
        return "nothing to do" if plan.stage is Stage.FRESH else under_way
    if Sight.RIGHTS in plan.not_asked:
        return f"{_steps(plan)} on a living cluster{_emitting(plan, worst)}"
    fresh = "nothing is written yet" if plan.writes else "nothing is to be written"
    way = "it goes on from where it stands" if plan.stage is not Stage.FRESH else fresh
    if worst is Level.UNKNOWN:
        return f"{way}; what was not seen must be accepted (--accept-unseen)"
    return f"{_steps(plan)}, {way}: --apply carries {'it' if len(plan.steps) == 1 else 'them'} out"


def _steps(plan: Plan) -> str:
    return f"{len(plan.steps)} {'step' if len(plan.steps) == 1 else 'steps'}"


def _emitting(plan: Plan, worst: Level) -> str:
    if not plan.writes:
        return ""
    key = " --key-file KEY" if plan.change is None else ""
    unseen = " --accept-unseen" if worst is Level.UNKNOWN else ""
    return f"; --emit FILE{key}{unseen} writes the patch"


# As data.


def details(plan: Plan) -> Mapping[str, Any]:
    new = plan.target if plan.change else None
    return {
        "verb": str(plan.wish.verb),
        "cluster": plan.where or None,
        "stage": plan.stage.name.lower(),
        "expired": plan.expired,
        "writes": plan.writes,
        "old": _certificate(plan.root) if plan.root else None,
        "new": _certificate(new) if new else None,
        "patch": plan.change.patch(plan.secret) if plan.change and plan.secret else None,
        "moves_by": _time(plan.impact.moves_by),
        "mutual_tls": plan.impact.mutual_tls,
    }


def _time(moment: datetime | None) -> str | None:
    return timestamp(moment) if moment else None


def _certificate(certificate: Certificate) -> Mapping[str, Any]:
    octets = certificate.subject_key_identifier
    return {
        "fingerprint": certificate.fingerprint,
        "serial": f"{certificate.serial:x}",
        "subject": certificate.subject,
        "not_before": timestamp(certificate.not_before),
        "not_after": timestamp(certificate.not_after),
        "key": certificate.key,
        "subject_key_identifier": octets.hex() if octets is not None else None,
        "made_of": str(certificate.key_identifier) if certificate.key_identifier is not KeyIdentifier.NONE else None,
        "pem": certificate.pem,
    }
