"""Judging holders one after the other as they come: of each no more than a row is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from meshtrust.findings import Check, Finding, Level, Problem
from meshtrust.verification.holding import Half
from meshtrust.verification.rules import LIVE_CHECKS, SECRET_CHECKS, leaf_accepted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from meshtrust.certificates import Certificate
    from meshtrust.mesh import Gap
    from meshtrust.objects import Ref
    from meshtrust.verification.holding import Case
    from meshtrust.verification.pairs import Pairs


_ASKED = {Half.STORED: SECRET_CHECKS, Half.LIVE: LIVE_CHECKS}


@dataclass(frozen=True, slots=True)
class Row:
    """What is said of one holder. `trusts` are fingerprints, None where its bundle was not seen."""

    half: Half
    kind: str
    place: Ref
    trusts: tuple[str, ...] | None = None
    signed: bool | None = None
    not_after: datetime | None = None
    moves_by: datetime | None = None
    level: Level = Level.OK
    detail: str = ""
    checks: tuple[str, ...] = ()
    identity: str = ""
    owner: Ref | None = None
    mends: str = ""
    moved: bool = True


class Tally:
    """Grows while holders are judged, and is read out once.

    A holder is named once in the findings, under the worst of its checks, with all that is wrong with it.
    """

    def __init__(self) -> None:
        self.rows: dict[Ref, Row] = {}
        self.roots: set[Certificate] = set()  # all that Secrets hold
        self.leaves: dict[int, bool | None] = {}  # of Secrets, by serial: whether each verifies
        self._gaps: dict[Ref, Gap] = {}
        self._problems: dict[str, dict[Ref, Problem]] = {one.id: {} for checks in _ASKED.values() for one in checks}
        self._parts: dict[Ref, list[Ref]] = {}  # by pod: a ztunnel's identities

    def take(self, case: Case, now: datetime) -> Row:
        found = [(one, problem) for one in _ASKED[case.holding.half] for problem in one.rule(case, now)]
        row = _row(case, found)
        self.add(row)
        if row.half is Half.STORED and case.holding.chain:
            self.roots.update(case.holding.roots)
            self.leaves[case.holding.chain[0].serial] = case.signed
        if found:
            worst, problem = max(found, key=lambda one: _level(*one))
            self._problems[worst.id][row.place] = replace(problem, detail=row.detail, level=row.level)
        return row

    def miss(self, row: Row, gap: Gap) -> None:
        """A holder that is there and could not be looked at."""
        self.add(row)
        self._gaps[row.place] = gap

    def add(self, row: Row) -> None:
        self.rows[row.place] = row
        if row.place.part:
            self._parts.setdefault(row.place.at(""), []).append(row.place)

    def knows(self, pod: Ref) -> bool:
        return pod in self.rows or pod in self._parts

    def forget(self, pod: Ref) -> tuple[Ref, ...]:
        """Take back all that was said of a pod: it is asked again, or gone."""
        places = (*((pod,) if pod in self.rows else ()), *self._parts.pop(pod, ()))
        for place in places:
            self.rows.pop(place, None)
            self._gaps.pop(place, None)
            for problems in self._problems.values():
                problems.pop(place, None)
        return places

    def forget_half(self, half: Half) -> None:
        """Take back a half: what it was held against has changed."""
        for row in [row for row in self.rows.values() if row.half is half]:
            self.forget(row.place.at(""))

    def settle(self, pairs: Pairs) -> None:
        """Say what only shows when everybody has been seen: who refuses whose leaf."""
        for place, detail in pairs.refused():
            known = self.rows[place]
            if known.level is Level.CRITICAL:
                continue  # what is said of it already says why
            text = f"{known.detail}; {detail}" if known.detail else detail
            self.rows[place] = replace(
                known, level=leaf_accepted.level, detail=text, checks=(*known.checks, leaf_accepted.id)
            )
            for problems in self._problems.values():
                problems.pop(place, None)
            self._problems[leaf_accepted.id][place] = Problem(place, text, leaf_accepted.level)

    def findings(self, gaps: Iterable[Gap], checks: Iterable[Check]) -> Iterator[Finding]:
        """One for each check that was asked, with what kept it from a verdict."""
        own = sorted(self._gaps.values(), key=lambda gap: gap.ref)  # they came as the proxies answered
        unseen = tuple(dict.fromkeys((*gaps, *own)))
        for one in checks:
            problems = self._problems[one.id].values()
            missed = tuple(gap for gap in unseen if gap.sight in one.needs)
            levels = [_level(one, problem) for problem in problems] + ([Level.UNKNOWN] if missed else [])
            worst_first = sorted(problems, key=lambda problem: (-_level(one, problem), problem.place))
            yield Finding(one, max(levels, default=Level.OK), tuple(worst_first), missed)


def _level(check: Check, problem: Problem) -> Level:
    return check.level if problem.level is None else problem.level


def _row(case: Case, found: list[tuple[Check, Problem]]) -> Row:
    holding = case.holding
    level = max((_level(*one) for one in found), default=Level.OK if case.roots else Level.UNKNOWN)
    return Row(
        half=holding.half,
        kind=holding.kind,
        place=holding.place,
        trusts=fingerprints(holding.roots) if holding.roots else None,
        signed=case.signed,
        not_after=holding.span.not_after if holding.span else None,
        moves_by=case.moves_by,
        level=level,
        detail="; ".join(dict.fromkeys(problem.detail for _, problem in found)),
        checks=tuple(dict.fromkeys(one.id for one, _ in found)),
        identity=holding.identity,
        owner=holding.owner,
        mends=holding.mends,
        moved=bool(holding.signer or holding.unkept or (case.moved and case.signed is not False)),
    )


@lru_cache(maxsize=1024)
def fingerprints(certificates: tuple[Certificate, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.fingerprint for one in certificates))
