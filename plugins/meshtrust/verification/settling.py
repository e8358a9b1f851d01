"""What control planes store and publish, read again until they have brought it up to date."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING

from meshtrust.checks import ca_loaded, copies_agree, signers
from meshtrust.errors import ToolError
from meshtrust.findings import Level, Terms, Threshold, examine
from meshtrust.mesh import Era, Gap, Look, Mesh, read_meshes
from meshtrust.objects import Ref
from meshtrust.verification.holding import Reference
from meshtrust.verification.published import webhooks_agree
from meshtrust.verification.stored import with_published

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from meshtrust.source import Scope, Source

_NEVER = Threshold(timedelta(0), None)
_PAUSE, _LONGEST = 2.0, 60.0  # seconds
_MARGIN = 2.0  # how many times as long as the one before a reading may take
_CALM = 2  # fine readings in a row: for ten seconds an old istiod and a new one undo what the other has patched
_EDITIONS = (ca_loaded, copies_agree, webhooks_agree)
_SIGHTS = frozenset(sight for one in _EDITIONS for sight in one.needs)


class Published:
    """The last whole reading of it, and when that was.

    lost: what a later reading could not see any more; what was seen of it before stands
    number: of readings until now
    took: how many seconds the last one took
    """

    def __init__(self, source: Source, scope: Scope, now: datetime) -> None:
        self._source, self._scope = source, scope
        self._first, self._begin = now, monotonic()
        self._beside = False
        self.now, self.number = now, 1
        self.look = Look(source)
        self.lost: tuple[Gap, ...] = ()
        self.meshes = read_meshes(source, scope)
        self.took = monotonic() - self._begin

    @property
    def terms(self) -> Terms:
        return Terms(self.now, _NEVER, _NEVER)

    @property
    def references(self) -> Mapping[str, Reference]:
        return {mesh.namespace: Reference.of(mesh, self.now) for mesh in self.meshes}

    @property
    def gaps(self) -> tuple[Gap, ...]:
        return (*self.look.gaps, *self.lost)

    def read_beside(self) -> None:
        """Read also what is published beside the copies of the root, from now on each time."""
        self._beside = True
        began = monotonic()
        self.meshes = with_published(self.look, self.meshes, self._scope)
        self.took += monotonic() - began

    def read_again(self) -> None:
        began = monotonic()
        self._read_again(began)
        self.took = monotonic() - began

    def _read_again(self, began: float) -> None:
        look = Look(self._source)
        try:
            meshes = read_meshes(self._source, self._scope)
            if self._beside:
                meshes = with_published(look, meshes, self._scope)
        except ToolError as error:
            homes = (Ref("Namespace", "", mesh.namespace) for mesh in self.meshes)
            self.lost = tuple(Gap(home, sight, error.message) for home in homes for sight in sorted(_SIGHTS))
            return
        before = {(gap.ref, gap.sight) for gap in _gaps(self.look, self.meshes)}
        self.lost = tuple(gap for gap in _gaps(look, meshes) if (gap.ref, gap.sight) not in before)
        if not self.lost:
            self.look, self.meshes, self.number = look, meshes, self.number + 1
            self.now = self._first + timedelta(seconds=began - self._begin)

    def settle(self, progress: Callable[[str], None], deadline: float) -> None:
        """Read again while something holds another edition of the root, for a minute at most.

        What holds another key is not waited for: no time mends it.
        """
        begin = monotonic()
        ends = min(deadline, begin + _LONGEST)
        left = self._behind()
        calm = 0 if left else _CALM
        try:
            while calm < _CALM and monotonic() + _PAUSE + _MARGIN * self.took < ends:
                progress(f"stored: {left} not moved yet, {monotonic() - begin:.0f}s")
                sleep(_PAUSE)
                self.read_again()
                left = self._behind()
                calm = 0 if left or self.lost else calm + 1
        finally:
            progress("")

    def _behind(self) -> int:
        """How many are of another edition, of those that somebody keeps current.

        What proxies are held against is known once the CA is loaded.
        """
        kept = {place for mesh in self.meshes for place in _kept_current(mesh)}
        findings = examine(self.meshes, self.terms, _EDITIONS if self._beside else (ca_loaded,))
        late = {
            problem.place
            for finding in findings
            for problem in finding.problems
            if finding.level_of(problem) is Level.WARNING
        }
        return len(late & kept)


def _kept_current(mesh: Mesh) -> Iterator[Ref]:
    """What istiod loads or writes by itself; Citadel's ConfigMap waits for a restart."""
    if mesh.era is not Era.ISTIOD:
        return
    yield from (signer.ref for _, signer in signers(mesh))
    yield from (copy.ref for copy in (*mesh.copies, *mesh.webhooks) if not copy.left_behind)


def _gaps(look: Look, meshes: tuple[Mesh, ...]) -> tuple[Gap, ...]:
    """Those that keep from telling what has moved."""
    everything = (*look.gaps, *(gap for mesh in meshes for gap in mesh.gaps))
    return tuple(gap for gap in everything if gap.sight in _SIGHTS)
