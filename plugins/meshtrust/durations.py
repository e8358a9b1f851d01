"""Spans of time as people type them and as they are said."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h|d|w)")
_WHOLE = re.compile(rf"[-+]?(?:0|(?:{_PART.pattern})+)")
_GO = re.compile(r"[^dw]*")
_STEPS = ((timedelta(days=2), "d", "day"), (timedelta(hours=2), "h", "hour"), (timedelta(minutes=2), "m", "minute"))
_EXACT_HOURS = 8  # until then kubectl tells the minutes, too


def parse_duration(text: str) -> timedelta | None:
    """Read `36h`, `1h30m`, `60d`, `2w`; None where it is none. Go's units (time.ParseDuration), days and weeks."""
    if not _WHOLE.fullmatch(text):
        return None
    try:
        span = timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text)))
    except OverflowError:
        return None
    return -span if text.startswith("-") else span


def parse_go_duration(text: str) -> timedelta | None:
    """Read a duration as Go itself does, without days and weeks."""
    return parse_duration(text) if _GO.fullmatch(text) else None


def short(span: timedelta) -> str:
    """`41d`, `36h`, `5h59m`, `90m`, `40s`, and `-3d` for what is over: rounded towards zero, as kubectl has ages."""
    number, letter, _ = _largest(span)
    minutes = int(abs(span).total_seconds()) // 60 % 60 if letter == "h" and number < _EXACT_HOURS else 0
    return f"{'-' if span < timedelta(0) else ''}{number}{letter}{f'{minutes}m' if minutes else ''}"


def spoken(span: timedelta) -> str:
    """`41 days`, `1 second`: the same without a sign, for sentences."""
    number, _, word = _largest(span)
    return f"{number} {word}{'' if number == 1 else 's'}"


def by_minute(moment: datetime) -> str:
    """`2026-11-24T18:14Z`: the first whole minute by which a moment has passed."""
    return f"{moment + timedelta(minutes=1, microseconds=-1):%Y-%m-%dT%H:%M}Z"


def _largest(span: timedelta) -> tuple[int, str, str]:
    size = abs(span)
    for least, letter, word in _STEPS:
        if size >= least:
            return int(size / (least / 2)), letter, word
    return int(size.total_seconds()), "s", "second"
