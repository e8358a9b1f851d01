"""The two ends of a terminal: what is printed, what is said while it runs, and who answers a question."""

from __future__ import annotations

import os
import sys
from time import monotonic
from typing import TYPE_CHECKING

from meshtrust.render import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshtrust.errors import ToolError

_BLINK = 0.1  # seconds that a line of progress stays at least


def show(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough (`| head`): what it left unread goes nowhere, and the verdict still counts.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def trace(line: str) -> None:
    print(printable(line), file=sys.stderr)  # noqa: T201


def trace_all(text: str) -> None:
    """Several lines, which are harmless already."""
    print(text, file=sys.stderr)  # noqa: T201


def progress() -> Callable[[str], None]:
    """A line on the terminal that the next one replaces, some ten times a second at most."""
    shown_at = [0.0]

    def show(line: str) -> None:
        if line and monotonic() - shown_at[0] < _BLINK:
            return
        shown_at[0] = monotonic() if line else 0.0
        sys.stderr.write(f"\r\x1b[K{printable(line)}")
        sys.stderr.flush()

    return show


def ask(question: str) -> bool:
    """Ask until the answer is yes or no; an end of the input is a no."""
    while True:
        sys.stderr.write(f"{printable(question)} [yes/no] ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        answer = line.strip().lower()
        if answer in {"y", "yes", "n", "no"} or not line:
            return answer in {"y", "yes"}


def complain(error: ToolError) -> int:
    """Say what went wrong and what to do, on one line, in kubectl's manner."""
    _say("error", error)
    return error.status


def warn(error: ToolError) -> None:
    """Say the same of what is not the whole of it."""
    _say("warning", error)


def _say(word: str, error: ToolError) -> None:
    hint = f" - {error.hint}" if error.hint else ""
    print(printable(f"{word}: {error.message}{hint}"), file=sys.stderr)  # noqa: T201
