"""What was typed, carried out: print the plan, write its patch to a file, or act on it when that may be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from istio_root.transition.acting import carry_out, declined
from istio_root.transition.planning import read_plan
from istio_root.transition.telling import accepted, judge, tell
from meshtrust.errors import ToolError, UsageError
from meshtrust.findings import Level
from meshtrust.render import as_yaml

if TYPE_CHECKING:
    from istio_root.transition.plan import Plan
    from istio_root.transition.wish import Wish
    from meshtrust.reading import Reading
    from meshtrust.report import Report


_MOMENT = timedelta(minutes=5)


def change(reading: Reading, wish: Wish) -> Report:
    """Raises UsageError for what does not go together, before anything is read."""
    _refuse(reading, wish)
    plan = read_plan(reading, wish)
    findings = judge(plan)
    report = tell(plan, findings, reading.remarks)
    if wish.emit:
        return _emitted(plan, report)
    if not wish.apply:
        return report
    if not plan.steps and report.status is not Level.CRITICAL:
        return replace(report, acted=True)
    if shut := _gate(report, wish):
        return replace(report, acted=True, remarks=(*report.remarks, f"not applied: {shut}"))
    if not _agreed(reading, plan, report):
        return declined(plan, report)
    return carry_out(reading, plan, findings)


def _refuse(reading: Reading, wish: Wish) -> None:
    scope, recorded = reading.scope, reading.source.recorded
    if scope.public:
        raise UsageError(f"--public asks for no Secret, and {wish.verb} is about one: leave it away")
    if scope.namespace or scope.revision:
        option = "-n" if scope.namespace else "-r"
        raise UsageError(
            f"{option} does not narrow a {wish.verb}: all revisions and namespaces of a control plane live by one root",
            "-i says which control plane",
        )
    if wish.apply and recorded:
        raise UsageError(
            "--apply needs a living cluster: a recording cannot be changed", "--emit FILE writes the patch"
        )
    if wish.emit == "-":
        raise UsageError("--emit names a file: what is printed is the report", "-o json holds the patch as well")
    if wish.apply and wish.emit:
        raise UsageError("--apply and --emit exclude each other: one of them writes")
    if (wish.apply or wish.emit) and not recorded and abs(datetime.now(UTC) - reading.now) > _MOMENT:
        raise UsageError("--at judges another time, and a root is made now: leave it away")
    if wish.key_file and not recorded:
        raise UsageError("--key-file is for a recording (-f): here the key is read from the Secret")
    if wish.apply and not wish.yes and reading.person.ask is None:
        raise UsageError("--apply asks before it writes, and there is no terminal to ask on", "--yes answers it")


def _gate(report: Report, wish: Wish) -> str:
    """Say why it is shut. What is not seen is opened by nothing but the word for it; what blocks by nothing at all."""
    if report.status is Level.CRITICAL:
        return "it is blocked"
    if report.status is Level.UNKNOWN and not wish.accept_unseen:
        return "something could not be seen (--accept-unseen goes on without it)"
    return ""


def _agreed(reading: Reading, plan: Plan, report: Report) -> bool:
    ask = reading.person.ask
    if plan.wish.yes or ask is None:
        return True
    reading.person.show(report)
    deeds = [f"write the root of {plan.secret.ref}"] if plan.change and plan.secret else []
    deeds += [f"restart {one.ref}" for one in (*plan.restarted, *plan.restarted_after)]
    return ask(f"{', '.join(deeds) or 'wait for what is under way'}, in {plan.where}?")


def _emitted(plan: Plan, report: Report) -> Report:
    """The patch goes to the file where nothing speaks against it; else there is no file."""
    if report.status is Level.CRITICAL or (report.status is Level.UNKNOWN and not plan.wish.accept_unseen):
        return replace(report, acted=True, remarks=(*report.remarks, f"{plan.wish.emit}: not written"))
    if plan.change is None or plan.secret is None:
        why = "a recording holds no key: --key-file names it" if plan.writes else "there is nothing to write"
        raise ToolError(f"{plan.wish.emit}: not written: {why}")
    secret = plan.secret
    patch = plan.change.patch(secret)
    ref = secret.ref
    metadata = {"name": ref.name, "namespace": ref.namespace, **patch["metadata"]}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": patch["data"]}
    head = (
        f"# kubectl patch secret {ref.name} -n {ref.namespace} --type merge --patch-file {plan.wish.emit}\n"
        f"# then restart the control plane: kubectl istio-root {plan.wish.verb} --apply goes on from there\n"
    )
    try:
        Path(plan.wish.emit).write_text(head + as_yaml(body), encoding="utf-8")
    except OSError as error:
        raise ToolError(f"{plan.wish.emit}: cannot be written: {error.strerror}", "--emit names a file") from error
    findings, without = accepted(report.findings)
    return replace(
        report,
        findings=findings,
        remarks=(*report.remarks, *without),
        verdict=f"the patch is in {plan.wish.emit}, and nothing is written to the cluster",
    )
