"""Looking again until every proxy has moved."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from meshtrust.mesh import Proxy
    from meshtrust.verification.live import Looking

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
        ends = deadline if deadline is not None else begin + _patience(looking, now)
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


def _patience(looking: Looking, now: datetime) -> float:
    """How long until the last one moves by itself, in seconds; nothing where nobody will."""
    latest = max((row.moves_by for row in looking.tally.rows.values() if row.moves_by and not row.moved), default=now)
    return max((latest - now).total_seconds(), 0.0)
