"""What a run was narrowed to, kept in its recording: so `-f` alone gives the verdict that was given live."""

from __future__ import annotations

from dataclasses import replace
from shlex import join
from typing import TYPE_CHECKING

import msgspec

from meshtrust.errors import UsageError
from meshtrust.selectors import parse_selector
from meshtrust.source import Scope
from meshtrust.verification.fleet import Targets

if TYPE_CHECKING:
    from meshtrust.reading import Reading
    from meshtrust.verification.verifying import Wish


class _Wished(msgspec.Struct, frozen=True, omit_defaults=True):
    """What decides which part of a mesh is read, as it was typed."""

    targets: tuple[str, ...] = ()
    selector: str = ""
    stored: bool = True
    live: bool = True
    namespace: str = ""
    istio_namespace: str = ""
    revision: str = ""
    public: bool = False

    @classmethod
    def of(cls, wish: Wish, scope: Scope) -> _Wished:
        typed = tuple(target.typed for target in wish.targets.chosen)
        where = scope.namespace, scope.istio_namespace, scope.revision, scope.public
        return cls(typed, wish.selector, wish.stored, wish.live, *where)

    @property
    def arguments(self) -> str:
        narrowed = bool(self.targets or self.selector)
        words = [*self.targets]
        words += ["--stored"] if self.stored and (narrowed or not self.live) else []
        words += ["--live"] if self.live and not (narrowed or self.stored) else []
        options = (("-l", self.selector), ("-n", self.namespace), ("-i", self.istio_namespace), ("-r", self.revision))
        words += [word for option, value in options if value for word in (option, value)]
        return join((*words, "--public") if self.public else words)


def written(wish: Wish, scope: Scope) -> str:
    """What `recalled` reads; empty for both halves of a whole mesh."""
    wished = _Wished.of(wish, scope)
    return "" if wished == _Wished() else msgspec.json.encode(wished).decode()


def recalled(reading: Reading, wish: Wish, *, typed: bool) -> tuple[Reading, Wish]:
    """The wish of the run that was recorded, where this one was given none; either way it is said what that was.

    `typed` is whether any of it was given. What a recording says that makes no sense is passed over: then all of it is
    judged.
    """
    try:
        wished = msgspec.json.decode(reading.source.wished, type=_Wished)
        targets = Targets.read(wished.targets)
        parse_selector(wished.selector)
    except (msgspec.DecodeError, UsageError):
        return reading, wish
    if wished == _Wished.of(wish, reading.scope):
        return reading, wish
    if typed or reading.scope != Scope():
        return _remarking(reading, f"recorded was no more than: {wished.arguments}"), wish
    scope = Scope(wished.istio_namespace, wished.revision, wished.namespace, wished.public)
    said = f"judged as recorded: {wished.arguments} (--stored --live judges all that was read)"
    same = replace(wish, targets=targets, selector=wished.selector, stored=wished.stored, live=wished.live)
    return _remarking(replace(reading, scope=scope), said), same


def _remarking(reading: Reading, remark: str) -> Reading:
    return replace(reading, remarks=(*reading.remarks, remark))
