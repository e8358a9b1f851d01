"""The one kind of result: what every command returns, before anybody knows how it is shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from meshtrust.findings import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meshtrust.errors import ToolError


@dataclass(frozen=True, slots=True)
class Table:
    """Titles and lines of cells; what is folded is the command's choice."""

    titles: tuple[str, ...]
    lines: Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Report:
    """`rows` hold everything as JSON has it, `table` and `wide` what a person sees of it.

    `read_at` is the moment that the judgement holds for. `remarks` are facts that are neither right nor wrong.
    `summary` stands above either table. `commands` are what to run, ready to be pasted. `counted` is what `checked`
    counts, one of it and several; `verdict` says it in the command's own words. `interrupted` is what Ctrl-C left.
    `details` are further keys of the JSON. `acted` is for a command that was to write: its exit code says what became
    of that, whatever --fail-on says. `unwritten` is why a file that was to be written beside it was not.
    """

    tool: str
    command: str
    read_at: datetime
    rows: Sequence[Mapping[str, Any]]
    table: Table
    wide: Table
    findings: tuple[Finding, ...]
    checked: int
    remarks: tuple[str, ...] = ()
    not_asked: tuple[str, ...] = ()
    summary: Table | None = None
    commands: tuple[str, ...] = ()
    counted: tuple[str, str] = ("certificate", "certificates")
    verdict: str = ""
    interrupted: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)
    acted: bool = False
    unwritten: ToolError | None = None

    @property
    def status(self) -> Level:
        """The worst of all findings. Nothing checked is never fine."""
        worst = max((finding.level for finding in self.findings), default=Level.OK)
        return worst if self.checked else max(worst, Level.UNKNOWN)

    @property
    def unseen(self) -> int:
        return len({gap.ref for finding in self.findings for gap in finding.unseen})


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
