"""Completion: what could stand at the end of an unfinished command line, and scripts for shells without kubectl's own.

kubectl runs `kubectl_complete-istio_root` with the words that were typed, of which the last (maybe empty) is
unfinished. It wants a candidate on each line, a tab and its meaning behind it, and at the end a number that says what
else to offer.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from meshtrust.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

NO_FILES, FILES = 4, 0  # two of the directives of cobra


def complete(app: str, words: Sequence[str]) -> str:
    """Answer in kubectl's protocol for the plugin whose Typer is in the module `app`."""
    from meshtrust.completion.answering import Live, candidates  # noqa: PLC0415 - a script of a shell does not need it
    from meshtrust.completion.vocabulary import vocabulary  # noqa: PLC0415 - as above

    def ask(live: str, typed: Sequence[str]) -> list[str]:
        from meshtrust.completion.live import values  # noqa: PLC0415 - what is known without asking is said at once

        return values(Live(live), app, typed)

    found = candidates(vocabulary(app), words, ask)
    if found is None:
        return f":{FILES}\n"
    lines = [f"{_line(value)}\t{_line(meaning)}\n" if meaning else f"{_line(value)}\n" for value, meaning in found]
    return f"{''.join(lines)}:{NO_FILES}\n"


def print_script(tool: str, words: Sequence[str]) -> int:
    """Answer `completion bash`, and give the exit code."""
    try:
        sys.stdout.write(script(tool, words))
    except UsageError as error:
        from meshtrust.cli import complain  # noqa: PLC0415 - only a mistake pays for it

        return complain(error)
    return 0


def script(tool: str, words: Sequence[str]) -> str:
    """Give the script for a shell, or how to ask for it. Raises UsageError."""
    from meshtrust.completion.shells import SHELLS  # noqa: PLC0415 - as above

    usage = f"kubectl {tool} completion {'|'.join(SHELLS)}"
    if words in (["-h"], ["--help"]):
        return f"Usage: {usage}\n\n  Print a script that completes kubectl {tool} in that shell.\n"
    if len(words) != 1 or words[0] not in SHELLS:
        said = f"{' '.join(words)!r} is no shell that it knows" if words else "for which shell?"
        raise UsageError(f"completion: {said}", usage)
    return SHELLS[words[0]].replace("istio-tool", tool).replace("istio_tool", tool.replace("-", "_"))


def _line(text: str) -> str:
    """A name that a server gave must not begin another line, nor speak to the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)
