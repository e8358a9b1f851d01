"""Until when Istio looks after a minor: a dated table, which `--support-table` replaces."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from meshtrust.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    Line = tuple[int, int]

KNOWN_ON = "2026-08-27"
# istio.io/latest/docs/releases/supported-releases and endoflife.date; a month or a year where no day is confirmed. Of
# the newest it is the month to expect: six weeks after the release after the next.
_ENDS = {
    (1, 0): "2019",
    (1, 1): "2019",
    (1, 2): "2019-12",
    (1, 3): "2020-02",
    (1, 4): "2020-06",
    (1, 5): "2020-08",
    (1, 6): "2020-11-21",
    (1, 7): "2021-02-25",
    (1, 8): "2021-05-12",
    (1, 9): "2021-10-08",
    (1, 10): "2022-01-07",
    (1, 11): "2022-03-25",
    (1, 12): "2022-07-12",
    (1, 13): "2022-10-12",
    (1, 14): "2022-12-27",
    (1, 15): "2023-04-04",
    (1, 16): "2023-07-25",
    (1, 17): "2023-10-27",
    (1, 18): "2024-01-04",
    (1, 19): "2024-04-24",
    (1, 20): "2024-06-25",
    (1, 21): "2024-09-27",
    (1, 22): "2025-01-22",
    (1, 23): "2025-04-16",
    (1, 24): "2025-06-24",
    (1, 25): "2025-09-30",
    (1, 26): "2025-12-22",
    (1, 27): "2026-04-07",
    (1, 28): "2026-07-01",
    (1, 29): "2026-08",
    (1, 30): "2026-11",
}
_CYCLE = re.compile(r"(\d{1,3})\.(\d{1,3})")
_DATE = re.compile(r"\d{4}(?:-\d\d(?:-\d\d)?)?")


def read_support(file: str) -> Mapping[Line, str]:
    """Give the end of each minor's life; the built-in one without a file. Raises UsageError."""
    if not file:
        return _ENDS
    try:
        cycles: list[Mapping[str, object]] = json.loads(Path(file).read_text(encoding="utf-8"))
        ends = dict(_cycle(one) for one in cycles if one["eol"])
    except OSError as error:
        raise UsageError(f"--support-table {file}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError):
        ends = {}
    if not ends:
        raise UsageError(
            f"--support-table {file}: it is no list of release cycles",
            'expected what endoflife.date has: [{"cycle": "1.29", "eol": "2026-08-31"}, ...]',
        )
    return ends


def _cycle(one: Mapping[str, object]) -> tuple[Line, str]:
    cycle, ends = _CYCLE.fullmatch(str(one["cycle"])), str(one["eol"])
    if cycle is None or not _DATE.fullmatch(ends):
        raise ValueError(one)
    return (int(cycle[1]), int(cycle[2])), ends
