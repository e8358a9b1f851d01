"""What was typed after `transition` and `restore`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from meshtrust.durations import parse_duration
from meshtrust.errors import UsageError

USUAL_LIFETIME = timedelta(days=3650)
_SHORTEST, _LONGEST = timedelta(days=2), timedelta(days=30 * 365)


class Verb(StrEnum):
    TRANSITION = "transition"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class Wish:
    """All of it.

    lifetime: of the new root, from now on; None is the usual one
    drop: without a key identifier; key_file: for a recording
    restart: the control plane, so that it loads the new root at once; wait: for the proxies, too
    timeout: of everything, in seconds; None is no limit
    pause: between two looks at what is waited for, in seconds
    """

    verb: Verb
    lifetime: timedelta | None = None
    drop: bool = False
    key_file: str = ""
    emit: str = ""
    apply: bool = False
    yes: bool = False
    restart: bool = True
    wait: bool = False
    timeout: float | None = None
    accept_unseen: bool = False
    pause: float = 1.0


def lifetime_of(text: str) -> timedelta | None:
    """Read `--lifetime`, where it is given. Raises UsageError where it is no time that a root may live."""
    if not text:
        return None
    span = parse_duration(text)
    if span is None:
        raise UsageError(f"--lifetime {text!r} is no duration", "write 3650d, 87600h or 520w")
    if not _SHORTEST <= span <= _LONGEST:
        raise UsageError(
            f"--lifetime {text} is no life for a root: from {_SHORTEST.days}d to {_LONGEST.days}d (30 years)",
            "no key should be trusted for longer than that",
        )
    return span
