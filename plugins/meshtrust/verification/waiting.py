"""Looking again until every proxy has moved, and every Secret of Citadel's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING

from meshtrust.findings import Level
from meshtrust.verification.holding import Half

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from meshtrust.mesh import Proxy
    from meshtrust.objects import Ref
    from meshtrust.verification.live import Looking
    from meshtrust.verification.tally import Row

_FIRST, _LONGEST, _GROWTH = 1.0, 30.0, 1.5  # seconds between two looks
_MARGIN, _LEAST = 3.0, 1.0  # how many times as long as the one before a look may take, and seconds in any case


@dataclass(frozen=True, slots=True)
class Ground:
    """What is read again before proxies are asked again.

    stays: read what they are held against, and say whether that is the same
    listed: those that are there by then
    lost: whether any of it could not be seen the last time
    took: how many seconds it took the first time
    """

    stays: Callable[[], bool]
    listed: Callable[[], tuple[Proxy, ...]]
    lost: Callable[[], bool]
    took: float


def wait(
    looking: Looking,
    proxies: tuple[Proxy, ...],
    ground: Ground,
    now: datetime,
    deadline: float | None,
) -> bool:
    """Ask those again that have not moved, and the pods that came meanwhile, until nobody is left or time is up.

    Without a deadline it ends when the last of them should have moved. Where what they are held against is another by
    then, this ends with False. The last look begins early enough to see the ground whole.
    """
    begin, pause, took = monotonic(), _FIRST, ground.took
    while (left := looking.left(proxies)) or ground.lost():
        until_moved = begin + _seconds_until_moved(looking.tally.rows.values(), now)
        ends = until_moved if deadline is None else deadline - max(_MARGIN * took, _LEAST)
        if (rest := ends - monotonic()) <= 0:
            return True
        looking.progress(_progress(left, proxies, looking, monotonic() - begin))
        sleep(min(pause, rest))
        pause = min(pause * _GROWTH, _LONGEST)
        looked = monotonic()
        if not ground.stays():
            return False
        there = ground.listed()
        took = monotonic() - looked
        proxies = looking.follow(proxies, there, left, now + timedelta(seconds=monotonic() - begin), deadline)
    return True


def _progress(left: tuple[Proxy, ...], proxies: tuple[Proxy, ...], looking: Looking, seconds: float) -> str:
    rows = looking.tally.rows
    unseen = sum((row := rows.get(proxy.place)) is not None and row.level is Level.UNKNOWN for proxy in left)
    said = f"{len(left) - unseen} of {len(proxies)} proxies have not moved yet"
    return f"{said}, {unseen} not seen, {seconds:.0f}s" if unseen else f"{said}, {seconds:.0f}s"


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
