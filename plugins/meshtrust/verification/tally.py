"""Judging holders one after the other as they come: of each no more than a row is kept."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from meshtrust.findings import Check, Finding, Level, Problem
from meshtrust.verification.holding import UNSURE, Half
from meshtrust.verification.published import root_known
from meshtrust.verification.rules import (
    LIVE_CHECKS,
    SECRET_CHECKS,
    leaf_accepted,
    leaf_renewed,
    leaf_valid,
    leaf_verifies,
    root_held,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from meshtrust.certificates import Certificate
    from meshtrust.mesh import Gap
    from meshtrust.objects import Ref
    from meshtrust.verification.holding import Case, Vouched
    from meshtrust.verification.pairs import Pairs


_ASKED = {Half.STORED: SECRET_CHECKS, Half.LIVE: LIVE_CHECKS}


class Stand(StrEnum):
    """Where a holder stands, as the last line counts it: each once, under the worst that is true of it."""

    FINE = "fine"
    UNKNOWN = "unknown"
    APART = "apart"  # it does not trust the root that signs
    ENDS = "ends"  # what it trusts ends before it moves
    BEHIND = "behind"
    MISSING = "missing"
    UNKEPT = "unkept"  # nobody keeps it current
    ROOT = "root"  # it is the root that signs itself, or holds it, and that is not valid: said once, of the root
    OTHER = "other"


class Row(Struct, frozen=True):
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
    signer: str = ""
    stand: Stand = Stand.FINE
    lasts: bool = False  # no time brings what could not be seen
    not_before: datetime | None = None  # of its leaf: when a Secret of Citadel's was written


class Tally:
    """Grows while holders are judged, and is read out once.

    A holder is named once in the findings, under the worst of its checks, with all that is wrong with it.
    """

    def __init__(self) -> None:
        self.rows: dict[Ref, Row] = {}
        self.roots: set[Certificate] = set()  # all that Secrets hold
        self.leaves: dict[int, Vouched] = {}  # of Secrets, by serial: whether each verifies
        self._gaps: dict[Ref, Gap] = {}
        self._problems: dict[str, dict[Ref, Problem]] = {one.id: {} for checks in _ASKED.values() for one in checks}
        self._parts: dict[Ref, list[Ref]] = {}  # by pod: a ztunnel's identities

    def take(self, case: Case, now: datetime) -> Row:
        found = _found(case, now)
        row = _row(case, found, now)
        self.add(row)
        if row.half is Half.STORED and case.holding.chain:
            self.roots.update(case.holding.roots)
            self.leaves[case.holding.chain[0].serial] = case.leaf
        if found:
            worst, problem = max(found, key=lambda one: _level(*one))
            self._problems[worst.id][row.place] = replace(problem, detail=row.detail, level=_level(worst, problem))
        return row

    def miss(self, row: Row, gap: Gap) -> None:
        """A holder that is there and could not be looked at."""
        self.add(row)
        self._gaps[row.place] = gap

    def add(self, row: Row) -> None:
        self.rows[row.place] = row
        if row.place.part:
            self._parts.setdefault(row.place.at(""), []).append(row.place)

    def take_over(self, other: Tally) -> None:
        """Say also all that another one would."""
        for row in other.rows.values():
            self.add(row)
        self.roots |= other.roots
        self.leaves.update(other.leaves)
        self._gaps.update(other._gaps)
        for check, problems in other._problems.items():
            self._problems[check].update(problems)

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

    def expect(self, place: Ref, by: datetime, remark: str) -> None:
        """Say when one moves, where that shows only in all of them."""
        row = self.rows[place]
        self.rows[place] = structs.replace(row, moves_by=by, detail=row.detail + remark)
        for problems in self._problems.values():
            if problem := problems.get(place):
                problems[place] = replace(problem, detail=problem.detail + remark)

    def forget_half(self, half: Half) -> None:
        """Take back a half: what it was held against has changed."""
        for row in [row for row in self.rows.values() if row.half is half]:
            self.forget(row.place.at(""))

    def settle(self, pairs: Pairs) -> None:
        """Say what only shows when everybody has been seen: who refuses whose leaf."""
        for place, detail in pairs.refused():
            known = self.rows[place]
            if known.level is Level.CRITICAL and known.stand is not Stand.ROOT:
                continue  # what is said of it already says why
            text = f"{known.detail}; {detail}" if known.detail else detail
            self.rows[place] = structs.replace(
                known,
                level=leaf_accepted.level,
                detail=text,
                checks=(*known.checks, leaf_accepted.id),
                stand=Stand.OTHER,
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


def level_of(case: Case, now: datetime) -> Level:
    """How bad what is true of it is."""
    return _row(case, _found(case, now), now).level


def _found(case: Case, now: datetime) -> list[tuple[Check, Problem]]:
    return [(one, problem) for one in _ASKED[case.holding.half] for problem in one.rule(case, now)]


def _level(check: Check, problem: Problem) -> Level:
    return check.level if problem.level is None else problem.level


def _row(case: Case, found: list[tuple[Check, Problem]], now: datetime) -> Row:
    holding = case.holding
    details = [problem.detail for _, problem in found]
    if holding.signer:
        details.append(f"signed for by {holding.signer}: judged by its dates")
    level = max((_level(*one) for one in found), default=Level.OK if case.roots else Level.UNKNOWN)
    row = Row(
        half=holding.half,
        kind=holding.kind,
        place=holding.place,
        trusts=fingerprints(holding.roots) if holding.roots else None,
        signed=case.signed,
        not_after=holding.span.not_after if holding.span else None,
        not_before=holding.span.not_before if holding.span else None,
        moves_by=case.moves_by,
        level=level,
        detail="; ".join(dict.fromkeys(details)),
        checks=tuple(dict.fromkeys(one.id for one, _ in found)),
        identity=holding.identity,
        owner=holding.owner,
        mends=case.mends(now),
        # Where the CA is no good, no time brings a better leaf.
        moved=bool(holding.signer or holding.unkept or (case.moved and (case.signed is not False or case.unfit))),
        signer=holding.signer,
        stand=_stand(case, {one.id for one, problem in found if _level(one, problem) is level}, level, now),
    )
    return of_ended_root(row, case.ended(now) or ("" if holding.signer else case.blamed), holding.unkept)


_ENDING_WITH_IT = {leaf_valid.id, leaf_renewed.id}


def of_ended_root(row: Row, fault: str, unkept: str) -> Row:
    """The row of a holder, which is no better than its root, or its CA; the finding is that of the root alone."""
    if not fault:
        return row
    level = Level.WARNING if unkept else root_known.level
    return structs.replace(
        row,
        level=max(level, row.level),
        detail="; ".join(one for one in dict.fromkeys((row.detail, fault, unkept)) if one),
        checks=(*row.checks, root_known.id),
        stand=Stand.ROOT if level > row.level or _ENDING_WITH_IT.issuperset(row.checks) else row.stand,
    )


def _stand(case: Case, worst: set[str], level: Level, now: datetime) -> Stand:
    """By the worst of the checks that say something of it."""
    if level is Level.OK:
        return Stand.FINE
    if level is Level.UNKNOWN:
        return Stand.UNKNOWN
    if case.holding.unkept:
        return Stand.OTHER if case.holding.unkept == UNSURE else Stand.UNKEPT
    if level is Level.WARNING and (root_held.id in worst or (leaf_verifies.id in worst and case.once_signed)):
        return Stand.BEHIND
    if root_held.id not in worst:
        return Stand.OTHER
    return Stand.ENDS if case.ends_first(now) else Stand.APART


@lru_cache(maxsize=1024)
def fingerprints(certificates: tuple[Certificate, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.fingerprint for one in certificates))
