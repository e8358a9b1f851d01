"""From rows to a report: what agrees is folded, what does not stands for itself, problems first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from meshtrust.checks import dates
from meshtrust.durations import by_minute
from meshtrust.findings import Level
from meshtrust.report import Report, Table, timestamp
from meshtrust.verification.holding import Half
from meshtrust.verification.tally import Stand

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from meshtrust.certificates import Certificate
    from meshtrust.verification.tally import Row
    from meshtrust.verification.verifying import Verified

Line = TypeVar("Line", bound="Mapping[str, Any] | tuple[str, ...]")

_TITLES = ("HALF", "WHAT", "TRUSTS", "SIGNED", "LEAF-ENDS", "MOVES-BY", "STATUS")
_WIDE = ("IDENTITY", "OWNER", "DETAIL")
_WORST_FIRST = {level: -level for level in Level}


def say(verified: Verified) -> Report:
    ordered = sorted(verified.rows, key=_order)
    signing = tuple(root.fingerprint for root in verified.roots)
    return Report(
        tool="istio-certverify",
        command="verify",
        read_at=verified.now,
        rows=Lines(ordered, _facts),
        table=Table(_TITLES, tuple(_folded(ordered, signing))),
        wide=Table((*_TITLES, *_WIDE), Lines(ordered, lambda row: (*_cells([row], signing), *_more(row)))),
        findings=verified.findings,
        checked=sum(row.level is not Level.UNKNOWN for row in ordered),
        remarks=(*(_named(root) for root in dict.fromkeys(verified.roots)), *verified.remarks),
        not_asked=verified.not_asked,
        commands=tuple(dict.fromkeys(row.mends for row in ordered if row.mends and _needs(row, verified.now))),
        verdict=_verdict(verified, ordered),
        interrupted=verified.interrupted,
    )


class Lines(Sequence[Line]):
    """A line for each row, made when it is looked at: of ten thousand rows a format shows few or none."""

    def __init__(self, rows: list[Row], line: Callable[[Row], Line]) -> None:
        self._rows, self._line = rows, line

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> Line: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Line]: ...
    def __getitem__(self, at: int | slice) -> Line | Sequence[Line]:
        return self._line(self._rows[at]) if isinstance(at, int) else Lines(self._rows[at], self._line)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


def _order(row: Row) -> tuple[int, str, str, str, str, str, str]:
    place = row.place
    return _WORST_FIRST[row.level], row.half, row.kind, place.kind, place.namespace, place.name, place.part


def _needs(row: Row, now: datetime) -> bool:
    """Whether its command is to be run; a Secret that Citadel rewrites in its turn is left to it."""
    if row.half is Half.STORED and row.stand is Stand.BEHIND:
        return _overdue(row, now)
    return row.level in {Level.CRITICAL, Level.WARNING}


def _overdue(row: Row, now: datetime) -> bool:
    return row.stand is Stand.BEHIND and row.moves_by is not None and row.moves_by < now


def _named(root: Certificate) -> str:
    return f"the root that signs now: {root.subject} {root.short}, valid until {timestamp(root.not_after)}"


def _facts(row: Row) -> Mapping[str, Any]:
    return {
        "kind": str(row.half),
        "place": str(row.place),
        "trusts": list(row.trusts) if row.trusts is not None else None,
        "signed": row.signed,
        "not_after": timestamp(row.not_after) if row.not_after else None,
        "moves_by": timestamp(row.moves_by) if row.moves_by else None,
        "level": str(row.level),
        "detail": row.detail,
        "holder": row.kind,
        "identity": row.identity or None,
        "owner": str(row.owner) if row.owner else None,
        "checks": list(row.checks),
    }


def _folded(rows: Iterable[Row], signing: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """One line for all that are alike and fine, unknown for one reason, or as good as their root; else one for each."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        alike: tuple[object, ...] = (row.place,)
        if row.level in {Level.OK, Level.UNKNOWN} or row.stand is Stand.ROOT:
            alike = (row.trusts and frozenset(row.trusts), row.signed, row.detail, row.signer)
        groups.setdefault((row.half, row.kind, row.level, *alike), []).append(row)
    return (_cells(group, signing) for group in groups.values())


def _cells(group: list[Row], signing: tuple[str, ...]) -> tuple[str, ...]:
    first = group[0]
    what = f"{len(group)} {_plural(first.kind)}" if len(group) > 1 else str(first.place)
    what += f" (signed for by {first.signer})" if first.signer else ""
    ends = [row.not_after for row in group if row.not_after]
    moves = [row.moves_by for row in group if row.moves_by]
    return (
        str(first.half),
        what,
        _trusted(first, signing),
        {True: "yes", False: "no", None: "<unknown>" if first.half is Half.LIVE else "<none>"}[first.signed],
        timestamp(min(ends)) if ends else "<none>",
        timestamp(max(moves)) if moves else "<none>",
        str(first.level),
    )


def _plural(kind: str) -> str:
    return f"{kind.removesuffix('y')}ies" if kind.endswith("ty") else f"{kind}s"


def _trusted(row: Row, signing: tuple[str, ...]) -> str:
    """The root that signs, where it is among them."""
    if not row.trusts:
        return "<unknown>" if row.level is Level.UNKNOWN else "<none>"
    shown = next((one for one in row.trusts if one in signing), row.trusts[0])
    short = ":".join(shown[at : at + 2] for at in range(0, 16, 2))
    return f"{short} and {len(row.trusts) - 1} more" if len(row.trusts) > 1 else short


def _more(row: Row) -> tuple[str, ...]:
    return (row.identity or "<none>", str(row.owner) if row.owner else "<none>", row.detail or "<none>")


def _verdict(verified: Verified, rows: list[Row]) -> str:
    """Each thing once, under the worst that is true of it; what is wrong with the root or the CA is said first."""
    now = verified.now
    unknown = [row for row in rows if row.level is Level.UNKNOWN]
    stands = Counter("overdue" if _overdue(row, now) else row.stand for row in rows if row.level is not Level.UNKNOWN)
    parts = [f"checked {len(rows) - len(unknown)} of {len(rows)}"]
    parts += [
        f"{number} {one if number == 1 else several}" for stand, one, several in _STANDS if (number := stands[stand])
    ]
    parts += [f"{len(unknown)} unknown"] if unknown else []
    places = {row.place for row in rows}
    unseen = {gap.ref for finding in verified.findings for gap in finding.unseen} - places
    kinds = ", ".join(sorted({ref.kind for ref in unseen}))
    parts += [f"{len(unseen)} not seen ({kinds})"] if unseen else []
    ended = [f"the root that signs: {fault}" for root in dict.fromkeys(verified.roots) if (fault := dates(root, now))]
    latest = max((row.moves_by for row in rows if row.moves_by and row.moves_by >= now), default=None)
    last = [f"the last moves by {by_minute(latest)}"] if latest else []
    return "; ".join((*ended, *dict.fromkeys(verified.unfit), ", ".join(parts), *last))


_STANDS = (
    (Stand.APART, "does not trust the signing root", "do not trust the signing root"),
    (Stand.ENDS, "holds a root that ends before it moves", "hold roots that end before they move"),
    ("overdue", "is overdue", "are overdue"),
    (Stand.BEHIND, "has not moved yet", "have not moved yet"),
    (Stand.MISSING, "is missing", "are missing"),
    (Stand.UNKEPT, "is kept current by nobody", "are kept current by nobody"),
    (Stand.OTHER, "with other problems", "with other problems"),
)
