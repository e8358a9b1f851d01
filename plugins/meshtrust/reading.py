"""What a command is given: a source, a moment to judge by, and whom it can talk to while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from meshtrust.report import Report
    from meshtrust.source import Scope, Source


@dataclass(frozen=True, slots=True)
class Person:
    """Who runs the command, at the other end of stderr.

    tell: a line that stays; show: a report, as a table, before a question is asked about it
    ask: a question that is answered with yes or no; None where there is no terminal, so that nobody can be asked
    """

    tell: Callable[[str], None] = lambda _line: None
    show: Callable[[Report], None] = lambda _report: None
    ask: Callable[[str], bool] | None = None


_NOBODY = Person()


@dataclass(frozen=True, slots=True)
class Reading:
    """A source, and the moment to judge by, which it may say in words.

    `progress` shows a line for as long as no other comes; an empty one takes it away.
    """

    source: Source
    scope: Scope
    now: datetime
    remarks: tuple[str, ...]
    progress: Callable[[str], None] = lambda _line: None
    person: Person = field(default=_NOBODY)
