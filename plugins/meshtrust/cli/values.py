"""What people type as a value: a threshold, a time to wait."""

from __future__ import annotations

import re

from meshtrust.durations import parse_duration
from meshtrust.errors import UsageError
from meshtrust.findings import Threshold

_PERCENT = re.compile(r"(100|\d\d?(?:\.\d+)?)%")


def threshold(text: str) -> Threshold:
    """Read `60d,20%`: a span, a share of the certificate's life, or both. Raises UsageError."""
    span, share = None, None
    for part in text.split(","):
        if percent := _PERCENT.fullmatch(part.strip()):
            share = float(percent[1]) / 100
        elif (parsed := parse_duration(part.strip())) is not None and parsed >= parsed * 0:
            span = parsed
        else:
            raise UsageError(f"{text!r} is no threshold", "write a time, a share or both: 60d,20%")
    return Threshold(span, share)


def seconds(option: str, text: str) -> float | None:
    """Read a time to wait as kubectl does: a bare number is seconds, and 0 (None) is no limit. Raises UsageError."""
    span = parse_duration(f"{text}s" if text.isdecimal() else text)
    if span is None or span.total_seconds() < 0:
        raise UsageError(f"{option} {text!r} is no duration", "write 5, 5s, 15m or 12h; 0 means without limit")
    return span.total_seconds() or None
