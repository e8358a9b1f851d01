"""A check is declared once: its name, the sentence that is true in health, what it must see, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime, timedelta

    from meshtrust.certificates import Certificate
    from meshtrust.mesh import Gap, Sight
    from meshtrust.objects import Ref


class Level(IntEnum):
    """How bad it is, in the order in which one wins over another."""

    OK = 0
    WARNING = 1
    UNKNOWN = 2
    CRITICAL = 3

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Threshold:
    """`60d,20%`: of a span and a share of a certificate's life, the shorter one. Either may be missing."""

    span: timedelta | None
    share: float | None

    def of(self, certificate: Certificate) -> timedelta:
        limits = [self.span] if self.span is not None else []
        limits += [certificate.life * self.share] if self.share is not None else []
        return min(limits)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a mesh is judged by. `now` is read once, at the start of the run."""

    now: datetime
    warn: Threshold
    crit: Threshold


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where.

    It has its check's level unless it names one, and its check's hint unless it has a better one. A problem of a
    certificate itself, wherever it stands, names the certificate.
    """

    place: Ref
    detail: str
    level: Level | None = None
    certificate: Certificate | None = None
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A rule and its declaration. Ids are stable: they are never reused, and the README lists them.

    A rule is asked of a mesh (by `examine`), or of whatever a plugin judges one by one.
    """

    id: str
    level: Level
    says: str
    needs: tuple[Sight, ...]
    hint: str
    rule: Callable[[Any, Any], Iterable[Problem]]


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one check: the problems, the worst of them first, and what it could not see."""

    check: Check
    level: Level
    problems: tuple[Problem, ...]
    unseen: tuple[Gap, ...]

    @property
    def hints(self) -> tuple[str, ...]:
        """What to do, each thing once."""
        hints = [problem.hint or self.check.hint for problem in self.problems]
        return tuple(dict.fromkeys(hint for hint in hints if hint))

    def level_of(self, problem: Problem) -> Level:
        return self.check.level if problem.level is None else problem.level


class Judged(Protocol):
    """What is judged as a whole: a mesh, or what else a plugin has read."""

    @property
    def gaps(self) -> tuple[Gap, ...]: ...

    @property
    def not_asked(self) -> frozenset[Sight]: ...


def check(id: str, level: Level, *, says: str, needs: tuple[Sight, ...], hint: str = "") -> Callable[..., Check]:  # noqa: A002 - the name that the output has
    """Declare a rule: `(mesh, terms) -> problems`, pure."""

    def declare(rule: Callable[[Any, Any], Iterable[Problem]]) -> Check:
        return Check(id, level, says, needs, hint, rule)

    return declare


def examine(meshes: Iterable[Judged], terms: Any, checks: Iterable[Check]) -> tuple[Finding, ...]:
    """Judge every mesh by every check that can be asked of it: one finding for each check."""
    everyone = tuple(meshes)
    return tuple(
        _examine(asked, terms, one) for one in checks if (asked := tuple(m for m in everyone if _can_ask(m, one)))
    )


def not_asked(meshes: Iterable[Judged], checks: Iterable[Check]) -> tuple[str, ...]:
    """The checks that nothing here can answer: they have no verdict, and say so."""
    everyone = tuple(meshes)
    return tuple(one.id for one in checks if not any(_can_ask(mesh, one) for mesh in everyone))


def _can_ask(mesh: Judged, one: Check) -> bool:
    return mesh.not_asked.isdisjoint(one.needs)


def _examine(meshes: tuple[Judged, ...], terms: Any, one: Check) -> Finding:
    problems = tuple(dict.fromkeys(problem for mesh in meshes for problem in one.rule(mesh, terms)))
    unseen = tuple(dict.fromkeys(gap for mesh in meshes for gap in mesh.gaps if gap.sight in one.needs))
    levels = [one.level if problem.level is None else problem.level for problem in problems]
    levels += [Level.UNKNOWN] if unseen else []
    finding = Finding(one, max(levels, default=Level.OK), (), unseen)
    worst_first = tuple(sorted(problems, key=finding.level_of, reverse=True))
    return Finding(one, finding.level, worst_first, unseen)
