"""A command that was read from a command line: its source opened, its report printed, its exit code picked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from meshtrust.cli.options import Options, open_source
from meshtrust.cli.terminal import ask, complain, progress, show, trace, trace_all, warn
from meshtrust.errors import INTERRUPTED, ToolError, UsageError
from meshtrust.findings import Level
from meshtrust.reading import Person, Reading
from meshtrust.render import Output, render, render_failure
from meshtrust.report import Report, timestamp

if TYPE_CHECKING:
    from meshtrust.source import Source

_EXITS = {Level.OK: 0, Level.WARNING: 1, Level.CRITICAL: 2, Level.UNKNOWN: 3}
_ACTED = {**_EXITS, Level.WARNING: 0}  # what is done is done, whatever else is to be seen to

Judge = Callable[[Reading], Report]  # what a command gives: it is asked when the source is open


def execute(tool: str, name: str, options: Options, prepare: Callable[[], Judge]) -> int:
    now = datetime.now(UTC)
    try:
        judge = prepare()
        given = _moment(options.at, now)
        with open_source(options) as source:
            report = judge(_reading(source, options, given or source.taken_at or now, now))
    except UsageError:
        raise
    except ToolError as error:
        _print(render_failure(tool, name, now, error, options.output), options)
        return complain(error)
    _print(render(report, options.output, headers=not options.no_headers), options)
    if report.unwritten:
        warn(report.unwritten)
        return INTERRUPTED if report.interrupted else _EXITS[max(report.status, Level.UNKNOWN)]
    return _exit(report, options)


def _exit(report: Report, options: Options) -> int:
    if report.interrupted:
        return INTERRUPTED
    if report.acted:
        return _ACTED[report.status]
    return _EXITS[report.status] if report.status >= Level[options.fail_on.name] else 0


def _print(text: str, options: Options) -> None:
    if not options.quiet:
        show(text)


def _reading(source: Source, options: Options, moment: datetime, now: datetime) -> Reading:
    remarks: tuple[str, ...] = ()
    if moment != now:
        taken = "" if options.at else ", when the recording was taken (--at now judges by today)"
        remarks = (f"judged as of {timestamp(moment)}{taken}",)
    shown = sys.stderr.isatty() and not options.quiet and not options.verbose
    line = progress() if shown else lambda _line: None
    return Reading(source, options.scope, moment, remarks, line, _person(options))


def _person(options: Options) -> Person:
    """Whoever sits at the terminal can be asked; everybody else is told, unless that is not wanted."""
    asked = ask if sys.stdin.isatty() and sys.stderr.isatty() else None
    if options.quiet:
        return Person(ask=asked)
    return Person(trace, lambda report: trace_all(render(report, Output.TABLE)), asked)


def _moment(at: str, now: datetime) -> datetime | None:
    if at in {"", "now"}:
        return now if at else None
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise UsageError(f"--at {at!r} is no time", "write RFC 3339, 2026-11-24T08:00:00Z, or now") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
