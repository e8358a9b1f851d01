"""A recorded mesh: the `Source` that `-f` gives."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from meshtrust.errors import Unreachable, UsageError
from meshtrust.objects import KINDS, Ref

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime, timedelta
    from typing import BinaryIO

    from meshtrust.manifests.answers import Answers
    from meshtrust.objects import KubeObject, Unread


@dataclass(frozen=True, slots=True)
class Held:
    """An object of the recording, and its labels even where it could not be read; None: nobody knows them."""

    item: KubeObject | Unread
    labels: Mapping[str, Any] | None

    def bears(self, labels: Mapping[str, str]) -> bool:
        return self.labels is None or labels.items() <= self.labels.items()


@dataclass(frozen=True, slots=True)
class Recording:
    """What the files held. An object that was given twice counts as it was given last, as `kubectl apply` has it.

    So a file with Secrets can stand beside a bug-report, and a later dump of a namespace replaces an earlier one.
    """

    held: tuple[Held, ...] = field(default=(), repr=False)  # in the order of namespace and name
    unread: tuple[Unread, ...] = ()
    exposed: tuple[Ref, ...] = ()
    taken_at: datetime | None = None
    answers: Answers = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, paths: Sequence[str], stdin: BinaryIO) -> Recording:
        """Read everything that is named. Raises `ToolError` where one of the names gives nothing at all."""
        if list(paths).count("-") > 1:
            raise UsageError("-f - is given twice: standard input can be read only once")
        from meshtrust.manifests.gathering import Gathering  # noqa: PLC0415 - a live cluster does not pay for it

        gathering = Gathering()
        for path in paths:
            gathering.add(path, stdin)
        held = sorted(gathering.held.values(), key=lambda held: held.item.ref)
        unread, exposed = dict.fromkeys(gathering.unread), dict.fromkeys(gathering.exposed)
        return cls(tuple(held), tuple(unread), tuple(exposed), gathering.taken_at)

    @property
    def recorded(self) -> bool:
        return True

    @property
    def clock_skew(self) -> timedelta | None:
        return None

    def objects(
        self,
        kind: str,
        *,
        namespace: str = "",
        name: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> Iterator[KubeObject | Unread]:
        if kind not in KINDS:
            return
        namespace = namespace if KINDS[kind].namespaced else ""
        first = bisect_left(self.held, Ref(kind, namespace, name), key=attrgetter("item.ref"))
        for held in islice(self.held, first, None):
            ref = held.item.ref
            if ref.kind != kind or (namespace and ref.namespace != namespace):
                return
            if name in ("", ref.name) and held.bears(labels or {}):
                yield held.item

    def holds(self, kind: str) -> bool:
        return next(self.objects(kind), None) is not None

    def proxy_admin(self, pod: Ref, path: str, *, port: int, container: str) -> bytes:  # noqa: ARG002 - of a live one
        """The whole answer that was kept, whatever part of it the query asks for."""
        page = path.partition("?")[0]
        answer = self.answers.get((pod.namespace, pod.name), {}).get(page)
        if answer is None:
            raise Unreachable(f"{pod}: {page} of its proxy is not in the recording")
        return answer
