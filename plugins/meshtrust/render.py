"""From a report to text, the same facts in every format. The only door to `tabulate`; where YAML goes out."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from meshtrust.findings import Finding, Level
from meshtrust.keys import keyless, may_carry_key
from meshtrust.report import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from meshtrust.errors import ToolError
    from meshtrust.mesh import Gap
    from meshtrust.report import Report, Table

_LISTED = 10  # problems of one finding that a table shows before it counts the rest
_NO_OBJECTS = {"File", "Server", "Right", "Run"}


class Output(StrEnum):
    """The formats of `-o`."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


def render(report: Report, output: Output, *, headers: bool = True) -> str:
    match output:
        case Output.JSON | Output.YAML:
            return _written(_envelope(report), output)
        case Output.NAME:
            return "".join(f"{name}\n" for name in _names(report))
        case Output.WIDE:
            return _text(report, report.wide, headers=headers, listed=None)
        case Output.TABLE:
            return _text(report, report.table, headers=headers, listed=_LISTED)


def render_failure(tool: str, command: str, read_at: datetime, error: ToolError, output: Output) -> str:
    """The envelope of a run that could not even begin: nothing for people, who read stderr."""
    if output not in {Output.JSON, Output.YAML}:
        return ""
    finding = {
        "check": "mesh-read",
        "level": str(Level.UNKNOWN),
        "says": "the mesh can be read",
        "problems": [],
        "unseen": [{"place": None, "why": error.message, "hint": error.hint or None}],
        "hint": error.hint or None,
    }
    head = _head(tool, command, read_at, Level.UNKNOWN, checked=0, unseen=1)
    return _written({**head, "rows": [], "findings": [finding], "remarks": [], "not_asked": []}, output)


def printable(text: str) -> str:
    """Text that others wrote, harmless: no private key, control characters and direction marks are escaped."""
    text = keyless(text)
    return (
        text
        if text.isprintable()
        else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    )


def _written(envelope: dict[str, Any], output: Output) -> str:
    if output is Output.JSON:
        import msgspec  # noqa: PLC0415 - a pretty `json` is written in Python, and there are thousands of rows

        text = msgspec.json.encode(envelope)
        if may_carry_key(text):
            text = msgspec.json.encode(keyless(envelope))
        return msgspec.json.format(text, indent=2).decode() + "\n"
    return as_yaml(keyless(envelope))


def as_yaml(value: Mapping[str, Any]) -> str:
    import yaml  # noqa: PLC0415 - only this format pays for it

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1 << 16)


def _head(tool: str, command: str, read_at: datetime, status: Level, *, checked: int, unseen: int) -> dict[str, Any]:
    return {
        "version": 1,
        "tool": tool,
        "command": command,
        "read_at": timestamp(read_at),
        "status": str(status),
        "counts": {"checked": checked, "unseen": unseen},
    }


def _envelope(report: Report) -> dict[str, Any]:
    """Keys are added to it in later versions, never renamed or removed."""
    head = _head(
        report.tool, report.command, report.read_at, report.status, checked=report.checked, unseen=report.unseen
    )
    return {
        **head,
        "rows": [dict(row) for row in report.rows],
        "findings": [_finding(finding) for finding in report.findings if finding.level is not Level.OK],
        "remarks": list(report.remarks),
        "not_asked": list(report.not_asked),
        **report.details,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check.id,
        "level": str(finding.level),
        "says": finding.check.says,
        "problems": [
            {"place": str(problem.place), "level": str(finding.level_of(problem)), "detail": problem.detail}
            for problem in finding.problems
        ],
        "unseen": [{"place": str(gap.ref), "why": gap.why, "hint": gap.hint or None} for gap in finding.unseen],
        "hint": "; ".join(finding.hints) or None,
    }


def _names(report: Report) -> Iterator[str]:
    """Each object with a problem once, or that was not seen, as the arguments of a kubectl command."""
    problems = [problem.place.at("") for finding in report.findings for problem in finding.problems]
    unseen = [gap.ref.at("") for finding in report.findings for gap in finding.unseen]
    for place in dict.fromkeys((*problems, *unseen)):
        if place.kind not in _NO_OBJECTS and place.name not in {"", "*"}:
            name = f"{place.kind.lower()}/{place.name}"
            yield printable(f"{name} -n {place.namespace}" if place.namespace else name)


def _text(report: Report, table: Table, *, headers: bool, listed: int | None) -> str:
    tables = (*((report.summary,) if report.summary else ()), table)
    blocks = [
        *(_columns(one, headers=headers) for one in tables if one.lines),
        *("".join(f"{printable(line)}\n" for line in lines) for lines in _paragraphs(report, listed)),
    ]
    return "\n".join(block for block in blocks if block)


def _columns(table: Table, *, headers: bool) -> str:
    """Columns as kubectl sets them: three spaces between, no lines, nothing at the end."""
    from tabulate import DataRow, TableFormat, tabulate  # noqa: PLC0415 - only a table pays for it

    row = DataRow("", "   ", "")
    plain = TableFormat(None, None, None, None, headerrow=row, datarow=row, padding=0, with_header_hide=None)
    lines = [[printable(cell) for cell in line] for line in table.lines]
    titles = table.titles if headers else ()
    text = tabulate(lines, headers=titles, tablefmt=plain, disable_numparse=True, preserve_whitespace=True)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _paragraphs(report: Report, listed: int | None) -> Iterator[list[str]]:
    yield list(report.remarks)
    worst_first = sorted(report.findings, key=lambda finding: finding.level, reverse=True)
    yield from (list(_said(finding, listed)) for finding in worst_first if finding.problems)
    yield list(_unseen(worst_first))
    yield list(_runnable(report.commands, listed))
    if report.not_asked:
        yield [f"not asked: {', '.join(report.not_asked)}"]
    yield [_verdict(report)]


def _said(finding: Finding, listed: int | None) -> Iterator[str]:
    worst = max(finding.level_of(problem) for problem in finding.problems)
    yield f"{worst}: {finding.check.id}: expected that {finding.check.says}"
    for problem in finding.problems[:listed]:
        yield f"  {problem.place}: {problem.detail}"
    if listed is not None and len(finding.problems) > listed:
        yield f"  and {len(finding.problems) - listed} more (-o wide shows them)"
    for hint in finding.hints:
        yield f"  -> {hint}"


def _unseen(findings: Iterable[Finding]) -> Iterator[str]:
    """Each thing that was not seen once, under the checks that it keeps from a verdict."""
    open_checks: dict[Gap, list[str]] = {}
    for finding in findings:
        for gap in finding.unseen:
            open_checks.setdefault(gap, []).append(finding.check.id)
    hinted = {""}
    for checks in dict.fromkeys(map(tuple, open_checks.values())):
        yield f"{Level.UNKNOWN}: not judged: {', '.join(checks)}"
        yield from _missed([gap for gap, held in open_checks.items() if tuple(held) == checks], hinted)


def _missed(gaps: Iterable[Gap], hinted: set[str]) -> Iterator[str]:
    """What stayed unseen for one reason in one line: a missing right is said once, with how many it hides.

    What to do stands beneath, in the words for the first of them, unless it was said before.
    """
    alike: dict[str, list[Gap]] = {}
    for gap in gaps:
        alike.setdefault(gap.why, []).append(gap)
    for why, those in alike.items():
        more = f" and {len(those) - 1} more" if len(those) > 1 else ""
        yield f"  {those[0].ref}{more}: not seen: {why}"
        if (hint := those[0].hint) not in hinted:
            hinted.add(hint)
            yield f"  -> {hint}"


def _runnable(commands: tuple[str, ...], listed: int | None) -> Iterator[str]:
    yield from commands[:listed]
    if listed is not None and len(commands) > listed:
        yield f"and {len(commands) - listed} more commands (-o wide shows them)"


def _verdict(report: Report) -> str:
    if report.verdict:
        return f"{report.status}: {report.verdict}, as of {timestamp(report.read_at)}"
    seen = f"{report.checked} {report.counted[report.checked != 1]} checked"
    unseen = f", {report.unseen} not seen" if report.unseen else ""
    return f"{report.status}: {seen}{unseen}, as of {timestamp(report.read_at)}"
