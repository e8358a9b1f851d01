"""How lively a sandbox is: a description like those of `mesh`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Lively:
    """A cluster that reacts to what is written, as real ones were seen to.

    pace: how many seconds pass here for one of a real cluster; all delays and intervals are scaled by it, clocks and
        the dates of certificates are not
    leaves: the same for the time until a proxy's leaf is due, where that would be too long still; 0 is `pace`
    renews: with it, a CA renews a root of which less than its grace is left, at the next tick of its rotator; without,
        its rotator only loads what has been written
    """

    pace: float = 0.01
    leaves: float = 0.0
    renews: bool = False
