"""Looking again until every proxy has moved, and every Secret of Citadel's."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING

from meshtrust.verification.holding import Half

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from meshtrust.mesh import Proxy
    from meshtrust.objects import Ref
    from meshtrust.verification.live import Looking
    from meshtrust.verification.tally import Row

_FIRST, _LONGEST, _GROWTH = 1.0, 30.0, 1.5  # seconds between two looks


def wait(
    looking: Looking,
    proxies: tuple[Proxy, ...],
    listed: Callable[[], tuple[Proxy, ...]],
    stays: Callable[[], bool],
    now: datetime,
    deadline: float | None,
) -> bool:
    """Ask those again that have not moved, and the pods that came meanwhile, until nobody is left or time is up.

    Without a deadline it ends when the last of them should have moved. `stays` is asked each time, whether what they
    are held against is still the same: where it is not, this ends with False.
    """
    begin, pause = monotonic(), _FIRST
    while left := looking.left(proxies):
        elapsed = monotonic() - begin
        ends = deadline if deadline is not None else begin + _seconds_until_moved(looking.tally.rows.values(), now)
        if monotonic() >= ends:
            return True
        looking.progress(f"{len(left)} of {len(proxies)} proxies have not moved yet, {elapsed:.0f}s")
        sleep(max(min(pause, ends - monotonic()), 0))
        pause = min(pause * _GROWTH, _LONGEST)
        if not stays():
            return False
        moment = now + timedelta(seconds=monotonic() - begin)
        proxies = looking.follow(proxies, listed(), left, moment, deadline)
    return True


def wait_for_workloads(
    rows: Mapping[Ref, Row], now: datetime, look_again: Callable[[], None], progress: Callable[[str], None], ends: float
) -> None:
    """Let `look_again` fill the rows anew until no Secret is left that moves by itself, or the last should have moved.

    `ends` is a moment of `monotonic`. Whoever never moves is not waited for.
    """
    begin, pause = monotonic(), _FIRST
    ends = min(ends, begin + _seconds_until_moved(_late_secrets(rows), now))
    try:
        while (left := _late_secrets(rows)) and (rest := ends - monotonic()) > 0:
            progress(f"stored: {len(left)} Secrets have not moved yet, {monotonic() - begin:.0f}s")
            sleep(min(pause, rest))
            pause = min(pause * _GROWTH, _LONGEST)
            look_again()
    finally:
        progress("")


def _late_secrets(rows: Mapping[Ref, Row]) -> tuple[Row, ...]:
    return tuple(row for row in rows.values() if row.half is Half.STORED and row.moves_by and not row.moved)


def _seconds_until_moved(rows: Iterable[Row], now: datetime) -> float:
    """How long until the last one moves by itself; nothing where nobody will."""
    latest = max((row.moves_by for row in rows if row.moves_by and not row.moved), default=now)
    return max((latest - now).total_seconds(), 0.0)
